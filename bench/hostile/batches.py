"""Hostile inputs tried in processes of their own, so that one that ends its process ends nothing else.

A kind is a module of this package with :class:`Kind`'s functions. A process tries inputs one after another and says
before each which one it begins; where it dies or falls silent, that input is to blame, and the next process goes on
behind it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import random
import selectors
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any, Protocol, cast

from bench.child_process import environment
from bench.hostile.outcome import Outcome
from bench.memory import peak_mib
from scarmatch.errors import ScarmatchError

SECONDS = 20.0
"""An input that takes longer counts as a hang."""

BATCH = 500
"""Inputs a process: its start takes as long as dozens of inputs."""

#: Looks at what was made; None if all is well, otherwise what differs although nothing was said.
Judge = Callable[[], str | None]


class Kind(Protocol):
    """What a module of hostile inputs offers."""

    def prepare(self, folder: Path) -> Any:
        """Make what every input starts from, the same in every process."""
        ...

    def make(self, state: Any, chance: random.Random, folder: Path) -> tuple[str, Judge]:
        """Make one input in a folder; return what was done, and how to judge what comes of it."""
        ...


def run_in_batches(name: str, count: int, seed: int, folder: Path) -> Outcome:
    """Try ``count`` inputs of the kind ``bench.hostile.NAME``."""
    outcome = Outcome()
    first = 0
    while first < count:
        first = _run_batch(name, first, min(first + BATCH, count), seed, folder, outcome)
    return outcome


def _run_batch(name: str, first: int, last: int, seed: int, folder: Path, outcome: Outcome) -> int:
    """Try inputs in one process, add what came of them, and return the number of the input to go on with."""
    command = [sys.executable, "-m", "bench.hostile.batches", name, str(first), str(last), str(seed), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as process:
        assert process.stdout is not None
        number, what, began = first, "", False
        for line in _lines(process.stdout, 6 * SECONDS):
            record = json.loads(line)
            if "begins" in record:
                number, what, began = record["begins"], record["what"], True
                continue
            outcome.inputs += 1
            setattr(outcome, record["came"], getattr(outcome, record["came"]) + 1)
            outcome.peak_bytes = max(outcome.peak_bytes, record["peak_bytes"])
            if record["fault"]:
                outcome.faults.append(f"{name}, seed {seed}, input {number}: {what}: {record['fault']}"[:500])
            number, what = number + 1, ""
        try:
            # A process that dies closes its pipe a moment before it can be asked for its status.
            process.wait(5)
            silent = False
        except subprocess.TimeoutExpired:
            silent = True
        process.kill()
        process.wait()
        last_words = "no answer" if silent else f"the process ended with status {process.returncode}"
    if not began:
        raise RuntimeError(f"no hostile {name} could be made: {last_words}; try `{' '.join(command[1:])}`")
    if number < last:
        outcome.inputs += 1
        outcome.hangs += silent
        outcome.crashes += not silent
        outcome.faults.append(f"{name}, seed {seed}, input {number}: {what}: {last_words}"[:500])
        number += 1
    return number


def _lines(stream: IO[bytes], patience: float) -> Iterator[bytes]:
    """Yield lines until the stream ends, or nothing comes for so many seconds (a start takes some)."""
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        until = time.monotonic() + patience
        while selector.select(max(0.0, until - time.monotonic())):
            part = cast("Any", stream).read1(65536)
            if not part:
                return
            *whole, pending = (pending + part).split(b"\n")
            yield from whole
            until = time.monotonic() + patience


class _HangError(Exception):
    """The input took longer than :data:`SECONDS`."""


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _HangError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _try(judge: Judge) -> tuple[str, str | None]:
    """Return which count of the outcome an input belongs to, and what is wrong."""
    try:
        with _within(SECONDS):
            fault = judge()
    except ScarmatchError as error:
        text = str(error)
        return ("refused", None) if "\n" not in text else ("tracebacks", f"more than one line: {text!r}")
    except _HangError:
        return "hangs", f"no answer in {SECONDS:g} s"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "tracebacks", f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
    return ("accepted", None) if fault is None else ("silent", fault)


def _main(name: str, first: int, last: int, seed: int, folder: Path) -> None:
    """Try inputs in this process, a line of JSON before and after each."""
    kind = cast("Kind", importlib.import_module(f"bench.hostile.{name}"))
    words = sys.stdout
    sys.stdout = sys.stderr  # whatever the product prints is not for the caller
    state = kind.prepare(folder)
    for number in range(first, last):
        what, judge = kind.make(state, random.Random(f"{seed}:{number}"), folder)
        print(json.dumps({"begins": number, "what": what}), file=words, flush=True)
        came, fault = _try(judge)
        peak = int(peak_mib() * 2**20)
        print(json.dumps({"came": came, "fault": fault, "peak_bytes": peak}), file=words, flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
