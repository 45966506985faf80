"""The command that trains what ships and its twins."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.train_models import NAMES, WHO, main, pack, render_plan, trainings
from engine.catalogue.catalog import Catalog
from scarmatch.errors import ScarmatchError
from scarmatch.settings import SettingsError

#: A colour network that is trained in a second.
QUICK = (
    "colour.backbone=basic_cnn",
    "colour.frozen_blocks=0",
    "colour.input_size=[32,64]",
    "colour.embedding=8",
    "colour.epochs=1",
    "colour.batch=8",
)


def test_the_halves_share_nobody_and_are_everybody(made_up_dir: Path, tmp_path: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    names = {
        one.who: set(one.catalog.table["individual_id"]) for one in trainings(catalog, tmp_path) if one.part == "skin"
    }
    assert names["half"] and names["other-half"]
    assert not names["half"] & names["other-half"]
    assert names["half"] | names["other-half"] == names["all"] == set(catalog.table["individual_id"].dropna())


def test_everybody_whom_a_part_is_given_teaches_it(made_up_dir: Path, tmp_path: Path) -> None:
    planned = trainings(Catalog.read(made_up_dir), tmp_path)
    assert [(one.who, one.part) for one in planned] == [(who, part) for who in WHO for part in NAMES]
    assert {one.settings.held_out for one in planned} == {"none"}


def test_a_part_is_trained_once_and_told_of_as_finished(
    made_up_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(made_up_dir), f"--output={tmp_path}", "--part=colour", "--who=other-half"]
    command += [f"--set={option}" for option in QUICK]
    assert main(command) == 0
    file = tmp_path / "beluga-lite0-other-half.safetensors"
    before = file.stat().st_mtime_ns
    assert "finished" not in capsys.readouterr().out
    assert main(command) == 0
    assert file.stat().st_mtime_ns == before
    assert "finished" in capsys.readouterr().out


def test_a_finished_network_can_be_used(made_up_dir: Path, tmp_path: Path) -> None:
    from features.model_file import load_embedder
    from features.model_header import read_header

    main([str(made_up_dir), f"--output={tmp_path}", "--part=colour", "--who=all", *(f"--set={o}" for o in QUICK)])
    file = tmp_path / f"{NAMES['colour']}.safetensors"
    assert read_header(file)["training"]["individuals"] > 2
    embedder, _ = load_embedder(file)
    assert embedder(torch.zeros(1, 3, 64, 32)).shape == (1, 8)


@pytest.mark.parametrize("option", ["epochs=3", "ears.epochs=3", "skin.epochs", "skin.ears=3"])
def test_an_option_of_no_part_is_refused(made_up_dir: Path, tmp_path: Path, option: str) -> None:
    with pytest.raises(SettingsError):
        trainings(Catalog.read(made_up_dir), tmp_path, options=[option])


def test_the_plan_says_what_is_left(made_up_dir: Path, tmp_path: Path) -> None:
    planned = trainings(Catalog.read(made_up_dir), tmp_path, ["marks"], ["all", "half"])
    planned[0].file.write_bytes(b"")
    lines = render_plan(planned).splitlines()
    assert "finished" in lines[0]
    assert "min of one core" in lines[1]
    assert lines[-1].startswith("in all")


def test_packed_photographs_are_a_catalogue_of_the_same_animals(made_up_dir: Path, tmp_path: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    limit = 400_000
    quality, size = pack(catalog, tmp_path / "packed", limit)
    packed = Catalog.read(tmp_path / "packed")
    labelled = catalog.table[catalog.table["individual_id"].notna()]
    same = ["image_id", "viewpoint", "date", "individual_id", "encounter_id"]
    assert packed.table[same].to_dict("list") == labelled[same].to_dict("list")
    assert size == sum(file.stat().st_size for file in (tmp_path / "packed" / "images").iterdir()) <= limit
    assert quality < 92
    with pytest.raises(ScarmatchError, match="exists"):
        pack(catalog, tmp_path / "packed")


def test_photographs_that_never_fit_are_refused(made_up_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ScarmatchError, match="do not fit"):
        pack(Catalog.read(made_up_dir), tmp_path / "packed", 1000)
    assert not (tmp_path / "packed").exists()
