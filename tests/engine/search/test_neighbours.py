"""The leading candidates of a list beside its others, on catalogues made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import CandidateFilter
from engine.catalogue.index import CatalogIndex
from engine.search.allowed import AllowedCandidates
from engine.search.candidates import Candidates, ShortlistSettings
from engine.search.neighbours import Neighbours, find_neighbours
from engine.search.pipeline import search
from reranker.likeness import COLUMNS, MATCHED_COLUMNS, NEIGHBOURS
from tests.engine.search.made_index import MadePool, made_index

UNMATCHED = ShortlistSettings(neighbour_pairs=0)
VIEWS = ["top"] * 12 + ["left", "left"]


@pytest.fixture(scope="module")
def index() -> CatalogIndex:
    vectors = np.random.default_rng(5).normal(size=(14, 6))
    stamps = pd.to_datetime(["2020-01-01 10:00:00", "2020-01-01 10:00:07", *[None] * 12])
    return made_index(vectors, viewpoint=VIEWS, timestamp=stamps, individual_id=[None] * 14, encounter_id=[None] * 14)


def one_list(evidence: list[float]) -> Candidates:
    """The candidates in the rows 0, 1, ..., with falling cosines."""
    rows, none = np.arange(len(evidence)), np.zeros(len(evidence), np.float32)
    cosine = np.linspace(0.9, 0.1, len(rows), dtype=np.float32)
    query = np.zeros(len(rows), np.int64)
    return Candidates(query, rows, cosine, none, none, none, none, evidence=np.array(evidence))


def neighbours(index: CatalogIndex, evidence: list[float], local: dict[tuple[str, str], float]) -> Neighbours:
    """The neighbours of query p13's list, which holds the rows 0, 1, ... as far as there is evidence."""
    candidates = one_list(evidence)
    queries = index.subset(["p13"])
    allowed = AllowedCandidates(queries, index, CandidateFilter())
    return find_neighbours(candidates, queries, index, allowed, MadePool({}, local), UNMATCHED)


def test_the_best_by_evidence_lead_and_nobody_neighbours_itself(index: CatalogIndex) -> None:
    found = neighbours(index, [0.1, 3.0, np.nan, 2.0], {})
    assert found.row[:, 0].tolist() == [1, -1, 1, 1]
    assert found.row[:, 1].tolist() == [3, 3, 3, -1]
    assert found.row[:, 2].tolist() == [-1, 0, 0, 0]
    assert (found.row[:, 3:] == -1).all(), "one that was not matched leads nobody"
    assert found.row.shape == (4, NEIGHBOURS)


def test_scores_are_those_above_the_leader_s_scores_with_the_catalogue(index: CatalogIndex) -> None:
    local = {("p1", f"p{k}"): float(k % 5) for k in range(14)} | {("p1", "p0"): 30.0}
    found = neighbours(index, [0.1, 3.0, 0.0], local)
    others = [k for k in range(13) if k != 1]  # p13 asks, p1 leads
    cosines = index.vectors[others] @ index.vectors[1]
    expected = (index.vectors[[0, 2]] @ index.vectors[1] - cosines.mean()) / cosines.std()
    np.testing.assert_allclose(found.cosine_znorm[[0, 2], 0], expected, rtol=1e-4)
    # The local score knows no flank: p12 is left out of what p1 is compared with.
    scores = np.array([local["p1", f"p{k}"] for k in others if k != 12])
    np.testing.assert_allclose(
        found.local_znorm[[0, 2], 0], (np.array([30.0, 2.0]) - scores.mean()) / scores.std(), rtol=1e-4
    )
    assert np.isnan(found.local_znorm[1, 0]) and np.isnan(found.cosine_znorm[1, 0])


def test_what_leads_several_lists_is_scored_once_and_a_list_knows_nothing_of_the_others(
    index: CatalogIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    local = {(f"p{a}", f"p{b}"): float(rng.integers(1, 30)) for a in range(14) for b in range(14)}
    queries = index.subset(["p13", "p12", "p11"])
    lists = [one_list([0.1, 3.0, 0.0]), one_list([0.2, 2.0, 0.0, 1.0]), one_list([4.0, 0.0])]
    numbers = np.repeat(np.arange(3), [3, 4, 2])
    together = lists[0].followed_by(lists[1]).followed_by(lists[2])
    together = replace(together, query=numbers)
    pool = MadePool({}, local)

    def found(block: int) -> Neighbours:
        monkeypatch.setattr("engine.search.neighbours._BLOCK", block)
        allowed = AllowedCandidates(queries, index, CandidateFilter())
        return find_neighbours(together, queries, index, allowed, pool, UNMATCHED)

    whole, alone = found(3), found(1)
    calls = [[name for name, _ in tasks] for tasks in pool.scored]
    assert len(calls[0]) == len(set(calls[0])) == 4, "rows 0 to 3 lead lists"
    assert [len(keys) for keys in calls[1:]] == [3, 4, 2]
    for name in ("row", "cosine_znorm", "local_znorm", "seconds"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(alone, name))
    assert np.isfinite(whole.local_znorm).sum() > 10


def test_what_a_search_has_scored_is_not_scored_again(index: CatalogIndex) -> None:
    rng = np.random.default_rng(4)
    local = {(f"p{a}", f"p{b}"): float(rng.integers(1, 30)) for a in range(14) for b in range(14)}
    known = np.array([local["p1", f"p{k}"] for k in range(14)], np.float32)
    known[[0, 5]] = np.nan  # what the query p1 was not allowed to have
    queries = index.subset(["p13"])
    allowed = AllowedCandidates(queries, index, CandidateFilter())
    candidates, pool = one_list([0.1, 3.0, np.nan]), MadePool({}, local)
    found = find_neighbours(candidates, queries, index, allowed, pool, UNMATCHED, known={index.keys[1]: known})
    assert dict(pool.scored[0])["p1"] == [0, 5]
    plain = find_neighbours(candidates, queries, index, allowed, MadePool({}, local), UNMATCHED)
    np.testing.assert_array_equal(found.local_znorm, plain.local_znorm)


def test_a_flank_and_a_back_have_no_local_score_and_unknown_times_no_gap(index: CatalogIndex) -> None:
    found = neighbours(index, [0.0, 2.0, *[-9.0] * 10, 1.0], {})
    assert found.row[12, 0] == 1 and np.isnan(found.local_znorm[12, 0]) and np.isfinite(found.cosine_znorm[12, 0])
    assert found.seconds[0, 0] == 7.0 and np.isnan(found.seconds[2:, 0]).all()


def test_clocks_that_are_not_trusted_say_nothing(index: CatalogIndex) -> None:
    settings = ShortlistSettings(size=5, expansion=0, rescore=0)
    pool = MadePool({})
    for trusted in (True, False):
        table = search(index, index, CandidateFilter(), settings.replace(trust_times=trusted), pool)
        seconds = table.filter(regex=r"neighbour\d_seconds")
        assert bool(seconds.notna().any(axis=None)) == trusted
        assert table["neighbour0"].notna().any(), "who leads does not depend on it"


def test_nobody_is_compared_where_nobody_asks_for_it(index: CatalogIndex) -> None:
    settings = ShortlistSettings(size=5, expansion=0, rescore=0)
    pool = MadePool({})
    with_them = search(index, index, CandidateFilter(), settings, pool)
    without = search(index, index, CandidateFilter(), settings, pool, with_neighbours=False)
    matched = {column for columns in MATCHED_COLUMNS.values() for column in columns}
    assert set(with_them.columns) - set(without.columns) == {*COLUMNS, *matched}
    pd.testing.assert_frame_equal(without, with_them[list(without.columns)])


def test_what_a_query_may_not_have_is_no_part_of_the_sample(index: CatalogIndex) -> None:
    far = made_index(np.vstack([index.vectors, np.full((1, 6), 9.0)]), viewpoint=[*VIEWS, "top"])
    table = far.catalog.table
    table["individual_id"] = table["encounter_id"] = None
    for name in ("date", "earliest", "latest"):
        table[name] = pd.to_datetime(["2020-01-01"] * 14 + ["2030-01-01"])
    candidates = one_list([1.0, 0.0])
    queries = far.subset(["p13"])
    rules = (CandidateFilter(), CandidateFilter(until="2021-01-01"))
    every, some = (
        find_neighbours(candidates, queries, far, AllowedCandidates(queries, far, rule), MadePool({}), UNMATCHED)
        for rule in rules
    )
    assert every.cosine_znorm[1, 0] != some.cosine_znorm[1, 0]


def test_lists_do_not_depend_on_each_other(index: CatalogIndex) -> None:
    local = {(f"p{a}", f"p{b}"): float((3 * a + 5 * b) % 11) for a in range(14) for b in range(14)}
    settings = ShortlistSettings(size=4, expansion=2, rescore=0)
    index.catalog.table["date"] = pd.NaT
    together = search(index, index, CandidateFilter(), settings, MadePool({}, local))
    for name in ("p0", "p7", "p13"):
        alone = search(index.subset([name]), index, CandidateFilter(), settings, MadePool({}, local))
        own = together[together["query_id"] == name].reset_index(drop=True)
        # Columns of names may hold None or NaN for nobody, whatever pandas makes of their other rows.
        assert alone.astype(str).replace("None", "nan").equals(own.astype(str).replace("None", "nan"))


def test_the_pairs_that_promise_most_are_matched_each_once_and_written_where_they_belong(index: CatalogIndex) -> None:
    rng = np.random.default_rng(6)
    local = {(f"p{a}", f"p{b}"): float(rng.integers(1, 30)) for a in range(14) for b in range(14)}
    inliers = {(f"p{a}", f"p{b}"): float(10 * a + b) for a in range(14) for b in range(14)}
    queries = index.subset(["p13", "p11"])
    together = one_list([0.1, 3.0, 0.0, -2.0]).followed_by(one_list([0.2, 2.5, 0.1]))
    together = replace(together, query=np.repeat(np.arange(2), [4, 3]))
    allowed, pool = AllowedCandidates(queries, index, CandidateFilter()), MadePool(inliers, local)

    found = find_neighbours(together, queries, index, allowed, pool, ShortlistSettings(neighbour_pairs=3))
    ratio = found.matched["inlier_ratio"]
    assert [int((~np.isnan(ratio[part])).sum()) for part in (slice(0, 4), slice(4, 7))] == [3, 3]
    asked = pool.asked["mutual_nn"]
    assert len(asked) == len(set(asked)), "a pair of two lists is matched once"
    for row, place in zip(*np.nonzero(~np.isnan(ratio)), strict=True):
        leader, candidate = f"p{found.row[row, place]}", f"p{together.row[row]}"
        assert ratio[row, place] == pytest.approx(inliers[leader, candidate] / 500) and (leader, candidate) in asked

    # By hand: the leader's probability times how alike the two are, the largest three of the first list.
    gain = {}
    for place in range(4):
        leader = found.row[:4, place].max()
        p = 1 / (1 + np.exp(-together.evidence[leader] - np.log(0.1 / 0.9)))
        for row in range(4):
            if row != leader:
                z = -5 + 0.5 * found.cosine_znorm[row, place] + 2 * np.log1p(max(found.local_znorm[row, place], -0.9))
                gain[row, place] = p / (1 + np.exp(-z))
    best = sorted(gain, key=lambda pair: -gain[pair])[:3]
    assert {(int(a), int(b)) for a, b in zip(*np.nonzero(~np.isnan(ratio[:4])), strict=True)} == set(best)

    nothing = MadePool(inliers, local)
    plain = find_neighbours(together, queries, index, allowed, nothing, UNMATCHED)
    assert not nothing.asked and np.isnan(plain.matched["inlier_ratio"]).all()


def test_a_flank_and_a_back_are_not_matched_with_one_another(index: CatalogIndex) -> None:
    pool = MadePool({})
    candidates, queries = one_list([0.0, 2.0, *[-9.0] * 10, 1.0]), index.subset(["p13"])
    allowed = AllowedCandidates(queries, index, CandidateFilter())
    find_neighbours(candidates, queries, index, allowed, pool, ShortlistSettings(neighbour_pairs=1000))
    assert len(pool.asked["mutual_nn"]) > 50
    assert not any("p12" in pair for pair in pool.asked["mutual_nn"])


def test_a_pair_without_a_placement_was_matched_all_the_same(
    index: CatalogIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = MadePool({})
    plain = pool.measure

    def measured(*arguments: object) -> list:
        found = plain(*arguments)  # type: ignore[arg-type]
        for records in found:
            records["inlier_ratio"] = records["position_gap"] = np.nan
        return found

    monkeypatch.setattr(pool, "measure", measured)
    queries = index.subset(["p13"])
    allowed = AllowedCandidates(queries, index, CandidateFilter())
    found = find_neighbours(one_list([0.1, 3.0]), queries, index, allowed, pool, ShortlistSettings(neighbour_pairs=9))
    assert found.matched["inlier_ratio"][0, 0] == 0 and np.isnan(found.matched["position_gap"][0, 0])
    assert np.isnan(found.matched["inlier_ratio"][1, 0])
