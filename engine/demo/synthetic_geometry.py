"""Made-up whales and the exact geometry of their photographs: which skin lies under which pixel.

Body coordinates are (along, across): ``along`` runs from 0 at the snout to 1 at the tail stock, ``across`` is the angle
around the body in quarter turns, 0 on the dorsal ridge, -1 at the animal's left and +1 at its right side. Both camera
positions (from above, and from a boat) look at the same skin, so that a mark has one body position and one pixel
position in every photograph that shows it. Pixels are (x, y) with centres at integer coordinates.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from features.records import BoolArray, ByteArray, FloatArray

QUARTER = math.pi / 2
PROFILE_ALONG = (0.0, 0.03, 0.08, 0.12, 0.16, 0.22, 0.30, 0.42, 0.55, 0.70, 0.84, 0.94, 1.0)
PROFILE_WIDTH = (0.0, 0.28, 0.41, 0.45, 0.55, 0.74, 0.92, 1.0, 0.93, 0.66, 0.36, 0.20, 0.12)


@dataclass(frozen=True, eq=False)
class Mark:
    """One mark on the skin.

    Attributes:
        number: index of the mark within its whale.
        kind: "scratch", "arc", "rake", "pit", "notch" or "patch".
        lines: polylines of (N, 2) float32 body coordinates (along, across).
        width: line width or blob diameter as a share of the body length.
        contrast: signed grey levels on skin of brightness 150, in the year the mark appeared.
        first_year: the first year in which it can be seen.
        fading: factor on the contrast for each later year.
    """

    number: int
    kind: str
    lines: tuple[FloatArray, ...]
    width: float
    contrast: float
    first_year: int
    fading: float

    def contrast_in(self, year: int) -> float:
        """Return the signed contrast in a year, 0 before the mark existed."""
        return 0.0 if year < self.first_year else self.contrast * self.fading ** (year - self.first_year)

    @property
    def points(self) -> FloatArray:
        """(P, 2) float32 body coordinates of the mark's reference points: ends and middle of each of its lines."""
        chosen = [line[[0, len(line) // 2, -1]] if len(line) > 2 else line for line in self.lines]
        return np.concatenate(chosen).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Whale:
    """One made-up animal.

    Attributes:
        individual_id: its name.
        marks: everything that tells it from the others, over all years.
        girth: half of the greatest width as a share of the length.
        tone: brightness of the skin, 1 for a white adult.
        ridge: height of the dorsal ridge, about 1.
        is_calf: True for a small dark animal.
    """

    individual_id: str
    marks: tuple[Mark, ...]
    girth: float
    tone: float
    ridge: float
    is_calf: bool


@dataclass(frozen=True)
class Conditions:
    """Everything about one photograph that is not the whale: pose, light, water, camera.

    Lengths are shares of the body length, angles radians, unless said otherwise.

    Attributes:
        viewpoint: "top", "left" or "right".
        year: when it was taken (decides which marks can be seen).
        length: body length in pixels.
        slope: sideways lean of the body axis.
        bend: sideways bending of the body axis.
        roll: turn around the body axis.
        stretch: factor on the width (foreshortening, breathing).
        level: height of the water around the animal, relative to its greatest half-width.
        arch: how far both ends dive below the middle.
        centre: position along the body that is highest above the water.
        sun: (azimuth, elevation); azimuth 0 is ahead of the animal, positive to its right.
        strength: share of direct sunlight, 0 (overcast) to 1.
        exposure: overall brightness factor.
        tint: white balance, factors on red, green and blue.
        water: brightness of the water in grey levels.
        glints: amount of sun glints, 0 to 1.
        blur: optical blur, standard deviation in pixels.
        noise: sensor noise, standard deviation in grey levels.
        margin: water around the visible body: left, top, right, bottom.
        corner: (0..3, share of the sides cut), white corner; corner -1 means none.
        quality: JPEG quality.
        seed: seed of waves, glints and noise.
    """

    viewpoint: str
    year: int
    length: float
    slope: float = 0.0
    bend: float = 0.0
    roll: float = 0.0
    stretch: float = 1.0
    level: float = 0.3
    arch: float = 0.1
    centre: float = 0.5
    sun: tuple[float, float] = (1.2, 0.8)
    strength: float = 0.5
    exposure: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    water: float = 64.0
    glints: float = 0.3
    blur: float = 0.7
    noise: float = 3.0
    margin: tuple[float, float, float, float] = (0.03, 0.03, 0.03, 0.03)
    corner: tuple[int, float] = (-1, 0.0)
    quality: int = 92
    seed: int = 0

    def replace(self, **changes: Any) -> Conditions:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Geometry:
    """The exact mapping between body coordinates and the pixels of one photograph.

    Attributes:
        conditions: pose and viewpoint.
        girth: half of the greatest width as a share of the length.
        origin: pixel position (x, y) of the snout end of the body axis in the photograph.
    """

    conditions: Conditions
    girth: float
    origin: tuple[float, float] = (0.0, 0.0)

    @property
    def side(self) -> float:
        """+1 or -1 for the flank that a lateral photograph shows, 0 for a photograph from above."""
        return {"left": -1.0, "right": 1.0}.get(self.conditions.viewpoint, 0.0)

    def half_width(self, along: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the half-width of the body in pixels at positions along it."""
        c = self.conditions
        return width_profile(along) * (self.girth * c.stretch * c.length)

    def _axis(self, along: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return how far the body axis lies off a straight line, in pixels (sideways, or downwards in laterals)."""
        c = self.conditions
        if self.side:
            return c.length * (c.arch * 4.0 * (along - c.centre) ** 2 + c.slope * (along - 0.5))
        off = 2.0 * along - 1.0
        return c.length * (c.slope * (along - 0.5) + c.bend * (off * off - 1.0 / 3.0) + 0.5 * c.bend * off**3)

    def to_pixel(self, body: npt.ArrayLike) -> FloatArray:
        """Map (N, 2) body coordinates to (N, 2) float32 pixels, whether or not they can be seen."""
        points = np.asarray(body, np.float64).reshape(-1, 2)
        along, angle = points[:, 0], points[:, 1] * QUARTER
        c, (x0, y0) = self.conditions, self.origin
        if self.side:
            x = x0 - self.side * along * c.length
            y = y0 + self._axis(along) - self.half_width(along) * np.cos(self.side * angle + c.roll)
        else:
            x = x0 + self._axis(along) + self.half_width(along) * np.sin(angle - c.roll)
            y = y0 + along * c.length
        return np.stack([x, y], 1).astype(np.float32)

    def to_body(self, xy: npt.ArrayLike) -> FloatArray:
        """Map (N, 2) pixels to (N, 2) float32 body coordinates; NaN where the pixel does not show the body."""
        points = np.asarray(xy, np.float64).reshape(-1, 2)
        along, across, _ = self.surface(points[:, 0], points[:, 1])
        return np.stack([along, across], 1).astype(np.float32)

    def surface(
        self, x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]
    ) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating], npt.NDArray[np.floating]]:
        """Return along, across and the surface's angle from upright (all NaN off the body) for pixels.

        ``x`` and ``y`` may have any shapes that broadcast: (1, W) and (H, 1) cost far less than two full grids.
        """
        c, (x0, y0) = self.conditions, self.origin
        along = (-self.side * (x - x0) if self.side else y - y0) / c.length
        inside = (along > 0.0) & (along < 1.0)
        along = np.where(inside, along, 0.5)
        half = self.half_width(along).astype(along.dtype)
        off = (self._axis(along) - (y - y0)) if self.side else (x - x0 - self._axis(along))
        ratio = off / half
        inside = inside & (np.abs(ratio) < 1.0)
        ratio = np.clip(ratio, -1.0, 1.0)
        if self.side:
            angle = self.side * (np.arccos(ratio) - c.roll)
            across = angle / QUARTER
        else:
            angle = np.arcsin(ratio)
            across = (angle + c.roll) / QUARTER
        nan = np.nan
        return np.where(inside, along, nan), np.where(inside, across, nan), np.where(inside, angle, nan)

    def faces_camera(self, body: npt.ArrayLike) -> BoolArray:
        """Return for (N, 2) body coordinates whether that skin is turned towards the camera."""
        points = np.asarray(body, np.float64).reshape(-1, 2)
        angle, roll = points[:, 1] * QUARTER, self.conditions.roll
        if self.side:
            turned = self.side * angle + roll
            return (turned > 0.0) & (turned < math.pi)
        return np.abs(angle - roll) < QUARTER


@dataclass(frozen=True, eq=False)
class Drawing:
    """A drawn photograph with everything that is known about it.

    Attributes:
        rgb: (H, W, 3) uint8.
        body: (H, W) bool, visible skin (above the water, inside the picture, not under a white corner).
        geometry: mapping between body coordinates and pixels.
        whale: the animal.
        conditions: pose, light, water and camera.
        keys: (P, 2) int32, (mark number, reference point of that mark), one row per visible reference point.
        mark_body: (P, 2) float32, body coordinates of the visible reference points.
        mark_pixels: (P, 2) float32, their pixels.
    """

    rgb: ByteArray
    body: BoolArray
    geometry: Geometry
    whale: Whale
    conditions: Conditions
    keys: npt.NDArray[np.int32]
    mark_body: FloatArray
    mark_pixels: FloatArray

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def visible(self, body: npt.ArrayLike) -> BoolArray:
        """Return for (N, 2) body coordinates whether the photograph shows them (above water, in the picture)."""
        points = np.asarray(body, np.float32).reshape(-1, 2)
        return self.geometry.faces_camera(points) & under(self.body, self.geometry.to_pixel(points))


def under(mask: BoolArray, xy: FloatArray) -> BoolArray:
    """Return the mask's value under (N, 2) pixels, False outside the picture."""
    column, row = np.rint(xy).astype(int).T
    height, width = mask.shape
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    return inside & mask[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]


def width_profile(along: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return the relative half-width of a body (1 at the widest place) for positions in [0, 1]."""
    table = _profile_table()
    return np.interp(np.clip(along, 0.0, 1.0), np.linspace(0.0, 1.0, len(table)), table)


@lru_cache(maxsize=1)
def _profile_table() -> npt.NDArray[np.float64]:
    """Return the smoothed width profile on an even grid (kept at zero at the snout)."""
    grid = np.linspace(0.0, 1.0, 1025)
    raw = np.interp(grid, PROFILE_ALONG, PROFILE_WIDTH)
    smooth = _smooth(raw, 20.0)
    start = np.clip(grid / 0.02, 0.0, 1.0)
    return np.maximum(smooth * np.sqrt(start), 1e-3)


def _smooth(values: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    """Blur a 1-D array with a Gaussian, ends repeated."""
    reach = int(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    padded = np.pad(values, reach, mode="reflect", reflect_type="odd")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def correspondences(a: Drawing, b: Drawing) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int32]]:
    """Return the reference points of marks that two photographs of one whale both show.

    Returns:
        (N, 2) float32 pixels in ``a``, (N, 2) float32 pixels in ``b`` and the (N, 2) int32 keys (mark, point) of both;
        N may be 0.

    Raises:
        ValueError: the photographs show different whales.
    """
    if a.whale.individual_id != b.whale.individual_id:
        raise ValueError(f"{a.whale.individual_id} and {b.whale.individual_id} are different whales")
    place = {(int(mark), int(point)): row for row, (mark, point) in enumerate(b.keys)}
    pairs = [(i, place[key]) for i, key in enumerate(map(tuple, a.keys.tolist())) if key in place]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return a.mark_pixels[rows[:, 0]], b.mark_pixels[rows[:, 1]], a.keys[rows[:, 0]]
