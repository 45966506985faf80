"""Every measurement says what its name says, and is reached by that name."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.matching import block_correlation
from engine.matching.matched import AlignedSkin, MatchedList, MatchedPair
from engine.matching.measurements import (
    COMMON,
    MATCHERS,
    MEASUREMENTS,
    MatcherName,
    columns,
    measure,
    record_type,
    unmeasured,
)
from engine.matching.pair_cache import PairCache
from engine.records import Correspondences, Verification
from features.records import Frame, LocalFeatures
from reranker.local_evidence import TERMS, terms_of
from reranker.pair_features import build


def features(count: int) -> LocalFeatures:
    """Keypoints across the whole width of a picture of 100 x 200 pixels: half of them on either flank."""
    xy = np.stack([np.linspace(2, 98, count), np.full(count, 50.0)], 1).astype(np.float32)
    ones = np.ones(count, np.float32)
    return LocalFeatures(xy, ones, np.zeros((count, 4), np.float32), ones, ones, Frame((100, 200)), "aliked")


def pair_of(confidence: list[float], inliers: list[bool], **changes: float) -> MatchedPair:
    """A pair whose numbers all differ; what lies on the left of one view lies on the right of the other."""
    count = len(confidence)
    indices = np.stack([np.arange(count), np.arange(count)[::-1]], 1).astype(np.int32)
    matches = Correspondences(indices, np.array(confidence, np.float32), 0.375)
    verification = Verification.none(count)
    numbers = {
        "inlier_ratio": 0.625,
        "confidence_sum": 2.25,
        "residual": 0.0078125,
        "spread_along": 0.125,
        "spread_across": 0.0625,
        "scale": 1.25,
        "rotation": -11.0,
        "shear": 0.1875,
        "position_gap": 0.03125,
        "mark_share": 0.75,
        "plausibility": 0.875,
        "score": 3.5,
    }
    found = {"ok": True, "kind": "affine", "inliers": np.array(inliers), "n_inliers": sum(inliers)}
    verification = dataclasses.replace(verification, **found, **(numbers | changes))
    return MatchedPair(features(9), features(7), matches, verification)


CONFIDENCE = [0.9375, 0.8125, 0.625, 0.5625, 0.25, 0.125]
INLIERS = [True, True, True, False, False, True]
SHARED = {
    "keypoints0": 9,
    "keypoints1": 7,
    "matches": 6,
    "confidence_sum": 3.3125,
    "similarity": 0.375,
    "model_found": 1,
    "model_kind": "affine",
    "inliers": 4,
    "inlier_ratio": 0.625,
    "inlier_confidence_sum": 2.25,
    "residual": 0.0078125,
    "spread_along": 0.125,
    "spread_across": 0.0625,
    "scale": 1.25,
    "rotation": -11,
    "shear": 0.1875,
    "position_gap": 0.03125,
    "mark_share": 0.75,
    "plausibility": 0.875,
    "model_score": 3.5,
}
OWN: dict[MatcherName, dict[str, float]] = {
    "skin": {
        "aligned_similarity": 0.4375,
        "overlap": 0.8,
        "aligned_left": 0.5,
        "aligned_right": 0.3,
        "inliers_left": 3,
        "inliers_right": 1,
    },
    "mutual_nn": {
        "distinctive_matches": 3,
        "distinctive_inliers": 2,
        "distinctive_inlier_ratio": 0.7,
        "distinctive_inlier_confidence_sum": 1.75,
        "distinctive_position_gap": 0.02,
        "distinctive_plausibility": 0.6,
        **{name: float(number) for number, name in enumerate(block_correlation.NAMES)},
    },
    "lightglue": {"matches_50": 4, "matches_80": 2},
}


@pytest.fixture(scope="module")
def matched() -> MatchedPair:
    numbers = {"inlier_ratio": 0.7, "confidence_sum": 1.75, "position_gap": 0.02, "plausibility": 0.6}
    distinctive = pair_of(CONFIDENCE[:3], [True, False, True], **numbers)
    aligned = AlignedSkin(similarity=0.4375, overlap=0.8, left=0.5, right=0.3)
    return dataclasses.replace(pair_of(CONFIDENCE, INLIERS), distinctive=distinctive, aligned=aligned)


@pytest.mark.parametrize("matcher", MATCHERS)
def test_every_column_holds_what_its_name_says(matcher: MatcherName, matched: MatchedPair) -> None:
    correlation = np.arange(len(block_correlation.NAMES), dtype=np.float32)[None]
    matched_list = dataclasses.replace(MatchedList.of([matched]), correlation=correlation)
    table = columns(matcher, measure(matcher, matched_list))
    expected = {f"{matcher}_{name}": value for name, value in (SHARED | OWN[matcher]).items()}
    assert set(table) == set(expected)
    for name, value in expected.items():
        got = table[name].item()
        assert got == value if isinstance(value, str) else got == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("matcher", MATCHERS)
def test_what_was_not_measured_is_unknown(matcher: MatcherName) -> None:
    table = columns(matcher, unmeasured(matcher, 3))
    kinds = table.pop(f"{matcher}_model_kind")
    assert kinds.tolist() == [None] * 3
    assert all(np.isnan(values).all() and len(values) == 3 for values in table.values())


def test_the_registry_is_complete_and_unambiguous() -> None:
    for matcher in MATCHERS:
        names = [entry.name for entry in MEASUREMENTS[matcher]]
        assert len(set(names)) == len(names)
        assert all(entry.unit and entry.meaning for entry in MEASUREMENTS[matcher])
        assert MEASUREMENTS[matcher][: len(COMMON)] == COMMON


def test_a_cached_record_is_read_by_name_and_never_as_another_type(tmp_path, matched: MatchedPair) -> None:
    record = record_type("skin")
    records = measure("skin", MatchedList.of([matched, matched]))
    records["inliers"] = [5, 6]
    cache = PairCache(tmp_path / "pairs.sqlite", "print", record)
    cache.put("q", ["a", "b"], records)
    found, known = cache.get("q", ["b", "nobody", "a"])
    assert known.tolist() == [True, False, True]
    assert found["inliers"][known].tolist() == [6, 5]
    swapped = np.dtype([*record.descr[:-2], record.descr[-1], record.descr[-2]])
    for other in (
        PairCache(tmp_path / "pairs.sqlite", "print", swapped),
        PairCache(tmp_path / "pairs.sqlite", "another", record),
    ):
        assert not other.get("q", ["a"])[1].any()


def test_measured_pairs_are_written_within_a_second_and_when_the_cache_is_closed(
    tmp_path: Path, matched: MatchedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> list[bool]:
        another = PairCache(tmp_path / "pairs.sqlite", "print", record_type("skin"))
        known = another.get("q", ["a", "b", "c"])[1].tolist()
        another.close()
        return known

    records = measure("skin", MatchedList.of([matched]))
    cache = PairCache(tmp_path / "pairs.sqlite", "print", record_type("skin"))
    now = [time.monotonic()]
    monkeypatch.setattr("engine.matching.pair_cache.time.monotonic", lambda: now[0])
    cache.put("q", ["a"], records)
    assert kept() == [False, False, False]
    now[0] += 1.5
    cache.put("q", ["b"], records)
    assert kept() == [True, True, False]
    cache.put("q", ["c"], records)
    cache.close()
    assert kept() == [True, True, True]


def test_the_ranker_reads_only_columns_that_are_measured() -> None:
    """With every measurement known, every feature and term that is made of them is known: none reads another name."""
    table = pd.DataFrame({"query_id": ["q"], "candidate_id": ["c"], "cosine": [0.5]})
    for matcher in MATCHERS:
        for entry in MEASUREMENTS[matcher]:
            table[f"{matcher}_{entry.name}"] = entry.categories[1] if entry.categories else 0.5
    made = build(table)
    measured = [name for name in made.columns if name.startswith(tuple(f"{matcher}_" for matcher in MATCHERS))]
    assert len(measured) > 50
    assert made[measured].notna().all(axis=None)
    assert (terms_of(table)[0] != [term.absent for term in TERMS.values()]).all()
