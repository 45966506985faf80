"""What commands show: progress on a terminal and in a file, tables, and names that no terminal should obey."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest

from engine.commands import console
from engine.commands.console import ProgressBar, printable
from engine.commands.matching import print_answers


def test_progress_in_a_file_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 10.0, 31.0, 40.0, 62.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    bar = ProgressBar("matching")
    for done in (1, 2000, 2500, 3000):
        bar(done, 3400)
    assert capsys.readouterr().err == "matching: 2,000 of 3,400\nmatching: 3,000 of 3,400\n"


def test_progress_on_a_terminal_is_a_bar_that_a_new_total_starts_anew(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = ProgressBar("describing")
    bar(3, 4)
    bar(4, 4)
    bar(1, 9)
    bar.close()
    text = capsys.readouterr().err
    assert "4/4" in text and "1/9" in text


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\x07\u202ec\nクジラ") == "a\ufffd[31mb\ufffd\ufffdc\ufffdクジラ"


def test_a_table_of_answers_marks_what_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"rank": 1, "probability": 0.875, "individual_id": None, "date": pd.NaT, "viewpoint": None}
    answers = pd.DataFrame([{**row, "mutual_nn_inliers": 12, "lightglue_inliers": pd.NA, "image_id": "a"}])
    print_answers("q\x1b", answers, 0.125)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "q\ufffd"
    assert lines[3].split() == ["1", "87.5%", "-", "-", "-", "12", "-", "a"]
    assert "have no names" in lines[4], "an animal without a name is no new individual"
    print_answers("q", answers.assign(individual_id="w1"), 0.125)
    assert capsys.readouterr().out.splitlines()[-1].split()[-1] == "12.5%"
    print_answers("q", answers.iloc[:0], 1.0)
    assert "no candidates" in capsys.readouterr().out


def test_a_name_that_the_encoding_lacks_costs_nothing() -> None:
    code = "from engine.commands import main as m; m._prepare_output(False); print('クジラ 1')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env={"PYTHONIOENCODING": "cp1252"}, check=True
    )
    assert done.stdout.decode("ascii").strip() == r"\u30af\u30b8\u30e9 1"
