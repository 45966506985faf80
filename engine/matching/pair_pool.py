"""Pairs measured by worker processes, and remembered: what the store knows is not measured again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.catalogue.index import Progress
from engine.matching.measurements import MatcherName, record_type, unmeasured
from engine.matching.pair_cache import PairCache
from engine.matching.pair_worker import PairSettings, PairTask, PairWorker, match_task, measure_task
from engine.records import Correspondences, Verification
from engine.workers import TaskPool

#: Pairs per task: large enough to fill batches, small enough that progress moves and a stop loses little.
_TASK_PAIRS = 200


class PairPool:
    """Measures pairs of photographs that lie described in one store.

    Args:
        settings: of the measurements.
        store: folder of the descriptions; ``pairs.sqlite`` in it keeps the measurements.
        workers: processes. Measurements do not depend on it.
        device: "cpu", "cuda" or None to choose.
    """

    def __init__(self, settings: PairSettings, store: Path, workers: int = 1, device: str | None = None) -> None:
        self.store = store
        self._make_worker = partial(PairWorker, settings, store, device)
        self._pool = TaskPool(self._make_worker, workers)

    @cached_property
    def worker(self) -> PairWorker:
        """What measures pairs in this process (the worker processes have their own)."""
        return self._make_worker()

    def measure(
        self, matcher: MatcherName, tasks: Sequence[PairTask], progress: Progress | None = None
    ) -> list[npt.NDArray[Any]]:
        """Return each task's (candidates,) records; all NaN if there is no such matcher for the kind of keypoints."""
        if matcher not in self.worker.matchers:
            return [unmeasured(matcher, len(task.candidates)) for task in tasks]
        record = record_type(matcher)
        with closing(PairCache(self.store / "pairs.sqlite", self.worker.fingerprint(matcher), record)) as cache:
            stored = [cache.get(task.query, task.candidates) for task in tasks]
            parts = list(_open_parts(tasks, stored))
            total = sum(len(task.candidates) for task in tasks)
            done = total - sum(len(places) for _, places in parts)
            jobs = [(matcher, _part(tasks[number], places)) for number, places in parts]
            for job, records in self._pool.run(measure_task, jobs):
                number, places = parts[job]
                cache.put(tasks[number].query, jobs[job][1].candidates, records)
                for place, own in zip(places, np.split(records, len(records)), strict=True):
                    stored[number][place] = own
                done += len(places)
                if progress is not None:
                    progress(done, total)
        return [np.concatenate([np.zeros(0, record), *(r for r in row if r is not None)]) for row in stored]

    def match(self, tasks: Sequence[PairTask]) -> Iterator[tuple[PairTask, list[tuple[Correspondences, Verification]]]]:
        """Match and verify tasks by the best matcher in the worker processes, as they are done.

        Raises:
            KeyError: the store lost a description.
        """
        for number, matched in self._pool.run(match_task, tasks):
            yield tasks[number], matched

    def close(self) -> None:
        """End the worker processes (they end by themselves with the program)."""
        self._pool.close()


def _open_parts(
    tasks: Sequence[PairTask], stored: Sequence[Sequence[npt.NDArray[Any] | None]]
) -> Iterator[tuple[int, list[int]]]:
    """Yield (task, places of its candidates) of what was never measured, in parts of at most _TASK_PAIRS."""
    for number in range(len(tasks)):
        places = [place for place, record in enumerate(stored[number]) if record is None]
        for start in range(0, len(places), _TASK_PAIRS):
            yield number, places[start : start + _TASK_PAIRS]


def _part(task: PairTask, places: Sequence[int]) -> PairTask:
    return PairTask(task.query, tuple(task.candidates[place] for place in places))
