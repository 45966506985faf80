"""The likeness of two candidates: its features by hand, what it learns, and what it does not need to know."""

from __future__ import annotations

import numpy as np
import pytest

from reranker.calibration import sigmoid
from reranker.likeness import EVERY_FEATURE, FEATURES, MATCHED, Likeness, features_of


def test_features_by_hand() -> None:
    cosine, local = np.array([[2.0, 5.0, np.nan]]), np.array([[-3.0, 1.0, np.nan]])
    same_date, seconds = np.array([[True, True, False]]), np.array([[np.nan, 9.0, 9.0]])
    found = features_of(cosine, local, same_date, seconds)
    assert set(found) == {*EVERY_FEATURE, MATCHED}
    assert not found[MATCHED].any(), "nobody was matched"
    expected = {
        "cosine": [2, 5, 0],
        "cosine_capped": [2, 3, 0],
        "local": [-0.9, 1, 0],
        "local_log": [np.log(0.1), np.log(2), 0],
        "same_date": [1, 1, 0],
        "same_date_cosine": [2, 5, 0],
        "same_date_local_log": [np.log(0.1), np.log(2), 0],
        "timed": [0, 1, 0],
        "timed_log_seconds": [0, np.log(10), 0],
        "timed_log_seconds_cosine": [0, 5 * np.log(10), 0],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], [values], atol=1e-12, err_msg=name)


def test_it_learns_what_tells_pairs_apart() -> None:
    rng = np.random.default_rng(0)
    same = rng.random(4000) < 0.3
    cosine, local = rng.normal(2.0 * same, 1.0), rng.normal(3.0 * same, 1.0)
    day, seconds = rng.random(4000) < 0.5, rng.exponential(np.where(same, 10.0, 1000.0))
    features = features_of(cosine, local, day, seconds)
    fitted = Likeness.fit(features, same.astype(float))
    p = fitted.probability(features)
    assert p[same].mean() > 0.85 > 0.1 > p[~same].mean()
    assert abs(p.mean() - same.mean()) < 0.01
    near, far = (features_of(np.ones(1), np.ones(1), np.ones(1, bool), np.array([s])) for s in (2.0, 5000.0))
    assert fitted.probability(near)[0] > fitted.probability(far)[0]


def test_what_never_varies_has_no_weight() -> None:
    rng = np.random.default_rng(1)
    same = rng.random(500) < 0.5
    features = features_of(rng.normal(same), np.full(500, np.nan), np.zeros(500, bool), np.full(500, np.nan))
    fitted = Likeness.fit(features, same.astype(float))
    assert fitted.weights["local"] == fitted.weights["timed"] == fitted.weights["same_date"] == 0
    assert fitted.weights["cosine"] + fitted.weights["cosine_capped"] > 0


def test_a_written_one_is_read_again_and_an_unknown_feature_is_refused() -> None:
    one = Likeness({"cosine": 0.5, "local": -1.0}, -2.0)
    assert Likeness.from_dict(one.to_dict()) == one
    assert one.probability({name: np.ones(1) for name in FEATURES})[0] == pytest.approx(sigmoid(-2.5))
    with pytest.raises(ValueError, match="'colour'"):
        Likeness.from_dict({"weights": {"colour": 1.0}, "offset": 0.0})


def test_a_matched_pair_is_judged_by_what_its_keypoints_say_and_others_as_before() -> None:
    nan = np.nan
    numbers = {
        "inlier_ratio": np.array([0.5, 0.0, nan]),
        "position_gap": np.array([0.1, nan, nan]),
        "correlation_coarse": np.array([0.3, nan, nan]),
        "correlation_fine": np.array([0.2, nan, nan]),
    }
    ones = np.ones(3)
    features = features_of(ones, ones, np.zeros(3, bool), ones * nan, numbers)
    np.testing.assert_array_equal(features[MATCHED], [1, 1, 0])
    np.testing.assert_array_equal(features["position_gap"], [0.1, 0.2, 0.2])  # none found: as far apart as chance
    np.testing.assert_array_equal(features["correlation_fine"], [0.2, 0.0, 0.0])
    keypoints = Likeness({"inlier_ratio": 4.0, "position_gap": -10.0, "cosine": 0.5}, -1.0)
    both = Likeness({"cosine": 1.0}, -3.0, keypoints)
    np.testing.assert_allclose(both.probability(features), sigmoid([2 - 1 + 0.5 - 1, 0 - 2 + 0.5 - 1, 1 - 3]))
    alone = Likeness({"cosine": 1.0}, -3.0)
    np.testing.assert_allclose(alone.probability(features), sigmoid([-2.0, -2, -2]))
    assert Likeness.from_dict(both.to_dict()) == both and "matched" not in alone.to_dict()
    with pytest.raises(ValueError, match="'inlier_ratio'"):
        Likeness.from_dict({"weights": {"inlier_ratio": 1.0}, "offset": 0.0})
    with pytest.raises(ValueError, match="'colour'"):
        Likeness.from_dict({**alone.to_dict(), "matched": {"weights": {"colour": 1.0}, "offset": 0.0}})
