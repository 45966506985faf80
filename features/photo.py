"""Read one photograph once: bytes, colour, EXIF orientation, missing pixels, canonical orientation.

Whatever the file holds (grey, palette, transparency, 16 bits, CMYK, an animation), what leaves is upright 8-bit RGB
with a mask of the pixels that really show something. Everything that can be wrong with a file ends in one exception,
:class:`PhotoError`, so that a single bad photograph never stops a batch.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from features.records import BoolArray, ByteArray, Frame, Photo
from scarmatch.errors import ScarmatchError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 178_956_970  # Pillow's own limit: three bytes for each of them is half a gigabyte

_WHITE = 240  # JPEG ringing leaves missing (255, 255, 255) pixels at least this bright; some were tinted before
_FLAT = 8  # grey levels within which JPEG keeps a plain white area
_EXIF_ORIENTATION = 0x0112
_QUARTER_TURNS = {"left": 3, "right": 1}


class PhotoError(ScarmatchError, ValueError):
    """A photograph cannot be used.

    Attributes:
        path: the file (None for an array).
        reason: what is wrong and the way out, in one sentence.
    """

    def __init__(self, path: str | Path | None, reason: str) -> None:
        super().__init__(f"{path if path is not None else 'photograph'}: {reason}")
        self.path = None if path is None else Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type[PhotoError], tuple[Path | None, str]]:
        # Worker processes send their errors back pickled; the default would call __init__ with the message alone.
        return type(self), (self.path, self.reason)


def read_photo(path: str | Path, box: tuple[int, int, int, int] | None = None) -> Photo:
    """Read a photograph and crop it to the animal's box.

    Args:
        path: an image file in any format that Pillow decodes; of an animation the first frame counts.
        box: (x, y, width, height) in pixels of the upright photograph; what lies outside the photograph is cut off.

    Returns:
        The photograph: upright RGB, valid mask (missing where white corners or transparency say so), and the digest of
        the file's bytes (of the whole file, whatever the box).

    Raises:
        PhotoError: no file, a directory, empty, no image, truncated or corrupt, too many pixels, or a box that leaves
            nothing.
    """
    path = Path(path)
    data = _read_bytes(path)
    rgb, opaque = _decode(path, data)
    return photo_from_array(rgb, opaque=opaque, box=box, path=path, sha256=hashlib.sha256(data).hexdigest())


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
        rows, columns = _clip_box(path, box, (pixels.shape[1], pixels.shape[0]))
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
    _check_file(path)
    with _open(path, path) as image:
        turned = _orientation(image) >= 5
        width, height = image.size
        if image.format == "TIFF":
            # Pillow's TIFF reader turns the pixels, and in some versions the size too, by itself.
            return _loaded(path, image).size
    return (height, width) if turned else (width, height)


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


def _near(array: npt.NDArray, corner: tuple[int, int]) -> npt.NDArray:
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


def _check_file(path: Path) -> None:
    """Raise :class:`PhotoError` unless a non-empty regular file is there."""
    try:
        if path.is_dir():
            raise PhotoError(path, "is a directory, not a photograph; name the image file itself")
        if not path.exists():
            raise PhotoError(path, "file not found; check the path in the catalogue")
        if not path.is_file():
            raise PhotoError(path, "is not a regular file; copy the photograph to a file first")
        if path.stat().st_size == 0:
            raise PhotoError(path, "the file is empty; copy it again from its source")
    except OSError as error:
        raise PhotoError(path, f"cannot be looked at ({error}); check path and permissions") from error
    except ValueError as error:
        if isinstance(error, PhotoError):
            raise
        raise PhotoError(path, f"is not a usable path ({error})") from error


def _read_bytes(path: Path) -> bytes:
    _check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(path, f"cannot be read ({error}); check the permissions") from error


def _open(path: Path, source: Path | io.BytesIO) -> Image.Image:
    """Open an image without decoding it; every failure becomes a :class:`PhotoError`."""
    from PIL import Image, UnidentifiedImageError

    too_large = f"has more than {MAX_PIXELS:,} pixels; crop or reduce it first"
    try:
        image = Image.open(source)
    except UnidentifiedImageError as error:
        raise PhotoError(path, "is not an image in a known format; convert it to JPEG or PNG") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(path, too_large) from error
    except Exception as error:  # decoders of broken headers raise almost anything
        raise PhotoError(path, f"cannot be opened as an image ({error}); copy it again from its source") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise PhotoError(path, too_large)
    if image.width < 1 or image.height < 1:
        image.close()
        raise PhotoError(path, "has no pixels")
    return image


def _decode(path: Path, data: bytes) -> tuple[ByteArray, BoolArray | None]:
    """Decode to upright (H, W, 3) uint8 RGB and, with transparency, an (H, W) bool mask of opaque pixels."""
    with _open(path, io.BytesIO(data)) as image:
        _loaded(path, image)
        try:
            upright = _upright(image)
            return _to_rgb(upright)
        except (OSError, ValueError, TypeError, MemoryError) as error:
            raise PhotoError(path, f"cannot be converted from {image.mode} to RGB ({error}); save it as RGB") from error


def _loaded(path: Path, image: Image.Image) -> Image.Image:
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


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation (EXIF 2.3, tag 0x0112)."""
    from PIL import Image

    operations = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    operation = operations.get(_orientation(image))
    return image if operation is None else image.transpose(operation)


def _to_rgb(image: Image.Image) -> tuple[ByteArray, BoolArray | None]:
    """Convert any mode to 8-bit RGB; transparent pixels become white and are reported as not opaque."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.asarray(image), None
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_deep_grey(np.asarray(image))[:, :, None], 3, axis=2), None
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        opaque = rgba[:, :, 3] >= 128
        rgb = np.where(opaque[:, :, None], rgba[:, :, :3], np.uint8(255))
        return rgb, (None if opaque.all() else opaque)
    return np.asarray(image.convert("RGB")), None


def _deep_grey(values: npt.NDArray) -> ByteArray:
    """Bring 16-bit, 32-bit or float grey to 8 bits: the full range of the type that the values need."""
    numbers = np.nan_to_num(np.asarray(values, dtype=np.float64))
    top = float(numbers.max(initial=0.0))
    if np.issubdtype(values.dtype, np.floating):
        full = 1.0 if top <= 1.0 else 255.0 if top <= 255.0 else 65535.0
    else:
        full = 255.0 if values.dtype.itemsize > 2 and top <= 255.0 else 65535.0
    return np.clip(np.rint(numbers * (255.0 / max(full, top))), 0, 255).astype(np.uint8)


def _clip_box(path: Path | None, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Cut a box (x, y, width, height) to the photograph; return its rows and columns."""
    width, height = size
    x, y, box_width, box_height = (round(value) for value in box)
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + box_width, width), min(y + box_height, height)
    if box_width <= 0 or box_height <= 0 or right <= left or bottom <= top:
        raise PhotoError(path, f"the box {tuple(box)} leaves nothing of a photograph of {width} x {height} pixels")
    return slice(top, bottom), slice(left, right)
