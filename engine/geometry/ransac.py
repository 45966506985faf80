"""Robust estimation of the plane-to-plane model of one pair: the RANSAC loop and its local optimisation (kernels).

Lengths are relative to the animal's size (the longer side of each canonical crop):

1. Correspondences whose keypoint (nearly) coincides with that of a more confident one, in either view, are dropped
   (:mod:`engine.geometry.duplicates`).
2. Hypotheses from minimal samples (:mod:`engine.geometry.sampling`): similarities from 2 points first, since two
   inliers are found soonest and a local optimisation frees them from the simple model; then affine maps from 3 points
   and homographies from 4, as long as the stopping rule is not satisfied. Half of the samples come from prefixes of
   the list (best first), half from all of it. Samples that coincide, lie on a line, fold, mirror or leave the prior on
   scale, rotation and shear are thrown away before anything is scored.
3. MSAC scores (:mod:`engine.geometry.scoring`). A hypothesis better than all before it is optimised locally (LO-RANSAC,
   Chum, Matas & Kittler, DAGM 2003) by iteratively reweighted least squares with Tukey's biweight, which stands in for
   the weights that MAGSAC obtains by marginalising over the noise (Barath et al., CVPR 2019), under a shrinking cutoff
   (:mod:`engine.geometry.refinement`).
4. Stop when the chance that every draw so far missed an all-inlier sample of the best model falls below 1 - confidence
   (ten times that for each further sample size: they come on top). The chance is exact for drawing without replacement
   from the prefixes that were drawn from.
5. The kind of model is selected by minimal description length (:mod:`engine.geometry.model_selection`).
6. The model is measured (:mod:`engine.geometry.model_statistics`).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from engine.geometry.arrays import (
    Booleans,
    Floats,
    Integers,
    NormalisedPair,
    RandomState,
    Vector,
    Workspace,
    copy_into,
    make_workspace,
)
from engine.geometry.duplicates import drop_duplicate_keypoints
from engine.geometry.limits import AFFINE, HOMOGRAPHY, SIMILARITY, Limits
from engine.geometry.minimal_solvers import invert
from engine.geometry.model_selection import select_model
from engine.geometry.model_statistics import measure_model, to_pixels
from engine.geometry.refinement import refine, refined_within_prior
from engine.geometry.sampling import BLOCK, CONVERGES, draw_samples, draws_needed, gather_sample, solve_minimal
from engine.geometry.scoring import msac_score, msac_score_affine, symmetric_errors, within_prior

# How much more risk of missing the model the draws of so many points may take. A search with simpler samples fails as a
# whole (because of strong perspective) for fewer than one pair in ten, so a later one may rely on those before it.
_RISK = np.array([0.0, 0.0, 1.0, 10.0, 100.0])
# How much wider than the threshold a hypothesis of so many points is scored and first optimised.
_REACH = np.array([0.0, 0.0, 3.0, 2.0, 1.5])


@njit(error_model="numpy")
def _score(points32: Floats, model: Vector, inverse: Vector, threshold: float, errors: Floats, depths: Floats) -> float:
    """Return the MSAC score of a model; write its squared errors and depths."""
    symmetric_errors(points32, model, inverse, errors, depths)
    return msac_score(errors, threshold)


@njit(error_model="numpy")
def _optimise_locally(
    pair: NormalisedPair, size: int, model: Vector, spare: Vector, limits: Limits, work: Workspace
) -> bool:
    """Optimise a hypothesis from `size` points locally, in place, up to the richest kind that holds.

    Where the inliers determine no affine map (they lie on a line) the similarity remains, where they determine no
    sensible homography the affine map does.

    Returns:
        False if no kind holds or the result leaves the prior.
    """
    wide, narrow, solved = _REACH[size] * pair.threshold, 1.5 * pair.threshold, False
    copy_into(spare, model)
    if size == 4:
        solved = refine(pair, model, HOMOGRAPHY, wide, narrow, 3, work)
        return solved and refined_within_prior(pair, model, limits, work.sums)
    if limits.kinds >> AFFINE:
        solved = refine(pair, model, AFFINE, wide, narrow, 3, work)
    if not solved:
        copy_into(model, spare)
        if not refine(pair, model, SIMILARITY, wide, narrow, 3, work):
            return False
    if limits.kinds >> HOMOGRAPHY:
        copy_into(spare, model)
        x, y = work.sums[2] / work.sums[5], work.sums[4] / work.sums[5]
        # Wide at first: the affine map may agree with one part of a body that perspective narrows towards the other.
        solved = refine(pair, model, HOMOGRAPHY, 6.0 * pair.threshold, narrow, 3, work)
        if solved and within_prior(model, x, y, pair, limits):
            return True
        copy_into(model, spare)
        return within_prior(model, x, y, pair, limits)
    return refined_within_prior(pair, model, limits, work.sums)


@njit(error_model="numpy")
def _search(
    pair: NormalisedPair,
    size: int,
    limits: Limits,
    state: RandomState,
    best_model: Vector,
    best_score: float,
    work: Workspace,
) -> float:
    """Draw samples of `size` points until the stopping rule holds; improve `best_model` in place; return its score.

    A hypothesis is worth optimising if it beats, under the wide threshold of unrefined models, all before it and the
    best refined one.
    """
    # Taken out once: handing named tuples of arrays on in the loop would count references in every turn.
    points, points32, threshold = pair.points, pair.points32, pair.threshold
    inverse, errors, depths = work.inverse, work.errors, work.depths
    p, q, model, spare = np.empty(8), np.empty(8), np.empty(9), np.empty(9)
    samples = np.empty((BLOCK, 5), np.int64)
    wide, risk = _REACH[size] * threshold, min(0.5, (1.0 - limits.confidence) * _RISK[size])
    rarest = CONVERGES[size] * limits.least_share**size
    stop = int(min(math.ceil(math.log(risk) / math.log(1.0 - rarest)), float(limits.max_draws)))
    best_hypothesis_score, drawn, n_samples, at = size + 1.0, 0, 0, 0
    improved = best_score > 0.0
    while True:
        if improved:
            invert(best_model, inverse)
            best_hypothesis_score = max(
                best_hypothesis_score, _score(points32, best_model, inverse, wide, errors, depths)
            )
            needed = draws_needed(errors, threshold, size, risk)
            if size == 2:
                needed = max(needed, float(limits.min_draws))
            stop = int(min(math.ceil(needed), float(stop)))
            improved = False
        while at == n_samples and drawn < stop:
            last = min(drawn + BLOCK, stop)
            n_samples, at = draw_samples(points, size, drawn, last, threshold, limits, state, samples), 0
            drawn = last
        if at == n_samples or samples[at, 0] >= stop:
            return best_score
        gather_sample(points, size, samples[at], p, q)
        at += 1
        if not solve_minimal(size, p, q, model):
            continue
        if size < 4:
            score = msac_score_affine(points32, model, wide)
        elif invert(model, inverse):
            score = _score(points32, model, inverse, wide, errors, depths)
        else:
            continue
        if score <= best_hypothesis_score:
            continue
        best_hypothesis_score = score
        if not _optimise_locally(pair, size, model, spare, limits, work) or not invert(model, inverse):
            continue
        score = _score(points32, model, inverse, threshold, errors, depths)
        if score > best_score:
            best_score, improved = score, True
            copy_into(best_model, model)


@njit(error_model="numpy")
def _normalise(xy0: Floats, xy1: Floats, distinct: Integers, frame: Vector, limits: Limits) -> NormalisedPair:
    """Return the chosen correspondences about the centres of their frames, in units of the frames' longer sides."""
    n = len(distinct)
    size0, size1 = max(frame[0], frame[1]), max(frame[2], frame[3])
    points, points32 = np.empty((4, n)), np.empty((4, n), np.float32)
    unit0, unit1 = 1.0 / size0, 1.0 / size1
    for i in range(n):
        k = distinct[i]
        points[0, i] = (xy0[k, 0] - 0.5 * (frame[0] - 1.0)) * unit0
        points[1, i] = (xy0[k, 1] - 0.5 * (frame[1] - 1.0)) * unit0
        points[2, i] = (xy1[k, 0] - 0.5 * (frame[2] - 1.0)) * unit1
        points[3, i] = (xy1[k, 1] - 0.5 * (frame[3] - 1.0)) * unit1
        for row in range(4):
            points32[row, i] = points[row, i]
    smaller = min(size0, size1)
    threshold = max(limits.threshold, limits.threshold_px / smaller)
    return NormalisedPair(points, points32, threshold, 0.25 / smaller, 0.5 * frame[0] / size0, 0.5 * frame[1] / size0)


@njit(error_model="numpy")
def estimate_pair(
    xy0: Floats,
    xy1: Floats,
    confidence: Floats,
    marks: Floats,
    frame: Vector,
    seed: np.uint64,
    limits: Limits,
    model: Vector,
    inlier_mask: Booleans,
    statistics: np.record,
) -> int:
    """Estimate the model of one pair; arguments are one pair's part of those of `estimate_batch`.

    Args:
        model: (9,) output, canonical pixels.
        inlier_mask: (M,) output.
        statistics: record of STATISTICS, output.

    Returns:
        The kind of the model, or -1 for none; the outputs are then left alone.
    """
    distinct = np.empty(len(xy0), np.int64)
    n = drop_duplicate_keypoints(xy0, xy1, limits.duplicate_radius, distinct)
    if n < limits.min_inliers:
        return -1
    pair, work = _normalise(xy0, xy1, distinct[:n], frame, limits), make_workspace(n)
    state, best_model, best_score = np.empty(1, np.uint64), np.empty(9), 0.0
    state[0] = seed
    for size in range(2, 5):
        if size == 2 or limits.kinds >> (size - 2):
            best_score = _search(pair, size, limits, state, best_model, best_score, work)
    if best_score <= 0.0:
        return -1
    kind = select_model(pair, best_model, limits, work)
    if kind >= 0:
        measure_model(
            pair,
            best_model,
            frame,
            distinct,
            confidence,
            marks,
            limits.mark_level,
            inlier_mask,
            statistics,
            work,
        )
        to_pixels(best_model, frame)
        copy_into(model, best_model)
    return kind
