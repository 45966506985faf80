"""What the global network is shown: the photograph in colour, or its skin with the light taken out.

In colour a network finds it easiest to learn the water and the light of an encounter, which all animals of that hour
share. Flattened, only local structure on the body is left: three copies of the lightness, each minus its local mean and
divided by its local deviation, at the scale of scars, finer and coarser; everything off the body is even grey.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from features.records import BoolArray, ByteArray, FloatArray, Frame, Photo, Regions
from features.regions import find_regions, flatten
from scarmatch.settings import SettingsError

INPUT_KINDS = ("colour", "flattened")
MARGIN = 4 / 3
"""Photographs are prepared larger than the network's input by this factor: training needs detail when it scales up."""

SCALES = (0.025, 0.01, 0.06)
"""Standard deviations of the flattening windows, shares of the prepared picture's longer side."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of each channel, for values in [0, 1]: what the published ImageNet weights expect."""

WATER = (72, 66, 58)
"""Colour of murky water, where a photograph has no valid pixel at all."""


def prepared_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a prepared picture for a network's input of that size."""
    return round(size[0] * MARGIN), round(size[1] * MARGIN)


def fill_missing(rgb: ByteArray, valid: BoolArray) -> ByteArray:
    """Replace missing pixels with the mean colour of the valid ones (a copy; the array itself if none is missing)."""
    if valid.all():
        return rgb
    filled = rgb.copy()
    filled[~valid] = rgb[valid].mean(axis=0).round().astype(np.uint8) if valid.any() else np.array(WATER, np.uint8)
    return filled


def resize(image: ByteArray, size: tuple[int, int]) -> ByteArray:
    """Resize to (width, height), averaging where the picture shrinks so that fine texture does not alias."""
    height, width = image.shape[:2]
    shrinks = width >= size[0] and height >= size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=method), np.uint8)


def network_picture(
    photo: Photo, frame: Frame, size: tuple[int, int], kind: str = "colour", regions: Regions | None = None
) -> ByteArray:
    """Turn a photograph into what a network is shown, before its colours are normalised.

    Args:
        photo: the photograph.
        frame: its turn to the head-up frame.
        size: (width, height) of the result.
        kind: one of :data:`INPUT_KINDS`.
        regions: body and marks on the photograph's grid; found here where they are needed and not given.

    Returns:
        (height, width, 3) uint8.

    Raises:
        SettingsError: no such kind.
    """
    if kind not in INPUT_KINDS:
        raise SettingsError(f"no input of a network is called {kind!r}; known: {', '.join(INPUT_KINDS)}")
    picture = resize(frame.turn(fill_missing(photo.rgb, photo.valid)), size)
    if kind == "colour":
        return picture
    if regions is None:
        regions = find_regions(photo, frame)
    return flattened(picture, body_picture(regions, frame, size) > 127)


def body_picture(regions: Regions, frame: Frame, size: tuple[int, int]) -> ByteArray:
    """Return the certainty of body times 255, head up and of a (width, height): (height, width) uint8."""
    return resize((frame.turn(regions.body) * np.float32(255)).astype(np.uint8), size)


def flattened(rgb: ByteArray, body: BoolArray) -> ByteArray:
    """(H, W, 3) colours and (H, W) body -> (H, W, 3) uint8: the lightness flattened at the three :data:`SCALES`."""
    return np.asarray(flattened_layers(rgb, body, SCALES) * np.float32(255), np.uint8)


def flattened_layers(rgb: ByteArray, body: BoolArray, scales: Iterable[float]) -> FloatArray:
    """(H, W, 3) colours and (H, W) body -> (H, W, scales) in [0, 1]: the lightness flattened at every scale."""
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    return np.dstack([flatten(grey, body, scale) for scale in scales])
