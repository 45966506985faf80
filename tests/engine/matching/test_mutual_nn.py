"""Mutual nearest neighbours by a plain loop, the learned metric, and the sure ones among them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from engine.matching.mutual_nn import MutualNNMatcher, MutualNNSettings, mutual_neighbours
from features.keypoints.metric import KeypointMetric, KeypointMetricError
from features.records import Frame, LocalFeatures
from scarmatch.settings import SettingsError

PLAIN = MutualNNSettings(metric="none")
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
    first, second = features(40, 1).descriptors, features(30, 2).descriptors
    found = mutual_neighbours(first, second)
    cosine = first @ second.T
    expected = [(i, j) for i in range(40) for j in range(30) if cosine[i].argmax() == j and cosine[:, j].argmax() == i]
    assert list(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == expected
    for (i, j), top, ratio in zip(expected, found.cosine, found.ratio, strict=True):
        others = max(np.delete(cosine[i], j).max(), np.delete(cosine[:, j], i).max())
        assert top == pytest.approx(cosine[i, j], abs=3e-5)
        assert ratio == pytest.approx(np.sqrt((2 - 2 * cosine[i, j]) / (2 - 2 * others)), rel=1e-4)


def test_the_same_either_way_round() -> None:
    first, second = features(50, 1).descriptors, features(35, 2).descriptors
    one, other = mutual_neighbours(first, second), mutual_neighbours(second, first)
    order = np.argsort(other.columns)
    np.testing.assert_array_equal(one.rows, other.columns[order])
    np.testing.assert_array_equal(one.columns, other.rows[order])
    np.testing.assert_allclose(one.ratio, other.ratio[order], atol=1e-6)


def test_best_first_with_one_less_the_ratio_as_confidence() -> None:
    first = features(40, 1)
    second = again(first)
    found = MutualNNMatcher("aliked", PLAIN).match([(first, second)])[0]
    np.testing.assert_array_equal(found.indices[:, 0], found.indices[:, 1])
    assert len(found) == 40
    assert (np.diff(found.confidence) <= 0).all()
    plain = mutual_neighbours(first.descriptors, second.descriptors)
    ratio = dict(zip(plain.rows.tolist(), plain.ratio.tolist(), strict=True))
    np.testing.assert_allclose(found.confidence, [1 - ratio[row] for row in found.indices[:, 0].tolist()], atol=1e-6)


def test_only_the_best_keypoints_take_part() -> None:
    found = MutualNNMatcher("aliked", MutualNNSettings(7, "none")).match([(features(40, 1), features(40, 1))])[0]
    assert sorted(found.indices[:, 0].tolist()) == sorted(found.indices[:, 1].tolist()) == list(range(7))


@pytest.mark.parametrize("counts", [(0, 5), (5, 0), (0, 0), (1, 1), (1, 9), (2, 2)])
@pytest.mark.parametrize("metric", ["none", "auto"])
def test_few_keypoints_are_no_error(counts: tuple[int, int], metric: str) -> None:
    first, second = features(counts[0], 1), features(counts[1], 2)
    matcher = MutualNNMatcher("aliked", MutualNNSettings(metric=metric))
    found = matcher.match([(first, second)])[0]
    assert (min(counts) > 0) <= len(found) <= min(counts)
    assert np.isfinite(found.confidence).all()
    assert np.isnan(found.similarity) == (len(found) == 0)
    assert len(matcher.passes_ratio_test(found)) <= len(found)


def test_a_batch_equals_its_singles() -> None:
    views = [features(60, seed) for seed in range(3)]
    pairs = [(a, again(b)) for a in views for b in views]
    for pair, found in zip(pairs, MutualNNMatcher("aliked").match(pairs), strict=True):
        alone = MutualNNMatcher("aliked").match([pair])[0]
        np.testing.assert_array_equal(found.indices, alone.indices)
        np.testing.assert_array_equal(found.confidence, alone.confidence)


def test_ambiguous_neighbours_fail_the_ratio_test() -> None:
    first = features(30, 1)
    second = again(first)
    twins = dataclasses.replace(
        second, **{n: np.concatenate([getattr(second, n)] * 2) for n in ("xy", "scores", "marks", "body")}
    )
    blurred = again(first, seed=4).descriptors
    twins = dataclasses.replace(twins, descriptors=np.concatenate([second.descriptors, blurred]))
    matcher = MutualNNMatcher("aliked", PLAIN)
    plain, doubled = (matcher.match([(first, other)])[0] for other in (second, twins))
    assert len(matcher.passes_ratio_test(plain)) == 30
    assert len(matcher.passes_ratio_test(doubled)) < len(doubled)
    assert (matcher.passes_ratio_test(plain).confidence >= 0.1).all()
    strict = MutualNNMatcher("aliked", MutualNNSettings(metric="none", max_ratio=0.05))
    assert len(strict.passes_ratio_test(plain)) < 30


def test_a_metric_decides_what_is_near(tmp_path: Path) -> None:
    """Half of the numbers are noise that a metric may learn to leave out."""
    first = features(40, 1)
    noise = features(40, 7).descriptors
    noise[:, :64] = first.descriptors[:, :64]
    second = dataclasses.replace(first, descriptors=noise / np.linalg.norm(noise, axis=1, keepdims=True))
    path = tmp_path / "keypoints.safetensors"
    KeypointMetric(np.eye(128, 64, dtype=np.float32), "aliked", {"pairs": 3}).save(path)
    for metric in (str(path), str(tmp_path)):
        matcher = MutualNNMatcher("aliked", MutualNNSettings(metric=metric))
        found = matcher.match([(first, second)])[0]
        assert len(found) == 40
        np.testing.assert_allclose(found.confidence, 1, atol=0.05)
    plain = MutualNNMatcher("aliked", PLAIN)
    assert plain.match([(first, second)])[0].confidence.max() < 0.9
    assert plain.fingerprint() != matcher.fingerprint() != MutualNNMatcher("aliked").fingerprint()
    assert KeypointMetric.load(path).about == {"pairs": 3}


def test_what_is_no_metric_or_another_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'whiskers'.*beluga-keypoints"):
        MutualNNMatcher("aliked", MutualNNSettings(metric="whiskers"))
    path = tmp_path / "keypoints.safetensors"
    KeypointMetric(np.eye(64, dtype=np.float32), "xfeat", {}).save(path)
    with pytest.raises(KeypointMetricError, match=r"keypoints\.safetensors.*'xfeat'.*mutual_nn\.metric"):
        MutualNNMatcher("aliked", MutualNNSettings(metric=str(path)))
    path.write_bytes(b"nothing")
    with pytest.raises(KeypointMetricError, match=r"keypoints\.safetensors"):
        MutualNNMatcher("aliked", MutualNNSettings(metric=str(path)))
    with pytest.raises(KeypointMetricError, match="128"):
        KeypointMetric(np.eye(128, dtype=np.float32), "aliked", {}).apply(np.zeros((3, 64), np.float32))
    for options in ({"max_keypoints": 0}, {"max_ratio": 0.0}, {"max_ratio": 1.5}):
        with pytest.raises(SettingsError):
            MutualNNSettings(**options)  # type: ignore[arg-type]


def test_keypoints_without_a_shipped_metric_are_compared_as_they_are() -> None:
    first = features(20, 1, kind="sift")
    found = MutualNNMatcher("sift").match([(first, again(first))])[0]
    assert len(found) == 20
