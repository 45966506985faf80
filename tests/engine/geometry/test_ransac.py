"""The closed-form solvers against arithmetic by hand, the sampler, the stopping rule and the filter of duplicates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.geometry import minimal_solvers, ransac, sampling
from engine.geometry import scoring as consensus

SQUARE = np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0])


def limits(rotation: float = 35.0, shear: float = 0.5) -> np.ndarray:
    """Return limits in the order of the L_ constants."""
    angle = math.radians(rotation)
    wider = angle + math.atan(shear / (2 * math.sqrt(1 - shear)))
    return np.array(
        [2.5, angle, shear, 3.0, 0.999, 0.01, 2.0, 0.5, 0.5, 0.15, math.tan(angle), math.tan(wider)], np.float64
    )


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


def test_random_bits_are_splitmix64() -> None:
    # First outputs of the reference implementation for the seed 1234567.
    state = np.array([1234567], np.uint64)
    assert [int(minimal_solvers.random_bits(state)) for _ in range(2)] == [6457827717110365317, 3203168211198807973]


def test_errors_and_gain_by_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    points = rng.uniform(-0.5, 0.5, (4, 9)).astype(np.float32)
    points[2:] = points[:2] + rng.normal(0, 0.01, (2, 9))
    model = np.array([1.0, 0.01, 0.002, -0.01, 1.02, 0, 0.05, 0.02, 1.0])
    inverse = np.linalg.inv(model.reshape(3, 3))
    forward = transfer(model, points[:2].T) - points[2:].T
    backward = transfer(inverse, points[2:].T) - points[:2].T
    expected = 0.5 * ((forward**2).sum(1) + (backward**2).sum(1))
    errors, depths = np.empty(9, np.float32), np.empty(9, np.float32)
    consensus.symmetric_errors(points, model, (inverse / inverse[2, 2]).ravel(), errors, depths)
    np.testing.assert_allclose(errors, expected, rtol=1e-3, atol=1e-9)
    assert consensus.total_gain(errors, 0.02) == pytest.approx(np.maximum(0, 1 - expected / 4e-4).sum(), rel=1e-3)
    affine = model.copy()
    affine[6:8] = 0
    both = transfer(affine, points[:2].T) - points[2:].T
    back = transfer(np.linalg.inv(affine.reshape(3, 3)), points[2:].T) - points[:2].T
    squared = 0.5 * ((both**2).sum(1) + (back**2).sum(1))
    assert consensus.affine_gain(points, affine, 0.02) == pytest.approx(
        np.maximum(0, 1 - squared / 4e-4).sum(), rel=1e-3
    )


def samples(points: np.ndarray, size: int, draws: int = 300) -> int:
    """Return how many of so many draws pass the tests."""
    state, kept, passed = np.array([3], np.uint64), np.empty((sampling.BLOCK, 5), np.int64), 0
    for first in range(0, draws, sampling.BLOCK):
        last = min(first + sampling.BLOCK, draws)
        passed += sampling.draw_samples(points, size, first, last, 0.01, limits(), state, kept)
    return passed


@pytest.mark.parametrize("size", [2, 3, 4])
def test_samples_that_can_be_no_models_are_refused(size: int) -> None:
    rng = np.random.default_rng(4)
    good = np.tile(rng.uniform(-0.5, 0.5, (2, 40)), (2, 1))
    assert samples(good, size) > 100
    turned = np.vstack([good[:2], -good[2], -good[3]])
    shrunk = np.vstack([good[:2], good[2:] / 6])
    same = np.zeros((4, 40))
    for bad in (turned, shrunk, same):
        assert samples(bad, size) == 0
    if size > 2:
        line = np.vstack([good[0], 0.5 * good[0], good[0], 0.5 * good[0]])
        mirrored = np.vstack([0.2 * good[0], good[1], -0.2 * good[0], good[1]])
        assert samples(line, size) == 0
        assert samples(mirrored, size) == 0


def test_stopping_rule_by_hand() -> None:
    # 16 correspondences, the first 8 inliers: the prefixes of 16 (half of the draws), 8, 8 and 8.
    errors = np.array([0.0] * 8 + [1.0] * 8, np.float32)
    arrives = float(sampling.ARRIVES[2])
    missed = 3 * math.log(1 - arrives * (8 / 16) * (7 / 15)) + 3 * math.log(1 - arrives)
    expected = 6 * math.log(0.001) / missed
    assert sampling.draws_needed.py_func(errors, 0.5, 2, 0.001) == pytest.approx(expected)
    assert sampling.draws_needed.py_func(np.ones(16, np.float32), 0.5, 2, 0.001) == np.inf


def test_duplicates_as_by_a_plain_loop() -> None:
    rng = np.random.default_rng(5)
    xy0 = np.round(rng.uniform(-3, 30, (150, 2)), 1).astype(np.float32)
    xy1 = np.round(rng.uniform(-3, 30, (150, 2)), 1).astype(np.float32)
    xy0[7] = np.nan
    xy1[9, 1] = np.inf
    expected: list[int] = []
    for i in range(150):
        near = any(min(np.hypot(*(xy0[i] - xy0[j])), np.hypot(*(xy1[i] - xy1[j]))) <= 0.6 for j in expected)
        if np.isfinite([xy0[i], xy1[i]]).all() and not near:
            expected.append(i)
    kept = np.empty(150, np.int64)
    count = sampling.distinct(xy0, xy1, 0.6, kept)
    assert kept[:count].tolist() == expected
    assert 50 < count < 145


@pytest.mark.parametrize("n", [1, 2, 5, 8, 101])
def test_median(n: int) -> None:
    values = np.random.default_rng(n).integers(0, 20, n).astype(np.float32)
    assert ransac.median(values.copy()) == pytest.approx(np.median(values))


def test_model_in_pixels_of_tall_and_wide_frames() -> None:
    frame = np.array([300.0, 900.0, 640.0, 200.0])
    model = np.array([0.9, 0.1, 0.02, -0.1, 1.1, 0.03, 0.05, 0.1, 1.0])
    normal = np.array([[0.1, 0.3], [-0.2, 0.4]])
    pixels0 = normal * 900 + [149.5, 449.5]
    expected = transfer(model, normal) * 640 + [319.5, 99.5]
    ransac.to_pixels.py_func(model, frame)
    np.testing.assert_allclose(transfer(model, pixels0), expected, atol=1e-9)
