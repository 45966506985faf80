"""Training of mark descriptors: made-up views know where every place went, and a resumed training ends the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from features.training import skin
from features.training.checkpoint import CheckpointError
from features.training.skin import SkinTrainer
from features.training.skin_loss import correspondence_loss, sample_descriptors
from features.training.skin_photos import KnownPair, SkinPhotos
from features.training.skin_settings import SkinTrainSettings
from features.training.skin_views import Warp, render
from scarmatch.settings import SettingsError

SIZE = (64, 128)


def tiny(**changes: object) -> SkinTrainSettings:
    values = {"input_size": SIZE, "steps": 4, "real_steps": 2, "animals": 3, "real_animals": 2, "anchors": 16}
    return SkinTrainSettings(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photos() -> SkinPhotos:
    rng = np.random.default_rng(0)
    grey = rng.integers(60, 200, (8, SIZE[1], SIZE[0]), dtype=np.uint8)
    body = np.zeros_like(grey)
    body[:, 10:-10, 8:-8] = 255
    table = pd.DataFrame({"individual_id": list("aabbccdd"), "encounter_id": list("12121212")})
    return SkinPhotos(table, grey, body)


def test_a_warp_and_its_inverse_agree_within_a_fiftieth_of_a_pixel() -> None:
    rng = np.random.default_rng(2)
    places = rng.uniform((30, 60), (160, 450), (200, 2))
    for seed in range(5):
        warp = Warp.draw((192, 512), np.random.default_rng(seed))
        back = warp.to_photo(warp.to_view(places))
        assert np.linalg.norm(back - places, axis=1).max() < 0.02


def test_a_planted_mark_is_found_where_the_warp_says() -> None:
    grey = np.full((512, 192), 150, np.uint8)
    body = np.full_like(grey, 255)
    grey[298:303, 98:103] = 20
    warp = Warp.draw((192, 512), np.random.default_rng(7))
    picture, seen = render(grey, body, warp, np.random.default_rng(0), strength=0)
    y, x = np.unravel_index(picture[:, :, 1].argmin(), seen.shape)
    np.testing.assert_allclose([x, y], warp.to_view(np.array([100.0, 300.0])), atol=3)


def test_other_light_leaves_the_mark_the_darkest_place_of_the_skin() -> None:
    grey = np.full((512, 192), 150, np.uint8)
    grey[298:303, 98:103] = 20
    still = Warp.draw((192, 512), np.random.default_rng(0), strength=0)
    found = 0
    for seed in range(10):
        picture, _ = render(grey, np.full_like(grey, 255), still, np.random.default_rng(seed))
        y, x = np.unravel_index(picture[:, :, 0].argmin(), grey.shape)
        found += abs(x - 100) < 8 and abs(y - 300) < 8
    assert found >= 6


def test_descriptors_are_read_at_pixel_centres() -> None:
    cells = torch.zeros(2, 4, 2)
    cells[0, 3, 1] = 1.0
    cells[1] = 0.1
    # The middle of cell (row 3, column 1) of 4 x 4 pixels lies at pixel (5.5, 13.5).
    read = sample_descriptors(cells, np.array([[5.5, 13.5], [1.5, 1.5]]), (8, 16))
    assert read[0, 0] > 0.99
    assert read[1, 0] == 0


def test_the_loss_knows_right_from_wrong_and_spares_neighbours() -> None:
    skin = torch.nn.functional.normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    owner, places = np.zeros(6, np.int64), np.arange(12).reshape(6, 2) * 50.0
    scale = torch.tensor(20.0)
    right, share = correspondence_loss(skin, skin, owner, places, scale, near=10)
    wrong, none = correspondence_loss(skin, skin.roll(1, 0), owner, places, scale, near=10)
    assert share == 1
    assert none == 0
    assert right < wrong
    alone, _ = correspondence_loss(skin, skin, owner, places, scale, near=1e9)
    assert float(alone) == pytest.approx(0, abs=1e-6)


def test_only_places_of_one_animal_are_spared() -> None:
    # Two points at one place with one and the same skin: rivals if they are two animals', else neither competes.
    skin, place, scale = torch.tensor([[1.0, 0.0], [1.0, 0.0]]), np.array([[5.0, 5.0], [6.0, 5.0]]), torch.tensor(1.0)
    rivals, _ = correspondence_loss(skin, skin, np.array([0, 1]), place, scale, near=10)
    spared, _ = correspondence_loss(skin, skin, np.array([0, 0]), place, scale, near=10)
    assert float(rivals) == pytest.approx(np.log(2))
    assert float(spared) == pytest.approx(0)


def test_a_point_counts_where_it_lies_on_the_body_of_the_view(photos: SkinPhotos) -> None:
    still = Warp.draw(SIZE, np.random.default_rng(0), strength=0)
    points = np.array([[30, 60], [4, 60], [1, 60], [-5, 60], [30, 5], [30, 122], [70, 60], [30, 112]], np.float64)
    view = SkinTrainer(photos, tiny())._view(0, still, points, np.random.default_rng(0), 0.0)
    np.testing.assert_allclose(view.points, points, atol=0.02)
    assert view.inside.tolist() == [True, False, False, False, False, False, False, True]


def test_a_step_learns_from_points_that_both_views_show(photos: SkinPhotos, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = SkinTrainer(photos, tiny())
    views = trainer._batch(np.random.default_rng([trainer.settings.seed, 0, 0]))
    shown = [first.inside & second.inside for first, second in views]
    assert 0 < sum(mask.sum() for mask in shown) < sum(len(mask) for mask in shown)
    asked: list[tuple] = []

    def noted(*arguments: Any) -> tuple[torch.Tensor, float]:
        asked.append(arguments)
        return correspondence_loss(*arguments)

    monkeypatch.setattr(skin, "correspondence_loss", noted)
    trainer.one_step()
    ((_, _, owner, points1, _, _),) = asked
    assert owner.tolist() == [number for number, mask in enumerate(shown) for _ in range(mask.sum())]
    expected = np.concatenate([second.points[mask] for (_, second), mask in zip(views, shown, strict=True)])
    np.testing.assert_array_equal(points1, expected)


def test_a_known_pair_s_points_stay_with_their_photographs(photos: SkinPhotos, monkeypatch) -> None:
    places = np.stack(np.meshgrid(np.arange(12, 52, 6), np.arange(16, 112, 8)), -1).reshape(-1, 2).astype(np.float32)
    pair = KnownPair(4, 5, places, places + np.float32([2, -3]))
    trainer = SkinTrainer(photos, tiny(), None, "real", [pair])
    monkeypatch.setattr(trainer, "_view", lambda row, warp, points, rng, strength: (row, points))
    orders = set()
    for seed in range(8):
        views = trainer._real_views([pair], np.random.default_rng(seed))
        orders.add(tuple(row for row, _ in views))
        of = dict(views)
        np.testing.assert_array_equal(of[5] - of[4], np.broadcast_to([2, -3], of[4].shape))
    assert orders == {(4, 5), (5, 4)}


@pytest.mark.parametrize("stage", ["made-up", "real"])
def test_a_resumed_training_ends_with_the_same_weights(stage: str, photos: SkinPhotos, tmp_path: Path) -> None:
    places = np.stack(np.meshgrid(np.arange(12, 52, 6), np.arange(16, 112, 8)), -1).reshape(-1, 2).astype(np.float32)
    pairs = [KnownPair(row, row + 1, places, places) for row in (0, 2, 4)] if stage == "real" else []
    settings = tiny(real_steps=4)
    whole = SkinTrainer(photos, settings, tmp_path / "whole", stage, pairs).run()
    SkinTrainer(photos, settings, tmp_path / "halves", stage, pairs).run(stop_after=2)
    resumed = SkinTrainer(photos, settings, tmp_path / "halves", stage, pairs).run(resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    start = SkinTrainer(photos, settings, None, stage, pairs).network
    assert not torch.equal(start.project.weight, whole.project.weight)
    assert torch.equal(start.stem.weight, whole.stem.weight), "the stem stays as ImageNet made it"


def test_a_checkpoint_of_other_settings_is_refused(photos: SkinPhotos, tmp_path: Path) -> None:
    SkinTrainer(photos, tiny(), tmp_path).run(stop_after=1)
    with pytest.raises(CheckpointError, match="another training"):
        SkinTrainer(photos, tiny(seed=1), tmp_path).run(resume=True)


def test_too_few_individuals_are_told(photos: SkinPhotos) -> None:
    with pytest.raises(SettingsError, match="4 individuals"):
        SkinTrainer(photos, tiny(animals=5, real_animals=1))
    with pytest.raises(SettingsError, match="multiples of 8"):
        tiny(input_size=(60, 128))
