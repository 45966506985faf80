"""The filter of repeated keypoints against a plain loop."""

from __future__ import annotations

import numpy as np

from engine.geometry import duplicates


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
    count = duplicates.drop_duplicate_keypoints(xy0, xy1, 0.6, kept)
    assert kept[:count].tolist() == expected
    assert 50 < count < 145
