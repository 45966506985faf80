"""Where the time of matching a pair goes, against what the machine can do at best.

The machine's best is a measured product of two large matrices in the number type that LightGlue runs in; LightGlue's
arithmetic is counted from the sizes of its layers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from engine.matching.lightglue import LightGlueMatcher, fast_dtype
from engine.matching.measurements import FIRST_STAGE, LIGHTGLUE, MATCHERS, MatcherName
from engine.matching.pair_worker import PairTask, PairWorker
from engine.workers import single_thread

#: Width of LightGlue's state, and its layers.
DIM, LAYERS = 256, 9
_SIDE = 2048


def best_gflops(dtype: torch.dtype, threads: int, rounds: int = 5) -> float:
    """Return the GFLOP a second of the fastest of several products of two 2,048 x 2,048 matrices."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
        torch.mm(a, b)
        least = np.inf
        for _ in range(rounds):
            started = time.perf_counter()
            torch.mm(a, b)
            least = min(least, time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    return 2 * _SIDE**3 / float(least) / 1e9


def layer_gflop(count: int, dim: int = DIM) -> tuple[float, float]:
    """Return the GFLOP of one self-attention and one cross-attention block of a pair with ``count`` keypoints a side.

    Per side: projections (3 or 2 times dim x dim), two products of attention, and a feed-forward network 2 dim -> 2 dim
    -> dim. A multiplication and an addition count as two.
    """
    attention = 4 * count * count * dim
    feed_forward = 2 * count * (2 * dim) * (2 * dim) + 2 * count * (2 * dim) * dim
    self_block, cross_block = (2 * count * dim * n * dim + attention + feed_forward for n in (3, 2))
    return 2 * self_block / 1e9, 2 * cross_block / 1e9


def work_gflop(work: Counter[int], layers: int = LAYERS) -> float:
    """Return the GFLOP of the pairs in :attr:`LightGlueMatcher.work_done`.

    The first self-attention block is left out: it is computed once per photograph.
    """
    total = 0.0
    for count, pairs in work.items():
        self_block, cross_block = layer_gflop(count)
        total += pairs * ((layers - 1) * self_block + layers * cross_block)
    return total


def seconds_a_pair(worker: PairWorker, tasks: Sequence[PairTask], matcher: MatcherName) -> float:
    """Return what one matcher takes for a pair in this process, reading and verification included."""
    started = time.perf_counter()
    for task in tasks:
        worker.measure(matcher, task)
    return (time.perf_counter() - started) / max(sum(len(task.candidates) for task in tasks), 1)


def dissect(worker: PairWorker, tasks: Sequence[PairTask], second: Sequence[PairTask]) -> dict[str, Any]:
    """Time the parts of comparing some queries with their candidates, on one thread in this process.

    Args:
        worker: compares.
        tasks: queries with their whole lists, which the first stage matches.
        second: the same with the candidates that LightGlue re-scores.

    Returns:
        Milliseconds a pair of each matcher, LightGlue's share of the machine's best.
    """
    pairs, looked_at = (sum(len(task.candidates) for task in some) for some in (tasks, second))
    matching = worker.matchers.get(LIGHTGLUE)
    lightglue = matching if isinstance(matching, LightGlueMatcher) else None
    dtype = fast_dtype("cpu")
    if lightglue is not None and lightglue.settings.precision != "auto":
        dtype = getattr(torch, lightglue.settings.precision)
    spent: dict[str, float] = {}
    with single_thread():
        for matcher in MATCHERS:
            worker.measure(matcher, PairTask(tasks[0].query, tasks[0].candidates[:1]))  # networks, kernels are loaded
        started = time.perf_counter()
        for task in tasks:
            for key in (task.query, *task.candidates):
                worker.keypoints(key)
                worker.skin(key)
        spent["reading"] = (time.perf_counter() - started) / pairs
        for matcher in FIRST_STAGE:
            spent[matcher] = seconds_a_pair(worker, tasks, matcher)
        if lightglue is not None:
            lightglue.work_done.clear()
        started = time.perf_counter()
        for task in second:
            if lightglue is not None:
                lightglue.forget()
            worker.measure(LIGHTGLUE, task)
        seconds = time.perf_counter() - started
        spent["LightGlue"] = seconds / max(looked_at, 1)
    record: dict[str, Any] = {f"ms_{name.replace(' ', '_')}": 1e3 * value for name, value in spent.items()}
    record |= {"pairs": pairs, "looked_at_twice": looked_at, "dtype": str(dtype).removeprefix("torch.")}
    record["best_gflops"] = {str(t).removeprefix("torch."): best_gflops(t, 1) for t in {dtype, torch.float32}}
    if lightglue is not None and lightglue.work_done:
        work = lightglue.work_done
        gflop = work_gflop(work)
        record["gflop_a_pair"] = gflop / sum(work.values())
        record["gflops"] = gflop / seconds
        record["share_of_best"] = record["gflops"] / record["best_gflops"][record["dtype"]]
    return record


def render(record: dict[str, Any]) -> str:
    """Return the figures as text."""
    names = [name for name in record if name.startswith("ms_")]
    parts = ", ".join(f"{name[3:].replace('_', ' ')} {record[name]:.2f} ms" for name in names)
    best = ", ".join(f"{name} {value:,.0f}" for name, value in record["best_gflops"].items())
    share = record["looked_at_twice"] / record["pairs"]
    lines = [f"one pair on one thread ({record['pairs']} pairs, LightGlue sees {share:.0%} of them): {parts}"]
    if "gflops" in record:
        lines.append(
            f"LightGlue: {record['gflop_a_pair']:.1f} GFLOP a pair, "
            f"{record['gflops']:,.0f} GFLOP/s in {record['dtype']}; the machine's best on one thread: {best} GFLOP/s, "
            f"so {record['share_of_best']:.0%} of it"
        )
    return "\n".join(lines)
