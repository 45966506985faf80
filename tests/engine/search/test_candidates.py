"""The lists of candidates equal a plain sort, keep exclusions and treat every query alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from engine.search.candidates import (
    Candidates,
    Retrieval,
    ShortlistSettings,
    best_rows,
    expand,
    reciprocal_rank_fusion,
    requery_scores,
)
from scarmatch.settings import SettingsError


def unit(rows: int, seed: int, dimension: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def everything(count: int):
    return lambda index: np.ones(count, bool)


def retrieval(queries: np.ndarray, database: np.ndarray, allowed: Any, local: np.ndarray | None = None) -> Retrieval:
    """A search of these descriptors, with (Q, N) local scores; without any unless they are given."""
    scores = local if local is not None else np.full((len(queries), len(database)), np.nan, np.float32)
    return Retrieval(queries, database, allowed, list(scores))


def global_search(queries: np.ndarray, database: np.ndarray, allowed: Any, size: int) -> Candidates:
    return retrieval(queries, database, allowed).best(size)


def rows_of(found: Candidates, queries: int) -> list[list[int]]:
    return [found.row[part].tolist() for part in found.lists(queries)]


def test_equals_a_plain_sort() -> None:
    queries, database = unit(7, 0), unit(90, 1)
    found = global_search(queries, database, everything(90), 10)
    assert found.query.tolist() == np.repeat(np.arange(7), 10).tolist()
    for query, part in enumerate(found.lists(7)):
        cosine = [float(np.dot(row, queries[query])) for row in database]
        expected = sorted(range(90), key=lambda row: (-cosine[row], row))[:10]
        assert found.row[part].tolist() == expected
        np.testing.assert_allclose(found.cosine[part], [cosine[row] for row in expected], atol=1e-6)


def test_excluded_rows_never_appear() -> None:
    mask = np.arange(20) % 2 == 0
    found = global_search(unit(3, 0), unit(20, 1), lambda index: mask, 15)
    assert [len(rows) for rows in rows_of(found, 3)] == [10, 10, 10]
    assert mask[found.row].all()


def test_nothing_allowed_and_empty_database() -> None:
    queries = unit(2, 0)
    assert rows_of(global_search(queries, unit(5, 1), lambda i: np.zeros(5, bool), 50), 2) == [[], []]
    assert rows_of(global_search(queries, np.zeros((0, 16), np.float32), everything(0), 50), 2) == [[], []]
    only_second = global_search(queries, unit(5, 1), lambda i: np.full(5, i == 1), 2)
    assert [len(rows) for rows in rows_of(only_second, 2)] == [0, 2]


def test_ties_are_broken_by_row() -> None:
    database = np.repeat(unit(1, 3), 30, axis=0)
    assert rows_of(global_search(unit(1, 4), database, everything(30), 5), 1) == [[0, 1, 2, 3, 4]]


def test_ties_at_the_end_of_a_list_are_broken_by_row_too() -> None:
    scores = np.random.default_rng(5).integers(0, 6, 200) / 8
    allowed = np.arange(200) % 7 > 0
    rows = np.flatnonzero(allowed)
    for size in (1, 20, 90):
        expected = sorted(rows.tolist(), key=lambda row: (-scores[row], row))[:size]
        assert best_rows(scores, allowed, size).tolist() == expected


def test_a_query_does_not_notice_the_others() -> None:
    queries, database = unit(9, 0), unit(300, 1)
    together = global_search(queries, database, everything(300), 20)
    alone = global_search(queries[4:5], database, everything(300), 20)
    part = list(together.lists(9))[4]
    for name in ("row", "cosine", "requery"):
        np.testing.assert_array_equal(getattr(together, name)[part], getattr(alone, name))


def test_requery_by_hand() -> None:
    database = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], np.float32)
    query = np.array([0.96, 0.28], np.float32)
    cosine = database @ query
    # Best two are row 1 (0.936) and row 0 (0.96): row 0 first.
    expected = [
        0.4 * max(cosine[row], 0) ** 7
        + 0.4 * max(float(database[row] @ database[0]), 0) ** 7
        + 0.2 * max(float(database[row] @ database[1]), 0) ** 7
        for row in range(4)
    ]
    scores = requery_scores(cosine, database, np.ones(4, bool))
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    found = global_search(query[None], database, everything(4), 4)
    np.testing.assert_allclose(found.requery, scores[found.row], rtol=1e-6)
    np.testing.assert_allclose(found.cosine, cosine[found.row], rtol=1e-6)


def test_requery_never_asks_through_an_excluded_photograph() -> None:
    database = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    cosine = np.array([0.9, 0.3, 0.2], np.float32)
    scores = requery_scores(cosine, database, np.array([False, True, True]))
    expected = [0.4 * 0.9**7, 0.4 * 0.3**7 + 0.4, 0.4 * 0.2**7 + 0.2]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("options", [{"size": -1}, {"expansion": -1}, {"rescore": -1}])
def test_options_out_of_range_are_named(options: dict[str, int]) -> None:
    (name, value), *_ = options.items()
    with pytest.raises(SettingsError, match=f"{name}={value}"):
        ShortlistSettings(**options)


def test_a_size_of_zero_takes_every_allowed_photograph() -> None:
    queries, database = unit(2, 0), unit(30, 1)
    found = global_search(queries, database, lambda index: np.arange(30) != 4, 0)
    assert [sorted(rows) for rows in rows_of(found, 2)] == [[row for row in range(30) if row != 4]] * 2
    assert [ShortlistSettings(size=n, expansion=5).longest(40) for n in (0, 10, 38)] == [40, 15, 40]


def test_no_more_are_rescored_than_are_listed() -> None:
    assert [ShortlistSettings(rescore=n).rescored(30) for n in (0, 1, 30, 99)] == [0, 1, 30, 30]


def expanded(
    lists: Candidates,
    probability: npt.ArrayLike,
    queries: np.ndarray,
    database: np.ndarray,
    mask: np.ndarray,
    size: int,
) -> Candidates:
    search = retrieval(queries, database, lambda index: mask)
    return expand(lists, np.asarray(probability, float), search, size)


def test_expansion_brings_what_resembles_the_candidates_that_match() -> None:
    query, database = unit(1, 0), unit(40, 1)
    # Rows 30 and 31 are near copies of rows that are in the list, one sure and one (the most similar) hopeless.
    short = global_search(query, database[:30], everything(30), 5)
    sure, hopeless = short.row[3], short.row[0]
    for copy, original in ((30, sure), (31, hopeless)):
        near = database[original] + 0.05 * unit(1, copy)[0]
        database[copy] = near / np.linalg.norm(near)
    mask = np.ones(40, bool)
    mask[short.row[4] + 1 : short.row[4] + 2] = False
    probability = np.where(short.row == sure, 0.9, np.where(short.row == hopeless, 0.0, 0.2))
    added = expanded(short, probability, query, database, mask, 4)
    assert len(added) == 4 and not set(added.row.tolist()) & set(short.row.tolist())
    assert added.row[0] == 30, "the copy of the sure candidate comes first"
    assert mask[added.row].all()
    np.testing.assert_allclose(added.cosine, database[added.row] @ query[0], atol=1e-6)
    np.testing.assert_allclose(added.requery, requery_scores(database @ query[0], database, mask)[added.row], atol=1e-6)


def test_each_list_is_expanded_by_itself_and_followed_by_what_was_added() -> None:
    queries, database = unit(3, 0), unit(40, 1)
    short = global_search(queries, database, lambda i: np.full(40, i != 1), 5)
    probability = np.linspace(0.1, 0.9, len(short))
    added = expanded(short, probability, queries, database, np.ones(40, bool), 3)
    assert added.query.tolist() == [0, 0, 0, 2, 2, 2], "an empty list stays empty"
    short, added = (
        dataclasses.replace(
            table,
            measured={"skin": np.arange(len(table)).astype([("matches", np.float32)])},
            evidence=np.arange(float(len(table))),
        )
        for table in (short, added)
    )
    whole = short.followed_by(added)
    assert rows_of(whole, 3) == [a + b for a, b in zip(rows_of(short, 3), rows_of(added, 3), strict=True)]
    assert whole.measured["skin"]["matches"].tolist() == [*range(5), 0, 1, 2, *range(5, 10), 3, 4, 5]
    assert whole.evidence.tolist() == whole.measured["skin"]["matches"].tolist()
    assert whole.cosine.dtype == np.float32
    alone = expanded(
        global_search(queries[2:], database, everything(40), 5),
        probability[5:],
        queries[2:],
        database,
        np.ones(40, bool),
        3,
    )
    np.testing.assert_array_equal(alone.row, added.row[3:])


def test_nothing_is_added_where_nothing_matches_or_nothing_is_left() -> None:
    query, database = unit(1, 0), unit(12, 1)
    short = global_search(query, database, everything(12), 5)
    sure, everybody = np.full(5, 0.9), np.ones(12, bool)
    assert len(expanded(short, sure, query, database, everybody, 20)) > 0
    assert len(expanded(short, np.zeros(5), query, database, everybody, 20)) == 0
    assert len(expanded(short, sure, query, database, everybody, 0)) == 0
    assert len(expanded(short, sure, query, database, np.isin(np.arange(12), short.row), 20)) == 0
    empty = global_search(query, database, lambda index: np.zeros(12, bool), 5)
    assert len(expanded(empty, np.zeros(0), query, database, everybody, 20)) == 0


def test_the_likes_of_the_most_probable_candidates_are_fetched() -> None:
    # Ten candidates, each with a photograph beside it that resembles it alone; nine are next to impossible.
    database = np.repeat(np.eye(10, dtype=np.float32), 2, axis=0)
    rows = np.arange(0, 20, 2)
    none = np.zeros(10, np.float32)
    candidates = Candidates(np.zeros(10, np.int64), rows, none, none, none, none, none)
    retrieval = Retrieval(unit(1, 0, 10), database, everything(20), [np.zeros(20, np.float32)])
    probability = np.full(10, 0.01)
    probability[9] = 0.9
    added = expand(candidates, probability, retrieval, 1)
    assert added.row.tolist() == [19]


def test_reciprocal_rank_fusion_by_hand() -> None:
    cosine, evidence = [0.9, 0.5, 0.4, 0.3], [-3.0, -3, np.nan, 5]
    # Ranks 1 2 3 4, and 2.5 2.5 4 1: equal values share their mean rank, the unknown is last.
    expected = [1 / 3 + 1 / 4.5, 1 / 4 + 1 / 4.5, 1 / 5 + 1 / 6, 1 / 6 + 1 / 3]
    np.testing.assert_allclose(reciprocal_rank_fusion(cosine, evidence), expected)


def test_lists_hold_the_best_by_cosine_and_local_score_together() -> None:
    queries, database = unit(2, 0), unit(60, 1)
    local = np.random.default_rng(2).gamma(2.0, size=(2, 60)).astype(np.float32)
    local[1, 7] = 50.0
    mask = np.arange(60) != 3
    found = retrieval(queries, database, lambda index: mask, local).best(10)
    for query, part in enumerate(found.lists(2)):
        scores = [np.array(database @ queries[query], float), local[query].astype(float)]
        cosine, own = ((s - s[mask].mean()) / s[mask].std() for s in scores)
        fused = np.where(mask, cosine + own, -np.inf)
        assert found.row[part].tolist() == np.argsort(-fused)[:10].tolist()
        np.testing.assert_allclose(found.cosine_znorm[part], cosine[found.row[part]], atol=1e-5)
        np.testing.assert_allclose(found.local_znorm[part], own[found.row[part]], atol=1e-5)
        np.testing.assert_array_equal(found.local[part], local[query, found.row[part]])
    assert found.row[list(found.lists(2))[1]][0] == 7, "the keypoints alone may bring a photograph"


def test_a_photograph_whose_skin_cannot_be_compared_is_found_by_its_descriptor_alone() -> None:
    queries, database = unit(1, 0), unit(30, 1)
    local = np.ones((1, 30), np.float32)
    local[0, ::2] = np.nan
    local[0, 1] = 2.0
    found = retrieval(queries, database, everything(30), local).best(30)
    np.testing.assert_array_equal(np.isnan(found.local_znorm), found.row % 2 == 0)
    lateral = found.row[found.row % 2 == 0]
    cosine = database @ queries[0]
    assert lateral.tolist() == sorted(lateral, key=lambda row: -cosine[row])
    nothing = retrieval(queries, database, everything(30)).best(30)
    assert nothing.row.tolist() == np.argsort(-cosine).tolist() and np.isnan(nothing.local).all()


def test_without_the_cosine_s_weight_the_keypoints_choose_alone() -> None:
    queries, database = unit(1, 0), unit(40, 1)
    local = np.random.default_rng(2).gamma(2.0, size=(1, 40)).astype(np.float32)
    found = Retrieval(queries, database, everything(40), list(local), 0.0).best(10)
    assert found.row.tolist() == np.argsort(-local[0]).tolist()[:10]
    half = Retrieval(queries, database, everything(40), list(local), 0.5).scored(0)
    np.testing.assert_allclose(half.fused, 0.5 * half.cosine_znorm + half.local_znorm, rtol=1e-6)
    with pytest.raises(SettingsError, match="cosine_weight=-1"):
        ShortlistSettings(cosine_weight=-1.0)


def test_scores_that_are_all_equal_say_nothing() -> None:
    queries, database = unit(1, 0), unit(8, 1)
    found = retrieval(queries, database, everything(8), np.full((1, 8), 3.0, np.float32)).best(8)
    assert found.local_znorm.tolist() == [0.0] * 8
    alone = retrieval(queries, database[:1], everything(1), np.full((1, 1), 3.0, np.float32)).best(8)
    assert alone.local_znorm.tolist() == alone.cosine_znorm.tolist() == [0.0]
