"""The figures of a report card, against arithmetic written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from engine.models.card import ReportCard, Step, duration
from engine.training import model_figures
from engine.training.model_figures import Answers, figures_of, out_of_fold_answers, reliability_of, worst_answers
from reranker.individual_model import FEATURES, NEW_FEATURES, IndividualModel
from reranker.ranker import Ranker, RankerSettings
from reranker.training import TrainedRanker


def answers() -> Answers:
    """Three queries: a hit first, a hit third, and one whose matches are not listed; q3 has no match at all."""
    rows = [
        ("q0", "a1", "A", 0.9),
        ("q0", "b1", "B", 0.2),
        ("q1", "b1", "B", 0.8),
        ("q1", "c1", "C", 0.6),
        ("q1", "a1", "A", 0.5),
        ("q2", "b1", "B", 0.3),
        ("q3", "b1", "B", 0.99),
    ]
    table = pd.DataFrame(rows, columns=["query_id", "image_id", "individual_id", "probability"])
    truth = pd.Series({"q0": "A", "q1": "A", "q2": "C", "q3": "D"})
    return Answers.of(table.sample(frac=1, random_state=0), truth, pd.Series({"q0": 1, "q1": 2, "q2": 1, "q3": 0}))


def test_figures_by_hand() -> None:
    found = answers()
    np.testing.assert_allclose(found.average_precisions(), [1.0, (1 / 3) / 2, 0.0])
    figures = figures_of(found)
    assert (figures.queries, figures.individuals) == (3, 2)
    assert figures.map20[0] == pytest.approx((1 + 1 / 6) / 3)
    assert (figures.top1, figures.top5) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (figures.individual_top1, figures.individual_top5) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    # With their matches taken out q0 and q1 leave more to a new individual than any known query, q2 is the same twice.
    known, new = [0.0909, 0.1176, 0.7], [0.8, 0.1538, 0.7]
    wins = np.mean([(n > k) + 0.5 * (n == k) for n in new for k in known])
    assert figures.new_auroc == pytest.approx(wins)


def test_individuals_are_ranked_by_the_model_of_the_query_s_fold() -> None:
    plain = answers()
    # One model looks at the best photograph alone, the other at how many there are of an individual.
    best, many = (
        IndividualModel({f: float(f == name) for f in FEATURES}, dict.fromkeys(NEW_FEATURES, 0.0))
        for name in ("best", "found")
    )
    rows = [("q1", "b2", "B", 0.1), ("q1", "c2", "C", 0.4), ("q0", "b3", "B", 0.1), ("q0", "b4", "B", 0.1)]
    more = pd.DataFrame(rows, columns=["query_id", "image_id", "individual_id", "probability"])
    table = pd.concat([plain.table, more], ignore_index=True)
    table["fold"] = table["query_id"].map({"q0": 0, "q1": 1, "q2": 1})
    found = Answers.of(table, plain.truth, plain.matches, {0: many, 1: best})
    first = found.individuals(found.table).query("rank == 1").set_index("query_id")["individual_id"].to_dict()
    assert first == {"q0": "B", "q1": "B", "q2": "B"}
    swapped = Answers.of(table, plain.truth, plain.matches, {0: best, 1: many})
    assert swapped.individuals(found.table).query("rank == 1").set_index("query_id")["individual_id"]["q0"] == "A"
    assert figures_of(found).individual_top1 == 0 and figures_of(swapped).individual_top1 == pytest.approx(1 / 3)


def test_no_fold_s_model_of_individuals_has_seen_its_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{who}{photo}" for who in "ABCDEF" for photo in range(2)]
    rows = [(q, c, q[0], c[0], 1, q[0] == c[0], "ABCDEF".index(q[0]) % 3) for q in names for c in names if q != c]
    frame = pd.DataFrame(
        rows, columns=["query_id", "candidate_id", "individual0", "individual1", "n_true", "same", "fold"]
    )
    frame["cosine"] = 0.0
    frame["logistic"] = frame["same"] + np.random.default_rng(0).normal(0, 0.3, len(frame))
    raw = frame.drop(columns=["same", "fold", "cosine", "logistic"])
    ranker = Ranker(RankerSettings(kind="logistic"), ())
    trained = TrainedRanker(ranker, {}, {"all": frame.drop(columns=["individual1"])})
    taught: list[set[str]] = []

    def fit(lists: list[pd.DataFrame]) -> None:
        taught.append({name for table in lists for name in table["individual0"]})

    monkeypatch.setattr(model_figures, "fit_on_lists", fit)
    found = out_of_fold_answers(trained, raw, "all", raw)
    assert taught == [set("BCEF"), set("ACDF"), set("ABDE")]
    assert dict(found.models) == {0: None, 1: None, 2: None} and len(found.truth) == 12
    assert found.individuals(found.table)["query_id"].nunique() == 12
    # What was judged beside teaches nothing, not even of other folds' individuals.
    taught.clear()
    beside = TrainedRanker(ranker, {}, {**trained.scores, "beside": trained.scores["all"].query("individual0 == 'A'")})
    rows = raw[raw["individual0"] == "A"]
    found = out_of_fold_answers(beside, raw, "beside", rows, {"beside": rows})
    assert taught == [set("BCEF")] and len(found.truth) == 2


def test_the_surest_wrong_answers_come_first() -> None:
    worst = worst_answers(answers(), 5)
    assert [(one.query_id, one.image_id, one.true_image_id, one.true_place) for one in worst] == [
        ("q1", "b1", "a1", 3),
        ("q2", "b1", "", 0),
    ]
    assert len(worst_answers(answers(), 1)) == 1


def test_a_bin_holds_mean_probability_share_and_count() -> None:
    curve = reliability_of(answers())
    assert sum(count for _, _, count in curve) == 6
    assert curve[-1] == (pytest.approx(0.9), 1.0, 1)


def card(gain: tuple[float, float, float]) -> ReportCard:
    steps = (Step("a", 10.0, taken=12.0), Step("b", 5.0, "too small"))
    figures = {"generic": figures_of(answers())}
    return ReportCard("m", "generic", 9, 3, 3, 2, "all", steps, figures, "generic", gain, (), ())


@pytest.mark.parametrize(
    ("gain", "words", "worth"),
    [
        ((0.1, 0.02, 0.2), "Worth using: mAP@20 +0.100 over 'generic'", True),
        ((0.1, -0.02, 0.2), "No clear gain", False),
        ((-0.1, -0.2, 0.0), "Not worth using", False),
    ],
)
def test_the_verdict_follows_from_the_interval(gain: tuple[float, float, float], words: str, worth: bool) -> None:
    assert card(gain).verdict.startswith(words)
    assert card(gain).worth_using is worth
    assert card(gain).to_dict()["worth_using"] is worth
    assert card(gain).better is not words.startswith("Not worth")


def test_times_in_words() -> None:
    assert [duration(s) for s in (40, 600, 7200, math.nan)] == ["40 s", "10 min", "2.0 h", ""]
    assert card((0, 0, 0)).to_dict()["steps"][1]["taken"] is None
