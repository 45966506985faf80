"""Mutual nearest neighbours by a plain loop, and the cheap test in front of LightGlue."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engine.lightglue import LightGlueNetwork
from engine.matching import LightGlueMatcher, MatchingSettings
from engine.pretest import agreeing, mutual_neighbours, position_gaps
from features.records import Frame, LocalFeatures
from features.settings import SettingsError

FRAME = Frame((200, 600))


def features(count: int, seed: int, frame: Frame = FRAME, kind: str = "aliked") -> LocalFeatures:
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(size=(count, 128)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    xy = rng.uniform((0, 0), (frame.size[0] - 1, frame.size[1] - 1), (count, 2)).astype(np.float32)
    ones = np.ones(count, np.float32)
    return LocalFeatures(xy, ones, descriptors, ones, ones, frame, kind)


def again(first: LocalFeatures, shift: float = 3.0, seed: int = 9) -> LocalFeatures:
    """The same keypoints in another photograph, described a little differently."""
    noise = 0.02 * np.random.default_rng(seed).normal(size=first.descriptors.shape)
    descriptors = (first.descriptors + noise).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return dataclasses.replace(first, xy=first.xy + np.float32(shift), descriptors=descriptors)


def test_mutual_neighbours_by_a_plain_loop() -> None:
    first, second = features(40, 1), features(30, 2)
    found = mutual_neighbours(first, second, 512)
    cosine = first.descriptors @ second.descriptors.T
    expected = [(i, j) for i in range(40) for j in range(30) if cosine[i].argmax() == j and cosine[:, j].argmax() == i]
    assert list(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == expected
    for (i, j), top, ratio in zip(expected, found.cosine, found.ratio, strict=True):
        others = np.delete(cosine[i], j).max()
        assert top == pytest.approx(cosine[i, j], rel=1e-5)
        assert ratio == pytest.approx(np.sqrt((2 - 2 * cosine[i, j]) / (2 - 2 * others)), rel=1e-4)


def test_only_the_best_keypoints_take_part() -> None:
    found = mutual_neighbours(features(40, 1), features(40, 1), 7)
    assert found.rows.tolist() == found.columns.tolist() == list(range(7))


@pytest.mark.parametrize("counts", [(0, 5), (5, 0), (0, 0), (1, 1), (1, 9), (2, 2)])
def test_few_keypoints_are_no_error(counts: tuple[int, int]) -> None:
    first, second = features(counts[0], 1), features(counts[1], 2)
    found = mutual_neighbours(first, second, 512)
    assert len(found) == (min(counts) > 0) * len(found) <= min(counts)
    assert np.isfinite(found.ratio).all()
    assert agreeing(first, second, 512, 1.0, 0.15) <= len(found)


def test_places_are_relative_to_head_up_crops_of_any_size() -> None:
    first = features(20, 1)
    # A lateral of twice the resolution whose head points left: wide, one clockwise quarter turn.
    frame = Frame((1200, 400), 3)
    middle0, middle1 = (np.array(size, np.float32) / 2 - 0.5 for size in ((200, 600), (400, 1200)))
    canonical = (first.canonical_xy - middle0) * 2 + middle1 + np.float32([0, 120])
    second = dataclasses.replace(first, xy=frame.to_original(canonical), frame=frame)
    found = mutual_neighbours(first, second, 512)
    np.testing.assert_allclose(position_gaps(first, second, found), 0.1, atol=1e-5)
    assert agreeing(first, second, 512, 1.0, 0.11) == 20
    assert agreeing(first, second, 512, 1.0, 0.09) == 0


def test_the_ratio_drops_ambiguous_neighbours() -> None:
    first = features(30, 1)
    second = again(first)
    twins = dataclasses.replace(
        second, **{n: np.concatenate([getattr(second, n)] * 2) for n in ("xy", "scores", "marks", "body")}
    )
    twins = dataclasses.replace(twins, descriptors=np.concatenate([second.descriptors, again(first).descriptors]))
    assert agreeing(first, second, 512, 0.8, 0.15) == 30
    assert agreeing(first, twins, 512, 0.8, 0.15) == 0
    assert agreeing(first, twins, 512, 1.0, 0.15) > 0


def test_lightglue_sees_only_pairs_that_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = features(48, 1), features(48, 5)
    pairs = [(first, again(first)), (first, other), (first, features(0, 1)), (other, again(other))]
    every = LightGlueMatcher("aliked", MatchingSettings()).match(pairs)
    seen: list[int] = []
    match = LightGlueNetwork.match
    monkeypatch.setattr(
        LightGlueNetwork, "match", lambda self, batch, *rest: (seen.append(len(batch)), match(self, batch, *rest))[1]
    )
    some = LightGlueMatcher("aliked", MatchingSettings(pretest=20)).match(pairs)
    assert sum(seen) == 2
    for place in (0, 3):
        np.testing.assert_array_equal(some[place].indices, every[place].indices)
        np.testing.assert_array_equal(some[place].confidence, every[place].confidence)
    for place in (1, 2):
        assert len(some[place]) == 0
        assert np.isnan(some[place].similarity)


def test_the_option_changes_the_fingerprint_and_is_checked() -> None:
    assert MatchingSettings(pretest=5).fingerprint() != MatchingSettings().fingerprint()
    for options in ({"pretest": -1}, {"pretest_ratio": 0.0}, {"pretest_gap": 0.0}):
        with pytest.raises(SettingsError, match="pretest"):
            MatchingSettings(**options)  # type: ignore[arg-type]
