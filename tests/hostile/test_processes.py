"""Worker processes: started from any program, ended with it whatever ends it, and never gone without a word."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from engine.workers import WorkerError, run_tasks

#: A module that worker processes can import; what a program defines itself they cannot.
TASKS = """
import os, signal, time
from scarmatch.errors import ScarmatchError

def none(): return 0
def add(state, task): return os.getpid(), state + task
def sleep(state, task):
    print(f"{os.getpid()}\\n", end="", flush=True)
    time.sleep(task)
def die(state, task):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task
def refuse(): raise ScarmatchError("this model is no model")
"""

#: As in the README: no guard, and the work at the top level.
PROGRAM = """
print("begins")
import os
from engine.workers import run_tasks
import hostile_tasks
found = dict(run_tasks(hostile_tasks.add, hostile_tasks.none, range(6), 2))
print(sorted(value for _, value in found.values()), os.getpid() in {process for process, _ in found.values()})
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "hostile_tasks.py").write_text(TASKS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    monkeypatch.syspath_prepend(str(tmp_path))
    import hostile_tasks

    yield hostile_tasks
    del sys.modules["hostile_tasks"]


@pytest.mark.parametrize("way", ["script", "standard input", "interactive"])
def test_a_program_without_a_guard_works_as_written(tasks, tmp_path: Path, way: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    command = {"script": [str(script)], "standard input": ["-"], "interactive": ["-i"]}[way]
    text = None if way == "script" else PROGRAM
    run = subprocess.run(
        [sys.executable, *command], input=text, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert run.stdout.splitlines() == ["begins", "[0, 1, 2, 3, 4, 5] False"], run.stderr
    assert "Error" not in run.stderr


def start_sleeping(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a program whose two workers sleep for ten minutes, more such tasks in the queue; return it and them."""
    script = tmp_path / "sleeping.py"
    script.write_text(
        "from engine.workers import run_tasks\nimport hostile_tasks\n"
        "list(run_tasks(hostile_tasks.sleep, hostile_tasks.none, [600] * 8, 2))\n"
    )
    # A shell lets what it starts in the background ignore SIGINT, and so the tests, if it started them.
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    program = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, preexec_fn=heeding, **pipes)
    assert program.stdout is not None
    return program, [int(program.stdout.readline()) for _ in range(2)]


def ended_by(program: subprocess.Popen[str], sent: signal.Signals) -> int:
    """Send a signal until the program has ended, as a person presses Ctrl-C; return its exit status.

    Python loses a signal that arrives inside a callback of a library, so one may not be enough on a busy machine.
    """
    for _ in range(3):
        program.send_signal(sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return program.wait(20)
    raise AssertionError(f"the program ignores {sent.name}")


def gone(process: int, seconds: float) -> bool:
    """Say whether a process that is not our child ends within so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals and /proc")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_program_and_do_not_finish_their_tasks(
    tasks, tmp_path: Path, sent: signal.Signals
) -> None:
    program, workers = start_sleeping(tmp_path)
    try:
        assert ended_by(program, sent) != 0
        assert all(gone(worker, 10) for worker in workers)
    finally:
        program.kill()
        program.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_a_killed_worker_is_one_sentence_with_cause_and_way_out(tasks) -> None:
    done = []
    with pytest.raises(
        WorkerError, match=r"killed, most likely because memory ran out; what was done is kept: .*--workers 1"
    ):
        for _, value in run_tasks(tasks.die, tasks.none, [0, 1, 2], 2):
            done.append(value)
    assert 2 not in done


def test_what_a_worker_cannot_make_is_said_in_its_own_words(tasks, capfd) -> None:
    from scarmatch.errors import ScarmatchError

    with pytest.raises(ScarmatchError, match="this model is no model"):
        list(run_tasks(tasks.add, tasks.refuse, [1, 2], 2))
    assert "Traceback" not in capfd.readouterr().err
