"""The sampler: its random numbers, the samples that it refuses, and the stopping rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.geometry import sampling
from engine.geometry.verification import VerificationSettings, limits_of

LIMITS = limits_of(VerificationSettings())


def test_random_bits_are_splitmix64() -> None:
    # First outputs of the reference implementation for the seed 1234567.
    state = np.array([1234567], np.uint64)
    assert [int(sampling.random_bits(state)) for _ in range(2)] == [6457827717110365317, 3203168211198807973]


def samples(points: np.ndarray, size: int, draws: int = 300) -> int:
    """Return how many of so many draws pass the tests."""
    state, kept, passed = np.array([3], np.uint64), np.empty((sampling.BLOCK, 5), np.int64), 0
    for first in range(0, draws, sampling.BLOCK):
        last = min(first + sampling.BLOCK, draws)
        passed += sampling.draw_samples(points, size, first, last, 0.01, LIMITS, state, kept)
    return passed


@pytest.mark.parametrize("size", [2, 3, 4])
def test_samples_that_can_be_no_models_are_refused(size: int) -> None:
    rng = np.random.default_rng(4)
    good = np.tile(rng.uniform(-0.5, 0.5, (2, 40)), (2, 1))
    assert samples(good, size) > 100
    turned = np.vstack([good[:2], -good[2], -good[3]])
    shrunk = np.vstack([good[:2], good[2:] / 6])
    grown = np.vstack([good[:2] / 6, good[2:]])
    same = np.zeros((4, 40))
    for bad in (turned, shrunk, grown, same):
        assert samples(bad, size) == 0
    if size > 2:
        line = np.vstack([good[0], 0.5 * good[0], good[0], 0.5 * good[0]])
        mirrored = np.vstack([0.2 * good[0], good[1], -0.2 * good[0], good[1]])
        # Not quite a line in one of the views: the order of the corners may still agree.
        nearly = good.copy()
        nearly[2] = 0.5 * nearly[3] + 1e-4 * nearly[2]
        assert samples(line, size) == 0
        assert samples(nearly, size) == 0
        assert samples(nearly[[2, 3, 0, 1]], size) == 0
        assert samples(mirrored, size) == 0


@pytest.mark.parametrize("size", [3, 4])
def test_bounds_of_richer_models_leave_room_for_shear(size: int) -> None:
    # Scale 2.3 and shear 0.4 are within the prior, although lengths along one axis grow by more than the largest scale.
    good = np.tile(np.random.default_rng(4).uniform(-0.5, 0.5, (2, 40)), (2, 1))
    sheared = good.copy()
    sheared[2], sheared[3] = 2.3 / math.sqrt(0.6) * good[2], 2.3 * math.sqrt(0.6) * good[3]
    assert samples(sheared, size) >= samples(good, size)
    assert samples(sheared, 2) < samples(good, 2)


def test_stopping_rule_by_hand() -> None:
    # 16 correspondences, the first 8 inliers: the prefixes of 16 (half of the draws), 8, 8 and 8.
    errors = np.array([0.0] * 8 + [1.0] * 8, np.float32)
    arrives = float(sampling.CONVERGES[2])
    missed = 3 * math.log(1 - arrives * (8 / 16) * (7 / 15)) + 3 * math.log(1 - arrives)
    expected = 6 * math.log(0.001) / missed
    assert sampling.draws_needed.py_func(errors, 0.5, 2, 0.001) == pytest.approx(expected)
    assert sampling.draws_needed.py_func(np.ones(16, np.float32), 0.5, 2, 0.001) == np.inf
