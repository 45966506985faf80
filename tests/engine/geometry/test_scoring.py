"""The symmetric transfer error and MSAC's score against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from engine.geometry import scoring


def transfer(model: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (n, 2) points by a homography."""
    mapped = np.hstack([points, np.ones((len(points), 1))]) @ np.reshape(model, (3, 3)).T
    return mapped[:, :2] / mapped[:, 2:]


def test_errors_and_scores_by_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.5, 0.5, (4, 9)).astype(np.float32)
    points[2:] = points[:2] + rng.normal(0, 0.01, (2, 9))
    model = np.array([1.0, 0.01, 0.002, -0.01, 1.02, 0, 0.05, 0.02, 1.0])
    inverse = np.linalg.inv(model.reshape(3, 3))
    forward = transfer(model, points[:2].T) - points[2:].T
    backward = transfer(inverse, points[2:].T) - points[:2].T
    expected = 0.5 * ((forward**2).sum(1) + (backward**2).sum(1))
    errors, depths = np.empty(9, np.float32), np.empty(9, np.float32)
    scoring.symmetric_errors(points, model, (inverse / inverse[2, 2]).ravel(), errors, depths)
    np.testing.assert_allclose(errors, expected, rtol=1e-3, atol=1e-9)
    assert scoring.msac_score(errors, 0.02) == pytest.approx(np.maximum(0, 1 - expected / 4e-4).sum(), rel=1e-3)
    affine = model.copy()
    affine[6:8] = 0
    both = transfer(affine, points[:2].T) - points[2:].T
    back = transfer(np.linalg.inv(affine.reshape(3, 3)), points[2:].T) - points[:2].T
    squared = 0.5 * ((both**2).sum(1) + (back**2).sum(1))
    assert scoring.msac_score_affine(points, affine, 0.02) == pytest.approx(
        np.maximum(0, 1 - squared / 4e-4).sum(), rel=1e-3
    )
