"""A small budget of hostile photographs, stores and models; `python -m bench hostile` has more of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.hostile import models, photographs, stores
from bench.hostile.batches import run_in_batches
from bench.hostile.command import main
from bench.hostile.outcome import Outcome


@pytest.mark.parametrize("run", [photographs.run, stores.run, models.run], ids=["photographs", "stores", "models"])
def test_no_damage_is_silent_a_traceback_a_crash_or_a_hang(
    run: Callable[[int, int, Path], Outcome], tmp_path: Path
) -> None:
    outcome = run(60, 11, tmp_path)
    assert outcome.ok, "\n".join(outcome.faults)
    assert outcome.inputs == outcome.accepted + outcome.refused == 60
    assert 0 < outcome.peak_bytes < 1e9


def test_a_process_that_dies_is_counted_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\n"
        "kind = types.ModuleType('bench.hostile.deadly')\n"
        "def judge(number):\n"
        "    import os, signal\n"
        "    if number == 1: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if number == 2: raise KeyError('x')\n"
        "    return 'other' if number == 3 else None\n"
        "kind.prepare = lambda folder: folder / 'made'\n"
        "def make(made, chance, folder):\n"
        "    number = len(made.read_text()) if made.exists() else 0\n"
        "    made.write_text('.' * (number + 1))\n"
        "    return f'number {number}', lambda: judge(number)\n"
        "kind.make = make\n"
        "sys.modules['bench.hostile.deadly'] = kind\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    outcome = run_in_batches("deadly", 5, 0, tmp_path)
    counts = (outcome.inputs, outcome.accepted, outcome.crashes, outcome.tracebacks, outcome.silent)
    assert counts == (5, 2, 1, 1, 1)
    assert "number 1: the process ended with status -11" in outcome.faults[0]


def test_the_command_prints_a_table_and_keeps_the_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kind", "tables", "--inputs", "8", "--output", str(tmp_path / "hostile.json")]) == 0
    assert "| tables | 8 |" in capsys.readouterr().out
    assert '"inputs": 8' in (tmp_path / "hostile.json").read_text()
