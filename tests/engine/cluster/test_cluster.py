"""A cluster gives the answers of one process, to the bit, and loses nothing but time when something of it goes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("distributed")

from bench.child_process import environment
from engine.catalogue.catalog import Catalog
from engine.cluster import cluster as cluster_module
from engine.cluster.cluster import Cluster, ClusterError
from engine.cluster.versions import VersionError, compare_versions, own_versions
from engine.commands.main import main
from engine.search.matcher import Matcher, MatcherSettings
from engine.workers import WorkerError, run_tasks
from scarmatch.errors import ScarmatchError

#: A module that workers can import.
TASKS = """
import os, signal, time
from pathlib import Path
from scarmatch.errors import ScarmatchError

def state(folder):
    (Path(folder) / f"state-{os.getpid()}").touch()
    return os.getpid()
def who(state, task): return os.getpid(), state, task
def nap(state, task):
    time.sleep(0.3)
    return os.getpid(), task
def die_once(state, task):
    folder, number = task
    if number == 3 and not (Path(folder) / "died").exists():
        (Path(folder) / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number
def once_more(task):
    folder, number = task
    (Path(folder) / f"by-{os.getpid()}").touch()
    return number * number
def die(state, task): os.kill(os.getpid(), signal.SIGKILL)
def refuse(state, task): raise ScarmatchError(f"{task} is no photograph")
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "cluster_tasks.py").write_text(TASKS)
    sys.path.insert(0, str(folder))
    import cluster_tasks

    yield cluster_tasks
    sys.path.remove(str(folder))
    del sys.modules["cluster_tasks"]


@pytest.fixture(scope="module")
def own(tasks: object) -> Iterator[Cluster]:
    """A cluster of one process, which the tests of this file share: each further process costs seconds."""
    cluster = Cluster("local:1")
    yield cluster
    cluster.close()


@contextlib.contextmanager
def more_workers(cluster: Cluster, count: int) -> Iterator[list[int]]:
    """Let a cluster have so many workers in all; yield the further ones' process numbers."""
    before = cluster.workers
    command = [sys.executable, "-m", "engine.cluster.local_worker", cluster.address]
    further = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment())
        for _ in range(count - before)
    ]
    try:
        wait_until(lambda: cluster.workers == count)
        yield [process.pid for process in further]
    finally:
        for process in further:
            process.kill()
            process.wait()
        wait_until(lambda: cluster.workers == before)


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_tasks_go_to_the_workers_which_make_their_state_once(own: Cluster, tasks, tmp_path: Path) -> None:
    make = partial(tasks.state, str(tmp_path))
    with more_workers(own, 2):
        found = dict(run_tasks(tasks.nap, make, range(6), own)) | dict(run_tasks(tasks.nap, make, range(6, 12), own))
        processes = {process for process, _ in found.values()}
        assert len(processes) == 2 and os.getpid() not in processes
        again = dict(own.pool(make).run(tasks.who, list(range(20))))
    assert {number: task for number, (_, _, task) in again.items()} == {number: number for number in range(20)}
    assert all(process == state for process, state, _ in again.values())
    assert {path.name for path in tmp_path.iterdir()} <= {f"state-{process}" for process in processes}
    assert own.dashboard.startswith("http")


def test_an_error_of_a_task_comes_as_it_is(own: Cluster, tasks, tmp_path: Path) -> None:
    with pytest.raises(ScarmatchError, match="7 is no photograph"):
        list(own.pool(partial(tasks.state, str(tmp_path))).run(tasks.refuse, [7]))


def test_versions_that_differ_are_refused_with_both_named(own: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    here = own_versions()
    assert set(here) >= {"scarmatch", "code of scarmatch", "python", "numpy", "torch"}
    compare_versions(here, dict(here), "tcp://there")
    with pytest.raises(VersionError, match=r"tcp://there .*numpy is .* here and 0\.9 there"):
        compare_versions(here, {**here, "numpy": "0.9"}, "tcp://there")
    monkeypatch.setattr(cluster_module, "own_versions", lambda: {**here, "scarmatch": "99.0"})
    with pytest.raises(VersionError, match=rf"scarmatch is 99\.0 here and {here['scarmatch']} there"):
        Cluster(own.address)


def test_a_worker_that_comes_later_is_refused_too(own: Cluster, tasks, tmp_path: Path, monkeypatch) -> None:
    other = {**own_versions(), "torch": "0.1"}
    pool = own.pool(partial(tasks.state, str(tmp_path)))
    monkeypatch.setattr(cluster_module, "own_versions", lambda: other)
    with pytest.raises(VersionError, match=r"torch is 0\.1 here"):
        list(pool.run(tasks.who, [1]))


def test_a_folder_that_workers_do_not_see_is_named(own: Cluster, tmp_path: Path) -> None:
    own.check_folder(tmp_path)
    own.check_folder(tmp_path / "store", written=True)
    assert list((tmp_path / "store").iterdir()) == []
    with pytest.raises(ClusterError, match=r"does not see the folder .*elsewhere"):
        own.check_folder(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("where", "text"),
    [("local:none", "write local:N"), ("local:0", "write local:N"), ("tcp://127.0.0.1:9", "there is no scheduler at")],
)
def test_a_cluster_that_is_none_is_one_line(where: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_CONNECT", 1.0)
    with pytest.raises(ClusterError, match=text) as raised:
        Cluster(where)
    assert "\n" not in str(raised.value)


def test_workers_of_ones_own_cluster_end_with_the_program() -> None:
    script = (
        "from engine.cluster.cluster import Cluster\n"
        "cluster = Cluster('local:1')\n"
        "print(*[process.pid for process in cluster._own._processes], flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment()
    ) as program:
        assert program.stdout is not None
        (worker,) = [int(word) for word in program.stdout.readline().split()]
        assert _runs(worker)
        program.kill()
    wait_until(lambda: not _runs(worker))


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# --- the whole search -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few(made_up_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Five photographs in a folder of their own."""
    folder = tmp_path_factory.mktemp("few")
    for path in sorted((made_up_dir / "images").glob("*.jpg"))[:5]:
        (folder / path.name).write_bytes(path.read_bytes())
    return Catalog.read(folder)


def answers_of(few: Catalog, settings: MatcherSettings, store: Path, cluster: str | Cluster | None) -> pd.DataFrame:
    matcher = Matcher(settings, store, ranker="fusion", workers=1, cluster=cluster)
    index = matcher.index(few)
    assert len(index) == len(few)
    raw = matcher.pairs(index.take([0, 1]), index)
    matcher.close()
    return raw


@pytest.fixture(scope="module")
def alone(few: Catalog, small_settings: MatcherSettings, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return answers_of(few, small_settings, tmp_path_factory.mktemp("alone"), None)


@pytest.mark.slow
def test_answers_are_equal_to_the_bit_with_any_number_of_workers(
    alone: pd.DataFrame, few: Catalog, small_settings: MatcherSettings, own: Cluster, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as further:
        for workers in (1, 2, 4):
            further.enter_context(more_workers(own, workers))
            raw = answers_of(few, small_settings, tmp_path / f"store{workers}", own)
            pd.testing.assert_frame_equal(raw, alone, check_exact=True)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, subprocess.Popen[bytes]]]:
    """A scheduler as it runs on another machine, its address, and one worker of it."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment()}
    process = subprocess.Popen([*command, f"--scheduler-file={file}"], **quiet)
    wait_until(file.exists)
    address = json.loads(file.read_text())["address"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "engine.cluster.local_worker", address], stdin=subprocess.PIPE, **quiet
    )
    yield process, address, worker
    for each in (process, worker):
        each.kill()
        each.wait()


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_one_sentence_and_the_run_goes_on_where_it_was(
    alone: pd.DataFrame, few: Catalog, small_settings: MatcherSettings, scheduler, tmp_path: Path
) -> None:
    process, address, worker = scheduler
    store = tmp_path / "store"
    matcher = Matcher(small_settings, store, ranker="fusion", workers=1, cluster=address)

    def stop(done: int, total: int) -> None:
        if done >= 4:
            process.send_signal(signal.SIGKILL)

    message = r"went away while it was used; what was done is kept: run the same"
    with pytest.raises(ClusterError, match=message) as raised:
        matcher.index(few, stop)
    assert "\n" not in str(raised.value)
    matcher.close()
    assert worker.wait(60) is not None, "a worker ends with its scheduler"
    known = []
    again = Matcher(small_settings, store, ranker="fusion", workers=1)
    again.index(few, lambda done, total: known.append(done))
    assert known[0] >= 4
    pd.testing.assert_frame_equal(answers_of(few, small_settings, store, None), alone, check_exact=True)


@pytest.mark.slow
def test_the_command_takes_a_cluster_and_tells_of_its_dashboard(
    few: Catalog, own: Cluster, tmp_path: Path, quick_options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [option for option in quick_options if not option.startswith("--ranker")]
    asked = ["index", str(few.root), f"--store={tmp_path}", *options]
    assert main([*asked, f"--cluster={own.address}"]) == 0
    assert "cluster: 1 workers; dashboard: http" in capsys.readouterr().err
    assert main([*asked, "--cluster=local:x"]) == 1
    assert "write local:N" in capsys.readouterr().err


# --- the last: they kill the process that the others share ----------------------------------------------------------


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_nothing_but_time(own: Cluster, tasks, tmp_path: Path) -> None:
    work = [(str(tmp_path), number) for number in range(12)]
    found = dict(run_tasks(tasks.die_once, partial(tasks.state, str(tmp_path)), work, own))
    assert (tmp_path / "died").exists()
    assert found == {number: number * number for number in range(12)}, "by the process that was started in its place"


@pytest.mark.slow
def test_a_result_that_is_lost_with_its_worker_is_computed_again(own: Cluster, tasks, tmp_path: Path) -> None:
    """The task is done, and nobody has fetched what it returned."""
    assert own._own is not None
    future = own.submit(tasks.once_more, (str(tmp_path), 7))
    wait_until(future.done)
    own._own._processes[0].kill()
    wait_until(lambda: not future.done())
    assert own.result(future) == 49
    assert len(list(tmp_path.iterdir())) == 2, "by two processes"


@pytest.mark.slow
def test_workers_that_die_as_often_as_they_are_started_are_one_sentence(
    own: Cluster, tasks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert own._own is not None
    monkeypatch.setattr(own._own, "_restarts", 0)
    with pytest.raises(WorkerError, match=r"end as often as they are started .*what was done is kept"):
        list(own.pool(partial(tasks.state, str(tmp_path))).run(tasks.die, [1]))
