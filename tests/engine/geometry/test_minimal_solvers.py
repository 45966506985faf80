"""The closed-form solvers against arithmetic by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.geometry import minimal_solvers

SQUARE = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0])


def transfer(model: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (n, 2) points by a homography."""
    mapped = np.hstack([points, np.ones((len(points), 1))]) @ np.reshape(model, (3, 3)).T
    return mapped[:, :2] / mapped[:, 2:]


def sums_of(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the 23 sums by a plain loop."""
    sums = np.zeros(23)
    for (x, y, u, v), w in zip(points.T, weights, strict=True):
        r = u * u + v * v
        first = [x * x, x * y, x, y * y, y, 1, x * u, y * u, u, x * v, y * v, v]
        second = [x * x * u, x * y * u, y * y * u, x * x * v, x * y * v, y * y * v]
        third = [x * x * r, x * y * r, y * y * r, x * r, y * r]
        sums += w * np.array(first + second + third)
    return sums


def test_similarity_of_two_points_by_hand() -> None:
    # (0,0) -> (1,1) and (2,0) -> (1,5): twice as long, a quarter turn, shifted by (1, 1).
    assert minimal_solvers.similarity_from_2.py_func(0, 0, 2, 0, 1, 1, 1, 5) == pytest.approx((0, 2, 1, 1))


def test_affine_of_three_points_by_hand() -> None:
    model = np.empty(9)
    q = np.array([1.0, 2.0, 3.0, 2.0, 4.0, 5.0])  # (0,0)->(1,2), (1,0)->(3,2), (1,1)->(4,5)
    assert minimal_solvers.affine_from_3.py_func(SQUARE, q, model)
    np.testing.assert_allclose(model, [2, 1, 1, 0, 3, 2, 0, 0, 1])


def test_affine_of_three_points_on_a_line_is_refused() -> None:
    line = np.array([0.0, 0.0, 1.0, 1.0, 2.0, 2.0])
    assert not minimal_solvers.affine_from_3.py_func(line, SQUARE, np.empty(9))


def test_homography_of_four_points_is_exact() -> None:
    q = np.array([0.1, 0.0, 1.2, 0.1, 0.9, 1.1, 0.0, 0.8])
    model = np.empty(9)
    assert minimal_solvers.homography_from_4.py_func(SQUARE, q, model)
    np.testing.assert_allclose(transfer(model, SQUARE.reshape(4, 2)), q.reshape(4, 2), atol=1e-12)
    assert model[8] == pytest.approx(1.0)


def test_homography_of_a_folded_sample_is_refused() -> None:
    bow_tie = np.array([0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    assert not minimal_solvers.homography_from_4.py_func(SQUARE, bow_tie, np.empty(9))


def test_inverse() -> None:
    model = np.array([1.1, 0.2, 0.3, -0.1, 0.9, 0.2, 0.1, -0.2, 1.0])
    inverse = np.empty(9)
    assert minimal_solvers.invert.py_func(model, inverse)
    product = inverse.reshape(3, 3) @ model.reshape(3, 3)
    np.testing.assert_allclose(product / product[2, 2], np.eye(3), atol=1e-12)
    assert not minimal_solvers.invert.py_func(np.array([1.0, 1, 0, 1, 1, 0, 0, 0, 1]), inverse)


@pytest.mark.parametrize(
    "truth",
    [[1.2, -0.3, 0.1, 0.3, 1.2, -0.2, 0, 0, 1], [1.2, 0.1, 0.1, 0.3, 0.8, -0.2, 0, 0, 1]],
    ids=["similarity", "affine"],
)
def test_weighted_fits_recover_the_map_and_ignore_weight_zero(truth: list[float]) -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(-0.5, 0.5, (12, 2))
    uv = transfer(np.array(truth), xy)
    uv[0] += 5.0
    weights = rng.uniform(0.5, 1, 12)
    weights[0] = 0
    sums, model, scratch = sums_of(np.vstack([xy.T, uv.T]), weights), np.empty(9), np.empty(6)
    assert minimal_solvers.solve_affine.py_func(sums, scratch, model)
    np.testing.assert_allclose(model, truth, atol=1e-10)
    assert minimal_solvers.solve_homography.py_func(sums, scratch, model)
    np.testing.assert_allclose(model, truth, atol=1e-8)
    if truth[0] == truth[4]:
        assert minimal_solvers.solve_similarity.py_func(sums, model)
        np.testing.assert_allclose(model, truth, atol=1e-10)


def test_weighted_homography_solves_the_linear_equations() -> None:
    rng = np.random.default_rng(1)
    xy, uv, weights = rng.uniform(-0.5, 0.5, (15, 2)), rng.uniform(-0.5, 0.5, (15, 2)), rng.uniform(0.1, 1, 15)
    uv = xy + 0.1 * uv
    rows, right = [], []
    for (x, y), (u, v), w in zip(xy, uv, np.sqrt(weights), strict=True):
        rows += [[w * x, w * y, w, 0, 0, 0, -w * u * x, -w * u * y], [0, 0, 0, w * x, w * y, w, -w * v * x, -w * v * y]]
        right += [w * u, w * v]
    expected = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    model = np.empty(9)
    assert minimal_solvers.solve_homography.py_func(sums_of(np.vstack([xy.T, uv.T]), weights), np.empty(6), model)
    np.testing.assert_allclose(model[:8], expected, atol=1e-9)


def test_linear_part_by_hand() -> None:
    # A quarter turn after a stretch by 4 along x and 1 along y: scale 2, shear 1 - 1/4.
    model = np.array([0.0, -1.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    scale, rotation, shear, orientation = minimal_solvers.linear_part.py_func(model, 0.3, 0.1)
    assert (scale, math.degrees(rotation), shear, orientation) == pytest.approx((2, 90, 0.75, 1))
    assert minimal_solvers.linear_part.py_func(np.diag([1.0, -1, 1]).ravel(), 0.0, 0.0)[3] == -1
