"""What the estimator makes of pixels before it looks for a model."""

from __future__ import annotations

import numpy as np
import pytest

from engine.geometry import ransac
from engine.geometry.verification import VerificationSettings, limits_of


@pytest.mark.parametrize(("pixels", "threshold"), [(2.0, 0.01), (32.0, 0.05)])
def test_points_are_about_the_centres_in_units_of_the_longer_sides(pixels: float, threshold: float) -> None:
    frame = np.array([300.0, 900.0, 640.0, 200.0])
    xy0 = np.array([[0, 0], [149.5 + 90, 449.5 - 180]], np.float32)
    xy1 = np.array([[0, 0], [319.5 + 64, 99.5 - 32]], np.float32)
    limits = limits_of(VerificationSettings(threshold=0.01, threshold_px=pixels))
    pair = ransac._normalise.py_func(xy0, xy1, np.array([1]), frame, limits)
    np.testing.assert_allclose(pair.points[:, 0], [0.1, -0.2, 0.1, -0.05])
    np.testing.assert_allclose(pair.points32[:, 0], [0.1, -0.2, 0.1, -0.05], rtol=1e-6)
    # 32 pixels of the smaller animal, which is 640 long, are more than a hundredth of it; 2 pixels are less.
    assert pair.threshold == pytest.approx(threshold)
    assert pair.noise_floor == pytest.approx(0.25 / 640)
    assert (pair.half_width, pair.half_height) == pytest.approx((1 / 6, 1 / 2))
