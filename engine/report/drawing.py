"""What pictures are made of: panels with a known scale, thin lines, rings, overlays and text.

Everything here works on RGB canvases, (H, W, 3) uint8, and draws into them in place unless it says otherwise. Points
are (N, 2) float (x, y) in picture pixels with pixel centres at integer coordinates. Nothing here knows of pairs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from features.body_frame import body_frame_of
from features.records import ByteArray, FloatArray, Frame

Colour = tuple[int, int, int]
BACKGROUND: Colour = (16, 23, 31)
INK: Colour = (226, 232, 238)
QUIET_INK: Colour = (150, 163, 176)
HALO: Colour = (8, 12, 16)
MARK: Colour = (255, 176, 59)
POINT: Colour = (140, 205, 255)
OUTLINE: Colour = (120, 230, 255)
AXIS: Colour = (255, 255, 255)
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates: sixteenths of a pixel
_FAR = 20_000.0  # OpenCV's fixed-point coordinates overflow far outside the picture


@dataclass(frozen=True)
class Panel:
    """The place of one upright photograph in a picture.

    Attributes:
        frame: size and quarter turn of the photograph.
        scale: (x, y) picture pixels per canonical pixel; the two differ by rounding to whole pixels only.
        origin: (x, y) of the photograph's top left pixel in the picture.
        size: (width, height) of the photograph in the picture.
    """

    frame: Frame
    scale: tuple[float, float]
    origin: tuple[int, int]
    size: tuple[int, int]

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """(3, 3) map from canonical pixels to picture pixels (pixel centres at integers on both sides)."""
        (sx, sy), (ox, oy) = self.scale, self.origin
        return np.array([[sx, 0.0, ox + sx / 2 - 0.5], [0.0, sy, oy + sy / 2 - 0.5], [0.0, 0.0, 1.0]])

    def to_picture(self, canonical_xy: npt.ArrayLike) -> FloatArray:
        """Map (N, 2) canonical pixels to picture pixels."""
        xy = np.asarray(canonical_xy, dtype=np.float64).reshape(-1, 2)
        matrix = self.matrix
        return (xy * np.diag(matrix)[:2] + matrix[:2, 2]).astype(np.float32)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that the photograph fills."""
        (x, y), (width, height) = self.origin, self.size
        return slice(y, y + height), slice(x, x + width)


def fit(frame: Frame, height: int, max_width: int) -> tuple[int, int]:
    """Return the (width, height) at which the upright photograph fills `height`, or `max_width` if it is wide."""
    width0, height0 = frame.canonical_size
    scale = min(height / max(height0, 1), max_width / max(width0, 1))
    return max(round(width0 * scale), 1), max(round(height0 * scale), 1)


def place(frame: Frame, cell: tuple[int, int, int, int], max_width: int) -> Panel:
    """Centre a photograph in a cell (x, y, width, height) of the picture."""
    x, y, width, height = cell
    size = fit(frame, height, max_width)
    width0, height0 = frame.canonical_size
    origin = (x + (width - size[0]) // 2, y + (height - size[1]) // 2)
    return Panel(frame, (size[0] / max(width0, 1), size[1] / max(height0, 1)), origin, size)


def resize(image: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """Resize an (H, W) or (H, W, 3) array to (width, height); area averages when shrinking, cubic when enlarging."""
    image = np.ascontiguousarray(image)
    if (image.shape[1], image.shape[0]) == tuple(size):
        return image
    smaller = size[0] < image.shape[1] or size[1] < image.shape[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def upright(rgb: npt.NDArray[Any], panel: Panel) -> npt.NDArray[Any]:
    """Turn an original photograph (or a map on its pixel grid) head up and bring it to the panel's size."""
    return resize(panel.frame.turn(rgb), panel.size)


@lru_cache(maxsize=1)
def ramp_table() -> ByteArray:
    """Return (256, 3) uint8 RGB: viridis without its darkest quarter, which dark water would swallow.

    Viridis (van der Walt and Smith, 2015) keeps its order for every kind of colour vision and in grey print.
    """
    steps = np.linspace(64, 255, 256).round().astype(np.uint8)
    table = cv2.applyColorMap(steps[:, None], cv2.COLORMAP_VIRIDIS)[:, 0, ::-1].copy()
    table.setflags(write=False)
    return table


def ramp(values: npt.ArrayLike) -> ByteArray:
    """Return (N, 3) uint8 RGB for (N,) values in [0, 1]; NaN is shown as 0."""
    share = np.clip(np.nan_to_num(np.asarray(values, dtype=np.float64)), 0.0, 1.0)
    return ramp_table()[(share * 255).round().astype(int)]


@lru_cache(maxsize=1)
def heat_table() -> ByteArray:
    """Return (256, 3) uint8 RGB: inferno (van der Walt and Smith, 2015), dark to pale yellow for any colour vision."""
    steps = np.arange(256, dtype=np.uint8)
    table = cv2.applyColorMap(steps[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1].copy()
    table.setflags(write=False)
    return table


def heat_layer(heat: FloatArray) -> ByteArray:
    """Return (H, W, 4) uint8 RGBA for an (H, W) heat map in [0, 1]: the hotter, the brighter and the less clear."""
    share = np.clip(np.nan_to_num(heat), 0.0, 1.0)
    layer = np.empty((*share.shape, 4), np.uint8)
    layer[..., :3] = heat_table()[(80 + 175 * share).round().astype(int)]
    # What is barely warm stays clear: tinted all over, the photograph could not be read under its map.
    layer[..., 3] = (205 * np.clip((share - 0.08) / 0.92, 0.0, 1.0) ** 0.75).round()
    return layer


def lay_over(canvas: ByteArray, layer: ByteArray) -> None:
    """Lay an (H, W, 4) RGBA layer over a canvas of the same size, in place."""
    share = layer[..., 3:].astype(np.float32) / 255.0
    canvas[:] = (canvas * (1.0 - share) + layer[..., :3] * share + 0.5).astype(np.uint8)


def _fixed(points: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    safe = np.clip(np.nan_to_num(points, nan=-_FAR), -_FAR, _FAR)
    return np.round(safe * (1 << _SHIFT)).astype(np.int32)


def draw_lines(
    canvas: ByteArray, start: FloatArray, end: FloatArray, colours: Sequence[Colour] | ByteArray, *, halo: bool
) -> None:
    """Draw anti-aliased lines, the first on top; with a dark halo they stay visible on pale skin and on water."""
    ends = list(zip(_fixed(start).tolist(), _fixed(end).tolist(), strict=True))
    if halo:
        for a, b in ends:
            cv2.line(canvas, a, b, HALO, 3, cv2.LINE_AA, _SHIFT)
    for (a, b), colour in reversed(list(zip(ends, colours, strict=True))):
        cv2.line(canvas, a, b, tuple(int(c) for c in colour), 1, cv2.LINE_AA, _SHIFT)


def draw_rings(
    canvas: ByteArray, points: FloatArray, colours: Sequence[Colour] | ByteArray, radius: float, *, halo: bool = True
) -> None:
    """Draw open rings, which leave the skin under the keypoint visible."""
    centres = _fixed(points).tolist()
    size = round(radius * (1 << _SHIFT))
    for centre, colour in reversed(list(zip(centres, colours, strict=True))):
        if halo:
            cv2.circle(canvas, centre, size, HALO, 3, cv2.LINE_AA, _SHIFT)
        cv2.circle(canvas, centre, size, tuple(int(c) for c in colour), 1, cv2.LINE_AA, _SHIFT)


def blend(canvas: ByteArray, colour: Colour, alpha: FloatArray) -> None:
    """Lay one colour over the canvas with a per-pixel (H, W) opacity in [0, 1]."""
    share = np.clip(np.nan_to_num(alpha), 0.0, 1.0)[..., None]
    canvas[:] = (canvas * (1.0 - share) + np.asarray(colour) * share + 0.5).astype(np.uint8)


def outlines(mask: FloatArray, level: float = 0.5) -> list[npt.NDArray[np.int32]]:
    """Return the outer contours, each (K, 2) int32 (x, y), of the places where an (H, W) map reaches a level."""
    binary = np.ascontiguousarray((np.nan_to_num(mask) >= level).astype(np.uint8))
    contours = cv2.findContours(binary, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[-2]
    return [contour.reshape(-1, 2).astype(np.int32) for contour in contours]


@dataclass(frozen=True, eq=False)
class BodyAxis:
    """The body's own axes on a head-up map, for a person to compare places along the body.

    Attributes:
        line: (K, 2) float32 (x, y) from head to tail, the middle between the two sides; K may be 0.
        bars: (B, 4) float32 (x0, y0, x1, y1) from side to side at a quarter, half and three quarters of the length.
    """

    line: FloatArray
    bars: FloatArray


def body_axis(mask: FloatArray, level: float = 0.5, points: int = 32) -> BodyAxis:
    """Return the mid-line of the body on an (H, W) map with the head at the top (or, if it is wide, to the left).

    See :mod:`features.body_frame`; a map without a body gives no line.
    """
    frame = body_frame_of(mask, level=level, count=points)
    if not frame.seen:
        return BodyAxis(np.zeros((0, 2), np.float32), np.zeros((0, 4), np.float32))
    line = frame.to_canonical(np.stack([frame.along, np.zeros(len(frame.along))], 1))
    ends = [frame.to_canonical([[share, side] for share in (0.25, 0.5, 0.75)]) for side in (-1.0, 1.0)]
    return BodyAxis(line, np.hstack(ends))


def simplify(contour: npt.NDArray[np.int32], slack: float) -> npt.NDArray[np.int32]:
    """Return a closed (K, 2) contour with fewer points that stays within `slack` pixels (Douglas and Peucker, 1973)."""
    return cv2.approxPolyDP(contour.reshape(-1, 1, 2), slack, True).reshape(-1, 2)


# Text. Pillow brings its own font, so that pictures look the same on every machine; it covers ASCII and little more.

_REPLACED = str.maketrans({"–": "-", "—": "-", "→": ">", "×": "x", "“": '"', "”": '"', "’": "'", "‘": "'", "\t": " "})


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's embedded font at a size in pixels."""
    return ImageFont.load_default(size=size)


def printable(text: str) -> str:
    """Replace what the embedded font cannot show: accents are dropped, other scripts become "?"."""
    plain = unicodedata.normalize("NFKD", str(text).translate(_REPLACED))
    kept = (c for c in plain if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" or c in "·°±…" else "?" for c in kept)


def shorten(text: str, width: float, size: int) -> str:
    """Cut the middle out of a line until it is at most `width` pixels wide: both ends of a file name matter."""
    text = printable(text)
    face = font(size)
    if face.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        kept = (low + high + 1) // 2
        if face.getlength(_middle_cut(text, kept)) <= width:
            low = kept
        else:
            high = kept - 1
    return _middle_cut(text, low)


def _middle_cut(text: str, kept: int) -> str:
    tail = kept // 2
    return text[: kept - tail] + "…" + (text[len(text) - tail :] if tail else "")


def wrap(text: str, width: float, size: int, max_lines: int) -> list[str]:
    """Break a text at spaces into at most `max_lines` lines of at most `width` pixels."""
    face, lines = font(size), [""]
    for word in printable(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], " ".join(lines[max_lines - 1 :])]
    return [shorten(line, width, size) for line in lines if line]


@dataclass(frozen=True)
class Label:
    """A piece of text in a picture: its anchor is the (x, y) of the left, middle or right of its vertical middle."""

    text: str
    xy: tuple[float, float]
    size: int = 12
    colour: Colour = INK
    anchor: str = "lm"
    halo: bool = False


def write(canvas: ByteArray, labels: Iterable[Label]) -> ByteArray:
    """Return a new canvas with the labels on it."""
    image = Image.fromarray(canvas)
    pen = ImageDraw.Draw(image)
    for label in labels:
        width, fill = (2, HALO) if label.halo else (0, None)
        text, face = printable(label.text), font(label.size)
        pen.text(label.xy, text, label.colour, face, label.anchor, stroke_width=width, stroke_fill=fill)
    return np.asarray(image).copy()


def place_numbers(
    points: FloatArray, away: int, size: int, bounds: tuple[int, int, int, int], count: int | None = None
) -> list[tuple[float, float] | None]:
    """Find a free place beside each point for its number, the first points choosing first.

    Args:
        points: (N, 2) picture pixels.
        away: -1 to prefer the left of a point, +1 the right (away from the other photograph).
        size: height of the digits in pixels.
        bounds: (left, top, right, bottom) within which a number must lie.
        count: number the first so many points only; the others are kept free of numbers all the same.

    Returns:
        The middle of each number, None where no place was free.
    """
    taken: list[tuple[float, float, float, float]] = [(x - 3, y - 3, x + 3, y + 3) for x, y in points.tolist()]
    places: list[tuple[float, float] | None] = []
    reach = size * 0.95
    offsets = [(away * r * reach * c, r * reach * s) for r in (1.15, 1.7, 2.4, 3.2) for c, s in _DIRECTIONS]
    for index, (x, y) in enumerate(points[:count].tolist()):
        half = (0.32 * size * len(str(index + 1)) + 1, 0.42 * size)
        chosen = None
        for dx, dy in offsets:
            box = (x + dx - half[0], y + dy - half[1], x + dx + half[0], y + dy + half[1])
            inside = box[0] >= bounds[0] and box[1] >= bounds[1] and box[2] <= bounds[2] and box[3] <= bounds[3]
            if inside and not any(_overlap(box, other) for other in taken):
                chosen = (x + dx, y + dy)
                taken.append(box)
                break
        places.append(chosen)
    return places


_DIRECTIONS = ((1.0, 0.0), (0.75, -0.75), (0.75, 0.75), (0.1, -1.0), (0.1, 1.0), (-0.75, -0.75), (-0.75, 0.75))


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
