"""What is reported of a pair's model: its inliers, how they lie and how well they agree (kernels for
:mod:`engine.geometry.ransac`)."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from engine.geometry.arrays import REORDER, Booleans, Floats, Integers, NormalisedPair, Points, Vector, Workspace
from engine.geometry.medians import median
from engine.geometry.minimal_solvers import invert, linear_part
from engine.geometry.scoring import msac_score, symmetric_errors

#: Numbers of a pair, named and defined as in :class:`engine.records.Verification`.
STATISTICS = np.dtype(
    [
        (name, np.float64)
        for name in (
            "n_inliers",
            "inlier_ratio",
            "confidence_sum",
            "residual",
            "spread_along",
            "spread_across",
            "scale",
            "rotation",
            "shear",
            "position_gap",
            "mark_share",
            "score",
        )
    ]
)


@njit(fastmath=REORDER, error_model="numpy")
def _moments(points: Points, errors: Floats, bound: float, sums: Vector) -> None:
    """Write the number of points below a squared error and their sums of x, y, xx and yy in view 0 into sums[:5]."""
    x0, y0, limit = points[0], points[1], np.float32(bound)
    count = x = y = xx = yy = 0.0
    for i in range(len(x0)):
        inside = 1.0 if errors[i] < limit else 0.0
        count += inside
        x += inside * x0[i]
        y += inside * y0[i]
        xx += inside * x0[i] * x0[i]
        yy += inside * y0[i] * y0[i]
    sums[0], sums[1], sums[2], sums[3], sums[4] = count, x, y, xx, yy


@njit(error_model="numpy")
def measure_model(
    pair: NormalisedPair,
    model: Vector,
    frame: Vector,
    distinct: Integers,
    confidence: Floats,
    marks: Floats,
    mark_level: float,
    inlier_mask: Booleans,
    statistics: np.record,
    work: Workspace,
) -> None:
    """Fill the inliers and the numbers of one pair whose model is known.

    Args:
        model: (9,) normalised.
        frame: (4,) canonical width and height of view 0 and of view 1.
        distinct: (n,) index of each correspondence of `pair` in the lists below.
        confidence, marks: (M,) of all the pair's correspondences.
        mark_level: strength from which on a keypoint lies in a mark region.
        inlier_mask: (M,) output.
        statistics: record of STATISTICS, output.
    """
    points, errors, gaps, moments = pair.points, work.errors, work.depths, work.sums
    invert(model, work.inverse)
    symmetric_errors(pair.points32, model, work.inverse, errors, work.depths)
    statistics.score = msac_score(errors, pair.threshold)
    bound = np.float32(pair.threshold * pair.threshold)
    _moments(points, errors, pair.threshold * pair.threshold, moments)
    # Normalised y, stretched to the frame's height, from y / height: the centre of a frame lies half a pixel before
    # half its height, since pixel centres are whole numbers.
    stretch0, stretch1 = max(frame[0], frame[1]) / frame[1], max(frame[2], frame[3]) / frame[3]
    half_pixels = 0.5 / frame[3] - 0.5 / frame[1]
    count, trust, marked = 0, 0.0, 0
    for i in range(points.shape[1]):
        inside, k = errors[i] < bound, distinct[i]
        inlier_mask[k] = inside
        trust += confidence[k] if inside else 0.0
        marked += int(inside & (marks[k] >= mark_level))
        # Both lists are written no further than they are read; what is no inlier is written over.
        errors[count] = math.sqrt(errors[i])
        gaps[count] = abs(points[1, i] * stretch0 - points[3, i] * stretch1 + half_pixels)
        count += int(inside)
    x, y = moments[1] / count, moments[2] / count
    statistics.n_inliers, statistics.inlier_ratio = count, count / points.shape[1]
    statistics.confidence_sum, statistics.mark_share = trust, marked / count
    statistics.spread_across = math.sqrt(max(moments[3] / count - x * x, 0.0))
    statistics.spread_along = math.sqrt(max(moments[4] / count - y * y, 0.0))
    statistics.residual, statistics.position_gap = median(errors[:count]), median(gaps[:count])
    scale, rotation, shear, _ = linear_part(model, x, y)
    statistics.scale, statistics.rotation, statistics.shear = scale, math.degrees(rotation), shear


@njit(error_model="numpy")
def to_pixels(model: Vector, frame: Vector) -> None:
    """Turn a model between normalised points into one between canonical pixels, in place.

    Args:
        frame: (4,) canonical width and height of view 0 and of view 1.
    """
    size0, size1 = max(frame[0], frame[1]), max(frame[2], frame[3])
    for row in range(3):
        model[3 * row] /= size0
        model[3 * row + 1] /= size0
        model[3 * row + 2] -= 0.5 * (model[3 * row] * (frame[0] - 1.0) + model[3 * row + 1] * (frame[1] - 1.0))
    for column in range(3):
        model[column] = size1 * model[column] + 0.5 * (frame[2] - 1.0) * model[6 + column]
        model[3 + column] = size1 * model[3 + column] + 0.5 * (frame[3] - 1.0) * model[6 + column]
    last = model[8]
    for k in range(9):
        model[k] /= last
