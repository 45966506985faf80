"""Choosing the kind of model by minimal description length (kernels for :mod:`engine.geometry.ransac`).

The length is that of truncated squared residuals in units of the noise, plus the logarithm of the number of
measurements for each parameter (compare GRIC, Torr, CVPR 1997).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from engine.geometry.arrays import REORDER, Floats, NormalisedPair, Vector, Workspace, copy_into
from engine.geometry.limits import AFFINE, HOMOGRAPHY, SIMILARITY, Limits
from engine.geometry.minimal_solvers import invert, solve_affine, solve_similarity
from engine.geometry.refinement import refine, refined_within_prior
from engine.geometry.scoring import symmetric_errors

# How much longer (in units of the squared noise) than the shortest description a simpler kind's first fit may be.
_MARGIN = 100.0


@njit(fastmath=REORDER, error_model="numpy")
def _consensus(errors: Floats, threshold: float) -> tuple[float, float]:
    """Return the number of squared errors below threshold^2 and their sum."""
    bound, zero, one = np.float32(threshold * threshold), np.float32(0.0), np.float32(1.0)
    inliers = total = zero
    for i in range(len(errors)):
        inside = errors[i] < bound
        inliers += one if inside else zero
        total += errors[i] if inside else zero
    return float(inliers), float(total)


@njit(error_model="numpy")
def _cannot_win(pair: NormalisedPair, kind: int, noise2: float, shortest: float, work: Workspace) -> bool:
    """Say whether a model of that kind, and with it every simpler one, is far from being the shortest description.

    A first fit with the weights of the richer kind costs next to nothing, since its sums are at hand. Refitting it
    shortens the description somewhat, but not by anything like `_MARGIN`.

    Args:
        noise2: squared noise, the ruler of all kinds.
        shortest: the shortest length so far.
        work: its sums are those of the richer kind.
    """
    model, inverse, scratch = np.empty(9), np.empty(9), np.empty(6)
    solved = solve_affine(work.sums, scratch, model) if kind == AFFINE else solve_similarity(work.sums, model)
    if not (solved and invert(model, inverse)):
        return False
    symmetric_errors(pair.points32, model, inverse, work.errors, work.depths)
    inliers, total = _consensus(work.errors, pair.threshold)
    outliers = len(work.errors) - inliers
    return (total + outliers * pair.threshold * pair.threshold) / noise2 > shortest + _MARGIN


@njit(error_model="numpy")
def select_model(pair: NormalisedPair, best_model: Vector, limits: Limits, work: Workspace) -> int:
    """Refit each allowed kind to the consensus of `best_model` and write the shortest description into it.

    The last weights reach to three times the threshold: where the noise fills it, narrower ones would throw away what
    the outer inliers know. The length is the sum of min(e^2, threshold^2) / noise^2 plus log(2 * inliers) for each
    parameter. The noise is that of the richest kind that fits, so that all kinds are measured with one ruler, but no
    less than the pair's floor.

    Returns:
        The kind selected, or -1 if no kind is within the prior and has enough inliers.
    """
    n, threshold = pair.points.shape[1], pair.threshold
    model, start = np.empty(9), np.empty(9)
    copy_into(start, best_model)
    noise2, shortest, selected = 0.0, np.inf, -1
    for kind in range(HOMOGRAPHY, SIMILARITY - 1, -1):
        parameters = 4 + 2 * kind
        if not limits.kinds >> kind & 1:
            continue
        if selected == kind + 1 and _cannot_win(pair, kind, noise2, shortest, work):
            break
        copy_into(model, start)
        if not refine(pair, model, kind, 1.5 * threshold, 3.0 * threshold, 2, work):
            continue
        if not refined_within_prior(pair, model, limits, work.sums):
            continue
        if not invert(model, work.inverse):
            continue
        symmetric_errors(pair.points32, model, work.inverse, work.errors, work.depths)
        inliers, total = _consensus(work.errors, threshold)
        if inliers < max(limits.min_inliers, parameters // 2 + 2):
            continue
        if noise2 == 0.0:
            noise2 = max(total / (2.0 * inliers - parameters), pair.noise_floor * pair.noise_floor)
        length = (total + (n - inliers) * threshold * threshold) / noise2 + parameters * math.log(2.0 * inliers)
        if length < shortest:
            shortest, selected = length, kind
            copy_into(best_model, model)
    return selected
