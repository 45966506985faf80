"""What a network is shown: colours as they are, or skin without its light."""

from __future__ import annotations

import numpy as np
import pytest

from features.global_descriptor.network_input import body_picture, flattened, network_picture, prepared_size
from features.records import Frame, Photo, Regions
from features.regions import flatten
from scarmatch.settings import SettingsError

SIZE = (60, 160)


def whale(light: float = 1.0, tilt: float = 0.0) -> Photo:
    """A mottled body with a dark scratch in darker water, under some light that may differ from side to side."""
    y, x = np.mgrid[0:160, 0:60].astype(np.float32)
    body = ((x - 30) / 22) ** 2 + ((y - 80) / 70) ** 2 < 1
    value = np.where(body, 150.0, 60.0)
    value += 8 * np.random.default_rng(0).standard_normal((160, 60)).repeat(3, 0)[:160].repeat(3, 1)[:, :60]
    value[70:74, 18:34] -= 45 * body[70:74, 18:34]
    value = value * light * (1 + tilt * (x - 30) / 30)
    rgb = np.repeat(value[:, :, None], 3, axis=2).clip(0, 255).astype(np.uint8)
    return Photo(rgb, np.ones((160, 60), bool), "x")


def regions() -> Regions:
    y, x = np.mgrid[0:160, 0:60].astype(np.float32)
    body = (((x - 30) / 22) ** 2 + ((y - 80) / 70) ** 2 < 1).astype(np.float32)
    return Regions(body, np.zeros_like(body), float(body.mean()), 0.5)


def test_flattening_takes_the_light_and_the_water_away_and_leaves_the_scratch() -> None:
    frame = Frame((60, 160))
    pictures = [
        network_picture(photo, frame, SIZE, "flattened", regions()).astype(int)
        for photo in (whale(), whale(0.7), whale(1.0, 0.1))
    ]
    assert pictures[0].shape == (160, 60, 3)
    assert abs(pictures[0][:, :3] - 127).max() <= 1, "off the body nothing is shown"
    scratch, skin = pictures[0][72, 25, 0], pictures[0][100, 25, 0]
    assert scratch < skin - 20
    inside = regions().body > 0
    for other in pictures[1:]:
        assert np.corrcoef(other[inside].ravel(), pictures[0][inside].ravel())[0, 1] > 0.9, "another light, same skin"
    colours = [network_picture(p, frame, SIZE).astype(int) for p in (whale(), whale(0.7))]
    assert np.abs(colours[0] - colours[1])[inside].mean() > 30


def test_each_layer_has_its_own_scale() -> None:
    # Scars first, then what is finer, then what is coarser: the networks' weights know them in this order.
    body = regions().body > 0
    picture = flattened(whale().rgb, body).astype(int)
    for layer, scale in enumerate((0.025, 0.01, 0.06)):
        alone = np.asarray(flatten(whale().rgb[:, :, 0], body, scale) * 255)
        assert np.abs(picture[..., layer] - alone).max() <= 1 + 1e-3, "cut to whole numbers"
    assert np.abs(picture[..., 0] - picture[..., 1]).max() > 10
    assert np.abs(picture[..., 0] - picture[..., 2]).max() > 10


def test_the_body_is_turned_head_up_and_counts_from_one_half() -> None:
    # A photograph that lies, head to the left: three quarter turns bring the left half up.
    frame, body = Frame((100, 40), 3), np.full((40, 100), 0.4, np.float32)
    body[:, :50] = 0.6
    half = Regions(body, np.zeros_like(body), 0.5, 1.0)
    picture = body_picture(half, frame, (40, 100))
    assert (picture[:50] == 153).all()
    assert (picture[50:] == 102).all()
    rgb = np.random.default_rng(0).integers(0, 255, (40, 100, 3), dtype=np.uint8)
    shown = network_picture(Photo(rgb, np.ones((40, 100), bool), "x"), frame, (40, 100), "flattened", half).astype(int)
    assert np.abs(shown[50:] - 127).max() <= 1
    assert np.abs(shown[:50] - 127).max() > 50


def test_regions_are_found_where_they_are_not_given_and_kinds_are_checked() -> None:
    found = network_picture(whale(), Frame((60, 160)), SIZE, "flattened")
    assert found[72, 25, 0] < found[100, 25, 0]
    with pytest.raises(SettingsError, match="known: colour, flattened"):
        network_picture(whale(), Frame((60, 160)), SIZE, "grey")
    assert prepared_size((120, 320)) == (160, 427)
