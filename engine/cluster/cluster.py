"""A dask cluster that describes photographs and measures pairs by the functions that local processes run.

Tasks, states and results are those of :class:`engine.workers.TaskPool`: a worker makes its state (networks, store) once
and keeps it, runs one task at a time on one thread, and nothing of an answer depends on which worker that was. The
store, and the photographs, lie in folders that all machines see under the same path.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from engine.cluster.versions import Versions, compare_versions, own_versions
from engine.workers import WorkerError, one_thread_for_good
from scarmatch.errors import ScarmatchError

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Tasks that wait at the scheduler, per worker: enough to keep it busy, few enough for a stop to leave no long tail.
_WAITING = 3
#: Seconds to wait for a scheduler, and for its first worker.
_CONNECT, _FIRST_WORKER = 10.0, 120.0
#: Seconds between two looks at whether scheduler and workers are still there.
_LOOK = 1.0
#: Workers of a cluster of one's own that died are started again, so many times each.
_RESTARTS = 3

AGAIN = "what was done is kept: run the same command again"


class ClusterError(ScarmatchError, RuntimeError):
    """A cluster cannot be used; the message says what is missing and the way out."""


class Cluster:
    """Workers on other machines, or several of this one.

    Args:
        where: address of a dask scheduler ("tcp://host:8786"), or "local:N" for a cluster of one's own with N processes
            on this machine, which ends with the program.

    Attributes:
        dashboard: address of the page that shows the workers at work.

    Raises:
        ClusterError: there is no such scheduler, it has no workers, or dask is not installed.
        VersionError: a worker would give other answers, because its versions differ.
    """

    def __init__(self, where: str) -> None:
        try:
            import dask.config
            from distributed import Client
        except ImportError as error:
            raise ClusterError(f"a cluster needs dask ({error}): pip install 'scarmatch[cluster]'") from error
        self.where = where
        self._finished = threading.Event()
        self._looked = self._alone_since = time.monotonic()
        self._own: _OwnCluster | None = _OwnCluster(where) if where.partition(":")[0] == "local" else None
        self.address = self._own.address if self._own is not None else where
        try:
            with dask.config.set({"distributed.comm.timeouts.connect": f"{_CONNECT}s"}):
                self._client = Client(self.address, timeout=_CONNECT, set_as_default=False, name="scarmatch")
        except (OSError, ValueError, ImportError) as error:
            raise ClusterError(
                f"there is no scheduler at {where} ({_first_line(error)}): start one with `dask scheduler`, or give "
                "--cluster local:N"
            ) from error
        self.dashboard: str = self._client.dashboard_link or ""
        try:
            self._await_workers()
            self._check_versions()
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """Number of workers that are there now.

        Raises:
            ClusterError: the scheduler went away.
        """
        try:
            return len(self._client.nthreads())
        except Exception as error:  # dask has a dozen of them for a connection that ended
            raise self._scheduler_went() from error

    def pool(self, make_state: Callable[[], Any]) -> ClusterPool:
        """Return a pool whose tasks the workers do; see :class:`engine.workers.TaskPool`."""
        return ClusterPool(self, make_state)

    def check_folder(self, folder: Path, written: bool = False) -> None:
        """Make sure that all workers see a folder as this program does.

        Args:
            folder: absolute or relative to this program's own.
            written: write into it what the workers have to find there; otherwise it only has to be there.

        Raises:
            ClusterError: a worker sees no such folder.
        """
        path, token = folder.absolute(), uuid.uuid4().hex
        sign = path / f".seen-{token}"
        if written:
            with contextlib.suppress(OSError):
                path.mkdir(parents=True, exist_ok=True)
                sign.write_text(token)
        try:
            look_for = sign if sign.exists() else path
            blind = [worker for worker, sees in self._everywhere(_exists, str(look_for)).items() if not sees]
        finally:
            with contextlib.suppress(OSError):
                sign.unlink(missing_ok=True)
        if blind:
            raise ClusterError(
                f"the worker {blind[0]} does not see the folder {path}: it has to lie on a file system that all "
                "machines share under the same path"
            )

    def close(self) -> None:
        """Leave the cluster; one's own ends."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)
        if self._own is not None:
            self._own.close()

    def submit(self, function: Callable[..., Result], *arguments: Any) -> Any:
        """Send one call to a worker; return dask's future of it."""
        if self._client.status != "running":
            raise self._scheduler_went()
        future = self._client.submit(function, *arguments, pure=False)
        future.add_done_callback(lambda _: self._finished.set())
        return future

    def wait(self, futures: Sequence[Any]) -> list[Any]:
        """Return those of the futures that are done, at least one.

        Raises:
            ClusterError: the scheduler went away, or there are no workers any more.
        """
        while True:
            self._look_after()
            self._finished.clear()
            done = [future for future in futures if future.done()]
            if done:
                return done
            self._finished.wait(_LOOK)

    def result(self, future: Any) -> Any:
        """Return a future's result.

        One that is done may be lost with the worker that holds it, and is then computed again: whoever waits for it
        without looking after the workers waits for good.

        Raises:
            ClusterError: the scheduler went away, or there are no workers any more.
        """
        from distributed import TimeoutError as TooLongError

        patience = _LOOK
        while True:
            try:
                return future.result(timeout=patience)
            except TooLongError:
                if future.status == "error":  # of the task itself
                    raise
                self._look_after()
                patience *= 2  # a large result may take its time

    def _look_after(self) -> None:
        """Look, now and then, whether scheduler and workers are there; start workers of one's own again."""
        if self._client.status != "running":
            raise self._scheduler_went()
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return
        if now - self._looked > _FIRST_WORKER:
            self._alone_since = now  # nobody looked for a while
        self._looked = now
        if self._own is not None:
            self._own.restart_dead()
        if self.workers:
            self._alone_since = now
        elif now - self._alone_since > _FIRST_WORKER:
            raise ClusterError(
                f"the cluster {self.where} has had no worker for {_FIRST_WORKER:.0f} s: start some with "
                f"`dask worker {self.address} --nthreads 1`; {AGAIN}"
            )

    def _scheduler_went(self) -> ClusterError:
        return ClusterError(f"the scheduler {self.address} went away while it was used; {AGAIN}")

    def _await_workers(self) -> None:
        wanted = self._own.count if self._own is not None else 1
        until = time.monotonic() + _FIRST_WORKER
        while self.workers < wanted and time.monotonic() < until:
            if self._own is not None:
                self._own.restart_dead()
            time.sleep(0.1)
        if not self.workers:
            raise ClusterError(
                f"the scheduler {self.address} has no workers: start some with "
                f"`dask worker {self.address} --nthreads 1`"
            )

    def _check_versions(self) -> None:
        for worker, there in self._everywhere(_versions_there).items():
            compare_versions(own_versions(), there, worker)

    def _everywhere(self, function: Callable[..., Result], *arguments: Any) -> dict[str, Result]:
        """Run a function once on every worker."""
        try:
            found: dict[str, Result] = self._client.run(function, *arguments)
        except ScarmatchError:
            raise
        except Exception as error:
            raise ClusterError(
                f"a worker of {self.where} cannot run scarmatch ({_first_line(error)}): install it there in the same "
                "version"
            ) from error
        return found


class ClusterPool:
    """Tasks for the workers of a cluster, as :class:`engine.workers.TaskPool` is for processes.

    Args:
        cluster: who does them.
        make_state: makes what every worker needs once.
    """

    def __init__(self, cluster: Cluster, make_state: Callable[[], Any]) -> None:
        self._cluster = cluster
        self._state = pickle.dumps(make_state)

    def run(self, function: Callable[[Any, Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[int, Result]]:
        """Run ``function(state, task)`` for every task and yield (task's index, result) as they finish.

        A task whose worker is lost is done by another.

        Raises:
            ClusterError: the scheduler went away, or there are no workers any more.
            WorkerError: several workers were lost over one task.
        """
        pending: dict[Any, int] = {}
        try:
            for index, task in enumerate(tasks):
                future = self._cluster.submit(run_task, function, self._state, task, own_versions())
                pending[future] = index
                if len(pending) >= _WAITING * max(1, self._cluster.workers):
                    yield from self._collect(pending)
            while pending:
                yield from self._collect(pending)
        finally:
            # An error, Ctrl-C, or a caller who has seen enough: what has not begun is dropped.
            for future in pending:
                with contextlib.suppress(Exception):
                    future.cancel()

    def _collect(self, pending: dict[Any, int]) -> Iterator[tuple[int, Any]]:
        for future in self._cluster.wait(list(pending)):
            index = pending.pop(future)
            yield index, self._result_of(future)

    def _result_of(self, future: Any) -> Any:
        from concurrent.futures import CancelledError

        from distributed import CancelledError as DaskCancelledError
        from distributed import KilledWorker

        try:
            return self._cluster.result(future)
        except KilledWorker as error:
            raise WorkerError(
                f"several workers of {self._cluster.where} were lost over the same task, most likely because memory "
                f"ran out; {AGAIN}"
            ) from error
        except (CancelledError, DaskCancelledError) as error:
            raise ClusterError(f"the scheduler {self._cluster.address} went away while it was used; {AGAIN}") from error

    def close(self, at_once: bool = False) -> None:
        """Nothing of its own is left on the workers but their state, which the next pool's replaces."""


#: The state that this worker made last, by what made it; one task at a time uses it.
_MADE: dict[bytes, Any] = {}
_AT_WORK = threading.Lock()


def run_task(function: Callable[[Any, Task], Result], state: bytes, task: Task, versions: Versions) -> Result:
    """Run one task in a worker, which makes its state if it is another than the last one's.

    Raises:
        VersionError: the worker, which may have come later than the others, has other versions.
    """
    with _AT_WORK:
        name = blake2b(state, digest_size=16).digest()
        if name not in _MADE:
            compare_versions(versions, own_versions(), f"on {os.uname().nodename}" if hasattr(os, "uname") else "")
            one_thread_for_good()
            _MADE.clear()
            _MADE[name] = pickle.loads(state)()
        return function(_MADE[name], task)


def _versions_there() -> Versions:
    """Return the versions of the worker that runs this."""
    return own_versions()


def _exists(path: str) -> bool:
    return Path(path).exists()


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class _OwnCluster:
    """A scheduler in this process, and worker processes of this machine that end with it.

    Args:
        where: "local:N".
    """

    def __init__(self, where: str) -> None:
        from distributed import LocalCluster

        number = where.partition(":")[2]
        if not number.isdigit() or not int(number):
            raise ClusterError(f"--cluster {where}: write local:N with the number of processes, e.g. local:2")
        self.count = int(number)
        self._scheduler = LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50, protocol="tcp"
        )
        self.address: str = self._scheduler.scheduler_address
        self._restarts = _RESTARTS * self.count
        self._processes = [self._start() for _ in range(self.count)]

    def _start(self) -> subprocess.Popen[bytes]:
        # Its packages are this program's, in their order, whatever lies in the folder that it was started from.
        paths = os.pathsep.join(str(Path(path).absolute()) for path in sys.path)
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "engine.cluster.local_worker", self.address]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )

    def restart_dead(self) -> None:
        """Start workers again that died; too many of them are an error.

        Raises:
            WorkerError: workers die as often as they are started.
        """
        for place, process in enumerate(self._processes):
            if process.poll() is None:
                continue
            if not self._restarts:
                raise WorkerError(
                    f"the workers of {self.count} processes end as often as they are started (status "
                    f"{process.returncode}), most likely because memory ran out; {AGAIN}, with fewer"
                )
            self._restarts -= 1
            self._processes[place] = self._start()

    def close(self) -> None:
        """End scheduler and workers."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            if process.stdin is not None:
                process.stdin.close()
        with contextlib.suppress(Exception):
            self._scheduler.close(timeout=2)
