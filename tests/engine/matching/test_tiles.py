"""Best and second best neighbours from tiles are those of the whole matrix of similarities, made in plain integers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.matching.tiles import (
    COLUMNS,
    NOTHING,
    ROWS,
    as_panels,
    as_rows,
    best_three,
    best_three_within,
    best_two,
    index_bits,
    panel_places,
    row_places,
)

Found = tuple[npt.NDArray[np.int32], ...]


def made(rows: npt.NDArray[np.int16], columns: npt.NDArray[np.int16], levels: int = 2) -> Found:
    """Return the best of the rows, best first, then of the columns."""
    tiles, panels, bits = as_rows(rows), as_panels(columns), index_bits(len(rows), len(columns))
    of_rows = np.zeros((levels, len(tiles)), np.int32)
    of_columns = np.zeros((levels, len(panels) * COLUMNS), np.int32)
    search = best_two if levels == 2 else best_three
    search(tiles.ravel(), len(rows), panels.ravel(), len(columns), tiles.shape[1], bits, of_rows, of_columns)
    return *of_rows[:, : len(rows)], *of_columns[:, : len(columns)]


def plain(rows: npt.NDArray[np.int16], columns: npt.NDArray[np.int16], levels: int = 2) -> Found:
    low = (1 << index_bits(len(rows), len(columns))) - 1
    similarity = rows.astype(np.int64) @ columns.astype(np.int64).T & ~low
    found: list[npt.NDArray[np.int32]] = []
    for packed in (similarity | low - np.arange(len(columns)), similarity.T | low - np.arange(len(rows))):
        ordered = np.sort(np.column_stack([np.full((len(packed), levels), NOTHING), packed]), axis=1)
        found += [ordered[:, -1 - level].astype(np.int32) for level in range(levels)]
    return tuple(found)


def codes(count: int, numbers: int, seed: int) -> npt.NDArray[np.int16]:
    vectors = np.random.default_rng(seed).standard_normal((count, numbers))
    return np.rint(vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * 32767).astype(np.int16)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 70), st.integers(1, 40), st.integers(0, 9), st.integers(2, 3))
def test_tiles_find_what_the_whole_matrix_holds(n: int, m: int, numbers: int, seed: int, levels: int) -> None:
    rows, columns = codes(n, numbers, seed), codes(m, numbers, seed + 1)
    for got, expected in zip(made(rows, columns, levels), plain(rows, columns, levels), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (ROWS, COLUMNS), (ROWS + 1, COLUMNS + 1), (1500, 3)])
def test_whole_and_started_tiles_and_indices_of_more_than_ten_bits(n: int, m: int) -> None:
    rows, columns = codes(n, 16, 1), codes(m, 16, 2)
    for got, expected in zip(made(rows, columns), plain(rows, columns), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_equal_neighbours_go_to_the_first() -> None:
    one = codes(1, 8, 3)
    best, second, _, _ = made(one, np.concatenate([one, one, one]))
    assert [1023 - (packed.item() & 1023) for packed in (best, second)] == [0, 1]
    assert best >> 10 == second >> 10 == int((one.astype(int) ** 2).sum()) >> 10


def test_the_largest_numbers_do_not_overflow() -> None:
    """A unit vector that is all in one number, and its opposite."""
    ends = np.array([[32767, 0], [-32767, 0]], np.int16)
    best, second, _, _ = made(ends, ends)
    assert (best >> 10).tolist() == [32767**2 >> 10] * 2
    assert (second >> 10).tolist() == [-(32767**2) >> 10] * 2


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 70), st.sampled_from([0.0, 0.05, 0.3, 2.0]), st.integers(0, 9))
def test_only_those_within_reach_count(n: int, m: int, along: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns, reach = codes(n, 16, seed), codes(m, 16, seed + 1), np.float32([along, 0.6])
    places = [np.stack([np.sort(rng.random(k)), rng.uniform(-1, 1, k)], 1).astype(np.float32) for k in (n, m)]
    tiles, panels = as_rows(rows), as_panels(columns)
    of_rows = np.zeros((3, len(tiles)), np.int32)
    of_columns = np.zeros((3, len(panels) * COLUMNS), np.int32)
    where = row_places(places[0]).ravel(), panel_places(places[1]).ravel(), reach
    best_three_within(tiles.ravel(), n, panels.ravel(), m, 16, 10, of_rows, of_columns, *where)
    far = (np.abs(places[0][:, None] - places[1][None]) > reach).any(axis=2)
    similarity = rows.astype(np.int64) @ columns.astype(np.int64).T & ~1023
    for found, packed, out in (
        (of_rows, similarity | 1023 - np.arange(m), far),
        (of_columns, similarity.T | 1023 - np.arange(n), far.T),
    ):
        nobody = np.full((len(packed), 3), NOTHING)
        ordered = np.sort(np.column_stack([nobody, np.where(out, NOTHING, packed)]), axis=1)
        np.testing.assert_array_equal(found[:, : len(packed)], ordered[:, -1:-4:-1].T)
