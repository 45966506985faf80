"""Whatever a pair holds, its verification has the same types, shapes and neutral values."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from engine.geometry.verification import VerificationSettings, verify_pairs
from engine.records import Verification

COUNTS = (0, 1, 2, 3, 4, 5, 8, 300)


def verified(kinds: tuple[str, ...], content: str) -> list[Verification]:
    """Verify one pair for each of COUNTS in one call."""
    rng = np.random.default_rng(0)
    points0 = [rng.uniform(10, 190, (n, 2)).astype(np.float32) for n in COUNTS]
    if content == "random":
        points1 = [rng.uniform(10, 190, (n, 2)).astype(np.float32) for n in COUNTS]
    else:
        points1 = [points + np.float32(3) for points in points0]
    confidence = [np.linspace(1, 0, n).astype(np.float32) for n in COUNTS]
    sizes = [(200, 500)] * len(COUNTS)
    keys = [("q", str(n)) for n in COUNTS]
    return verify_pairs(points0, points1, confidence, sizes, sizes, keys, None, VerificationSettings(kinds=kinds))


@pytest.mark.parametrize("content", ["same", "random"])
@pytest.mark.parametrize(
    "kinds",
    [("similarity",), ("affine",), ("homography",), ("similarity", "affine", "homography")],
    ids="+".join,
)
def test_same_types_for_any_number_of_matches(kinds: tuple[str, ...], content: str) -> None:
    for n, found in zip(COUNTS, verified(kinds, content), strict=True):
        neutral = Verification.none(n)
        for field in dataclasses.fields(Verification):
            value, expected = getattr(found, field.name), getattr(neutral, field.name)
            assert type(value) is type(expected), field.name
            if isinstance(value, np.ndarray):
                assert (value.shape, value.dtype) == (expected.shape, expected.dtype), field.name
            elif not found.ok and not (isinstance(expected, float) and math.isnan(expected)):
                assert value == expected, field.name
        if found.ok:
            assert found.kind in kinds
            assert found.n_inliers == found.inliers.sum() >= 4
            assert np.isfinite([found.residual, found.scale, found.rotation, found.shear, found.position_gap]).all()
            assert 0 <= found.plausibility <= 1
            assert 0 < found.inlier_ratio <= 1
            assert 0 < found.score <= found.n_inliers + 1e-3
        if n < 4:
            assert not found.ok
        if n == 300 and content == "same":
            assert found.n_inliers > 250
        if n == 4 and content == "same" and "similarity" in kinds:
            assert found.n_inliers == 4
