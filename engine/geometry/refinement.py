"""Refining a model by iteratively reweighted least squares (kernels for :mod:`engine.geometry.ransac`)."""

from __future__ import annotations

import numpy as np
from numba import njit

from engine.geometry.arrays import REORDER, Floats, NormalisedPair, Points, Vector, Workspace
from engine.geometry.limits import AFFINE, HOMOGRAPHY, Limits
from engine.geometry.minimal_solvers import invert, solve_affine, solve_homography, solve_similarity
from engine.geometry.scoring import symmetric_errors, within_prior


@njit(fastmath=REORDER, error_model="numpy")
def _biweights(errors: Floats, depths: Floats, cutoff: float) -> None:
    """Turn errors into weights in place: Tukey's biweight that is zero from the cutoff on, over the squared depth."""
    scale, one, zero = np.float32(1.0 / (cutoff * cutoff)), np.float32(1.0), np.float32(0.0)
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
    pair: NormalisedPair, model: Vector, kind: int, first_cutoff: float, last_cutoff: float, steps: int, work: Workspace
) -> bool:
    """Refit a model in place `steps` times, while the cutoff goes from the first to the last geometrically.

    Args:
        model: (9,) starting model of any kind, overwritten.
        kind: SIMILARITY, AFFINE or HOMOGRAPHY, the kind of the result.
        work: its sums are those of the last fit afterwards.

    Returns:
        False if the weighted points do not determine a model of that kind (`model` is then of no use).
    """
    shrink = (last_cutoff / first_cutoff) ** (1.0 / (steps - 1)) if steps > 1 else 1.0
    cutoff = first_cutoff
    for _ in range(steps):
        if not invert(model, work.inverse):
            return False
        symmetric_errors(pair.points32, model, work.inverse, work.errors, work.depths)
        _biweights(work.errors, work.depths, cutoff)
        _affine_sums(pair.points, work.errors, work.sums)
        if kind == HOMOGRAPHY:
            _perspective_sums(pair.points, work.errors, work.sums)
            solved = solve_homography(work.sums, work.scratch, model)
        elif kind == AFFINE:
            solved = solve_affine(work.sums, work.scratch, model)
        else:
            solved = solve_similarity(work.sums, model)
        if not solved:
            return False
        cutoff *= shrink
    return True


@njit(error_model="numpy")
def refined_within_prior(pair: NormalisedPair, model: Vector, limits: Limits, sums: Vector) -> bool:
    """Say whether a model that was just refined keeps to the prior in the middle of its weighted points."""
    return within_prior(model, sums[2] / sums[5], sums[4] / sums[5], pair, limits)
