"""Keypoints come back where they are in the original photograph, whatever size the detector saw."""

from __future__ import annotations

import numpy as np
import pytest

from features.keypoints.detectors import KeypointExtractor, KeypointSettings
from features.photo import photo_from_array
from features.records import Frame
from scarmatch.settings import SettingsError


def blob(width: int, height: int, x: float, y: float, radius: float) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    bright = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return np.repeat((60 + 150 * bright)[:, :, None], 3, 2).round().astype(np.uint8)


@pytest.mark.parametrize("long_side", [80, 320, 640])
@pytest.mark.parametrize("turns", [0, 1, 3])
def test_pixel_centres_survive_resizing_and_turning(long_side: int, turns: int) -> None:
    """A blob at whole pixels is found there: a forgotten half pixel would shift it by up to 0.4."""
    settings = KeypointSettings(kind="sift", source="photograph", long_side=long_side, max_keypoints=8)
    photo = photo_from_array(blob(90, 160, 41, 100, 4.0))
    found = KeypointExtractor(settings).extract(photo, Frame(photo.size, turns))
    assert len(found)
    nearest = np.abs(found.xy - [41, 100]).max(axis=1).min()
    assert nearest < 0.2


def test_large_photographs_are_reduced() -> None:
    settings = KeypointSettings(kind="sift", long_side=600, max_pixels=40_000)
    photo = photo_from_array(blob(400, 400, 200, 200, 20.0))
    image, scale = KeypointExtractor(settings)._canonical_input(photo, Frame(photo.size))
    assert image.shape[0] * image.shape[1] <= 41_000
    assert scale[0] == pytest.approx(image.shape[1] / 400)


@pytest.mark.parametrize("options", [{"kind": "orb"}, {"source": "colour"}, {"max_keypoints": 0}])
def test_bad_options_are_refused(options: dict) -> None:
    with pytest.raises(SettingsError, match=str(next(iter(options)))):
        KeypointSettings(**options)
