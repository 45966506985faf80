"""Robust estimation of a plane-to-plane model for thousands of pairs at once (numba kernels, threads over pairs).

Each pair is an island: its own slice of flat arrays, its own random state grown from its own seed, no shared counters.
The answer therefore does not depend on the number of threads nor on the other pairs of the batch. Threads are Python's,
each running compiled code without the interpreter's lock: numba's own pool must not be entered from two threads at
once, which stages that overlap would do.

One pair goes through these steps; lengths are relative to the animal's size (the longer side of each canonical crop):

1. Correspondences whose keypoint (nearly) coincides with that of a more confident one, in either view, are dropped.
2. Hypotheses from minimal samples: similarities from 2 points first, since two inliers are found soonest and a local
   optimisation frees them from the simple model; then affine maps from 3 points and homographies from 4, as long as the
   stopping rule is not satisfied. Half of the samples come from prefixes of the list (best first), half from all of it.
   Samples that coincide, lie on a line, fold, mirror or leave the prior on scale, rotation and shear are thrown away
   before anything is scored.
3. Scoring by truncated gain, sum of max(0, 1 - e^2/t^2) with e the symmetric transfer error (MSAC, Torr & Zisserman,
   CVIU 2000). A hypothesis better than all before it is optimised locally (LO-RANSAC, Chum, Matas & Kittler, DAGM 2003)
   by iteratively reweighted least squares with Tukey's biweight, which stands in for the weights that MAGSAC obtains by
   marginalising over the noise (Barath et al., CVPR 2019), under a shrinking threshold.
4. Stop when the chance that every draw so far missed an all-inlier sample of the best model falls below 1 - confidence
   (ten times that for each further sample size: they come on top). The chance is exact for drawing without replacement
   from the prefixes that were drawn from.
5. The kind of model is chosen by minimal description length: truncated squared residuals in units of the noise, plus
   the logarithm of the number of measurements for each parameter (compare GRIC, Torr, CVPR 1997).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import config, njit

from engine.geometry import minimal_solvers, sampling
from engine.geometry import scoring as consensus
from engine.geometry.minimal_solvers import REORDER, Vector, invert, linear_part
from engine.geometry.sampling import ARRIVES, BLOCK, Integers, distinct, draw_samples, draws_needed, hypothesis, take
from engine.geometry.scoring import (
    AFFINE,
    C_KINDS,
    C_MAX_DRAWS,
    C_MIN_DRAWS,
    C_MIN_INLIERS,
    HOMOGRAPHY,
    L_CONFIDENCE,
    L_DUPLICATE,
    L_MARK,
    L_PIXELS,
    L_SHARE,
    L_THRESHOLD,
    N_WORK,
    SIMILARITY,
    Floats,
    Points,
    affine_gain,
    choose,
    copy_into,
    refine,
    symmetric_errors,
    total_gain,
    within_prior,
)

KIND_NAMES = ("similarity", "affine", "homography")

# Columns of the numbers that `estimate_batch` returns for each pair.
(
    N_KEPT,
    N_INLIERS,
    CONFIDENCE_SUM,
    RESIDUAL,
    SPREAD_ALONG,
    SPREAD_ACROSS,
    SCALE,
    ROTATION,
    SHEAR,
    POSITION_GAP,
    MARK_SHARE,
    SCORE,
    DRAWS,
) = range(13)
N_STATS = 13

# Pairs that a thread takes at a time: enough to make the hand-over cheap, few enough to share the work evenly.
_CHUNK = 32
# Bins in which the values about a median are looked for.
_BINS = 64
# How much more risk of missing the model the draws of so many points may take. A search with simpler samples fails as a
# whole (because of strong perspective) for fewer than one pair in ten, so a later one may rely on those before it.
_DOUBT = np.array([0.0, 0.0, 1.0, 10.0, 100.0])
# How much wider than the threshold a hypothesis of so many points is scored and first optimised.
_REACH = np.array([0.0, 0.0, 3.0, 2.0, 1.5])


@njit(error_model="numpy")
def _optimise(
    points: Points,
    fast: Floats,
    size: int,
    model: Vector,
    spare: Vector,
    cut: float,
    half: Vector,
    limits: Vector,
    kinds: int,
    work: Vector,
    errors: Floats,
    depths: Floats,
) -> bool:
    """Optimise a hypothesis from `size` points locally, in place, up to the richest kind that holds.

    Where the inliers determine no affine map (they lie on a line) the similarity remains, where they determine no
    sensible homography the affine map does.

    Returns:
        False if no kind holds or the result leaves the prior.
    """
    wide, solved = _REACH[size] * cut, False
    copy_into(spare, model)
    if size == 4:
        solved = refine(points, fast, model, HOMOGRAPHY, wide, 1.5 * cut, 3, work, errors, depths)
        return solved and within_prior(model, work[2] / work[5], work[4] / work[5], half[0], half[1], limits)
    if kinds >> AFFINE:
        solved = refine(points, fast, model, AFFINE, wide, 1.5 * cut, 3, work, errors, depths)
    if not solved:
        copy_into(model, spare)
        if not refine(points, fast, model, SIMILARITY, wide, 1.5 * cut, 3, work, errors, depths):
            return False
    if kinds >> HOMOGRAPHY:
        copy_into(spare, model)
        x, y = work[2] / work[5], work[4] / work[5]
        # Wide at first: the affine map may agree with one part of a body that perspective narrows towards the other.
        solved = refine(points, fast, model, HOMOGRAPHY, 6.0 * cut, 1.5 * cut, 3, work, errors, depths)
        if solved and within_prior(model, x, y, half[0], half[1], limits):
            return True
        copy_into(model, spare)
        return within_prior(model, x, y, half[0], half[1], limits)
    return within_prior(model, work[2] / work[5], work[4] / work[5], half[0], half[1], limits)


@njit(error_model="numpy")
def _search(
    points: Points,
    fast: Floats,
    size: int,
    cut: float,
    half: Vector,
    limits: Vector,
    counts: Integers,
    state: npt.NDArray[np.uint64],
    best: Vector,
    best_gain: float,
    work: Vector,
    errors: Floats,
    depths: Floats,
) -> tuple[float, int]:
    """Draw samples of `size` points until the stopping rule holds; improve `best` in place; return its gain, draws.

    A hypothesis is worth optimising if it beats, under the wide threshold of unrefined models, all before it and the
    best refined one.
    """
    p, q, model, spare, inverse = np.empty(8), np.empty(8), np.empty(9), np.empty(9), work[29:38]
    samples = np.empty((BLOCK, 5), np.int64)
    wide, kinds = _REACH[size] * cut, counts[C_KINDS]
    risk = min(0.5, (1.0 - limits[L_CONFIDENCE]) * _DOUBT[size])
    rarest = ARRIVES[size] * limits[L_SHARE] ** size
    stop = int(min(math.ceil(math.log(risk) / math.log(1.0 - rarest)), float(counts[C_MAX_DRAWS])))
    record, draws, drawn, held, at = size + 1.0, 0, 0, 0, 0
    fresh = best_gain > 0.0
    while True:
        if fresh:
            invert(best, inverse)
            symmetric_errors(fast, best, inverse, errors, depths)
            record = max(record, total_gain(errors, wide))
            needed = draws_needed(errors, cut, size, risk)
            if size == 2:
                needed = max(needed, float(counts[C_MIN_DRAWS]))
            stop = int(min(math.ceil(needed), float(stop)))
            fresh = False
        while at == held and drawn < stop:
            held, at = draw_samples(points, size, drawn, min(drawn + BLOCK, stop), cut, limits, state, samples), 0
            drawn = min(drawn + BLOCK, stop)
        if at == held or samples[at, 0] >= stop:
            return best_gain, max(draws, stop)
        draws = samples[at, 0] + 1
        take(points, size, samples[at], p, q)
        at += 1
        if not hypothesis(size, p, q, model):
            continue
        if size < 4:
            gain = affine_gain(fast, model, wide)
        elif not invert(model, inverse):
            continue
        else:
            symmetric_errors(fast, model, inverse, errors, depths)
            gain = total_gain(errors, wide)
        if gain <= record:
            continue
        record = gain
        if not _optimise(points, fast, size, model, spare, cut, half, limits, kinds, work, errors, depths):
            continue
        if not invert(model, inverse):
            continue
        symmetric_errors(fast, model, inverse, errors, depths)
        gain = total_gain(errors, cut)
        if gain > best_gain:
            best_gain, fresh = gain, True
            copy_into(best, model)


@njit(error_model="numpy")
def _bracket(values: Floats) -> tuple[int, int]:
    """Move the values about the median to the front; return how many they are and how many lie below them.

    Counting in bins needs no comparison whose outcome a processor would have to guess, which selecting does.
    """
    n, low, high = len(values), values[0], values[0]
    for i in range(n):
        low = values[i] if values[i] < low else low
        high = values[i] if values[i] > high else high
    if not high - low > 1e-30:
        return n, 0
    counts, scale = np.zeros(_BINS + 1, np.int64), np.float32(_BINS) / (high - low)
    for i in range(n):
        counts[int((values[i] - low) * scale)] += 1
    first, before = 0, 0
    while before + counts[first] <= (n - 1) // 2:
        before += counts[first]
        first += 1
    last, most = first, before + counts[first]
    while most <= n // 2:
        last += 1
        most += counts[last]
    count = 0
    for i in range(n):
        where = int((values[i] - low) * scale)
        values[count] = values[i]
        count += int((where >= first) & (where <= last))
    return count, before


@njit(error_model="numpy")
def median(values: Floats) -> float:
    """Return the median of a non-empty finite array, which is spoilt (Hoare's selection among those about it)."""
    n = len(values)
    count, before = _bracket(values)
    low, high, middle = 0, count - 1, n // 2 - before
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if middle <= j:
            high = j
        elif middle >= i:
            low = i
        else:
            break
    if n % 2:
        return float(values[middle])
    below = values[0]
    for k in range(1, middle):
        below = max(below, values[k])
    return 0.5 * (float(below) + float(values[middle]))


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
def _describe(
    points: Points,
    fast: Floats,
    model: Vector,
    cut: float,
    kept: Integers,
    start: int,
    confidence: Floats,
    marks: Floats,
    frame: Vector,
    limits: Vector,
    inliers: npt.NDArray[np.bool_],
    stats: Vector,
    work: Vector,
    errors: Floats,
    gaps: Floats,
) -> None:
    """Fill the inliers and the numbers of one pair whose model is known (see `engine.records.Verification`)."""
    invert(model, work[29:38])
    symmetric_errors(fast, model, work[29:38], errors, gaps)
    stats[SCORE] = total_gain(errors, cut)
    _moments(points, errors, cut * cut, work)
    stretch0, stretch1 = max(frame[0], frame[1]) / frame[1], max(frame[2], frame[3]) / frame[3]
    shift, bound = 0.5 / frame[3] - 0.5 / frame[1], np.float32(cut * cut)
    count, trust, marked = 0, 0.0, 0
    for i in range(points.shape[1]):
        inside, k = errors[i] < bound, start + kept[i]
        inliers[k] = inside
        trust += confidence[k] if inside else 0.0
        marked += int(inside & (marks[k] >= limits[L_MARK]))
        # Both lists are written no further than they are read; what is no inlier is written over.
        errors[count] = math.sqrt(errors[i])
        gaps[count] = abs(points[1, i] * stretch0 - points[3, i] * stretch1 + shift)
        count += int(inside)
    x, y = work[1] / count, work[2] / count
    stats[N_INLIERS], stats[CONFIDENCE_SUM], stats[MARK_SHARE] = count, trust, marked / count
    stats[SPREAD_ACROSS] = math.sqrt(max(work[3] / count - x * x, 0.0))
    stats[SPREAD_ALONG] = math.sqrt(max(work[4] / count - y * y, 0.0))
    stats[RESIDUAL], stats[POSITION_GAP] = median(errors[:count]), median(gaps[:count])
    scale, rotation, shear, _ = linear_part(model, x, y)
    stats[SCALE], stats[ROTATION], stats[SHEAR] = scale, math.degrees(rotation), shear


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


@njit(error_model="numpy")
def _estimate(
    pair: int,
    xy0: Floats,
    xy1: Floats,
    confidence: Floats,
    marks: Floats,
    offsets: Integers,
    frames: npt.NDArray[np.float64],
    seeds: npt.NDArray[np.uint64],
    limits: Vector,
    counts: Integers,
    kinds: Integers,
    models: npt.NDArray[np.float64],
    inliers: npt.NDArray[np.bool_],
    stats: npt.NDArray[np.float64],
) -> None:
    """Estimate one pair and fill its places in the outputs of `estimate_batch`."""
    start, end, frame, numbers = offsets[pair], offsets[pair + 1], frames[pair], stats[pair]
    kept = np.empty(end - start, np.int64)
    n = distinct(xy0[start:end], xy1[start:end], limits[L_DUPLICATE], kept)
    numbers[N_KEPT] = n
    if n < counts[C_MIN_INLIERS]:
        return
    size0, size1 = max(frame[0], frame[1]), max(frame[2], frame[3])
    points, fast = np.empty((4, n)), np.empty((4, n), np.float32)
    unit0, unit1 = 1.0 / size0, 1.0 / size1
    for i in range(n):
        k = start + kept[i]
        points[0, i] = (xy0[k, 0] - 0.5 * (frame[0] - 1.0)) * unit0
        points[1, i] = (xy0[k, 1] - 0.5 * (frame[1] - 1.0)) * unit0
        points[2, i] = (xy1[k, 0] - 0.5 * (frame[2] - 1.0)) * unit1
        points[3, i] = (xy1[k, 1] - 0.5 * (frame[3] - 1.0)) * unit1
        for row in range(4):
            fast[row, i] = points[row, i]
    smaller = min(size0, size1)
    cut = max(limits[L_THRESHOLD], limits[L_PIXELS] / smaller)
    half, state, best = np.empty(2), np.empty(1, np.uint64), np.empty(9)
    half[0], half[1], state[0] = 0.5 * frame[0] / size0, 0.5 * frame[1] / size0, seeds[pair]
    work, errors, depths, gain = np.empty(N_WORK), np.empty(n, np.float32), np.empty(n, np.float32), 0.0
    for size in range(2, 5):
        if size == 2 or counts[C_KINDS] >> (size - 2):
            gain, draws = _search(
                points, fast, size, cut, half, limits, counts, state, best, gain, work, errors, depths
            )
            numbers[DRAWS] += draws
    if gain <= 0.0:
        return
    kind = choose(points, fast, best, cut, 0.25 / smaller, half, limits, counts, work, errors, depths)
    if kind >= 0:
        _describe(
            points,
            fast,
            best,
            cut,
            kept,
            start,
            confidence,
            marks,
            frame,
            limits,
            inliers,
            numbers,
            work,
            errors,
            depths,
        )
        to_pixels(best, frame)
        copy_into(models[pair], best)
        kinds[pair] = kind


@cache
def _batch_kernel() -> Callable[..., int]:
    """Return the compiled loop over the pairs first..last-1, from numba's cache on disk where it is current.

    Numba looks only at the file of the function itself to tell whether machine code on disk is out of date. The kernels
    it calls live in several files, so their contents are made part of the key through a variable of the closure, and
    this is the one function that is kept on disk: it holds all the others. It runs without Python's lock.
    """
    sources = (minimal_solvers.__file__, consensus.__file__, sampling.__file__, __file__)
    stamp = zlib.crc32(b"".join(Path(source).read_bytes() for source in sources))

    @njit(cache=True, nogil=True, error_model="numpy")
    def estimate_range(
        first: int,
        last: int,
        xy0: Floats,
        xy1: Floats,
        confidence: Floats,
        marks: Floats,
        offsets: Integers,
        frames: npt.NDArray[np.float64],
        seeds: npt.NDArray[np.uint64],
        limits: Vector,
        counts: Integers,
        kinds: Integers,
        models: npt.NDArray[np.float64],
        inliers: npt.NDArray[np.bool_],
        stats: npt.NDArray[np.float64],
    ) -> int:
        for pair in range(first, last):
            _estimate(
                pair, xy0, xy1, confidence, marks, offsets, frames, seeds, limits, counts, kinds, models, inliers, stats
            )
        return stamp

    return estimate_range


def estimate_batch(
    xy0: Floats,
    xy1: Floats,
    confidence: Floats,
    marks: Floats,
    offsets: Integers,
    frames: npt.NDArray[np.float64],
    seeds: npt.NDArray[np.uint64],
    limits: Vector,
    counts: Integers,
    threads: int = 0,
) -> tuple[Integers, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Estimate one model for each of P pairs; never raises on poor data.

    Args:
        xy0, xy1: (N, 2) float32 canonical pixels in view 0 and view 1, the correspondences of all pairs after another,
            each pair's best first.
        confidence: (N,) float32.
        marks: (N,) float32, strength of the marks under both keypoints.
        offsets: (P + 1,) int64, pair k owns offsets[k]:offsets[k + 1].
        frames: (P, 4) float64, canonical width and height of view 0 and of view 1, all positive.
        seeds: (P,) uint64.
        limits: (12,) float64 in the order of the L_ constants of :mod:`engine.geometry.scoring`; the tangents are those
            of the largest angle between a segment and its image, for similarities and for richer models (0 = no bound).
        counts: (4,) int64 in the order of the C_ constants; kinds is a set of bits (1 similarity, 2 affine,
            4 homography).
        threads: number of threads, 0 = as many as numba would take (NUMBA_NUM_THREADS, or the number of cores).

    Returns:
        kinds: (P,) int64, index into KIND_NAMES or -1 for no model.
        models: (P, 9) float64, canonical pixels of view 0 -> view 1 (identity where there is none).
        inliers: (N,) bool.
        stats: (P, N_STATS) float64, columns as named above, 0 where there is no model (but N_KEPT and DRAWS).
    """
    pairs = len(seeds)
    kinds = np.full(pairs, -1, np.int64)
    models = np.tile(np.eye(3).ravel(), (pairs, 1))
    inliers = np.zeros(len(xy0), np.bool_)
    stats = np.zeros((pairs, N_STATS))
    kernel = _batch_kernel()
    given = (xy0, xy1, confidence, marks, offsets, frames, seeds, limits, counts, kinds, models, inliers, stats)
    workers = min(threads or config.NUMBA_NUM_THREADS, -(-pairs // _CHUNK))
    starts = range(0, pairs, _CHUNK)
    if workers <= 1:
        kernel(0, pairs, *given)
    else:
        # The first chunk also compiles or loads the kernel, which two threads should not do at once.
        kernel(0, _CHUNK, *given)
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda start: kernel(start, min(start + _CHUNK, pairs), *given), starts[1:]))
    return kinds, models, inliers, stats
