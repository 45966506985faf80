"""Blending several rankings of individuals: the rank table of the Happywhale paper, and the plain calibrated mean.

The rank table (Katre, "Marine mammal identification", section 3.10): a label at place r (0 = first) of ranking j earns
``weights[j] * w(r)`` with w = 10, 6.5, 3.3, 2.9, 2.7 and nothing beyond; the sum over rankings, less 0.033 times the
number of the individual's catalogue photographs (often photographed animals turn up everywhere), is its score. The
special label ``new_individual`` counts a quarter unless a ranking puts it first or second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reranker.calibration import Values
from reranker.protocols import assign_folds
from scarmatch.metrics import reciprocal_rank
from scarmatch.settings import Settings, SettingsError

NEW_INDIVIDUAL = "new_individual"

Ranking = Mapping[str, Sequence[str]]
"""Query -> labels, best first."""

Probabilities = Mapping[str, Mapping[str, float]]
"""Query -> label -> probability."""

PerQuery = Callable[[tuple[float, ...], Sequence[str]], Sequence[float]]
"""(weights, queries) -> what the blend with those weights earns at each of those queries."""


@dataclass(frozen=True)
class RankTableSettings(Settings):
    """Options of :func:`blend_rankings`.

    Attributes:
        table: points of the first places; must not rise.
        frequency_penalty: points lost per catalogue photograph of the individual.
        new_damping: divisor of the points of ``new_individual`` where a ranking does not put it first or second.
        top: number of labels returned a query.
    """

    table: tuple[float, ...] = (10.0, 6.5, 3.3, 2.9, 2.7)
    frequency_penalty: float = 0.033
    new_damping: float = 4.0
    top: int = 5

    def __post_init__(self) -> None:
        if not self.table or any(later > earlier for earlier, later in zip(self.table, self.table[1:], strict=False)):
            raise SettingsError(f"the rank table must not be empty and must not rise, got {self.table}")
        if not (self.new_damping > 0 and np.isfinite(self.frequency_penalty) and self.top >= 1):
            raise SettingsError(
                "new_damping must be positive, frequency_penalty a finite number and top at least 1, got "
                f"{self.new_damping}, {self.frequency_penalty} and {self.top}"
            )


def rank_points(label: str, place: int, settings: RankTableSettings) -> float:
    """Return the points of a label at a place (0 = first) of one ranking of weight 1."""
    if place >= len(settings.table):
        return 0.0
    damped = label == NEW_INDIVIDUAL and place >= 2
    return settings.table[place] / (settings.new_damping if damped else 1.0)


def blend_scores(
    lists: Sequence[Sequence[str]],
    weights: Sequence[float] | None = None,
    photographs: Mapping[str, int] | None = None,
    settings: RankTableSettings | None = None,
) -> dict[str, float]:
    """Return the score of every label that occurs in one query's lists.

    Args:
        lists: the query's labels by each ranking, best first; a label counts once a list, at its best place.
        weights: one per ranking, 1 by default.
        photographs: individual -> number of catalogue photographs; unknown labels (and ``new_individual``) lose
        nothing.

    Raises:
        ValueError: the number of weights differs from the number of lists.
    """
    settings = settings or RankTableSettings()
    weights = _weights(weights, len(lists))
    scores: dict[str, float] = {}
    for labels, weight in zip(lists, weights, strict=True):
        for place, label in enumerate(dict.fromkeys(labels)):
            scores[label] = scores.get(label, 0.0) + weight * rank_points(label, place, settings)
    counts = photographs or {}
    return {label: score - settings.frequency_penalty * counts.get(label, 0) for label, score in scores.items()}


def blend_rankings(
    rankings: Sequence[Ranking],
    weights: Sequence[float] | None = None,
    photographs: Mapping[str, int] | None = None,
    settings: RankTableSettings | None = None,
) -> dict[str, list[str]]:
    """Blend rankings query by query; equal scores are ordered by label. A ranking may lack a query."""
    settings = settings or RankTableSettings()
    queries = sorted({query for ranking in rankings for query in ranking})
    blended: dict[str, list[str]] = {}
    for query in queries:
        scores = blend_scores([ranking.get(query, ()) for ranking in rankings], weights, photographs, settings)
        blended[query] = sorted(scores, key=lambda label: (-scores[label], label))[: settings.top]
    return blended


def map_at(blended: Ranking, truth: Mapping[str, str], top: int = 5) -> float:
    """Return the mean over queries of 1 / place of the true label within the first ``top`` places (0 if absent)."""
    if not truth:
        raise ValueError("no query has a known answer")
    return sum(reciprocal_rank(blended.get(query, ()), label, top) for query, label in truth.items()) / len(truth)


def coordinate_ascent(
    objective: Callable[[tuple[float, ...]], float],
    size: int,
    step: float = 0.1,
    min_gain: float = 1e-3,
    max_sweeps: int = 200,
) -> tuple[tuple[float, ...], float]:
    """Greedy coordinate ascent from all ones: change one weight by ± step, keep what gains at least ``min_gain``.

    Ends after a full sweep without a gain. Weights never fall below 0.

    Returns:
        (weights, objective at them).
    """
    weights = tuple([1.0] * size)
    best = objective(weights)
    for _ in range(max_sweeps):
        improved = False
        for j in range(size):
            for change in (step, -step):
                # Rounded, or ten steps of 0.1 would not give 2.
                value = round(max(0.0, weights[j] + change), 9)
                trial = (*weights[:j], value, *weights[j + 1 :])
                value_there = objective(trial)
                # A gain of exactly min_gain counts, whatever binary fractions make of it.
                if value_there - best >= min_gain - 1e-12:
                    weights, best, improved = trial, value_there, True
                    break
        if not improved:
            break
    return weights, best


def fit_weights(
    per_query: PerQuery, queries: Sequence[str], size: int, step: float = 0.1, min_gain: float = 1e-3
) -> tuple[tuple[float, ...], float]:
    """Learn ``size`` weights by :func:`coordinate_ascent` of the mean over queries; return them and that mean."""
    return coordinate_ascent(lambda weights: float(np.mean(per_query(weights, queries))), size, step, min_gain)


def cross_fit(
    per_query: PerQuery,
    groups: Mapping[str, str],
    size: int,
    folds: int = 5,
    seed: int = 0,
    step: float = 0.1,
    min_gain: float = 1e-3,
) -> dict[str, float]:
    """Return what every query earns with weights that were learned without its group (the individual it shows).

    Weights learned and judged on the same queries flatter; these do not.

    Args:
        groups: query -> group; queries of one group share a fold.

    Raises:
        ValueError: there is only one group.
    """
    queries = list(groups)
    names = [groups[query] for query in queries]
    count = min(folds, len(set(names)))
    if count < 2:
        raise ValueError("weights can be judged on other individuals only where the answers name at least two")
    fold_of = assign_folds(names, np.ones(len(names)), count, seed)
    earned: dict[str, float] = {}
    for fold in range(count):
        outside = [query for query in queries if fold_of[groups[query]] != fold]
        inside = [query for query in queries if fold_of[groups[query]] == fold]
        weights, _ = fit_weights(per_query, outside, size, step, min_gain)
        earned.update(zip(inside, per_query(weights, inside), strict=True))
    return {query: earned[query] for query in queries}


def blend_probabilities(
    tables: Sequence[Probabilities], weights: Sequence[float] | None = None
) -> dict[str, dict[str, float]]:
    """Return the plain calibrated mean of several models' probabilities, query by query, best label first.

    A label that a model's list lacks has the probability 0 there; a model that lacks the query is left out of its mean.
    """
    blended: dict[str, dict[str, float]] = {}
    for query in sorted({query for table in tables for query in table}):
        labels = sorted({label for table in tables for label in table.get(query, {})})
        holds_query = [query in table for table in tables]
        rows = [
            [table[query].get(label, 0.0) for label in labels] if has else [np.nan] * len(labels)
            for table, has in zip(tables, holds_query, strict=True)
        ]
        means = np.nan_to_num(calibrated_mean(rows, weights))
        order = sorted(range(len(labels)), key=lambda i: (-means[i], labels[i]))
        blended[query] = {labels[i]: float(means[i]) for i in order}
    return blended


def calibrated_mean(probabilities: Sequence[npt.ArrayLike], weights: Sequence[float] | None = None) -> Values:
    """Return the weighted mean of calibrated probabilities of the same pairs, leaving out what a model does not know.

    Args:
        probabilities: one (n,) array per model, NaN where the model has no answer.

    Returns:
        (n,) float64; NaN where no model has an answer.
    """
    stacked = np.stack([np.asarray(p, dtype=np.float64) for p in probabilities])
    share = np.asarray(_weights(weights, len(stacked)))[:, None] * ~np.isnan(stacked)
    total = share.sum(axis=0)
    mean = (np.nan_to_num(stacked) * share).sum(axis=0) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, np.nan)


def _weights(weights: Sequence[float] | None, count: int) -> list[float]:
    if weights is None:
        return [1.0] * count
    if len(weights) != count:
        raise ValueError(f"{count} rankings need {count} weights, got {len(weights)}")
    return [float(weight) for weight in weights]
