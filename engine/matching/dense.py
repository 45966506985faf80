"""Matches of dense skin descriptors: each other's nearest skin, at about the same place of the animal.

Both photographs are covered by a grid (:mod:`features.skin.descriptors`), so that products compare their places. Places
that lie too far apart on the two head-up animals are no candidates for each other (places are sorted along the body, so
that most of those are not compared at all), and "each other's nearest" allows the neighbouring place of the grid: two
grids never lie exactly alike. Similarities are those of single precision to the last bit
(:mod:`engine.matching.exact_neighbours`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from engine.geometry.verification import VerificationSettings, transfer
from engine.matching.lru_cache import LruCache
from engine.matching.matched import AlignedSkin, TentativeList
from engine.matching.skin_kernels import matches_kernel, nearest_kernel
from engine.matching.tiles import Codes16, as_panels, as_rows, fine_codes, index_bits, panel_places, row_places
from engine.records import Correspondences
from features.records import FloatArray, LocalFeatures
from features.skin.descriptors import KIND
from scarmatch.settings import Settings, SettingsError

#: Bumped whenever the same settings would give other matches: part of every cache key.
CODE_VERSION = 4

#: Places from which on a flank is judged by itself.
FEWEST = 5
#: How far "nearby" goes once one animal is laid on the other, as a share of view 1's length.
NEARBY = 0.03


@dataclass(frozen=True)
class SkinMatchingSettings(Settings):
    """Options of the matching of dense skin descriptors.

    Attributes:
        reach_along: largest distance of two places along the body, as a share of the visible body's length.
        reach_across: the same across the body, in half widths (the ridge is at 0, both sides at 1).
        neighbour: largest distance, as a share of the length, of a place from the one that its nearest points back to.
        min_similarity: matches of a smaller cosine are left out.
    """

    reach_along: float = 0.3
    reach_across: float = 0.8
    neighbour: float = 0.018
    min_similarity: float = 0.0

    def __post_init__(self) -> None:
        if self.reach_along <= 0 or self.reach_across <= 0 or self.neighbour < 0:
            raise SettingsError("reach_along and reach_across must be above 0, neighbour at least 0")


def skin_verification() -> VerificationSettings:
    """Return the verification of skin matches: grids never lie exactly alike, and bodies are about as large."""
    return VerificationSettings(
        kinds=("similarity", "affine"), threshold=0.02, max_scale=1.6, max_rotation=25.0, plausible_scale=1.3
    )


class SkinMatcher:
    """Finds the matches of pairs described by :class:`features.skin.descriptors.SkinExtractor`."""

    #: Photographs prepared in memory (each about 0.2 MB).
    KEEP = 128

    def __init__(self, settings: SkinMatchingSettings | None = None) -> None:
        self.settings = settings or SkinMatchingSettings()
        self._prepare = LruCache(PreparedSkin.of, self.KEEP, key=id)

    def fingerprint(self) -> str:
        """Settings and code version in one string."""
        return f"{self.settings.fingerprint()}-skin-{CODE_VERSION}"

    def match(self, pairs: Sequence[tuple[LocalFeatures, LocalFeatures]]) -> list[Correspondences]:
        """Return the correspondences of every pair, best first, in the order given.

        Raises:
            ValueError: the features are of another kind.
        """
        for features in (view for pair in pairs for view in pair):
            if features.kind != KIND:
                raise ValueError(f"only {KIND!r} can be matched here, not {features.kind!r}")
        prepared = [(self._prepare(first), self._prepare(second)) for first, second in pairs]
        return [self.match_list(first, [second]).pair(0) for first, second in prepared]

    def match_list(self, query: PreparedSkin, candidates: Sequence[PreparedSkin]) -> TentativeList:
        """Return the correspondences of a query with its candidates, in the order given."""
        s, found = self.settings, TentativeList.with_room(query, candidates, across=True)
        outputs = (found.indices, found.confidence, found.points0, found.points1, found.marks, found.across0)
        own = (query.skin, query.rows, query.places, query.place, query.xy, query.marks, query.order)
        panels, reach = _panels(query), np.array([s.reach_along, s.reach_across], np.float32)
        limits, kernel, at = (np.float32(s.neighbour), np.float32(max(s.min_similarity, -1.0))), matches_kernel(), 0
        for number, candidate in enumerate(candidates):
            if len(query) and len(candidate):
                c = candidate
                other = (c.skin, c.rows, c.places, c.xy, c.marks, c.order)
                count = kernel(*own, *other, *panels, reach, index_bits(len(query), len(c)), *limits, at, *outputs)
                found.similarity[number] = found.confidence[at : at + count].mean() if count else np.nan
                at += count
            found.offsets[number + 1] = at
        return found.filled()

    def aligned(
        self, features0: LocalFeatures, features1: LocalFeatures, model: npt.NDArray[np.float64]
    ) -> AlignedSkin:
        """Compare the skin directly, without any detector, after one animal is laid on the other.

        Every place of view 0 is mapped by the model and compared with the most similar place of view 1 nearby.

        Args:
            features0, features1: dense skin descriptors of the two views.
            model: (3, 3), maps canonical pixels of view 0 to canonical pixels of view 1.
        """
        return self.aligned_prepared(self._prepare(features0), self._prepare(features1), model)

    def aligned_prepared(
        self, first: PreparedSkin, second: PreparedSkin, model: npt.NDArray[np.float64]
    ) -> AlignedSkin:
        """Return what :meth:`aligned` does, of photographs that are ready to be compared."""
        if not len(first) or not len(second):
            return AlignedSkin()
        mapped = transfer(model, first.xy).astype(np.float32)
        reach = NEARBY * max(second.size)
        best = _most_similar_nearby(mapped, first.skin, second.xy, second.skin, np.float32(reach))
        seen = best > -2
        across = first.on_body[:, 1]

        def mean(chosen: npt.NDArray[np.bool_], fewest: int) -> float:
            return float(best[chosen].mean()) if np.count_nonzero(chosen) >= fewest else float("nan")

        flanks = (mean(seen & (across < 0), FEWEST), mean(seen & (across > 0), FEWEST))
        return AlignedSkin(mean(seen, 1), float(seen.mean()), *flanks)


@dataclass(frozen=True, eq=False)
class PreparedSkin:
    """One photograph ready to be compared; places are sorted along the body.

    Attributes:
        order: (N,) int64, which place of the features each one is.
        place: (N, 2) canonical pixels as shares of the picture's height.
        on_body: (N, 2) along and across the body.
        skin: (N, D) unit descriptors in single precision.
        xy: (N, 2) canonical pixels.
        marks: (N,) strength of the marks under them.
        size: canonical (width, height) in pixels.
        rows, places: codes of the skin and places on the body, as the rows of tiles (:mod:`engine.matching.tiles`).
    """

    order: npt.NDArray[np.int64]
    place: FloatArray
    on_body: FloatArray
    skin: FloatArray
    xy: FloatArray
    marks: FloatArray
    size: tuple[int, int]
    rows: Codes16
    places: FloatArray

    def __len__(self) -> int:
        return len(self.order)

    @property
    def keypoints(self) -> int:
        """How many places there are: all of them are compared."""
        return len(self)

    @classmethod
    def of(cls, features: LocalFeatures) -> PreparedSkin:
        """Return the features in the order in which they are compared."""
        on_body = features.on_body
        order = np.argsort(on_body[:, 0], kind="stable")
        xy = np.ascontiguousarray(features.canonical_xy[order], np.float32)
        size = features.frame.canonical_size
        on_body = np.ascontiguousarray(on_body[order], np.float32)
        skin = np.array(features.descriptors[order], np.float32)
        marks = np.ascontiguousarray(features.marks[order], np.float32)
        rows, places = as_rows(fine_codes(skin)), row_places(on_body)
        return cls(order, xy / np.float32(size[1]), on_body, skin, xy, marks, size, rows, places)


def _panels(side: PreparedSkin) -> tuple[Codes16, FloatArray]:
    """Return a photograph's codes and places as the columns of tiles, flat."""
    return as_panels(side.rows[: len(side)]).reshape(-1), panel_places(side.on_body).reshape(-1)


def nearest_within(
    first: PreparedSkin, second: PreparedSkin, along: float, across: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], FloatArray]:
    """Find each place's most similar one within reach, both ways.

    Args:
        first, second: N and M places.
        along, across: largest distances along and across the body, in the units of ``on_body``.

    Returns:
        (N,) columns, (M,) rows and the (N,) similarities of the former; -2 and index 0 where nothing is within reach,
        the first of equals.
    """
    nearest, back = np.zeros(len(first), np.int32), np.zeros(len(second), np.int32)
    cosine = np.full(len(first), -2, np.float32)
    if len(first) and len(second):
        reach, bits = np.array([along, across], np.float32), index_bits(len(first), len(second))
        sides = (first.skin, second.skin, first.rows, second.rows, *_panels(first), first.places, second.places)
        nearest_kernel()(*sides, reach, bits, nearest, back, cosine)
    return nearest, back, cosine


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _most_similar_nearby(
    mapped: FloatArray, skin0: FloatArray, places: FloatArray, skin1: FloatArray, reach: float
) -> FloatArray:  # pragma: no cover - compiled
    """Return the (N,) best cosine of each mapped place with the places within reach of it, -2 where there is none.

    Places are sorted into cells as wide as the reach, a row of cells after the other.
    """
    best = np.full(len(mapped), np.float32(-2.0))
    left, top = np.float64(places[:, 0].min()), np.float64(places[:, 1].min())
    width, height = np.float64(places[:, 0].max()) - left, np.float64(places[:, 1].max()) - top
    cell = max(np.float64(reach) * 1.001, max(width, height) / 200.0, 1e-6)
    across, down = int(width / cell) + 1, int(height / cell) + 1
    starts, order = np.zeros(across * down + 1, np.int64), np.empty(len(places), np.int64)
    cells = np.empty(len(places), np.int64)
    for k in range(len(places)):
        cells[k] = int((places[k, 1] - top) / cell) * across + int((places[k, 0] - left) / cell)
        starts[cells[k] + 1] += 1
    for k in range(across * down):
        starts[k + 1] += starts[k]
    filled = starts.copy()
    for k in range(len(places)):
        order[filled[cells[k]]] = k
        filled[cells[k]] += 1
    for row in range(len(mapped)):
        x, y = mapped[row, 0], mapped[row, 1]
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        column, line = np.floor((x - left) / cell), np.floor((y - top) / cell)
        if column < -1.0 or column > across or line < -1.0 or line > down:
            continue
        first, last = max(int(column) - 1, 0), min(int(column) + 1, across - 1)
        for other in range(max(int(line) - 1, 0), min(int(line) + 1, down - 1) + 1):
            for k in range(starts[other * across + first], starts[other * across + last + 1]):
                column1 = order[k]
                dx, dy = places[column1, 0] - x, places[column1, 1] - y
                if dx * dx + dy * dy > reach * reach:
                    continue
                cosine = np.float32(0.0)
                for d in range(skin0.shape[1]):
                    cosine += skin0[row, d] * skin1[column1, d]
                best[row] = max(best[row], cosine)
    return best
