"""The compiled matching of one pair of photographs by mutual nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from numba import njit

from engine.matching.exact_neighbours import MARGIN, NO_PLACE, NO_PLACES, kept, likely, nearest_of, products
from engine.matching.tiles import COLUMNS, SCALE, Codes16, best_three
from features.records import FloatArray


@njit(nogil=True, error_model="numpy")
def _mutual(
    descriptors0: FloatArray,
    descriptors1: FloatArray,
    rows0: Codes16,
    rows1: Codes16,
    panels: Codes16,
    bits: int,
    indices: npt.NDArray[np.int32],
    cosine: FloatArray,
    ratio: FloatArray,
) -> int:  # pragma: no cover - compiled
    """Write indices, cosine and ratio of the mutual neighbours, by rising index in view 0; return how many.

    Args:
        descriptors0, descriptors1: (N, D) and (M, D), at least one each.
        rows0, rows1: their padded codes; ``panels`` those of view 0 as the columns of tiles.
        bits: how many low bits of a packed similarity hold an index.
        indices, cosine, ratio: (min(N, M), 2) and (min(N, M),) outputs.
    """
    n, m, depth = len(descriptors0), len(descriptors1), rows1.shape[1]
    best1 = np.empty((3, len(rows1)), np.int32)
    best0 = np.empty((3, -(-n // COLUMNS) * COLUMNS), np.int32)
    best_three(rows1.reshape(-1), m, panels, n, depth, bits, best1, best0)
    own0, own1 = np.ascontiguousarray(best0.T), np.ascontiguousarray(best1.T)
    back = np.empty(m, np.int32)
    for j in range(m):
        back[j], _, doubtful = likely(own1[j], bits, -1)
        if doubtful:
            back[j], _ = nearest_of(
                descriptors1[j], rows1[j], descriptors0, rows0, own1[j], bits, -1, NO_PLACE, NO_PLACES, NO_PLACE
            )
    count = 0
    for i in range(n):
        j, _, doubtful = likely(own0[i], bits, -1)
        if doubtful:
            j, _ = nearest_of(
                descriptors0[i], rows0[i], descriptors1, rows1, own0[i], bits, -1, NO_PLACE, NO_PLACES, NO_PLACE
            )
        if back[j] == i:
            indices[count, 0], indices[count, 1] = i, j
            count += 1
    products(descriptors0, descriptors1, indices[:, 0], indices[:, 1], count, cosine)
    # The next best of either, of which the better counts: those that are certain are computed together.
    runner_up, certain = np.full(count, np.float32(-2.0)), 0
    first, second, whose = np.empty(2 * count, np.int32), np.empty(2 * count, np.int32), np.empty(2 * count, np.int32)
    margin = int(MARGIN * SCALE * SCALE)
    for k in range(count):
        i, j = indices[k, 0], indices[k, 1]
        place0, top0, doubtful0 = likely(own0[i], bits, j)
        place1, top1, doubtful1 = likely(own1[j], bits, i)
        if place0 >= 0 and top0 >= top1 - margin:
            if doubtful0:
                _, similarity = nearest_of(
                    descriptors0[i], rows0[i], descriptors1, rows1, own0[i], bits, j, NO_PLACE, NO_PLACES, NO_PLACE
                )
                runner_up[k] = similarity
            else:
                first[certain], second[certain], whose[certain] = i, place0, k
                certain += 1
        if place1 >= 0 and top1 >= top0 - margin:
            if doubtful1:
                _, similarity = nearest_of(
                    descriptors1[j], rows1[j], descriptors0, rows0, own1[j], bits, i, NO_PLACE, NO_PLACES, NO_PLACE
                )
                runner_up[k] = max(runner_up[k], similarity)
            else:
                first[certain], second[certain], whose[certain] = place1, j, k
                certain += 1
    exact = np.empty(certain, np.float32)
    products(descriptors0, descriptors1, first, second, certain, exact)
    for at in range(certain):
        runner_up[whose[at]] = max(runner_up[whose[at]], exact[at])
    one, zero, least = np.float32(1.0), np.float32(0.0), np.float32(1e-9)
    for k in range(count):
        # For unit vectors the squared distance is 2 - 2 cosine.
        distances = max(one - cosine[k], zero) / max(one - runner_up[k], least)
        ratio[k] = np.sqrt(distances) if runner_up[k] > np.float32(-2.0) else zero
    return count


@cache
def neighbours_kernel() -> Callable[..., int]:
    """Return the compiled search for the mutual neighbours of two sets of descriptors."""
    version = kept()

    @njit(cache=True, nogil=True, error_model="numpy")
    def neighbours(
        descriptors0: FloatArray,
        descriptors1: FloatArray,
        rows0: Codes16,
        rows1: Codes16,
        panels: Codes16,
        bits: int,
        indices: npt.NDArray[np.int32],
        cosine: FloatArray,
        ratio: FloatArray,
    ) -> int:
        if not version:
            return 0
        return _mutual(descriptors0, descriptors1, rows0, rows1, panels, bits, indices, cosine, ratio)

    return neighbours


@cache
def matches_kernel() -> Callable[..., int]:
    """Return the compiled matching of one pair into the arrays of a list."""
    version = kept()

    @njit(cache=True, nogil=True, error_model="numpy")
    def matches(
        descriptors0: FloatArray,
        rows0: Codes16,
        xy0: FloatArray,
        marks0: FloatArray,
        descriptors1: FloatArray,
        rows1: Codes16,
        xy1: FloatArray,
        marks1: FloatArray,
        panels: Codes16,
        bits: int,
        at: int,
        cosine: FloatArray,
        indices: npt.NDArray[np.int32],
        confidence: FloatArray,
        points0: FloatArray,
        points1: FloatArray,
        marks: FloatArray,
    ) -> int:
        """Write a pair's matches from ``at`` on, best first, and their cosines by index; return how many there are."""
        most = min(len(xy0), len(xy1)) if version else 0
        found, ratio = np.empty((most, 2), np.int32), np.empty(most, np.float32)
        count = _mutual(descriptors0, descriptors1, rows0, rows1, panels, bits, found, cosine, ratio)
        lack = np.empty(count, np.float32)
        for k in range(count):
            lack[k] = -min(max(np.float32(1.0) - ratio[k], np.float32(0.0)), np.float32(1.0))
        # Stable, so that of equal ones the keypoint of view 0 that comes first does.
        order = np.argsort(lack, kind="mergesort")
        for k in range(count):
            i, j = found[order[k], 0], found[order[k], 1]
            indices[at + k, 0], indices[at + k, 1], confidence[at + k] = i, j, -lack[order[k]]
            points0[at + k, 0], points0[at + k, 1] = xy0[i, 0], xy0[i, 1]
            points1[at + k, 0], points1[at + k, 1] = xy1[j, 0], xy1[j, 1]
            marks[at + k] = min(marks0[i], marks1[j])
        return count

    return matches
