"""The documents show the results as they are, whichever of them are there."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from bench import measurements, tables
from bench.command import main
from bench.results import RESULTS


def test_the_documents_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tables", "--check"]) == 0, capsys.readouterr().err


def test_every_kept_result_is_of_a_measurement_that_there_is() -> None:
    assert {path.stem for path in RESULTS.glob("*.json")} <= {*measurements.NAMES, "hostile"}


def test_a_missing_result_leaves_its_place_empty_and_others_alone(tmp_path: Path) -> None:
    shutil.copy(RESULTS / "stages.json", tmp_path)
    text = "a\n<!-- stages -->\nold\n<!-- /stages -->\nb\n<!-- pairs -->\nold\n<!-- /pairs -->\n<!-- other -->\nkept\n"
    filled = tables.Tables(tmp_path).fill(text)
    assert "<!-- pairs -->\n<!-- /pairs -->" in filled
    assert "photographs a second" in filled and "old" not in filled and filled.endswith("<!-- other -->\nkept\n")
    assert tables.Tables(tmp_path).page().count("\n## ") == 1


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    record = json.loads((RESULTS / "stages.json").read_text(encoding="utf-8"))
    del record["figures"]["pairs"]
    (tmp_path / "stages.json").write_text(json.dumps(record), encoding="utf-8")
    (problem,) = tables.Tables(tmp_path).problems
    assert "missing figures ['pairs']" in problem and "python -m bench stages" in problem


def test_plots_are_found_from_where_the_document_lies(tmp_path: Path) -> None:
    for name in ("robustness.json", "robustness.png"):
        shutil.copy(RESULTS / name, tmp_path)
    text = "<!-- robustness -->\n<!-- /robustness -->\n"
    assert "](../bench/results/robustness.png)" in tables.Tables(tmp_path).fill(text, "../bench/results")


def test_the_command_names_what_was_not_left_as_it_is(tmp_path: Path) -> None:
    shutil.copy(RESULTS / "end_to_end.json", tmp_path)
    text = tables.Tables(tmp_path).fill("<!-- end_to_end -->\n<!-- /end_to_end -->\n")
    assert "`python -m bench end_to_end CATALOG --growth-queries 0 --only 'from nothing' --save`" in text
    (shown,) = tables.Tables(tmp_path)._shown
    flagged = dataclasses.replace(shown.result, name="species", protocol={"no_training": True, "species": ["spots"]})
    told = tables.command(tables.Shown("species", measurements.load("species"), flagged))
    assert told == "`python -m bench species --no-training --species spots --save`"
