"""A model in pixels, and the numbers that are reported of it."""

from __future__ import annotations

import numpy as np

from engine.geometry import model_statistics


def transfer(model: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (n, 2) points by a homography."""
    mapped = np.hstack([points, np.ones((len(points), 1))]) @ np.reshape(model, (3, 3)).T
    return mapped[:, :2] / mapped[:, 2:]


def test_model_in_pixels_of_tall_and_wide_frames() -> None:
    frame = np.array([300.0, 900.0, 640.0, 200.0])
    model = np.array([0.9, 0.1, 0.02, -0.1, 1.1, 0.03, 0.05, 0.1, 1.0])
    normal = np.array([[0.1, 0.3], [-0.2, 0.4]])
    pixels0 = normal * 900 + [149.5, 449.5]
    expected = transfer(model, normal) * 640 + [319.5, 99.5]
    model_statistics.to_pixels.py_func(model, frame)
    np.testing.assert_allclose(transfer(model, pixels0), expected, atol=1e-9)
