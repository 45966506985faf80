"""Work spread over processes with one thread each, the same answer with any number of them.

Two threads on one task collapse when anything else runs on the machine; two processes with one thread each are as fast
on a quiet machine and far steadier on a busy one. A task's result depends on the task alone, so neither the number of
processes nor the order in which they finish changes an answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

#: State of a worker process (or of the main process when it works alone), made once by the initialiser.
_STATE: dict[str, Any] = {}


def default_workers() -> int:
    """Return the number of processors that this process may use, at most 8."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, min(8, len(os.sched_getaffinity(0))))
    return max(1, min(8, os.cpu_count() or 1))


class TaskPool:
    """Worker processes that stay, with the networks that they loaded, from one call to the next.

    Args:
        make_state: makes what every process needs once (networks, stores); module-level or a picklable partial.
        workers: processes; 1 works in this process, in order.
    """

    def __init__(self, make_state: Callable[[], Any], workers: int = 1) -> None:
        self._make_state = make_state
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None
        self._state: Any = None
        self._has_state = False

    def run(self, function: Callable[[Any, Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Run ``function(state, task)`` for every task and yield (task's index, result) as they finish.

        Args:
            function: a module-level function (it travels to other processes).
            tasks: picklable tasks.
        """
        if not tasks:
            return
        if self._executor is None and (self._workers <= 1 or len(tasks) == 1):
            yield from self._run_here(function, tasks)
            return
        if self._executor is None:
            context = multiprocessing.get_context("spawn")
            make = (self._make_state,)
            self._executor = ProcessPoolExecutor(self._workers, context, initializer=_initialise, initargs=make)
        pending: dict[Future[Result], int] = {}
        try:
            # Only a few tasks wait in the queue, so that a stop does not leave a long tail of work behind.
            for index, task in enumerate(tasks):
                pending[self._executor.submit(_run, function, task)] = index
                if len(pending) >= 3 * self._workers:
                    yield from _collect(pending)
            while pending:
                yield from _collect(pending)
        except BaseException:
            self.close()
            raise

    def _run_here(self, function: Callable[[Any, Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        with single_thread():
            if not self._has_state:
                self._state, self._has_state = self._make_state(), True
            for index, task in enumerate(tasks):
                yield index, function(self._state, task)

    def close(self) -> None:
        """End the processes; work that has not begun is dropped."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None


def run_tasks(
    function: Callable[[Any, Task], Result], make_state: Callable[[], Any], tasks: Sequence[Task], workers: int = 1
) -> Iterator[tuple[int, Result]]:
    """Run tasks once in a :class:`TaskPool` of their own."""
    pool = TaskPool(make_state, min(workers, max(1, len(tasks))))
    try:
        yield from pool.run(function, tasks)
    finally:
        pool.close()


def _collect(pending: dict[Future[Result], int]) -> Iterator[tuple[int, Result]]:
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        yield pending.pop(future), future.result()


def _initialise(make_state: Callable[[], Any]) -> None:
    keep_large_blocks()
    _limit_threads(1)
    _STATE["state"] = make_state()


def _run(function: Callable[[Any, Task], Result], task: Task) -> Result:
    return function(_STATE["state"], task)


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Run numeric libraries on one thread inside the block, and as before after it."""
    import cv2
    import torch

    before, before_cv = torch.get_num_threads(), cv2.getNumThreads()
    _limit_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        cv2.setNumThreads(before_cv)


def _limit_threads(count: int) -> None:
    import cv2
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def keep_large_blocks() -> bool:
    """Let glibc keep large freed blocks instead of returning them to the system at once.

    Page faults of big temporary tensors cost 15 to 40 % of the networks' time on a CPU. For the process's own worker
    processes only: it changes the allocator for good. Returns whether the allocator took it (glibc only).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        taken = libc.mallopt(m_mmap_max, 0) == 1
        libc.mallopt(m_trim_threshold, 64 << 20)
        libc.mallopt(m_top_pad, 32 << 20)
        return taken
    except (OSError, AttributeError):
        return False
