"""Where the animal is on a tight crop, and where its skin carries marks; without any training data.

The body is found by colour, lightness and texture against the water, starting from where an animal lies on a tight crop
(a spindle along the crop's long side) and re-estimating both sides' histograms from the picture itself, so that pale
adults, dark calves and half-lit backs each get their own colours. Marks are what stands out from the skin's noise after
shading, outline, glints and the dorsal ridge are taken away: thin lines, pits and small patches, dark or bright.

All lengths are shares of the crop's longer side, so that crops of 100 and of 1000 pixels behave alike, and all the work
is done on reduced copies of fixed size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.marks import box_blur, find_marks, resize
from features.records import BoolArray, ByteArray, FloatArray, Frame, Photo, Regions
from scarmatch.settings import Settings, SettingsError

_BINS = 24  # per axis of the colour histograms
_PAIRS = ((0, 2), (0, 1), (1, 2), (2, 3))  # axes taken together: lightness, green-red, blue-yellow, texture


#: Bumped whenever the same settings would give other regions or another flattening: part of every cache key.
CODE_VERSION = 1


#: Longer sides in pixels of the copies on which the body and the marks are sought (photographs are never enlarged).
_BODY_SIDE, _MARK_SIDE = 160, 448
#: How often body and water re-estimate their histograms.
_ITERATIONS = 4
#: Weight of the spindle against the evidence of the pixels, in log-odds.
_PRIOR_WEIGHT = 0.6
#: Certainty from which a pixel belongs to the body's main component.
_BODY_THRESHOLD = 0.6


@dataclass(frozen=True)
class RegionSettings(Settings):
    """Options of :func:`find_regions`: what counts as a mark.

    Attributes:
        mark_low: response, in multiples of the skin's usual response, from which a mark begins.
        mark_high: the same, where a mark is certain; a mark must come half-way there or be long.
    """

    mark_low: float = 2.2
    mark_high: float = 5.5

    def __post_init__(self) -> None:
        if not 0 < self.mark_low < self.mark_high:
            raise SettingsError(f"mark_low={self.mark_low} must be positive and below mark_high={self.mark_high}")


def find_regions(photo: Photo, frame: Frame, settings: RegionSettings | None = None) -> Regions:
    """Find the body and its marks on one photograph.

    Args:
        photo: the photograph.
        frame: its canonical frame (:func:`features.photo.canonical_frame`), which says where the body's axis lies.
        settings: options; by default :class:`RegionSettings`.

    Returns:
        Body and mark maps on the photograph's pixel grid. A picture in which nothing can be told apart (all white, one
        flat colour, a few pixels) gives zeros; nothing is raised on poor data. ``sharpness`` tells how many pixels (of
        the copy of at most ``mark_side``) an edge takes, as a reciprocal: the largest step between neighbours within a
        window of 9 x 9 pixels divided by the window's whole range, in the median over the tenth of the animal that has
        the most contrast. 1 is an edge of one pixel, 0.3 is blurred; noise hardly moves it.
    """
    settings = settings or RegionSettings()
    width, height = photo.size
    canonical_width, canonical_height = frame.canonical_size
    # The spindle stands upright: a frame that is still wide (viewpoint unknown) gets one more turn for the work.
    upright = 1 if canonical_width > canonical_height else 0
    rgb, valid = _reduced(photo.rgb, photo.valid, _MARK_SIDE)
    small = replace(frame, size=(valid.shape[1], valid.shape[0]))
    rgb, valid = (np.ascontiguousarray(np.rot90(small.turn(array), upright)) for array in (rgb, valid))
    small_body = _find_body(rgb, valid)
    if not small_body.any():
        zeros = np.zeros((height, width), dtype=np.float32)
        return Regions(body=zeros, marks=zeros.copy(), body_share=0.0, sharpness=0.0)
    body = resize(small_body, (rgb.shape[1], rgb.shape[0])) * valid
    marks, sharpness = find_marks(rgb, body, settings)
    body_share = float(body.sum() / max(int(np.count_nonzero(valid)), 1))
    full_body, full_marks = (
        resize(np.ascontiguousarray(small.turn_back(np.rot90(array, -upright))), (width, height))
        for array in (body, marks)
    )
    full_body[~photo.valid] = 0
    full_marks[~photo.valid] = 0
    return Regions(body=full_body, marks=full_marks, body_share=min(body_share, 1.0), sharpness=sharpness)


def flatten(grey: npt.NDArray[Any], valid: npt.NDArray[np.bool_], sigma: float = 0.025) -> FloatArray:
    """Flatten the local contrast: each pixel minus its local mean, divided by its local deviation.

    Means and deviations are taken over valid pixels only (normalised convolution, Knutsson and Westin, CVPR 1993), so
    that nothing leaks in from missing corners or, with a body mask as ``valid``, across the outline.

    Args:
        grey: (H, W) lightness in grey levels of 0..255, uint8 or float.
        valid: (H, W) bool, pixels that count.
        sigma: standard deviation of the window: a share of the longer side below 1, pixels from 1 on.

    Returns:
        (H, W) float32 in [0, 1]: 0.5 is the local mean (and every pixel that does not count), 0 and 1 are 2.5 local
        deviations (of at least two grey levels, so that noise on dark, plain skin is not blown up) below and above.
    """
    values = np.asarray(grey, dtype=np.float32)
    weight = np.asarray(valid, dtype=np.float32)
    if values.size == 0 or not weight.any():
        return np.full(values.shape, 0.5, dtype=np.float32)
    pixels = sigma if sigma >= 1 else max(sigma * max(values.shape), 1.0)
    centred = (values - float(values.mean())) * weight
    share = box_blur(weight, pixels) + 1e-6
    mean = box_blur(centred, pixels) / share
    variance = box_blur(centred * centred, pixels) / share - mean * mean
    deviation = np.sqrt(np.maximum(variance, 0.0)) + 2.0
    flat = 0.5 + (centred - mean) * weight / (5.0 * deviation)
    return np.clip(flat, 0.0, 1.0, out=flat)


def _reduced(rgb: ByteArray, valid: BoolArray, side: int) -> tuple[ByteArray, BoolArray]:
    """Return a copy whose longer side is at most ``side`` pixels."""
    height, width = valid.shape
    longer = max(height, width)
    if longer <= side:
        return rgb, valid
    size = (max(1, round(width * side / longer)), max(1, round(height * side / longer)))
    # Averaging every pixel of a big photograph would take longer than all the rest; a coarser grid is enough.
    step = max(1, longer // (2 * side))
    coarse = np.ascontiguousarray(rgb[::step, ::step])
    share = resize(np.ascontiguousarray(valid[::step, ::step]).view(np.uint8) * np.uint8(255), size)
    return resize(coarse, size), share >= 250


def _spindle(height: int, width: int) -> FloatArray:
    """Log-odds of body from the position alone: a spindle that fills most of an upright crop."""
    along = np.linspace(-1, 1, height, dtype=np.float32)[:, None] if height > 1 else np.zeros((1, 1), np.float32)
    across = np.abs(np.linspace(-1, 1, width, dtype=np.float32))[None] if width > 1 else np.zeros((1, 1), np.float32)
    half_width = 0.2 + 0.65 * np.sqrt(np.clip(1 - ((along + 0.08) / 1.1) ** 2, 0, 1))
    return np.clip((half_width - across) / 0.12, -3, 3).astype(np.float32)


def _sigmoid(logits: FloatArray) -> FloatArray:
    return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)


def _find_body(rgb: ByteArray, valid: BoolArray) -> FloatArray:
    """Return the (h, w) body certainty on a copy of at most 160 pixels; all zero where nothing is told."""
    import cv2

    small, seen = _reduced(rgb, valid, _BODY_SIDE)
    height, width = seen.shape
    if np.count_nonzero(seen) < 32 or min(height, width) < 4:
        return np.zeros((height, width), dtype=np.float32)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    if float(np.ptp(np.percentile(lab[seen][:, 0], (5, 95)))) < 1.0:
        return np.zeros((height, width), dtype=np.float32)
    spindle = _spindle(height, width)
    smooth = cv2.GaussianBlur(lab, (0, 0), 0.8)
    weight = seen.astype(np.float32)
    certainty = _separate(lab, smooth, weight, spindle)
    certainty = _snap_to_edges(smooth, certainty, weight)
    mask = _main_component(certainty, spindle, _BODY_THRESHOLD)
    if np.count_nonzero(mask) < 0.08 * np.count_nonzero(seen):
        # The pixels contradict every tight crop: say where an animal lies as a rule, half sure of it.
        return 0.5 * (spindle > 0).astype(np.float32) * weight
    return cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.0) * weight


def _separate(lab: FloatArray, smooth: FloatArray, weight: FloatArray, spindle: FloatArray) -> FloatArray:
    """Re-estimate the histograms of body and water in turn with each pixel's certainty (a soft two-class EM)."""
    import cv2

    height, width = weight.shape
    lightness = lab[:, :, 0]
    mean = cv2.blur(lightness, (5, 5))
    deviation = np.sqrt(np.maximum(cv2.blur(lightness * lightness, (5, 5)) - mean * mean, 0))
    axes = [smooth[:, :, 0], smooth[:, :, 1], smooth[:, :, 2], np.log(deviation + 0.5)]
    binned = [_binned(axis, weight > 0) for axis in axes]
    cells = [(binned[first] * _BINS + binned[second]).ravel() for first, second in _PAIRS]
    logits = spindle
    for turn in range(_ITERATIONS):
        body = _sigmoid(logits) * weight
        evidence = np.zeros(height * width, dtype=np.float32)
        for index in cells:
            inside, outside = (_histogram(index, share.ravel()) for share in (body, weight - body))
            evidence += np.log(inside / outside)[index]
        # The four pairs share their axes, so half of their sum, not all of it, is independent evidence.
        image = np.clip(0.5 * evidence.reshape(height, width), -3, 3)
        # The position starts the search; towards its end the pixels alone should draw the outline.
        prior = _PRIOR_WEIGHT * (1.0 - 0.5 * turn / max(_ITERATIONS - 1, 1))
        logits = prior * spindle + 1.5 * cv2.GaussianBlur(image, (0, 0), 1.0)
    return _sigmoid(logits) * weight


def _binned(axis: FloatArray, seen: BoolArray) -> npt.NDArray[np.int32]:
    """Quantise one axis over the range that this picture uses, so that dark calves get as many steps as pale adults."""
    low, high = np.percentile(axis[seen], (1, 99))
    high = max(high, low + 1.0)
    return np.clip(np.rint((axis - low) * ((_BINS - 1) / (high - low))), 0, _BINS - 1).astype(np.int32)


def _histogram(index: npt.NDArray[np.int32], weights: FloatArray) -> FloatArray:
    """Smoothed, normalised two-axis histogram, flat (bins * bins,), never zero."""
    import cv2

    counts = np.bincount(index, weights, _BINS * _BINS).reshape(_BINS, _BINS).astype(np.float32)
    counts = cv2.GaussianBlur(counts, (0, 0), 1.2)
    return (counts / (float(counts.sum()) + 1e-6) + 2e-4).ravel()


def _snap_to_edges(smooth: FloatArray, certainty: FloatArray, weight: FloatArray) -> FloatArray:
    """Guided filter (He, Sun and Tang, ECCV 2010) along the colour direction that best parts the two (Fisher)."""
    import cv2

    colours = smooth.reshape(-1, 3)
    inside, outside = certainty.ravel(), (weight - certainty).ravel()
    mean_in = inside @ colours / (float(inside.sum()) + 1e-6)
    mean_out = outside @ colours / (float(outside.sum()) + 1e-6)
    off_in, off_out = colours - mean_in, colours - mean_out
    scatter = ((off_in.T * inside) @ off_in + (off_out.T * outside) @ off_out) / len(colours) + 0.5 * np.eye(3)
    guide = (smooth @ np.linalg.solve(scatter, mean_in - mean_out)).astype(np.float32)
    guide = (guide - float(guide.mean())) / (float(guide.std()) + 1e-3)

    def window(image: FloatArray) -> FloatArray:
        return cv2.blur(image, (7, 7), borderType=cv2.BORDER_REFLECT)

    share = window(weight) + 1e-4
    mean_guide, mean_certainty = window(guide * weight) / share, window(certainty) / share
    covariance = window(guide * certainty) / share - mean_guide * mean_certainty
    slope = covariance / (window(guide * guide * weight) / share - mean_guide * mean_guide + 0.03)
    offset = mean_certainty - slope * mean_guide
    return np.clip((window(slope * weight) * guide + window(offset * weight)) / share, 0, 1) * weight


def _main_component(certainty: FloatArray, spindle: FloatArray, threshold: float) -> ByteArray:
    """Keep the component that fills the spindle best; smooth it and fill its holes."""
    import cv2

    def disc(side: int) -> ByteArray:
        return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))

    mask = cv2.morphologyEx((certainty > threshold).astype(np.uint8), cv2.MORPH_OPEN, disc(5))
    count, labels = cv2.connectedComponents(mask)
    if count < 2:
        return mask
    filled = np.bincount(labels.ravel(), _sigmoid(spindle).ravel(), count)
    filled[0] = 0
    pad = 8  # a rim of water around the crop closes outlines that touch its edge, and tells holes from bays
    mask = cv2.copyMakeBorder((labels == filled.argmax()).astype(np.uint8), pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, disc(9))[pad:-pad, pad:-pad]
    outside = cv2.copyMakeBorder(1 - mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels = cv2.connectedComponents(outside, connectivity=4)
    return (labels != labels[0, 0])[1:-1, 1:-1].astype(np.uint8)
