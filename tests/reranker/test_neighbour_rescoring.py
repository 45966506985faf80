"""Neighbour re-scoring: by hand, within one list, without names, and through a whole training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reranker.calibration import log_odds, sigmoid
from reranker.explanation import NEIGHBOURS, explain_pairs
from reranker.likeness import (
    COLUMNS,
    COSINE_COLUMNS,
    EVERY_FEATURE,
    LOCAL_COLUMNS,
    MATCHED_COLUMNS,
    NEIGHBOUR_COLUMNS,
    SECONDS_COLUMNS,
    Likeness,
)
from reranker.neighbour_rescoring import NeighbourRescoring, fit_likeness, noisy_or
from reranker.out_of_fold import ALONE, LabelledTable
from reranker.protocols import evaluate
from reranker.ranker import Ranker
from reranker.ranking import rank_pairs
from reranker.training import train_ranker
from reranker.training_settings import TrainingSettings

#: Reads the cosine's znorm as the log-odds of one individual, so that lists can be made of probabilities.
AS_GIVEN = Likeness({"cosine": 1.0}, 0.0)


def with_neighbours(raw: pd.DataFrame, alike: dict[tuple[str, str, str], float]) -> pd.DataFrame:
    """Add the neighbours' columns: (query, candidate, neighbour) -> probability of one individual."""
    raw = raw.copy()
    for k, (name, cosine) in enumerate(zip(NEIGHBOUR_COLUMNS, COSINE_COLUMNS, strict=True)):
        raw[LOCAL_COLUMNS[k]] = raw[SECONDS_COLUMNS[k]] = np.nan
        found = []
        for row in raw.itertuples():
            own = [(n, c) for (q, a, n), c in alike.items() if (q, a) == (row.query_id, row.candidate_id)]
            own.sort(key=lambda item: -item[1])
            found.append(own[k] if k < len(own) else (None, np.nan))
        raw[name] = pd.Series([name for name, _ in found], raw.index, dtype=object)
        raw[cosine] = log_odds([value for _, value in found])
    return raw


@pytest.fixture
def lists() -> pd.DataFrame:
    """Two lists of the same three candidates; b resembles a (seen on one day) and c (on another)."""
    raw = pd.DataFrame({"query_id": ["q"] * 3 + ["r"] * 3, "candidate_id": ["a", "b", "c"] * 2})
    raw["date1"] = pd.to_datetime(["2018-07-01", "2018-07-01", "2018-07-02"] * 2)
    alike = {(q, *pair): c for q in "qr" for pair, c in {("b", "a"): 0.8, ("b", "c"): 0.6, ("c", "b"): 0.6}.items()}
    return with_neighbours(raw, alike)


def test_rescoring_by_hand(lists: pd.DataFrame) -> None:
    own = np.array([0.9, 0.1, 0.5, 0.1, 0.2, 0.8])
    found = NeighbourRescoring(likeness=AS_GIVEN).best_neighbours(lists, log_odds(own))
    # b: 0.9 x 0.8 through a beats 0.5 x 0.6 through c; in the other list c is the better neighbour.
    np.testing.assert_allclose(found.amount, [0, 0.72, 0.1 * 0.6, 0, 0.8 * 0.6, 0.2 * 0.6], rtol=1e-6)
    np.testing.assert_allclose(found.likeness, [np.nan, 0.8, 0.6, np.nan, 0.6, 0.6], rtol=1e-6)
    assert found.row.tolist() == [-1, 0, 1, -1, 5, 4]
    rescored = sigmoid(NeighbourRescoring(likeness=AS_GIVEN).rescored(lists, log_odds(own)))
    np.testing.assert_allclose(rescored, 1 - (1 - own) * (1 - found.amount), rtol=1e-6)


def test_two_unknown_dates_are_not_one(lists: pd.DataFrame) -> None:
    own = np.array([0.9, 0.1, 0.5, 0.1, 0.2, 0.8])
    on_one_day = NeighbourRescoring(likeness=Likeness({"cosine": 1.0, "same_date": 2.0}, 0.0))
    found = on_one_day.best_neighbours(lists, log_odds(own))
    assert found.likeness[1] == pytest.approx(sigmoid(log_odds(0.8) + 2.0))
    unknown = on_one_day.best_neighbours(lists.assign(date1=pd.NaT), log_odds(own))
    assert unknown.likeness[1] == pytest.approx(0.8)


def test_lists_know_nothing_of_each_other_and_rows_may_come_in_any_order(lists: pd.DataFrame) -> None:
    scores = pd.Series(np.linspace(-2, 2, len(lists)), lists.index)
    rescoring = NeighbourRescoring(1.3, -0.2, AS_GIVEN)
    together = rescoring.rescored(lists, scores)
    for query in ("q", "r"):
        own = lists["query_id"] == query
        np.testing.assert_array_equal(rescoring.rescored(lists[own], scores[own]), together[own])
    shuffled = lists.sample(frac=1, random_state=1)
    np.testing.assert_array_equal(rescoring.rescored(shuffled, scores[shuffled.index]), together[shuffled.index])


def test_who_is_not_in_the_list_says_nothing(lists: pd.DataFrame) -> None:
    without = lists[lists["candidate_id"] != "a"].reset_index(drop=True)
    found = NeighbourRescoring().best_neighbours(without, np.full(len(without), 3.0))
    assert "a" not in set(without["candidate_id"].iloc[found.row[found.row >= 0]])
    scores = np.full(len(lists), 3.0)
    scores[lists["candidate_id"] == "a"] = np.nan
    rescored = NeighbourRescoring().rescored(lists, scores)
    assert np.isnan(rescored[0]) and np.isfinite(rescored[[1, 2]]).all()


def test_a_table_that_names_no_neighbours_keeps_its_order(lists: pd.DataFrame) -> None:
    bare = lists.drop(columns=list(COLUMNS))
    scores = np.linspace(-5, 5, len(bare))
    np.testing.assert_allclose(NeighbourRescoring(2.0, 1.0).rescored(bare, scores), 2 * scores + 1)
    assert NeighbourRescoring().rescored(lists.iloc[:0], np.zeros(0)).shape == (0,)


def test_rescoring_only_ever_raises_and_stays_finite() -> None:
    own = np.repeat(np.linspace(-40, 40, 41), 4)
    amount = np.tile([0.0, 1e-12, 0.5, 0.999], 41)
    rescored = noisy_or(own, amount)
    assert np.isfinite(rescored).all()
    assert (rescored >= own - 1e-9).all()
    np.testing.assert_array_equal(rescored[amount == 0], own[amount == 0])


@pytest.fixture(scope="module")
def encounters(make) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Made-up pairs whose candidates resemble those of their own encounter."""
    raw = make(individuals=16, photographs=6, seed=4)
    encounter = dict(zip(raw["candidate_id"], raw["encounter1"], strict=True))
    alike = {}
    for query, rows in raw.groupby("query_id")["candidate_id"]:
        names = rows.tolist()
        alike |= {(query, a, b): 0.9 for a in names for b in names if a != b and encounter[a] == encounter[b]}
    return with_neighbours(raw, alike)


def test_training_fits_the_rescoring_and_says_what_it_is_worth(encounters: pd.DataFrame, tmp_path: Path) -> None:
    trained = train_ranker(encounters, TrainingSettings(kind="logistic", folds=3))
    assert trained.ranker.rescoring is not None
    figures = trained.report["protocols"]["all"]
    assert figures["logistic"]["map"] > figures[f"logistic{ALONE}"]["map"]
    without = train_ranker(encounters, TrainingSettings(kind="logistic", folds=3, rescoring=False))
    assert without.ranker.rescoring is None
    same = encounters["individual0"] == encounters["individual1"]
    table = encounters.assign(same=same)
    assert evaluate(table, trained.ranker.score(table))["map"] > evaluate(table, without.ranker.score(table))["map"]

    trained.ranker.save(tmp_path / "ranker.json")
    again = Ranker.load(tmp_path / "ranker.json")
    assert again.rescoring == trained.ranker.rescoring
    assert again.individuals == trained.ranker.individuals
    assert again.individuals is not None and again.individuals.questions["new"] > 0
    pd.testing.assert_frame_equal(rank_pairs(encounters, again), rank_pairs(encounters, trained.ranker))


def test_an_explanation_with_neighbours_adds_up_to_the_score_and_names_the_neighbour(encounters: pd.DataFrame) -> None:
    ranker = train_ranker(encounters, TrainingSettings(kind="logistic", folds=3)).ranker
    explained = explain_pairs(encounters, ranker)
    total = explained.table.groupby(["query_id", "candidate_id"], sort=False)["contribution"].sum() + explained.baseline
    keys = pd.MultiIndex.from_frame(encounters[["query_id", "candidate_id"]])
    np.testing.assert_allclose(total.reindex(keys), ranker.score(encounters), atol=1e-6)
    said = explained.table.loc[explained.table["feature"] == NEIGHBOURS, "said"]
    assert len(said) == len(encounters)
    assert said.str.contains("which matches the query itself").any() and said.str.contains("no other candidate").any()


def matched_in(raw: pd.DataFrame, every: int) -> pd.DataFrame:
    """Match every n-th pair of candidates: those of one individual agree in half of their keypoints, others in few."""
    raw, rng = raw.copy(), np.random.default_rng(8)
    who = dict(zip(raw["candidate_id"], raw["individual1"], strict=True))
    for k, name in enumerate(NEIGHBOUR_COLUMNS):
        same = (raw[name].map(who) == raw["individual1"]).to_numpy()
        known = raw[name].notna().to_numpy() & (np.arange(len(raw)) % every == 0)
        ratio = np.clip(rng.normal(np.where(same, 0.5, 0.1), 0.05), 0, 1)
        for column, values in (("inlier_ratio", ratio), ("position_gap", 0.3 - ratio / 2)):
            raw[MATCHED_COLUMNS[column][k]] = np.where(known, values, np.nan)
        raw[MATCHED_COLUMNS["correlation_coarse"][k]] = raw[MATCHED_COLUMNS["correlation_fine"][k]] = np.nan
    return raw


@pytest.fixture(scope="module")
def look_alikes(make) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Every candidate resembles two others of its list in the same measure, of its own individual and of another."""
    raw = make(individuals=16, photographs=6, seed=4)
    who, alike = dict(zip(raw["candidate_id"], raw["individual1"], strict=True)), {}
    for query, rows in raw.groupby("query_id")["candidate_id"]:
        names = rows.tolist()
        for a in names:
            own, others = ([b for b in names if b != a and (who[b] == who[a]) == same] for same in (True, False))
            alike |= {(query, a, b): 0.5 for b in (*own[:1], *others[:1])}
    return with_neighbours(raw, alike)


def test_the_likeness_of_matched_pairs_is_learned_from_them_alone(look_alikes: pd.DataFrame) -> None:
    raw = matched_in(look_alikes, every=2)
    likeness = fit_likeness({"all": LabelledTable.of(raw)})
    assert likeness.matched is not None and set(likeness.matched.weights) == set(EVERY_FEATURE)
    assert likeness.matched.weights["inlier_ratio"] > 0 > likeness.matched.weights["position_gap"]
    assert likeness.matched.weights["correlation_fine"] == 0, "what never varies says nothing"
    unmatched = fit_likeness({"all": LabelledTable.of(look_alikes)})
    assert unmatched.matched is None and unmatched.weights == likeness.weights


def test_matching_candidates_with_one_another_raises_what_the_others_of_the_animal_say(
    look_alikes: pd.DataFrame, tmp_path: Path
) -> None:
    settings = TrainingSettings(kind="logistic", folds=3)
    figures, rankers = {}, {}
    for name, raw in (("with", matched_in(look_alikes, every=1)), ("without", look_alikes)):
        trained = train_ranker(raw, settings)
        figures[name], rankers[name] = trained.report["protocols"]["all"]["logistic"]["map"], trained.ranker
    assert figures["with"] > figures["without"]
    rankers["with"].save(tmp_path / "ranker.json")
    assert Ranker.load(tmp_path / "ranker.json").rescoring == rankers["with"].rescoring
