"""What reaches a terminal, a spreadsheet or a pipe: nothing steers it, nothing is lost, nothing raises."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.catalogue.csv_output import guarded, without_guard, write_csv
from engine.commands import console
from engine.commands.console import ProgressBar, TerminalStream, print_data
from features.global_descriptor.descriptor import same_descriptor

ROOT = Path(__file__).parents[2]
NAMES = ['=HYPERLINK("http://x")', "+1", "-2", "@SUM(1)", "\tx", "plain", "'quoted", "クジラ", ""]


def test_names_that_begin_like_formulas_stay_text_and_come_back(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": NAMES, "gap": [-1.5] * len(NAMES)})
    write_csv(table, tmp_path / "out.csv")
    written = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert not any(name.startswith(("=", "+", "-", "@", "\t")) for name in written["name"])
    assert written["gap"].tolist() == [-1.5] * len(NAMES)
    assert [without_guard(name) for name in written["name"]] == NAMES
    assert guarded(-3) == -3


def test_a_guarded_table_is_read_back_with_its_own_names(tmp_path: Path, made_up_dir: Path) -> None:
    photo = next((made_up_dir / "images").glob("*.jpg"))
    table = pd.DataFrame({"image_id": ["-one", "=two"], "path": [str(photo)] * 2, "individual_id": ["@a", "+b"]})
    write_csv(table, tmp_path / "catalogue.csv")
    catalog = Catalog.read(tmp_path / "catalogue.csv", allow_outside=True)
    assert sorted(catalog.ids) == ["-one", "=two"]
    assert sorted(catalog.table["individual_id"]) == ["+b", "@a"]


def test_escape_sequences_do_not_reach_a_terminal() -> None:
    target = io.StringIO()
    stream = TerminalStream(target)
    stream.write("a\x1b[2J\x1b]0;title\x07b\tc\r\nd\x9b1m \u202eback\n")
    text = target.getvalue()
    assert text.startswith("a")
    assert not any(sign in text for sign in "\x1b\x07\x9b\u202e")
    assert "\tc\r\n" in text


def test_data_that_an_encoding_lacks_is_written_whole(monkeypatch, capsys) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    print_data("image_id\nクジラ\n")
    sys.stdout.flush()
    assert raw.getvalue().decode("utf-8").split() == ["image_id", "クジラ"]
    assert "cp1252" in capsys.readouterr().err


def test_progress_in_a_file_is_a_line_now_and_then(monkeypatch, capsys) -> None:
    monkeypatch.setattr(console, "LINE_EVERY", 0.0)
    bar = ProgressBar("describing")
    bar(3, 1000)
    assert "describing: 3 of 1,000" in capsys.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals of a Unix")
def test_sigterm_stops_a_command_as_ctrl_c_does(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom engine.commands import main\nfrom engine.commands.info import COMMANDS\n"
        "def wait(options):\n    print('waits', flush=True)\n    time.sleep(60)\n"
        "COMMANDS['info'] = COMMANDS['info']._replace(run=wait)\n"
        "sys.exit(main.main(['info']))\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program], stdout=-1, stderr=-1, text=True, cwd=ROOT)
    assert run.stdout is not None and run.stdout.readline() == "waits\n"
    started = time.monotonic()
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=30)
    assert time.monotonic() - started < 10
    assert "stopped; what was computed is kept" in err
    assert run.returncode == 130


def test_a_name_that_standard_output_lacks_costs_nothing(tmp_path: Path, made_up_dir: Path) -> None:
    folder = tmp_path / "クジラ"
    folder.mkdir()
    (folder / "readme.csv").write_text("path,individual_id\nmissing.jpg,クジラ\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "engine.commands.main", "check", str(folder / "readme.csv")]
    run = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path)
    assert b"Traceback" not in run.stderr
    assert b"missing.jpg" in run.stdout + run.stderr


def test_descriptors_are_the_same_by_alias_by_names_and_by_file() -> None:
    assert same_descriptor("beluga", "beluga-lite0,beluga-skin")
    assert same_descriptor("runs/own.safetensors, beluga-skin", "own,beluga-skin")
    assert not same_descriptor("beluga", "beluga-skin,beluga-lite0")
    assert not same_descriptor("beluga", "efficientnet_lite0")
