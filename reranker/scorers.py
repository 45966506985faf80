"""What the two models of a ranker have in common (:mod:`reranker.tree_scorer`, :mod:`reranker.linear_scorer`).

Both turn a (rows, features) array into one score a row, larger is likelier, and say what each feature contributed.
Monotone features can never count against their direction in either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating]


class Scorer(Protocol):
    """A fitted model: scores, contributions, and plain JSON values to store."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns it wants, in order."""
        ...

    def predict(self, rows: Rows) -> Values:
        """Return (n,) float64 scores."""
        ...

    def contributions(self, rows: Rows) -> Values:
        """Return (n, features + 1) contributions that add up to the score; the last column is the baseline."""
        ...

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the model, adding up to 1 (all 0 for a constant model)."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        ...


def shares(values: Mapping[str, float]) -> dict[str, float]:
    """Return values as shares of their sum; all 0 where that is 0."""
    total = sum(values.values())
    return {name: value / total if total > 0 else 0.0 for name, value in values.items()}
