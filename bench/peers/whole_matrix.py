"""Mutual nearest neighbours from a whole matrix of similarities, as this engine found them before it had tiles."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import torch

from features.records import FloatArray

_NONE = np.float32(-2.0)


def matrix_neighbours(first: FloatArray, second: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray]:
    """Return the mutual nearest neighbours of two sets of unit descriptors.

    Args:
        first, second: (N, D) and (M, D), at least two each.

    Returns:
        (K, 2) indices, (K,) cosines and (K,) ratios of :class:`engine.matching.mutual_nn.MutualNeighbours`.
    """
    similarity = torch.mm(torch.from_numpy(first), torch.from_numpy(second).T).numpy()
    back, second_back = _best_rows(similarity)
    every, nearest = np.arange(len(similarity)), similarity.argmax(axis=1)
    rows = np.flatnonzero(back[nearest] == every)
    columns = nearest[rows]
    top = similarity[rows, columns]
    similarity[every, nearest] = _NONE
    next_best = np.maximum(similarity[rows, similarity[rows].argmax(axis=1)], second_back[columns])
    ratio = np.sqrt(np.maximum(1 - top, 0) / np.maximum(1 - next_best, 1e-9))
    return np.stack([rows, columns], 1), top, ratio.astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _best_rows(similarity: FloatArray) -> tuple[npt.NDArray[np.int32], FloatArray]:  # pragma: no cover - compiled
    """Return the (M,) row of each column's best, and the second best."""
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
