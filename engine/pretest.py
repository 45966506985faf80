"""Nearest neighbours of descriptors: a matcher of their own, and a cheap test of which pairs deserve the costly one.

One matrix product gives every similarity of a pair. Each pair has its own product: in one product for many pairs the
last bits of a pair's similarities could depend on its company.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.records import FloatArray, LocalFeatures


@dataclass(frozen=True, eq=False)
class MutualNeighbours:
    """Keypoints of two photographs that are each other's nearest by descriptor.

    Attributes:
        rows, columns: (M,) int64 indices into view 0 and view 1, by rising row.
        cosine: (M,) float32 similarity.
        ratio: (M,) float32 distance to the nearest / to the second nearest of view 1 (Lowe, IJCV 2004), 0 where there
            is no second.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    cosine: FloatArray
    ratio: FloatArray

    def __len__(self) -> int:
        return len(self.rows)


def mutual_neighbours(features0: LocalFeatures, features1: LocalFeatures, limit: int) -> MutualNeighbours:
    """Return the mutual nearest neighbours among the first ``limit`` keypoints of both views."""
    import torch

    if not len(features0) or not len(features1):
        nothing, none = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return MutualNeighbours(nothing, nothing, none, none)
    d0, d1 = (torch.from_numpy(np.array(f.descriptors[:limit], np.float32)) for f in (features0, features1))
    # By torch, whose threads the worker processes keep to one; NumPy's would go their own way.
    similarity = torch.mm(d0, d1.T).numpy()
    best = similarity.argmax(1)
    rows = np.arange(len(similarity))
    back = np.ascontiguousarray(similarity.T).argmax(1)
    mutual = back[best] == rows
    top = similarity[rows, best]
    ratio = np.zeros(len(rows), np.float32)
    if similarity.shape[1] > 1:
        similarity[rows, best] = -np.inf
        # For unit vectors the squared distance is 2 - 2 cosine.
        second = np.maximum(2 - 2 * similarity.max(1), 1e-12)
        ratio = np.sqrt(np.maximum(2 - 2 * top, 0) / second)
    return MutualNeighbours(rows[mutual], best[mutual], top[mutual], ratio[mutual])


def position_gaps(features0: LocalFeatures, features1: LocalFeatures, neighbours: MutualNeighbours) -> FloatArray:
    """Return how far apart each pair of neighbours lies on the two animals.

    Positions are canonical pixels from the frame's middle, over the animal's size (the frame's longer side). Crops are
    head up and show the whole animal, so that a true pair of keypoints has about the same position in both.

    Returns:
        (M,) float32.
    """
    places = []
    for features, chosen in ((features0, neighbours.rows), (features1, neighbours.columns)):
        size = np.array(features.frame.canonical_size, np.float32)
        places.append((features.canonical_xy[chosen] - (size - 1) / 2) / size.max())
    return np.linalg.norm(places[0] - places[1], axis=1).astype(np.float32)


def agreeing(features0: LocalFeatures, features1: LocalFeatures, limit: int, ratio: float, gap: float) -> int:
    """Return how many mutual nearest neighbours pass the ratio test and lie at about the same place of both animals.

    Args:
        features0, features1: the two views.
        limit: only the best so many keypoints of each take part.
        ratio: largest distance ratio; from 1 on every neighbour passes.
        gap: largest distance of the two places, relative to the animal's size.
    """
    found = mutual_neighbours(features0, features1, limit)
    near = position_gaps(features0, features1, found) <= gap
    return int((near & (found.ratio <= ratio)).sum())
