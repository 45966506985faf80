"""What every matcher keeps, whatever it compares (see :mod:`engine.matching.base`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from engine.matching.base import PairMatcher
from engine.matching.dense import SkinMatcher
from engine.matching.lightglue import LightGlueMatcher
from engine.matching.mutual_nn import MutualNNMatcher
from features.records import Frame, LocalFeatures
from features.skin.descriptors import KIND


@dataclass(frozen=True)
class Subject:
    """A matcher under test: how it is made, the kind of features that it compares, and their dimension."""

    make: Callable[[], PairMatcher]
    kind: str
    dimension: int


SUBJECTS = {
    "skin": Subject(SkinMatcher, KIND, 64),
    "mutual_nn": Subject(lambda: MutualNNMatcher("aliked"), "aliked", 128),
    "lightglue": Subject(lambda: LightGlueMatcher("aliked"), "aliked", 128),
}


@pytest.fixture(params=sorted(SUBJECTS))
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]


def view(subject: Subject, count: int, seed: int, size: tuple[int, int] = (200, 520)) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    xy = (rng.random((count, 2)) * size).astype(np.float32)
    descriptors = rng.standard_normal((count, subject.dimension)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    ones = np.ones(count, np.float32)
    return LocalFeatures(xy, ones, descriptors, ones, ones, Frame(size), subject.kind)


def test_the_record_keeps_what_it_promises(subject: Subject) -> None:
    first, second = view(subject, 60, 1), view(subject, 45, 2, (300, 400))
    for other in (first, second):
        (found,) = subject.make().match([(first, other)])
        assert found.indices.dtype == np.int32 and found.indices.shape == (len(found), 2)
        assert (found.indices >= 0).all() and (found.indices < (len(first), len(other))).all()
        assert all(len(np.unique(column)) == len(found) for column in found.indices.T), "no keypoint is matched twice"
        assert found.confidence.dtype == np.float32
        assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
        assert (np.diff(found.confidence) <= 0).all(), "best first"
    (itself,) = subject.make().match([(first, first)])
    assert len(itself) == 60 and (itself.indices[:, 0] == itself.indices[:, 1]).all()


@pytest.mark.parametrize("counts", [(0, 0), (0, 3), (3, 0), (1, 1), (1, 4)])
def test_few_keypoints_are_no_error(subject: Subject, counts: tuple[int, int]) -> None:
    (found,) = subject.make().match([(view(subject, counts[0], 1), view(subject, counts[1], 2))])
    assert len(found) <= min(counts)
    assert found.indices.shape == (len(found), 2)
    assert np.isnan(found.similarity) == (len(found) == 0)


def test_a_pair_does_not_notice_its_company_and_the_call_changes_nothing(subject: Subject) -> None:
    views = [view(subject, count, seed) for seed, count in enumerate((40, 70, 0, 40))]
    before = [one.descriptors.copy() for one in views]
    pairs = [(a, b) for a in views[:2] for b in views]
    for pair, found in zip(pairs, subject.make().match(pairs), strict=True):
        (alone,) = subject.make().match([pair])
        np.testing.assert_array_equal(found.indices, alone.indices)
        np.testing.assert_array_equal(found.confidence, alone.confidence)
    for one, descriptors in zip(views, before, strict=True):
        np.testing.assert_array_equal(one.descriptors, descriptors)
    assert subject.make().match([]) == []


def test_other_features_are_refused_by_name(subject: Subject) -> None:
    other = Subject(subject.make, "whiskers", subject.dimension)
    with pytest.raises(ValueError, match="whiskers"):
        subject.make().match([(view(subject, 5, 1), view(other, 5, 2))])


def test_fingerprints_are_stable_and_differ() -> None:
    prints = [one.make().fingerprint() for one in SUBJECTS.values()]
    assert prints == [one.make().fingerprint() for one in SUBJECTS.values()]
    assert len(set(prints)) == len(prints)
