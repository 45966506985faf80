"""The one command line: what it lists, what it refuses, and the scoring of any list of pairs."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import measurements
from bench.command import main, run
from engine.catalogue.catalog import Catalog

QUICK = ["--set=describe.keypoints.max_keypoints=128", "--set=describe.keypoints.long_side=384"]


def test_it_lists_every_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [*measurements.NAMES, "tables", "hostile"]
    assert main(["nothing"]) == 2


@pytest.mark.parametrize("name", measurements.NAMES)
def test_each_says_what_it_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert f"python -m bench {name}" in capsys.readouterr().out


def test_a_user_s_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["descriptor", str(tmp_path / "nothing")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert main(["descriptor", str(tmp_path), "--set", "no.such=1"]) == 1
    assert "no option" in capsys.readouterr().err


def test_pictures_stay_out_of_the_repository(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("errors", [*arguments, "--pictures", str(Path(__file__).parent / "pictures")])
    assert "outside" in (err := capsys.readouterr().err) or "elsewhere" in err


def test_any_list_of_pairs_is_scored(made_up_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = Catalog.read(made_up_dir).table
    top = table[table["viewpoint"] == "top"]
    same = [rows["image_id"].tolist()[:2] for _, rows in top.groupby("encounter_id") if len(rows) > 1][:3]
    firsts = top.drop_duplicates("individual_id")["image_id"].tolist()
    pairs = pd.DataFrame([*same, *itertools.pairwise(firsts)], columns=["image_id0", "image_id1"])
    pairs["note"] = "kept"
    files = [f"--pairs={tmp_path / 'pairs.csv'}", f"--output={tmp_path / 'scores.csv'}"]
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    options = [f"--catalog={made_up_dir}", *files, f"--store={tmp_path / 'store'}", "--workers=1", *QUICK]
    assert main(["pairs", *options]) == 0
    scored = pd.read_csv(tmp_path / "scores.csv")
    assert scored[["image_id0", "image_id1", "note"]].equals(pairs)
    true = np.arange(len(scored)) < len(same)
    assert scored["score"][true].min() > scored["score"][~true].mean()
    pairs.assign(image_id1="nobody").to_csv(tmp_path / "pairs.csv", index=False)
    assert main(["pairs", *options]) == 1
    assert "'nobody'" in capsys.readouterr().err
    pairs.drop(columns=["image_id0"]).to_csv(tmp_path / "pairs.csv", index=False)
    assert main(["pairs", *options]) == 1
    assert "lacks the column image_id0" in capsys.readouterr().err


def test_every_scenario_has_its_script() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "bench.scenarios.scenario07", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "--only" in found.stdout
    for number in range(1, 11):
        text = (Path(measurements.__file__).parents[1] / "scenarios" / f"scenario{number:02d}.py").read_text(
            encoding="utf-8"
        )
        assert f'"--only", "{number}"' in text
