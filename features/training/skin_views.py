"""Made-up views of one photograph for the training of dense skin descriptors, with every point known in both.

A view is a smooth warp (turn, size, stretch, shift, and a body that bends and stretches a little) followed by another
light, another camera and other water, all before the skin is flattened, as in life. Every function draws from the
generator it is given, nothing else. Points are (x, y) pixels of pictures of one size, pixel centres at integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from features.global_descriptor.network_input import SCALES
from features.records import BoolArray, ByteArray, FloatArray
from features.regions import flatten
from features.training import augmentation

Generator = np.random.Generator
_CELLS = (7, 4)  # rows and columns of the grid on which the bending is drawn
_ROUNDS = 8  # of the fixed-point iteration that inverts a warp; the bending is gentle, so each gains a digit


@dataclass(frozen=True, eq=False)
class Warp:
    """A smooth map from the pixels of a view to those of its photograph: ``(q - c) M^T + c + t + bending(q)``.

    Attributes:
        linear: (2, 2). centre, shift: (2,) pixels. bending: (2, H, W) float32 pixels, of the view.
    """

    linear: npt.NDArray[np.float64]
    centre: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    bending: FloatArray

    @classmethod
    def draw(cls, size: tuple[int, int], rng: Generator, strength: float = 1.0) -> Warp:
        """Draw a warp of pictures of a (width, height); strength 0 is the identity."""
        angle = np.deg2rad(5.0 * strength * rng.standard_normal())
        zoom, stretch = (np.exp(spread * strength * rng.standard_normal()) for spread in (0.06, 0.05))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn @ np.diag([zoom * stretch, zoom / stretch])
        shift = 0.025 * strength * rng.standard_normal(2) * np.array(size)
        coarse = (size[1] / 128 * strength * rng.standard_normal((2, *_CELLS))).astype(np.float32)
        bending = np.stack([cv2.resize(part, size, interpolation=cv2.INTER_CUBIC) for part in coarse])
        return cls(linear, np.array(size) / 2.0, shift, np.asarray(bending, np.float32))

    def to_photo(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Map (..., 2) points of the view to the photograph."""
        return (points - self.centre) @ self.linear.T + self.centre + self.shift + self._bent(points)

    def to_view(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Map (..., 2) points of the photograph to the view; the inverse of :meth:`to_photo` within 0.02 pixel."""
        back = np.linalg.inv(self.linear).T
        found = (points - self.centre - self.shift) @ back + self.centre
        for _ in range(_ROUNDS):
            found = (points - self.centre - self.shift - self._bent(found)) @ back + self.centre
        return np.asarray(found, np.float64)

    def _bent(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """The bending at (..., 2) points, bilinear between the pixels of the view, constant beyond its edge."""
        height, width = self.bending.shape[1:]
        x = np.clip(points[..., 0], 0, width - 1)
        y = np.clip(points[..., 1], 0, height - 1)
        column, row = np.floor(x).astype(int), np.floor(y).astype(int)
        right, below = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
        fx, fy = x - column, y - row
        upper = self.bending[:, row, column] * (1 - fx) + self.bending[:, row, right] * fx
        lower = self.bending[:, below, column] * (1 - fx) + self.bending[:, below, right] * fx
        return np.moveaxis(upper * (1 - fy) + lower * fy, 0, -1)


def render(
    grey: ByteArray, body: ByteArray, warp: Warp, rng: Generator, strength: float = 1.0
) -> tuple[FloatArray, BoolArray]:
    """Render a view as the network is shown it.

    Args:
        grey: (H, W) uint8 lightness, head up.
        body: (H, W) uint8, certainty of body times 255.
        warp: of the view.
        strength: of the change of light; 0 changes none.

    Returns:
        (H, W, 3) float32 in [0, 1], flattened, and the (H, W) bool body of the view.
    """
    height, width = grey.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    sources = warp.to_photo(grid).astype(np.float32)
    x, y = np.ascontiguousarray(sources[..., 0]), np.ascontiguousarray(sources[..., 1])
    light = np.asarray(grey, np.float32) / np.float32(255)
    light = np.asarray(cv2.remap(light, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float32)
    seen = np.asarray(cv2.remap(body, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)) > 127
    if strength > 0:
        light = _other_light(light, rng, strength)
    return np.dstack([flatten(light * 255, seen, scale) for scale in SCALES]).astype(np.float32), seen


def _other_light(light: FloatArray, rng: Generator, strength: float) -> FloatArray:
    """Another sun, another camera, other water: (H, W) float32 in [0, 1] in and out."""
    height, width = light.shape
    layer = light[:, :, None]
    if rng.random() < 0.9:
        layer = augmentation.relight(layer, rng, 0.35 * strength)
    layer = layer * np.float32(np.exp(0.15 * rng.standard_normal()))
    if rng.random() < 0.3:
        layer = augmentation.glints(layer, rng)
    if rng.random() < 0.3:
        layer = augmentation.submerge(layer, rng)
    light = np.ascontiguousarray(layer[:, :, 0], np.float32)
    camera = rng.random()
    if camera < 0.3:
        share = rng.uniform(0.4, 0.85)
        small = cv2.resize(light, (int(width * share), int(height * share)), interpolation=cv2.INTER_AREA)
        light = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    elif camera < 0.6:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), float(rng.uniform(0.5, 1.5))), np.float32)
    if rng.random() < 0.6:
        light = light + rng.standard_normal(light.shape, dtype=np.float32) * np.float32(rng.uniform(0.004, 0.025))
    if rng.random() < 0.2:
        light = np.power(np.clip(light, 1e-3, 1.0), np.float32(np.exp(0.25 * rng.standard_normal())))
    return np.clip(light, 0.0, 1.0).astype(np.float32)
