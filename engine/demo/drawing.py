"""Painting a made-up whale: skin texture, light, water, camera. Every pixel is a formula or seeded noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from engine.demo.synthetic_geometry import QUARTER, Conditions, Drawing, Geometry, Mark, Whale, under, width_profile
from features.records import BoolArray, FloatArray

TEXTURE_SIZE = (512, 1024)  # (across, along) pixels of the skin texture, nearly isotropic at the widest place
TEXTURE_REACH = 1.25  # the texture covers across in [-reach, reach]

SHADE_LIGHT = np.array([94.0, 105.0, 142.0], np.float32)  # RGB of white skin in the shade of the sun: bluish
CLOUD_LIGHT = np.array([160.0, 160.0, 178.0], np.float32)  # RGB of white skin under clouds
SUN_LIGHT = np.array([172.0, 156.0, 132.0], np.float32)  # RGB added by full sun: warm
SILT = np.array([74.0, 72.0, 64.0], np.float32)  # RGB of skin seen through silty water
NOISE_MIX = np.array([[1.4, 1.0], [1.4, -0.3], [1.4, -1.0]], np.float32)  # RGB from grain and colour noise
TOP_WATER = np.array([1.04, 1.0, 0.95], np.float32)  # tint of the water from above
BOAT_WATER = np.array([0.86, 0.99, 1.12], np.float32)  # tint of the water from a boat: reflects the sky


@dataclass(frozen=True, eq=False)
class _Surface:
    """Per-pixel maps of one photograph: where the body is and how it is turned.

    Attributes:
        on_body: (H, W) bool, the outline's inside, above or below the water.
        along, across, angle: (H, W) float32, body coordinates and angle from upright (0 off the body).
        depth: (H, W) float32, height of the skin above the water in shares of the greatest half-width, negative below.
        above: (H, W) float32 in [0, 1], share of the light that comes from the skin and not from the water.
    """

    on_body: BoolArray
    along: FloatArray
    across: FloatArray
    angle: FloatArray
    depth: FloatArray
    above: FloatArray


def draw_whale(whale: Whale, conditions: Conditions) -> Drawing:
    """Draw one photograph of a whale.

    The same arguments give the same pixels (before JPEG, which :func:`encode` adds) on one machine.

    Args:
        whale: the animal, with its marks of all years.
        conditions: pose, light, water and camera; ``viewpoint`` and ``year`` choose what can be seen.

    Raises:
        ValueError: the viewpoint is not "top", "left" or "right".
    """
    if conditions.viewpoint not in ("top", "left", "right"):
        raise ValueError(f"viewpoint {conditions.viewpoint!r} is none of top, left, right")
    rng = np.random.default_rng(conditions.seed)
    geometry, size = _frame(whale, conditions)
    surface = _surface(geometry, size, rng)
    sheen = _glints(surface, conditions, rng)
    skin = _skin(whale, conditions, surface)
    share = cv2.GaussianBlur(surface.above, (0, 0), 0.8)
    picture = cv2.blendLinear(skin, _water(conditions, surface, rng), share, 1.0 - share)
    picture += cv2.merge([250.0 * sheen, 245.0 * sheen, 240.0 * sheen])
    rgb, corner = _camera(picture, conditions, rng)
    body = surface.on_body & (surface.depth > 0) & ~corner
    return _with_marks(rgb, body, geometry, whale, conditions)


def _with_marks(
    rgb: npt.NDArray[np.uint8], body: BoolArray, geometry: Geometry, whale: Whale, conditions: Conditions
) -> Drawing:
    """Collect the reference points of the marks that the photograph shows."""
    keys, points = [], []
    for mark in whale.marks:
        if abs(mark.contrast_in(conditions.year)) < 2.0:
            continue
        for row, point in enumerate(mark.points):
            keys.append((mark.number, row))
            points.append(point)
    key_array = np.array(keys, np.int32).reshape(-1, 2)
    body_xy = np.array(points, np.float32).reshape(-1, 2)
    pixels = geometry.to_pixel(body_xy)
    seen = geometry.faces_camera(body_xy) & under(body, pixels)
    return Drawing(rgb, body, geometry, whale, conditions, key_array[seen], body_xy[seen], pixels[seen])


def encode(drawing: Drawing) -> bytes:
    """Return the photograph as JPEG bytes of the quality its conditions name."""
    bgr = cv2.cvtColor(drawing.rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, drawing.conditions.quality])[1].tobytes()


# --- skin -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _texture(whale: Whale, year: int) -> FloatArray:
    """Return the (along, across) map of what the skin adds to its brightness, in grey levels on skin of 150."""
    width, height = TEXTURE_SIZE
    texture = np.zeros((height, width), np.float32)
    for mark in whale.marks:
        if contrast := mark.contrast_in(year):
            _stamp(texture, mark, contrast)
    _blowhole(texture)
    return texture


def _to_texture(body: FloatArray) -> FloatArray:
    """Map (N, 2) body coordinates to (x, y) pixels of the texture."""
    width, height = TEXTURE_SIZE
    x = (body[:, 1] / TEXTURE_REACH + 1.0) * 0.5 * (width - 1)
    return np.stack([x, body[:, 0] * (height - 1)], 1).astype(np.float32)


def _stamp(texture: FloatArray, mark: Mark, contrast: float) -> None:
    """Add one mark to the texture, in place."""
    width = max(mark.width * TEXTURE_SIZE[1], 1.5)
    for line in mark.lines:
        points = _to_texture(line)
        pad = int(2 * width + 8)
        low = np.maximum(np.floor(points.min(0)).astype(int) - pad, 0)
        high = np.minimum(np.ceil(points.max(0)).astype(int) + pad, np.array(TEXTURE_SIZE) - 1)
        if np.any(high - low < 2):
            continue
        stamp = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        local = np.rint((points - low) * 16).astype(np.int32)
        if mark.kind == "patch":
            cv2.fillPoly(stamp, [local], 255, cv2.LINE_AA, 4)
            soft = cv2.GaussianBlur(stamp, (0, 0), 2.5).astype(np.float32) / 255
        elif mark.kind == "pit":
            cv2.circle(stamp, tuple(local.mean(0).astype(int).tolist()), int(width * 8), 255, -1, cv2.LINE_AA, 4)
            core = cv2.GaussianBlur(stamp, (0, 0), 1.0).astype(np.float32) / 255
            soft = core - 0.9 * (cv2.GaussianBlur(stamp, (0, 0), width * 0.45).astype(np.float32) / 255)
        else:
            cv2.polylines(stamp, [local], False, 255, max(1, round(width)), cv2.LINE_AA, 4)
            soft = cv2.GaussianBlur(stamp, (0, 0), 0.7).astype(np.float32) / 255
            soft -= 0.35 * cv2.GaussianBlur(soft, (0, 0), width)  # a healed cut has a paler or darker seam
        texture[low[1] : high[1], low[0] : high[0]] += contrast * soft


def _blowhole(texture: FloatArray) -> None:
    """Add what every whale has: the blowhole and the crease behind the head, in place."""
    x, y = _to_texture(np.array([[0.082, 0.0]], np.float32))[0].round().astype(int).tolist()
    reach = 60
    stamp = np.zeros((2 * reach, 2 * reach), np.uint8)
    cv2.ellipse(stamp, (reach, reach), (25, 8), 0, 0, 360, 255, -1, cv2.LINE_AA)
    soft = cv2.GaussianBlur(stamp, (0, 0), 2.0).astype(np.float32) / 255
    hole = 22.0 * cv2.GaussianBlur(soft, (0, 0), 9.0) - 135.0 * soft
    texture[y - reach : y + reach, x - reach : x + reach] += hole
    rows = np.linspace(0.0, 1.0, len(texture), dtype=np.float32)[:, None]
    texture += -9.0 * np.exp(-(((rows - 0.125) / 0.006) ** 2)) + 5.0 * np.exp(-(((rows - 0.138) / 0.008) ** 2))


def _skin(whale: Whale, c: Conditions, s: _Surface) -> FloatArray:
    """Return the (H, W, 3) lit skin in grey levels, before water and camera."""
    height = TEXTURE_SIZE[1]
    shrink = float(np.clip(1.1 * c.length / height, 0.2, 1.0))
    texture = cv2.resize(_texture(whale, c.year), None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    map_x = (s.across / TEXTURE_REACH + 1.0) * 0.5 * (texture.shape[1] - 1)
    map_y = s.along * (texture.shape[0] - 1)
    detail = cv2.remap(texture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    sky, sun = _light(whale, c, s)
    drowned = (s.depth < 0).astype(np.float32)  # what lies under the surface turns brown
    tone = whale.tone * c.exposure * (1.0 + detail / 150.0) * (1.0 - 0.47 * drowned)
    shade = c.strength * SHADE_LIGHT + (1.0 - c.strength) * CLOUD_LIGHT
    lights = np.stack([shade * c.tint, SUN_LIGHT * c.tint, 0.55 * SILT], 1)
    return cv2.transform(cv2.merge([sky * tone, sun * tone, drowned]), lights)


def _light(whale: Whale, c: Conditions, s: _Surface) -> tuple[FloatArray, FloatArray]:
    """Return sky light and direct sun on the skin, each (H, W); the dorsal ridge divides the two flanks."""
    place = ((s.along - 0.62) / 0.21) ** 2
    ridge = whale.ridge * np.exp(-place * place)
    off = np.abs(s.across)
    side = np.clip(s.across / 0.02, -1.0, 1.0)
    turn = s.angle + 0.62 * ridge * side * np.exp(off * -2.0)
    lean = 0.55 * (s.along - c.centre)
    azimuth, elevation = c.sun
    flat = math.cos(elevation)
    upright = np.cos(turn)
    toward = np.sin(turn) * (flat * math.sin(azimuth)) + upright * math.sin(elevation)
    toward = toward - lean * (flat * math.cos(azimuth))
    sun = c.strength * np.clip(toward, 0.0, 1.0)
    sky = 0.72 + 0.28 * upright * upright
    near = s.across / 0.02
    crest = ridge * np.exp(-near * near) * (1.0 if c.viewpoint == "top" else 0.4)
    sun = sun + crest * (0.06 + 0.34 * c.strength)
    lee = np.exp(off / -0.07) * (side * math.sin(azimuth) < 0)
    sky = sky * (1.0 - 0.22 * ridge * c.strength * lee)
    return sky.astype(np.float32), sun.astype(np.float32)


# --- body in the water ------------------------------------------------------------------------------------------------


def _height(geometry: Geometry, along: npt.NDArray[Any], across: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the skin's height above the water, in shares of the greatest half-width (negative: under water)."""
    c = geometry.conditions
    profile = width_profile(along)
    if geometry.side:
        upright = profile * np.cos(geometry.side * across * QUARTER + c.roll)
        return upright - 4.0 * c.arch / geometry.girth * (along - c.centre) ** 2 - c.level
    upright = profile * np.cos(across * QUARTER - c.roll)
    return upright - c.arch / geometry.girth * (2.0 * (along - c.centre)) ** 2 - c.level


def _frame(whale: Whale, c: Conditions) -> tuple[Geometry, tuple[int, int]]:
    """Return the geometry of the crop around the visible body and the crop's (width, height)."""
    free = Geometry(c, whale.girth)
    along = np.linspace(0.005, 0.995, 200)
    reach = np.linspace(-1.6, 1.6, 97)
    grid = np.stack([a.ravel() for a in np.meshgrid(along, reach, indexing="ij")], 1)
    seen = free.faces_camera(grid) & (_height(free, grid[:, 0], grid[:, 1]) > 0)
    if not seen.any():
        seen = free.faces_camera(grid)
    xy = free.to_pixel(grid[seen])
    margin = np.array(c.margin) * c.length
    low, high = xy.min(0) - margin[:2], xy.max(0) + margin[2:]
    width, height = (max(24, math.ceil(v)) for v in high - low)
    return Geometry(c, whale.girth, (float(-low[0]), float(-low[1]))), (width, height)


def _surface(geometry: Geometry, size: tuple[int, int], rng: np.random.Generator) -> _Surface:
    """Evaluate the body under every pixel, with waves that move the waterline."""
    width, height = size
    x, y = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    along, across, angle = geometry.surface(x, y)
    on_body = ~np.isnan(along)
    along, across, angle = (np.nan_to_num(v).astype(np.float32) for v in (along, across, angle))
    length = geometry.conditions.length
    waves = 0.025 * _noise(rng, size, length * 0.03) + 0.06 * _noise(rng, size, length * 0.14)
    depth = np.where(on_body, _height(geometry, along, across) + waves, -2.0).astype(np.float32)
    above = np.where(depth > 0, 1.0, np.exp(np.minimum(depth, 0.0) / 0.10)).astype(np.float32) * on_body
    return _Surface(on_body, along, across, angle, depth, above)


# --- water, glints and camera -----------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator, size: tuple[int, int], grain: float, stretch: float = 1.0) -> FloatArray:
    """Return (H, W) smooth noise with about unit deviation; ``grain`` is its wavelength in pixels across."""
    width, height = size
    cells = (max(2, round(width / max(grain, 1.0))) + 1, max(2, round(height / max(grain * stretch, 1.0))) + 1)
    coarse = rng.standard_normal((cells[1], cells[0]), dtype=np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def _water(c: Conditions, s: _Surface, rng: np.random.Generator) -> FloatArray:
    """Return the (H, W, 3) water: silty, with waves, and a wake along the body's edge."""
    height, width = s.depth.shape
    size, top = (width, height), c.viewpoint == "top"
    stretch = 1.0 if top else 0.28
    grain = c.length * (0.05 if top else 0.12)
    waves = 0.6 * _noise(rng, size, grain * 3, stretch) + 0.45 * _noise(rng, size, grain, stretch)
    crests = 0.55 - np.abs(_noise(rng, size, grain * 0.55, stretch * 0.8))
    waves += 0.75 * crests * np.abs(_noise(rng, size, grain * 2.2)) + 0.35 * _noise(rng, size, grain * 0.16, stretch)
    outside = cv2.distanceTransform((s.above < 0.5).astype(np.uint8), cv2.DIST_L2, 3) / (0.02 * c.length)
    near = np.exp(-outside)
    ripple = np.sin(outside * 2.6 + 1.8 * _noise(rng, size, grain * 2)) * np.exp(outside / -3.0)
    grey = c.water + (10.0 if top else 16.0) * waves + 5.0 * ripple - 10.0 * near
    foam = np.clip(_noise(rng, size, grain * 4) - 1.6 + 1.0 * np.exp(outside / -4.0), 0.0, 1.5)
    foam = foam * np.clip(_noise(rng, size, grain * 0.22) + 0.3, 0.0, 2.0)
    tint = (TOP_WATER if top else BOAT_WATER) * np.array(c.tint, np.float32) * c.exposure
    return cv2.transform(np.maximum(grey + 45.0 * foam, 12.0), tint.reshape(3, 1))


def _glints(s: _Surface, c: Conditions, rng: np.random.Generator) -> FloatArray:
    """Return (H, W) in [0, 1]: saturated streaks where wet skin or a wave mirrors the sun."""
    height, width = s.depth.shape
    size = (width, height)
    grain = max(2.0, c.length * 0.005)
    spark = _noise(rng, size, grain, 1.5) + 0.5 * _noise(rng, size, grain * 2, 1.5)
    cloud = _noise(rng, size, c.length * 0.10, 1.6)
    azimuth, elevation = c.sun
    mirror = math.atan2(math.cos(elevation) * math.sin(azimuth), 1.0 + math.sin(elevation))
    off = (s.angle - mirror) / 0.15
    on_skin = np.exp(-off * off) * (s.depth > 0.0)
    chance = c.glints * (1.7 * c.strength * on_skin + 1.1 * (s.depth < 0)) * np.clip(cloud - 0.35, 0.0, 1.3)
    streaks = np.clip(1.6 * (spark - 4.1 + 2.7 * chance), 0.0, 1.0) * (chance > 0)
    return cv2.GaussianBlur(streaks, (0, 0), 0.5)


def _camera(picture: FloatArray, c: Conditions, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], BoolArray]:
    """Return the (H, W, 3) uint8 photograph (blur, noise, white corner) and the (H, W) mask of missing pixels."""
    blurred = cv2.GaussianBlur(picture, (0, 0), max(c.blur, 0.3))
    height, width = blurred.shape[:2]
    rough = cv2.GaussianBlur(rng.standard_normal((height, width, 2), dtype=np.float32), (0, 0), 0.55)
    noisy = blurred + cv2.transform(rough, c.noise * NOISE_MIX)
    rgb = np.clip(np.rint(noisy), 0, 250).astype(np.uint8)
    missing = np.zeros((height, width), np.uint8)
    which, share = c.corner
    if which >= 0:
        x, y = (width - 1) * (which % 2), (height - 1) * (which // 2)
        reach_x, reach_y = width * share * (1 - 2 * (which % 2)), height * 0.45 * share * (1 - 2 * (which // 2))
        triangle = np.array([[x, y], [x + reach_x, y], [x, y + reach_y]])
        cv2.fillPoly(missing, [np.rint(triangle).astype(np.int32)], 1)
        rgb[missing > 0] = 255
    return rgb, missing > 0
