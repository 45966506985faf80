"""How probably two photographs of one list show the same individual: what neighbour re-scoring asks.

Every row of the raw pair table names the list's leading candidates by the first stage, its *neighbours*, and how alike
the row's candidate and each of them are: by global descriptor and by local score, both in standard deviations above the
neighbour's scores with photographs of the catalogue at large, and by the time between the two. Logistic regression
weighs these, fitted on the pairs of the lists that it is asked about later.

Photographs of one day resemble each other in light and water whoever they show, and photographs of one minute mostly
show one animal: each measure is weighed apart on one day, and the time where it is known. Whether two photographs were
put into one encounter is not looked at: whoever did that had recognised the animal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from reranker.calibration import Values, fit_logistic, sigmoid

#: Leading candidates of its list that a row of the raw pair table names.
NEIGHBOURS = 10
#: Columns of the raw pair table: the neighbours' candidate_id (None where there are fewer, or it is the row's own).
NEIGHBOUR_COLUMNS = tuple(f"neighbour{k}" for k in range(NEIGHBOURS))
#: Columns of how alike the candidate and each neighbour are; NaN where it is not known.
COSINE_COLUMNS = tuple(f"neighbour{k}_cosine_znorm" for k in range(NEIGHBOURS))
LOCAL_COLUMNS = tuple(f"neighbour{k}_local_znorm" for k in range(NEIGHBOURS))
SECONDS_COLUMNS = tuple(f"neighbour{k}_seconds" for k in range(NEIGHBOURS))
COLUMNS = (*NEIGHBOUR_COLUMNS, *COSINE_COLUMNS, *LOCAL_COLUMNS, *SECONDS_COLUMNS)

#: Feature of a pair of candidates -> meaning; znorms are capped at :data:`_LOWEST` below.
FEATURES: Mapping[str, str] = {
    "cosine": "znorm of the cosine",
    "cosine_capped": "the same, 3 at most",
    "local": "znorm of the local score",
    "local_log": "ln(1 + znorm of the local score)",
    "same_date": "1 if both are of one day",
    "same_date_cosine": "znorm of the cosine on one day",
    "same_date_local_log": "ln(1 + znorm of the local score) on one day",
    "timed": "1 if both are of one day and the time between them is known",
    "timed_log_seconds": "ln(1 + seconds between them) there",
    "timed_log_seconds_cosine": "the same, times the znorm of the cosine",
}
_LOWEST, _CAP = -0.9, 3.0
#: Penalty on squared weights of standardised features.
_RIDGE = 1.0
_STOP = {"maxiter": 1000, "ftol": 1e-12}


@dataclass(frozen=True)
class Likeness:
    """A fitted model of two candidates' likeness.

    Attributes:
        weights: feature -> weight; one that is missing counts 0.
        offset: log-odds where every feature is 0.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    offset: float = -3.0

    def probability(self, features: Mapping[str, Values]) -> Values:
        """Return the probability of the same individual for :func:`pair_features` of any shape."""
        total: Values = np.full(np.shape(next(iter(features.values()))), self.offset)
        for name, weight in self.weights.items():
            total = total + weight * features[name]
        return sigmoid(total)

    @classmethod
    def fit(cls, features: Mapping[str, Values], same: Values) -> Likeness:
        """Fit by penalised maximum likelihood.

        Args:
            features: (pairs,) each.
            same: (pairs,) 1 for the same individual, 0 for two.
        """
        matrix = np.stack([features[name] for name in FEATURES], axis=1)
        spread = matrix.std(axis=0)
        # What never varies says nothing, and its weight stays 0.
        scaled = np.divide(matrix, spread, out=np.zeros_like(matrix), where=spread > 1e-9)
        coefficients, offset = fit_logistic(scaled, same, _RIDGE, stop=_STOP)
        weights = np.divide(coefficients, spread, out=np.zeros(len(FEATURES)), where=spread > 1e-9)
        return cls(dict(zip(FEATURES, weights.tolist(), strict=True)), offset)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"weights": dict(self.weights), "offset": self.offset}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Likeness:
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        weights = {str(name): float(value) for name, value in data["weights"].items()}
        unknown = set(weights) - set(FEATURES)
        if unknown:
            raise ValueError(f"no likeness of two candidates is called {min(unknown)!r}")
        return cls(weights, float(data["offset"]))


def pair_features(raw: pd.DataFrame, neighbour_rows: Any) -> dict[str, Values]:
    """Return the (rows, NEIGHBOURS) features of every candidate and each of its neighbours.

    Args:
        raw: whole lists, with :data:`COLUMNS` and ``date1``.
        neighbour_rows: (rows, NEIGHBOURS) positions of the neighbours' own rows; -1 where there is none.
    """
    cosine, local, seconds = (
        raw[list(columns)].to_numpy(np.float64, na_value=np.nan)
        for columns in (COSINE_COLUMNS, LOCAL_COLUMNS, SECONDS_COLUMNS)
    )
    dates = pd.factorize(raw["date1"])[0] if "date1" in raw.columns else np.full(len(raw), -1)
    same_date = (dates[neighbour_rows] == dates[:, None]) & (dates >= 0)[:, None]
    return features_of(cosine, local, same_date, seconds)


def features_of(cosine: Values, local: Values, same_date: Any, seconds: Values) -> dict[str, Values]:
    """Return :data:`FEATURES` of pairs of candidates; what is not known counts as it would between any two."""
    cosine = np.nan_to_num(cosine)
    local = np.maximum(np.nan_to_num(local), _LOWEST)
    log_seconds = np.log1p(np.nan_to_num(seconds))
    day = np.asarray(same_date, np.float64)
    timed = day * ~np.isnan(seconds)
    return {
        "cosine": cosine,
        "cosine_capped": np.minimum(cosine, _CAP),
        "local": local,
        "local_log": np.log1p(local),
        "same_date": day,
        "same_date_cosine": day * cosine,
        "same_date_local_log": day * np.log1p(local),
        "timed": timed,
        "timed_log_seconds": timed * log_seconds,
        "timed_log_seconds_cosine": timed * log_seconds * cosine,
    }
