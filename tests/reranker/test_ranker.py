"""The ranker's three kinds behind one interface: learning, directions, determinism, files and explanations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reranker.feature_registry import FEATURE_NAMES, FEATURES
from reranker.list_calibration import ListCalibration
from reranker.pair_features import build
from reranker.protocols import evaluate
from reranker.rank_order import rank_order
from reranker.ranker import LabelledRows, Ranker, RankerError, RankerSettings, check_disjoint
from reranker.ranking import rank_pairs
from reranker.tree_scorer import RankingRows, _dataset
from scarmatch.sealed_json import read_sealed, write_sealed

KINDS = ("logistic", "lambdamart", "blend")


def quick(kind: str, **changes: object) -> RankerSettings:
    """Settings for a small table."""
    return RankerSettings(kind=kind, n_trees=30, patience=0, min_data_in_leaf=10).replace(**changes)  # type: ignore[arg-type]


def fitted(pairs: pd.DataFrame, settings: RankerSettings) -> Ranker:
    same = (pairs["individual0"] == pairs["individual1"]).to_numpy()
    return Ranker.fit(build(pairs), same, pairs["query_id"], pairs["individual0"], settings)


@pytest.fixture(scope="module", params=KINDS)
def ranker(request: pytest.FixtureRequest, pairs: pd.DataFrame) -> Ranker:
    return fitted(pairs, quick(request.param))


def test_it_beats_its_best_input_on_individuals_it_never_saw(ranker: Ranker, make) -> None:  # type: ignore[no-untyped-def]
    other = make(seed=99)
    other = other.assign(same=other["individual0"] == other["individual1"])
    best = max(
        evaluate(other, other[name])["map"] for name in ("cosine", "lightglue_inliers", "lightglue_confidence_sum")
    )
    assert evaluate(other, ranker.predict(build(other)))["map"] > best + 0.03


def test_scores_are_finite_float64_even_without_any_optional_evidence(ranker: Ranker, pairs: pd.DataFrame) -> None:
    bare = pairs[["query_id", "candidate_id", "cosine"]]
    scores = ranker.predict(build(bare))
    assert scores.dtype == np.float64 and np.isfinite(scores).all()
    undated = pairs.assign(date0=pd.NaT, viewpoint1=None)
    assert np.isfinite(ranker.predict(build(undated))).all()


def test_an_empty_table_is_scored(ranker: Ranker, pairs: pd.DataFrame) -> None:
    empty = build(pairs.iloc[:0])
    assert ranker.predict(empty).shape == (0,) and len(ranker.explain(empty)) == 0


def test_contributions_add_up_to_the_score(ranker: Ranker, pairs: pd.DataFrame) -> None:
    rows = build(pairs).iloc[:200]
    explained = ranker.explain(rows)
    assert list(explained.columns) == [*FEATURE_NAMES, "baseline"]
    np.testing.assert_allclose(explained.sum(axis=1), ranker.predict(rows), atol=1e-9)
    assert np.ptp(explained["baseline"]) == 0


def test_monotone_features_never_count_against_their_direction(ranker: Ranker, pairs: pd.DataFrame) -> None:
    rows = build(pairs).iloc[:40]
    for entry in FEATURES:
        if entry.monotone == 0 or rows[entry.name].isna().all():
            continue
        grid = np.linspace(rows[entry.name].min() - 1, rows[entry.name].max() + 1, 15)
        scores = np.stack([ranker.predict(rows.assign(**{entry.name: np.float32(value)})) for value in grid])
        assert (entry.monotone * np.diff(scores, axis=0) >= -1e-12).all(), entry.name


def test_without_the_constraint_a_misleading_feature_is_followed(pairs: pd.DataFrame) -> None:
    same = (pairs["individual0"] == pairs["individual1"]).to_numpy()
    upside_down = pairs[["query_id", "candidate_id", "cosine"]].assign(skin_aligned_similarity=-pairs["cosine"])
    rows = build(upside_down)
    for kind in ("logistic", "lambdamart"):
        free, held = (
            Ranker.fit(rows, same, pairs["query_id"], settings=quick(kind, monotone=m, groups=("skin",))).predict(rows)
            for m in (False, True)
        )
        assert np.corrcoef(free, upside_down["skin_aligned_similarity"])[0, 1] < -0.5
        assert np.ptp(held) == 0, "the only evidence speaks against its direction: it must not be used"


def test_the_order_of_rows_and_of_queries_does_not_matter(ranker: Ranker, pairs: pd.DataFrame) -> None:
    again = fitted(pairs, ranker.settings)
    rows = build(pairs)
    np.testing.assert_array_equal(again.predict(rows), ranker.predict(rows))
    shuffled = rows.sample(frac=1, random_state=1)
    np.testing.assert_array_equal(ranker.predict(shuffled), ranker.predict(rows)[shuffled.index])


def test_other_queries_change_neither_scores_nor_probabilities(ranker: Ranker, pairs: pd.DataFrame) -> None:
    query = pairs["query_id"].iloc[0]
    own = pairs["query_id"] == query
    alone, among = rank_pairs(pairs.loc[own], ranker), rank_pairs(pairs, ranker)
    pd.testing.assert_frame_equal(alone, among.loc[among["query_id"] == query])


def test_lists_that_are_scored_in_parts_have_the_scores_of_all_at_once(
    ranker: Ranker, pairs: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = pairs.sample(frac=1.0, random_state=0)
    sizes = []
    monkeypatch.setattr("reranker.ranker.build", lambda raw: sizes.append(raw["query_id"].nunique()) or build(raw))
    at_once = ranker.score(mixed)
    monkeypatch.setattr("reranker.ranker._SCORED_AT_ONCE", 2 * len(mixed) // mixed["query_id"].nunique())
    np.testing.assert_array_equal(ranker.score(mixed), at_once)
    assert len(sizes) > 2 and sum(sizes) == 2 * mixed["query_id"].nunique()


def test_a_saved_ranker_is_the_same_ranker(ranker: Ranker, pairs: pd.DataFrame, tmp_path: Path) -> None:
    named = ranker.with_origin("aliked", "0123abcd", {"data": "made up"})
    named.save(tmp_path / "ranker.json")
    again = Ranker.load(tmp_path / "ranker.json")
    rows = build(pairs)
    np.testing.assert_array_equal(again.predict(rows), ranker.predict(rows))
    pd.testing.assert_frame_equal(rank_pairs(pairs, again), rank_pairs(pairs, ranker))
    assert (again.kind, again.keypoint_kind, again.descriptor) == (ranker.kind, "aliked", "0123abcd")
    assert again.metadata == {"data": "made up"} and again.settings == ranker.settings
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "ranker.json").read_text()


def test_feature_tables_that_do_not_fit_are_refused(ranker: Ranker, pairs: pd.DataFrame) -> None:
    rows = build(pairs)
    with pytest.raises(RankerError, match=r"missing cosine; unknown colour"):
        ranker.predict(rows.rename(columns={"cosine": "colour"}))
    with pytest.raises(RankerError, match="unknown colour"):
        ranker.explain(rows.assign(colour=1.0))
    turned = rows[rows.columns[::-1]]
    np.testing.assert_array_equal(ranker.predict(turned), ranker.predict(rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "something"}, "not a ranker of this version"),
        ({"version": 99}, "not a ranker of this version"),
        ({"feature_version": 0}, "trained on features of version 0"),
        ({"feature_names": ["cosine", "colour"]}, "unknown features: colour"),
        ({"feature_names": ["cosine"]}, "damaged ranker"),
        ({"members": []}, "damaged ranker"),
        ({"settings": {"kinds": "blend"}}, "did you mean 'kind'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(
    pairs: pd.DataFrame, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "ranker.json"
    fitted(pairs, quick("logistic")).save(path)
    write_sealed(path, {**read_sealed(path), **change})
    with pytest.raises(RankerError, match=message) as caught:
        Ranker.load(path)
    assert str(path) in str(caught.value)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text("no json")
    for name in ("text.json", "absent.json"):
        with pytest.raises(RankerError, match=name):
            Ranker.load(tmp_path / name)


def test_a_group_left_out_is_not_looked_at(pairs: pd.DataFrame) -> None:
    ranker = fitted(pairs, quick("blend", groups=("global", "lightglue")))
    assert set(ranker.feature_names) == {entry.name for entry in FEATURES if entry.group in ("global", "lightglue")}
    rows = build(pairs)
    undated = build(pairs.drop(columns=["date0", "date1", "skin_inliers"]))
    np.testing.assert_array_equal(ranker.predict(rows), ranker.predict(undated))


def test_shuffled_lists_keep_their_rows_and_lists_that_teach_nothing_are_left_out() -> None:
    # Lists of 2, 3, 4, ... rows; the one feature is the number of the list.
    sizes = {"a": 4, "b": 2, "c": 5, "d": 3, "none": 6, "all": 3}
    queries = np.repeat(list(sizes), list(sizes.values()))
    labels = np.concatenate([np.arange(n) == 0 for n in sizes.values()]) & (queries != "none") | (queries == "all")
    codes = np.unique(queries, return_inverse=True)[1].astype(float)[:, None]
    order = np.random.default_rng(0).permutation(len(queries))
    seen = set()
    for seed in range(4):
        data = _dataset(RankingRows(codes[order], labels[order], queries[order]), ["cosine"], seed).construct()
        groups = np.split(data.get_data()[:, 0], np.cumsum(data.get_group())[:-1])
        assert [len(set(rows)) for rows in groups] == [1] * 4
        assert sorted(len(rows) for rows in groups) == [2, 3, 4, 5]
        seen.add(tuple(data.get_group()))
    assert len(seen) > 1, "the seed must shuffle the queries"


def test_early_stopping_looks_at_other_individuals_only(pairs: pd.DataFrame) -> None:
    rows, same = build(pairs), (pairs["individual0"] == pairs["individual1"]).to_numpy()
    held_out = pairs["individual0"].isin(["whale00", "whale01", "whale02"]).to_numpy()
    everything = LabelledRows(rows, same, pairs["query_id"].to_numpy(), pairs["individual0"].to_numpy())
    train, valid = everything.take(~held_out), everything.take(held_out)
    settings = quick("lambdamart", n_trees=300, patience=5, learning_rate=0.3)
    stopped = Ranker.fit(train.features, train.labels, train.queries, train.individuals, settings, valid)
    assert stopped.members[0].scorer.n_trees < 300  # type: ignore[attr-defined]
    with pytest.raises(RankerError, match=r"both sides of the split, e\.g\. whale00"):
        Ranker.fit(rows, same, pairs["query_id"], pairs["individual0"], settings, valid)
    with pytest.raises(RankerError, match="needs the individual"):
        check_disjoint(None, np.array(["whale00"]))


def test_tables_without_anything_to_learn_are_refused(pairs: pd.DataFrame) -> None:
    rows = build(pairs)
    for kind in KINDS:
        with pytest.raises(RankerError, match="cannot fit"):
            Ranker.fit(rows, np.zeros(len(rows)), pairs["query_id"], settings=quick(kind))
    with pytest.raises(RankerError, match="one length"):
        Ranker.fit(rows, np.zeros(3), pairs["query_id"], settings=quick("logistic"))


def test_ties_are_broken_by_cosine_then_identifier_whatever_the_order_of_rows() -> None:
    table = pd.DataFrame(
        {
            "query": ["q2", "q1", "q1", "q1", "q1", "q1"],
            "score": [0.5, 1.0, 1.0, 1.0, 2.0, np.nan],
            "cosine": [0.1, 0.3, 0.9, 0.3, np.nan, 0.9],
            "id": ["x", "d", "c", "b", "a", "e"],
        }
    )
    for seed in range(5):
        mixed = table.sample(frac=1, random_state=seed)
        order = rank_order(mixed["query"], mixed["score"], mixed["cosine"], mixed["id"])
        assert mixed["id"].iloc[order].tolist() == ["a", "c", "b", "d", "e", "x"]


def test_ranked_pairs_fall_strictly_and_keep_at_most_top(ranker: Ranker, pairs: pd.DataFrame) -> None:
    for model in (ranker, None):
        ranked = rank_pairs(pairs, model, top=7)
        assert (ranked.groupby("query_id").size() == 7).all()
        for _, rows in ranked.groupby("query_id"):
            assert rows["rank"].tolist() == list(range(1, 8))
            assert (np.diff(rows["probability"]) < 0).all() and rows["probability"].between(0, 1).all()
    assert len(rank_pairs(pairs.iloc[:0], ranker)) == 0, "a query without candidates has no row"


def test_a_catalogue_of_equal_photographs_is_ranked_by_identifier(ranker: Ranker) -> None:
    raw = pd.DataFrame({"query_id": "q", "candidate_id": ["c", "a", "b"], "cosine": 0.5})
    ranked = rank_pairs(raw, ranker)
    assert ranked["candidate_id"].tolist() == ["a", "b", "c"]
    assert (np.diff(ranked["probability"]) < 0).all()


def test_importance_tells_which_evidence_counts(pairs: pd.DataFrame) -> None:
    shares = fitted(pairs, quick("blend")).importance()
    assert list(shares.columns) == ["tree", "linear"]
    np.testing.assert_allclose(shares.sum(), 1.0)
    assert shares.loc["requery_score"].tolist() == [0.0, 0.0], "evidence that was never seen cannot count"


def test_a_ranker_of_the_version_before_has_one_curve_for_all_places(
    ranker: Ranker, pairs: pd.DataFrame, tmp_path: Path
) -> None:
    single = ranker.with_calibration(ListCalibration(ranker.calibration.every))
    single.save(tmp_path / "now.json")
    data = read_sealed(tmp_path / "now.json")
    data |= {"version": 2, "calibration": data["calibration"]["every"]}
    write_sealed(tmp_path / "before.json", data)
    pd.testing.assert_frame_equal(rank_pairs(pairs, Ranker.load(tmp_path / "before.json")), rank_pairs(pairs, single))
