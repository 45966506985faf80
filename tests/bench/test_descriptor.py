"""Training and measuring descriptors from the command line, on a small made-up catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.descriptor import main, parse_options
from engine.demo.synthetic_catalog import SyntheticSettings, make_catalog

OPTIONS = {"backbone": "basic_cnn", "input_size": "(48,96)", "epochs": "1", "embedding": "16", "batch": "4"}


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made_up")
    make_catalog(folder, SyntheticSettings(individuals=6, photographs=40, length=120.0))
    return folder


def test_train_ship_and_eval(made_up: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [word for key, value in OPTIONS.items() for word in ("--set", f"{key}={value}")]
    main(["train", str(made_up), "--output", str(tmp_path / "run"), *options, "--set", "augmentation.glint=1.0"])
    assert (tmp_path / "run" / "model.safetensors").is_file()
    shipped = tmp_path / "small.safetensors"
    main(["ship", str(tmp_path / "run" / "model.safetensors"), str(shipped)])
    assert shipped.stat().st_size < 0.6 * (tmp_path / "run" / "model.safetensors").stat().st_size
    capsys.readouterr()
    main(["eval", str(made_up), "--model", str(shipped), "--individuals", "all"])
    printed = capsys.readouterr().out
    assert "| top: all years | other_encounter |" in printed
    assert "later year -> all earlier years" in printed


def test_options_are_read_as_literals() -> None:
    read = parse_options(["epochs=3", "loss=arcface", "augmentation.blur=0.5", "input_size=(96,256)"])
    assert read == {"epochs": 3, "loss": "arcface", "augmentation": {"blur": 0.5}, "input_size": (96, 256)}
    with pytest.raises(SystemExit, match="KEY=VALUE"):
        parse_options(["epochs"])


def test_committed_figures_are_those_of_the_card() -> None:
    """The model cards quote the committed result."""
    from bench.machine import RESULTS
    from features.global_descriptor.descriptor import SHIPPED_FOLDER

    figures = json.loads((RESULTS / "descriptor.json").read_text(encoding="utf-8"))["figures"]
    cards = {"beluga-lite0": "beluga-lite0", "beluga-skin": "beluga-skin", "beluga": "beluga-skin"}
    measured = {result["model"]: result for result in figures}
    assert cards.keys() <= measured.keys()
    for model, name in cards.items():
        card = (SHIPPED_FOLDER / f"{name}.md").read_text(encoding="utf-8")
        best = measured[model]["protocols"][0]["map20"]
        assert f"{next(iter(best.values())):.3f}" in card
