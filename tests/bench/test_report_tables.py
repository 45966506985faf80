"""The documents show the results as they are, whichever of them are there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from bench import report
from bench.machine import RESULTS, write_result
from bench.report import BLOCKS, CARD, FULL, README, TABLES, Report, accuracy_table, fill, main

INTERVAL = {"mean": 0.5, "low": 0.4, "high": 0.6}
CHANGE = {"mean": -0.123, "low": -0.2, "high": -0.1}
PLACES = "".join(f"<!-- {block.name} -->\nold\n<!-- /{block.name} -->\n" for block in BLOCKS if block.short)


def put(folder: Path, name: str, figures: dict | list, protocol: dict | None = None) -> None:
    write_result(name, figures, {}, {"queries": 60, "source": "made up"} | (protocol or {}), folder / f"{name}.json")


def block_of(text: str, name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", text, re.DOTALL)
    assert found is not None
    return found[1]


def test_committed_files_show_the_committed_results() -> None:
    text = TABLES.read_text(encoding="utf-8")
    assert fill(text) == text, "run `python -m bench.report`"
    readme = README.read_text(encoding="utf-8")
    assert Report().fill_readme(readme) == readme, "run `python -m bench.report`"
    assert "| top: all years, matches of other encounters only | " in readme
    assert Report().page() == FULL.read_text(encoding="utf-8"), "run `python -m bench.report`"
    card = CARD.read_text(encoding="utf-8")
    assert Report().fill_card(card) == card, "run `python -m bench.report`"
    assert "| top: all years | other encounter |" in card


def test_the_card_is_filled_between_its_marks_alone() -> None:
    filled = Report().fill_card("before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n")
    assert filled.startswith("before\n<!-- figures -->\n| question | matches | cosine |")
    assert filled.endswith("<!-- /figures -->\nafter\n") and "old" not in filled
    assert "Expected calibration error" in filled
    with pytest.raises(ValueError, match=r"ranker-aliked\.md has no place for the block 'figures'"):
        Report().fill_card("no place here")


def test_without_results_nothing_dangles(tmp_path: Path) -> None:
    shown = Report(tmp_path)
    text = shown.fill(PLACES)
    assert "old" not in text
    assert all(block_of(text, block.name) == "" for block in BLOCKS if block.short)
    assert "##" not in shown.page()
    assert shown.problems == []


@pytest.mark.parametrize("name", ["accuracy", "descriptor", "pairs", "stages"])
def test_each_result_alone_is_shown_alone(name: str, tmp_path: Path) -> None:
    shutil.copy(RESULTS / f"{name}.json", tmp_path)
    shown = Report(tmp_path)
    block = next(block for block in BLOCKS if block.name == name)
    page = shown.page()
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == [block.title]
    assert f"(#{block.title.lower().replace(' ', '-').replace(',', '')})" in page
    text = shown.fill(PLACES)
    for other in (b for b in BLOCKS if b.short):
        assert bool(block_of(text, other.name)) == (other.name == name)


def test_damaged_results_are_named_and_left_out(tmp_path: Path) -> None:
    (tmp_path / "accuracy.json").write_text("{", encoding="utf-8")
    put(tmp_path, "stages", {"of": "an older layout"})
    put(tmp_path, "crossvalidated", {})
    shown = Report(tmp_path)
    assert len(shown.problems) == 3
    assert all(any(name in line for line in shown.problems) for name in ("accuracy", "stages", "crossvalidated"))
    assert block_of(shown.fill(PLACES), "accuracy") == ""
    assert "##" not in shown.page()


def test_a_block_without_a_place_is_named() -> None:
    with pytest.raises(ValueError, match="accuracy"):
        fill("no place here")


def test_the_readme_has_main_rows_only() -> None:
    result = json.loads((RESULTS / "accuracy.json").read_text(encoding="utf-8"))
    every, few = accuracy_table(result), accuracy_table(result, main_rows=True)
    assert set(few.splitlines()) < set(every.splitlines())
    assert " within |" in every
    assert " within |" not in few
    for line in (
        "| top: all years | other encounters |",
        "| lateral -> top | all |",
        "| top: 2019 -> 2017+2018 | all |",
    ):
        assert line in few
    assert "2019 -> 2018 |" not in few


def test_commands_are_those_that_make_the_result_again(tmp_path: Path) -> None:
    put(tmp_path, "new_individual", {"decisions": [], "searched": {}}, {"queries": 240})
    page = Report(tmp_path).page()
    assert "`python -m bench.new_individual CATALOG --queries 240 --result new_individual`" in page
    assert "source: made up" in page


def robustness() -> dict:
    def record(name: str, label: str, change: dict) -> dict:
        head = {"degradation": name, "group": "g", "label": label, "scorer": "cosine", "rule": "all"}
        return head | {"queries": 60, "individuals": 50, "map20": INTERVAL, "map20_change": change}

    zero = {"mean": 0.0, "low": 0.0, "high": 0.0}
    records = [record("none", "as it is", zero), record("a", "little", zero), record("b", "much", CHANGE)]
    return {"photographs": 9, "individuals": 3, "queries": 60, "records": records}


def test_robustness_names_the_worst_and_shows_its_plot_where_there_is_one(tmp_path: Path) -> None:
    put(tmp_path, "robustness", robustness())
    text = block_of(Report(tmp_path).fill(PLACES), "robustness")
    assert "most is lost by: much -0.123 (-0.200 … -0.100), little" in text
    assert "![" not in text
    (tmp_path / "robustness.png").write_bytes(b"")
    assert "](../bench/results/robustness.png)" in block_of(Report(tmp_path).fill(PLACES), "robustness")
    assert "](results/robustness.png)" in Report(tmp_path).page()


def test_peers_stand_beside_each_other(tmp_path: Path) -> None:
    record = {"queries": 60, "individuals": 50, "map20": INTERVAL, "top1": INTERVAL}
    records = [record | {"peer": "scarmatch", "rule": "all"}]
    records.append(record | {"peer": "other", "rule": "all", "difference": CHANGE, "called_new": 0.25})
    about = [{"peer": r["peer"], "source": "s", "seconds_photo": 0.1, "seconds_query": 1.5} for r in records]
    figures = {"photographs": 9, "individuals": 3, "queries": 60, "peers": about, "records": records}
    put(tmp_path, "peers", figures)
    shown = Report(tmp_path)
    short, page = block_of(shown.fill(PLACES), "peers"), shown.page()
    assert "| other | 0.500 (0.400–0.600) | 1.5 s |" in short
    assert "| other | -0.123 (-0.200 … -0.100) |" in page
    assert "calls 25% of the queries" in page


def test_scenarios_say_what_they_compare_with(tmp_path: Path) -> None:
    part = {"map20": INTERVAL, "top1": INTERVAL, "queries": 9, "cosine": {"map20": INTERVAL, "top1": INTERVAL}}
    part["recall"] = {"20": 0.5, "50": 0.7, "100": 0.9}
    record = {"scenario": "scenario01", "queries": 10, "individuals": 5, "database": 30, "official": INTERVAL}
    record |= {"all": part, "other_encounter": None}
    figures = {"scenarios": [record], "overall": INTERVAL, "queries": 10, "winners": None, "left_out": {}}
    figures |= {"unanswered": 0, "stages": []}
    put(tmp_path, "scenarios", figures)
    text = block_of(Report(tmp_path).fill(PLACES), "scenarios")
    assert "| 1: top, all years | 10 / 30 | 0.500 (0.400–0.600) | 0.500 | 0.70 | – |" in text
    assert "not comparable with the challenge's leaderboard" in text
    put(tmp_path, "scenarios", figures | {"winners": {"1st": 0.4954}})
    assert "1st 0.4954" in block_of(Report(tmp_path).fill(PLACES), "scenarios")


def test_ablation_shows_what_leaving_out_costs(tmp_path: Path) -> None:
    record = {"part": "top: all years", "protocol": "all", "queries": 60, "map20": INTERVAL, "difference": CHANGE}
    names = ("all evidence", "without geometry", "without the date", "date alone")
    put(tmp_path, "ablation", {"recipes": [record | {"recipe": name} for name in names]})
    text = block_of(Report(tmp_path).fill(PLACES), "ablation")
    assert "| all evidence | **0.500** |" in text
    assert "| without geometry | -0.123 (-0.200 … -0.100) |" in text
    assert "date alone" not in text
    assert "What the date adds" in text


def test_main_writes_both_files_and_check_notices_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, "robustness", robustness())
    tables, full = tmp_path / "how-good.md", tmp_path / "RESULTS.md"
    tables.write_text(PLACES, encoding="utf-8")
    (tmp_path / "README.md").write_text("nothing to fill\n", encoding="utf-8")
    monkeypatch.setattr(report, "README", tmp_path / "README.md")
    monkeypatch.setattr(report, "TABLES", tables)
    monkeypatch.setattr(report, "FULL", full)
    monkeypatch.setattr(report, "CARD", tmp_path / "card.md")
    (tmp_path / "card.md").write_text("nothing to fill\n", encoding="utf-8")
    monkeypatch.setattr(report, "Report", lambda: Report(tmp_path))
    assert main(["--check"]) == 1
    assert not full.exists()
    assert main([]) == 0
    assert main(["--check"]) == 0
    changed = robustness()
    changed["records"][2]["map20_change"] = {"mean": -0.3, "low": -0.4, "high": -0.2}
    put(tmp_path, "robustness", changed)
    assert main(["--check"]) == 1
    assert "out of date: how-good.md, RESULTS.md" in capsys.readouterr().err
    (tmp_path / "robustness.json").write_text("{", encoding="utf-8")
    assert main([]) == 1
    assert "robustness.json: not JSON" in capsys.readouterr().err
