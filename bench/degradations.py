"""Ways in which a photograph can be worse than it might have been, each a function of pixels.

All take and return (H, W, 3) uint8 RGB of an upright photograph from above (head up) and know nothing of where the
animal lies in it. They are formulas without chance: the same photograph gives the same pixels. Blur and brightness are
those of Katre and Jasapara's robustness table ("Classifying Marine Mammals Using Convolutional Neural Networks", 2024).
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from engine.catalogue.catalog import CatalogError
from engine.report.image_files import encode_jpeg, save_png
from features.records import ByteArray

Change = Callable[[ByteArray], ByteArray]


@dataclass(frozen=True)
class Degradation:
    """One way of spoiling a photograph.

    Attributes:
        name: as ``--only`` asks for it.
        group: what it belongs to in tables and plots.
        label: in words.
        change: from pixels to pixels.
    """

    name: str
    group: str
    label: str
    change: Change


def blur(rgb: ByteArray, sigma: float) -> ByteArray:
    """Blur with a Gaussian of standard deviation ``sigma`` in pixels of the photograph as it is."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.uint8)


def darken(rgb: ByteArray, share: float) -> ByteArray:
    """Multiply every value by ``share``."""
    return np.rint(rgb * share).astype(np.uint8)


def blur_and_darken(rgb: ByteArray, sigma: float, share: float) -> ByteArray:
    """Blur, then darken."""
    return darken(blur(rgb, sigma), share)


def recompress(rgb: ByteArray, quality: int) -> ByteArray:
    """Return what is left after JPEG of a quality (Pillow's scale, chroma at half size)."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(encode_jpeg(rgb, quality))).convert("RGB"))


def shrink(rgb: ByteArray, share: float) -> ByteArray:
    """Reduce both sides to ``share``, averaging areas; at least 8 pixels stay."""
    height, width = rgb.shape[:2]
    size = (max(8, round(width * share)), max(8, round(height * share)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def turn(rgb: ByteArray, degrees: float) -> ByteArray:
    """Turn clockwise about the middle; the picture grows to hold all of it, and edges are drawn out into the new room.

    So the body stays whole and no pixel is missing: what is measured is the turn alone.
    """
    height, width = rgb.shape[:2]
    angle = math.radians(abs(degrees))
    new_width = math.ceil(width * math.cos(angle) + height * math.sin(angle))
    new_height = math.ceil(width * math.sin(angle) + height * math.cos(angle))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    matrix[:, 2] += ((new_width - width) / 2, (new_height - height) / 2)
    return np.asarray(
        cv2.warpAffine(rgb, matrix, (new_width, new_height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def shift(rgb: ByteArray, share: float) -> ByteArray:
    """Move the crop by ``share`` of its sides to the right and down: as much is lost as edge pixels are drawn out."""
    height, width = rgb.shape[:2]
    dx, dy = round(width * share), round(height * share)
    return np.pad(rgb[dy:, dx:], ((0, dy), (0, dx), (0, 0)), mode="edge")


def tighten(rgb: ByteArray, share: float) -> ByteArray:
    """Cut ``share`` of the width off the left and right, and of the height off the top and bottom."""
    height, width = rgb.shape[:2]
    dx, dy = round(width * share), round(height * share)
    return np.ascontiguousarray(rgb[dy : height - dy, dx : width - dx])


def white_corners(rgb: ByteArray, share: float) -> ByteArray:
    """Make all four corners white: right triangles whose legs are ``share`` of the width and of the height."""
    height, width = rgb.shape[:2]
    x, y = np.arange(width)[None, :] + 0.5, np.arange(height)[:, None] + 0.5
    across, down = np.minimum(x, width - x) / (share * width), np.minimum(y, height - y) / (share * height)
    white = rgb.copy()
    white[across + down < 1.0] = 255
    return white


def half(rgb: ByteArray, front: bool) -> ByteArray:
    """Keep the front half of the photograph, where the head is, or the rear half."""
    middle = rgb.shape[0] // 2
    return np.ascontiguousarray(rgb[:middle] if front else rgb[middle:])


DEGRADATIONS: tuple[Degradation, ...] = (
    Degradation("blur-0.5", "blur", "Gaussian blur of 0.5 px", partial(blur, sigma=0.5)),
    Degradation("blur-1", "blur", "Gaussian blur of 1 px", partial(blur, sigma=1.0)),
    Degradation("blur-2", "blur", "Gaussian blur of 2 px", partial(blur, sigma=2.0)),
    Degradation("dark-70", "brightness", "brightness 70 %", partial(darken, share=0.7)),
    Degradation("dark-60", "brightness", "brightness 60 %", partial(darken, share=0.6)),
    Degradation("dark-50", "brightness", "brightness 50 %", partial(darken, share=0.5)),
    Degradation("both-0.5-70", "both", "blur 0.5 px, brightness 70 %", partial(blur_and_darken, sigma=0.5, share=0.7)),
    Degradation("both-1-60", "both", "blur 1 px, brightness 60 %", partial(blur_and_darken, sigma=1.0, share=0.6)),
    Degradation("both-2-50", "both", "blur 2 px, brightness 50 %", partial(blur_and_darken, sigma=2.0, share=0.5)),
    Degradation("jpeg-50", "JPEG", "JPEG, quality 50", partial(recompress, quality=50)),
    Degradation("jpeg-20", "JPEG", "JPEG, quality 20", partial(recompress, quality=20)),
    Degradation("small-50", "size", "reduced to 50 %", partial(shrink, share=0.5)),
    Degradation("small-25", "size", "reduced to 25 %", partial(shrink, share=0.25)),
    Degradation("turn-10", "turn", "turned by 10°", partial(turn, degrees=10.0)),
    Degradation("turn-20", "turn", "turned by 20°", partial(turn, degrees=20.0)),
    Degradation("crop-shifted", "crop", "crop shifted by 10 %", partial(shift, share=0.1)),
    Degradation("crop-tight", "crop", "crop 10 % too tight on every side", partial(tighten, share=0.1)),
    Degradation("white-corners", "missing", "white corners, an eighth of the area", partial(white_corners, share=0.25)),
    Degradation("front-half", "missing", "front half of the body only", partial(half, front=True)),
    Degradation("rear-half", "missing", "rear half of the body only", partial(half, front=False)),
)  # fmt: skip


def named(names: list[str] | None) -> tuple[Degradation, ...]:
    """Return the degradations of these names in the table's order, all of them if None or empty.

    Raises:
        CatalogError: there is none of that name.
    """
    known = {one.name: one for one in DEGRADATIONS}
    unknown = [name for name in names or [] if name not in known]
    if unknown:
        raise CatalogError(f"no degradation is called {unknown[0]!r}; there are: {', '.join(known)}")
    return tuple(one for one in DEGRADATIONS if not names or one.name in names)


def spoil(rgb: ByteArray, degradation: Degradation, path: Path) -> Path:
    """Write a spoilt copy of a photograph as PNG, so that nothing is lost but what the degradation takes."""
    return save_png(path, degradation.change(rgb))
