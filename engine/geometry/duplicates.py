"""Removing correspondences that repeat a keypoint (a kernel for :mod:`engine.geometry.ransac`)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from engine.geometry.arrays import Floats, Integers

# Slots of the grid in which repeated keypoints are looked for.
_GRID = 64 * 128


@njit(error_model="numpy")
def _slot(column: int, row: int) -> int:
    """Return the place of a point in a grid of 64 columns and 128 rows that repeats itself over the plane.

    Args:
        column, row: the point's coordinates in whole radii; a cell is 16 radii wide.
    """
    return (column >> 4 & 63) | (row >> 4 & 127) << 6


@njit(error_model="numpy")
def _neighbour_slots(column: int, row: int) -> tuple[int, int, int, int]:
    """Return the slots of the cells in which a point within a radius may lie (mostly one and the same four times)."""
    first, last = _slot(column - 1, row - 1), _slot(column + 1, row + 1)
    return first, last, (first & 63) | (last & ~63), (last & 63) | (first & ~63)


@njit(error_model="numpy")
def _repeats_keypoint(
    xy: Floats,
    i: int,
    radius: float,
    slots: tuple[int, int, int, int],
    taken: npt.NDArray[np.uint8],
    heads: Integers,
    links: Integers,
) -> bool:
    """Say whether a point filed before, in one of four slots, lies within `radius` of point i."""
    for slot in slots:
        j = heads[slot] if taken[slot] else -1
        while j >= 0:
            dx, dy = xy[j, 0] - xy[i, 0], xy[j, 1] - xy[i, 1]
            if dx * dx + dy * dy <= radius * radius:
                return True
            j = links[j]
    return False


@njit(error_model="numpy")
def drop_duplicate_keypoints(xy0: Floats, xy1: Floats, radius: float, kept: Integers) -> int:
    """Write the indices of the finite correspondences that repeat no keypoint kept before; return how many.

    Points kept are filed in a grid for each view, by chains of those in one slot. Mostly the slots about a point are
    empty, which the loop itself finds out: calling a function with so many arrays would cost as much again.

    Args:
        xy0, xy1: (M, 2) pixels, best first.
        radius: keypoints of one view this close are the same.
        kept: (M,) output.
    """
    n = len(xy0)
    # Heads are read only where the slot is taken, so that most of them need no memory to be touched.
    taken0, taken1 = np.zeros(_GRID, np.uint8), np.zeros(_GRID, np.uint8)
    heads0, heads1 = np.empty(_GRID, np.int64), np.empty(_GRID, np.int64)
    links0, links1 = np.empty(n, np.int64), np.empty(n, np.int64)
    count, unit, most = 0, 1.0 / max(radius, 1e-3), 1e6
    for i in range(n):
        x, y, u, v = np.float64(xy0[i, 0]), np.float64(xy0[i, 1]), np.float64(xy1[i, 0]), np.float64(xy1[i, 1])
        # Beyond a million pixels a cell's number would not be meaningful; no photograph is that large.
        if not (abs(x) < most) & (abs(y) < most) & (abs(u) < most) & (abs(v) < most):
            continue
        column0, row0 = int(np.floor(x * unit)), int(np.floor(y * unit))
        column1, row1 = int(np.floor(u * unit)), int(np.floor(v * unit))
        near0, near1 = _neighbour_slots(column0, row0), _neighbour_slots(column1, row1)
        a, b = taken0[near0[0]] | taken0[near0[1]] | taken0[near0[2]] | taken0[near0[3]], taken1[near1[0]]
        b = b | taken1[near1[1]] | taken1[near1[2]] | taken1[near1[3]]
        if a and _repeats_keypoint(xy0, i, radius, near0, taken0, heads0, links0):
            continue
        if b and _repeats_keypoint(xy1, i, radius, near1, taken1, heads1, links1):
            continue
        slot0, slot1 = _slot(column0, row0), _slot(column1, row1)
        links0[i], links1[i] = heads0[slot0] if taken0[slot0] else -1, heads1[slot1] if taken1[slot1] else -1
        heads0[slot0], heads1[slot1] = i, i
        taken0[slot0], taken1[slot1] = 1, 1
        kept[count] = i
        count += 1
    return count
