"""The one order of ranked lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from reranker.calibration import Values


def rank_order(
    queries: npt.ArrayLike, scores: npt.ArrayLike, cosine: npt.ArrayLike, ids: npt.ArrayLike
) -> npt.NDArray[Any]:
    """Return the row indices sorted by query and, within it, by falling score, falling cosine, then identifier.

    NaN counts as lowest. The result does not depend on the order of rows.
    """

    def falling(values: npt.ArrayLike) -> Values:
        numbers = np.asarray(values, dtype=np.float64)
        return -np.where(np.isnan(numbers), -np.inf, numbers)

    names, codes = np.asarray(ids, dtype=str), np.asarray(queries, dtype=str)
    return np.lexsort((names, falling(cosine), falling(scores), codes))
