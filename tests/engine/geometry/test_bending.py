"""The bend of a body on made-up bodies whose bend is known."""

from __future__ import annotations

import numpy as np
import pytest

from engine.geometry import bending
from engine.geometry.verification import VerificationSettings, verify_pairs
from engine.records import Verification
from scarmatch.settings import SettingsError

SIZE = (300, 900)
STRAIGHT = VerificationSettings(threads=1)
BENT = STRAIGHT.replace(bend="quadratic")


def bent_pair(
    sagitta: float, n: int = 160, share: float = 0.6, noise: float = 0.6, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points on a straight body, on the same body bent and turned by 8 degrees, and which belong together.

    Args:
        sagitta: how far the middle lies beside the line between the ends, relative to the body's length.
    """
    rng = np.random.default_rng(seed)
    points0 = rng.uniform((60, 0), (239, 899), (n, 2))
    x, y = (points0 - (np.array(SIZE) - 1) / 2).T / SIZE[1]
    curve = 4 * sagitta
    moved = np.stack([x + curve * y * y, y - 2 * curve * y * x], 1)
    angle = np.deg2rad(8)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points1 = moved @ turn.T * SIZE[1] + (np.array(SIZE) - 1) / 2 + rng.normal(0, noise, (n, 2))
    true = rng.permutation(n) < round(share * n)
    points1[~true] = rng.uniform(0, np.array(SIZE) - 1, (int((~true).sum()), 2))
    return points0.astype(np.float32), points1.astype(np.float32), true


def run(points0: np.ndarray, points1: np.ndarray, settings: VerificationSettings, key: str = "c") -> Verification:
    confidence = np.ones(len(points0), np.float32)
    return verify_pairs([points0], [points1], [confidence], [SIZE], [SIZE], [("q", key)], None, settings)[0]


@pytest.mark.parametrize("sagitta", [0.06, -0.06])
def test_a_bent_body_keeps_its_ends(sagitta: float) -> None:
    points0, points1, true = bent_pair(sagitta)
    straight, bent = run(points0, points1, STRAIGHT), run(points0, points1, BENT)
    assert (bent.inliers & true).sum() >= 0.95 * true.sum()
    assert (bent.inliers & ~true).sum() <= 4
    assert bent.n_inliers == bent.inliers.sum() >= 1.25 * straight.n_inliers
    assert bent.spread_along > straight.spread_along
    assert bent.residual < straight.residual
    assert straight.bend == 0
    assert bent.bend == pytest.approx(sagitta, abs=0.005)
    assert bent.kind in ("similarity", "affine")
    assert bent.rotation == pytest.approx(8, abs=1)
    assert bent.scale == pytest.approx(1, abs=0.03)


def test_a_similarity_bends_too() -> None:
    points0, points1, true = bent_pair(0.05, noise=0.3)
    found = run(points0, points1, BENT.replace(kinds=("similarity",)))
    assert found.bend == pytest.approx(0.05, abs=0.005)
    assert (found.inliers & true).sum() >= 0.95 * true.sum()


def test_a_straight_body_stays_straight() -> None:
    for seed in range(6):
        points0, points1, _ = bent_pair(0.0, seed=seed)
        straight, bent = run(points0, points1, STRAIGHT, str(seed)), run(points0, points1, BENT, str(seed))
        assert abs(bent.bend) < 0.004
        assert abs(bent.n_inliers - straight.n_inliers) <= 2
        if bent.bend == 0:
            np.testing.assert_array_equal(straight.model, bent.model)


def test_impostors_gain_little() -> None:
    gains = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        points0, points1 = (rng.uniform(0, SIZE, (200, 2)).astype(np.float32) for _ in range(2))
        straight, bent = run(points0, points1, STRAIGHT, str(seed)), run(points0, points1, BENT, str(seed))
        assert bent.n_inliers >= straight.n_inliers - 1
        gains.append(bent.n_inliers - straight.n_inliers)
    assert np.mean(gains) < 1.5


def test_more_than_the_largest_bend_is_refused() -> None:
    points0, points1, _ = bent_pair(0.06)
    found = run(points0, points1, BENT.replace(max_bend=0.01, kinds=("similarity",)))
    assert abs(found.bend) <= 0.01
    assert found.n_inliers == run(points0, points1, STRAIGHT.replace(kinds=("similarity",))).n_inliers


@pytest.mark.parametrize("case", ["line across", "one point", "few"])
def test_where_no_bend_can_be_told_there_is_none(case: str) -> None:
    points0, points1, _ = bent_pair(0.0, n=30, share=1.0)
    if case == "line across":
        points0[:, 1] = points1[:, 1] = 400
    elif case == "one point":
        points0[:] = points1[:] = 50
    else:
        points0, points1 = points0[:4], points1[:4]
    assert run(points0, points1, BENT).bend == 0


def test_same_answer_alone_in_a_batch_and_for_any_threads() -> None:
    pairs = [bent_pair(0.002 * i, n=40 + i, seed=i) for i in range(70)]

    def batch(order: list[int], threads: int) -> list[Verification]:
        first, second = [pairs[i][0] for i in order], [pairs[i][1] for i in order]
        confidence, sizes = [np.ones(len(a), np.float32) for a in first], [SIZE] * len(order)
        keys = [("q", str(i)) for i in order]
        return verify_pairs(first, second, confidence, sizes, sizes, keys, None, BENT.replace(threads=threads))

    expected = batch(list(range(70)), 1)
    assert sum(found.bend != 0 for found in expected) > 10
    for other in (batch(list(range(70)), 4), [batch([i], 1)[0] for i in range(70)]):
        for a, b in zip(expected, other, strict=True):
            np.testing.assert_array_equal(a.inliers, b.inliers)
            assert (a.bend, a.score, a.residual) == (b.bend, b.score, b.residual)


def test_errors_by_a_plain_loop() -> None:
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (4, 5))
    model = np.array([1.0, 0.1, 0.02, -0.1, 0.9, 0.01, 0.0, 0.0, 1.0])
    inverse = np.linalg.inv(model.reshape(3, 3)).ravel()
    errors = np.empty(5, np.float32)
    bending.bent_errors.py_func(points, model, inverse, 0.3, errors)
    for (x, y, u, v), found in zip(points.T, errors, strict=True):
        bx, by = x + 0.3 * y * y, y - 0.6 * y * x
        there, back = model.reshape(3, 3) @ [bx, by, 1], inverse.reshape(3, 3) @ [u, v, 1]
        forward, backward = there[:2] - [u, v], back[:2] - [bx, by]
        assert found == pytest.approx(0.5 * (forward @ forward + backward @ backward), rel=1e-5)


def test_equations_are_solved_and_poor_ones_refused() -> None:
    rng = np.random.default_rng(0)
    rows, right = rng.normal(size=(12, 4)), rng.normal(size=12)
    table = np.hstack([rows.T @ rows, (rows.T @ right)[:, None]])
    answer = np.empty(4)
    assert bending.solve_symmetric.py_func(table.copy(), 4, 1e-9, answer)
    np.testing.assert_allclose(answer, np.linalg.lstsq(rows, right, rcond=None)[0], atol=1e-10)
    rows[:, 3] = rows[:, 0]
    poor = np.hstack([rows.T @ rows, (rows.T @ right)[:, None]])
    assert not bending.solve_symmetric.py_func(poor, 4, 1e-9, answer)


@pytest.mark.parametrize("options", [{"bend": "cubic"}, {"max_bend": 0.0}])
def test_options_out_of_range_are_errors(options: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        VerificationSettings(**options)
