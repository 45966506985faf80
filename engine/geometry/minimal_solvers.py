"""Small closed-form solvers for plane-to-plane models, compiled by numba and free of memory allocation.

Points and models are as in :mod:`engine.geometry.arrays`.

Sources: the two-point similarity and the weighted similarity are Umeyama's closed form (PAMI 1991) written out for the
plane; the four-point homography is the change of projective basis (Hartley & Zisserman, Multiple View Geometry, 2nd
ed., section 4.1); the weighted homography is the direct linear transform with each equation divided by the point's
current projective depth, which turns the algebraic into the geometric residual at convergence, solved by eliminating
the two affine blocks first (Schur complement).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from engine.geometry.arrays import Vector


@njit(error_model="numpy")
def similarity_from_2(
    ax: float, ay: float, bx: float, by: float, ux: float, uy: float, vx: float, vy: float
) -> tuple[float, float, float, float]:
    """Return (p, q, c, d) of x' = p x - q y + c, y' = q x + p y + d that maps a to u and b to v (a != b)."""
    dx, dy, ex, ey = bx - ax, by - ay, vx - ux, vy - uy
    norm = dx * dx + dy * dy
    p = (dx * ex + dy * ey) / norm
    q = (dx * ey - dy * ex) / norm
    return p, q, ux - p * ax + q * ay, uy - q * ax - p * ay


@njit
def doubled_area(ax: float, ay: float, bx: float, by: float, cx: float, cy: float) -> float:
    """Return twice the signed area of the triangle a, b, c (negative when the order of the corners is reversed)."""
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


@njit(error_model="numpy")
def affine_from_3(p: Vector, q: Vector, model: Vector) -> bool:
    """Write the affine map from 3 points to 3 points into `model`; False if three points lie on a line.

    Args:
        p, q: flat (x, y, x, y, ...) coordinates of at least three points in view 0 and in view 1.
        model: (9,) output.
    """
    area = doubled_area(p[0], p[1], p[2], p[3], p[4], p[5])
    if not abs(area) > 0.0:
        return False
    dx1, dy1, dx2, dy2 = p[2] - p[0], p[3] - p[1], p[4] - p[0], p[5] - p[1]
    for row in range(2):
        e1, e2 = q[2 + row] - q[row], q[4 + row] - q[row]
        m0 = (e1 * dy2 - e2 * dy1) / area
        m1 = (e2 * dx1 - e1 * dx2) / area
        model[3 * row], model[3 * row + 1] = m0, m1
        model[3 * row + 2] = q[row] - m0 * p[0] - m1 * p[1]
    model[6], model[7], model[8] = 0.0, 0.0, 1.0
    return True


@njit(error_model="numpy")
def homography_from_4(p: Vector, q: Vector, model: Vector) -> bool:
    """Write the homography from 4 points to 4 points into `model`.

    The fourth point is written in the basis of the other three in both views. Where the ratios of these coordinates
    have different signs, some triangle changes its orientation: no view of one surface folds like that.

    Args:
        p, q: flat (x, y, x, y, ...) coordinates of four points in view 0 and in view 1.
        model: (9,) output.

    Returns:
        False if three points lie on a line, the sample folds or the frame's centre is mapped to infinity.
    """
    area0 = doubled_area(p[0], p[1], p[2], p[3], p[4], p[5])
    area1 = doubled_area(q[0], q[1], q[2], q[3], q[4], q[5])
    a = area1 / area0
    l0 = doubled_area(q[6], q[7], q[2], q[3], q[4], q[5]) / doubled_area(p[6], p[7], p[2], p[3], p[4], p[5]) / a
    l1 = doubled_area(q[0], q[1], q[6], q[7], q[4], q[5]) / doubled_area(p[0], p[1], p[6], p[7], p[4], p[5]) / a
    l2 = doubled_area(q[0], q[1], q[2], q[3], q[6], q[7]) / doubled_area(p[0], p[1], p[2], p[3], p[6], p[7]) / a
    if not (l0 > 0.0 and l1 > 0.0 and l2 > 0.0 and np.isfinite(l0 + l1 + l2)):
        return False
    # Rows of the inverse of [p0 p1 p2; 1 1 1]: barycentric coordinates as linear functions of (x, y, 1).
    r00, r01, r02 = p[3] - p[5], p[4] - p[2], p[2] * p[5] - p[4] * p[3]
    r10, r11, r12 = p[5] - p[1], p[0] - p[4], p[4] * p[1] - p[0] * p[5]
    r20, r21, r22 = p[1] - p[3], p[2] - p[0], p[0] * p[3] - p[2] * p[1]
    scale = l0 * r02 + l1 * r12 + l2 * r22
    if not scale / area0 > 0.0:
        return False
    for row in range(3):
        c0 = l0 * (q[row] if row < 2 else 1.0) / scale
        c1 = l1 * (q[2 + row] if row < 2 else 1.0) / scale
        c2 = l2 * (q[4 + row] if row < 2 else 1.0) / scale
        model[3 * row] = c0 * r00 + c1 * r10 + c2 * r20
        model[3 * row + 1] = c0 * r01 + c1 * r11 + c2 * r21
        model[3 * row + 2] = c0 * r02 + c1 * r12 + c2 * r22
    return True


@njit(error_model="numpy")
def invert(model: Vector, inverse: Vector) -> bool:
    """Write the inverse of a (9,) model into `inverse`, last entry 1; False if it is singular."""
    a, b, c, d, e, f, g, h, i = model
    m0, m1, m2 = e * i - f * h, c * h - b * i, b * f - c * e
    m3, m4, m5 = f * g - d * i, a * i - c * g, c * d - a * f
    m6, m7, m8 = d * h - e * g, b * g - a * h, a * e - b * d
    det = a * m0 + b * m3 + c * m6
    if not (abs(det) > 1e-12 and abs(m8) > 1e-12):
        return False
    inverse[0], inverse[1], inverse[2] = m0 / m8, m1 / m8, m2 / m8
    inverse[3], inverse[4], inverse[5] = m3 / m8, m4 / m8, m5 / m8
    inverse[6], inverse[7], inverse[8] = m6 / m8, m7 / m8, 1.0
    return True


@njit(error_model="numpy")
def solve_similarity(sums: Vector, model: Vector) -> bool:
    """Write the weighted least-squares similarity into `model` from the sums of :func:`solve_affine`.

    Returns:
        False if the weighted points of view 0 coincide.
    """
    w = sums[5]
    x, y, u, v = sums[2] / w, sums[4] / w, sums[8] / w, sums[11] / w
    norm = sums[0] + sums[3] - w * (x * x + y * y)
    if not norm > 1e-9 * w:
        return False
    p = (sums[6] + sums[10] - w * (x * u + y * v)) / norm
    q = (sums[9] - sums[7] - w * (x * v - y * u)) / norm
    model[0], model[1], model[2] = p, -q, u - p * x + q * y
    model[3], model[4], model[5] = q, p, v - q * x - p * y
    model[6], model[7], model[8] = 0.0, 0.0, 1.0
    return True


@njit(error_model="numpy")
def _invert_moments(sums: Vector, out: Vector) -> bool:
    """Write the inverse of the symmetric moment matrix (xx, xy, x, yy, y, 1) into `out`, same order."""
    a, b, c, d, e, f = sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]
    m0, m1, m2 = d * f - e * e, c * e - b * f, b * e - c * d
    det = a * m0 + b * m1 + c * m2
    if not det > 1e-10 * f * f * f:
        return False
    out[0], out[1], out[2] = m0 / det, m1 / det, m2 / det
    out[3], out[4], out[5] = (a * f - c * c) / det, (b * c - a * e) / det, (a * d - b * b) / det
    return True


@njit(error_model="numpy")
def solve_affine(sums: Vector, scratch: Vector, model: Vector) -> bool:
    """Write the weighted least-squares affine map into `model`.

    Args:
        sums: weighted sums over the correspondences (x, y) -> (u, v), 12 or more of them:
            xx, xy, x, yy, y, 1; xu, yu, u; xv, yv, v.
        scratch: (6,) work space.
        model: (9,) output.

    Returns:
        False if the weighted points of view 0 lie on a line.
    """
    if not _invert_moments(sums, scratch):
        return False
    s0, s1, s2, s3, s4, s5 = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5]
    for row in range(2):
        rx, ry, r = sums[6 + 3 * row], sums[7 + 3 * row], sums[8 + 3 * row]
        model[3 * row] = s0 * rx + s1 * ry + s2 * r
        model[3 * row + 1] = s1 * rx + s3 * ry + s4 * r
        model[3 * row + 2] = s2 * rx + s4 * ry + s5 * r
    model[6], model[7], model[8] = 0.0, 0.0, 1.0
    return True


@njit(error_model="numpy")
def solve_homography(sums: Vector, scratch: Vector, model: Vector) -> bool:
    """Write the weighted least-squares homography (last entry 1) into `model`.

    Args:
        sums: the 12 sums of :func:`solve_affine`, then xxu, xyu, yyu; xxv, xyv, yyv; and with r = uu + vv:
            xxr, xyr, yyr, xr, yr: 23 in all.
        scratch: (6,) work space.
        model: (9,) output.

    Returns:
        False if the correspondences do not determine a homography.
    """
    if not _invert_moments(sums, scratch):
        return False
    s0, s1, s2, s3, s4, s5 = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4], scratch[5]
    c00, c01, c11, t0, t1 = sums[18], sums[19], sums[20], -sums[21], -sums[22]
    before = c00 * c11 - c01 * c01
    for view in range(2):
        k, r = 12 + 3 * view, 6 + 3 * view
        # The two columns of the block that couples (x, y, 1) with the perspective entries, and S^-1 times them.
        b00, b10, b20 = sums[k], sums[k + 1], sums[r]
        b01, b11, b21 = sums[k + 1], sums[k + 2], sums[r + 1]
        z00, z10, z20 = s0 * b00 + s1 * b10 + s2 * b20, s1 * b00 + s3 * b10 + s4 * b20, s2 * b00 + s4 * b10 + s5 * b20
        z01, z11, z21 = s0 * b01 + s1 * b11 + s2 * b21, s1 * b01 + s3 * b11 + s4 * b21, s2 * b01 + s4 * b11 + s5 * b21
        c00 -= b00 * z00 + b10 * z10 + b20 * z20
        c01 -= b00 * z01 + b10 * z11 + b20 * z21
        c11 -= b01 * z01 + b11 * z11 + b21 * z21
        t0 += z00 * sums[r] + z10 * sums[r + 1] + z20 * sums[r + 2]
        t1 += z01 * sums[r] + z11 * sums[r + 1] + z21 * sums[r + 2]
    det = c00 * c11 - c01 * c01
    if not det > 1e-12 * abs(before):
        return False
    g, h = (c11 * t0 - c01 * t1) / det, (c00 * t1 - c01 * t0) / det
    for row in range(2):
        k, r = 12 + 3 * row, 6 + 3 * row
        rx = sums[r] + sums[k] * g + sums[k + 1] * h
        ry = sums[r + 1] + sums[k + 1] * g + sums[k + 2] * h
        r1 = sums[r + 2] + sums[r] * g + sums[r + 1] * h
        model[3 * row] = s0 * rx + s1 * ry + s2 * r1
        model[3 * row + 1] = s1 * rx + s3 * ry + s4 * r1
        model[3 * row + 2] = s2 * rx + s4 * ry + s5 * r1
    model[6], model[7], model[8] = g, h, 1.0
    return True


@njit(error_model="numpy")
def linear_part(model: Vector, x: float, y: float) -> tuple[float, float, float, float]:
    """Return scale, rotation (radians), shear and orientation (+1, -1) of the map's derivative at (x, y).

    Scale is the square root of |determinant|; rotation is that of the nearest similarity; shear is one minus the ratio
    of the smaller to the larger singular value.
    """
    w = model[6] * x + model[7] * y + model[8]
    u = (model[0] * x + model[1] * y + model[2]) / w
    v = (model[3] * x + model[4] * y + model[5]) / w
    a, b = (model[0] - u * model[6]) / w, (model[1] - u * model[7]) / w
    c, d = (model[3] - v * model[6]) / w, (model[4] - v * model[7]) / w
    det = a * d - b * c
    even, odd = math.sqrt((a + d) ** 2 + (c - b) ** 2), math.sqrt((a - d) ** 2 + (c + b) ** 2)
    larger = even + odd
    shear = 1.0 - abs(even - odd) / larger if larger > 0.0 else 1.0
    return math.sqrt(abs(det)), math.atan2(c - b, a + d), shear, (1.0 if det > 0.0 else -1.0)
