"""The metrics of retrieval and of probabilities, each written once: training, commands and measurements use these.

NumPy alone. Functions take plain sequences, never change them, and say with an error what they cannot compute. What
does not exist (no match to find, nothing to average) is NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class Interval(NamedTuple):
    """A mean and its confidence interval; NaN throughout where there was nothing to average."""

    mean: float
    low: float
    high: float


class Reliability(NamedTuple):
    """A reliability curve: one entry for each bin of equal width that holds anything.

    Attributes:
        predicted: mean probability in the bin.
        observed: share of positives in the bin.
        counts: number of cases in the bin.
    """

    predicted: Floats
    observed: Floats
    counts: npt.NDArray[np.int64]


# --- ranked lists -----------------------------------------------------------------------------------------------------


def average_precision(
    relevant: npt.ArrayLike, n_relevant: float | None = None, k: int = 20, scores: npt.ArrayLike | None = None
) -> float:
    """Return the average precision of one query's list, cut after ``k`` places.

    The sum of the precision at each match within the first k places, divided by min(n_relevant, k): the rule of the
    "Where's Whale-do?" challenge (DrivenData, 2022), whose scorer multiplies scikit-learn's average precision of the
    returned rows by the share of the min(n_relevant, k) possible matches that they contain.

    Args:
        relevant: (n,) True for a match, best first; in any order if there are scores.
        n_relevant: matches in the query's database; None counts those of the list.
        k: number of places that count.
        scores: (n,) larger is better. Rows of equal score have no order: they come in together.

    Returns:
        A value in [0, 1]; NaN if there is nothing to find.

    Raises:
        ValueError: the lengths differ, a score is NaN, k is below 1, or the list holds more matches than there are.
    """
    hits = np.asarray(relevant, bool).ravel()
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    if scores is not None:
        values = np.asarray(scores, np.float64).ravel()
        if len(values) != len(hits) or np.isnan(values).any():
            raise ValueError("relevant and scores must have the same length, and no score may be NaN")
        order = np.argsort(-values, kind="stable")
        hits, values = hits[order], values[order]
    total = float(hits.sum()) if n_relevant is None else float(n_relevant)
    hits = hits[:k]
    if hits.sum() > total:
        raise ValueError(f"{int(hits.sum())} relevant rows but only {total:g} matches: a row occurs twice")
    if not total > 0:
        return float("nan")
    if not hits.any():
        return 0.0
    ends = np.arange(len(hits))
    if scores is not None:
        ends = np.flatnonzero(np.append(np.diff(values[:k]) != 0, True))
    true_positives = np.cumsum(hits)[ends]
    gained = np.diff(true_positives, prepend=0)
    return float((gained * (true_positives / (ends + 1))).sum() / min(total, k))


def reciprocal_rank(labels: Sequence[str], truth: str, k: int = 5) -> float:
    """Return 1 / place of the true label among the first ``k``, 0 if it is not there.

    A label that is given twice takes up two places. With one right answer a query this is the whole of average
    precision: its mean is MAP@k ("Happywhale - Whale and Dolphin Identification", Kaggle, 2022, asks for MAP@5).
    """
    places = list(labels[:k])
    return 1.0 / (places.index(truth) + 1) if truth in places else 0.0


def cmc(ranks: npt.ArrayLike, ks: Sequence[int]) -> Floats:
    """Return the cumulative match characteristic: the share of queries whose first match stands at place <= k.

    Args:
        ranks: (Q,) place of the first match, counted from 1; NaN, inf or 0 where none was returned.
        ks: the places asked for.

    Raises:
        ValueError: there is no query.
    """
    places = np.asarray(ranks, np.float64)
    if places.size == 0:
        raise ValueError("no query: the share of nothing is undefined")
    places = np.where((places < 1) | np.isnan(places), np.inf, places)
    return np.array([(places <= k).mean() for k in ks])


# --- intervals over groups --------------------------------------------------------------------------------------------


def bootstrap_by_group(
    values: npt.ArrayLike, groups: npt.ArrayLike, n: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return the mean of ``values`` with a percentile bootstrap interval that resamples groups, not values.

    The cluster bootstrap (Davison & Hinkley, Bootstrap Methods and their Application, 1997, chapter 3): photographs
    of one individual are not independent, so whole individuals are drawn with replacement.

    Args:
        values: (N,) one number a query; NaN values are left out.
        groups: (N,) the individual of each query.
        n: number of resamples.
        seed: of the resampling.
        level: coverage of the interval.

    Raises:
        ValueError: the lengths differ or the level is not within (0, 1).
    """
    data, names = np.asarray(values, np.float64), np.asarray(groups)
    if data.ndim != 1 or data.shape != names.shape:
        raise ValueError(f"values of shape {data.shape} need one group each, got shape {names.shape}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level={level} must lie within (0, 1)")
    kept = ~np.isnan(data)
    data, codes = data[kept], np.unique(names[kept].astype(str), return_inverse=True)[1]
    if not len(data):
        return Interval(float("nan"), float("nan"), float("nan"))
    sums, sizes = np.bincount(codes, data), np.bincount(codes)
    means = np.empty(n)
    rng = np.random.default_rng(seed)
    for start in range(0, n, 256):  # in blocks: n x groups numbers need not be held at once
        drawn = rng.integers(0, len(sizes), (min(256, n - start), len(sizes)))
        means[start : start + len(drawn)] = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(data.mean()), float(low), float(high))


def paired_bootstrap(
    a: npt.ArrayLike, b: npt.ArrayLike, groups: npt.ArrayLike, n: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return the mean difference ``a - b`` of the same queries under two methods, resampling groups.

    Raises:
        ValueError: the lengths differ.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} and {second.size} values: paired figures need the same queries in one order")
    return bootstrap_by_group(first - second, groups, n=n, seed=seed, level=level)


def bootstrap_statistic(
    statistic: Callable[[npt.NDArray[np.intp]], float],
    groups: npt.ArrayLike,
    strata: npt.ArrayLike | None = None,
    n: int = 500,
    seed: int = 0,
) -> Interval:
    """Return any statistic of N queries with the 95 % percentile interval over resampled groups.

    Args:
        statistic: from the rows of a sample, with repetitions, to a number.
        groups: (N,) the individual of each query.
        strata: (N,) groups are drawn within these, by the stratum of their first row, so that every sample holds
            all of them (known and new individuals, say); None draws from all alike.
        n: number of resamples.
        seed: of the resampling.
    """
    names, first, codes = np.unique(np.asarray(groups).astype(str), return_index=True, return_inverse=True)
    rows = [np.flatnonzero(codes == code) for code in range(len(names))]
    layer = np.zeros(len(names)) if strata is None else np.asarray(strata)[first]
    pools = [np.flatnonzero(layer == value) for value in np.unique(layer)]
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(n):
        drawn = np.concatenate([rng.choice(pool, len(pool)) for pool in pools])
        values.append(statistic(np.concatenate([rows[i] for i in drawn])))
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(statistic(np.arange(len(codes))), float(low), float(high))


# --- decisions about pairs and labels ---------------------------------------------------------------------------------


def auc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that a match outscores a non-match, ties counting half.

    Raises:
        ValueError: one of the classes is missing, the lengths differ or a score is NaN.
    """
    values, truth = _scored(scores, labels)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        raise ValueError("an area under the ROC curve needs pairs that match and pairs that do not")
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # of equal scores: the mean rank
    return float((ranks[codes][truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def threshold_at_fpr(impostor_scores: npt.ArrayLike, fpr: float) -> float:
    """Return the score that at most a share ``fpr`` of the impostors exceeds."""
    return float(np.quantile(np.asarray(impostor_scores, np.float64), 1 - fpr, method="higher"))


def balanced_accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the mean over the true labels of the share of their cases that are correct."""
    true, guess = _labels(truth, predicted)
    names, codes = np.unique(true, return_inverse=True)
    return float((np.bincount(codes, true == guess, len(names)) / np.bincount(codes)).mean())


def macro_f1(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Return the mean F1 over all labels that occur, true or predicted: 2 TP / (2 TP + FP + FN) for each."""
    true, guess = _labels(truth, predicted)
    names, codes = np.unique(np.concatenate([true, guess]), return_inverse=True)
    of_true, of_guess = codes[: len(true)], codes[len(true) :]
    both = np.bincount(of_true[of_true == of_guess], minlength=len(names))
    total = np.bincount(of_true, minlength=len(names)) + np.bincount(of_guess, minlength=len(names))
    return float((2 * both / total).mean())


# --- probabilities ----------------------------------------------------------------------------------------------------


def reliability_curve(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = 10) -> Reliability:
    """Return mean probability against observed share in bins of equal width; the last bin includes 1.

    Raises:
        ValueError: a probability lies outside [0, 1] or is NaN, the lengths differ, or ``bins`` is not positive.
    """
    values, truth = _scored(probabilities, labels)
    if bins < 1 or ((values < 0) | (values > 1)).any():
        raise ValueError("probabilities must lie within [0, 1] and bins be at least 1")
    which = np.minimum((values * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    held = counts > 0
    predicted, observed = (np.bincount(which, part, bins)[held] / counts[held] for part in (values, truth))
    return Reliability(predicted, observed, counts[held])


def expected_calibration_error(probabilities: npt.ArrayLike, labels: npt.ArrayLike, bins: int = 10) -> float:
    """Return the mean gap between probability and observed share, weighted by the bins' sizes; NaN without a case.

    Naeini, Cooper & Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015.
    """
    curve = reliability_curve(probabilities, labels, bins)
    if not len(curve.counts):
        return float("nan")
    return float(np.average(np.abs(curve.predicted - curve.observed), weights=curve.counts))


def _scored(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Bools]:
    """Return scores and labels as arrays, checked."""
    values, truth = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    if values.shape != truth.shape or values.ndim != 1:
        raise ValueError(f"scores of shape {values.shape} need one label each, got shape {truth.shape}")
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} scores are NaN: give them a value or leave them out")
    return values, truth


def _labels(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return both label sequences as arrays of one length, at least 1."""
    true, guess = np.asarray(truth).astype(str), np.asarray(predicted).astype(str)
    if true.shape != guess.shape or not true.size:
        raise ValueError(f"{true.size} true and {guess.size} predicted labels: need as many, and at least one")
    return true, guess
