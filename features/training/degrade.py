"""Worse copies of a photograph: what height, haze and compression do before anything is computed from it.

Flattening lifts what is faint, so that a trace of blur or compression becomes a different picture. What is added after
it (:mod:`features.training.augmentation`) does not teach that.
"""

from __future__ import annotations

import cv2
import numpy as np

from features.records import ByteArray
from features.training.augmentation import coarsen

BODY = 400.0
"""Lengths below are pixels of a photograph whose longer side has so many."""


def degrade(rgb: ByteArray, rng: np.random.Generator) -> ByteArray:
    """(H, W, 3) uint8 -> the same size and animal, blurred, coarser, noisier or more compressed (each by a toss)."""
    unit = max(rgb.shape[:2]) / BODY
    out = np.ascontiguousarray(rgb)
    if rng.random() < 0.5:
        sigma = max(rng.uniform(0.4, 1.6) * unit, 0.3)
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), sigma), np.uint8)
    if rng.random() < 0.5:
        out = coarsen(out, rng.uniform(0.45, 0.9))
    if rng.random() < 0.3:
        noise = rng.normal(0.0, rng.uniform(1.0, 5.0), out.shape)
        out = np.clip(out + noise, 0, 255).round().astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(30, 90))
        _, code = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return out
