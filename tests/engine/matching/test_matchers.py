"""The nearest-neighbour matcher by hand arithmetic, and the choice of matcher."""

from __future__ import annotations

import numpy as np
import pytest

from engine.matching.matchers import LightGlueMatcher, MatchingSettings, NearestNeighbourMatcher, make_matcher
from features.records import Frame, LocalFeatures
from scarmatch.settings import SettingsError


def features(*angles: float, kind: str = "sift") -> LocalFeatures:
    """Keypoints whose descriptors are unit vectors at these angles (degrees)."""
    radians = np.deg2rad(np.array(angles))
    descriptors = np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32)
    count = len(angles)
    ones = np.ones(count, np.float32)
    xy = np.stack([np.arange(count), np.arange(count)], 1).astype(np.float32)
    return LocalFeatures(xy, ones, descriptors, ones, ones, Frame((100, 200)), kind)


def match(first: LocalFeatures, second: LocalFeatures, **options: float) -> list[tuple[int, int]]:
    found = NearestNeighbourMatcher(MatchingSettings(method="nearest", **options)).match([(first, second)])[0]
    return [tuple(row) for row in found.indices.tolist()]


def test_only_mutual_neighbours_match() -> None:
    # Both 0 and 4 degrees have 1 degree as their nearest; 1 degree's own nearest is 0.
    assert match(features(0, 4), features(1, 90), ratio=1.0) == [(0, 0)]


def test_ratio_test_drops_ambiguous_neighbours() -> None:
    first, second = features(0, 90), features(3, -4, 91)
    assert set(match(first, second, ratio=1.0)) == {(0, 0), (1, 2)}
    # Distances 3 and 4 degrees are too alike; 1 and 87 degrees are not.
    assert match(first, second, ratio=0.7) == [(1, 2)]


def test_best_first_and_confidence_is_the_cosine() -> None:
    found = NearestNeighbourMatcher(MatchingSettings(ratio=1.0)).match([(features(0, 90), features(10, 91))])[0]
    assert found.indices.tolist() == [[1, 1], [0, 0]]
    np.testing.assert_allclose(found.confidence, np.cos(np.deg2rad([1, 10])), atol=1e-3)


def test_only_the_best_keypoints_take_part() -> None:
    assert match(features(0, 50), features(0, 50), ratio=1.0, max_keypoints=1) == [(0, 0)]


def test_the_matcher_follows_the_keypoints() -> None:
    assert isinstance(make_matcher("sift"), NearestNeighbourMatcher)
    assert isinstance(make_matcher("aliked", MatchingSettings(method="nearest")), NearestNeighbourMatcher)
    assert isinstance(make_matcher("xfeat"), LightGlueMatcher)


def test_fingerprints_follow_settings_and_weights() -> None:
    prints = {
        make_matcher("sift").fingerprint(),
        make_matcher("sift", MatchingSettings(ratio=0.8)).fingerprint(),
        make_matcher("xfeat").fingerprint(),
        make_matcher("xfeat", MatchingSettings(threshold=0.3)).fingerprint(),
    }
    assert len(prints) == 4


@pytest.mark.parametrize("options", [{"method": "brute"}, {"precision": "int8"}, {"max_keypoints": 0}])
def test_bad_options_are_refused(options: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        MatchingSettings(**options)
