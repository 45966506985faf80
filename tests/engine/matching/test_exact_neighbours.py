"""Mutual neighbours by tiles are those of the whole matrix in single precision to the last bit, however they tie."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.matching.exact_neighbours import NO_PLACE, NO_PLACES, likely, nearest_of, product
from engine.matching.mutual_nn import mutual_neighbours
from engine.matching.tiles import NOTHING, as_rows, fine_codes

Floats = npt.NDArray[np.float32]


def unit(vectors: npt.NDArray[np.floating]) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def alike(count: int, numbers: int, noise: float, seed: int) -> Floats:
    """Some descriptors, and copies of them with so much noise: with little of it, neighbours nearly tie."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((max(count // 3, 1), numbers))
    return unit(base[rng.integers(0, len(base), count)] + noise * rng.standard_normal((count, numbers)))


def matrix(first: Floats, second: Floats) -> Floats:
    """The definition: products summed in order, every step rounded once to single precision."""
    total = np.zeros((len(first), len(second)), np.float32)
    for k in range(first.shape[1]):
        total = (total.astype(float) + first[:, k, None].astype(float) * second[None, :, k].astype(float)).astype(
            np.float32
        )
    return total


def by_matrix(similarity: Floats) -> tuple[list[tuple[int, int]], Floats, Floats]:
    """Return the mutual neighbours of a matrix (the first of equals), their similarities and ratios."""
    pairs, ratios = [], []
    for i, row in enumerate(similarity):
        j = int(row.argmax())
        if similarity[:, j].argmax() != i:
            continue
        others = np.concatenate([np.delete(row, j), np.delete(similarity[:, j], i)])
        one, ratio = np.float32(1), np.float32(0)
        if len(others):
            ratio = np.sqrt(np.maximum(one - row[j], 0) / np.maximum(one - others.max(), np.float32(1e-9)))
        pairs.append((i, j))
        ratios.append(ratio)
    tops = np.array([similarity[pair] for pair in pairs], np.float32)
    return pairs, tops, np.array(ratios, np.float32)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 60),
    st.integers(1, 50),
    st.sampled_from([0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1.0]),
    st.integers(0, 99),
)
def test_neighbours_are_those_of_the_matrix(n: int, m: int, noise: float, seed: int) -> None:
    first, second = alike(n, 32, noise, seed), alike(m, 32, noise, seed)
    found = mutual_neighbours(first, second)
    pairs, tops, ratios = by_matrix(matrix(first, second))
    assert list(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == pairs
    np.testing.assert_array_equal(found.cosine, tops)
    np.testing.assert_array_equal(found.ratio, ratios)


def test_a_product_is_summed_in_order() -> None:
    first, second = alike(40, 128, 1.0, 1), alike(40, 128, 1.0, 2)
    expected = matrix(first, second)
    assert all(product(first[i], second[j]) == expected[i, j] for i in range(40) for j in range(40))


@pytest.mark.parametrize("without", [-1, 0, 3])
def test_whoever_may_be_nearest_is_asked(without: int) -> None:
    """Six of seven are as good as equal: the three that are listed are not all who may be nearest."""
    others = np.concatenate([alike(1, 32, 1.0, 4), unit(alike(1, 32, 1.0, 3) + 1e-7 * alike(6, 32, 1.0, 5))])
    own = alike(1, 32, 1.0, 3)[0]
    similarity = matrix(own[None], others)[0]
    codes, own_codes = as_rows(fine_codes(others)), as_rows(fine_codes(own[None]))[0]
    coarse = codes[:7].astype(int) @ own_codes.astype(int) & ~1023
    packed = np.sort(coarse | 1023 - np.arange(7))[::-1][:3].astype(np.int32)
    assert likely(packed, 10, without)[2], "they are told apart by exact products only"
    found, value = nearest_of(own, own_codes, others, codes, packed, 10, without, NO_PLACE, NO_PLACES, NO_PLACE)
    similarity[without if without >= 0 else slice(0, 0)] = -2
    assert (found, value) == (similarity.argmax(), similarity.max())


def test_nobody_is_nobody_s_nearest() -> None:
    best = np.array([1000, NOTHING, NOTHING], np.int32)
    assert likely(best, 10, -1) == (23, 0, False)
    assert likely(best, 10, 23) == (-1, NOTHING, False)
