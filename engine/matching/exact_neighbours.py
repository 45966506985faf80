"""Nearest neighbours to the last bit of single precision, by tiles of whole numbers that say whom to look at.

The similarity of two descriptors is their product in single precision, summed in order with fused multiply-adds: what
optimised matrix products compute for all but the smallest matrices, and what any processor can repeat for one pair of
descriptors. Tiles (:mod:`engine.matching.tiles`) find the best three of every row and column within :data:`MARGIN`;
only what lies that close together is computed to the end. The matrix of similarities never exists, and matches depend
on nothing but the pair of photographs, whatever the processor and the company.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from engine.matching.tiles import NOTHING, SCALE, Codes16, Integers32, stamp
from features.records import FloatArray

#: How far apart, as a share of 1, two similarities by fine codes must be for their order to be that of the exact ones:
#: six standard deviations of what rounding two pairs of unit vectors to codes does to the difference of their products
#: (each number is off by 0.29 / SCALE, in each of four vectors), and what tiles cut off.
MARGIN = 6 * 2 * 0.29 / SCALE + 2.0**-19
#: Nobody's place, where places do not matter.
NO_PLACE, NO_PLACES = np.zeros(2, np.float32), np.zeros((0, 2), np.float32)
#: Candidates that are computed together: enough chains of additions to keep a processor busy.
_TOGETHER = 8


@cache
def kept() -> int:
    """Return a number that changes with this file and with tiles; see :func:`engine.matching.tiles.stamp`."""
    return stamp() ^ zlib.crc32(Path(__file__).read_bytes())


@intrinsic
def _fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return types.float32(types.float32, types.float32, types.float32), write


@njit(nogil=True, error_model="numpy")
def product(first: FloatArray, second: FloatArray) -> np.float32:  # pragma: no cover - compiled
    """Return the product of two descriptors, summed in order."""
    total = np.float32(0.0)
    for k in range(len(first)):
        total = _fma(first[k], second[k], total)
    return total


@njit(nogil=True, error_model="numpy")
def products(
    first: FloatArray, second: FloatArray, rows: Integers32, columns: Integers32, count: int, found: FloatArray
) -> None:  # pragma: no cover - compiled
    """Write the products of so many pairs (row of the first, row of the second), each summed in order."""
    numbers, at = first.shape[1], 0
    while at + _TOGETHER <= count:
        a0, a1, a2, a3 = first[rows[at]], first[rows[at + 1]], first[rows[at + 2]], first[rows[at + 3]]
        a4, a5, a6, a7 = first[rows[at + 4]], first[rows[at + 5]], first[rows[at + 6]], first[rows[at + 7]]
        b0, b1, b2, b3 = second[columns[at]], second[columns[at + 1]], second[columns[at + 2]], second[columns[at + 3]]
        b4, b5, b6, b7 = (
            second[columns[at + 4]], second[columns[at + 5]], second[columns[at + 6]], second[columns[at + 7]]
        )  # fmt: skip
        s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = np.float32(0.0)
        for k in range(numbers):
            s0, s1, s2, s3 = (
                _fma(a0[k], b0[k], s0),
                _fma(a1[k], b1[k], s1),
                _fma(a2[k], b2[k], s2),
                _fma(a3[k], b3[k], s3),
            )
            s4, s5, s6, s7 = (
                _fma(a4[k], b4[k], s4),
                _fma(a5[k], b5[k], s5),
                _fma(a6[k], b6[k], s6),
                _fma(a7[k], b7[k], s7),
            )
        found[at], found[at + 1], found[at + 2], found[at + 3] = s0, s1, s2, s3
        found[at + 4], found[at + 5], found[at + 6], found[at + 7] = s4, s5, s6, s7
        at += _TOGETHER
    while at < count:
        found[at] = product(first[rows[at]], second[columns[at]])
        at += 1


@njit(nogil=True, error_model="numpy")
def _coarse(first: Codes16, second: Codes16) -> np.int32:  # pragma: no cover - compiled
    total = np.int32(0)
    for k in range(len(first)):
        total += np.int32(first[k]) * np.int32(second[k])
    return total


@njit(nogil=True, error_model="numpy")
def likely(best: Integers32, bits: int, without: int) -> tuple[int, int, bool]:  # pragma: no cover - compiled
    """Return who is nearest by tiles, that similarity (of scale SCALE^2), and whether anybody else may be nearest.

    Args:
        best: (3,) the best by tiles, packed.
        bits: how many low bits hold the index.
        without: one that does not count, -1 for none.

    Returns:
        -1, :data:`engine.matching.tiles.NOTHING` and False where nobody is left.
    """
    low, margin = (1 << bits) - 1, int(MARGIN * SCALE * SCALE)
    place, top, doubtful = -1, NOTHING, False
    for level in range(3):
        value, other = int(best[level]), low - (int(best[level]) & low)
        if value == NOTHING or other == without:
            continue
        if place < 0:
            place, top = other, value & ~low
        elif (value & ~low) >= top - margin:
            doubtful = True
    return place, top, doubtful


@njit(nogil=True, error_model="numpy")
def nearest_of(
    own: FloatArray,
    own_codes: Codes16,
    others: FloatArray,
    other_codes: Codes16,
    best: Integers32,
    bits: int,
    without: int,
    own_place: FloatArray,
    places: FloatArray,
    reach: FloatArray,
) -> tuple[int, np.float32]:  # pragma: no cover - compiled
    """Return whose similarity is the largest, the first of equals, and that similarity, where :func:`likely` doubts.

    Args:
        own, own_codes: (D,) the descriptor that asks, and (padded D,) its codes.
        others, other_codes: (N, D) and (padded N, padded D) whom it is compared with.
        best: (3,) its best by tiles, packed.
        bits: how many low bits hold the index.
        without: one that does not count, -1 for none.
        own_place, places, reach: (2,) and (N, 2) where they lie, and (2,) how far apart they may; (0, 2) places if
            that does not matter.
    """
    low, margin = (1 << bits) - 1, int(MARGIN * SCALE * SCALE)
    _, top, _ = likely(best, bits, without)
    place, similarity = -1, np.float32(0.0)
    # Whoever is not among the three lies behind the third.
    listed = best[2] == NOTHING or (int(best[2]) & ~low) < top - margin
    for k in range(3 if listed else len(others)):
        other = k
        if listed:
            if best[k] == NOTHING or (int(best[k]) & ~low) < top - margin:
                continue
            other = low - (int(best[k]) & low)
        elif _coarse(own_codes, other_codes[k]) < top - margin or (
            len(places) and (abs(own_place[0] - places[k, 0]) > reach[0] or abs(own_place[1] - places[k, 1]) > reach[1])
        ):
            continue
        if other == without:
            continue
        exact = product(own, others[other])
        if place < 0 or exact > similarity or (exact == similarity and other < place):
            place, similarity = other, exact
    return place, similarity
