"""Photographs added to an indexed catalogue cost their own descriptions and pairs, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.matching.measurements import LIGHTGLUE, MATCHERS, MatcherName
from engine.matching.pair_worker import PairTask, PairWorker
from features.global_descriptor.descriptor import GlobalDescriptor
from features.keypoints.detectors import KeypointExtractor
from scarmatch import Catalog, Matcher, MatcherSettings

BEFORE, ADDED = 5, 3


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    """What the networks and the pair worker were asked for."""
    found: dict[str, list] = {"keypoints": [], "vectors": [], "pairs": [], "shown": []}
    extract, describe = KeypointExtractor.extract, GlobalDescriptor.describe
    measure, match = PairWorker.measure, PairWorker.match

    def watch_extract(self, photo, *rest):
        found["keypoints"].append(photo.sha256)
        return extract(self, photo, *rest)

    def watch_describe(self, photos, *rest):
        found["vectors"] += sorted({photo.sha256 for photo in photos})
        return describe(self, photos, *rest)

    def watch_measure(self, matcher: MatcherName, task: PairTask):
        found["pairs"] += [(matcher, task.query, key) for key in task.candidates]
        return measure(self, matcher, task)

    def watch_match(self, matcher: MatcherName, task: PairTask):
        found["shown"] += [(matcher, task.query, key) for key in task.candidates]
        return match(self, matcher, task)

    monkeypatch.setattr(PairWorker, "match", watch_match)
    monkeypatch.setattr(KeypointExtractor, "extract", watch_extract)
    monkeypatch.setattr(GlobalDescriptor, "describe", watch_describe)
    monkeypatch.setattr(PairWorker, "measure", watch_measure)
    return found


def test_only_what_is_new_is_computed(
    small_settings: MatcherSettings, made_up_dir: Path, tmp_path: Path, counts: dict[str, list]
) -> None:
    everything = Catalog.read(made_up_dir)
    ids = everything.ids[: BEFORE + ADDED]
    # A shortlist that takes everybody: what is matched then depends on what is there alone.
    settings = small_settings.with_option("shortlist.size", "50")
    first = Matcher(settings, tmp_path, ranker="fusion", workers=1)
    index = first.index(everything.subset(ids[:BEFORE]))
    before = first.pairs(index.subset(ids[:2]), index)
    assert len(counts["keypoints"]) == BEFORE
    assert len(set(counts["vectors"])) == BEFORE
    assert len(before) == 2 * (BEFORE - 1)
    assert len(counts["pairs"]) == len(MATCHERS) * len(before)
    for asked in counts.values():
        asked.clear()

    # Another process on another day: nothing but the store is shared.
    later = Matcher(settings, tmp_path, ranker="fusion", workers=1)
    index = later.index(everything.subset(ids))
    contents = {key.split(":")[0] for key in (item.key for item in index.descriptions[BEFORE:])}
    assert sorted(counts["keypoints"]) == sorted(contents)
    assert set(counts["vectors"]) == contents
    after = later.pairs(index.subset(ids[:2]), index)
    new = {item.key for item in index.descriptions[BEFORE:]}
    assert len(counts["pairs"]) == len(MATCHERS) * 2 * ADDED
    assert {key for _, _, key in counts["pairs"]} == new

    # What was there keeps its numbers, and a third run computes nothing at all.
    both = before[["query_id", "candidate_id", "lightglue_matches", "lightglue_inliers"]].merge(
        after, on=["query_id", "candidate_id"], suffixes=("", "_after")
    )
    assert len(both) == len(before)
    pd.testing.assert_series_equal(both["lightglue_matches"], both["lightglue_matches_after"], check_names=False)
    pd.testing.assert_series_equal(both["lightglue_inliers"], both["lightglue_inliers_after"], check_names=False)
    for asked in counts.values():
        asked.clear()
    again = later.pairs(later.index(everything.subset(ids)).subset(ids[:2]), index)
    assert counts == {"keypoints": [], "vectors": [], "pairs": [], "shown": []}
    pd.testing.assert_frame_equal(after, again)


def test_pairs_to_be_shown_are_matched_by_the_workers_and_shown_as_ever(
    small_settings: MatcherSettings, made_up_dir: Path, tmp_path: Path, counts: dict[str, list]
) -> None:
    def matched() -> int:
        return sum(matcher == LIGHTGLUE for matcher, _, _ in counts["shown"])

    catalog = Catalog.read(made_up_dir)
    catalog = catalog.subset(catalog.ids[:4])
    alone = Matcher(small_settings, tmp_path, ranker="fusion", workers=1)
    index = alone.index(catalog)
    ids = index.catalog.ids
    pairs = [(ids[0], ids[1]), (ids[0], ids[2]), (ids[3], ids[1])]
    expected = [alone.evidence(*pair, index, index) for pair in pairs]
    assert matched() == 3
    assert not alone.prefetch(pairs, index, index)
    assert matched() == 3  # nothing to gain with one process

    several = Matcher(small_settings, tmp_path, ranker="fusion", workers=2)
    prefetched = several.prefetch([*pairs, ("nobody", ids[0])], index, index)
    assert len(prefetched) == 3
    for pair, one in zip(pairs, expected, strict=True):
        found = several.evidence(*pair, index, index, prefetched)
        np.testing.assert_array_equal(found.correspondences.indices, one.correspondences.indices)
        np.testing.assert_array_equal(found.correspondences.confidence, one.correspondences.confidence)
        np.testing.assert_array_equal(found.verification.inliers, one.verification.inliers)
        np.testing.assert_array_equal(found.features0.xy, one.features0.xy)
    assert matched() == 3  # this process matched none of them
    several.evidence(*pairs[0], index, index)
    assert matched() == 4  # not prefetched
    several.close()
