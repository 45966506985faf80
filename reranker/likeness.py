"""How probably two photographs of one list show the same individual: what neighbour re-scoring asks.

Every row of the raw pair table names the list's leading candidates by the first stage, its *neighbours*, and how alike
the row's candidate and each of them are: by global descriptor and by local score, both in standard deviations above the
neighbour's scores with photographs of the catalogue at large, and by the time between the two. Logistic regression
weighs these, fitted on the pairs of the lists that it is asked about later. The pairs for which most depends on it were
matched by their keypoints and verified as query and candidate are: a second regression weighs what was found too.

Photographs of one day resemble each other in light and water whoever they show, and photographs of one minute mostly
show one animal: each measure is weighed apart on one day, and the time where it is known. Whether two photographs were
put into one encounter is not looked at: whoever did that had recognised the animal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
#: Measurement of a matched pair (:mod:`engine.matching.measurements`) -> its columns; NaN where they were not matched.
#: Four of them say nearly as much as all (bench/NOTES.md).
MATCHED_COLUMNS: Mapping[str, tuple[str, ...]] = {
    name: tuple(f"neighbour{k}_{name}" for k in range(NEIGHBOURS))
    for name in ("inlier_ratio", "position_gap", "correlation_coarse", "correlation_fine")
}

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
#: What the keypoints of a matched pair add to these -> (meaning, what counts where no placement was found).
MATCHED_FEATURES: Mapping[str, tuple[str, float]] = {
    "inlier_ratio": ("share of the mutual nearest neighbours that are inliers", 0.0),
    "position_gap": ("disagreement of the inliers' position along the body, body lengths", 0.2),
    "correlation_coarse": ("correlation of the skins' blocks at the coarsest scale", 0.0),
    "correlation_fine": ("correlation of the skins' blocks at the finest scale", 0.0),
}
#: Everything that the likeness of a matched pair weighs.
EVERY_FEATURE = (*FEATURES, *MATCHED_FEATURES)
#: Key of :func:`features_of`: whether the pair was matched. It is weighed by nobody: who is matched was chosen.
MATCHED = "matched"
#: Penalty on squared weights of standardised features.
_RIDGE = 1.0
_STOP = {"maxiter": 1000, "ftol": 1e-12}


@dataclass(frozen=True)
class Likeness:
    """A fitted model of two candidates' likeness.

    Attributes:
        weights: feature -> weight; one that is missing counts 0.
        offset: log-odds where every feature is 0.
        matched: the model of the pairs that were matched by their keypoints, which weighs :data:`MATCHED_FEATURES` too;
            None judges them as all others.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    offset: float = -3.0
    matched: Likeness | None = None

    def probability(self, features: Mapping[str, Values]) -> Values:
        """Return the probability of the same individual for :func:`pair_features` of any shape."""
        total = self._log_odds(features)
        if self.matched is not None:
            total = np.where(features[MATCHED] > 0, self.matched._log_odds(features), total)
        return sigmoid(total)

    def _log_odds(self, features: Mapping[str, Values]) -> Values:
        total: Values = np.full(np.shape(next(iter(features.values()))), self.offset)
        for name, weight in self.weights.items():
            total = total + weight * features[name]
        return total

    @classmethod
    def fit(cls, features: Mapping[str, Values], same: Values, names: Iterable[str] = FEATURES) -> Likeness:
        """Fit by penalised maximum likelihood.

        Args:
            features: (pairs,) each.
            same: (pairs,) 1 for the same individual, 0 for two.
            names: features to weigh.
        """
        names = tuple(names)
        matrix = np.stack([features[name] for name in names], axis=1)
        spread = matrix.std(axis=0)
        # What never varies says nothing, and its weight stays 0.
        scaled = np.divide(matrix, spread, out=np.zeros_like(matrix), where=spread > 1e-9)
        coefficients, offset = fit_logistic(scaled, same, _RIDGE, stop=_STOP)
        weights = np.divide(coefficients, spread, out=np.zeros(len(names)), where=spread > 1e-9)
        return cls(dict(zip(names, weights.tolist(), strict=True)), offset)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        own = {"weights": dict(self.weights), "offset": self.offset}
        return own if self.matched is None else {**own, "matched": self.matched.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Likeness:
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        matched = data.get("matched")
        return cls(
            _known_weights(data, FEATURES),
            float(data["offset"]),
            None if matched is None else cls(_known_weights(matched, EVERY_FEATURE), float(matched["offset"])),
        )


def _known_weights(data: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
    """Return the weights of a written likeness; ValueError names a feature that is not of these."""
    weights = {str(name): float(value) for name, value in data["weights"].items()}
    unknown = set(weights) - set(names)
    if unknown:
        raise ValueError(f"no likeness of two candidates is called {min(unknown)!r}")
    return weights


def pair_features(raw: pd.DataFrame, neighbour_rows: Any) -> dict[str, Values]:
    """Return the (rows, NEIGHBOURS) features of every candidate and each of its neighbours.

    Args:
        raw: whole lists, with :data:`COLUMNS` and ``date1``; without those of :data:`MATCHED_COLUMNS` nobody was
            matched.
        neighbour_rows: (rows, NEIGHBOURS) positions of the neighbours' own rows; -1 where there is none.
    """
    cosine, local, seconds = (_columns(raw, columns) for columns in (COSINE_COLUMNS, LOCAL_COLUMNS, SECONDS_COLUMNS))
    dates = pd.factorize(raw["date1"])[0] if "date1" in raw.columns else np.full(len(raw), -1)
    same_date = (dates[neighbour_rows] == dates[:, None]) & (dates >= 0)[:, None]
    matched = {name: _columns(raw, names) for name, names in MATCHED_COLUMNS.items() if set(names) <= set(raw.columns)}
    return features_of(cosine, local, same_date, seconds, matched)


def _columns(raw: pd.DataFrame, names: Iterable[str]) -> Values:
    return raw[list(names)].to_numpy(np.float64, na_value=np.nan)


def features_of(
    cosine: Values, local: Values, same_date: Any, seconds: Values, matched: Mapping[str, Values] | None = None
) -> dict[str, Values]:
    """Return all features of pairs of candidates; what is not known counts as it would between any two.

    Args:
        cosine, local: znorms. same_date: whether both are of one day. seconds: between them.
        matched: by name of :data:`MATCHED_FEATURES` what was measured; an ``inlier_ratio`` says that the two were
            matched at all.
    """
    cosine = np.nan_to_num(cosine)
    local = np.maximum(np.nan_to_num(local), _LOWEST)
    log_seconds = np.log1p(np.nan_to_num(seconds))
    day = np.asarray(same_date, np.float64)
    timed = day * ~np.isnan(seconds)
    unmatched = np.full(np.shape(cosine), np.nan)
    numbers = {name: (matched or {}).get(name, unmatched) for name in MATCHED_FEATURES}
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
        MATCHED: (~np.isnan(numbers["inlier_ratio"])).astype(np.float64),
        **{name: np.where(np.isnan(values), MATCHED_FEATURES[name][1], values) for name, values in numbers.items()},
    }
