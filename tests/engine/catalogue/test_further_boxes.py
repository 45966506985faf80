"""Further boxes of photographs: the table, its errors, and training with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.catalogue.catalog import Catalog
from engine.catalogue.further_boxes import read_boxes
from engine.catalogue.problems import CatalogError
from engine.commands.main import main


def test_boxes_are_read_in_both_spellings_without_repeats(made_up_dir: Path, tmp_path: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    first, second = catalog.ids[:2]
    corners = tmp_path / "corners.csv"
    corners.write_text(f"image_id,x,y,width,height\n{first},1,2,30,40\n{first},1,2,30,40\n{first},0.5,0,9.5,8\n")
    assert read_boxes(corners, catalog) == {first: ((1, 2, 30, 40), (0, 0, 10, 8))}
    cells = tmp_path / "cells.csv"
    cells.write_text(f'image_id,box,kind\n{second},"[3, 4, 5, 6]",fin\n{first},"(1, 1, 2, 2)",body\n')
    assert read_boxes(cells, catalog) == {second: ((3, 4, 5, 6),), first: ((1, 1, 2, 2),)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image_id,x,y\na,1,2\n", "columns are image_id, x, y"),
        ("image_id,x,y,width,height\nnobody,1,2,3,4\n", "line 2, column 'image_id'.*no photograph 'nobody'"),
        ("image_id,box\n{id},hello\n", "line 2, column 'box'"),
        ("image_id,x,y,width,height\n{id},1,2,3,4\n{id},1,2,-3,4\n", "line 3.*no area"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, said: str, made_up_dir: Path, tmp_path: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    path = tmp_path / "boxes.csv"
    path.write_text(text.replace("{id}", catalog.ids[0]))
    with pytest.raises(CatalogError, match=said):
        read_boxes(path, catalog)
    with pytest.raises(CatalogError, match="cannot be read"):
        read_boxes(tmp_path / "missing.csv", catalog)


def test_training_shows_what_every_box_holds_to_those_it_trains_on(made_up_dir: Path) -> None:
    from features.training.data import split_half
    from features.training.settings import TrainSettings
    from features.training.teaching_photos import read_cache

    table = Catalog.read(made_up_dir).table
    rows = [
        next(i for i, v in enumerate(table["individual_id"]) if v is not None and split_half(str(v)) == half)
        for half in (0, 1)
    ]
    chosen = table.iloc[rows].reset_index(drop=True)
    half = tuple(
        ((0, 0, int(width), int(height) // 2),) for width, height in zip(chosen["width"], chosen["height"], strict=True)
    )
    boxes = dict(zip(chosen["image_id"], half, strict=True))
    settings = TrainSettings(input_size=(32, 64), held_out="half", views="all")
    cache = read_cache(chosen.assign(more_boxes=chosen["image_id"].map(boxes)), settings)
    assert [len(more) for more in cache.copies] == [1, 0], "a held-out animal is measured in its own box"
    assert cache.copies[0][0].shape == cache.images[0].shape
    top = cache.images[0][: len(cache.images[0]) // 2].astype(float).mean(axis=(1, 2))
    seen = cache.copies[0][0].astype(float).mean(axis=(1, 2))
    seen = np.interp(np.linspace(0, 1, len(top)), np.linspace(0, 1, len(seen)), seen)
    assert np.corrcoef(top, seen)[0, 1] > 0.95, "the upper half of the photograph, enlarged"


def test_a_descriptor_is_trained_with_boxes_for_some_and_resumed_with_the_same_only(
    made_up_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = Catalog.read(made_up_dir)
    boxes = tmp_path / "boxes.csv"
    head = "image_id,x,y,width,height\n"
    boxes.write_text(head + "".join(f"{name},0,0,40,60\n" for name in catalog.ids[:5]))
    command = ["train-descriptor", str(made_up_dir), f"--output={tmp_path / 'out'}", "--backbone=basic_cnn"]
    command += ["--everybody", "--epochs=1", "--set=input_size=[32,64]", "--set=small_size=[32,64]", "--set=batch=16"]
    command += ["--recipe=colour", "--set=embedding=16"]
    assert main([*command, f"--boxes={boxes}"]) == 0
    said = capsys.readouterr()
    assert "5 further boxes of 5 photographs" in said.err
    assert "--set describe.descriptor.model=" in said.out and "--classifier" in said.out
    assert main([*command, f"--boxes={boxes}", "--resume"]) == 0
    boxes.write_text(head + f"{catalog.ids[0]},0,0,40,60\n")
    assert main([*command, f"--boxes={boxes}", "--resume"]) != 0
    assert "another training" in capsys.readouterr().err
