"""Mutual nearest neighbours of keypoints by descriptor, judged by how far behind the next nearest is.

One product gives a pair's matches, a thousand pairs a second and more on one core where LightGlue does five to ten. On
flattened skin they find nearly as many true pairs once the verification has sorted them (bench/NOTES.md), so every
candidate of a list is matched this way and LightGlue re-scores the best few.

Matches are those of single precision to the last bit (:mod:`engine.matching.exact_neighbours`), and depend on nothing
but the pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.matching.exhaustive import SCORED_KEYPOINTS, Codes, quantise
from engine.matching.lru_cache import LruCache
from engine.matching.matched import TentativeList
from engine.matching.mutual_kernels import matches_kernel, neighbours_kernel
from engine.matching.tiles import Codes16, as_panels, as_rows, fine_codes, index_bits
from engine.records import Correspondences
from features.keypoints.metric import AUTO, NONE, KeypointMetric, load_metric, metric_print
from features.records import BoolArray, FloatArray, LocalFeatures
from scarmatch.settings import Settings, SettingsError

#: Bumped whenever the same settings would give other matches: part of every cache key.
CODE_VERSION = 1


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
    sides = [np.ascontiguousarray(one, np.float32) for one in (descriptors0, descriptors1)]
    most = min(map(len, sides))
    indices, cosine, ratio = np.empty((most, 2), np.int32), np.empty(most, np.float32), np.empty(most, np.float32)
    count = 0
    if most:
        rows0, rows1 = (as_rows(fine_codes(side)) for side in sides)
        panels, bits = as_panels(rows0[: len(sides[0])]).reshape(-1), index_bits(*map(len, sides))
        count = neighbours_kernel()(*sides, rows0, rows1, panels, bits, indices, cosine, ratio)
    places = indices[:count].astype(np.int64)
    return MutualNeighbours(places[:, 0], places[:, 1], cosine[:count], ratio[:count])


@dataclass(frozen=True, eq=False)
class PreparedKeypoints:
    """One photograph's best keypoints, ready to be compared.

    Attributes:
        descriptors: (n, D) float32.
        rows: (padded n, padded D) int16 codes of them.
        xy: (n, 2) float32 canonical pixels.
        marks: (n,) float32 strength of the marks under them.
        size: canonical (width, height) in pixels.
        keypoints: how many keypoints the photograph has, compared or not.
    """

    descriptors: FloatArray
    rows: Codes16
    xy: FloatArray
    marks: FloatArray
    size: tuple[int, int]
    keypoints: int

    def __len__(self) -> int:
        return len(self.xy)


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

    #: Photographs prepared in memory (each about 0.4 MB).
    KEEP = 128

    def __init__(self, kind: str, settings: MutualNNSettings | None = None) -> None:
        self.settings = settings or MutualNNSettings()
        self._kind = kind
        self._print = metric_print(self.settings.metric, kind)
        self._prepared = LruCache(self.prepare, self.KEEP, key=id)

    @cached_property
    def _metric(self) -> KeypointMetric | None:
        # Loaded on first use: whoever asks for a fingerprint, or scores what is kept beside the store, needs none.
        metric, printed = load_metric(self.settings.metric, self._kind)
        assert printed == self._print
        return metric

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
        prepared = [(self._prepared(first), self._prepared(second)) for first, second in pairs]
        return [self.match_list(first, [second]).pair(0) for first, second in prepared]

    def match_list(self, query: PreparedKeypoints, candidates: Sequence[PreparedKeypoints]) -> TentativeList:
        """Return the matches of a query with its candidates, in the order given."""
        found, cosine = TentativeList.with_room(query, candidates), np.empty(len(query), np.float32)
        outputs = (cosine, found.indices, found.confidence, found.points0, found.points1, found.marks)
        panels, kernel, at = as_panels(query.rows[: len(query)]).reshape(-1), matches_kernel(), 0
        own = (query.descriptors, query.rows, query.xy, query.marks)
        for number, candidate in enumerate(candidates):
            if len(query) and len(candidate):
                other = (candidate.descriptors, candidate.rows, candidate.xy, candidate.marks)
                count = kernel(*own, *other, panels, index_bits(len(query), len(candidate)), at, *outputs)
                found.similarity[number] = cosine[:count].mean() if count else np.nan
                at += count
            found.offsets[number + 1] = at
        return found.filled()

    def prepare(self, features: LocalFeatures) -> PreparedKeypoints:
        """Make a photograph ready to be compared.

        Raises:
            ValueError: the keypoints are of another kind.
        """
        descriptors = self._descriptors(features, self.settings.max_keypoints)
        count = len(descriptors)
        return PreparedKeypoints(
            np.ascontiguousarray(descriptors),
            as_rows(fine_codes(descriptors)),
            np.ascontiguousarray(features.canonical_xy[:count]),
            np.ascontiguousarray(features.marks[:count], np.float32),
            features.frame.canonical_size,
            len(features),
        )

    def _descriptors(self, features: LocalFeatures, most: int) -> FloatArray:
        if features.kind != self._kind:
            raise ValueError(f"this matcher compares {self._kind!r} keypoints, not {features.kind!r}")
        descriptors = np.array(features.descriptors[:most], np.float32)
        return descriptors if self._metric is None or not len(features) else self._metric.apply(descriptors)

    def codes(self, features: LocalFeatures) -> Codes:
        """Return the (n, D) int8 codes of a photograph's best keypoints, for the scores of whole catalogues."""
        return quantise(self._descriptors(features, SCORED_KEYPOINTS))

    def forget(self) -> None:
        """Drop what is kept of photographs in memory."""
        self._prepared.clear()

    def passes_ratio_test(self, matches: Correspondences) -> Correspondences:
        """Return the distinctive ones among the matches of :meth:`match`: of a ratio of at most ``max_ratio``."""
        count = int(self.distinctive(matches.confidence).sum())  # most confident come first
        return Correspondences(matches.indices[:count], matches.confidence[:count], matches.similarity)

    def distinctive(self, confidence: FloatArray) -> BoolArray:
        """Say which matches pass the ratio test, by their confidences."""
        return confidence >= 1 - self.settings.max_ratio
