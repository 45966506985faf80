"""Mark descriptors: where the grid lies, what a place is called, and that light hardly changes what it looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.demo.synthetic_catalog import draw_whale, make_whale, random_conditions
from features.global_descriptor.network_input import IMAGENET_MEAN, IMAGENET_STD
from features.photo import canonical_frame, photo_from_array
from features.records import Frame, LocalFeatures, Regions
from features.skin.descriptors import (
    SkinExtractor,
    SkinSettings,
    cells_to_photo,
    describe_cells,
    find_skin_model,
    grid_cells,
    shipped_skin_models,
)
from scarmatch.settings import SettingsError


@pytest.fixture(scope="module")
def extractor() -> SkinExtractor:
    return SkinExtractor()


@pytest.fixture(scope="module")
def whale() -> np.ndarray:
    return draw_whale(make_whale(1), random_conditions(np.random.default_rng(4), "top", 2017)).rgb


def describe(extractor: SkinExtractor, rgb: np.ndarray, viewpoint: str = "top") -> LocalFeatures:
    photo = photo_from_array(rgb)
    return extractor.extract(photo, canonical_frame(photo.size, viewpoint))


def test_the_grid_keeps_inside_the_body() -> None:
    body = np.zeros((128, 64), bool)
    body[32:96, 16:48] = True
    cells = grid_cells(body, 4, SkinSettings(spacing=1, margin=4))
    assert cells[:, 0].min() == (32 + 4) // 4
    assert cells[:, 0].max() == (96 - 4) // 4 - 1
    assert cells[:, 1].min() == (16 + 4) // 4
    assert cells[:, 1].max() == (48 - 4) // 4 - 1


def test_too_many_places_make_the_grid_coarser() -> None:
    body = np.ones((128, 64), bool)
    everything = grid_cells(body, 4, SkinSettings(spacing=1, margin=0))
    assert len(everything) == 32 * 16
    assert 0 < len(grid_cells(body, 4, SkinSettings(spacing=1, margin=0, max_cells=100))) <= 100


def test_the_grid_is_regular_along_and_across() -> None:
    cells = grid_cells(np.ones((128, 64), bool), 4, SkinSettings(spacing=3, margin=0))
    assert sorted(set(cells[:, 0].tolist())) == list(range(0, 32, 3))
    assert sorted(set(cells[:, 1].tolist())) == list(range(0, 16, 3))
    assert len(cells) == len({tuple(cell) for cell in cells.tolist()}) == 11 * 6


def test_a_cell_lies_in_the_middle_of_its_pixels() -> None:
    # A photograph of half the network's size: a cell of 4 x 4 pixels of the input covers 2 x 2 of its own.
    cells = np.array([[0, 0], [3, 5]])
    np.testing.assert_allclose(cells_to_photo(cells, Frame((96, 256)), (192, 512)), [[0.5, 0.5], [10.5, 6.5]])
    # The same animal lying, its head to the left: three quarter turns bring it up.
    np.testing.assert_allclose(cells_to_photo(cells, Frame((256, 96), 3), (192, 512)), [[0.5, 95 - 0.5], [6.5, 84.5]])


class Shows(torch.nn.Module):
    """A network whose map is every fourth pixel of what it is shown."""

    dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.shown = torch.zeros(0)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.shown = batch
        return batch[:, :, ::4, ::4]


def test_a_cell_is_described_by_its_row_and_column_and_white_is_one() -> None:
    picture = np.zeros((8, 12, 3), np.uint8)
    picture[4, 0], picture[0, 8] = (255, 0, 0), (0, 0, 51)
    network = Shows()
    found = describe_cells(network, picture, np.array([[1, 0], [0, 2]]))  # type: ignore[arg-type]
    values = (np.array([[1, 0, 0], [0, 0, 0.2]]) - IMAGENET_MEAN) / IMAGENET_STD
    np.testing.assert_allclose(found, values / np.linalg.norm(values, axis=1, keepdims=True), atol=1e-3)
    np.testing.assert_allclose(network.shown[0, :, 4, 0], values[0], atol=1e-5)
    np.testing.assert_allclose(network.shown[0, :, 0, 8], values[1], atol=1e-5)


def test_marks_and_body_are_read_under_each_place(extractor: SkinExtractor, whale: np.ndarray) -> None:
    photo = photo_from_array(whale)
    height, width = whale.shape[:2]
    across = np.broadcast_to(np.arange(width, dtype=np.float32) / width, (height, width))
    along = np.broadcast_to(1 - np.arange(height, dtype=np.float32)[:, None] / height / 4, (height, width))
    frame = canonical_frame(photo.size, "top")
    found = extractor.extract(photo, frame, Regions(along.copy(), across.copy(), 1.0, 1.0))
    assert len(found) > 200
    np.testing.assert_allclose(found.marks, found.xy[:, 0] / width, atol=0.51 / width)
    np.testing.assert_allclose(found.body, 1 - found.xy[:, 1] / height / 4, atol=0.51 / height)


def test_record_is_well_formed(extractor: SkinExtractor, whale: np.ndarray) -> None:
    found = describe(extractor, whale)
    height, width = whale.shape[:2]
    assert 200 < len(found) <= extractor.settings.max_cells
    assert found.kind == "skin"
    assert found.descriptors.shape == (len(found), 64)
    assert ((found.xy >= 0) & (found.xy <= [width - 1, height - 1])).all()
    np.testing.assert_allclose(np.linalg.norm(found.descriptors.astype(np.float32), axis=1), 1.0, atol=5e-3)
    assert (found.body > 0.3).all()


def test_same_photograph_same_numbers(extractor: SkinExtractor, whale: np.ndarray) -> None:
    first, second = describe(extractor, whale), describe(extractor, whale)
    np.testing.assert_array_equal(first.descriptors, second.descriptors)


def test_places_stand_for_the_same_skin_when_the_photograph_lies(extractor: SkinExtractor, whale: np.ndarray) -> None:
    upright = describe(extractor, whale)
    turned = describe(extractor, np.ascontiguousarray(np.rot90(whale, 1)), "left")
    np.testing.assert_allclose(turned.canonical_xy, upright.canonical_xy, atol=1e-3)
    np.testing.assert_allclose(turned.descriptors.astype(np.float32), upright.descriptors.astype(np.float32), atol=2e-3)


def test_another_sun_changes_a_place_less_than_another_place_does(extractor: SkinExtractor, whale: np.ndarray) -> None:
    lit = np.clip(whale.astype(np.float32) * np.linspace(0.6, 1.3, whale.shape[1])[None, :, None], 0, 255)
    first, second = describe(extractor, whale), describe(extractor, lit.astype(np.uint8))
    places = {tuple(p): row for row, p in enumerate(np.rint(first.xy).astype(int).tolist())}
    common = [
        (places[tuple(p)], row) for row, p in enumerate(np.rint(second.xy).astype(int).tolist()) if tuple(p) in places
    ]
    assert len(common) > 100
    rows0, rows1 = np.array(common).T
    cosine = first.descriptors[rows0].astype(np.float32) @ second.descriptors[rows1].astype(np.float32).T
    own = np.diag(cosine)
    assert np.median(own) > 0.7
    assert (cosine.argmax(1) == np.arange(len(cosine))).mean() > 0.5


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 300), (40, 40)])
@pytest.mark.parametrize("value", [0, 255])
def test_tiny_and_blank_photographs_are_no_error(extractor: SkinExtractor, shape: tuple[int, int], value: int) -> None:
    found = describe(extractor, np.full((*shape, 3), value, np.uint8))
    assert found.descriptors.shape == (len(found), 64)


def test_an_unknown_network_is_named_with_those_there_are() -> None:
    assert "beluga-marks" in shipped_skin_models()
    with pytest.raises(SettingsError, match=r"nobody.*beluga-marks"):
        find_skin_model("nobody")


def test_weights_and_settings_are_in_the_fingerprint(tmp_path: Path) -> None:
    here = SkinExtractor()
    copy = tmp_path / "marks.safetensors"
    copy.write_bytes(find_skin_model("beluga-marks").read_bytes())
    assert SkinExtractor(SkinSettings(model=str(copy))).fingerprint() == here.fingerprint()
    assert SkinExtractor(SkinSettings(spacing=3)).fingerprint() != here.fingerprint()
