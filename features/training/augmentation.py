"""Made-up changes of a photograph that leave the animal the same: what this kind of photograph does by itself.

The dorsal ridge (the vertical mid-line of a head-up crop) parts a sunlit from a shaded flank and the sides change
between photographs of one animal; water glints and hides the head or the tail; drones fly at many heights. Every
function takes and gives (H, W, 3) float32 in [0, 1] and draws from the generator it is given, nothing else.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from features.records import ByteArray, FloatArray
from scarmatch.settings import Settings

Generator = np.random.Generator


#: Spread of the log of width against height, and of the log factor by which a flank is made lighter or darker.
_ASPECT, _RELIGHT = 0.10, 0.25


@dataclass(frozen=True)
class AugmentationSettings(Settings):
    """How often (probabilities) and how much.

    Attributes:
        strength: factor on all of them; 0 switches every change off.
        rotation: degrees, standard deviation.
        shift: share of the size, standard deviation.
        scale: spread of log scale.
        relight: probability that one flank is made lighter or darker.
        glint, blur, noise, low_resolution, grey, corner, partial, cutout: probabilities.
        brightness, contrast: spreads.
    """

    strength: float = 1.0
    rotation: float = 5.0
    shift: float = 0.03
    scale: float = 0.08
    relight: float = 0.7
    brightness: float = 0.15
    contrast: float = 0.15
    glint: float = 0.2
    blur: float = 0.2
    noise: float = 0.3
    low_resolution: float = 0.25
    grey: float = 0.15
    corner: float = 0.15
    partial: float = 0.15
    cutout: float = 0.3


def augment(
    image: ByteArray, size: tuple[int, int], settings: AugmentationSettings, rng: Generator, mirror: bool = False
) -> FloatArray:
    """One changed photograph, (height, width, 3) float32 in [0, 1].

    Args:
        image: (H, W, 3) uint8, head up, larger than or as large as ``size``.
        size: (width, height) of the result.
        mirror: flip left and right (the caller must change the label too).
    """
    if settings.strength == 0:
        settings = none_at_all(settings)
    out = warp(image, size, settings, rng, mirror).astype(np.float32) / 255.0
    if rng.random() < settings.relight:
        out = relight(out, rng, settings.strength * _RELIGHT)
    out = tone(out, rng, settings)
    if rng.random() < settings.glint:
        out = glints(out, rng)
    if rng.random() < settings.low_resolution:
        out = lower_resolution(out, rng)
    if rng.random() < settings.blur:
        out = blur(out, rng)
    if rng.random() < settings.partial:
        out = submerge(out, rng)
    if rng.random() < settings.cutout:
        out = cutout(out, rng)
    if rng.random() < settings.corner:
        out = fill_corner(out, rng)
    if rng.random() < settings.noise:
        out = out + rng.standard_normal(out.shape, dtype=np.float32) * np.float32(rng.uniform(0.005, 0.03))
    return np.clip(out, 0.0, 1.0, dtype=np.float32)


def none_at_all(settings: AugmentationSettings) -> AugmentationSettings:
    """Settings under which :func:`augment` only resizes."""
    return AugmentationSettings(**{field.name: 0.0 for field in dataclasses.fields(settings)})


def warp(
    image: ByteArray, size: tuple[int, int], settings: AugmentationSettings, rng: Generator, mirror: bool
) -> ByteArray:
    """Rotate, shift, scale, stretch and perhaps mirror, in one resampling; borders repeat the last pixel."""
    height, width = image.shape[:2]
    angle = np.deg2rad(settings.strength * settings.rotation * rng.standard_normal())
    zoom = np.exp(settings.strength * settings.scale * rng.standard_normal())
    stretch = np.exp(settings.strength * _ASPECT * rng.standard_normal() / 2)
    shift = settings.strength * settings.shift * rng.standard_normal(2)
    base = np.diag([size[0] / width * zoom * stretch, size[1] / height * zoom / stretch])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ base
    if mirror:
        linear = np.diag([-1.0, 1.0]) @ linear
    centre_in = np.array([(width - 1) / 2, (height - 1) / 2])
    centre_out = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2]) + shift * np.array(size)
    matrix = np.column_stack([linear, centre_out - linear @ centre_in])
    warped = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def relight(image: FloatArray, rng: Generator, amount: float) -> FloatArray:
    """Multiply the two flanks by different factors with a smooth step near the mid-line, as another sun would."""
    height, width = image.shape[:2]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    line = rng.normal(0, 0.12) + rng.normal(0, 0.15) * y
    sharpness = np.exp(rng.uniform(np.log(3), np.log(25)))
    side = np.tanh(sharpness * (x - line)).astype(np.float32)
    factor = np.exp(np.float32(amount * rng.standard_normal()) * side)
    return image * factor[:, :, None]


def tone(image: FloatArray, rng: Generator, settings: AugmentationSettings) -> FloatArray:
    """Change brightness, contrast and the colours' balance; sometimes drop the colours."""
    strength = settings.strength
    if rng.random() < settings.grey:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    else:
        image = image * np.exp(0.05 * strength * rng.standard_normal(3)).astype(np.float32)
    centre = np.float32(image.mean())
    contrast = np.float32(np.exp(strength * settings.contrast * rng.standard_normal()))
    light = np.float32(np.exp(strength * settings.brightness * rng.standard_normal()))
    return ((image - centre) * contrast + centre) * light


def glints(image: FloatArray, rng: Generator) -> FloatArray:
    """Add a few bright, soft, elongated spots."""
    height, width = image.shape[:2]
    layer = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 6))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(1, max(2, width // 12))), int(rng.integers(1, max(2, height // 24))))
        cv2.ellipse(layer, centre, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.2, 0.7)), -1)
    layer = np.asarray(cv2.GaussianBlur(layer, (0, 0), float(rng.uniform(0.7, 2.5))), np.float32)
    return image + layer[:, :, None]


def lower_resolution(image: FloatArray, rng: Generator) -> FloatArray:
    """Shrink to 35 .. 80 % and enlarge again, as a photograph from higher up."""
    return np.asarray(coarsen(image, rng.uniform(0.35, 0.8)), np.float32)


def coarsen(image: npt.NDArray[Any], share: float) -> npt.NDArray[Any]:
    """Shrink an (H, W, 3) picture to a share of its sides, 8 pixels at least, and enlarge it again; its type stays."""
    height, width = image.shape[:2]
    small = (max(8, round(width * share)), max(8, round(height * share)))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR))


def blur(image: FloatArray, rng: Generator) -> FloatArray:
    """Blur softly."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.4))), np.float32)


def submerge(image: FloatArray, rng: Generator) -> FloatArray:
    """Hide the upper or lower part (up to 45 %) under the picture's own water tone, with a soft edge."""
    height = image.shape[0]
    share = rng.uniform(0.1, 0.45)
    y = np.linspace(0, 1, height, dtype=np.float32)
    if rng.random() < 0.5:
        y = y[::-1]
    hidden = 1.0 / (1.0 + np.exp((y - np.float32(share)) * np.float32(rng.uniform(15, 60))))
    water = np.quantile(image[::4, ::4], 0.1, axis=(0, 1)).astype(np.float32)
    hidden = hidden[:, None, None] * np.float32(rng.uniform(0.7, 1.0))
    return image * (1 - hidden) + water * hidden


def cutout(image: FloatArray, rng: Generator) -> FloatArray:
    """Cover one or two boxes with the mean colour."""
    height, width = image.shape[:2]
    out = image.copy()
    for _ in range(int(rng.integers(1, 3))):
        box_width, box_height = int(width * rng.uniform(0.15, 0.5)), int(height * rng.uniform(0.08, 0.25))
        x, y = int(rng.integers(0, width - box_width + 1)), int(rng.integers(0, height - box_height + 1))
        out[y : y + box_height, x : x + box_width] = image.mean(axis=(0, 1))
    return out


def fill_corner(image: FloatArray, rng: Generator) -> FloatArray:
    """Cut off one to four corners as a rotated crop does; filled with the mean colour, as missing pixels are."""
    height, width = image.shape[:2]
    out = np.ascontiguousarray(image)
    colour = [float(c) for c in image.mean(axis=(0, 1))]
    for corner in rng.permutation(4)[: int(rng.integers(1, 5))]:
        x, y = (corner % 2) * (width - 1), (corner // 2) * (height - 1)
        reach_x, reach_y = rng.uniform(0.1, 0.5) * width, rng.uniform(0.03, 0.2) * height
        inward_x, inward_y = (1 if x == 0 else -1), (1 if y == 0 else -1)
        points = np.array([[x, y], [x + inward_x * reach_x, y], [x, y + inward_y * reach_y]])
        cv2.fillPoly(out, [points.round().astype(np.int32)], colour)
    return out
