"""Matching of dense skin descriptors, and the direct comparison of skin once one animal is laid on the other."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from engine.geometry.verification import verify_many
from engine.matching.dense import PreparedSkin, SkinMatcher, SkinMatchingSettings, nearest_within, skin_verification
from engine.matching.matched import MatchedList, MatchedPair
from engine.matching.measurements import SKIN, measure
from engine.records import Correspondences, Verification
from features.records import Frame, LocalFeatures
from features.skin.descriptors import KIND

SIZE = (192, 512)


def grid(seed: int = 0, step: int = 16) -> LocalFeatures:
    """A grid of places whose skin is all different."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(40, 152, step), np.arange(40, 472, step))
    xy = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
    skin = rng.standard_normal((len(xy), 64)).astype(np.float32)
    skin /= np.linalg.norm(skin, axis=1, keepdims=True)
    ones = np.ones(len(xy), np.float32)
    return LocalFeatures(xy, ones, skin.astype(np.float16), 0 * ones, ones, Frame(SIZE), KIND)


def moved(features: LocalFeatures, shift: tuple[float, float]) -> LocalFeatures:
    return dataclasses.replace(features, xy=features.xy + np.array(shift, np.float32))


def measured(first: LocalFeatures, second: LocalFeatures, matches: Correspondences, check: Verification) -> npt.NDArray:
    aligned = SkinMatcher().aligned(first, second, check.model) if check.ok else None
    return measure(SKIN, MatchedList.of([MatchedPair(first, second, matches, check, aligned=aligned)]))[0]


def test_a_shifted_animal_is_found_place_by_place() -> None:
    first = grid()
    second = moved(first, (6, -10))
    matches = SkinMatcher().match([(first, second)])[0]
    assert len(matches) == len(first)
    np.testing.assert_array_equal(matches.indices[:, 0], matches.indices[:, 1])
    check = verify_many([(first, second, matches, ("a", "b"))], skin_verification())[0]
    assert check.ok
    assert check.n_inliers == len(first)
    np.testing.assert_allclose(check.model[:2, 2], (6, -10), atol=0.5)
    found = SkinMatcher().aligned(first, second, check.model)
    assert found.overlap == 1.0
    for mean in (found.similarity, found.left, found.right):
        assert mean == pytest.approx(1.0, abs=1e-2)


def places(
    xy: list[tuple[float, float]], skin: list[tuple[float, float, float]], size: tuple[int, int]
) -> LocalFeatures:
    """Return dense skin descriptors made by hand: places in pixels of an upright photograph, and unit descriptors."""
    ones = np.ones(len(xy), np.float32)
    return LocalFeatures(np.array(xy, np.float32), ones, np.array(skin, np.float32), 0 * ones, ones, Frame(size), KIND)


@pytest.mark.parametrize(("apart", "expected"), [(40, [[0, 0]]), (8, [[0, 0], [1, 1]])])
def test_a_place_is_matched_only_if_its_nearest_points_back_to_it_or_beside_it(
    apart: float, expected: list[list[int]]
) -> None:
    # The second place's nearest is the second of the other view (cosine 0.6), whose own nearest is the first (0.8):
    # that counts if the two places lie within 0.018 x 512 = 9.2 pixels.
    first = places([(96, 200), (96, 200 + apart)], [(1, 0, 0), (0, 1, 0)], SIZE)
    second = places([(96, 200), (96, 240)], [(1, 0, 0), (0.8, 0.6, 0)], SIZE)
    found = SkinMatcher().match([(first, second)])[0]
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_allclose(found.confidence, [1.0, 0.6][: len(expected)], atol=1e-6)
    alike = SkinMatcher(SkinMatchingSettings(min_similarity=0.7)).match([(first, second)])[0]
    np.testing.assert_array_equal(alike.indices, [[0, 0]])


def test_of_two_places_with_one_match_the_more_alike_keeps_it() -> None:
    first = places([(96, 204), (96, 200)], [(0.8, 0.6, 0), (1, 0, 0)], SIZE)
    second = places([(96, 200)], [(1, 0, 0)], SIZE)
    np.testing.assert_array_equal(SkinMatcher().match([(first, second)])[0].indices, [[1, 0]])


def test_skin_of_another_part_of_the_body_is_no_match() -> None:
    first = grid()
    far = moved(first, (0, 0.4 * SIZE[1]))
    near = SkinMatcher(SkinMatchingSettings(reach_along=0.22)).match([(first, far)])[0]
    assert not (near.indices[:, 0] == near.indices[:, 1]).any()
    wide = SkinMatcher(SkinMatchingSettings(reach_along=0.5)).match([(first, far)])[0]
    assert (wide.indices[:, 0] == wide.indices[:, 1]).all()
    assert len(wide) == len(first)


def test_another_animal_yields_no_placement_worth_the_name() -> None:
    first, second = grid(0), grid(1)
    matches = SkinMatcher().match([(first, second)])[0]
    check = verify_many([(first, second, matches, ("a", "b"))], skin_verification())[0]
    assert check.n_inliers < len(first) / 5
    same = SkinMatcher().match([(first, first)])[0]
    sure = verify_many([(first, first, same, ("a", "a"))], skin_verification())[0]
    assert not measured(first, second, matches, check)["aligned_similarity"] > 0.7
    assert measured(first, first, same, sure)["aligned_similarity"] == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("counts", [(0, 0), (0, 5), (5, 0), (1, 1), (2, 9)])
def test_few_places(counts: tuple[int, int]) -> None:
    views = []
    for seed, count in enumerate(counts):
        whole = grid(seed)
        names = ("xy", "scores", "descriptors", "marks", "body")
        views.append(dataclasses.replace(whole, **{name: getattr(whole, name)[:count] for name in names}))
    matches = SkinMatcher().match([(views[0], views[1])])[0]
    assert len(matches) <= min(counts)
    check = verify_many([(views[0], views[1], matches, ("a", "b"))], skin_verification())[0]
    assert measured(views[0], views[1], matches, check)["matches"] == len(matches)
    found = SkinMatcher().aligned(views[0], views[1], np.eye(3))
    assert np.isnan(found.similarity) or -1 <= found.similarity <= 1
    assert 0 <= found.overlap <= 1
    assert np.isnan(found.left) == np.isnan(found.right) == (min(counts) < 5)


def test_a_batch_equals_its_singles_and_no_place_is_used_twice() -> None:
    views = [grid(seed) for seed in range(3)]
    pairs = [(a, moved(b, (3, 5))) for a in views for b in views]
    together = SkinMatcher().match(pairs)
    for pair, found in zip(pairs, together, strict=True):
        alone = SkinMatcher().match([pair])[0]
        np.testing.assert_array_equal(found.indices, alone.indices)
        np.testing.assert_array_equal(found.confidence, alone.confidence)
        for column in (0, 1):
            assert len(np.unique(found.indices[:, column])) == len(found)
        assert (np.diff(found.confidence) <= 0).all()


def test_each_flank_is_compared_by_itself() -> None:
    first = grid()
    right = first.on_body[:, 1] > 0
    skin = first.descriptors.copy()
    skin[right] = grid(1).descriptors[right]
    other = dataclasses.replace(first, descriptors=skin)
    matches = SkinMatcher().match([(first, other)])[0]
    check = verify_many([(first, other, matches, ("a", "b"))], skin_verification())[0]
    numbers = measured(first, other, matches, check)
    assert numbers["aligned_left"] == pytest.approx(1.0, abs=1e-2)
    assert numbers["aligned_right"] < 0.7
    assert numbers["inliers_left"] >= 0.9 * (~right).sum()
    assert numbers["inliers_right"] < 0.3 * right.sum()
    assert numbers["inliers"] >= numbers["inliers_left"] + numbers["inliers_right"]


def test_the_search_goes_by_the_body_where_it_is_known() -> None:
    # The same animal in a crop with much water above its head: far apart on the crops, at one place of the body.
    first = grid()
    low = moved(first, (0, 0.5 * SIZE[1]))
    low = dataclasses.replace(low, frame=Frame((SIZE[0], 2 * SIZE[1])))
    assert len(SkinMatcher(SkinMatchingSettings(reach_along=0.05)).match([(first, low)])[0]) < len(first)
    body = np.stack([first.xy[:, 1] / SIZE[1], first.xy[:, 0] / 96 - 1], 1)
    known = [dataclasses.replace(view, body_xy=body) for view in (first, low)]
    found = SkinMatcher(SkinMatchingSettings(reach_along=0.05)).match([(known[0], known[1])])[0]
    assert len(found) == len(first)
    np.testing.assert_array_equal(found.indices[:, 0], found.indices[:, 1])


def test_other_keypoints_are_refused() -> None:
    wrong = dataclasses.replace(grid(), kind="aliked")
    with pytest.raises(ValueError, match="aliked"):
        SkinMatcher().match([(grid(), wrong)])


def test_the_search_in_blocks_finds_what_masking_the_whole_matrix_finds() -> None:
    rng = np.random.default_rng(3)
    sides = []
    for count in (300, 200):
        skin = rng.standard_normal((count, 16)).astype(np.float32)
        skin /= np.linalg.norm(skin, axis=1, keepdims=True)
        on_body = rng.random((count, 2)).astype(np.float32)
        on_body = on_body[np.argsort(on_body[:, 0])]
        ones = np.ones(count, np.float32)
        view = LocalFeatures(on_body, ones, skin, ones, ones, Frame((1, 1)), KIND, body_xy=on_body)
        sides.append(PreparedSkin.of(view))
    first, second = sides
    nearest, back, best = nearest_within(first, second, 0.1, 0.22)
    gap = np.abs(first.on_body[:, None] - second.on_body[None])
    masked = np.where((gap > np.float32([0.1, 0.22])).any(axis=2), np.float32(-2), first.skin @ second.skin.T)
    np.testing.assert_allclose(best, masked.max(1), rtol=1e-5)
    np.testing.assert_array_equal(nearest, masked.argmax(1))
    np.testing.assert_array_equal(back, masked.argmax(0))


def test_skin_laid_on_skin_is_compared_with_all_that_lies_nearby() -> None:
    first, second = grid(0, step=9), moved(grid(1, step=9), (2, 3))
    found = SkinMatcher().aligned(first, second, np.eye(3))
    distance = np.linalg.norm(first.xy[:, None] - second.xy[None], axis=2)
    cosine = first.descriptors.astype(np.float32) @ second.descriptors.astype(np.float32).T
    best = np.where(distance <= 0.03 * SIZE[1], cosine, -np.inf).max(1)
    assert found.similarity == pytest.approx(best[np.isfinite(best)].mean(), abs=1e-4)
    assert found.overlap == pytest.approx(np.isfinite(best).mean())
