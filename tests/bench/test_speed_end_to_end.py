"""The whole run on the made-up catalogue: three runs, each computing only what it must, and what follows from them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from bench.machine import read_result
from bench.speed import end_to_end, peak


def test_gflop_by_hand() -> None:
    # One keypoint, width one: per side 2 x 3 + 4 + 8 + 4 in a self block and one projection (2) less in a cross block.
    assert peak.layer_gflop(1, 1) == (pytest.approx(2 * 22e-9), pytest.approx(2 * 20e-9))
    self_block, cross_block = peak.layer_gflop(512)
    # The figure of the literature for nine layers, the first self block apart.
    assert peak.work_gflop(Counter({512: 1})) == pytest.approx(28.5, abs=0.1)
    assert peak.work_gflop(Counter({512: 3}), layers=1) == pytest.approx(3 * cross_block)
    assert self_block > cross_block
    assert peak.best_gflops(torch.float32, 1, rounds=1) > 1


def test_extrapolation_by_hand() -> None:
    run = {
        "stages": [
            {"name": "describing", "seconds": 10.0},
            {"name": "matching by skin", "seconds": 20.0},
            {"name": "matching by lightglue", "seconds": 5.0},
        ],
        "seconds_outside_stages": 1.0,
    }
    measured = {"photographs": 10, "pairs": 100, "second_looks": 50}
    found = end_to_end.extrapolate(run, measured, {"photographs": 30, "pairs": 1000, "second_looks": 100})
    parts = {"describing": 30.0, "matching by skin": 200.0, "matching by lightglue": 10.0, "outside stages": 10.0}
    assert found == {**parts, "seconds": 250.0}


def test_a_run_measures_what_it_says(
    made_up_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.machine.RESULTS", tmp_path)
    quick = ["describe.descriptor.model=efficientnet_lite0", "describe.descriptor.mirror=false"]
    quick += [
        "describe.keypoints.max_keypoints=96",
        "describe.keypoints.long_side=320",
        "shortlist.size=3",
        "shortlist.expansion=0",
    ]
    given = [str(made_up_dir), "--workers", "1", "--fraction", "0.004", "--growth-queries", "2"]
    for item in quick:
        given += ["--set", item]
    assert end_to_end.main([*given, "--store", str(tmp_path / "store"), "--result", "end_to_end"]) == 0
    figures = read_result(tmp_path / "end_to_end.json")["figures"]
    runs = {name: {s["name"]: s for s in run["stages"]} for name, run in figures["runs"].items()}
    nothing, known, everything = (runs[name] for name in end_to_end.RUNS)
    assert nothing["describing"]["computed"] == figures["measured"]["photographs"]
    assert known["describing"]["computed"] == everything["describing"]["computed"] == 0
    assert nothing["matching"]["computed"] == known["matching"]["computed"] > 0
    assert everything["matching"]["computed"] == 0
    assert nothing["matching"]["items"] == everything["matching"]["items"]
    assert figures["whole"]["queries"] >= figures["measured"]["queries"]
    assert figures["extrapolation"]["from nothing"]["seconds"] > figures["runs"]["from nothing"]["seconds"]
    assert [row["pairs"] for row in figures["growth"]] == [6, 6, 6]
    assert [row["times"] for row in figures["growth"]] == [1, 2, 4]
    assert 0 < figures["parts"]["share_of_best"] < 1.5
    assert not list((tmp_path / "store").iterdir())
    text = capsys.readouterr().out
    assert "EXTRAPOLATED" in text
    assert "GFLOP" in text


def test_a_store_that_holds_something_is_refused(made_up_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(SystemExit):
        end_to_end.main([str(made_up_dir), "--store", str(tmp_path)])
    assert (tmp_path / "precious").read_text() == "x"
