"""The search from descriptors to the pair table, on catalogues made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import CandidateFilter
from engine.catalogue.index import CatalogIndex
from engine.search import pipeline
from engine.search.candidates import Candidates, ShortlistSettings, expand
from engine.search.pipeline import search
from tests.engine.search.made_index import MadePool, made_index

EVERYONE = CandidateFilter()


def fan(count: int, step: float = 6.0) -> np.ndarray:
    """Unit vectors at 0, 6, 12, ... degrees: the further apart two rows, the less alike."""
    angles = np.deg2rad(step * np.arange(count))
    return np.stack([np.cos(angles), np.sin(angles)], 1)


@pytest.fixture(scope="module")
def index() -> CatalogIndex:
    return made_index(
        fan(10),
        individual_id=["w0", "w0", "w1", "w0", None, "w1", "w2", "w2", "w3", "w0"],
        encounter_id=["e0", "e0", "e1", "e2", None, "e1", "e3", "e3", "e4", "e5"],
        viewpoint=["top", "top", "left", "top", None, "top", "top", "right", "top", "top"],
        date=pd.to_datetime(["2018-01-01"] * 9 + ["2019-01-01"]),
    )


def run(index: CatalogIndex, queries: list[str], pool: MadePool, **options: int) -> pd.DataFrame:
    settings = ShortlistSettings(**{"size": 3, "expansion": 2, "rescore": 1, **options})
    return search(index.subset(queries), index, EVERYONE, settings, pool)


def test_each_photograph_s_own_columns_stand_on_its_own_side(index: CatalogIndex) -> None:
    table = run(index, ["p3"], MadePool({}), size=9, expansion=0)
    assert table["query_id"].unique().tolist() == ["p3"] and len(table) == 9
    number = table["candidate_id"].str.removeprefix("p").astype(int).to_numpy()
    np.testing.assert_array_equal(table["width0"], 103)
    np.testing.assert_array_equal(table["height0"], 303)
    np.testing.assert_array_equal(table["width1"], 100 + number)
    np.testing.assert_array_equal(table["height1"], 300 + number)
    np.testing.assert_allclose(table["body_share1"], 0.5 + number / 100)
    np.testing.assert_allclose(table["sharpness0"], 2.03)
    np.testing.assert_allclose(table["sharpness1"], 2 + number / 100)
    known = index.catalog.table.set_index("image_id")
    for name in ("individual", "encounter"):
        expected = known.loc[table["candidate_id"], f"{name}_id"].fillna("")
        assert table[f"{name}1"].fillna("").tolist() == expected.tolist()
        assert (table[f"{name}0"] == known.loc["p3", f"{name}_id"]).all()
    expected = known.loc[table["candidate_id"], "viewpoint"].fillna("")
    assert table["viewpoint1"].fillna("").tolist() == expected.tolist()
    np.testing.assert_allclose(table["cosine"], np.cos(np.deg2rad(6 * np.abs(number - 3))), atol=1e-6)


def test_true_matches_and_the_own_encounter_are_those_of_the_whole_catalogue(index: CatalogIndex) -> None:
    table = run(index, ["p0", "p4"], MadePool({}), size=2, expansion=0)
    assert (table.loc[table["query_id"] == "p0", "n_true"] == 3).all()
    assert np.isnan(table.loc[table["query_id"] == "p4", "n_true"]).all(), "not known, not zero"
    assert table.loc[table["query_id"] == "p0", ["candidate_id", "same_encounter"]].to_numpy().tolist() == [
        ["p1", True],
        ["p2", False],
    ]


def test_two_flanks_are_matched_unless_they_are_kept_apart(index: CatalogIndex) -> None:
    for apart in (False, True):
        settings = ShortlistSettings(size=9, expansion=0, rescore=9, flanks_apart=apart)
        pool = MadePool({}, {("p2", "p7"): 5.0})
        table = search(index.subset(["p2"]), index, EVERYONE, settings, pool).set_index("candidate_id")
        assert table["skin_inliers"].notna()["p7"] != apart
        assert table["local_score"].notna()["p7"] != apart
        assert table["skin_inliers"].notna()["p4"], "a view that is not known may be any"


def test_a_flank_and_a_back_are_not_matched(index: CatalogIndex) -> None:
    pool = MadePool({})
    table = run(index, ["p0", "p2"], pool, size=9, expansion=0, rescore=9, neighbour_pairs=0)
    table = table.set_index(["query_id", "candidate_id"])
    matched = table["skin_inliers"].notna()
    assert not matched["p0", "p2"] and not matched["p0", "p7"] and matched["p0", "p5"] and matched["p0", "p4"]
    assert not matched["p2", "p0"] and matched["p2", "p7"]
    for matcher in ("skin", "mutual_nn", "lightglue"):
        assert set(pool.asked[matcher]) == set(matched.index[matched])
        assert (table[f"{matcher}_inliers"].notna() == matched).all()


def test_the_best_by_cosine_and_first_stage_are_rescored(index: CatalogIndex) -> None:
    pool = MadePool({("p0", "p3"): 90, ("p0", "p4"): 40})
    # By cosine p1, p3, p4, p5 (p2 is a flank); by inliers p3, p4, then the others: p3 leads both orders together.
    table = run(index, ["p0"], pool, size=5, expansion=0, rescore=1)
    assert pool.asked["lightglue"] == [("p0", "p3")]
    row = table.set_index("candidate_id").loc["p3"]
    assert (row["skin_inliers"], row["mutual_nn_inliers"], row["lightglue_inliers"]) == (90, 90, 180)
    for count, expected in (
        (0, set()),
        (2, {"p3", "p1"}),
        (4, {"p1", "p3", "p4", "p5"}),
        (99, {"p1", "p3", "p4", "p5"}),
    ):
        pool = MadePool({("p0", "p3"): 90, ("p0", "p4"): 40})
        run(index, ["p0"], pool, size=5, expansion=0, rescore=count)
        assert {candidate for _, candidate in pool.asked.get("lightglue", [])} == expected


def test_the_best_by_keypoints_are_compared_by_their_skin(index: CatalogIndex) -> None:
    inliers = {("p0", "p3"): 90, ("p0", "p4"): 40, ("p0", "p9"): 60}
    for count, expected in ((1, {"p3"}), (2, {"p3", "p9"}), (0, {"p1", "p3", "p4", "p5", "p6", "p8", "p9"})):
        pool = MadePool(inliers)
        table = run(index, ["p0"], pool, size=9, expansion=0, skin=count).set_index("candidate_id")
        assert {candidate for _, candidate in pool.asked["skin"]} == expected
        assert set(table.index[table["skin_inliers"].notna()]) == expected
        assert table["mutual_nn_inliers"].notna().sum() == 7, "a flank is not matched"


def test_the_longest_list_does_not_take_the_skin_of_another(index: CatalogIndex) -> None:
    both, alone = (run(index, asked, MadePool({}), size=9, skin=2) for asked in (["p0", "p3"], ["p3"]))
    own = both[both["query_id"] == "p3"].reset_index(drop=True)
    pd.testing.assert_frame_equal(own, alone, check_exact=True)
    assert own["skin_inliers"].notna().sum() == 2


def test_what_resembles_a_match_is_added_and_matched_and_may_be_rescored(index: CatalogIndex) -> None:
    pool = MadePool({("p0", "p3"): 300, ("p0", "p5"): 400})
    table = run(index, ["p0"], pool, size=3, expansion=2, rescore=1)
    # The list is p1, p2, p3; only p3 matches, and p4 and p5 resemble it most.
    assert table["candidate_id"].tolist() == ["p1", "p2", "p3", "p4", "p5"]
    assert table.set_index("candidate_id")["mutual_nn_inliers"].loc[["p3", "p4", "p5"]].tolist() == [300, 0, 400]
    assert pool.asked["skin"] == [("p0", "p1"), ("p0", "p3"), ("p0", "p4"), ("p0", "p5")]
    assert pool.asked["lightglue"] == [("p0", "p1")], "first of one order and in the middle of the other"
    # The list's leaders are p5, then p3, then p1 and p4; p2 was not matched, and nobody is a neighbour of its own.
    assert table["neighbour0"].fillna("").tolist() == ["p5"] * 4 + [""]
    assert table["neighbour1"].fillna("").tolist() == ["p3", "p3", "", "p3", "p3"]
    assert table["neighbour3"].notna().sum() == 4 and table["neighbour4"].isna().all()


def test_unmatched_candidates_bring_nobody() -> None:
    """The list holds one flank, which is not matched with the query from above: nothing is known to resemble it."""
    index = made_index(fan(5), viewpoint=["top", "left", "left", "left", "left"])
    table = run(index, ["p0"], MadePool({}), size=1, expansion=3)
    assert table["candidate_id"].tolist() == ["p1"]
    assert table[["skin_inliers", "mutual_nn_inliers", "lightglue_inliers"]].isna().all(axis=None)


def test_a_query_stands_alone_to_the_bit(index: CatalogIndex) -> None:
    inliers = {(f"p{a}", f"p{b}"): float((7 * a + 3 * b) % 40) for a in range(10) for b in range(10)}
    ids = index.catalog.ids
    together = run(index, ids, MadePool(inliers))
    assert together["query_id"].drop_duplicates().tolist() == ids
    for query in ids:
        own = together[together["query_id"] == query].reset_index(drop=True)
        alone = run(index, [query], MadePool(inliers))
        pd.testing.assert_frame_equal(alone, own, check_exact=True, check_dtype=False)


def test_the_first_stage_leads_to_others_as_if_one_candidate_in_ten_were_right(
    index: CatalogIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple] = []

    def noted(*arguments: Any) -> Candidates:
        asked.append(arguments)
        return expand(*arguments)

    monkeypatch.setattr(pipeline, "expand", noted)
    run(index, ["p0"], MadePool({("p0", "p1"): 40}))
    (first, probability, *_), *others = asked
    assert not others
    odds = np.exp(first.evidence) / 9
    np.testing.assert_allclose(probability, np.nan_to_num(odds / (1 + odds)), rtol=1e-9)
    assert (probability[np.isnan(first.evidence)] == 0).all() and np.isnan(first.evidence).any()


def test_what_the_filter_drops_is_no_candidate_of_anybody(index: CatalogIndex) -> None:
    rules = CandidateFilter(exclude_ids=("p1", "p3"))
    settings = ShortlistSettings(size=9, expansion=2, rescore=0)
    found = search(index.subset(["p0", "p1"]), index, rules, settings, MadePool({}))
    assert not set(found["candidate_id"]) & {"p1", "p3"}
    assert found["query_id"].value_counts().to_dict() == {"p0": 7, "p1": 8}


def test_a_list_says_whether_the_own_encounter_could_be_in_it(index: CatalogIndex) -> None:
    for excluded in (True, False):
        rules = CandidateFilter(exclude_encounter=excluded)
        found = search(index.subset(["p0"]), index, rules, ShortlistSettings(size=3), MadePool({}))
        assert set(found["own_encounter_allowed"]) == {not excluded}


def test_no_query_and_no_candidate(index: CatalogIndex) -> None:
    assert run(index, [], MadePool({})).empty
    lone = made_index(fan(1))
    table = search(index.subset(["p0"]), lone, CandidateFilter(since="2100-01-01"), ShortlistSettings(), MadePool({}))
    assert table.empty
    assert {"query_id", "cosine", "skin_inliers", "n_true"} <= set(table.columns)


def test_the_local_score_brings_what_the_descriptor_would_not(index: CatalogIndex) -> None:
    table = run(index, ["p0"], MadePool({}, {("p0", "p6"): 30.0, ("p0", "p8"): 1.0}), size=2, expansion=0)
    # The flank p2 has no local score and keeps the cosine's place; p1 has one, below the mean.
    assert table["candidate_id"].tolist() == ["p6", "p2"]
    assert table["local_score"][0] == 30 and table["local_znorm"][0] > 2 and table["cosine_znorm"][0] < 0
    assert np.isnan(table["local_score"][1]) and table["cosine_znorm"][1] > 0


def test_a_score_means_the_same_whatever_the_length_of_the_list(index: CatalogIndex) -> None:
    pool = MadePool({}, {("p0", f"p{k}"): float(k * k) for k in range(10)})
    short, whole = (run(index, ["p0"], pool, size=size, expansion=0).set_index("candidate_id") for size in (2, 0))
    assert len(short) == 2 and len(whole) == 9
    for name in ("cosine_znorm", "local_znorm"):
        np.testing.assert_array_equal(short[name], whole.loc[short.index, name])
    flanks = whole.loc[["p2", "p7"]]
    assert flanks["local_znorm"].isna().all() and flanks["cosine_znorm"].notna().all()


def test_a_photograph_asked_for_by_name_joins_the_list_with_its_place_in_the_whole_catalogue(
    index: CatalogIndex,
) -> None:
    settings = ShortlistSettings(size=2, expansion=0, rescore=9)
    pool = MadePool({("p0", "p9"): 7}, {("p0", "p9"): 2.0})
    whole = search(index.subset(["p0"]), index, EVERYONE, settings.replace(size=0), pool).set_index("candidate_id")
    table = search(index.subset(["p0"]), index, EVERYONE, settings, pool, include=["p8", "p1"])
    assert table["candidate_id"].tolist() == ["p2", "p1", "p8"], "found ones keep their places, and none comes twice"
    row = table.set_index("candidate_id").loc["p8"]
    assert row["mutual_nn_inliers"] == 0 and row["local_znorm"] == whole.loc["p8", "local_znorm"]
