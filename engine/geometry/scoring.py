"""Scoring a model: symmetric transfer error, truncated score, and the prior on head-up crops.

The error is the symmetric transfer error (Hartley & Zisserman, Multiple View Geometry, 2nd ed., section 4.2.2): its
square is the mean of the squared forward error (in view 1) and backward error (in view 0), each relative to the
animal's size there. The score is MSAC's (Torr & Zisserman, CVIU 2000), turned round so that more is better: the sum of
max(0, 1 - e^2 / threshold^2).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from engine.geometry.arrays import REORDER, Floats, NormalisedPair, Vector
from engine.geometry.limits import Limits
from engine.geometry.minimal_solvers import linear_part


@njit(fastmath=REORDER, error_model="numpy")
def msac_score_affine(points32: Floats, model: Vector, threshold: float) -> float:
    """Return the MSAC score of an affine model.

    The backward residual is the inverse linear part times the forward one, so that both are one quadratic form.
    """
    m0, m1, m2 = np.float32(model[0]), np.float32(model[1]), np.float32(model[2])
    m3, m4, m5 = np.float32(model[3]), np.float32(model[4]), np.float32(model[5])
    det = m0 * m4 - m1 * m3
    i0, i1, i3, i4 = m4 / det, -m1 / det, -m3 / det, m0 / det
    half, one, zero = np.float32(0.5 / (threshold * threshold)), np.float32(1.0), np.float32(0.0)
    qa, qb, qc = half * (one + i0 * i0 + i3 * i3), (half + half) * (i0 * i1 + i3 * i4), half * (one + i1 * i1 + i4 * i4)
    x0, y0, x1, y1 = points32[0], points32[1], points32[2], points32[3]
    total = zero
    for i in range(len(x0)):
        ex = m0 * x0[i] + m1 * y0[i] + m2 - x1[i]
        ey = m3 * x0[i] + m4 * y0[i] + m5 - y1[i]
        score = one - (qa * ex * ex + qb * ex * ey + qc * ey * ey)
        total += score if score > zero else zero
    return float(total)


@njit(fastmath=REORDER, error_model="numpy")
def symmetric_errors(points32: Floats, model: Vector, inverse: Vector, errors: Floats, depths: Floats) -> None:
    """Write the squared symmetric transfer error and 1 / (projective depth in view 0) of each point."""
    m0, m1, m2 = np.float32(model[0]), np.float32(model[1]), np.float32(model[2])
    m3, m4, m5 = np.float32(model[3]), np.float32(model[4]), np.float32(model[5])
    m6, m7, one, half = np.float32(model[6]), np.float32(model[7]), np.float32(1.0), np.float32(0.5)
    i0, i1, i2 = np.float32(inverse[0]), np.float32(inverse[1]), np.float32(inverse[2])
    i3, i4, i5 = np.float32(inverse[3]), np.float32(inverse[4]), np.float32(inverse[5])
    i6, i7 = np.float32(inverse[6]), np.float32(inverse[7])
    x0, y0, x1, y1 = points32[0], points32[1], points32[2], points32[3]
    for i in range(len(x0)):
        x, y, u, v = x0[i], y0[i], x1[i], y1[i]
        depth = one / (m6 * x + m7 * y + one)
        back = one / (i6 * u + i7 * v + one)
        ex, ey = (m0 * x + m1 * y + m2) * depth - u, (m3 * x + m4 * y + m5) * depth - v
        bx, by = (i0 * u + i1 * v + i2) * back - x, (i3 * u + i4 * v + i5) * back - y
        errors[i] = half * (ex * ex + ey * ey + bx * bx + by * by)
        depths[i] = depth


@njit(fastmath=REORDER, error_model="numpy")
def msac_score(errors: Floats, threshold: float) -> float:
    """Return the MSAC score of squared errors."""
    scale, one, zero = np.float32(1.0 / (threshold * threshold)), np.float32(1.0), np.float32(0.0)
    total = zero
    for i in range(len(errors)):
        score = one - errors[i] * scale
        total += score if score > zero else zero
    return float(total)


@njit(error_model="numpy")
def within_prior(model: Vector, x: float, y: float, pair: NormalisedPair, limits: Limits) -> bool:
    """Say whether the map near (x, y) of view 0 may relate two head-up crops of one animal (limits included)."""
    scale, rotation, shear, orientation = linear_part(model, x, y)
    if not (orientation > 0.0 and shear <= limits.max_shear and abs(rotation) <= limits.max_rotation):
        return False
    if not (scale <= limits.max_scale and scale * limits.max_scale >= 1.0):
        return False
    tilt = abs(model[6]) * pair.half_width + abs(model[7]) * pair.half_height
    return 1.0 + tilt <= limits.max_perspective * (1.0 - tilt)
