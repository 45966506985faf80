"""The one place that opens a photograph's file: what may be opened, how large it may be, and its pixels.

Photographs come from strangers, by mail and from the web. Whatever is no regular file, is no photograph by its bytes
(:mod:`features.photo_formats`), or is larger than the limits is refused before it is decoded, and everything that a
decoder can raise ends in one exception, :class:`PhotoError`.

Memory is bounded by the limit of pixels, one to four bytes each while a file is decoded. What is kept of a large
photograph is reduced by a whole number (:data:`KEPT_PIXELS`): no network looks at so many pixels.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.photo_formats import pillow_formats, why_left_out
from features.records import BoolArray, ByteArray
from scarmatch.errors import ScarmatchError
from scarmatch.settings import SettingsError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 178_956_970
"""Most pixels of a file, Pillow's own limit; the environment variable SCARMATCH_MAX_PIXELS sets another."""

MAX_BYTES = 2 << 30
"""Most bytes of a file: more than the largest photograph needs without any compression."""

KEPT_PIXELS = 26_000_000
"""A photograph, or its animal's box, of more pixels is reduced by the smallest whole number that brings it below."""

_EXIF_ORIENTATION = 0x0112
_DEPTHS = (8, 10, 12, 14, 16)
_BAND = 256  # rows of the reduced photograph that are converted at a time


class PhotoError(ScarmatchError, ValueError):
    """A photograph cannot be used.

    Attributes:
        path: the file (None for an array).
        reason: what is wrong and the way out, in one sentence.
    """

    def __init__(self, path: str | Path | None, reason: str) -> None:
        reason = " ".join(reason.split())  # some decoders end theirs with a new line
        super().__init__(f"{path if path is not None else 'photograph'}: {reason}")
        self.path = None if path is None else Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[PhotoError], tuple[Path | None, str]]:
        # Worker processes send their errors back pickled; the default would call __init__ with the message alone.
        return type(self), (self.path, self.reason)


def max_pixels() -> int:
    """Return the most pixels that a file may have.

    Raises:
        SettingsError: SCARMATCH_MAX_PIXELS is no whole number of at least 1.
    """
    text = os.environ.get("SCARMATCH_MAX_PIXELS")
    if not text:
        return MAX_PIXELS
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise SettingsError(f"SCARMATCH_MAX_PIXELS is {text!r}: give a whole number of pixels, such as {MAX_PIXELS}")
    return int(text)


def check_file(path: Path) -> None:
    """Raise :class:`PhotoError` unless a non-empty regular file of a bearable size is there (it is not opened)."""
    try:
        if path.is_dir():
            raise PhotoError(path, "is a directory, not a photograph; name the image file itself")
        if not path.exists():
            raise PhotoError(path, "file not found; check the path in the catalogue")
        if not path.is_file():
            raise PhotoError(path, "is not a regular file; copy the photograph to a file first")
        size = path.stat().st_size
        if size == 0:
            raise PhotoError(path, "the file is empty; copy it again from its source")
        if size > MAX_BYTES:
            raise PhotoError(path, f"has {size:,} bytes, more than {MAX_BYTES:,}: no photograph is so large")
    except OSError as error:
        raise PhotoError(path, f"cannot be looked at ({error}); check path and permissions") from error
    except ValueError as error:
        if isinstance(error, PhotoError):
            raise
        raise PhotoError(path, f"is not a usable path ({error})") from error


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """Open a photograph's file for reading, once it is known to be one that may be.

    Raises:
        PhotoError: no file, a directory, a device or pipe, empty, too large, or not readable.
    """
    check_file(path)
    try:
        stream = path.open("rb")
    except OSError as error:
        raise PhotoError(path, f"cannot be read ({error}); check the permissions") from error
    with stream:
        yield stream


def file_digest(path: Path, stream: BufferedReader) -> str:
    """Return the hex SHA-256 of an open file, and go back to its beginning."""
    try:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
    except OSError as error:
        raise PhotoError(path, f"cannot be read ({error}); copy it again from its source") from error
    return digest


def stored_size(path: Path, stream: BufferedReader) -> tuple[int, int]:
    """Return the upright (width, height) of an image file in pixels, from its header where that tells it."""
    with _open(path, stream) as image:
        turned = _orientation(image) >= 5
        width, height = image.size
        if image.format == "TIFF":
            # Pillow's TIFF reader turns the pixels, and in some versions the size too, by itself.
            return _load(path, image).size
    return (height, width) if turned else (width, height)


def decode(
    path: Path, stream: BufferedReader, box: tuple[int, int, int, int] | None = None
) -> tuple[ByteArray, BoolArray | None]:
    """Decode to upright (H, W, 3) uint8 RGB and, with transparency, an (H, W) bool mask of opaque pixels.

    Args:
        path: for messages.
        stream: the file, at its beginning.
        box: (x, y, width, height) to cut out, in upright pixels.

    Raises:
        PhotoError: no image, truncated or corrupt, too many pixels, or a box that leaves nothing.
    """
    _check_sums(path, stream)
    with _open(path, stream) as image:
        factor = _factor(image.size)
        if box is None and factor > 1:  # a JPEG can be decoded at 1/2, 1/4 or 1/8
            image.draft(None, (image.width // factor, image.height // factor))
        deep = _colour_bits(image) == 16
        # Pillow turns a TIFF by itself; asking others before they are decoded would hide that they are damaged.
        before = _orientation(image) if image.format == "TIFF" else None
        _load(path, image)
        turn = _orientation(image)
        try:
            source = image
            if deep and (rescaled := _dark_deep_colour(image, stream)) is not None:
                source, turn = rescaled, before if before is not None else turn
            return _upright_rgb(path, source, turn, box)
        except (OSError, ValueError, TypeError, MemoryError) as error:
            if isinstance(error, PhotoError):
                raise
            raise PhotoError(path, f"cannot be converted from {image.mode} to RGB ({error}); save it as RGB") from error


def clip_box(path: Path | None, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Cut a box (x, y, width, height) to the photograph; return its rows and columns."""
    width, height = size
    x, y, box_width, box_height = (round(value) for value in box)
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + box_width, width), min(y + box_height, height)
    if box_width <= 0 or box_height <= 0 or right <= left or bottom <= top:
        raise PhotoError(path, f"the box {tuple(box)} leaves nothing of a photograph of {width} x {height} pixels")
    return slice(top, bottom), slice(left, right)


def _open(path: Path, stream: BufferedReader) -> Image.Image:
    """Open an image without decoding it; every failure becomes a :class:`PhotoError`."""
    from PIL import Image, UnidentifiedImageError

    limit = max_pixels()
    too_large = f"has more than {limit:,} pixels: crop or reduce it first, or set SCARMATCH_MAX_PIXELS"
    if limit > MAX_PIXELS:
        Image.MAX_IMAGE_PIXELS = limit  # asked for by name: Pillow's own limit must not stand in the way
    try:
        image = Image.open(stream, formats=pillow_formats())
    except UnidentifiedImageError as error:
        reason = why_left_out(path) or "is not an image in a known format; convert it to JPEG or PNG"
        raise PhotoError(path, reason) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(path, too_large) from error
    except Exception as error:  # decoders of broken headers raise almost anything
        raise PhotoError(path, f"cannot be opened as an image ({error}); copy it again from its source") from error
    if image.width * image.height > limit:
        image.close()
        raise PhotoError(path, too_large)
    if image.width < 1 or image.height < 1:
        image.close()
        raise PhotoError(path, "has no pixels")
    return image


def _check_sums(path: Path, stream: BufferedReader) -> None:
    """Check the checksums of a PNG's parts, which Pillow leaves alone while it decodes; other formats have none."""
    with _open(path, stream) as image:
        if image.format == "PNG":
            try:
                image.verify()
            except Exception as error:
                raise PhotoError(path, f"is truncated or damaged ({error}); copy it again from its source") from error
    stream.seek(0)


def _load(path: Path, image: Image.Image) -> Image.Image:
    """Decode the pixels in place."""
    try:
        image.load()
    except Exception as error:  # truncated or damaged data: the exception depends on the format
        raise PhotoError(path, f"is truncated or damaged ({error}); copy it again from its source") from error
    return image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 when there is none or the EXIF block is damaged (the pixels are still good)."""
    try:
        value = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1
    return value if 1 <= value <= 8 else 1


def _upright_rgb(
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


def _factor(size: tuple[int, int]) -> int:
    """Return by what whole number a picture of this (width, height) is reduced; 1 for nearly all."""
    factor = 1
    while (size[0] // factor) * (size[1] // factor) > KEPT_PIXELS:
        factor += 1
    return factor


def _reduced(image: Image.Image) -> Image.Image:
    """Reduce a large picture by the mean of squares of pixels, a band at a time."""
    from PIL import Image

    factor = _factor(image.size)
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
    found = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _BAND):  # a band at a time: it takes 8 bytes a pixel
        numbers = np.nan_to_num(values[top : top + _BAND].astype(np.float64), posinf=full)
        found[top : top + _BAND] = np.clip(np.rint(numbers * (255.0 / full)), 0, 255)
    return found


def _colour_bits(image: Image.Image) -> int:
    """Return the bits a channel of a colour picture that is not yet decoded: 16, or 8 for all else."""
    tiles: Any = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else None
    raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return 16 if image.mode in {"RGB", "RGBA", "LA"} and isinstance(raw, str) and ";16" in raw else 8


def _dark_deep_colour(image: Image.Image, stream: BufferedReader) -> Image.Image | None:
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
