"""Made-up species: the same bytes from the same seed, no animal in two parts, photographs that differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.catalogue.catalog import Catalog
from engine.demo.coats import make_coat
from engine.demo.species import (
    BY_CAMERA_TRAP,
    BY_DAY,
    SPECIES,
    SpeciesSettings,
    coat_of,
    draw_animal,
    make_species,
    random_scene,
)
from scarmatch.settings import SettingsError


def test_a_catalogue_is_read_with_and_without_views_and_comes_again_to_the_byte(tmp_path: Path) -> None:
    settings = SpeciesSettings(species="stripes", individuals=2, photographs=3)
    named = Catalog.read(make_species(tmp_path / "a", settings))
    assert named.table["viewpoint"].tolist() == ["left", "right", "left"] * 2
    assert named.table["individual_id"].nunique() == 2
    folders = Catalog.read(make_species(tmp_path / "b", settings.replace(views=False)))
    assert folders.table["viewpoint"].isna().all()
    assert sorted(folders.table["individual_id"]) == sorted(named.table["individual_id"])
    for path in named.table["path"]:
        twin = tmp_path / "b" / Path(path).relative_to(tmp_path / "a")
        assert Path(path).read_bytes() == twin.read_bytes()


@pytest.mark.parametrize("species", SPECIES)
def test_every_coat_is_its_own(species: str) -> None:
    settings = SpeciesSettings(species=species)
    first = coat_of(settings, 0, "left").texture
    assert first.dtype == np.float32 and first.min() >= 0 and first.max() <= 1.5
    for other in (
        coat_of(settings, 1, "left"),
        coat_of(settings, 0, "right"),
        coat_of(settings.replace(part="train"), 0, "left"),
        coat_of(settings.replace(seed=1), 0, "left"),
    ):
        assert correlation(first, other.texture) < 0.5
    assert np.array_equal(coat_of(settings, 0, "left").texture, first)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """How alike two textures are once the gradient from back to belly, which all share, is taken out."""
    flat = [(image - image.mean(axis=1, keepdims=True)).mean(axis=2).ravel() for image in (first, second)]
    return float(np.corrcoef(*flat)[0, 1])


@pytest.mark.parametrize("flank", ["left", "right"])
def test_the_head_is_at_the_flank_s_own_end(flank: str) -> None:
    coat = make_coat("spots", np.random.default_rng(0))
    coat.texture[:, :200] = (1.0, 0.0, 0.0)  # a red head
    rng = np.random.default_rng(1)
    scene = random_scene(rng)
    picture = draw_animal(coat, scene, flank, rng).astype(int)
    red = (picture[:, :, 0] - picture[:, :, 1:].max(axis=2)).clip(0)
    middle = (red.sum(axis=0) * np.arange(red.shape[1])).sum() / red.sum() / red.shape[1]
    assert (middle < 0.45) == (flank == "left")


@pytest.mark.parametrize("species", SPECIES)
def test_photographs_of_one_coat_differ_in_size_light_and_surroundings(species: str) -> None:
    coat = coat_of(SpeciesSettings(species=species), 0, "left")
    pictures = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        pictures.append(draw_animal(coat, random_scene(rng), "left", rng))
    assert len({picture.shape for picture in pictures}) > 3
    brightness = [float(picture.mean()) for picture in pictures]
    assert max(brightness) - min(brightness) > 15
    sharpness = [cv2.Laplacian(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var() for p in pictures]
    assert max(sharpness) > 1.5 * min(sharpness)


def test_a_camera_trap_shows_less_of_the_same_coat() -> None:
    coat, shown = coat_of(SpeciesSettings(species="rosettes"), 0, "left"), {}
    for name, conditions in (("day", BY_DAY), ("trap", BY_CAMERA_TRAP)):
        rngs = [np.random.default_rng(seed) for seed in range(12)]
        pictures = [draw_animal(coat, random_scene(rng, conditions), "left", rng) for rng in rngs]
        grey = [cv2.GaussianBlur(cv2.cvtColor(p, cv2.COLOR_RGB2GRAY), (0, 0), 1.0) for p in pictures]
        detail = np.median([cv2.Laplacian(g, cv2.CV_64F).var() for g in grey])
        shown[name] = (
            np.median([p.shape[0] * p.shape[1] for p in pictures]),
            np.mean([p.mean() for p in pictures]),
            detail,
        )
    for day, trap in zip(shown["day"], shown["trap"], strict=True):
        assert trap < 0.9 * day


def test_an_animal_at_any_angle_is_whole_and_names_no_flank(tmp_path: Path) -> None:
    settings = SpeciesSettings(species="spots", individuals=2, photographs=6, any_angle=True)
    table = Catalog.read(make_species(tmp_path, settings)).table
    assert table["viewpoint"].isna().all()
    shapes = [cv2.imread(path).shape for path in table["path"]]
    tall = [height > width for height, width, _ in shapes]
    assert any(tall) and not all(tall)
    # Stood on end, nothing of it is cut off: as long as it would be lying.
    coat = coat_of(settings, 0, "left")
    scene = random_scene(np.random.default_rng(3))
    lying, standing = (
        draw_animal(coat, replace(scene, turn=turn, shown=(0.0, 1.0)), "left", np.random.default_rng(3))
        for turn in (0.0, np.pi / 2)
    )
    assert standing.shape[0] == pytest.approx(lying.shape[1], rel=0.15)


def test_unknown_species_and_parts_are_refused() -> None:
    for wrong in ({"species": "plain"}, {"part": "all"}, {"individuals": 0}):
        with pytest.raises(SettingsError):
            SpeciesSettings(**wrong)  # type: ignore[arg-type]
