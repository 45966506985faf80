"""Work spread over processes with one thread each, the same answer with any number of them.

Two threads on one task collapse when anything else runs on the machine; two processes with one thread each are as fast
on a quiet machine and far steadier on a busy one. A task's result depends on the task alone, so neither the number of
processes nor the order in which they finish changes an answer.

The processes are spawned, on every system, and know nothing of the program that started them: its main module is not
imported again, so that a script needs no ``if __name__ == "__main__"`` and may come from standard input or a notebook.
They end with the program, whatever ends it.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Protocol, TypeVar

from scarmatch.errors import ScarmatchError

Task = TypeVar("Task")
Result = TypeVar("Result")

#: State of a worker process (or of the main process when it works alone), made once by the initialiser.
_STATE: dict[str, Any] = {}

_start_lock = threading.Lock()


class WorkerError(ScarmatchError, RuntimeError):
    """A worker process ended before its task did; the message says how, and the likely cause."""


def default_workers() -> int:
    """Return the number of processors that this process may use, at most 8."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, min(8, len(os.sched_getaffinity(0))))
    return max(1, min(8, os.cpu_count() or 1))


class Pool(Protocol):
    """Who does tasks: :class:`TaskPool`'s processes, or :class:`engine.cluster.cluster.ClusterPool`'s machines."""

    def run(self, function: Callable[[Any, Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Run ``function(state, task)`` for every task and yield (task's index, result) as they finish."""
        ...

    def close(self, at_once: bool = False) -> None:
        """Drop what has not begun, and with ``at_once`` also what has."""
        ...


class Workforce(Protocol):
    """What makes pools where more than this machine's processes work (:class:`engine.cluster.cluster.Cluster`)."""

    def pool(self, make_state: Callable[[], Any]) -> Pool:
        """Return a pool whose tasks have what ``make_state`` makes, once for each of those who work."""
        ...


def pool_of(make_state: Callable[[], Any], workers: int | Workforce) -> Pool:
    """Return a pool of so many processes of this machine, or of a cluster."""
    return TaskPool(make_state, workers) if isinstance(workers, int) else workers.pool(make_state)


#: Functions that :func:`without_torch` named.
_WITHOUT_TORCH: set[Callable[..., Any]] = set()


def without_torch(function: Callable[..., Result]) -> Callable[..., Result]:
    """Say of a task's function that it needs no torch, or keeps it to one thread by itself."""
    _WITHOUT_TORCH.add(function)
    return function


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

        Raises:
            WorkerError: a process ended by itself (what was yielded before stays good).
        """
        if not tasks:
            return
        if self._executor is None and (self._workers <= 1 or len(tasks) == 1):
            yield from self._run_here(function, tasks)
            return
        if self._executor is None:
            make = (self._make_state,)
            self._executor = ProcessPoolExecutor(self._workers, _Context(), initializer=_initialise, initargs=make)
        pending: dict[Future[Result], int] = {}
        try:
            # Only a few tasks wait in the queue, so that a stop does not leave a long tail of work behind.
            for index, task in enumerate(tasks):
                pending[self._executor.submit(_run, function, task)] = index
                if len(pending) >= 3 * self._workers:
                    yield from _collect(pending)
            while pending:
                yield from _collect(pending)
        except BrokenProcessPool as error:
            how = _how_they_ended(self._processes)
            self.close(at_once=True)
            raise WorkerError(how) from error
        except BaseException:
            # An error, Ctrl-C, or a caller who has seen enough: nobody waits for what is being computed.
            self.close(at_once=True)
            raise

    def _run_here(self, function: Callable[[Any, Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        with single_thread(with_torch=function not in _WITHOUT_TORCH):
            if not self._has_state:
                self._state, self._has_state = self._make_state(), True
            for index, task in enumerate(tasks):
                yield index, function(self._state, task)

    @property
    def _processes(self) -> list[SpawnProcess]:
        # Private, but there is no public way to end a task that runs (until Python 3.14's `kill_workers`).
        return list((getattr(self._executor, "_processes", None) or {}).values())

    def close(self, at_once: bool = False) -> None:
        """End the processes; work that has not begun is dropped, and with ``at_once`` also what has."""
        if self._executor is None:
            return
        processes = self._processes
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = None
        if at_once:
            for process in processes:
                process.kill()


def run_tasks(
    function: Callable[[Any, Task], Result],
    make_state: Callable[[], Any],
    tasks: Sequence[Task],
    workers: int | Workforce = 1,
) -> Iterator[tuple[int, Result]]:
    """Run tasks once in a pool of their own."""
    pool = pool_of(make_state, min(workers, max(1, len(tasks))) if isinstance(workers, int) else workers)
    try:
        yield from pool.run(function, tasks)
    finally:
        pool.close()


def start_process(target: Callable[..., None], arguments: tuple[Any, ...]) -> SpawnProcess:
    """Start a process that ends when this program does, however it ends, and that Ctrl-C does not reach.

    It may have worker processes of its own.

    Args:
        target: a module-level function. arguments: what it is called with; picklable, or an end of a pipe.
    """
    process = _Process(target=_run_to_the_end, args=(target, arguments))
    process.start()
    return process


def _run_to_the_end(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_the_program, name="end-with-the-program", daemon=True).start()
    if not hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    target(*arguments)


def _collect(pending: dict[Future[Result], int]) -> Iterator[tuple[int, Result]]:
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        yield pending.pop(future), future.result()


class _Process(SpawnProcess):
    """A spawned process that does not import the program's main module, and that Ctrl-C does not reach."""

    def start(self) -> None:
        with _start_lock, _main_module_hidden(), _interrupts_held_back():
            super().start()


class _Context(SpawnContext):
    Process = _Process


@contextlib.contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Leave out of what this thread sends to a spawned process how to import the main module.

    Spawning imports it again, which runs a script without a guard once more in every process, and fails for one that is
    no file. Tasks and their functions come from importable modules, so that nobody needs it.
    """
    complete, thread = spawn.get_preparation_data, threading.get_ident()

    def without_main(name: str) -> dict[str, Any]:
        data = dict(complete(name))
        if threading.get_ident() == thread:
            for key in ("init_main_from_name", "init_main_from_path"):
                data.pop(key, None)
        return data

    spawn.get_preparation_data = without_main
    try:
        yield
    finally:
        spawn.get_preparation_data = complete


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start a process that keeps SIGINT blocked: Ctrl-C goes to all of a terminal's, and the first alone must act."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _initialise(make_state: Callable[[], Any]) -> None:
    threading.Thread(target=_end_with_the_program, name="end-with-the-program", daemon=True).start()
    if not hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    one_thread_for_good()
    try:
        _STATE["state"] = make_state()
    except Exception as error:  # an initialiser's error would break the pool without a word of what it was
        _STATE["error"] = error


def _end_with_the_program() -> None:
    """Wait for the process that started this one, however it ends, and end at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(function: Callable[[Any, Task], Result], task: Task) -> Result:
    if "error" in _STATE:
        raise _STATE["error"]
    return function(_STATE["state"], task)


def _how_they_ended(processes: Sequence[SpawnProcess]) -> str:
    """Say how the processes of a broken pool ended, what the cause is likely to be, and the way out."""
    for process in processes:
        process.join(2.0)  # the executor ends the others, so the first that ended is told by its exit code
    codes = [process.exitcode for process in processes if process.exitcode not in (None, 0, -signal.SIGTERM)]
    again = "what was done is kept: run the same command again"
    if codes and codes[0] == -getattr(signal, "SIGKILL", 9):
        return f"a worker process was killed, most likely because memory ran out; {again} with --workers 1"
    if codes and codes[0] is not None and codes[0] < 0:
        name = signal.Signals(-codes[0]).name
        return f"a worker process crashed ({name}), perhaps because memory ran out; {again} with --workers 1"
    how = f"ended with status {codes[0]}" if codes else "ended"
    return f"a worker process {how} before its work was done; {again}, with --workers 1 to see why"


@contextlib.contextmanager
def single_thread(with_torch: bool = True) -> Iterator[None]:
    """Run numeric libraries on one thread inside the block, and as before after it.

    Args:
        with_torch: torch may be used; otherwise it is not imported for the sake of its threads.
    """
    import cv2

    before, before_cv = None, cv2.getNumThreads()
    if with_torch or "torch" in sys.modules:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before_cv)
        if before is not None:
            torch.set_num_threads(before)


def one_thread_for_good() -> None:
    """Make a process that only works, and for nobody but us, do so on one thread, with an allocator that suits it."""
    import cv2

    keep_large_blocks()
    cv2.setNumThreads(1)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
    # Torch reads these when it is imported, which this process may never do.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")


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
