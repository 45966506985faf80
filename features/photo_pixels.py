"""From what a file stores to upright RGB of eight bits: turning, boxes, depth, transparency, reduction.

What is kept of a large photograph is reduced by a whole number (:data:`KEPT_PIXELS`): no network looks at so many
pixels.
"""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.photo_error import PhotoError
from features.records import BoolArray, ByteArray

if TYPE_CHECKING:
    from PIL import Image

KEPT_PIXELS = 26_000_000
"""A photograph, or its animal's box, of more pixels is reduced by the smallest whole number that brings it below."""
_EXIF_ORIENTATION = 0x0112
_DEPTHS = (8, 10, 12, 14, 16)
_BAND = 256  # rows of the reduced photograph that are converted at a time


def clip_box(path: Path | None, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Cut a box (x, y, width, height) to the photograph; return its rows and columns."""
    width, height = size
    x, y, box_width, box_height = (round(value) for value in box)
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + box_width, width), min(y + box_height, height)
    if box_width <= 0 or box_height <= 0 or right <= left or bottom <= top:
        raise PhotoError(path, f"the box {tuple(box)} leaves nothing of a photograph of {width} x {height} pixels")
    return slice(top, bottom), slice(left, right)


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 when there is none or the EXIF block is damaged (the pixels are still good)."""
    try:
        value = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1
    return value if 1 <= value <= 8 else 1


def upright_rgb(
    path: Path, image: Image.Image, orientation: int, box: tuple[int, int, int, int] | None
) -> tuple[ByteArray, BoolArray | None]:
    """Cut out the box, reduce what is too large, turn it upright (EXIF 2.3, tag 0x0112), and convert it.

    In this order, so that a large photograph is never in memory twice.
    """
    from PIL import Image

    full = _full_scale(image)
    if box is not None:
        upright = image.size if orientation < 5 else image.size[::-1]
        rows, columns = clip_box(path, box, upright)
        image = image.crop(_stored_rectangle(rows, columns, upright, orientation))
    image = _reduced(image)
    operations = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    operation = operations.get(orientation)
    return _to_rgb(image if operation is None else image.transpose(operation), full)


def _stored_rectangle(
    rows: slice, columns: slice, upright: tuple[int, int], orientation: int
) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) in the stored picture of a box of the upright one of this (width, height)."""
    width, height = upright
    left, top, right, bottom = columns.start, rows.start, columns.stop, rows.stop
    if orientation in (2, 3, 6, 7):
        left, right = width - right, width - left
    if orientation in (3, 4, 7, 8):
        top, bottom = height - bottom, height - top
    return (left, top, right, bottom) if orientation < 5 else (top, left, bottom, right)


def reduction_factor(size: tuple[int, int]) -> int:
    """Return by what whole number a picture of this (width, height) is reduced; 1 for nearly all."""
    factor = 1
    while (size[0] // factor) * (size[1] // factor) > KEPT_PIXELS:
        factor += 1
    return factor


def _reduced(image: Image.Image) -> Image.Image:
    """Reduce a large picture by the mean of squares of pixels, a band at a time."""
    from PIL import Image

    factor = reduction_factor(image.size)
    if factor == 1:
        return image
    width, height = image.size
    parts = []
    for top in range(0, height, factor * _BAND):
        band = image.crop((0, top, width, min(top + factor * _BAND, height)))
        if band.mode.startswith("I;16"):
            band = band.convert("I")
        elif band.mode in {"1", "P", "PA"}:  # indices have no mean
            band = band.convert("RGBA" if band.mode == "PA" or "transparency" in band.info else "RGB")
        elif "transparency" in band.info:
            band = band.convert("RGBA")
        parts.append(band.reduce(factor))
    small = Image.new(parts[0].mode, (parts[0].width, sum(part.height for part in parts)))
    for number, part in enumerate(parts):
        small.paste(part, (0, number * _BAND))
    return small


def _to_rgb(image: Image.Image, full: float | None) -> tuple[ByteArray, BoolArray | None]:
    """Convert any mode to 8-bit RGB; transparent pixels become white and are reported as not opaque.

    Args:
        full: the value of white where the picture has more than 8 bits.
    """
    if full is not None:
        return np.repeat(_to_bytes(np.asarray(image), full)[:, :, None], 3, axis=2), None
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.asarray(image), None
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        opaque = rgba[:, :, 3] >= 128
        rgb = np.where(opaque[:, :, None], rgba[:, :, :3], np.uint8(255))
        return rgb, (None if opaque.all() else opaque)
    return np.asarray(image.convert("RGB")), None


def _full_scale(image: Image.Image) -> float | None:
    """Return the value of white in grey of 16 or 32 bits or of fractions; None for 8 bits.

    Cameras and microscopes store 10, 12 or 14 bits in files of 16, and no format says so reliably: white is taken to be
    the largest number of the fewest usual bits that hold the picture's largest value.
    """
    if not image.mode.startswith("I") and image.mode != "F":
        return None
    top = 0.0
    for row in range(0, image.height, _BAND):
        values = np.asarray(image.crop((0, row, image.width, min(row + _BAND, image.height))))
        top = max(top, float(values[np.isfinite(values)].max(initial=0)))
    if image.mode == "F":
        return next((full for full in (1.0, 255.0, 65535.0) if top <= full), top)
    return _white(top)


def _white(top: float) -> float:
    """Return the largest number of the fewest usual bits that hold a value."""
    return next((float(2**bits - 1) for bits in _DEPTHS if top <= 2**bits - 1), top)


def _to_bytes(values: npt.NDArray[Any], full: float) -> ByteArray:
    """Bring numbers from 0 to ``full`` to 0 to 255."""
    result = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _BAND):  # a band at a time: it takes 8 bytes a pixel
        numbers = np.nan_to_num(values[top : top + _BAND].astype(np.float64), posinf=full)
        result[top : top + _BAND] = np.clip(np.rint(numbers * (255.0 / full)), 0, 255)
    return result


def colour_bits(image: Image.Image) -> int:
    """Return the bits a channel of a colour picture that is not yet decoded: 16, or 8 for all else."""
    tiles: Any = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return 16 if image.mode in {"RGB", "RGBA", "LA"} and isinstance(raw, str) and ";16" in raw else 8


def rescaled_dark_colour(image: Image.Image, stream: BufferedReader) -> Image.Image | None:
    """Read 16-bit colour again where fewer bits are used, as 8-bit colour of the stored turn; None where all are.

    Pillow keeps the upper byte of each value, which leaves of 12 bits the upper four, in the dark. OpenCV reads both.
    """
    import cv2
    from PIL import Image

    bands = image.getextrema()
    colour = bands[:1] if image.mode == "LA" else bands[:3]
    if max(int(high) for _, high in colour) >= 64:  # type: ignore[misc]
        return None
    stream.seek(0)
    data = np.frombuffer(stream.read(), np.uint8)
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3 or values.shape[2] not in (3, 4):
        return None
    full = _white(float(values[:, :, :3].max(initial=0)))
    rgb = _to_bytes(values[:, :, 2::-1], full)
    if values.shape[2] == 3:
        return Image.fromarray(rgb)
    return Image.fromarray(np.dstack([rgb, _to_bytes(values[:, :, 3], 65535.0)]))
