"""Practically equal pictures: which pairs are compared, which count as one picture, and what comes first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.report.near_duplicates import near_duplicates
from features.records import Description

ALIKE, LESS_ALIKE, APART = (1.0, 0.0), (0.95, np.sqrt(1 - 0.95**2)), (0.0, 1.0)


def picture(seed: int) -> np.ndarray:
    """Return a (96, 48, 3) picture of coarse squares, all different."""
    squares = np.random.default_rng(seed).integers(40, 200, (12, 6), dtype=np.uint8)
    return np.repeat(cv2.resize(squares, (48, 96), interpolation=cv2.INTER_NEAREST)[:, :, None], 3, axis=2)


def index_of(folder: Path, *photographs: tuple[str, str, str, np.ndarray, tuple[float, float]]) -> CatalogIndex:
    """Return the index of photographs given as image id, individual, digest of the file, picture, descriptor."""
    names = [row[0] for row in photographs]
    for name, _, _, pixels, _ in photographs:
        cv2.imwrite(str(folder / f"{name}.png"), pixels)
    paths = [str(folder / f"{name}.png") for name in names]
    table = pd.DataFrame({"image_id": names, "path": paths, "individual_id": [row[1] for row in photographs]})
    return CatalogIndex(
        Catalog(table, folder),
        tuple(
            Description(name, f"{digest}:top", pixels.shape[1::-1], np.array(vector, np.float32), 9, 0.5, 2.0)
            for name, _, digest, pixels, vector in photographs
        ),
    )


def test_pictures_that_correlate_are_found_and_a_copy_under_another_name_comes_first(tmp_path: Path) -> None:
    one = picture(0)
    edited = one + np.uint8(10)
    edited[:8, :8] += 40  # one square of 72
    index = index_of(
        tmp_path,
        ("edited", "w1", "x", edited, ALIKE),
        ("first", "w1", "a", one, ALIKE),
        ("other", "w1", "b", picture(1), ALIKE),
        ("renamed", "w2", "a", one, LESS_ALIKE),
        ("unlike", "w1", "c", one, APART),  # the same picture, but the descriptors say that nobody need look
    )
    found = near_duplicates(index)
    # A cosine of 0.95 is compared too; 0 and 0.31 are below the bound.
    pairs = list(zip(found["image_id0"], found["image_id1"], strict=True))
    assert pairs[0] == ("first", "renamed")
    assert sorted(pairs) == [("edited", "first"), ("edited", "renamed"), ("first", "renamed")]
    assert found["same_individual"].tolist() == [False, False, True]
    assert found["same_file"].tolist() == [True, False, False]
    assert found["correlation"].tolist() == pytest.approx([1, 0.99, 0.99], abs=0.01)
    assert (found["individual0"].iloc[0], found["individual1"].iloc[0]) == ("w1", "w2")


def test_copies_of_one_file_count_without_being_read(tmp_path: Path) -> None:
    index = index_of(tmp_path, ("p", "w1", "a", picture(0), ALIKE), ("q", "w1", "a", picture(0), ALIKE))
    for path in index.catalog.table["path"]:
        Path(path).unlink()
    assert near_duplicates(index)["correlation"].tolist() == [1.0]
    another = dataclasses.replace(index.descriptions[1], key="b:top")
    assert near_duplicates(CatalogIndex(index.catalog, (index.descriptions[0], another))).empty


def test_a_picture_that_lies_is_compared_turned_on_its_long_side(tmp_path: Path) -> None:
    lying = np.ascontiguousarray(picture(0).transpose(1, 0, 2))
    index = index_of(tmp_path, ("p", "w1", "a", picture(0), ALIKE), ("q", "w1", "b", lying, ALIKE))
    assert near_duplicates(index)["correlation"].tolist() == pytest.approx([1], abs=1e-3)
