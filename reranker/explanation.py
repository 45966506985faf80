"""Why a pair got its score: what every feature contributed, in the model's own numbers and in words.

LightGBM's trees give SHAP values (Lundberg et al., 2020: ``pred_contrib``), the logistic curve its weights times the
standardised features, a blend the mean of both after each was brought to log-odds. All of them add up to the score
exactly. What a list's other candidates add (:mod:`reranker.neighbour_rescoring`) is one more part. Where no ranker
serves, the WildFusion baseline's probability is the mean of two curves, and each half is a part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import sigmoid
from reranker.feature_registry import FEATURES, Feature
from reranker.fusion import FusionSettings, local_source
from reranker.neighbour_rescoring import NeighbourRescoring, noisy_or
from reranker.pair_features import build
from reranker.ranker import Ranker

COLUMNS = ("query_id", "candidate_id", "feature", "group", "said", "contribution")
NEIGHBOURS = "neighbours"
"""Name and group of what a list's other candidates add; no feature of the registry."""

_METHODS = {
    "lambdamart": "SHAP values of LightGBM's trees; with the baseline they add up to the ranker's score",
    "logistic": "weights of the logistic ranker times its standardised features; with the baseline they add up to the "
    "log-odds",
    "blend": "mean of LightGBM's SHAP values and of the logistic ranker's weighted features, both in log-odds",
    "fusion": "no trained ranker was used: the probability is the mean of two curves, one over the whole-picture "
    "similarity within the list and one over the agreeing keypoints",
}


@dataclass(frozen=True, eq=False)
class Explanation:
    """What every feature contributed to the scores of pairs.

    Attributes:
        table: one row per (pair, feature that the model knows) with :data:`COLUMNS`: ``said`` is the feature's value in
            words, ``contribution`` what it added to the score.
        baseline: the score before any feature is known (the same for every pair; 0 for the WildFusion baseline).
        unit: what is added up: "score", "log-odds" or "probability".
        method: where the numbers come from, in one sentence.
    """

    table: pd.DataFrame
    baseline: float
    unit: str
    method: str

    def of(self, query_id: str, candidate_id: str) -> pd.DataFrame:
        """Return the rows of one pair (none if it was not explained)."""
        return self.table[(self.table["query_id"] == query_id) & (self.table["candidate_id"] == candidate_id)]


def explain_pairs(
    raw: pd.DataFrame,
    ranker: Ranker | None = None,
    wanted: npt.ArrayLike | None = None,
    fusion: FusionSettings | None = None,
) -> Explanation:
    """Explain the scores that :func:`reranker.ranking.rank_pairs` gives.

    Args:
        raw: raw table of pairs, **whole lists**: some features compare a candidate with the others of its list.
        ranker: the ranker; without one the WildFusion baseline (with ``fusion``) is explained.
        wanted: (rows,) True for the rows to explain; all if None.

    Raises:
        PairTableError: the table of pairs cannot be used.
    """
    features = build(raw)
    chosen = np.ones(len(raw), bool) if wanted is None else np.asarray(wanted, bool)
    unit = "log-odds"
    if ranker is None:
        parts, kind, unit = _fusion_parts(features, fusion).loc[chosen], "fusion", "probability"
    else:
        parts, kind = ranker.explain(features.loc[chosen]), ranker.kind
        if ranker.rescoring is not None:
            # In log-odds, own evidence and what the neighbours say add up.
            parts = parts * ranker.rescoring.slope
            parts["baseline"] += ranker.rescoring.offset
        elif kind == "lambdamart":
            unit = "score"
    entries = [entry for entry in FEATURES if entry.name in parts.columns]
    pairs = zip(raw["query_id"].to_numpy()[chosen], raw["candidate_id"].to_numpy()[chosen], strict=True)
    values = features.loc[chosen, [entry.name for entry in entries]].to_numpy(np.float64)
    amounts = parts[[entry.name for entry in entries]].to_numpy(np.float64)
    rows: list[tuple[str, str, str, str, str, float]] = [
        (*pair, entry.name, entry.group, in_words(entry, float(value)), float(amount))
        for pair, known, shares in zip(pairs, values, amounts, strict=True)
        for entry, value, amount in zip(entries, known, shares, strict=True)
    ]
    if ranker is not None and ranker.rescoring is not None:
        rows += _neighbour_rows(raw, ranker.rescoring, ranker.predict(features), chosen)
    baseline = float(parts["baseline"].iloc[0]) if len(parts) else 0.0
    return Explanation(pd.DataFrame(rows, columns=list(COLUMNS)), baseline, unit, _METHODS[kind])


def _neighbour_rows(
    raw: pd.DataFrame, rescoring: NeighbourRescoring, scores: npt.NDArray[np.float64], chosen: npt.NDArray[np.bool_]
) -> list[tuple[str, str, str, str, str, float]]:
    """Return what the other candidates add to the chosen pairs, in the columns of :data:`COLUMNS`."""
    best, own = rescoring.best_neighbours(raw, scores), rescoring.log_odds(scores)
    added = noisy_or(own, best.amount) - own
    ids = raw["candidate_id"].astype(str).to_numpy()
    rows: list[tuple[str, str, str, str, str, float]] = []
    for i in np.flatnonzero(chosen):
        said = "no other candidate speaks for it"
        if best.row[i] >= 0:
            said = f"shows the animal of {ids[best.row[i]]} ({best.likeness[i]:.0%}), which matches the query itself"
        rows.append(
            (raw["query_id"].iloc[i], raw["candidate_id"].iloc[i], NEIGHBOURS, NEIGHBOURS, said, float(added[i]))
        )
    return rows


def in_words(entry: Feature, value: float) -> str:
    """Return a feature's value as a person would say it: logarithms undone, codes and 0/1 by name.

    >>> from reranker.feature_registry import feature
    >>> in_words(feature("lightglue_inliers_log1p"), float(np.log1p(12)))
    'inliers of the geometric model: 12'
    """
    meaning, unit = entry.meaning, entry.unit
    logarithm = _LOGARITHM.match(meaning)
    if logarithm is not None:
        value = float(np.expm1(value) if logarithm["plus"] else np.exp(value))
        meaning = (logarithm["plus"] or logarithm["plain"]) + meaning[logarithm.end() :]
        unit = unit.removeprefix("ln").strip() or "1"
    # What stands in brackets explains the number to a programmer, not the pair to a reader.
    meaning = _BRACKETS.sub("", meaning).removeprefix("the ").removeprefix("size of the ").split(" (")[0].strip()
    if np.isnan(value):
        return f"{meaning}: not known"
    if entry.categories:
        return f"{meaning}: {entry.categories[round(value)].replace('_', ' ')}"
    if unit == "0/1":
        return f"{meaning}: {'yes' if value > 0.5 else 'no'}"
    return f"{meaning}: {_number(value)}{'' if unit in ('1', 'matches', 'days between') else f' {unit}'}"


_LOGARITHM = re.compile(r"ln\(1 \+ (?P<plus>[^)]*)\)|(?:size of the )?logarithm of (?P<plain>(?:the )?[^(:]*)")
_BRACKETS = re.compile(r"\s*\([^)]*\)")


def _number(value: float) -> str:
    if abs(value - round(value)) < 5e-3 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _fusion_parts(features: pd.DataFrame, settings: FusionSettings | None) -> pd.DataFrame:
    """Return what each half of the WildFusion baseline adds to its probability (the halves of :func:`fusion.fuse`)."""
    settings = settings or FusionSettings()
    zscore = features["cosine_zscore"].to_numpy(np.float64)
    source, local = local_source(features)
    by_cosine = sigmoid(settings.global_slope * np.nan_to_num(zscore, nan=0.0) + settings.global_offset)
    by_count = sigmoid(settings.local_slope * local + settings.local_offset)
    half = np.where(np.isnan(zscore) | np.isnan(local), 1.0, 0.5)
    columns = {"cosine_zscore": np.where(np.isnan(zscore) & ~np.isnan(local), 0.0, half * by_cosine)}
    for name in dict.fromkeys(source.tolist()):
        read = source == name
        if read.any():
            columns[name] = np.where(read & ~np.isnan(local), half * np.nan_to_num(by_count), 0.0)
    return pd.DataFrame({**columns, "baseline": 0.0}, index=features.index)
