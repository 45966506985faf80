"""Mutual nearest neighbours of keypoints by descriptor, judged by how far behind the next nearest is.

One matrix product and one pass over it give a pair's matches, hundreds of pairs a second on one core where LightGlue
does five to ten. On flattened skin they find nearly as many true pairs once the verification has sorted them
(bench/NOTES.md), so every candidate of a list is matched this way and LightGlue re-scores the best few.

Each pair has its own product: in one product for many pairs the last bits of a pair's similarities could depend on its
company.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from engine.matching.base import best_first
from engine.matching.exhaustive import SCORED_KEYPOINTS, Codes, quantise
from engine.matching.lru_cache import LruCache
from engine.records import Correspondences
from features.keypoints.metric import AUTO, NONE, load_metric
from features.records import FloatArray, LocalFeatures
from scarmatch.settings import Settings, SettingsError

#: Bumped whenever the same settings would give other matches: part of every cache key.
CODE_VERSION = 1

#: Similarity of what is not there.
_NONE = np.float32(-2.0)


@dataclass(frozen=True)
class MutualNNSettings(Settings):
    """Options of the matching by mutual nearest neighbours.

    Attributes:
        max_keypoints: only the best so many keypoints of a photograph take part.
        metric: what makes descriptors comparable (:mod:`features.keypoints.metric`): "auto" for the shipped one where
            there is one for the keypoints, "none", a name, or a trained one's file or folder.
        max_ratio: matches whose ratio (see :class:`MutualNeighbours`) is at most this pass the ratio test: they are
            distinctive, and are verified once more by themselves.
    """

    max_keypoints: int = 512
    metric: str = "auto"
    max_ratio: float = 0.9

    def __post_init__(self) -> None:
        if self.max_keypoints < 1 or not 0 < self.max_ratio <= 1:
            raise SettingsError("max_keypoints must be at least 1, and max_ratio above 0 and at most 1")


@dataclass(frozen=True, eq=False)
class MutualNeighbours:
    """Keypoints of two photographs that are each other's nearest by descriptor.

    Attributes:
        rows, columns: (M,) int64 indices into view 0 and view 1, by rising row.
        cosine: (M,) float32 similarity.
        ratio: (M,) float32 distance to the nearest / to the second nearest (Lowe, IJCV 2004), the larger of both
            directions; 0 where there is no second.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    cosine: FloatArray
    ratio: FloatArray

    def __len__(self) -> int:
        return len(self.rows)


def mutual_neighbours(descriptors0: FloatArray, descriptors1: FloatArray) -> MutualNeighbours:
    """Return the mutual nearest neighbours of two sets of unit descriptors, (N, D) and (M, D) float32."""
    import torch

    if not len(descriptors0) or not len(descriptors1):
        nothing, none = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return MutualNeighbours(nothing, nothing, none, none)
    # By torch, whose threads the worker processes keep to one; NumPy's would go their own way.
    similarity = torch.mm(torch.from_numpy(descriptors0), torch.from_numpy(descriptors1).T).numpy()
    back, second_back = _best_rows(similarity)
    every = np.arange(len(similarity))
    nearest = similarity.argmax(axis=1)
    rows = np.flatnonzero(back[nearest] == every)
    columns = nearest[rows]
    top = similarity[rows, columns]
    similarity[every, nearest] = _NONE
    runner_up = similarity[rows, similarity[rows].argmax(axis=1)]
    next_best = np.maximum(runner_up, second_back[columns])
    # For unit vectors the squared distance is 2 - 2 cosine.
    ratio = np.sqrt(np.maximum(1 - top, 0) / np.maximum(1 - next_best, 1e-9))
    return MutualNeighbours(rows, columns, top, np.where(next_best > _NONE, ratio, 0).astype(np.float32))


class MutualNNMatcher:
    """Mutual nearest neighbours of keypoints; a match's confidence is 1 - its ratio.

    Args:
        kind: of the keypoints.
        settings: options.

    Raises:
        SettingsError: no such metric.
        KeypointMetricError: the metric's file holds none, or one for other keypoints.

    Example:
        >>> MutualNNMatcher("aliked").match([(features0, features1)])      # doctest: +SKIP
    """

    #: Photographs prepared in memory (each about 0.25 MB).
    KEEP = 128

    def __init__(self, kind: str, settings: MutualNNSettings | None = None) -> None:
        self.settings = settings or MutualNNSettings()
        self._kind = kind
        self._metric, self._print = load_metric(self.settings.metric, kind)
        self._descriptors = LruCache(self._prepare, self.KEEP, key=id)

    def fingerprint(self) -> str:
        """Settings, metric and code version in one string."""
        # The metric counts by its content, not by where it lies or how it is called.
        settings = self.settings.replace(metric=AUTO if self._print != NONE else NONE)
        return f"{settings.fingerprint()}-mutual-nn-{self._print}-{CODE_VERSION}"

    def match(self, pairs: Sequence[tuple[LocalFeatures, LocalFeatures]]) -> list[Correspondences]:
        """Return the matches of every pair, best first, in the order given.

        Raises:
            ValueError: the keypoints are of another kind.
        """
        return [self._match_one(features0, features1) for features0, features1 in pairs]

    def _match_one(self, features0: LocalFeatures, features1: LocalFeatures) -> Correspondences:
        neighbours = mutual_neighbours(self._descriptors(features0), self._descriptors(features1))
        similarity = float(neighbours.cosine.mean()) if len(neighbours) else float("nan")
        return best_first(
            np.stack([neighbours.rows, neighbours.columns], 1), np.clip(1 - neighbours.ratio, 0, 1), similarity
        )

    def _prepare(self, features: LocalFeatures, most: int | None = None) -> FloatArray:
        if features.kind != self._kind:
            raise ValueError(f"this matcher compares {self._kind!r} keypoints, not {features.kind!r}")
        descriptors = np.array(features.descriptors[: most or self.settings.max_keypoints], np.float32)
        return descriptors if self._metric is None or not len(features) else self._metric.apply(descriptors)

    def codes(self, features: LocalFeatures) -> Codes:
        """Return the (n, D) int8 codes of a photograph's best keypoints, for the scores of whole catalogues."""
        return quantise(self._prepare(features, SCORED_KEYPOINTS))

    def forget(self) -> None:
        """Drop what is kept of photographs in memory."""
        self._descriptors.clear()

    def passes_ratio_test(self, matches: Correspondences) -> Correspondences:
        """Return the distinctive ones among the matches of :meth:`match`: of a ratio of at most ``max_ratio``."""
        count = int((matches.confidence >= 1 - self.settings.max_ratio).sum())  # most confident come first
        return Correspondences(matches.indices[:count], matches.confidence[:count], matches.similarity)


@numba.njit(cache=True, nogil=True)
def _best_rows(
    similarity: FloatArray,
) -> tuple[npt.NDArray[np.int32], FloatArray]:  # pragma: no cover - compiled
    """Return the (M,) row of each column's best (the first of equals), and the second best (-2: none).

    The loop is written for the compiler to turn into vector instructions: no branches, 32-bit indices.
    """
    rows, columns = similarity.shape
    back = np.zeros(columns, np.int32)
    best, second = np.full(columns, np.float32(-2.0)), np.full(columns, np.float32(-2.0))
    for i in range(rows):
        own, row = similarity[i], np.int32(i)
        for j in range(columns):
            value, top = own[j], best[j]
            lower = top if value > top else value
            second[j] = lower if lower > second[j] else second[j]
            back[j] = row if value > top else back[j]
            best[j] = value if value > top else top
    return back, second
