"""Scoring a model against correspondences and fitting it to those that agree (kernels for
:mod:`engine.geometry.ransac`).

Points are (4, n) arrays with the rows x0, y0, x1, y1, normalised as in :mod:`engine.geometry.minimal_solvers`: float64
(`points`) where sums of products decide a model, float32 (`fast`) where errors are only compared with a threshold,
because twice as many of them fit into a vector register. The error is the symmetric transfer error: its square is the
mean of the squared forward error (in view 1) and backward error (in view 0), each relative to the animal's size there.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from engine.geometry.minimal_solvers import (
    REORDER,
    Vector,
    invert,
    linear_part,
    solve_affine,
    solve_homography,
    solve_similarity,
)

Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

SIMILARITY, AFFINE, HOMOGRAPHY = 0, 1, 2

# Entries of the vector of limits, see `engine.geometry.verification.VerificationSettings`.
(
    L_SCALE,
    L_ROTATION,
    L_SHEAR,
    L_PERSPECTIVE,
    L_CONFIDENCE,
    L_THRESHOLD,
    L_PIXELS,
    L_DUPLICATE,
    L_MARK,
    L_SHARE,
    L_TANGENT_SIMILARITY,
    L_TANGENT,
) = range(12)
# Entries of the vector of whole numbers.
(C_MAX_DRAWS, C_MIN_DRAWS, C_MIN_INLIERS, C_KINDS) = range(4)

# How much longer (in units of the squared noise) than the shortest description a simpler kind's first fit may be.
_MARGIN = 100.0
# Length of the work space that `refine` wants: 23 sums, 6 moments, 9 entries of the inverse.
N_WORK = 38


@njit
def copy_into(target: Vector, source: Vector) -> None:
    """Copy a (9,) model (numba compiles a slice assignment with all of its error messages: seconds)."""
    for k in range(9):
        target[k] = source[k]


@njit(fastmath=REORDER, error_model="numpy")
def affine_gain(fast: Floats, model: Vector, cut: float) -> float:
    """Return the truncated gain, sum of max(0, 1 - e^2 / cut^2), of an affine model.

    The backward residual is the inverse linear part times the forward one, so that both are one quadratic form.
    """
    m0, m1, m2 = np.float32(model[0]), np.float32(model[1]), np.float32(model[2])
    m3, m4, m5 = np.float32(model[3]), np.float32(model[4]), np.float32(model[5])
    det = m0 * m4 - m1 * m3
    i0, i1, i3, i4 = m4 / det, -m1 / det, -m3 / det, m0 / det
    half, one, zero = np.float32(0.5 / (cut * cut)), np.float32(1.0), np.float32(0.0)
    qa, qb, qc = half * (one + i0 * i0 + i3 * i3), (half + half) * (i0 * i1 + i3 * i4), half * (one + i1 * i1 + i4 * i4)
    x0, y0, x1, y1 = fast[0], fast[1], fast[2], fast[3]
    total = zero
    for i in range(len(x0)):
        ex = m0 * x0[i] + m1 * y0[i] + m2 - x1[i]
        ey = m3 * x0[i] + m4 * y0[i] + m5 - y1[i]
        gain = one - (qa * ex * ex + qb * ex * ey + qc * ey * ey)
        total += gain if gain > zero else zero
    return float(total)


@njit(fastmath=REORDER, error_model="numpy")
def symmetric_errors(fast: Floats, model: Vector, inverse: Vector, errors: Floats, depths: Floats) -> None:
    """Write the squared symmetric transfer error and 1 / (projective depth in view 0) of each point."""
    m0, m1, m2 = np.float32(model[0]), np.float32(model[1]), np.float32(model[2])
    m3, m4, m5 = np.float32(model[3]), np.float32(model[4]), np.float32(model[5])
    m6, m7, one, half = np.float32(model[6]), np.float32(model[7]), np.float32(1.0), np.float32(0.5)
    i0, i1, i2 = np.float32(inverse[0]), np.float32(inverse[1]), np.float32(inverse[2])
    i3, i4, i5 = np.float32(inverse[3]), np.float32(inverse[4]), np.float32(inverse[5])
    i6, i7 = np.float32(inverse[6]), np.float32(inverse[7])
    x0, y0, x1, y1 = fast[0], fast[1], fast[2], fast[3]
    for i in range(len(x0)):
        x, y, u, v = x0[i], y0[i], x1[i], y1[i]
        depth = one / (m6 * x + m7 * y + one)
        back = one / (i6 * u + i7 * v + one)
        ex, ey = (m0 * x + m1 * y + m2) * depth - u, (m3 * x + m4 * y + m5) * depth - v
        bx, by = (i0 * u + i1 * v + i2) * back - x, (i3 * u + i4 * v + i5) * back - y
        errors[i] = half * (ex * ex + ey * ey + bx * bx + by * by)
        depths[i] = depth


@njit(fastmath=REORDER, error_model="numpy")
def total_gain(errors: Floats, cut: float) -> float:
    """Return the truncated gain, sum of max(0, 1 - e^2 / cut^2), of squared errors."""
    scale, one, zero = np.float32(1.0 / (cut * cut)), np.float32(1.0), np.float32(0.0)
    total = zero
    for i in range(len(errors)):
        gain = one - errors[i] * scale
        total += gain if gain > zero else zero
    return float(total)


@njit(fastmath=REORDER, error_model="numpy")
def _weigh(errors: Floats, depths: Floats, cut: float) -> None:
    """Turn errors into weights in place: Tukey's biweight with that cut, over the squared depth."""
    scale, one, zero = np.float32(1.0 / (cut * cut)), np.float32(1.0), np.float32(0.0)
    for i in range(len(errors)):
        weight = one - errors[i] * scale
        weight = weight if weight > zero else zero
        weight *= depths[i]
        errors[i] = weight * weight


@njit(fastmath=REORDER, error_model="numpy")
def _affine_sums(points: Points, weights: Floats, sums: Vector) -> None:
    """Write the 12 weighted sums of `solve_affine` (kept apart from the others: more would not fit the registers)."""
    x0, y0, x1, y1 = points[0], points[1], points[2], points[3]
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = s11 = 0.0
    for i in range(len(x0)):
        x, y, u, v, w = x0[i], y0[i], x1[i], y1[i], np.float64(weights[i])
        wx, wy = w * x, w * y
        s0 += wx * x
        s1 += wx * y
        s2 += wx
        s3 += wy * y
        s4 += wy
        s5 += w
        s6 += wx * u
        s7 += wy * u
        s8 += w * u
        s9 += wx * v
        s10 += wy * v
        s11 += w * v
    sums[0], sums[1], sums[2], sums[3], sums[4], sums[5] = s0, s1, s2, s3, s4, s5
    sums[6], sums[7], sums[8], sums[9], sums[10], sums[11] = s6, s7, s8, s9, s10, s11


@njit(fastmath=REORDER, error_model="numpy")
def _perspective_sums(points: Points, weights: Floats, sums: Vector) -> None:
    """Write the 11 further weighted sums of `solve_homography`."""
    x0, y0, x1, y1 = points[0], points[1], points[2], points[3]
    t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = t8 = t9 = t10 = 0.0
    for i in range(len(x0)):
        x, y, u, v, w = x0[i], y0[i], x1[i], y1[i], np.float64(weights[i])
        wx, wy, r = w * x, w * y, u * u + v * v
        xx, xy, yy = wx * x, wx * y, wy * y
        t0 += xx * u
        t1 += xy * u
        t2 += yy * u
        t3 += xx * v
        t4 += xy * v
        t5 += yy * v
        t6 += xx * r
        t7 += xy * r
        t8 += yy * r
        t9 += wx * r
        t10 += wy * r
    sums[12], sums[13], sums[14], sums[15], sums[16], sums[17] = t0, t1, t2, t3, t4, t5
    sums[18], sums[19], sums[20], sums[21], sums[22] = t6, t7, t8, t9, t10


@njit(error_model="numpy")
def refine(
    points: Points,
    fast: Floats,
    model: Vector,
    kind: int,
    start: float,
    end: float,
    steps: int,
    work: Vector,
    errors: Floats,
    depths: Floats,
) -> bool:
    """Reweighted least squares in place: `steps` times, while the cut goes from `start` to `end` geometrically.

    Args:
        points, fast: (4, n) the same points in float64 and float32.
        model: (9,) starting model of any kind, overwritten.
        kind: SIMILARITY, AFFINE or HOMOGRAPHY, the kind of the result.
        work: (N_WORK,) work space; work[:6] holds the last weighted moments of view 0 afterwards.
        errors, depths: (n,) work space.

    Returns:
        False if the weighted points do not determine a model of that kind (`model` is then of no use).
    """
    sums, scratch, inverse = work[:23], work[23:29], work[29:38]
    shrink = (end / start) ** (1.0 / (steps - 1)) if steps > 1 else 1.0
    cut = start
    for _ in range(steps):
        if not invert(model, inverse):
            return False
        symmetric_errors(fast, model, inverse, errors, depths)
        _weigh(errors, depths, cut)
        _affine_sums(points, errors, sums)
        if kind == HOMOGRAPHY:
            _perspective_sums(points, errors, sums)
            done = solve_homography(sums, scratch, model)
        elif kind == AFFINE:
            done = solve_affine(sums, scratch, model)
        else:
            done = solve_similarity(sums, model)
        if not done:
            return False
        cut *= shrink
    return True


@njit(error_model="numpy")
def within_prior(model: Vector, x: float, y: float, half_width: float, half_height: float, limits: Vector) -> bool:
    """Say whether the map near (x, y) of view 0 may relate two head-up crops of one animal (limits included)."""
    scale, rotation, shear, orientation = linear_part(model, x, y)
    if not (orientation > 0.0 and shear <= limits[L_SHEAR] and abs(rotation) <= limits[L_ROTATION]):
        return False
    if not (scale <= limits[L_SCALE] and scale * limits[L_SCALE] >= 1.0):
        return False
    tilt = abs(model[6]) * half_width + abs(model[7]) * half_height
    return 1.0 + tilt <= limits[L_PERSPECTIVE] * (1.0 - tilt)


@njit(fastmath=REORDER, error_model="numpy")
def _consensus(errors: Floats, cut: float) -> tuple[float, float]:
    """Return the number of squared errors below cut^2 and their sum."""
    bound, zero, one = np.float32(cut * cut), np.float32(0.0), np.float32(1.0)
    inliers = total = zero
    for i in range(len(errors)):
        inside = errors[i] < bound
        inliers += one if inside else zero
        total += errors[i] if inside else zero
    return float(inliers), float(total)


@njit(error_model="numpy")
def _hopeless(
    fast: Floats, kind: int, sums: Vector, cut: float, noise2: float, least: float, errors: Floats, depths: Floats
) -> bool:
    """Say whether a model of that kind, and with it every simpler one, is far from being the shortest description.

    A first fit with the weights of the richer kind costs next to nothing, since its sums are at hand. Refitting it
    shortens the description somewhat, but not by anything like `_MARGIN`.

    Args:
        sums: the weighted sums of the richer kind.
        noise2: squared noise, the ruler of all kinds.
        least: the shortest length so far.
    """
    model, inverse, scratch = np.empty(9), np.empty(9), np.empty(6)
    solved = solve_affine(sums, scratch, model) if kind == AFFINE else solve_similarity(sums, model)
    if not (solved and invert(model, inverse)):
        return False
    symmetric_errors(fast, model, inverse, errors, depths)
    inliers, total = _consensus(errors, cut)
    return (total + (len(errors) - inliers) * cut * cut) / noise2 > least + _MARGIN


@njit(error_model="numpy")
def choose(
    points: Points,
    fast: Floats,
    best: Vector,
    cut: float,
    floor: float,
    half: Vector,
    limits: Vector,
    counts: npt.NDArray[np.int64],
    work: Vector,
    errors: Floats,
    depths: Floats,
) -> int:
    """Refit each allowed kind to the consensus of `best` and write the shortest description into `best`.

    The last weights reach to three times the cut: where the noise fills the threshold, narrower ones would throw away
    what the outer inliers know. The length is the sum of min(e^2, cut^2) / noise^2 plus log(2 * inliers) for each
    parameter. The noise is that of the richest kind that fits, so that all kinds are measured with one ruler, but no
    less than `floor`.

    Args:
        half: (2,) half of the frame of view 0, normalised.
        limits, counts: as in `engine.geometry.ransac.estimate_batch`.

    Returns:
        The kind chosen, or -1 if no kind is within the prior and has enough inliers.
    """
    n = points.shape[1]
    model, start = np.empty(9), np.empty(9)
    copy_into(start, best)
    noise2, least, chosen = 0.0, np.inf, -1
    for kind in range(HOMOGRAPHY, SIMILARITY - 1, -1):
        parameters = 4 + 2 * kind
        if not counts[C_KINDS] >> kind & 1:
            continue
        if chosen == kind + 1 and _hopeless(fast, kind, work, cut, noise2, least, errors, depths):
            break
        copy_into(model, start)
        if not refine(points, fast, model, kind, 1.5 * cut, 3.0 * cut, 2, work, errors, depths):
            continue
        if not within_prior(model, work[2] / work[5], work[4] / work[5], half[0], half[1], limits):
            continue
        if not invert(model, work[29:38]):
            continue
        symmetric_errors(fast, model, work[29:38], errors, depths)
        inliers, total = _consensus(errors, cut)
        if inliers < max(counts[C_MIN_INLIERS], parameters // 2 + 2):
            continue
        if noise2 == 0.0:
            noise2 = max(total / (2.0 * inliers - parameters), floor * floor)
        length = (total + (n - inliers) * cut * cut) / noise2 + parameters * math.log(2.0 * inliers)
        if length < least:
            least, chosen = length, kind
            copy_into(best, model)
    return chosen
