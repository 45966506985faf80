"""A body that bends: one quadratic term along its axis beside the global model (kernels for
:mod:`engine.geometry.ransac`).

In the head-up frame of view 0 the body's axis is y. A bend x = c y^2 of the axis moves what lies on it sideways and
turns what lies beside it by the slope, to first order

    B(x, y) = (x + c y^2, y - 2 c y x)

and the whole map is T(B(x, y)) with T a similarity or an affine map. A straight model that was fitted to a bent body
has made a compromise (it turns, stretches, or takes on a perspective), so T starts from it and is refitted together
with c: by iteratively reweighted least squares (Tukey's biweight under a shrinking threshold) in view 0, where both are
linear. The bend is kept only if it describes all correspondences in fewer numbers than the straight model
(:func:`engine.geometry.scoring.choose`); it may then replace a homography that stood for it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from engine.geometry.minimal_solvers import Vector, invert
from engine.geometry.scoring import (
    AFFINE,
    C_KINDS,
    C_MIN_INLIERS,
    HOMOGRAPHY,
    L_BEND,
    SIMILARITY,
    Floats,
    Points,
    copy_into,
    symmetric_errors,
    within_prior,
)

#: Thresholds of the refits, in units of the inliers': wide enough for the ends of a bent body, which a straight model
#: leaves out, and narrow in the end.
_FIRST, _LAST, _STEPS = 5.0, 1.5, 8


@njit(error_model="numpy")
def bent_errors(points: Points, model: Vector, inverse: Vector, bend: float, errors: Floats) -> None:
    """Write the squared symmetric transfer error of each point under a bent model.

    Args:
        points: (4, n) normalised x0, y0, x1, y1.
        model, inverse: (9,) affine T and its inverse.
        bend: c.
        errors: (n,) output.
    """
    for i in range(points.shape[1]):
        x, y, u, v = points[0, i], points[1, i], points[2, i], points[3, i]
        bx, by = x + bend * y * y, y - 2.0 * bend * y * x
        ex = model[0] * bx + model[1] * by + model[2] - u
        ey = model[3] * bx + model[4] * by + model[5] - v
        gx = inverse[0] * u + inverse[1] * v + inverse[2] - bx
        gy = inverse[3] * u + inverse[4] * v + inverse[5] - by
        errors[i] = 0.5 * (ex * ex + ey * ey + gx * gx + gy * gy)


@njit(error_model="numpy")
def solve_symmetric(table: npt.NDArray[np.float64], size: int, least: float, answer: Vector) -> bool:
    """Solve the normal equations in the upper half of (size, size + 1) `table`, which is overwritten.

    Args:
        least: smallest pivot that counts as determined.
        answer: (size,) output.

    Returns:
        False if the equations do not determine the answer.
    """
    for j in range(size):
        if not table[j, j] > least:
            return False
        for k in range(j + 1, size):
            factor = table[j, k] / table[j, j]
            for m in range(k, size + 1):
                table[k, m] -= factor * table[j, m]
    for j in range(size - 1, -1, -1):
        value = table[j, size]
        for k in range(j + 1, size):
            value -= table[j, k] * answer[k]
        answer[j] = value / table[j, j]
    return True


@njit(error_model="numpy")
def _refit(
    points: Points, errors: Floats, cut: float, kind: int, model: Vector, inverse: Vector, spare: Vector
) -> tuple[bool, float]:
    """Refit T (in place) and the bend to the points that agree with the present ones.

    T^-1 of view 1 is brought onto the bent view 0 by a correction (1, x, y) -> view 0, of the same kind as T, which is
    then multiplied into T.

    Args:
        errors: (n,) squared errors under the present model.
        cut: where Tukey's weight becomes zero.
        kind: SIMILARITY or AFFINE.
        inverse: (9,) inverse of `model`.
        spare: (9,) work space.

    Returns:
        Whether the points determine it, and the bend.
    """
    # Unknowns: shift x, shift y, then (scale, turn) or the four entries of the linear part, then the bend.
    size = 5 if kind == SIMILARITY else 7
    table, answer, total = np.zeros((7, 8)), np.zeros(7), 0.0
    row_x, row_y = np.zeros(8), np.zeros(8)
    row_x[0] = row_y[1] = 1.0
    for i in range(points.shape[1]):
        weight = 1.0 - errors[i] / (cut * cut)
        if not weight > 0.0:
            continue
        weight *= weight
        total += weight
        x, y, u, v = points[0, i], points[1, i], points[2, i], points[3, i]
        if kind == SIMILARITY:
            row_x[2], row_x[3], row_y[2], row_y[3] = x, -y, y, x
        else:
            row_x[2], row_x[3], row_y[4], row_y[5] = x, y, x, y
        row_x[size - 1], row_y[size - 1] = y * y, -2.0 * y * x
        row_x[size] = inverse[0] * u + inverse[1] * v + inverse[2]
        row_y[size] = inverse[3] * u + inverse[4] * v + inverse[5]
        for j in range(size):
            for k in range(j, size + 1):
                table[j, k] += weight * (row_x[j] * row_x[k] + row_y[j] * row_y[k])
    if not solve_symmetric(table, size, 1e-7 * total, answer):
        return False, 0.0
    if kind == SIMILARITY:
        a, b, c, d = answer[2], -answer[3], answer[3], answer[2]
    else:
        a, b, c, d = answer[2], answer[3], answer[4], answer[5]
    copy_into(spare, model)
    for row in range(2):
        m0, m1 = spare[3 * row], spare[3 * row + 1]
        model[3 * row], model[3 * row + 1] = m0 * a + m1 * c, m0 * b + m1 * d
        model[3 * row + 2] = m0 * answer[0] + m1 * answer[1] + spare[3 * row + 2]
    # The correction also stands before the bend, so that it is the bend of the corrected frame that remains; at
    # convergence the correction is the identity and there is no difference.
    return True, answer[size - 1]


@njit(error_model="numpy")
def _count(errors: Floats, cut: float) -> tuple[int, float]:
    """Return the number of inliers and the sum of their squared errors."""
    inliers, total = 0, 0.0
    for i in range(len(errors)):
        if errors[i] < cut * cut:
            inliers += 1
            total += errors[i]
    return inliers, total


@njit(error_model="numpy")
def _tangent(points: Points, errors: Floats, cut: float, model: Vector) -> None:
    """Replace a homography by the affine map that touches it in the middle of its inliers."""
    x, y, count = 0.0, 0.0, 0
    for i in range(points.shape[1]):
        if errors[i] < cut * cut:
            x, y, count = x + points[0, i], y + points[1, i], count + 1
    x, y = x / max(count, 1), y / max(count, 1)
    depth = model[6] * x + model[7] * y + 1.0
    for row in range(2):
        value = (model[3 * row] * x + model[3 * row + 1] * y + model[3 * row + 2]) / depth
        model[3 * row] = (model[3 * row] - value * model[6]) / depth
        model[3 * row + 1] = (model[3 * row + 1] - value * model[7]) / depth
        model[3 * row + 2] = value - model[3 * row] * x - model[3 * row + 1] * y
    model[6], model[7], model[8] = 0.0, 0.0, 1.0


@njit(error_model="numpy")
def fit_bend(
    points: Points,
    fast: Floats,
    best: Vector,
    kind: int,
    cut: float,
    floor: float,
    half: Vector,
    limits: Vector,
    counts: npt.NDArray[np.int64],
    errors: Floats,
    depths: Floats,
) -> tuple[int, float]:
    """Look for a bend; where there is one, write the map T that goes with it into `best`.

    Args:
        points, fast: (4, n) normalised.
        best: (9,) the straight model; `kind` is its kind.
        cut: largest error of an inlier.
        floor: least noise, as in :func:`engine.geometry.scoring.choose`.
        half: (2,) half of the frame of view 0, normalised.
        limits, counts: as in `engine.geometry.ransac.estimate_batch`.
        errors, depths: (n,) work space.

    Returns:
        The kind of `best` and the bend c; the kind given and 0 where a straight body explains as much.
    """
    bent_kind = AFFINE if kind == HOMOGRAPHY else kind
    model, inverse, spare = np.empty(9), np.empty(9), np.empty(9)
    copy_into(model, best)
    if not counts[C_KINDS] >> bent_kind & 1 or not invert(model, inverse):
        return kind, 0.0
    symmetric_errors(fast, model, inverse, errors, depths)
    straight, straight_total = _count(errors, cut)
    if kind == HOMOGRAPHY:
        _tangent(points, errors, cut, model)
    reach, bend = _FIRST * cut, 0.0
    for _ in range(_STEPS):
        if not invert(model, inverse):
            return kind, 0.0
        bent_errors(points, model, inverse, bend, errors)
        solved, bend = _refit(points, errors, reach, bent_kind, model, inverse, spare)
        if not solved:
            return kind, 0.0
        reach *= (_LAST / _FIRST) ** (1.0 / (_STEPS - 1))
    if not invert(model, inverse):
        return kind, 0.0
    bent_errors(points, model, inverse, bend, errors)
    bent, bent_total = _count(errors, cut)
    before, after = 4 + 2 * kind, 5 + 2 * bent_kind
    if bent < max(counts[C_MIN_INLIERS], after // 2 + 2) or abs(bend) > 4.0 * limits[L_BEND]:
        return kind, 0.0
    if not within_prior(model, 0.0, 0.0, half[0], half[1], limits):
        return kind, 0.0
    noise2 = max(bent_total / (2.0 * bent - after), floor * floor)
    gain = (straight_total - bent_total + (bent - straight) * cut * cut) / noise2
    if not gain > after * math.log(2.0 * bent) - before * math.log(2.0 * max(straight, 1)):
        return kind, 0.0
    copy_into(best, model)
    return bent_kind, bend
