"""A small run of the fuzzer for tables, and proof that it notices what it looks for."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.hostile import tables
from bench.hostile.outcome import Outcome


def test_no_mutated_table_is_read_wrong_in_silence(tmp_path: Path) -> None:
    outcome = tables.run(150, 1, tmp_path)
    assert outcome.ok, "\n".join(outcome.faults)
    assert outcome.inputs == 150 == outcome.accepted + outcome.refused
    assert min(outcome.accepted, outcome.refused) > 30, "both valid and spoilt tables are among them"
    assert outcome.peak_bytes > 0


def test_the_same_seed_gives_the_same_inputs(tmp_path: Path) -> None:
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        outcome = tables.run(30, 5, tmp_path / name)
        runs.append((outcome.accepted, outcome.refused, outcome.faults))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("column", ["path", "individual_id", "viewpoint", "date", "timestamp", "box", "species"])
def test_a_reader_that_loses_a_column_is_caught(tmp_path: Path, column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = tables.read_catalog

    def forgetful(path: Path, **options: object) -> object:
        reading = read(path, **options)  # type: ignore[arg-type]
        blank = reading.table.assign(**{column: "/x" if column == "path" else None})
        return type(reading)(blank, reading.root, reading.source, reading.places, reading.problems)

    monkeypatch.setattr(tables, "read_catalog", forgetful)
    outcome = tables.run(24, 2, tmp_path)
    assert outcome.silent > 0
    assert any(column in fault for fault in outcome.faults)


def test_tracebacks_and_hangs_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, **options: object) -> pd.DataFrame:
        raise KeyError("x")

    def endless(path: Path, **options: object) -> pd.DataFrame:
        while True:
            pass

    monkeypatch.setattr(tables, "read_catalog", broken)
    assert tables.run(3, 0, tmp_path).tracebacks == 3
    monkeypatch.setattr(tables, "read_catalog", endless)
    monkeypatch.setattr(tables, "SECONDS", 0.05)
    outcome = tables.run(2, 0, tmp_path)
    assert (outcome.hangs, outcome.ok) == (2, False)


def test_outcomes_add_up() -> None:
    both = Outcome(2, accepted=1, refused=1, peak_bytes=7) + Outcome(1, silent=1, peak_bytes=5, faults=["x"])
    assert (both.inputs, both.silent, both.peak_bytes, both.ok) == (3, 1, 7, False)
    assert both.to_dict()["faults"] == ["x"]
