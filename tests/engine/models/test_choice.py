"""The model that suits a catalogue: by species, by views, by the shape of photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.catalogue.catalog import Catalog
from engine.commands.main import main
from engine.models.choice import choose_model
from engine.search.matcher import Matcher


def catalogue(
    folder: Path, sizes: list[tuple[int, int]], columns: str = "", values: list[str] | None = None
) -> Catalog:
    """Write photographs of these (width, height) and a table with more columns."""
    folder.mkdir()
    lines = [f"image,individual{columns}"]
    for number, (width, height) in enumerate(sizes):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((height, width, 3), 90, np.uint8))
        lines.append(f"{number}.png,a{number}{(values or [''] * len(sizes))[number]}")
    (folder / "catalog.csv").write_text("\n".join(lines) + "\n")
    return Catalog.read(folder)


def test_made_up_whales_from_above_get_the_belugas_model(made_up_dir: Path) -> None:
    assert choose_model(Catalog.read(made_up_dir)).name == "beluga"


@pytest.mark.parametrize(
    ("views", "chosen"),
    [(["top", "top", "left"], "beluga"), (["left", "right", "top"], "generic"), (["left", "left", "right"], "generic")],
)
def test_named_views_decide(tmp_path: Path, views: list[str], chosen: str) -> None:
    sizes = [(30, 90), (30, 90), (30, 90)]  # the shape is not asked where the view is known
    found = choose_model(catalogue(tmp_path / "c", sizes, ",viewpoint", [f",{view}" for view in views]))
    assert found.name == chosen
    assert f"{views.count('top') / 3:.0%}" in found.reason


def test_where_no_view_is_named_the_shape_decides(tmp_path: Path) -> None:
    assert choose_model(catalogue(tmp_path / "tall", [(30, 90)] * 3)).name == "beluga"
    assert choose_model(catalogue(tmp_path / "wide", [(90, 60)] * 3)).name == "generic"
    assert choose_model(catalogue(tmp_path / "even", [(60, 60)] * 3)).name == "generic"


def test_a_matcher_for_a_catalogue_has_the_model_that_suits_it(tmp_path: Path) -> None:
    for shape, name in (((30, 90), "beluga"), ((90, 60), "generic")):
        photographs = catalogue(tmp_path / name, [shape] * 3)
        for catalog in (photographs, tmp_path / name):
            matcher = Matcher.for_catalog(catalog, store=tmp_path / "store", workers=1)
            assert (matcher.model.name, matcher.workers) == (name, 1)
    assert Matcher(workers=1).model.name == "beluga"


def test_another_species_is_told_by_its_name(tmp_path: Path) -> None:
    tall = [(30, 90)] * 3
    zebras = choose_model(catalogue(tmp_path / "zebra", tall, ",species", [",zebra"] * 3))
    assert (zebras.name, zebras.reason) == ("generic", "the catalogue shows 'zebra'")
    assert choose_model(catalogue(tmp_path / "b", tall, ",species", [",Beluga_Whale"] * 3)).name == "beluga"


def test_the_choice_is_said_once_and_a_named_model_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue(tmp_path / "wide", [(90, 60)] * 2)
    quick = ["--set=describe.keypoints.max_keypoints=16", "--set=describe.keypoints.long_side=64", "--workers=1"]
    command = ["index", str(tmp_path / "wide"), f"--store={tmp_path / 'store'}", *quick]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert said.count("model: generic, because 0% of the photographs show an animal from above") == 1
    assert said.count("with --set describe.rotations=8") == 1, "the way out for animals without a pose"
    assert main([*command, "--set=describe.rotations=1"]) == 0
    assert "rotations" not in capsys.readouterr().err
    assert main([*command, "--model=generic"]) == 0
    assert "because" not in capsys.readouterr().err
