"""Matches of dense skin descriptors: each other's nearest skin, at about the same place of the animal.

Both photographs are covered by a grid (:mod:`features.skin.descriptors`), so that matrix products compare their places,
a few hundred pairs a second on one core. Places that lie too far apart on the two head-up animals are no candidates for
each other (places are sorted along the body, so that those are hardly compared at all), and "each other's nearest"
allows the neighbouring place of the grid: two grids never lie exactly alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from engine.geometry.verification import VerificationSettings, transfer
from engine.matching.lru_cache import LruCache
from engine.matching.matched import AlignedSkin
from engine.records import Correspondences
from features.records import FloatArray, LocalFeatures
from features.skin.descriptors import KIND
from scarmatch.settings import Settings, SettingsError

#: Bumped whenever the same settings would give other matches: part of every cache key.
CODE_VERSION = 3

#: Places from which on a flank is judged by itself.
FEWEST = 5
#: How far "nearby" goes once one animal is laid on the other, as a share of view 1's length.
NEARBY = 0.03
#: Places of view 0 in one product.
_BLOCK = 128


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
        return [self._match_one(features0, features1) for features0, features1 in pairs]

    def _match_one(self, features0: LocalFeatures, features1: LocalFeatures) -> Correspondences:
        for features in (features0, features1):
            if features.kind != KIND:
                raise ValueError(f"only {KIND!r} can be matched here, not {features.kind!r}")
        if not len(features0) or not len(features1):
            return Correspondences.empty()
        s, first, second = self.settings, self._prepare(features0), self._prepare(features1)
        nearest, back, cosine = nearest_within(first, second, s.reach_along, s.reach_across)
        returned = np.linalg.norm(first.place[back[nearest]] - first.place, axis=1)
        kept = np.flatnonzero((returned <= s.neighbour) & (cosine > max(s.min_similarity, -1.0)))
        return _one_each(first.order[kept], second.order[nearest[kept]], np.clip(cosine[kept], 0.0, 1.0))

    def aligned(
        self, features0: LocalFeatures, features1: LocalFeatures, model: npt.NDArray[np.float64]
    ) -> AlignedSkin:
        """Compare the skin directly, without any detector, after one animal is laid on the other.

        Every place of view 0 is mapped by the model and compared with the most similar place of view 1 nearby.

        Args:
            features0, features1: dense skin descriptors of the two views.
            model: (3, 3), maps canonical pixels of view 0 to canonical pixels of view 1.
        """
        if not len(features0) or not len(features1):
            return AlignedSkin()
        first, second = self._prepare(features0), self._prepare(features1)
        mapped = transfer(model, first.xy).astype(np.float32)
        reach = NEARBY * max(features1.frame.canonical_size)
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
    """

    order: npt.NDArray[np.int64]
    place: FloatArray
    on_body: FloatArray
    skin: FloatArray
    xy: FloatArray

    @classmethod
    def of(cls, features: LocalFeatures) -> PreparedSkin:
        """Return the features in the order in which they are compared."""
        order = np.argsort(features.on_body[:, 0], kind="stable")
        xy = np.ascontiguousarray(features.canonical_xy[order], np.float32)
        place = xy / np.float32(features.frame.canonical_size[1])
        on_body = np.ascontiguousarray(features.on_body[order], np.float32)
        return cls(order, place, on_body, np.array(features.descriptors[order], np.float32), xy)


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
    import torch

    nearest, back = np.zeros(len(first.skin), np.int32), np.zeros(len(second.skin), np.int32)
    best = np.full(len(first.skin), -2, np.float32)
    best_back = np.full(len(second.skin), -2, np.float32)
    (along0, across0), (along1, across1) = (np.ascontiguousarray(side.on_body.T) for side in (first, second))
    for start in range(0, len(best), _BLOCK):
        stop = min(start + _BLOCK, len(best))
        low, high = np.searchsorted(along1, (along0[start] - along, along0[stop - 1] + along))
        if low == high:
            continue
        # By torch, whose threads the worker processes keep to one; NumPy's would go their own way.
        part = torch.mm(torch.from_numpy(first.skin[start:stop]), torch.from_numpy(second.skin[low:high]).T).numpy()
        _take_block(
            part,
            start,
            along0[start:stop],
            across0[start:stop],
            along1[low:high],
            across1[low:high],
            np.float32(along),
            np.float32(across),
            back[low:high],
            best_back[low:high],
        )
        top = part.argmax(axis=1)
        nearest[start:stop] = top + low
        best[start:stop] = part[np.arange(stop - start), top]
    nearest[best <= -2] = 0
    return nearest, back, best


@numba.njit(cache=True, nogil=True)
def _take_block(
    similarity: FloatArray,
    start: int,
    along0: FloatArray,
    across0: FloatArray,
    along1: FloatArray,
    across1: FloatArray,
    reach_along: np.float32,
    reach_across: np.float32,
    back: npt.NDArray[np.int32],
    best_back: FloatArray,
) -> None:  # pragma: no cover - compiled
    """Set one block's similarities out of reach to -2, and take its rows into the columns' best so far.

    The loops are written for the compiler to turn into vector instructions: no branches, 32-bit indices.
    """
    nothing = np.float32(-2.0)
    for i in range(similarity.shape[0]):
        along, across, row = along0[i], across0[i], np.int32(start + i)
        own = similarity[i]
        for j in range(own.shape[0]):
            value = nothing if abs(along - along1[j]) > reach_along else own[j]
            own[j] = nothing if abs(across - across1[j]) > reach_across else value
        for j in range(own.shape[0]):
            value, best = own[j], best_back[j]
            back[j] = row if value > best else back[j]
            best_back[j] = value if value > best else best


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _most_similar_nearby(
    mapped: FloatArray, skin0: FloatArray, places: FloatArray, skin1: FloatArray, reach: float
) -> FloatArray:  # pragma: no cover - compiled
    """Return the (N,) best cosine of each mapped place with the places within reach of it, -2 where there is none."""
    order = np.argsort(places[:, 1])
    sorted_y = places[order, 1]
    best = np.full(len(mapped), np.float32(-2.0))
    for row in range(len(mapped)):
        x, y = mapped[row, 0], mapped[row, 1]
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        for k in range(np.searchsorted(sorted_y, y - reach), len(sorted_y)):
            if sorted_y[k] > y + reach:
                break
            column = order[k]
            dx, dy = places[column, 0] - x, places[column, 1] - y
            if dx * dx + dy * dy > reach * reach:
                continue
            cosine = np.float32(0.0)
            for d in range(skin0.shape[1]):
                cosine += skin0[row, d] * skin1[column, d]
            best[row] = max(best[row], cosine)
    return best


def _one_each(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], cosine: npt.NDArray[np.floating]
) -> Correspondences:
    """Keep the best match of every place of view 1; best first, ties by the place of view 0."""
    order = np.lexsort((rows, -cosine))
    rows, columns, cosine = rows[order], columns[order], cosine[order]
    first = np.sort(np.unique(columns, return_index=True)[1])
    return Correspondences(
        np.ascontiguousarray(np.stack([rows[first], columns[first]], 1), np.int32),
        np.ascontiguousarray(cosine[first], np.float32),
        float(cosine[first].mean()) if len(first) else float("nan"),
    )
