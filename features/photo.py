"""Read one photograph once: bytes, colour, EXIF orientation, missing pixels, canonical orientation.

Whatever the file holds (grey, palette, transparency, 16 bits, CMYK, an animation), what leaves is upright 8-bit RGB
with a mask of the pixels that really show something. Everything that can be wrong with a file ends in one exception,
:class:`PhotoError`, so that a single bad photograph never stops a batch. :mod:`features.photo_file` says which files
are opened, and how large they may be.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.photo_error import PhotoError as PhotoError
from features.photo_file import decode, file_digest, opened, stored_size
from features.photo_pixels import clip_box
from features.records import BoolArray, ByteArray, Frame, Photo

_WHITE = 240  # JPEG ringing leaves missing (255, 255, 255) pixels at least this bright; some were tinted before
_FLAT = 8  # grey levels within which JPEG keeps a plain white area
_QUARTER_TURNS = {"left": 3, "right": 1}


def read_photo(path: str | Path, box: tuple[int, int, int, int] | None = None) -> Photo:
    """Read a photograph and crop it to the animal's box.

    Args:
        path: an image file of a format in :mod:`features.photo_formats`; of an animation the first frame counts.
        box: (x, y, width, height) in pixels of the upright photograph; what lies outside the photograph is cut off.

    Returns:
        The photograph: upright RGB, valid mask (missing where white corners or transparency say so), and the digest of
        the file's bytes (of the whole file, whatever the box). What has more than
        :data:`features.photo_pixels.KEPT_PIXELS` pixels after the box is cut out comes reduced by a whole number.

    Raises:
        PhotoError: no file, a directory, empty, no image, truncated or corrupt, too many pixels, or a box that leaves
            nothing.
    """
    path = Path(path)
    with opened(path) as stream:
        digest = file_digest(path, stream)
        rgb, opaque = decode(path, stream, box)
    return photo_from_array(rgb, opaque=opaque, path=path, sha256=digest)


def photo_from_array(
    rgb: npt.NDArray[np.uint8],
    *,
    opaque: BoolArray | None = None,
    box: tuple[int, int, int, int] | None = None,
    path: Path | None = None,
    sha256: str | None = None,
) -> Photo:
    """Wrap pixels that are already in memory.

    Args:
        rgb: (H, W, 3) uint8 RGB, or (H, W) uint8 grey; upright.
        opaque: (H, W) bool, False where pixels are known to be missing.
        box: (x, y, width, height) to crop to, in pixels.
        path: where the pixels came from, if anywhere.
        sha256: digest of the source; by default of the pixels and their shape.

    Raises:
        PhotoError: wrong shape or type, no pixels, or a box that leaves nothing.
    """
    pixels = np.asarray(rgb)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise PhotoError(
            path, f"expected (H, W, 3) uint8 RGB with at least one pixel, got {pixels.shape} {pixels.dtype}"
        )
    if opaque is not None and opaque.shape != pixels.shape[:2]:
        raise PhotoError(path, f"the mask of opaque pixels is {opaque.shape}, the photograph {pixels.shape[:2]}")
    if sha256 is None:
        sha256 = hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
    if box is not None:
        rows, columns = clip_box(path, box, (pixels.shape[1], pixels.shape[0]))
        pixels = pixels[rows, columns]
        opaque = None if opaque is None else opaque[rows, columns]
    pixels = np.ascontiguousarray(pixels)
    valid = valid_mask(pixels)
    if opaque is not None:
        valid &= opaque
    return Photo(rgb=pixels, valid=valid, sha256=sha256, path=path)


def image_size(path: str | Path) -> tuple[int, int]:
    """Return the upright (width, height) of an image file in pixels, reading its header only.

    Raises:
        PhotoError: no file, a directory, empty, no image, or too many pixels.
    """
    path = Path(path)
    with opened(path) as stream:
        return stored_size(path, stream)


def photo_digest(path: str | Path) -> str:
    """Return the hex SHA-256 of a photograph's bytes, without decoding it.

    Raises:
        PhotoError: no file, a directory, a device or pipe, empty, too large, or not readable.
    """
    path = Path(path)
    with opened(path) as stream:
        return file_digest(path, stream)


def canonical_frame(size: tuple[int, int], viewpoint: str | None) -> Frame:
    """Return the quarter turn that brings a photograph head up.

    A left view shows the head at the image's left (one clockwise quarter turn), a right view at its right (one
    counter-clockwise). Top views are published head up. Any other or an unknown viewpoint is left as it is, tall or
    wide: its head may be at either end, and a guess would be wrong half of the time.

    Args:
        size: (width, height) of the upright photograph in pixels.
        viewpoint: "top", "left", "right", anything else, or None.
    """
    turns = _QUARTER_TURNS.get(viewpoint.strip().lower(), 0) if isinstance(viewpoint, str) else 0
    return Frame(size=(int(size[0]), int(size[1])), quarter_turns=turns)


def valid_mask(rgb: npt.NDArray[np.uint8]) -> BoolArray:
    """Tell which pixels show something, and which are the white left over from turning or cutting a photograph.

    The edge of a photograph is straight, so what is missing from a crop is cut off by straight lines and holds one of
    its corners: a white area is taken for missing when it holds a corner, is all but white and flat, and lies outside
    the convex hull of everything else. Glints are too small, foam is ragged and an overexposed body is round, so they
    stay. White around a cut-out (three corners or more) counts as missing whatever the cut-out's shape.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (H, W) bool, False on missing pixels and on the two pixels beside them that JPEG has mixed with the white.
    """
    import cv2

    height, width = rgb.shape[:2]
    valid = np.ones((height, width), dtype=bool)
    corners = [(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)]
    if max(int(_near(rgb, corner).min(axis=2).max()) for corner in corners) < _WHITE:
        return valid
    darkest = rgb.min(axis=2)
    if darkest.min() >= _WHITE:
        return ~valid
    white = (darkest >= _WHITE).astype(np.uint8)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    # Closing mends the specks that JPEG leaves in the white; replicated borders keep it from eating the edge.
    white = cv2.morphologyEx(white, cv2.MORPH_CLOSE, cross, borderType=cv2.BORDER_REPLICATE)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(white, connectivity=4)
    noticeable = max(16.0, 2e-4 * height * width)
    missing = np.zeros((height, width), dtype=np.uint8)
    for label in {int(value) for corner in corners for value in np.unique(_near(labels, corner)) if value}:
        if stats[label, cv2.CC_STAT_AREA] >= noticeable:
            missing |= _missing_part(labels == label, darkest, corners).astype(np.uint8)
    if not missing.any():
        return valid
    return cv2.dilate(missing, np.ones((5, 5), np.uint8)) == 0


def _near(array: npt.NDArray[Any], corner: tuple[int, int]) -> npt.NDArray[Any]:
    """Return the 2 x 2 pixels at a corner (JPEG may darken the very last one)."""
    y, x = corner
    return array[:2, :2] if (y, x) == (0, 0) else array[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]


def _missing_part(area: BoolArray, darkest: ByteArray, corners: list[tuple[int, int]]) -> BoolArray:
    """Return the missing part of one white area that touches a corner, all False for none.

    See :func:`valid_mask`; the limits were set on 900 real photographs.
    """
    import cv2

    count = int(np.count_nonzero(area))
    values = darkest[area]
    level = float(np.median(values))
    flat = float(np.mean(np.abs(values - level) <= _FLAT))
    # White that is not quite white could be skin in the sun: it must be flatter, and not a mere sliver.
    if flat < 0.75 or (level < 252 and (flat < 0.9 or count < 0.004 * area.size)):
        return np.zeros_like(area)
    if sum(bool(_near(area, corner).any()) for corner in corners) >= 3:
        return area
    rest = (~area).astype(np.uint8)
    # Bright specks inside the area must not stretch the hull of the rest over it.
    _, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=4)
    large = np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= 0.01 * rest.size) + 1
    if large.size == 0:
        return area
    points = cv2.findNonZero(np.isin(labels, large).astype(np.uint8))
    hull = cv2.fillConvexPoly(np.zeros_like(rest), cv2.convexHull(points), 1)
    # A ragged pixel or two along the cut is normal, and may be all there is of a thin sliver.
    inside = cv2.erode(hull, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_REPLICATE) > 0
    if int(np.count_nonzero(area & inside)) > 0.12 * count:
        return np.zeros_like(area)
    # A glint that runs into the white corner lies inside the hull: it stays.
    return area & ~inside
