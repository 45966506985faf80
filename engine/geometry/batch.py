"""Estimating the models of thousands of pairs in one call: threads over pairs, and the kernels' cache on disk.

Each pair is an island: its own slice of flat arrays, its own random state grown from its own seed, no shared counters.
The answer therefore does not depend on the number of threads nor on the other pairs of the batch. Threads are Python's,
each running compiled code without the interpreter's lock: numba's own pool must not be entered from two threads at
once, which stages that overlap would do.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numba import config, njit

from engine.geometry.arrays import Booleans, Floats, Integers
from engine.geometry.limits import Limits
from engine.geometry.model_statistics import STATISTICS
from engine.geometry.ransac import estimate_pair

# Pairs that a thread takes at a time: enough to make the hand-over cheap, few enough to share the work evenly.
_CHUNK = 32


@cache
def _batch_kernel() -> Callable[..., int]:
    """Return the compiled loop over the pairs first..last-1, from numba's cache on disk where it is current.

    Numba looks only at the file of the function itself to tell whether machine code on disk is out of date. The kernels
    it calls live in the files beside it, so their contents are made part of the key through a variable of the closure,
    and this is the one function that is kept on disk: it holds all the others. It runs without Python's lock.
    """
    sources = sorted(Path(__file__).parent.glob("*.py"))
    stamp = zlib.crc32(b"".join(source.read_bytes() for source in sources))

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
        limits: Limits,
        kinds: Integers,
        models: npt.NDArray[np.float64],
        inlier_mask: Booleans,
        statistics: npt.NDArray[np.void],
    ) -> int:
        for pair in range(first, last):
            start, end = offsets[pair], offsets[pair + 1]
            kinds[pair] = estimate_pair(
                xy0[start:end],
                xy1[start:end],
                confidence[start:end],
                marks[start:end],
                frames[pair],
                seeds[pair],
                limits,
                models[pair],
                inlier_mask[start:end],
                statistics[pair],
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
    limits: Limits,
    threads: int = 0,
) -> tuple[Integers, npt.NDArray[np.float64], Booleans, npt.NDArray[np.void]]:
    """Estimate one model for each of P pairs; never raises on poor data.

    Args:
        xy0, xy1: (N, 2) float32 canonical pixels in view 0 and view 1, the correspondences of all pairs after another,
            each pair's best first.
        confidence: (N,) float32.
        marks: (N,) float32, strength of the marks under both keypoints.
        offsets: (P + 1,) int64, pair k owns offsets[k]:offsets[k + 1].
        frames: (P, 4) float64, canonical width and height of view 0 and of view 1, all positive.
        seeds: (P,) uint64.
        limits: options of the estimator.
        threads: number of threads, 0 = as many as numba would take (NUMBA_NUM_THREADS, or the number of cores).

    Returns:
        kinds: (P,) int64, index into KIND_NAMES or -1 for no model.
        models: (P, 9) float64, canonical pixels of view 0 -> view 1 (identity where there is none).
        inlier_mask: (N,) bool.
        statistics: (P,) records of STATISTICS, 0 where there is no model.
    """
    pairs = len(seeds)
    kinds = np.full(pairs, -1, np.int64)
    models = np.tile(np.eye(3).ravel(), (pairs, 1))
    inlier_mask = np.zeros(len(xy0), np.bool_)
    statistics = np.zeros(pairs, STATISTICS)
    kernel = _batch_kernel()
    inputs = (xy0, xy1, confidence, marks, offsets, frames, seeds, limits)
    outputs = (kinds, models, inlier_mask, statistics)
    workers = min(threads or config.NUMBA_NUM_THREADS, -(-pairs // _CHUNK))
    starts = range(0, pairs, _CHUNK)
    if workers <= 1:
        kernel(0, pairs, *inputs, *outputs)
    else:
        # The first chunk also compiles or loads the kernel, which two threads should not do at once.
        kernel(0, _CHUNK, *inputs, *outputs)
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda start: kernel(start, min(start + _CHUNK, pairs), *inputs, *outputs), starts[1:]))
    return kinds, models, inlier_mask, statistics
