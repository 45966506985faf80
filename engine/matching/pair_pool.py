"""Pairs measured by worker processes, and remembered: what the store knows is not measured again."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from engine.catalogue.index import Progress
from engine.matching.exhaustive import Codes, DescriptorTable, mutual_nn_scores
from engine.matching.measurements import FIRST_STAGE, MatcherName, record_type, unmeasured
from engine.matching.pair_cache import PairCache
from engine.matching.pair_worker import (
    PairSettings,
    PairTask,
    PairWorker,
    RowsTask,
    ScoreTask,
    asked_of,
    codes_task,
    match_task,
    measure_task,
    score_keys_task,
    score_rows_task,
    score_task,
)
from engine.matching.table_file import read_table, write_table
from engine.records import Correspondences, Verification
from engine.workers import Pool, Workforce, default_workers, pool_of, single_thread
from features.records import BoolArray, FloatArray

#: Pairs per task: large enough to fill batches, small enough that progress moves and a stop loses little.
_TASK_PAIRS = 200
#: Candidates that all queries are compared with before the next ones: a worker keeps them, and some queries, in memory.
_BLOCK = 2 * _TASK_PAIRS
#: Photographs of a catalogue that are all scored by their keypoints: 10 s a query and core, 1.6 GB of descriptors. An
#: index of keypoints chooses who is scored in a larger one (:mod:`engine.search.large`).
EXHAUSTIVE_UP_TO = 50_000
#: Photographs that are scored in this process, one after the other, rather than by the workers: a second.
_SCORED_HERE = 5000
#: Photographs whose descriptors one task quantises.
_TABLE_CHUNK = 64

#: Photographs whose descriptors are read in this process.
_FEW = 8

logger = logging.getLogger(__name__)
JobT = TypeVar("JobT")


def is_large(photographs: int) -> bool:
    """Say whether an index chooses who is scored in a catalogue of so many photographs."""
    return photographs > EXHAUSTIVE_UP_TO


def score_tables(
    asked: Iterable[tuple[Codes, DescriptorTable]], threads: int, device: str | None
) -> Iterator[FloatArray]:
    """Score queries against tables of photographs in threads; see :func:`mutual_nn_scores`."""

    def score(one: tuple[Codes, DescriptorTable]) -> FloatArray:
        return mutual_nn_scores(*one, None, device)

    with single_thread(with_torch=device is not None), ThreadPoolExecutor(threads) as pool:
        yield from pool.map(score, asked)


class PairPool:
    """Measures pairs of photographs that lie described in one store.

    Args:
        settings: of the measurements.
        store: folder of the descriptions; ``pairs.sqlite`` in it keeps the measurements.
        workers: processes, or a cluster. Measurements do not depend on it.
        device: "cpu", "cuda" or None to choose.
    """

    def __init__(
        self, settings: PairSettings, store: Path, workers: int | Workforce = 1, device: str | None = None
    ) -> None:
        self.store = store
        self._make_worker = partial(PairWorker, settings, store, device)
        self._pool: Pool = pool_of(self._make_worker, workers)
        #: Threads of this process that look through the files of a large catalogue.
        self.threads = workers if isinstance(workers, int) else default_workers()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

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
            known = [here for _, here in stored]
            parts = list(_open_parts(tasks, known, _BLOCK if matcher in FIRST_STAGE else None))
            total = sum(len(task.candidates) for task in tasks)
            done = total - sum(len(places) for _, places in parts)
            jobs = [(matcher, _part(tasks[number], places)) for number, places in parts]
            for job, records in self._pool.run(measure_task, jobs):
                number, places = parts[job]
                cache.put(tasks[number].query, jobs[job][1].candidates, records)
                stored[number][0][places] = records
                done += len(places)
                if progress is not None:
                    progress(done, total)
        return [records for records, _ in stored]

    def score(
        self,
        queries: Sequence[str],
        database: Sequence[str],
        allowed: Callable[[int], BoolArray],
        progress: Progress | None = None,
    ) -> list[FloatArray]:
        """Score a whole database against queries by their keypoints (:mod:`engine.matching.exhaustive`).

        Args:
            queries, database: photographs, by content key.
            allowed: gives, for a query's position, the (N,) mask of the photographs to score.
            progress: called with (queries done, queries in all).

        Returns:
            One (N,) array of local scores per query, NaN where not allowed.
        """
        folder, name = self._table_of(database)
        jobs, numbers = [], []
        for number, query in enumerate(queries):
            mask = np.packbits(allowed(number))
            for key in self.worker.describer.rotated_keys(query):
                jobs.append(ScoreTask(key, folder, name, mask))
                numbers.append(number)
        return self._best_scores(score_task, jobs, numbers, progress)

    def score_rows(
        self, tasks: Sequence[tuple[str, npt.NDArray[np.int64]]], database: Sequence[str]
    ) -> list[FloatArray]:
        """Score some photographs of a database against others (:mod:`engine.matching.exhaustive`).

        Args:
            tasks: each a photograph, by content key, and the (n,) rows of the database to score against it.
            database: photographs, by content key.

        Returns:
            One (n,) array of local scores per task.
        """
        if not tasks:
            return []
        if is_large(len(database)):
            return self.score_keys([(key, [database[row] for row in rows]) for key, rows in tasks])
        folder, name = self._table_of(database)
        jobs, numbers = [], []
        for number, (query, rows) in enumerate(tasks):
            for key in self.worker.describer.rotated_keys(query):
                jobs.append(RowsTask(key, folder, name, rows))
                numbers.append(number)
        return self._best_scores(score_rows_task, jobs, numbers)

    def _best_scores(
        self,
        function: Callable[[PairWorker, JobT], FloatArray],
        jobs: Sequence[JobT],
        numbers: Sequence[int],
        progress: Progress | None = None,
    ) -> list[FloatArray]:
        """Run jobs, of which job k scores photograph ``numbers[k]`` in one rotation; return each one's best scores."""
        scores: dict[int, FloatArray] = {}
        asked = numbers[-1] + 1 if numbers else 0
        for done, (job, row) in enumerate(self._pool.run(function, jobs), start=1):
            number = numbers[job]
            scores[number] = np.maximum(scores[number], row) if number in scores else row
            if progress is not None:
                progress(done * asked // len(jobs), asked)
        return [scores[number] for number in range(asked)]

    def score_keys(self, tasks: Sequence[tuple[str, Sequence[str]]]) -> list[FloatArray]:
        """Score photographs against others, all by content key, without a table of the whole database."""
        jobs, places = [], []
        for number, (query, others) in enumerate(tasks):
            for key in self.worker.describer.rotated_keys(query):
                for start in range(0, len(others), _TASK_PAIRS):
                    jobs.append(PairTask(key, tuple(others[start : start + _TASK_PAIRS])))
                    places.append((number, start))
        scores = [np.full(len(others), -np.inf, np.float32) for _, others in tasks]
        few = sum(len(job.candidates) for job in jobs) <= _SCORED_HERE
        for job, part in self._score_here(jobs) if few else self._pool.run(score_keys_task, jobs):
            number, start = places[job]
            own = scores[number][start : start + len(part)]
            np.maximum(own, part, out=own)
        return scores

    def _score_here(self, jobs: Sequence[PairTask]) -> Iterator[tuple[int, FloatArray]]:
        """Score in threads of this process: what is read is a slice each, and starting processes would take longer."""
        asked = map(partial(asked_of, self.worker), jobs)
        yield from enumerate(score_tables(asked, self.threads, self.worker.product_device))

    def codes(self, keys: Sequence[str]) -> list[Codes]:
        """Return the quantised descriptors of described photographs, (n, D) each."""
        if len(keys) <= _FEW:  # most of them lie in files: starting processes would take longer
            return codes_task(self.worker, tuple(keys))
        chunks = [tuple(keys[start : start + _TABLE_CHUNK]) for start in range(0, len(keys), _TABLE_CHUNK)]
        codes: dict[int, list[Codes]] = dict(self._pool.run(codes_task, chunks))
        return [item for number in range(len(chunks)) for item in codes[number]]

    def codes_fingerprint(self) -> str:
        """Return what changes whenever quantised descriptors could."""
        return self.worker.codes_fingerprint()

    def _table_of(self, keys: Sequence[str]) -> tuple[Path, str]:
        """Return folder and name of the database's quantised descriptors, which are made if need be."""
        name = hashlib.blake2b("\n".join([self.codes_fingerprint(), *keys]).encode(), digest_size=16).hexdigest()
        folder = self.store / "descriptors"
        if read_table(folder, name) is None:
            table = DescriptorTable.of(self.codes(keys))
            try:
                write_table(folder, name, table)
            except OSError as error:
                logger.warning("%s cannot be written (%s): the descriptors go to a temporary folder", folder, error)
                if self._temporary is None:
                    self._temporary = tempfile.TemporaryDirectory(prefix="scarmatch-")
                folder = Path(self._temporary.name)
                write_table(folder, name, table)
        return folder, name

    def match(
        self, tasks: Sequence[PairTask]
    ) -> Iterator[tuple[PairTask, list[tuple[str, Correspondences, Verification]]]]:
        """Match and verify tasks by the best matcher in the worker processes, as they are done.

        Each pair comes with the query's key in the rotation in which it was matched.

        Raises:
            KeyError: the store lost a description.
        """
        for number, matched in self._pool.run(match_task, tasks):
            yield tasks[number], matched

    def close(self) -> None:
        """End the worker processes (they end by themselves with the program)."""
        self._pool.close()
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None


def _open_parts(
    tasks: Sequence[PairTask], known: Sequence[BoolArray], block: int | None = None
) -> Iterator[tuple[int, list[int]]]:
    """Yield (task, places of its candidates) of what was never measured, in parts of at most _TASK_PAIRS.

    With a ``block``, all tasks are gone through for so many of the candidates, then for the next so many: a worker that
    keeps a block in memory reads and prepares each photograph once for all queries, and not anew for each.
    """
    blocks: dict[str, int] = {}
    parts: dict[tuple[int, int], list[int]] = {}
    for number, task in enumerate(tasks):
        for place in np.flatnonzero(~known[number]).tolist():
            which = blocks.setdefault(task.candidates[place], len(blocks)) // block if block else 0
            parts.setdefault((which, number), []).append(place)
    for (_, number), places in sorted(parts.items()):
        for start in range(0, len(places), _TASK_PAIRS):
            yield number, places[start : start + _TASK_PAIRS]


def _part(task: PairTask, places: Sequence[int]) -> PairTask:
    return PairTask(task.query, tuple(task.candidates[place] for place in places))
