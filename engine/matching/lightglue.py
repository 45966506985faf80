"""Matches by LightGlue (Lindenberger, Sarlin and Pollefeys, ICCV 2023), LighterGlue for XFeat, in batches of pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from engine.matching.base import FeaturePair, best_first
from engine.matching.lru_cache import LruCache
from engine.records import Correspondences
from features.records import LocalFeatures
from features.weights import file_sha256, weight_file
from scarmatch.settings import Settings, SettingsError

if TYPE_CHECKING:
    import torch

    from engine.matching.lightglue_network import LightGlueNetwork, Prepared

#: Bumped whenever the same settings would give other matches: part of every cache key.
CODE_VERSION = 2

#: Keypoint kind -> (weight file, attention heads) of the LightGlue that was trained on it.
LIGHTGLUE_WEIGHTS = {
    "aliked": ("lightglue-aliked", 4),
    "disk": ("lightglue-disk", 4),
    "xfeat": ("lighterglue-xfeat", 1),
}


@dataclass(frozen=True)
class LightGlueSettings(Settings):
    """Options of LightGlue.

    Attributes:
        max_keypoints: only the best so many keypoints of a photograph take part.
        threshold: LightGlue matches below this confidence are left out. Low on purpose: on faint marks the verification
            gains more from weak matches than it loses (see bench/NOTES.md).
        precision: "auto", "float32", "bfloat16" or "float16".
        batch_keypoints: keypoints per LightGlue batch, both sides of all its pairs together: larger batches leave a
            CPU's second-level cache and get slower again.
    """

    max_keypoints: int = 512
    threshold: float = 0.02
    precision: str = "auto"
    batch_keypoints: int = 4096

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "float32", "bfloat16", "float16"):
            raise SettingsError(f"precision={self.precision!r}: use 'auto', 'float32', 'bfloat16' or 'float16'")
        if self.batch_keypoints < 2 or self.max_keypoints < 1:
            raise SettingsError("batch_keypoints must be at least 2 and max_keypoints at least 1")


def fast_dtype(device: str) -> torch.dtype:
    """Return the number type that is fastest on a device without losing matches.

    Half precision on a GPU; bfloat16 on a CPU that has AMX. AVX512-BF16 alone is not enough: measured on a processor
    with AMX masked (torch 2.13), bfloat16 reached 89 GFLOP/s and float32 142 in the feed-forward's products, 74 and 105
    in attention.
    """
    import torch

    if device.startswith("cuda"):
        return torch.float16
    capable = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "")()
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.bfloat16 if amx or "AMX" in str(capable) else torch.float32


class LightGlueMatcher:
    """LightGlue in batches of pairs; the part that depends on one photograph is kept for its next pair.

    Positions are handed over in the canonical, head-up frame: LightGlue fails beyond about 45 degrees of rotation.

    Raises:
        SettingsError: there are no weights for these keypoints.
    """

    #: Prepared photographs kept in memory (each about 0.6 MB at 512 keypoints).
    KEEP = 64

    def __init__(self, kind: str, settings: LightGlueSettings | None = None, device: str | None = None) -> None:
        if kind not in LIGHTGLUE_WEIGHTS:
            raise SettingsError(
                f"there is no LightGlue for {kind!r} keypoints, only for {', '.join(LIGHTGLUE_WEIGHTS)}"
            )
        self.settings = settings or LightGlueSettings()
        self._kind = kind
        self._weights = weight_file(LIGHTGLUE_WEIGHTS[kind][0])
        self._asked_device = device
        self._prepare = LruCache(self._prepared, self.KEEP, key=id)
        #: Padded number of keypoints -> pairs matched so far: where the arithmetic went.
        self.work_done: Counter[int] = Counter()

    @cached_property
    def _device(self) -> str:
        import torch

        return self._asked_device or ("cuda" if torch.cuda.is_available() else "cpu")

    @cached_property
    def _dtype(self) -> torch.dtype:
        import torch

        chosen = self.settings.precision
        found: torch.dtype = fast_dtype(self._device) if chosen == "auto" else getattr(torch, chosen)
        return found

    @cached_property
    def _network(self) -> LightGlueNetwork:
        # Loaded on first use: whoever asks for a fingerprint only needs no network.
        import torch

        from engine.matching.lightglue_network import LightGlueNetwork

        _, heads = LIGHTGLUE_WEIGHTS[self._kind]
        state = torch.load(self._weights, map_location="cpu", weights_only=True)
        return LightGlueNetwork(state, heads, self._device, self._dtype)

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
        limit = self.settings.max_keypoints
        lengths = [self._network.padded_length(min(max(len(f0), len(f1)), limit)) for f0, f1 in pairs]
        work.sort(key=lambda index: (lengths[index], index))
        while work:
            length = lengths[work[0]]
            same = sum(lengths[index] == length for index in work)
            count = min(same, max(1, self.settings.batch_keypoints // (2 * length)))
            chunk, work = work[:count], work[count:]
            batch = [(self._prepare(pairs[i][0]), self._prepare(pairs[i][1])) for i in chunk]
            assignments = self._network.match(batch, self.settings.threshold)
            self.work_done[length] += len(assignments)
            for index, assignment in zip(chunk, assignments, strict=True):
                confidence = assignment.confidence.float().cpu().numpy()
                similarity = float(confidence.mean()) if len(confidence) else float("nan")
                results[index] = best_first(assignment.indices.cpu().numpy(), confidence.clip(0.0, 1.0), similarity)
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
