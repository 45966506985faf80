"""The contract that every keypoint type, matcher and the verification keep: photograph to keypoints to model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engine.demo.synthetic_catalog import draw_whale, make_whale, nearby, random_conditions
from engine.geometry.verification import VerificationSettings, verify_many
from engine.matching.base import PairMatcher
from engine.matching.lightglue import LIGHTGLUE_WEIGHTS, LightGlueMatcher
from engine.matching.mutual_nn import MutualNNMatcher
from features.keypoints.detectors import KeypointExtractor, KeypointSettings
from features.photo import canonical_frame, photo_from_array
from features.records import LocalFeatures
from features.regions import find_regions
from scarmatch.settings import SettingsError

KINDS = {"aliked": 128, "disk": 128, "xfeat": 64, "sift": 128}
QUICK = {"max_keypoints": 96, "long_side": 288}


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def extractor(kind: str) -> KeypointExtractor:
    return KeypointExtractor(KeypointSettings(kind=kind, **QUICK))


@pytest.fixture(scope="module")
def two_views() -> tuple[np.ndarray, np.ndarray]:
    whale = make_whale(1)
    rng = np.random.default_rng(4)
    conditions = random_conditions(rng, "top", 2017)
    return draw_whale(whale, conditions).rgb, draw_whale(whale, nearby(rng, conditions)).rgb


@pytest.fixture(scope="module")
def views(extractor: KeypointExtractor, two_views: tuple[np.ndarray, np.ndarray]) -> list[LocalFeatures]:
    return [describe(extractor, rgb) for rgb in two_views]


def keypoint_matcher(kind: str) -> PairMatcher:
    return LightGlueMatcher(kind) if kind in LIGHTGLUE_WEIGHTS else MutualNNMatcher(kind)


def describe(
    extractor: KeypointExtractor, rgb: np.ndarray, viewpoint: str = "top", filtered: bool = True
) -> LocalFeatures:
    photo = photo_from_array(rgb)
    frame = canonical_frame(photo.size, viewpoint)
    return extractor.extract(photo, frame, find_regions(photo, frame) if filtered else None)


def test_record_is_well_formed(extractor, kind, two_views) -> None:
    found = describe(extractor, two_views[0])
    height, width = two_views[0].shape[:2]
    assert 10 < len(found) <= QUICK["max_keypoints"]
    assert found.xy.dtype == np.float32
    assert found.descriptors.shape == (len(found), KINDS[kind])
    assert (found.xy >= 0).all()
    assert (found.xy <= [width - 1, height - 1]).all()
    assert np.isfinite(found.descriptors).all()
    np.testing.assert_allclose(np.linalg.norm(found.descriptors.astype(np.float32), axis=1), 1.0, atol=5e-3)
    for values in (found.scores, found.marks, found.body):
        assert values.shape == (len(found),)
        assert ((values >= 0) & (values <= 1)).all()
    assert (found.body >= 0.5).all()


def test_same_photograph_same_keypoints(extractor, two_views, views) -> None:
    first, second = views[0], describe(extractor, two_views[0])
    np.testing.assert_array_equal(first.xy, second.xy)
    np.testing.assert_array_equal(first.descriptors, second.descriptors)


def test_turned_photograph_has_turned_keypoints(extractor, two_views) -> None:
    """A lateral is turned head up inside; its keypoints come back in the pixels of the photograph as it is."""
    upright = describe(extractor, two_views[0], "top", filtered=False)
    lying = np.ascontiguousarray(np.rot90(two_views[0], 1))
    turned = describe(extractor, lying, "left", filtered=False)
    assert turned.frame.quarter_turns == 3
    np.testing.assert_allclose(turned.canonical_xy, upright.xy, atol=1e-3)
    expected = np.stack([upright.xy[:, 1], two_views[0].shape[1] - 1 - upright.xy[:, 0]], 1)
    np.testing.assert_allclose(turned.xy, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 300), (300, 5), (40, 40)])
@pytest.mark.parametrize("value", [0, 255])
def test_tiny_and_blank_photographs_are_no_error(extractor, kind, shape, value) -> None:
    found = describe(extractor, np.full((*shape, 3), value, np.uint8))
    assert found.descriptors.shape == (len(found), KINDS[kind])


def test_matches_and_model_of_a_true_pair(kind, views) -> None:
    matches = keypoint_matcher(kind).match([(views[0], views[1])])[0]
    assert len(matches) >= 6
    for column, view in ((0, views[0]), (1, views[1])):
        used = matches.indices[:, column]
        assert len(np.unique(used)) == len(used)
        assert used.max() < len(view)
    assert (np.diff(matches.confidence) <= 0).all()
    check = verify_many([(views[0], views[1], matches, ("a", "b"))])[0]
    assert check.ok
    assert check.n_inliers == check.inliers.sum() >= 5
    assert abs(check.rotation) < 15


@pytest.mark.parametrize("counts", [(0, 0), (0, 5), (5, 0), (1, 1), (3, 3), (4, 4), (1, 40)])
def test_few_keypoints(kind, counts, views) -> None:
    few = [cut(view, count) for view, count in zip(views, counts, strict=True)]
    matches = keypoint_matcher(kind).match([(few[0], few[1])])[0]
    assert len(matches) <= min(counts)
    assert matches.indices.shape == (len(matches), 2)
    check = verify_many([(few[0], few[1], matches, ("a", "b"))])[0]
    assert check.inliers.shape == (len(matches),)
    if len(matches) < 4:
        assert not check.ok


def test_a_batch_equals_its_singles(kind, views) -> None:
    pairs = [(views[0], views[1]), (views[0], cut(views[1], 0)), (cut(views[0], 30), views[1]), (views[1], views[1])]
    matcher = keypoint_matcher(kind)
    for one, found in zip(pairs, matcher.match(pairs), strict=True):
        alone = keypoint_matcher(kind).match([one])[0]
        np.testing.assert_array_equal(alone.indices, found.indices)
        np.testing.assert_array_equal(alone.confidence, found.confidence)


def test_lightglue_is_refused_where_it_has_no_weights() -> None:
    with pytest.raises(SettingsError, match="sift"):
        LightGlueMatcher("sift")


def test_other_keypoints_than_the_weights_are_refused(two_views) -> None:
    found = describe(KeypointExtractor(KeypointSettings(kind="sift", **QUICK)), two_views[0])
    with pytest.raises(ValueError, match="sift"):
        LightGlueMatcher("aliked").match([(found, found)])


def test_verification_of_nothing() -> None:
    assert verify_many([], VerificationSettings()) == []


def cut(features: LocalFeatures, count: int) -> LocalFeatures:
    names = ("xy", "scores", "descriptors", "marks", "body")
    return dataclasses.replace(features, **{name: getattr(features, name)[:count] for name in names})
