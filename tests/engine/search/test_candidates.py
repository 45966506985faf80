"""The shortlist equals a plain sort, keeps exclusions and treats every query alone."""

from __future__ import annotations

import numpy as np
import pytest

from engine.search.candidates import ShortlistSettings, expansion, requery_scores, resembling, shortlist
from scarmatch.settings import SettingsError


def unit(rows: int, seed: int, dimension: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def everything(count: int):
    return lambda index: np.ones(count, bool)


def test_equals_a_plain_sort() -> None:
    queries, database = unit(7, 0), unit(90, 1)
    for index, found in enumerate(shortlist(queries, database, everything(90), ShortlistSettings(size=10))):
        cosine = [float(np.dot(row, queries[index])) for row in database]
        expected = sorted(range(90), key=lambda row: (-cosine[row], row))[:10]
        assert found.indices.tolist() == expected
        np.testing.assert_allclose(found.cosine, [cosine[row] for row in expected], atol=1e-6)


def test_excluded_rows_never_appear() -> None:
    queries, database = unit(3, 0), unit(20, 1)
    mask = np.arange(20) % 2 == 0
    for found in shortlist(queries, database, lambda index: mask, ShortlistSettings(size=15)):
        assert len(found) == 10
        assert mask[found.indices].all()


def test_nothing_allowed_and_empty_database() -> None:
    queries = unit(2, 0)
    assert [len(s) for s in shortlist(queries, unit(5, 1), lambda i: np.zeros(5, bool))] == [0, 0]
    assert [len(s) for s in shortlist(queries, np.zeros((0, 16), np.float32), everything(0))] == [0, 0]


def test_ties_are_broken_by_row() -> None:
    database = np.repeat(unit(1, 3), 30, axis=0)
    found = shortlist(unit(1, 4), database, everything(30), ShortlistSettings(size=5))[0]
    assert found.indices.tolist() == [0, 1, 2, 3, 4]


def test_a_query_does_not_notice_the_others() -> None:
    queries, database = unit(9, 0), unit(300, 1)
    together = shortlist(queries, database, everything(300), ShortlistSettings(size=20))
    alone = shortlist(queries[4:5], database, everything(300), ShortlistSettings(size=20))[0]
    np.testing.assert_array_equal(together[4].indices, alone.indices)
    np.testing.assert_array_equal(together[4].cosine, alone.cosine)


def test_requery_by_hand() -> None:
    database = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], np.float32)
    query = np.array([0.96, 0.28], np.float32)
    cosine = database @ query
    settings = ShortlistSettings(requery_power=2.0)
    # Best two are row 1 (0.936) and row 0 (0.96): row 0 first.
    expected = [
        0.4 * max(cosine[row], 0) ** 2
        + 0.4 * max(float(database[row] @ database[0]), 0) ** 2
        + 0.2 * max(float(database[row] @ database[1]), 0) ** 2
        for row in range(4)
    ]
    scores = requery_scores(cosine, database, np.ones(4, bool), settings)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    found = shortlist(query[None], database, everything(4), ShortlistSettings(size=4, requery=True, requery_power=2.0))[
        0
    ]
    assert found.indices[:2].tolist() == [0, 1]
    np.testing.assert_allclose(found.requery, scores[found.indices], rtol=1e-6)
    np.testing.assert_allclose(found.cosine, cosine[found.indices], rtol=1e-6)


def test_requery_never_asks_through_an_excluded_photograph() -> None:
    database = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    cosine = np.array([0.9, 0.3, 0.2], np.float32)
    mask = np.array([False, True, True])
    scores = requery_scores(cosine, database, mask, ShortlistSettings(requery_power=1.0))
    np.testing.assert_allclose(scores, [0.36, 0.12 + 0.4, 0.08 + 0.2], rtol=1e-5)


def test_size_must_be_positive() -> None:
    with pytest.raises(SettingsError, match="size=0"):
        ShortlistSettings(size=0)


def test_expansion_brings_what_resembles_the_candidates_that_match() -> None:
    query, database = unit(1, 0)[0], unit(40, 1)
    # Rows 30 and 31 are near copies of rows that are in the list, one sure and one (the most similar) hopeless.
    (short,) = shortlist(query[None], database[:30], everything(30), ShortlistSettings(size=5))
    sure, hopeless = short.indices[3], short.indices[0]
    for copy, original in ((30, sure), (31, hopeless)):
        near = database[original] + 0.05 * unit(1, copy)[0]
        database[copy] = near / np.linalg.norm(near)
    mask = np.ones(40, bool)
    mask[short.indices[4] + 1 : short.indices[4] + 2] = False
    probability = np.where(short.indices == sure, 0.9, np.where(short.indices == hopeless, 0.0, 0.2))
    settings = ShortlistSettings(size=5, expansion=4)
    added = expansion(short, probability, query, database, mask, settings)
    assert len(added) == 4 and not set(added.indices.tolist()) & set(short.indices.tolist())
    assert added.indices[0] == 30, "the copy of the sure candidate comes first"
    assert mask[added.indices].all()
    np.testing.assert_allclose(added.cosine, database[added.indices] @ query, atol=1e-6)
    again = requery_scores(database @ query, database, mask, settings)
    np.testing.assert_allclose(added.requery, again[added.indices], atol=1e-6)
    whole = short.followed_by(added)
    assert whole.indices.tolist() == [*short.indices, *added.indices]
    assert whole.cosine.tolist() == [*short.cosine, *added.cosine] and whole.cosine.dtype == np.float32


def test_nothing_is_added_where_nothing_matches_or_nothing_is_left() -> None:
    query, database = unit(1, 0)[0], unit(12, 1)
    (short,) = shortlist(query[None], database, everything(12), ShortlistSettings(size=5))
    sure, everybody = np.full(5, 0.9), np.ones(12, bool)
    assert len(expansion(short, sure, query, database, everybody, ShortlistSettings())) > 0
    assert len(expansion(short, np.zeros(5), query, database, everybody, ShortlistSettings())) == 0
    assert len(expansion(short, sure, query, database, everybody, ShortlistSettings(expansion=0))) == 0
    only = np.isin(np.arange(12), short.indices)
    assert len(expansion(short, sure, query, database, only, ShortlistSettings())) == 0
    (empty,) = shortlist(query[None], database, lambda index: np.zeros(12, bool), ShortlistSettings())
    assert len(expansion(empty, np.zeros(0), query, database, everybody, ShortlistSettings())) == 0
    with pytest.raises(SettingsError, match="expansion=-1"):
        ShortlistSettings(expansion=-1)


def test_resembling_lists_the_others_best_first() -> None:
    vectors = unit(6, 3)
    positions, cosines = resembling(vectors, 3)
    cosine = vectors @ vectors.T
    for row in range(6):
        expected = sorted((c for c in range(6) if c != row), key=lambda c: -cosine[row, c])[:3]
        assert positions[row].tolist() == expected
        np.testing.assert_allclose(cosines[row], cosine[row, expected], atol=1e-6)
    positions, cosines = resembling(vectors[:2], 3)
    assert positions.tolist() == [[1, -1, -1], [0, -1, -1]] and np.isnan(cosines[:, 1:]).all()
    assert resembling(vectors[:0], 3)[0].shape == (0, 3)
