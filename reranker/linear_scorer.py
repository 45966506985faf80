"""Regularised logistic regression as a scorer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker.calibration import fit_logistic
from reranker.feature_registry import feature
from reranker.scorers import Rows, Values, shares

#: Standardised values are cut here: one absurd photograph must not decide a linear score.
CLIP = 4.0


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """Logistic regression: a weighted sum of standardised features, in log-odds.

    Numbers are standardised by ``mean`` and ``deviation``, cut at ±4, and 0 (the mean) where unknown; a category counts
    as one 0/1 column per code, none set where the code is unknown or was never seen.

    Attributes:
        columns: per design column: feature name and the code it stands for (None for a number).
    """

    names: tuple[str, ...]
    columns: tuple[tuple[str, int | None], ...]
    mean: Values
    deviation: Values
    weights: Values
    offset: float

    def _design(self, rows: Rows) -> Values:
        return _design(rows, self.names, self.columns, self.mean, self.deviation)

    def predict(self, rows: Rows) -> Values:
        """Return (n,) float64 log-odds."""
        # Summed column by column: a matrix product may round differently with the number of rows.
        return self.contributions(rows).sum(axis=1)

    def contributions(self, rows: Rows) -> Values:
        """Return (n, features + 1) contributions to the log-odds; the last column is the offset."""
        result = np.zeros((len(rows), len(self.names) + 1))
        place = {name: i for i, name in enumerate(self.names)}
        design = self._design(rows) * self.weights
        for j, (name, _) in enumerate(self.columns):
            result[:, place[name]] += design[:, j]
        result[:, -1] = self.offset
        return result

    def importance(self) -> dict[str, float]:
        """Return each feature's share of the absolute weights."""
        total = dict.fromkeys(self.names, 0.0)
        for (name, _), weight in zip(self.columns, self.weights, strict=True):
            total[name] += abs(float(weight))
        return shares(total)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "type": "linear",
            "names": list(self.names),
            "columns": [list(column) for column in self.columns],
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
            "weights": self.weights.tolist(),
            "offset": self.offset,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LinearScorer:
        """Rebuild from :meth:`to_dict`; raises ValueError if its parts do not fit together."""
        arrays = {key: np.asarray(data[key], dtype=np.float64) for key in ("mean", "deviation", "weights")}
        columns = tuple((str(name), None if code is None else int(code)) for name, code in data["columns"])
        scorer = cls(names=tuple(data["names"]), columns=columns, offset=float(data["offset"]), **arrays)
        if not {name for name, _ in columns} <= set(scorer.names) or not math.isfinite(scorer.offset):
            raise ValueError("the logistic curve's columns or offset are not a model's")
        if any(part.shape != (len(columns),) or not np.isfinite(part).all() for part in arrays.values()):
            raise ValueError("the logistic curve's numbers are not one for each column")
        if (scorer.deviation <= 0).any():
            raise ValueError("the logistic curve's deviations are not above zero")
        return scorer


def _design(
    rows: Rows,
    names: Sequence[str],
    columns: Sequence[tuple[str, int | None]],
    mean: Values,
    deviation: Values,
) -> Values:
    place = {name: i for i, name in enumerate(names)}
    design = np.empty((len(rows), len(columns)))
    for j, (name, code) in enumerate(columns):
        values = np.asarray(rows[:, place[name]], dtype=np.float64)
        if code is not None:
            design[:, j] = values == code
            continue
        standard = np.clip((values - mean[j]) / deviation[j], -CLIP, CLIP)
        design[:, j] = np.where(np.isnan(standard), 0.0, standard)
    return design


def fit_linear(
    rows: Rows,
    labels: npt.NDArray[np.bool_],
    names: Sequence[str],
    ridge: float = 10.0,
    monotone: bool = True,
) -> LinearScorer:
    """Fit logistic regression (:func:`reranker.calibration.fit_logistic`): a monotone feature's weight keeps its sign.

    Raises:
        ValueError: only one of the two classes is present.
    """
    if labels.all() or not labels.any():
        raise ValueError(
            "the logistic ranker needs pairs of the same and of different individuals; only one kind is given"
        )
    columns, mean, deviation = _columns(rows, names)
    design = _design(rows, names, columns, mean, deviation)
    sign = [feature(name).monotone if monotone and code is None else 0 for name, code in columns]
    bounds = [(0.0 if s > 0 else None, 0.0 if s < 0 else None) for s in sign]
    coefficients, offset = fit_logistic(design, labels.astype(np.float64), ridge, bounds=bounds)
    return LinearScorer(tuple(names), columns, mean, deviation, coefficients, offset)


def _columns(rows: Rows, names: Sequence[str]) -> tuple[tuple[tuple[str, int | None], ...], Values, Values]:
    """Return the design's columns (features that never vary are left out) with their means and deviations."""
    columns: list[tuple[str, int | None]] = []
    means: list[float] = []
    deviations: list[float] = []
    for j, name in enumerate(names):
        values = np.asarray(rows[:, j], dtype=np.float64)
        values = values[~np.isnan(values)]
        if len(values) == 0 or np.ptp(values) == 0:
            continue
        codes: list[int | None] = [None]
        if feature(name).categories:
            codes = [int(code) for code in np.unique(values)]
        for code in codes:
            columns.append((name, code))
            means.append(float(values.mean()) if code is None else 0.0)
            deviations.append(max(float(values.std()), 1e-9) if code is None else 1.0)
    return tuple(columns), np.array(means), np.array(deviations)
