"""The sampler: which correspondences to draw, which samples are worth a model, and when to stop.

Draws go in turn through prefixes of the correspondences, which come in the order of confidence (compare PROSAC, Chum &
Matas, CVPR 2005).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from engine.geometry.arrays import Floats, Integers, Points, RandomState, Vector
from engine.geometry.limits import Limits
from engine.geometry.minimal_solvers import affine_from_3, doubled_area, homography_from_4, similarity_from_2

# Share of all-inlier samples from which the local optimisation is taken to arrive at the model: two noisy points of a
# surface seen in perspective may lead astray, four hardly.
CONVERGES = np.array([0.0, 0.0, 0.5, 0.7, 0.9])
# The draws go in turn through prefixes of these shares of the list: n >> shift.
_SHIFTS = np.array([0, 3, 0, 2, 0, 1])
# Samples drawn at a time.
BLOCK = 32
_LOW, _HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


@njit
def random_bits(state: RandomState) -> np.uint64:
    """Advance a (1,) uint64 state and return 64 random bits (SplitMix64, Steele, Lea & Flood, OOPSLA 2014)."""
    state[0] += _GOLDEN
    bits = state[0]
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX1
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX2
    return bits ^ (bits >> np.uint64(31))


@njit
def _prefix_length(n: int, turn: int) -> int:
    """Return how many of the best correspondences the draw number `turn` may use."""
    return max(min(n, 8), n >> _SHIFTS[turn % 6])


@njit(error_model="numpy")
def _plausible_segment(points: Points, i: int, j: int, far: float, tangent: float, stretch: float) -> bool:
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
def _plausible_triangle(points: Points, i: int, j: int, k: int, margin: float) -> bool:
    """Say whether three points span a triangle in both views, with the same order of corners.

    `margin` is the squared length that twice the area must exceed.
    """
    area0 = doubled_area(points[0, i], points[1, i], points[0, j], points[1, j], points[0, k], points[1, k])
    area1 = doubled_area(points[2, i], points[3, i], points[2, j], points[3, j], points[2, k], points[3, k])
    return (abs(area0) > margin) & (abs(area1) > margin) & (area0 * area1 > 0.0)


@njit
def _two_indices(bits: np.uint64, span: np.uint64) -> tuple[int, int]:
    """Return two indices below `span` made from 64 random bits."""
    return int(np.int64(((bits & _LOW) * span) >> _HIGH)), int(np.int64(((bits >> _HIGH) * span) >> _HIGH))


@njit(error_model="numpy")
def draw_samples(
    points: Points,
    size: int,
    first: int,
    last: int,
    margin: float,
    limits: Limits,
    state: RandomState,
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
        state: (1,) random state.
        samples: (BLOCK, 5) output, for each sample kept its number and the indices of its points.

    Returns:
        The number of samples kept.
    """
    n, held = points.shape[1], 0
    far, tangent, stretch = 4.0 * margin * margin, limits.max_tangent_similarity, limits.max_scale * limits.max_scale
    if size > 2:
        tangent, stretch = limits.max_tangent, stretch / (1.0 - limits.max_shear)
    for turn in range(first, last):
        i, j = _two_indices(random_bits(state), np.uint64(_prefix_length(n, turn)))
        samples[held, 0], samples[held, 1], samples[held, 2] = turn, i, j
        held += int(_plausible_segment(points, i, j, far, tangent, stretch))
    if size == 2:
        return held
    count = 0
    for at in range(held):
        turn, i, j = samples[at, 0], samples[at, 1], samples[at, 2]
        k, m = _two_indices(random_bits(state), np.uint64(_prefix_length(n, turn)))
        fine = _plausible_segment(points, i, k, far, tangent, stretch) & _plausible_segment(
            points, j, k, far, tangent, stretch
        )
        samples[count, 0], samples[count, 1], samples[count, 2] = turn, i, j
        samples[count, 3], samples[count, 4] = k, m
        count += int(fine & _plausible_triangle(points, i, j, k, far))
    if size == 3:
        return count
    held, count = count, 0
    for at in range(held):
        turn, i, j, k, m = samples[at, 0], samples[at, 1], samples[at, 2], samples[at, 3], samples[at, 4]
        fine = _plausible_segment(points, i, m, far, tangent, stretch) & _plausible_segment(
            points, j, m, far, tangent, stretch
        )
        fine &= _plausible_segment(points, k, m, far, tangent, stretch) & _plausible_triangle(points, i, j, m, far)
        samples[count, 0], samples[count, 1], samples[count, 2] = turn, i, j
        samples[count, 3], samples[count, 4] = k, m
        count += int(fine & _plausible_triangle(points, i, k, m, far) & _plausible_triangle(points, j, k, m, far))
    return count


@njit(error_model="numpy")
def gather_sample(points: Points, size: int, sample: Integers, p: Vector, q: Vector) -> None:
    """Write a sample's x, y, x, y, ... in view 0 and view 1 into (8,) `p` and `q`."""
    for k in range(size):
        i = sample[1 + k]
        p[2 * k], p[2 * k + 1], q[2 * k], q[2 * k + 1] = points[0, i], points[1, i], points[2, i], points[3, i]


@njit(error_model="numpy")
def solve_minimal(size: int, p: Vector, q: Vector, model: Vector) -> bool:
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
def draws_needed(errors: Floats, threshold: float, size: int, risk: float) -> float:
    """Return how many draws miss every all-inlier sample with a chance of at most `risk`.

    Args:
        errors: (n,) squared errors under the best model; those below threshold^2 are inliers.
        size: points of a sample.
        risk: in (0, 1).
    """
    n = len(errors)
    missed = 0.0
    for turn in range(6):
        prefix = _prefix_length(n, turn)
        inliers = 0
        for i in range(prefix):
            inliers += errors[i] < threshold * threshold
        hit = CONVERGES[size]
        for k in range(size):
            hit *= max(0.0, (inliers - k) / (prefix - k)) if prefix > k else 0.0
        missed += math.log(1.0 - hit)
    return 6.0 * math.log(risk) / missed if missed < -1e-12 else np.inf
