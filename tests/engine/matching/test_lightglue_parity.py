"""The same matches alone and in a batch, kept and fresh, on any number of threads, swapped, in tall and wide frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from engine.matching.lightglue import LightGlueMatcher, LightGlueSettings
from engine.matching.lightglue_network import normalise_state_dict
from features.records import Frame, LocalFeatures
from features.weights import weight_file

TALL, WIDE, SQUARE, LATERAL = Frame((150, 600)), Frame((640, 200)), Frame((300, 300)), Frame((640, 200), 3)
EXACT = LightGlueSettings(precision="float32")


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def view(count: int, seed: int, frame: Frame = TALL) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(size=(count, 128)).astype(np.float32)
    descriptors /= np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9)
    xy = rng.uniform((0, 0), (frame.size[0] - 1, frame.size[1] - 1), (count, 2)).astype(np.float32)
    ones = np.ones(count, np.float32)
    return LocalFeatures(xy, ones, descriptors, ones, ones, frame, "aliked")


def other_view(first: LocalFeatures, frame: Frame, keep: int, seed: int) -> LocalFeatures:
    """A part of the keypoints in another frame, at the same relative place, described a little differently."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(first))[:keep]
    place = first.canonical_xy[rows] / np.array(first.frame.canonical_size, np.float32)
    noisy = first.descriptors[rows] + 0.03 * rng.normal(size=(len(rows), 128)).astype(np.float32)
    return dataclasses.replace(
        first,
        **{name: getattr(first, name)[rows] for name in ("scores", "marks", "body")},
        xy=frame.to_original(place * np.array(frame.canonical_size, np.float32)),
        descriptors=noisy / np.linalg.norm(noisy, axis=1, keepdims=True),
        frame=frame,
    )


def pairs_of(*shapes: tuple[int, int, Frame, Frame]) -> list[tuple[LocalFeatures, LocalFeatures]]:
    pairs = []
    for number, (count, keep, frame0, frame1) in enumerate(shapes):
        first = view(count, number, frame0)
        pairs.append((first, other_view(first, frame1, keep, 100 + number)))
    return pairs


MIXED = pairs_of(
    (90, 70, TALL, WIDE),
    (64, 40, WIDE, TALL),
    (130, 100, SQUARE, SQUARE),
    (90, 60, LATERAL, TALL),
    (70, 70, TALL, TALL),
)


def same(a: list, b: list) -> None:
    assert len(a) == len(b)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_array_equal(one.confidence, other.confidence)


@pytest.mark.parametrize("settings", [LightGlueSettings(), EXACT], ids=["as shipped", "exact"])
def test_a_batch_equals_its_singles_in_any_order(settings: LightGlueSettings) -> None:
    together = LightGlueMatcher("aliked", settings).match(MIXED)
    same(together, [LightGlueMatcher("aliked", settings).match([pair])[0] for pair in MIXED])
    backwards = LightGlueMatcher("aliked", settings).match(MIXED[::-1])[::-1]
    same(together, backwards)
    assert all(len(found) > 20 for found in together)


def test_a_photograph_kept_equals_a_fresh_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = LightGlueMatcher("aliked").match(MIXED)
    keeping = LightGlueMatcher("aliked")
    keeping.match(MIXED[::-1])
    same(fresh, keeping.match(MIXED))
    # With next to no room, photographs come and go, and are prepared again.
    monkeypatch.setattr(LightGlueMatcher, "KEEP", 1)
    forgetful = LightGlueMatcher("aliked")
    same(fresh, [forgetful.match([pair])[0] for pair in MIXED])


@pytest.mark.parametrize("settings", [LightGlueSettings(), EXACT], ids=["as shipped", "exact"])
def test_same_matches_on_one_two_and_four_threads(settings: LightGlueSettings) -> None:
    answers = []
    for count in (1, 2, 4):
        torch.set_num_threads(count)
        answers.append(LightGlueMatcher("aliked", settings).match(MIXED[:2]))
    for other in answers[1:]:
        for one, found in zip(answers[0], other, strict=True):
            first, second = ({tuple(row) for row in record.indices.tolist()} for record in (one, found))
            # Matrix libraries split sums differently for each number of threads: single weak matches may come or go.
            assert len(first ^ second) <= (0.02 if settings is EXACT else 0.05) * len(first)


def test_bfloat16_is_within_tolerance() -> None:
    exact = LightGlueMatcher("aliked", EXACT).match(MIXED)
    half = LightGlueMatcher("aliked", EXACT.replace(precision="bfloat16")).match(MIXED)
    kept = total = 0
    for one, other in zip(exact, half, strict=True):
        first, second = ({tuple(row) for row in record.indices.tolist()} for record in (one, other))
        kept, total = kept + len(first & second), total + len(first)
    assert kept >= 0.98 * total


@pytest.mark.parametrize("counts", [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 90), (90, 2)])
def test_none_one_and_two_keypoints(counts: tuple[int, int]) -> None:
    pair = (view(counts[0], 1), view(counts[1], 2, WIDE))
    alone = LightGlueMatcher("aliked").match([pair])[0]
    assert len(alone) <= min(counts)
    assert alone.indices.shape == (len(alone), 2)
    assert alone.indices.dtype == np.int32
    if len(alone):
        assert (alone.indices.max(0) < counts).all()
    same([alone], LightGlueMatcher("aliked").match([MIXED[0], pair, MIXED[1]])[1:2])


def test_swapped_pairs_have_swapped_matches() -> None:
    matcher = LightGlueMatcher("aliked", EXACT)
    there = matcher.match(MIXED)
    back = matcher.match([(second, first) for first, second in MIXED])
    for one, other in zip(there, back, strict=True):
        first = {tuple(row) for row in one.indices.tolist()}
        second = {tuple(row[::-1]) for row in other.indices.tolist()}
        assert len(first ^ second) <= 0.02 * len(first)


@pytest.mark.parametrize("number", range(len(MIXED)))
def test_tall_wide_and_turned_photographs_match_as_with_the_published_network(number: int) -> None:
    from kornia.feature import LightGlue

    reference = LightGlue(
        None, input_dim=128, flash=False, width_confidence=-1, depth_confidence=-1, filter_threshold=EXACT.threshold
    ).eval()
    state = torch.load(weight_file("lightglue-aliked"), map_location="cpu", weights_only=True)
    reference.load_state_dict(normalise_state_dict(state), strict=False)
    sides = [
        {
            "keypoints": torch.from_numpy(side.canonical_xy)[None],
            "descriptors": torch.from_numpy(side.descriptors)[None],
            "image_size": torch.tensor([side.frame.canonical_size]),
        }
        for side in MIXED[number]
    ]
    with torch.inference_mode():
        expected = reference({"image0": sides[0], "image1": sides[1]})
    found = LightGlueMatcher("aliked", EXACT).match([MIXED[number]])[0]
    assert {tuple(row) for row in found.indices.tolist()} == {tuple(row) for row in expected["matches"][0].tolist()}
