"""The symmetric transfer error and MSAC's score against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.geometry import scoring
from engine.geometry.arrays import NormalisedPair
from engine.geometry.verification import VerificationSettings, limits_of


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


def test_a_sheared_model_scores_by_both_residuals_together() -> None:
    # Turned and sheared, so that the two coordinates of the backward residual share a term: of a similarity it is zero.
    model = np.array([1.0, 0.6, 0.01, 0.0, 1.0, -0.02, 0.0, 0.0, 1.0])
    points = np.empty((4, 2), np.float32)
    points[:2] = [[0.1, -0.2], [0.3, 0.25]]
    # Forward residuals (0.006, 0.006) and (-0.006, -0.006); the inverse's linear part is [[1, -0.6], [0, 1]].
    points[2:] = transfer(model, points[:2].T).T - [[0.006, -0.006], [0.006, -0.006]]
    error = 0.5 * (2 * 0.006**2 + (0.4 * 0.006) ** 2 + 0.006**2)
    assert scoring.msac_score_affine(points, model, 0.02) == pytest.approx(2 * (1 - error / 0.02**2), rel=1e-4)


def flat_model(
    scale: float = 1.0, degrees: float = 0.0, shear: float = 0.0, x: float = 0.0, y: float = 0.0
) -> np.ndarray:
    """Return a (9,) normalised model; x and y are the perspective entries."""
    angle, root = math.radians(degrees), math.sqrt(1 - shear)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    model = np.eye(3)
    model[:2, :2] = scale * turn @ np.diag([1 / root, root])
    model[2, :2] = x, y
    return model.ravel()


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ({"scale": 2.4}, {"scale": 2.6}),
        ({"scale": 1 / 2.4}, {"scale": 1 / 2.6}),
        ({"degrees": 34}, {"degrees": 36}),
        ({"degrees": -34}, {"degrees": -36}),
        ({"shear": 0.49}, {"shear": 0.51}),
        # Depths of 1 - t and 1 + t at the ends of the frame have a ratio of 3 at t = 0.5.
        ({"x": 2.9}, {"x": 3.1}),
        ({"y": -0.9}, {"y": -1.1}),
    ],
)
def test_each_bound_of_the_prior(inside: dict[str, float], outside: dict[str, float]) -> None:
    limits = limits_of(VerificationSettings())
    tall = NormalisedPair(np.empty((4, 0)), np.empty((4, 0), np.float32), 0.01, 0.001, 1 / 6, 1 / 2)
    assert scoring.within_prior(flat_model(**inside), 0.0, 0.0, tall, limits)
    assert not scoring.within_prior(flat_model(**outside), 0.0, 0.0, tall, limits)


def test_a_mirrored_model_leaves_the_prior() -> None:
    limits = limits_of(VerificationSettings())
    tall = NormalisedPair(np.empty((4, 0)), np.empty((4, 0), np.float32), 0.01, 0.001, 1 / 6, 1 / 2)
    assert not scoring.within_prior(np.diag([-1.0, 1.0, 1.0]).ravel(), 0.0, 0.0, tall, limits)
