"""The skin as a picture: head up, of one size, without light, and nothing but skin."""

from __future__ import annotations

import numpy as np
import pytest

from engine.demo.synthetic_catalog import draw_whale, make_whale, random_conditions
from features.photo import canonical_frame, photo_from_array
from features.records import ByteArray, Frame
from features.regions import find_regions
from features.skin.picture import NEUTRAL, SCALES, SIZE, UNSEEN, flattened_skin


@pytest.fixture(scope="module")
def whale() -> ByteArray:
    return draw_whale(make_whale(1), random_conditions(np.random.default_rng(4), "top", 2017)).rgb


def picture_of(rgb: ByteArray, frame: Frame | None = None) -> ByteArray:
    photo = photo_from_array(rgb)
    frame = frame or canonical_frame(photo.size, "top")
    return flattened_skin(photo, frame, find_regions(photo, frame))


def test_skin_takes_the_middle_of_its_levels_and_water_none(whale: ByteArray) -> None:
    picture = picture_of(whale)
    assert picture.shape == (SIZE[1], SIZE[0], len(SCALES)) and picture.dtype == np.uint8
    seen = picture != UNSEEN
    assert (seen == seen[:, :, :1]).all()
    assert 0.3 < seen.mean() < 0.8 and not seen[:4, :4].any()
    for layer in np.moveaxis(picture, 2, 0):
        assert layer[layer != UNSEEN].mean() == pytest.approx(NEUTRAL, abs=4)
        assert layer[layer != UNSEEN].std() > 15


def test_light_hardly_changes_it(whale: ByteArray) -> None:
    ramp = np.linspace(0.7, 1.15, whale.shape[1])[None, :, None]
    bright, dark = picture_of(whale), picture_of(np.clip(whale * ramp, 0, 254).astype(np.uint8))
    both = (bright[:, :, 0] != UNSEEN) & (dark[:, :, 0] != UNSEEN)
    for scale in range(len(SCALES)):
        assert np.corrcoef(bright[:, :, scale][both], dark[:, :, scale][both])[0, 1] > 0.95


def test_a_photograph_on_its_side_gives_the_picture_of_the_upright_one(whale: ByteArray) -> None:
    lying = np.ascontiguousarray(np.rot90(whale, -1))
    frame = Frame((lying.shape[1], lying.shape[0]), quarter_turns=1)
    np.testing.assert_array_equal(picture_of(lying, frame), picture_of(whale))


def test_where_nothing_is_seen_nothing_is_skin() -> None:
    assert (picture_of(np.full((200, 80, 3), 255, np.uint8)) == UNSEEN).all()
