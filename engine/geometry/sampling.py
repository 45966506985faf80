"""Which correspondences to draw from, which samples are worth a model, and when to stop (kernels for ransac).

Points are normalised as in :mod:`engine.geometry.minimal_solvers`; the order of the correspondences is that of
confidence.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from engine.geometry.minimal_solvers import (
    Vector,
    affine_from_3,
    doubled_area,
    homography_from_4,
    random_bits,
    similarity_from_2,
)
from engine.geometry.scoring import L_SCALE, L_SHEAR, L_TANGENT, L_TANGENT_SIMILARITY, Floats, Points

Integers = npt.NDArray[np.int64]

# Share of all-inlier samples from which the local optimisation is taken to arrive at the model: two noisy points of a
# surface seen in perspective may lead astray, four hardly.
ARRIVES = np.array([0.0, 0.0, 0.5, 0.7, 0.9])
# The draws go in turn through prefixes of these shares of the list: n >> shift.
_SHIFTS = np.array([0, 3, 0, 2, 0, 1])
# Samples drawn at a time.
BLOCK = 32
# Slots of the grid in which repeated keypoints are looked for.
_GRID = 64 * 128
_LOW, _HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)


@njit
def _prefix(n: int, turn: int) -> int:
    """Return how many of the best correspondences the draw number `turn` may use."""
    return max(min(n, 8), n >> _SHIFTS[turn % 6])


@njit(error_model="numpy")
def _alike(points: Points, i: int, j: int, far: float, tangent: float, stretch: float) -> bool:
    """Say whether the segment i-j is long enough and changes its direction and length within bounds.

    A tangent of zero stands for "no bound" (angles of 90 degrees and more); `far` and `stretch` are squared.
    """
    dx, dy = points[0, j] - points[0, i], points[1, j] - points[1, i]
    ex, ey = points[2, j] - points[2, i], points[3, j] - points[3, i]
    d2, e2, dot, cross = dx * dx + dy * dy, ex * ex + ey * ey, dx * ex + dy * ey, abs(dx * ey - dy * ex)
    # One branch instead of five that no processor could predict.
    bad = (
        (tangent > 0.0) & (cross > tangent * dot) | (d2 < far) | (e2 < far) | (e2 > stretch * d2) | (d2 > stretch * e2)
    )
    return not bad


@njit(error_model="numpy")
def _upright(points: Points, i: int, j: int, k: int, margin: float) -> bool:
    """Say whether three points span a triangle in both views, with the same order of corners.

    `margin` is the squared length that twice the area must exceed.
    """
    area0 = doubled_area(points[0, i], points[1, i], points[0, j], points[1, j], points[0, k], points[1, k])
    area1 = doubled_area(points[2, i], points[3, i], points[2, j], points[3, j], points[2, k], points[3, k])
    return (abs(area0) > margin) & (abs(area1) > margin) & (area0 * area1 > 0.0)


@njit
def _two_of(bits: np.uint64, span: np.uint64) -> tuple[int, int]:
    """Return two indices below `span` made from 64 random bits."""
    return int(np.int64(((bits & _LOW) * span) >> _HIGH)), int(np.int64(((bits >> _HIGH) * span) >> _HIGH))


@njit(error_model="numpy")
def draw_samples(
    points: Points,
    size: int,
    first: int,
    last: int,
    margin: float,
    limits: Vector,
    state: npt.NDArray[np.uint64],
    samples: Integers,
) -> int:
    """Draw the minimal samples number `first` to `last` - 1 and keep those that can be a model's.

    Two points already tell scale and rotation, so most bad samples end there, at the price of a random number and some
    products. Which ones do no processor can guess, so every loop writes each sample and then counts it or not. For more
    than two points the bounds are widened by what the largest shear can add.

    Args:
        points: (4, n) normalised correspondences, best first.
        size: 2, 3 or 4 points.
        first, last: at most BLOCK apart.
        margin: points closer than twice this are taken to coincide.
        limits: as in `estimate_batch`.
        state: (1,) random state.
        samples: (BLOCK, 5) output, for each sample kept its number and the indices of its points.

    Returns:
        The number of samples kept.
    """
    n, held = points.shape[1], 0
    far, tangent, stretch = 4.0 * margin * margin, limits[L_TANGENT_SIMILARITY], limits[L_SCALE] * limits[L_SCALE]
    if size > 2:
        tangent, stretch = limits[L_TANGENT], stretch / (1.0 - limits[L_SHEAR])
    for turn in range(first, last):
        i, j = _two_of(random_bits(state), np.uint64(_prefix(n, turn)))
        samples[held, 0], samples[held, 1], samples[held, 2] = turn, i, j
        held += int(_alike(points, i, j, far, tangent, stretch))
    if size == 2:
        return held
    count = 0
    for at in range(held):
        turn, i, j = samples[at, 0], samples[at, 1], samples[at, 2]
        k, m = _two_of(random_bits(state), np.uint64(_prefix(n, turn)))
        fine = _alike(points, i, k, far, tangent, stretch) & _alike(points, j, k, far, tangent, stretch)
        samples[count, 0], samples[count, 1], samples[count, 2] = turn, i, j
        samples[count, 3], samples[count, 4] = k, m
        count += int(fine & _upright(points, i, j, k, far))
    if size == 3:
        return count
    held, count = count, 0
    for at in range(held):
        turn, i, j, k, m = samples[at, 0], samples[at, 1], samples[at, 2], samples[at, 3], samples[at, 4]
        fine = _alike(points, i, m, far, tangent, stretch) & _alike(points, j, m, far, tangent, stretch)
        fine &= _alike(points, k, m, far, tangent, stretch) & _upright(points, i, j, m, far)
        samples[count, 0], samples[count, 1], samples[count, 2] = turn, i, j
        samples[count, 3], samples[count, 4] = k, m
        count += int(fine & _upright(points, i, k, m, far) & _upright(points, j, k, m, far))
    return count


@njit(error_model="numpy")
def take(points: Points, size: int, sample: Integers, p: Vector, q: Vector) -> None:
    """Write a sample's x, y, x, y, ... in view 0 and view 1 into (8,) `p` and `q`."""
    for k in range(size):
        i = sample[1 + k]
        p[2 * k], p[2 * k + 1], q[2 * k], q[2 * k + 1] = points[0, i], points[1, i], points[2, i], points[3, i]


@njit(error_model="numpy")
def hypothesis(size: int, p: Vector, q: Vector, model: Vector) -> bool:
    """Write the model of a minimal sample; False if there is none."""
    if size == 2:
        a, b, c, d = similarity_from_2(p[0], p[1], p[2], p[3], q[0], q[1], q[2], q[3])
        model[0], model[1], model[2], model[3], model[4], model[5] = a, -b, c, b, a, d
        model[6], model[7], model[8] = 0.0, 0.0, 1.0
        return True
    if size == 3:
        return affine_from_3(p, q, model)
    return homography_from_4(p, q, model)


@njit(error_model="numpy")
def draws_needed(errors: Floats, cut: float, size: int, risk: float) -> float:
    """Return how many draws miss every all-inlier sample with a chance of at most `risk`.

    Args:
        errors: (n,) squared errors under the best model; those below cut^2 are inliers.
        size: points of a sample.
        risk: in (0, 1).
    """
    n = len(errors)
    missed = 0.0
    for turn in range(6):
        prefix = _prefix(n, turn)
        inliers = 0
        for i in range(prefix):
            inliers += errors[i] < cut * cut
        hit = ARRIVES[size]
        for k in range(size):
            hit *= max(0.0, (inliers - k) / (prefix - k)) if prefix > k else 0.0
        missed += math.log(1.0 - hit)
    return 6.0 * math.log(risk) / missed if missed < -1e-12 else np.inf


@njit(error_model="numpy")
def _slot(column: int, row: int) -> int:
    """Return the place of a point in a grid of 64 columns and 128 rows that repeats itself over the plane.

    Args:
        column, row: the point's coordinates in whole radii; a cell is 16 radii wide.
    """
    return (column >> 4 & 63) | (row >> 4 & 127) << 6


@njit(error_model="numpy")
def _corners(column: int, row: int) -> tuple[int, int, int, int]:
    """Return the slots of the cells in which a point within a radius may lie (mostly one and the same four times)."""
    first, last = _slot(column - 1, row - 1), _slot(column + 1, row + 1)
    return first, last, (first & 63) | (last & ~63), (last & 63) | (first & ~63)


@njit(error_model="numpy")
def _repeats(
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
def distinct(xy0: Floats, xy1: Floats, radius: float, kept: Integers) -> int:
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
        near0, near1 = _corners(column0, row0), _corners(column1, row1)
        a, b = taken0[near0[0]] | taken0[near0[1]] | taken0[near0[2]] | taken0[near0[3]], taken1[near1[0]]
        b = b | taken1[near1[1]] | taken1[near1[2]] | taken1[near1[3]]
        if a and _repeats(xy0, i, radius, near0, taken0, heads0, links0):
            continue
        if b and _repeats(xy1, i, radius, near1, taken1, heads1, links1):
            continue
        slot0, slot1 = _slot(column0, row0), _slot(column1, row1)
        links0[i], links1[i] = heads0[slot0] if taken0[slot0] else -1, heads1[slot1] if taken1[slot1] else -1
        heads0[slot0], heads1[slot1] = i, i
        taken0[slot0], taken1[slot1] = 1, 1
        kept[count] = i
        count += 1
    return count
