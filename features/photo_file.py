"""The one place that opens a photograph's file: what may be opened, how large it may be, and its pixels.

Photographs come from strangers, by mail and from the web. Whatever is no regular file, is no photograph by its bytes
(:mod:`features.photo_formats`), or is larger than the limits is refused before it is decoded, and everything that a
decoder can raise ends in one exception, :class:`features.photo_error.PhotoError`.

Memory is bounded by the limit of pixels, one to four bytes each while a file is decoded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from features.photo_error import PhotoError
from features.photo_formats import pillow_formats, why_left_out
from features.photo_pixels import (
    colour_bits,
    orientation_of,
    reduction_factor,
    rescaled_dark_colour,
    upright_rgb,
)
from features.records import BoolArray, ByteArray
from scarmatch.settings import SettingsError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 178_956_970
"""Most pixels of a file, Pillow's own limit; the environment variable SCARMATCH_MAX_PIXELS sets another."""

MAX_BYTES = 2 << 30
"""Most bytes of a file: more than the largest photograph needs without any compression."""


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
        turned = orientation_of(image) >= 5
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
        factor = reduction_factor(image.size)
        if box is None and factor > 1:  # a JPEG can be decoded at 1/2, 1/4 or 1/8
            image.draft(None, (image.width // factor, image.height // factor))
        deep = colour_bits(image) == 16
        # Pillow turns a TIFF by itself; asking others before they are decoded would hide that they are damaged.
        before = orientation_of(image) if image.format == "TIFF" else None
        _load(path, image)
        turn = orientation_of(image)
        try:
            source = image
            if deep and (rescaled := rescaled_dark_colour(image, stream)) is not None:
                source, turn = rescaled, before if before is not None else turn
            return upright_rgb(path, source, turn, box)
        except (OSError, ValueError, TypeError, MemoryError) as error:
            if isinstance(error, PhotoError):
                raise
            raise PhotoError(path, f"cannot be converted from {image.mode} to RGB ({error}); save it as RGB") from error


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
