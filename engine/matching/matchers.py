"""Correspondences between two photographs, for many pairs at once.

Two matchers share one contract: LightGlue (LighterGlue for XFeat) and mutual nearest neighbours with a ratio test. A
pair where either side has no keypoints has no correspondences; no input raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from engine.matching import mutual_nn as nearest
from engine.matching.lru_cache import RecentFeatures
from engine.records import Correspondences
from features.records import LocalFeatures
from features.weights import file_sha256, weight_file
from scarmatch.settings import Settings, SettingsError

if TYPE_CHECKING:
    from engine.matching.lightglue_network import LightGlueNetwork, Prepared

#: Bumped whenever the same settings would give other matches: part of every cache key.
CODE_VERSION = 1

FeaturePair = tuple[LocalFeatures, LocalFeatures]

#: Keypoint kind -> (weight file, attention heads, trained to stop early) of the LightGlue that was trained on it.
LIGHTGLUE_WEIGHTS = {
    "aliked": ("lightglue-aliked", 4, True),
    "disk": ("lightglue-disk", 4, True),
    "xfeat": ("lighterglue-xfeat", 1, False),
}


@dataclass(frozen=True)
class MatchingSettings(Settings):
    """Options of the matching stage.

    Attributes:
        method: "auto" (LightGlue where weights for the keypoints exist, otherwise nearest neighbours), "lightglue" or
            "nearest".
        max_keypoints: only the best so many keypoints of a photograph take part.
        threshold: LightGlue matches below this confidence are left out. Low on purpose: on faint marks the verification
            gains more from weak matches than it loses (see bench/NOTES.md).
        depth_confidence: share of sure keypoints at which LightGlue stops early; above 1 it never does.
        ratio: ratio test of the nearest-neighbour matcher (best distance / second best, the larger of both directions),
            1 switches it off.
        precision: "auto", "float32", "bfloat16" or "float16".
        batch_keypoints: keypoints per LightGlue batch, both sides of all its pairs together: larger batches leave a
            CPU's second-level cache and get slower again.
    """

    method: str = "auto"
    max_keypoints: int = 512
    threshold: float = 0.02
    depth_confidence: float = 0.95
    ratio: float = 0.9
    precision: str = "auto"
    batch_keypoints: int = 4096

    def __post_init__(self) -> None:
        if self.method not in ("auto", "lightglue", "nearest"):
            raise SettingsError(f"method={self.method!r}: use 'auto', 'lightglue' or 'nearest'")
        if self.precision not in ("auto", "float32", "bfloat16", "float16"):
            raise SettingsError(f"precision={self.precision!r}: use 'auto', 'float32', 'bfloat16' or 'float16'")
        if self.batch_keypoints < 2 or self.max_keypoints < 1:
            raise SettingsError("batch_keypoints must be at least 2 and max_keypoints at least 1")


class PairMatcher(Protocol):
    """Anything that finds correspondences for pairs of photographs."""

    def match(self, pairs: Sequence[FeaturePair]) -> list[Correspondences]:
        """Return the correspondences of every pair (view 0, view 1), in the order given."""
        ...

    def fingerprint(self) -> str:
        """Return a string that changes whenever the answers could."""
        ...


def make_matcher(kind: str, settings: MatchingSettings | None = None, device: str | None = None) -> PairMatcher:
    """Return the matcher for keypoints of a kind.

    Raises:
        SettingsError: LightGlue was asked for keypoints that it has no weights for.
    """
    settings = settings or MatchingSettings()
    if settings.method == "nearest" or (settings.method == "auto" and kind not in LIGHTGLUE_WEIGHTS):
        return NearestNeighbourMatcher(settings)
    if kind not in LIGHTGLUE_WEIGHTS:
        known = ", ".join(sorted(LIGHTGLUE_WEIGHTS))
        raise SettingsError(f"there is no LightGlue for {kind!r} keypoints (only {known}); use method='nearest'")
    return LightGlueMatcher(kind, settings, device)


class LightGlueMatcher:
    """LightGlue in batches of pairs; the part that depends on one photograph is kept for its next pair.

    Positions are handed over in the canonical, head-up frame: LightGlue fails beyond about 45 degrees of rotation.
    """

    #: Prepared photographs kept in memory (each about 0.6 MB at 512 keypoints).
    KEEP = 64

    def __init__(self, kind: str, settings: MatchingSettings | None = None, device: str | None = None) -> None:
        import torch

        from engine.matching.lightglue_network import fast_dtype

        self.settings = settings or MatchingSettings()
        self._kind = kind
        self._weights = weight_file(LIGHTGLUE_WEIGHTS[kind][0])
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        chosen = self.settings.precision
        self._dtype = fast_dtype(self._device) if chosen == "auto" else getattr(torch, chosen)
        self._prepare = RecentFeatures(self._prepared, self.KEEP)
        #: (padded number of keypoints, layers until it stopped) -> pairs matched so far: where the arithmetic went.
        self.work_done: Counter[tuple[int, int]] = Counter()

    @cached_property
    def _network(self) -> LightGlueNetwork:
        # Loaded on first use: whoever asks for a fingerprint only needs no network.
        import torch

        from engine.matching.lightglue_network import LightGlueNetwork

        _, heads, stops = LIGHTGLUE_WEIGHTS[self._kind]
        state = torch.load(self._weights, map_location="cpu", weights_only=True)
        return LightGlueNetwork(state, heads, self._device, self._dtype, stops)

    def fingerprint(self) -> str:
        """Settings, weights and code version in one string."""
        return f"{self.settings.fingerprint()}-{file_sha256(self._weights)[:16]}-{self._dtype}-{CODE_VERSION}"

    def match(self, pairs: Sequence[FeaturePair]) -> list[Correspondences]:
        """Return the correspondences of every pair, best first, in the order given.

        Raises:
            ValueError: the keypoints are of another kind than the weights.
        """
        results = [Correspondences.empty() for _ in pairs]
        work = [index for index, (f0, f1) in enumerate(pairs) if self._has_keypoints(f0, f1)]
        # Only pairs of one padded length share a batch: then a pair's answer does not depend on its company.
        from engine.matching.lightglue_network import padded_length

        limit = self.settings.max_keypoints
        lengths = [padded_length(min(max(len(f0), len(f1)), limit)) for f0, f1 in pairs]
        work.sort(key=lambda index: (lengths[index], index))
        while work:
            length = lengths[work[0]]
            same = sum(lengths[index] == length for index in work)
            count = min(same, max(1, self.settings.batch_keypoints // (2 * length)))
            chunk, work = work[:count], work[count:]
            batch = [(self._prepare(pairs[i][0]), self._prepare(pairs[i][1])) for i in chunk]
            found = self._network.match(batch, self.settings.threshold, self.settings.depth_confidence)
            self.work_done.update((length, assignment.layers) for assignment in found)
            for index, assignment in zip(chunk, found, strict=True):
                results[index] = _sorted_record(
                    assignment.indices.cpu().numpy(), assignment.confidence.float().cpu().numpy()
                )
        return results

    def forget(self) -> None:
        """Drop what is kept of photographs in memory (their next pair costs what a first one does)."""
        self._prepare.clear()

    def _has_keypoints(self, features0: LocalFeatures, features1: LocalFeatures) -> bool:
        """Say whether a pair has keypoints; they must be of the kind that the weights match."""
        if not len(features0) or not len(features1):
            return False
        for features in (features0, features1):
            if features.kind != self._kind:
                raise ValueError(f"these weights match {self._kind!r} keypoints, not {features.kind!r}")
        return True

    def _prepared(self, features: LocalFeatures) -> Prepared:
        import torch

        count = self.settings.max_keypoints
        return self._network.prepare(
            torch.from_numpy(features.canonical_xy[:count]),
            torch.from_numpy(np.asarray(features.descriptors[:count], np.float32)),
            features.frame.canonical_size,
        )


class NearestNeighbourMatcher:
    """Mutual nearest neighbours in descriptor space with the ratio test of Lowe (2004).

    Confidence falls linearly from 1 at cosine similarity 1 to 0 at cosine similarity 0.
    """

    def __init__(self, settings: MatchingSettings | None = None) -> None:
        self.settings = settings or MatchingSettings(method="nearest")

    def fingerprint(self) -> str:
        """Settings and code version in one string."""
        return f"{self.settings.fingerprint()}-nearest-{CODE_VERSION}-{nearest.CODE_VERSION}"

    def match(self, pairs: Sequence[FeaturePair]) -> list[Correspondences]:
        """Return the correspondences of every pair, best first, in the order given."""
        return [self._match_one(f0, f1) for f0, f1 in pairs]

    def _match_one(self, features0: LocalFeatures, features1: LocalFeatures) -> Correspondences:
        limit = self.settings.max_keypoints
        found = nearest.mutual_neighbours(
            *(np.array(f.descriptors[:limit], np.float32) for f in (features0, features1))
        )
        keep = found.ratio <= self.settings.ratio if self.settings.ratio < 1 else np.ones(len(found), bool)
        indices = np.stack([found.rows[keep], found.columns[keep]], 1)
        return _sorted_record(indices, np.clip(found.cosine[keep], 0.0, 1.0))


def _sorted_record(indices: npt.NDArray[np.int64], confidence: npt.NDArray[np.floating]) -> Correspondences:
    """Order matches by confidence (ties by index, so that the order never depends on the batch)."""
    order = np.lexsort((indices[:, 0], -confidence)) if len(indices) else np.zeros(0, int)
    return Correspondences(
        np.ascontiguousarray(indices[order], np.int32).reshape(-1, 2),
        np.ascontiguousarray(np.clip(confidence[order], 0.0, 1.0), np.float32),
        float(confidence.mean()) if len(confidence) else float("nan"),
    )
