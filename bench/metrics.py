"""Figures of merit for ranked lists, scores and probabilities, with intervals over individuals.

Every function takes plain sequences, never changes them, and says with an error what it cannot compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reranker.calibration import reliability_table

Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A mean and its confidence interval; NaN throughout where there was nothing to average."""

    mean: float
    low: float
    high: float


class Reliability(NamedTuple):
    """A reliability curve, one entry per bin that holds anything.

    Attributes:
        predicted: mean probability in the bin.
        observed: share of positives in the bin.
        counts: number of cases in the bin.
    """

    predicted: Floats
    observed: Floats
    counts: npt.NDArray[np.int64]


# --- ranked lists -----------------------------------------------------------------------------------------------------


def average_precision_at_k(
    relevant_ranked: Sequence[bool] | npt.NDArray[np.bool_], n_relevant: int, k: int = 20
) -> float:
    """Return the average precision of one query's list, cut after ``k`` places.

    The sum of precision@i over the places i <= k that hold a match, divided by min(n_relevant, k): the rule of the
    "Where's Whale-do?" challenge (DrivenData, 2022), whose scorer multiplies scikit-learn's average precision of the
    returned list by the share of the min(n_relevant, k) possible matches that it contains.

    Args:
        relevant_ranked: best first, True where the photograph shows the query's individual; may be shorter than ``k``.
        n_relevant: number of matches in the query's database.
        k: number of places that count.

    Raises:
        ValueError: ``n_relevant`` or ``k`` is not positive, or the list holds more matches than there are.
    """
    hits = np.asarray(relevant_ranked, bool)
    if n_relevant < 1 or k < 1:
        raise ValueError(f"n_relevant={n_relevant} and k={k} must be at least 1; leave out queries without a match")
    if hits.sum() > n_relevant:
        raise ValueError(f"the list holds {int(hits.sum())} matches but n_relevant is {n_relevant}")
    hits = hits[:k]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].sum() / min(n_relevant, k))


def map_at_5(predictions: Sequence[Sequence[str]], truth: Sequence[str]) -> float:
    """Return Happywhale's MAP@5: the mean over queries of 1 / place of the first correct individual among five.

    Only the first correct label of a query counts, and a label repeated before it still takes up its place
    ("Happywhale - Whale and Dolphin Identification", Kaggle, 2022).

    Raises:
        ValueError: the two sequences differ in length or are empty.
    """
    if len(predictions) != len(truth) or not len(truth):
        raise ValueError(f"{len(predictions)} predictions for {len(truth)} queries: need as many, and at least one")
    gains = [
        next((1.0 / place for place, label in enumerate(labels[:5], 1) if label == true), 0.0)
        for labels, true in zip(predictions, truth, strict=True)
    ]
    return float(np.mean(gains))


def cmc(ranks: Sequence[float] | npt.NDArray, ks: Sequence[int]) -> Floats:
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


def top_1(ranks: Sequence[float] | npt.NDArray) -> float:
    """Return the share of queries whose first place is a match (:func:`cmc` at 1)."""
    return float(cmc(ranks, [1])[0])


def recall_at(first_ranks: Sequence[float] | npt.NDArray, sizes: Sequence[int] = (20, 50, 100)) -> dict[int, float]:
    """Return for each shortlist size the share of queries that have at least one match in it."""
    return {int(k): float(v) for k, v in zip(sizes, cmc(first_ranks, sizes), strict=True)}


# --- intervals and comparisons ----------------------------------------------------------------------------------------


def bootstrap_by_group(
    values: Sequence[float] | npt.NDArray,
    groups: Sequence[str] | npt.NDArray,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
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
    data, codes = _checked_groups(values, groups, level)
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
    a: Sequence[float] | npt.NDArray,
    b: Sequence[float] | npt.NDArray,
    groups: Sequence[str] | npt.NDArray,
    n: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Return the mean difference ``a - b`` of the same queries under two methods, resampling groups.

    Raises:
        ValueError: the lengths differ.
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape:
        raise ValueError(
            f"{len(first)} and {len(second)} values: paired figures need the same queries in the same order"
        )
    return bootstrap_by_group(first - second, groups, n=n, seed=seed, level=level)


def _checked_groups(
    values: Sequence[float] | npt.NDArray, groups: Sequence[str] | npt.NDArray, level: float
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """Return values without NaN and their group codes 0..G-1."""
    data, names = np.asarray(values, np.float64), np.asarray(groups)
    if data.ndim != 1 or data.shape != names.shape:
        raise ValueError(f"values of shape {data.shape} need one group each, got shape {names.shape}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level={level} must lie within (0, 1)")
    kept = ~np.isnan(data)
    return data[kept], np.unique(names[kept].astype(str), return_inverse=True)[1]


def wilcoxon(a: Sequence[float] | npt.NDArray, b: Sequence[float] | npt.NDArray) -> tuple[float, float]:
    """Return (statistic, two-sided p) of Wilcoxon's signed-rank test on paired figures; (0, 1) if none differ.

    Raises:
        ValueError: the lengths differ or there is no pair.
    """
    from scipy.stats import wilcoxon as signed_rank

    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or not first.size:
        raise ValueError(f"{first.size} and {second.size} values: Wilcoxon's test needs pairs")
    if np.array_equal(first, second):
        return 0.0, 1.0
    result = signed_rank(first, second)
    return float(result.statistic), float(result.pvalue)


# --- scores and probabilities of pairs --------------------------------------------------------------------------------


def _scored(
    scores: Sequence[float] | npt.NDArray, labels: Sequence[bool] | npt.NDArray
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return scores and labels as arrays, checked."""
    values, truth = np.asarray(scores, np.float64), np.asarray(labels).astype(bool)
    if values.shape != truth.shape or values.ndim != 1:
        raise ValueError(f"scores of shape {values.shape} need one label each, got shape {truth.shape}")
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} scores are NaN: give them a value or leave them out")
    return values, truth


def roc_curve(
    scores: Sequence[float] | npt.NDArray, labels: Sequence[bool] | npt.NDArray
) -> tuple[Floats, Floats, Floats]:
    """Return (false-positive rate, true-positive rate, threshold), from accepting none to accepting all.

    Equal scores are accepted together. The first threshold is infinity.

    Raises:
        ValueError: one of the classes is missing, the lengths differ or a score is NaN.
    """
    values, truth = _scored(scores, labels)
    if truth.all() or not truth.any():
        raise ValueError("a ROC curve needs pairs that match and pairs that do not")
    order = np.argsort(-values, kind="stable")
    values, truth = values[order], truth[order]
    last = np.r_[np.flatnonzero(np.diff(values)), len(values) - 1]
    true, false = np.cumsum(truth)[last], np.cumsum(~truth)[last]
    return np.r_[0.0, false / false[-1]], np.r_[0.0, true / true[-1]], np.r_[np.inf, values[last]]


def auc(scores: Sequence[float] | npt.NDArray, labels: Sequence[bool] | npt.NDArray) -> float:
    """Return the area under the ROC curve: the chance that a match outscores a non-match, ties counting half."""
    false, true, _ = roc_curve(scores, labels)
    return float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))


def tpr_at_fpr(scores: Sequence[float] | npt.NDArray, labels: Sequence[bool] | npt.NDArray, fpr: float = 0.01) -> float:
    """Return the largest true-positive rate that a threshold reaches with at most ``fpr`` false positives."""
    false, true, _ = roc_curve(scores, labels)
    return float(true[false <= fpr].max())


def reliability_curve(
    probabilities: Sequence[float] | npt.NDArray, labels: Sequence[bool] | npt.NDArray, bins: int = 10
) -> Reliability:
    """Return mean probability against observed share in bins of equal width; the last bin includes 1.

    Raises:
        ValueError: a probability lies outside [0, 1], the lengths differ, or ``bins`` is not positive.
    """
    values, truth = _scored(probabilities, labels)
    if bins < 1 or ((values < 0) | (values > 1)).any():
        raise ValueError("probabilities must lie within [0, 1] and bins be at least 1")
    if not len(values):
        return Reliability(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
    table = reliability_table(values, truth, bins)
    return Reliability(*(table[name].to_numpy() for name in ("probability", "share", "count")))


def expected_calibration_error(
    probabilities: Sequence[float] | npt.NDArray, labels: Sequence[bool] | npt.NDArray, bins: int = 10
) -> float:
    """Return the mean gap between probability and observed share, weighted by the bins' sizes; 0 is perfect.

    Naeini, Cooper & Hauskrecht, Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015.
    """
    curve = reliability_curve(probabilities, labels, bins)
    if not curve.counts.sum():
        return float("nan")
    return float(np.average(np.abs(curve.predicted - curve.observed), weights=curve.counts))


# --- labels -----------------------------------------------------------------------------------------------------------


def _labels(
    truth: Sequence[str] | npt.NDArray, predicted: Sequence[str] | npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray]:
    """Return both label sequences as arrays of one length, at least 1."""
    true, guess = np.asarray(truth).astype(str), np.asarray(predicted).astype(str)
    if true.shape != guess.shape or not true.size:
        raise ValueError(f"{true.size} true and {guess.size} predicted labels: need as many, and at least one")
    return true, guess


def accuracy(truth: Sequence[str] | npt.NDArray, predicted: Sequence[str] | npt.NDArray) -> float:
    """Return the share of correct labels."""
    true, guess = _labels(truth, predicted)
    return float((true == guess).mean())


def balanced_accuracy(truth: Sequence[str] | npt.NDArray, predicted: Sequence[str] | npt.NDArray) -> float:
    """Return the mean over the true labels of the share of their cases that are correct."""
    true, guess = _labels(truth, predicted)
    names, codes = np.unique(true, return_inverse=True)
    return float((np.bincount(codes, true == guess, len(names)) / np.bincount(codes)).mean())


def macro_f1(truth: Sequence[str] | npt.NDArray, predicted: Sequence[str] | npt.NDArray) -> float:
    """Return the mean F1 over all labels that occur, true or predicted: 2 TP / (2 TP + FP + FN) for each."""
    true, guess = _labels(truth, predicted)
    names, codes = np.unique(np.concatenate([true, guess]), return_inverse=True)
    of_true, of_guess = codes[: len(true)], codes[len(true) :]
    both = np.bincount(of_true[of_true == of_guess], minlength=len(names))
    total = np.bincount(of_true, minlength=len(names)) + np.bincount(of_guess, minlength=len(names))
    return float((2 * both / total).mean())
