"""The compiled matching of one pair of photographs by their dense skin descriptors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from numba import njit

from engine.matching.exact_neighbours import kept, likely, nearest_of, products
from engine.matching.tiles import COLUMNS, Codes16, best_three_within
from features.records import FloatArray

Integers = npt.NDArray[np.int64]
#: Similarity of what is out of reach.
_NONE = np.float32(-2.0)


@njit(nogil=True, error_model="numpy")
def _nearest(
    skin0: FloatArray,
    skin1: FloatArray,
    rows0: Codes16,
    rows1: Codes16,
    panels: Codes16,
    panel_places: FloatArray,
    places0: FloatArray,
    places1: FloatArray,
    reach: FloatArray,
    bits: int,
    nearest: npt.NDArray[np.int32],
    back: npt.NDArray[np.int32],
    cosine: FloatArray,
) -> None:  # pragma: no cover - compiled
    """Write each place's most similar one within reach, both ways, and the similarities of the former.

    Args:
        skin0, skin1: (N, D) and (M, D), at least one each.
        rows0, rows1: their padded codes; ``panels`` those of view 0 as the columns of tiles.
        panel_places, places0, places1: where they lie on the body, the latter two (N padded, 2) and (M padded, 2).
        reach: (2,) how far apart they may.
        bits: how many low bits of a packed similarity hold an index.
        nearest, back, cosine: (N,), (M,) and (N,) outputs; 0 and -2 where nothing is within reach.
    """
    n, m, depth = len(skin0), len(skin1), rows1.shape[1]
    best1 = np.empty((3, len(rows1)), np.int32)
    best0 = np.empty((3, -(-n // COLUMNS) * COLUMNS), np.int32)
    best_three_within(
        rows1.reshape(-1), m, panels, n, depth, bits, best1, best0, places1.reshape(-1), panel_places, reach
    )
    own0, own1 = np.ascontiguousarray(best0.T), np.ascontiguousarray(best1.T)
    for j in range(m):
        place, _, doubtful = likely(own1[j], bits, -1)
        if doubtful:
            place, _ = nearest_of(skin1[j], rows1[j], skin0, rows0, own1[j], bits, -1, places1[j], places0[:n], reach)
        back[j] = max(place, 0)
    found, who, count = np.empty(n, np.int32), np.empty(n, np.int32), 0
    for i in range(n):
        place, _, doubtful = likely(own0[i], bits, -1)
        nearest[i], cosine[i] = max(place, 0), _NONE
        if doubtful:
            nearest[i], cosine[i] = nearest_of(
                skin0[i], rows0[i], skin1, rows1, own0[i], bits, -1, places0[i], places1[:m], reach
            )
        elif place >= 0:
            who[count], found[count] = i, place
            count += 1
    exact = np.empty(count, np.float32)
    products(skin0, skin1, who, found, count, exact)
    for at in range(count):
        cosine[who[at]] = exact[at]


@cache
def nearest_kernel() -> Callable[..., None]:
    """Return the compiled search for each place's most similar one within reach."""
    version = kept()

    @njit(cache=True, nogil=True, error_model="numpy")
    def nearest_within(
        skin0: FloatArray,
        skin1: FloatArray,
        rows0: Codes16,
        rows1: Codes16,
        panels: Codes16,
        panel_places: FloatArray,
        places0: FloatArray,
        places1: FloatArray,
        reach: FloatArray,
        bits: int,
        nearest: npt.NDArray[np.int32],
        back: npt.NDArray[np.int32],
        cosine: FloatArray,
    ) -> None:
        if version:
            _nearest(
                skin0, skin1, rows0, rows1, panels, panel_places, places0, places1, reach, bits, nearest, back, cosine
            )

    return nearest_within


@cache
def matches_kernel() -> Callable[..., int]:
    """Return the compiled matching of one pair into the arrays of a list."""
    version = kept()

    @njit(cache=True, nogil=True, error_model="numpy")
    def matches(
        skin0: FloatArray,
        rows0: Codes16,
        places0: FloatArray,
        place0: FloatArray,
        xy0: FloatArray,
        marks0: FloatArray,
        order0: Integers,
        skin1: FloatArray,
        rows1: Codes16,
        places1: FloatArray,
        xy1: FloatArray,
        marks1: FloatArray,
        order1: Integers,
        panels: Codes16,
        panel_places: FloatArray,
        reach: FloatArray,
        bits: int,
        neighbour: np.float32,
        least: np.float32,
        at: int,
        indices: npt.NDArray[np.int32],
        confidence: FloatArray,
        points0: FloatArray,
        points1: FloatArray,
        marks: FloatArray,
        across: FloatArray,
    ) -> int:
        """Write a pair's matches from ``at`` on, best first; return how many there are.

        A place whose nearest points back to it, or to a place at most ``neighbour`` beside it, matches if their cosine
        is above ``least``; of several matches of one place of view 1 the best counts.
        """
        n, m = len(skin0), len(skin1) if version else 0
        nearest, back, cosine = np.empty(n, np.int32), np.empty(m, np.int32), np.empty(n, np.float32)
        _nearest(skin0, skin1, rows0, rows1, panels, panel_places, places0, places1, reach, bits, nearest, back, cosine)
        by_feature = np.empty(n, np.int64)
        for i in range(n):
            by_feature[order0[i]] = i
        kept_rows, lack, count = np.empty(n, np.int64), np.empty(n, np.float32), 0
        for k in range(n):
            i = by_feature[k]
            there = back[nearest[i]]
            dx, dy = place0[there, 0] - place0[i, 0], place0[there, 1] - place0[i, 1]
            if np.sqrt(dx * dx + dy * dy) <= neighbour and cosine[i] > least:
                kept_rows[count] = i
                lack[count] = -min(max(cosine[i], np.float32(0.0)), np.float32(1.0))
                count += 1
        # Stable, so that of equal ones the place of view 0 that comes first does.
        order, taken, held = np.argsort(lack[:count], kind="mergesort"), np.zeros(m, np.bool_), 0
        for k in range(count):
            i = kept_rows[order[k]]
            j = nearest[i]
            if taken[j]:
                continue
            taken[j] = True
            to = at + held
            indices[to, 0], indices[to, 1], confidence[to] = order0[i], order1[j], -lack[order[k]]
            points0[to, 0], points0[to, 1] = xy0[i, 0], xy0[i, 1]
            points1[to, 0], points1[to, 1] = xy1[j, 0], xy1[j, 1]
            marks[to], across[to] = min(marks0[i], marks1[j]), places0[i, 1]
            held += 1
        return held

    return matches
