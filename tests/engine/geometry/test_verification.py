"""Geometric verification on made-up pairs whose geometry is known."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from engine.geometry.verification import (
    VerificationSettings,
    pair_seed,
    plausibility,
    verify,
    verify_many,
    verify_pairs,
)
from engine.records import Correspondences, Verification
from features.records import Frame, LocalFeatures
from scarmatch.settings import SettingsError

TALL, WIDE = (300, 900), (800, 260)
PIXELS = VerificationSettings(threshold=0.0, threshold_px=3.0, threads=1)


def rigid(scale: float, degrees: float, shear: float = 0.0, size0: Any = TALL, size1: Any = TALL) -> np.ndarray:
    """Return the (3, 3) pixel map that turns about the centres of the frames; singular values of ratio 1 - shear."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    ratio = max(size1) / max(size0)
    root = math.sqrt(1 - shear)
    model = np.eye(3)
    model[:2, :2] = scale * ratio * turn @ np.diag([1 / root, root])
    centre0, centre1 = (np.array(size0) - 1) / 2, (np.array(size1) - 1) / 2
    model[:2, 2] = centre1 - model[:2, :2] @ centre0
    return model


def perspective(size: Any = TALL, jitter: float = 25.0, seed: int = 0) -> np.ndarray:
    """Return a homography that moves each corner of the frame by up to `jitter` pixels."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + np.random.default_rng(seed).uniform(-jitter, jitter, (4, 2)).astype(np.float32)
    return cv2.getPerspectiveTransform(corners, moved)


def transfer(model: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map (n, 2) points."""
    mapped = np.hstack([points, np.ones((len(points), 1))]) @ model.T
    return mapped[:, :2] / mapped[:, 2:]


def make_pair(
    model: np.ndarray,
    n: int = 100,
    share: float = 0.5,
    noise: float = 0.7,
    seed: int = 0,
    size0: Any = TALL,
    size1: Any = TALL,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points of view 0 and view 1 and which of them obey the model."""
    rng = np.random.default_rng(seed)
    points0 = rng.uniform(0, np.array(size0) - 1, (n, 2))
    points1 = transfer(model, points0) + rng.normal(0, noise, (n, 2))
    true = rng.permutation(n) < round(share * n)
    points1[~true] = rng.uniform(0, np.array(size1) - 1, ((~true).sum(), 2))
    return points0.astype(np.float32), points1.astype(np.float32), true


def run(
    points0: np.ndarray,
    points1: np.ndarray,
    settings: VerificationSettings = PIXELS,
    size0: Any = TALL,
    size1: Any = TALL,
    key: tuple[str, str] = ("q", "c"),
) -> Verification:
    """Verify one pair of equally confident correspondences."""
    confidence = np.linspace(0.9, 0.1, len(points0)).astype(np.float32)
    return verify_pairs([points0], [points1], [confidence], [size0], [size1], [key], None, settings)[0]


def corner_error(found: np.ndarray, truth: np.ndarray, size: Any = TALL) -> float:
    """Return the mean distance of the mapped corners in pixels."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    return float(np.linalg.norm(transfer(found, corners) - transfer(truth, corners), axis=1).mean())


@pytest.mark.parametrize(("size0", "size1"), [(TALL, TALL), (TALL, WIDE), (WIDE, TALL), (WIDE, WIDE)])
def test_known_similarity_in_tall_and_wide_frames(size0: Any, size1: Any) -> None:
    truth = rigid(1.2, -15, size0=size0, size1=size1)
    points0, points1, true = make_pair(truth, size0=size0, size1=size1, noise=0.3)
    found = run(points0, points1, size0=size0, size1=size1)
    assert found.ok
    assert found.kind == "similarity"
    assert corner_error(found.model, truth, size0) < 2
    assert found.scale == pytest.approx(1.2, rel=0.02)
    assert found.rotation == pytest.approx(-15, abs=0.5)
    assert found.shear < 0.02
    assert (found.inliers & true).sum() >= 48
    assert found.n_inliers == found.inliers.sum() <= 52


def test_every_number_against_its_definition() -> None:
    points0, points1, _ = make_pair(rigid(1.1, 5, size1=WIDE), size1=WIDE)
    confidence = np.sort(np.random.default_rng(1).random(100).astype(np.float32))[::-1]
    marks = np.random.default_rng(2).random(100).astype(np.float32)
    found = verify_pairs([points0], [points1], [confidence], [TALL], [WIDE], [("a", "b")], [marks], PIXELS)[0]
    chosen = found.inliers
    forward = np.linalg.norm(transfer(found.model, points0[chosen]) - points1[chosen], axis=1) / 800
    backward = np.linalg.norm(transfer(np.linalg.inv(found.model), points1[chosen]) - points0[chosen], axis=1) / 900
    error = np.sqrt((forward**2 + backward**2) / 2)
    assert found.residual == pytest.approx(np.median(error), rel=1e-3)
    assert found.score == pytest.approx((1 - (error / (3 / 800)) ** 2).sum(), rel=1e-3)
    assert found.inlier_ratio == pytest.approx(chosen.mean())
    assert found.confidence_sum == pytest.approx(confidence[chosen].sum(), rel=1e-5)
    assert found.spread_across == pytest.approx(points0[chosen, 0].std() / 900, rel=1e-4)
    assert found.spread_along == pytest.approx(points0[chosen, 1].std() / 900, rel=1e-4)
    gap = np.abs(points0[chosen, 1] / 900 - points1[chosen, 1] / 260)
    assert found.position_gap == pytest.approx(np.median(gap), rel=1e-4)
    assert found.mark_share == pytest.approx((marks[chosen] >= 0.5).mean())
    assert found.plausibility == pytest.approx(plausibility(found.scale, found.rotation, found.shear, PIXELS))


def test_the_same_share_of_both_heights_is_no_gap() -> None:
    # Pixel centres are whole numbers: half a pixel of a low frame is another share of its height than of a high one.
    points0 = np.random.default_rng(0).uniform(0, np.array(TALL) - 1, (60, 2)).astype(np.float32)
    found = run(points0, points0 * np.float32(260 / 900), PIXELS.replace(max_scale=4.0), size1=WIDE)
    assert found.n_inliers > 50
    assert found.position_gap == pytest.approx(0, abs=2e-5)


def test_marks_of_exactly_the_level_count() -> None:
    points0, points1, _ = make_pair(np.eye(3), n=40, share=1.0, noise=0.2)
    ones = np.ones(40, np.float32)
    found = verify_pairs([points0], [points1], [ones], [TALL], [TALL], [("a", "b")], [0.5 * ones], PIXELS)[0]
    assert found.mark_share == 1


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_as_good_as_opencv(share: float) -> None:
    for seed in range(4):
        truth = perspective(seed=seed)
        points0, points1, true = make_pair(truth, n=200, share=share, seed=seed)
        found = run(points0, points1)
        theirs, mask = cv2.findHomography(points0, points1, cv2.USAC_MAGSAC, 3.0, maxIters=10000, confidence=0.999)
        assert corner_error(found.model, truth) < max(1.5 * corner_error(theirs, truth), 2.0)
        assert (found.inliers & true).sum() >= 0.95 * (mask.ravel().astype(bool) & true).sum()


@pytest.mark.parametrize(
    ("truth", "kind"),
    [(rigid(0.9, 10), "similarity"), (rigid(1.0, 10, shear=0.2), "affine"), (perspective(jitter=40), "homography")],
)
def test_the_simplest_sufficient_kind_is_chosen(truth: np.ndarray, kind: str) -> None:
    kinds = []
    for seed in range(5):
        points0, points1, _ = make_pair(truth, noise=0.5, seed=seed)
        kinds.append(run(points0, points1, key=("q", str(seed))).kind)
    assert kinds.count(kind) >= 4


@pytest.mark.parametrize("n", [4, 7])
def test_exactly_as_many_inliers_as_are_asked_for_are_enough(n: int) -> None:
    points0, points1, _ = make_pair(rigid(1.1, 8), n=n, share=1.0, noise=0.0)
    enough = run(points0, points1, PIXELS.replace(min_inliers=n))
    assert enough.n_inliers == n
    assert run(points0, points1, PIXELS.replace(min_inliers=n + 1)).n_inliers == 0


def test_a_mirrored_pair_is_no_match() -> None:
    points0, points1, _ = make_pair(np.eye(3), n=60, share=1.0)
    mirrored = points1 * np.float32([-1, 1]) + np.float32([299, 0])
    assert run(points0, points1).n_inliers > 55
    assert run(points0, mirrored).n_inliers <= 12


@pytest.mark.parametrize(("scale", "degrees", "fine"), [(2.2, 0, True), (2.8, 0, False), (1, 30, True), (1, 42, False)])
def test_limits_of_scale_and_rotation(scale: float, degrees: float, fine: bool) -> None:
    points0, points1, _ = make_pair(rigid(scale, degrees), share=1.0)
    assert (run(points0, points1).n_inliers > 90) == fine
    assert (run(points1, points0).n_inliers > 90) == fine
    assert run(points0, points1, PIXELS.replace(max_scale=4.0, max_rotation=180.0)).n_inliers > 90


def test_impostors_have_few_inliers() -> None:
    inliers = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        points0, points1 = (rng.uniform(0, TALL, (200, 2)).astype(np.float32) for _ in range(2))
        inliers.append(run(points0, points1, key=("q", str(seed))).n_inliers)
    assert np.median(inliers) <= 6
    assert max(inliers) <= 9


def test_same_answer_for_any_threads_batch_and_order() -> None:
    pairs = [make_pair(perspective(seed=i), n=20 + i, share=0.4, seed=i) for i in range(80)]
    keys = [("query", str(i)) for i in range(80)]

    def batch(order: list[int], threads: int) -> list[Verification]:
        confidence = [np.ones(len(pairs[i][0]), np.float32) for i in order]
        first, second = [pairs[i][0] for i in order], [pairs[i][1] for i in order]
        sizes, settings = [TALL] * len(order), PIXELS.replace(threads=threads)
        return verify_pairs(first, second, confidence, sizes, sizes, [keys[i] for i in order], None, settings)

    expected = batch(list(range(80)), 1)
    assert sum(found.ok for found in expected) > 40
    singles = [batch([i], 1)[0] for i in range(80)]
    backwards = batch(list(range(80))[::-1], 2)[::-1]
    for other in (batch(list(range(80)), 2), batch(list(range(80)), 4), singles, backwards):
        for a, b in zip(expected, other, strict=True):
            np.testing.assert_array_equal(a.model, b.model)
            np.testing.assert_array_equal(a.inliers, b.inliers)
            assert (a.kind, a.score, a.n_inliers) == (b.kind, b.score, b.n_inliers)


def test_seed_depends_on_the_key_alone() -> None:
    code = "from engine.geometry.verification import pair_seed; print(pair_seed(3, 'a', 'b'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == pair_seed(3, "a", "b")
    assert len({pair_seed(0, "a", "b"), pair_seed(1, "a", "b"), pair_seed(0, "b", "a"), pair_seed(0, "ab", "")}) == 4


def test_the_seed_is_the_hash_of_seed_query_and_candidate() -> None:
    digest = hashlib.blake2b(b"3\x00q\x00c", digest_size=8).digest()
    assert pair_seed(3, "q", "c") == int.from_bytes(digest, "little")


def test_swapped_pair_gives_the_inverse() -> None:
    truth = rigid(1.3, 12, size1=WIDE)
    points0, points1, _ = make_pair(truth, size1=WIDE)
    there, back = run(points0, points1, size1=WIDE), run(points1, points0, size0=WIDE)
    assert back.scale == pytest.approx(1 / there.scale, rel=0.02)
    assert back.rotation == pytest.approx(-there.rotation, abs=1)
    assert (there.inliers == back.inliers).mean() > 0.97
    assert corner_error(back.model @ there.model, np.eye(3)) < 2


def test_repeated_keypoints_count_once() -> None:
    # Many keypoints of view 0 on one of view 1, and the reverse: perfect agreement that means nothing.
    rng = np.random.default_rng(0)
    many = rng.uniform(0, TALL, (50, 2)).astype(np.float32)
    two = np.float32([[100, 200], [150, 700]])[rng.integers(0, 2, 50)]
    for found in (run(many, two), run(two, many)):
        assert not found.ok
        assert found.inliers.shape == (50,)
    points0, points1, true = make_pair(np.eye(3), n=40, share=1.0)
    nearby = np.tile(np.float32([[0, 0], [0.3, 0], [0, 0.3]]), (40, 1))
    doubled = run(np.repeat(points0, 3, axis=0) + nearby, np.repeat(points1, 3, axis=0) + nearby)
    assert doubled.n_inliers == true.sum()
    assert doubled.inliers.nonzero()[0].tolist() == list(range(0, 120, 3))
    assert doubled.inlier_ratio == 1.0


@pytest.mark.parametrize("case", ["same point", "line", "not finite", "far away"])
def test_degenerate_sets_do_not_raise(case: str) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 250, (30, 2)).astype(np.float32)
    if case == "same point":
        points = np.full((30, 2), 50, np.float32)
    elif case == "line":
        points[:, 1] = points[:, 0]
    elif case == "not finite":
        points[:] = np.nan
    else:
        points *= np.float32(1e30)
    found = run(points, points)
    assert isinstance(found, Verification)
    assert found.ok == (case == "line")
    if case == "line":
        assert found.kind == "similarity"


def test_some_values_that_are_not_finite_are_left_out() -> None:
    points0, points1, _ = make_pair(np.eye(3), n=40, share=1.0, noise=0.2)
    points0[3], points1[5, 1] = np.nan, np.inf
    found = run(points0, points1)
    assert found.n_inliers == 38
    assert not found.inliers[[3, 5]].any()
    assert found.inlier_ratio == 1.0


def test_plausibility_falls_with_each_departure() -> None:
    settings = VerificationSettings()
    assert plausibility(1, 0, 0, settings) == 1
    assert plausibility(1.5, 0, 0, settings) == pytest.approx(math.exp(-0.5))
    assert plausibility(1 / 1.5, 0, 0, settings) == pytest.approx(math.exp(-0.5))
    assert plausibility(1, -20, 0, settings) == pytest.approx(math.exp(-0.5))
    assert plausibility(1, 0, 0.25, settings) == pytest.approx(math.exp(-0.5))


def features(points: np.ndarray, frame: Frame, marks: np.ndarray) -> LocalFeatures:
    """Return features at canonical points."""
    n = len(points)
    ones = np.ones(n, np.float32)
    return LocalFeatures(frame.to_original(points), ones, np.eye(n, 8, dtype=np.float32), marks, ones, frame, "made up")


def test_features_of_turned_photographs_are_compared_head_up() -> None:
    truth = rigid(1.0, 8)
    points0, points1, _ = make_pair(truth, n=60, share=1.0)
    # View 0 is a lateral whose head points left: wide, one clockwise quarter turn.
    first = features(points0, Frame((900, 300), 3), np.full(60, 0.9, np.float32))
    second = features(points1, Frame(TALL), (np.arange(60) % 2).astype(np.float32))
    order = np.random.default_rng(0).permutation(60).astype(np.int32)
    matches = Correspondences(np.stack([order, order], 1), np.linspace(1, 0.5, 60).astype(np.float32))
    found = verify(first, second, matches, ("q", "c"))
    assert found.n_inliers == 60
    assert found.rotation == pytest.approx(8, abs=1)
    assert corner_error(found.model, truth) < 3
    assert found.mark_share == pytest.approx(0.5)
    again = verify_many([(first, second, matches, ("q", "c")), (first, second, Correspondences.empty(), ("q", "d"))])
    np.testing.assert_array_equal(again[0].model, found.model)
    assert not again[1].ok


def test_features_of_frames_of_two_sizes_are_their_points_and_sizes() -> None:
    truth = rigid(1.1, -6, size1=WIDE)
    points0, points1, _ = make_pair(truth, n=50, share=0.8, size1=WIDE)
    marks0, marks1 = np.linspace(0, 1, 50, dtype=np.float32), np.linspace(1, 0.2, 50, dtype=np.float32)
    rows = np.arange(50, dtype=np.int32)
    matches = Correspondences(np.stack([rows, rows], 1), np.linspace(1, 0.5, 50).astype(np.float32))
    # The candidate's photograph stands; a quarter turn lays it into its frame.
    turned = features(points1, Frame((WIDE[1], WIDE[0]), 1), marks1)
    found = verify(features(points0, Frame(TALL), marks0), turned, matches, ("q", "c"))
    lesser = np.minimum(marks0, marks1)
    same = verify_pairs([points0], [points1], [matches.confidence], [TALL], [WIDE], [("q", "c")], [lesser])[0]
    assert found.n_inliers > 30
    for name in ("score", "mark_share", "scale", "position_gap"):
        assert getattr(found, name) == pytest.approx(getattr(same, name), rel=1e-4), name
    np.testing.assert_allclose(found.scale, 1.1, rtol=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"kinds": ()},
        {"kinds": ("rigid",)},
        {"max_scale": 1.0},
        {"confidence": 1.0},
        {"min_inliers": 2},
        {"draws": 3},
    ],
)
def test_options_out_of_range_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        VerificationSettings.from_dict(options)


def test_arrays_that_do_not_fit_are_errors() -> None:
    points = np.zeros((3, 2), np.float32)
    confidence = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="points1"):
        verify_pairs([points], [points[:2]], [confidence], [TALL], [TALL], [("a", "b")])
    with pytest.raises(ValueError, match="keys"):
        verify_pairs([points], [points], [confidence], [TALL], [TALL], [])
    assert verify_pairs([], [], [], np.zeros((0, 2)), np.zeros((0, 2)), []) == []
