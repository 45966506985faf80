"""Correspondences of mark descriptors: each other's nearest skin, at about the same place of the animal.

Both photographs are covered by a grid (:mod:`features.mark_descriptors`), so that one matrix product compares all their
places, a few hundred pairs a second on one core. Places that lie too far apart on the two head-up animals are no
candidates for each other, and "each other's nearest" allows the neighbouring place of the grid: two grids never lie
exactly alike.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from engine.records import Correspondences
from features.mark_descriptors import KIND
from features.records import FloatArray, LocalFeatures
from features.settings import Settings, SettingsError

#: Bumped whenever the same settings would give other matches: part of every cache key.
CODE_VERSION = 2


@dataclass(frozen=True)
class MarkMatchingSettings(Settings):
    """Options of the matching of mark descriptors.

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


class MarkMatcher:
    """Finds the correspondences of pairs described by :class:`features.mark_descriptors.MarkExtractor`."""

    #: Photographs prepared in memory (each about 0.2 MB).
    KEEP = 256

    def __init__(self, settings: MarkMatchingSettings | None = None) -> None:
        self.settings = settings or MarkMatchingSettings()
        self._prepared: OrderedDict[int, tuple[LocalFeatures, _Skin]] = OrderedDict()

    def fingerprint(self) -> str:
        """Settings and code version in one string."""
        return f"{self.settings.fingerprint()}-marks-{CODE_VERSION}"

    def match(self, pairs: Sequence[tuple[LocalFeatures, LocalFeatures]]) -> list[Correspondences]:
        """Return the correspondences of every pair, best first, in the order given.

        Raises:
            ValueError: the features are of another kind.
        """
        return [self._match_one(features0, features1) for features0, features1 in pairs]

    def _match_one(self, features0: LocalFeatures, features1: LocalFeatures) -> Correspondences:
        import torch

        for features in (features0, features1):
            if features.kind != KIND:
                raise ValueError(f"only {KIND!r} can be matched here, not {features.kind!r}")
        if not len(features0) or not len(features1):
            return Correspondences.empty()
        first, second = self._prepare(features0), self._prepare(features1)
        # By torch, whose threads the worker processes keep to one; NumPy's would go their own way.
        similarity = torch.mm(torch.from_numpy(first.skin), torch.from_numpy(second.skin).T).numpy()
        s = self.settings
        reach = np.array([s.reach_along, s.reach_across], np.float32)
        nearest, back, cosine = _nearest_within(similarity, first.on_body, second.on_body, reach)
        returned = np.linalg.norm(first.place[back[nearest]] - first.place, axis=1)
        kept = (returned <= s.neighbour) & (cosine > max(s.min_similarity, -1.0))
        rows = np.arange(len(similarity))
        return _one_each(rows[kept], nearest[kept], np.clip(cosine[kept], 0.0, 1.0))

    def _prepare(self, features: LocalFeatures) -> _Skin:
        key = id(features)
        found = self._prepared.get(key)
        if found is not None:
            self._prepared.move_to_end(key)
            return found[1]
        skin = _Skin(
            np.asarray(features.canonical_xy / np.float32(features.frame.canonical_size[1]), np.float32),
            np.ascontiguousarray(features.on_body),
            np.array(features.descriptors, np.float32),
        )
        # The features are kept beside the answer: an id is only unique while its object lives.
        self._prepared[key] = (features, skin)
        if len(self._prepared) > self.KEEP:
            self._prepared.popitem(last=False)
        return skin


@dataclass(frozen=True, eq=False)
class _Skin:
    """One photograph ready to be compared.

    Attributes:
        place: (N, 2) canonical pixels as shares of the picture's height.
        on_body: (N, 2) along and across the body.
        skin: (N, D) unit descriptors in single precision.
    """

    place: FloatArray
    on_body: FloatArray
    skin: FloatArray


@numba.njit(cache=True, nogil=True)
def _nearest_within(
    similarity: FloatArray, place0: FloatArray, place1: FloatArray, reach: FloatArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]:  # pragma: no cover - compiled
    """Find each place's most similar one within reach, both ways, in one pass over the similarities.

    Args:
        similarity: (N, M) cosines.
        place0, place1: (N, 2) and (M, 2) places along and across the body.
        reach: (2,) largest distances along and across.

    Returns:
        (N,) columns, (M,) rows and the (N,) similarities of the former; -2 and index 0 where nothing is within reach,
        the first of equals.
    """
    rows, columns = similarity.shape
    nearest, back = np.zeros(rows, np.int64), np.zeros(columns, np.int64)
    best = np.full(rows, np.float32(-2.0))
    best_back = np.full(columns, np.float32(-2.0))
    for row in range(rows):
        along, across = place0[row, 0], place0[row, 1]
        for column in range(columns):
            if abs(along - place1[column, 0]) > reach[0] or abs(across - place1[column, 1]) > reach[1]:
                continue
            value = similarity[row, column]
            if value > best[row]:
                best[row], nearest[row] = value, column
            if value > best_back[column]:
                best_back[column], back[column] = value, row
    return nearest, back, best


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


@dataclass(frozen=True)
class Aligned:
    """How alike the skin is once one animal is laid on the other.

    Attributes:
        similarity: mean cosine over the places of view 0 that fall on the other body, NaN if none does.
        overlap: their share of all places of view 0.
        left, right: the same mean over the left and the right flank alone, NaN where fewer than :data:`FEWEST` places
            fall on the other body: light falls on one flank only, and it changes sides between photographs.
    """

    similarity: float = float("nan")
    overlap: float = 0.0
    left: float = float("nan")
    right: float = float("nan")


FEWEST = 5
"""Places from which on a flank is judged by itself."""


def aligned_similarity(
    features0: LocalFeatures, features1: LocalFeatures, model: npt.NDArray[np.float64], reach: float = 0.03
) -> Aligned:
    """Compare the skin directly, without any detector, after one animal is laid on the other.

    Every place of view 0 is mapped by the model and compared with the most similar place of view 1 nearby.

    Args:
        features0, features1: mark descriptors of the two views.
        model: (3, 3), maps canonical pixels of view 0 to canonical pixels of view 1.
        reach: how far "nearby" goes, as a share of view 1's length.
    """
    if not len(features0) or not len(features1):
        return Aligned()
    from scipy.spatial import cKDTree

    homogeneous = np.column_stack([features0.canonical_xy, np.ones(len(features0))]) @ model.T
    depth = homogeneous[:, 2]
    fine = np.abs(depth) > 1e-9
    mapped = homogeneous[:, :2] / np.where(fine, depth, 1.0)[:, None]
    size = features1.frame.canonical_size
    tree = cKDTree(features1.canonical_xy)
    found = tree.query(mapped, k=min(9, len(features1)), distance_upper_bound=reach * max(size))
    distance, near = (np.asarray(values).reshape(len(mapped), -1) for values in found)
    inside = np.isfinite(distance) & fine[:, None]
    skin0 = np.asarray(features0.descriptors, np.float32)
    skin1 = np.asarray(features1.descriptors, np.float32)
    cosine = np.einsum("nd,nkd->nk", skin0, skin1[np.where(inside, near, 0)])
    best = np.where(inside, cosine, -np.inf).max(axis=1)
    seen = np.isfinite(best)
    across = features0.on_body[:, 1]

    def mean(chosen: npt.NDArray[np.bool_], fewest: int) -> float:
        return float(best[chosen].mean()) if np.count_nonzero(chosen) >= fewest else float("nan")

    flanks = (mean(seen & (across < 0), FEWEST), mean(seen & (across > 0), FEWEST))
    return Aligned(mean(seen, 1), float(seen.mean()), *flanks)
