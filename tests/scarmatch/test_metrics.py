"""Metrics against arithmetic written out by hand, plain loops and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarmatch.metrics import (
    auc,
    average_precision,
    balanced_accuracy,
    bootstrap_by_group,
    bootstrap_statistic,
    cmc,
    expected_calibration_error,
    macro_f1,
    paired_bootstrap,
    reciprocal_rank,
    reliability_curve,
    threshold_at_fpr,
)


def test_average_precision_by_hand() -> None:
    hits = [True, False, True, False, False, True]
    assert average_precision(hits, 3) == pytest.approx((1 / 1 + 2 / 3 + 3 / 6) / 3)
    assert average_precision(hits) == average_precision(hits, 3), "the list's own matches, if nobody says more"
    assert average_precision(hits, 5) == pytest.approx((1 / 1 + 2 / 3 + 3 / 6) / 5)
    assert average_precision(hits, 40, k=3) == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert average_precision([False] * 20 + [True], 1) == 0.0
    assert average_precision([True] * 20, 100) == 1.0
    assert average_precision([], 4) == 0.0
    assert np.isnan(average_precision([False, False]))
    assert np.isnan(average_precision([], 0))


def test_rows_of_equal_score_come_in_together() -> None:
    assert average_precision([0, 1], 1, scores=[0.1, 0.9]) == 1.0, "in any order"
    assert average_precision([1, 0], 1, scores=[0.5, 0.5]) == pytest.approx(0.5)
    # Of the last two, which tie, one is a match: precision 2 / 3 for both places.
    assert average_precision([1, 1, 0], 4, scores=[0.9, 0.5, 0.5]) == pytest.approx((1 + 2 / 3) / 4)
    # Only the first two rows count, and the tie with the third does not reach beyond them.
    assert average_precision([0, 1, 0], 1, k=2, scores=[0.9, 0.5, 0.5]) == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([True, True], 1), "only 1 matches"),
        (([False], 1, 0), "k=0"),
        (([1], 1, 20, [0.5, 0.4]), "length"),
        (([1], 1, 20, [float("nan")]), "NaN"),
    ],
)
def test_average_precision_refuses_nonsense(arguments: tuple, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        average_precision(*arguments)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=20),
    st.integers(0, 40),
    st.booleans(),
)
def test_average_precision_is_scikit_learns_rescaled(pairs: list[tuple[bool, int]], unseen: int, tied: bool) -> None:
    from sklearn.metrics import average_precision_score

    relevant = np.array([right for right, _ in pairs])
    total = int(relevant.sum()) + unseen
    scores = np.array([score / 6 for _, score in pairs]) if tied else -np.arange(len(pairs), dtype=float)
    got = average_precision(relevant, total, scores=scores if tied else None)
    if not relevant.any():
        assert got == 0.0 or np.isnan(got) == (total == 0)
        return
    assert got == pytest.approx(average_precision_score(relevant, scores) * relevant.sum() / min(total, 20), abs=1e-12)


def test_reciprocal_rank_by_hand() -> None:
    lists = [["a", "b", "c", "d", "e"], ["b", "a"], ["x", "x", "a"], ["b", "c", "d", "e", "f", "a"], ["a", "a"]]
    assert [reciprocal_rank(labels, "a") for labels in lists] == [1, 1 / 2, 1 / 3, 0, 1]
    assert reciprocal_rank(["a", "b"], "b", k=1) == 0.0


def test_cmc_counts_missing_ranks_as_misses() -> None:
    ranks = [1, 3, np.nan, 20, 21, 0, np.inf, 1]
    np.testing.assert_allclose(cmc(ranks, [1, 3, 20, 100]), [2 / 8, 3 / 8, 4 / 8, 5 / 8])
    with pytest.raises(ValueError, match="no query"):
        cmc([], [1])


def test_bootstrap_resamples_whales_not_photographs() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat([f"w{i}" for i in range(20)], 50)
    values = np.repeat(rng.random(20), 50)  # photographs of one whale all alike: only 20 independent numbers
    by_whale = bootstrap_by_group(values, groups, seed=1)
    by_photo = bootstrap_by_group(values, np.arange(1000), seed=1)
    assert by_whale.mean == by_photo.mean == pytest.approx(values.mean())
    assert by_whale.low < values.mean() < by_whale.high
    assert (by_whale.high - by_whale.low) > 5 * (by_photo.high - by_photo.low)
    assert by_whale.high - by_whale.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(20), rel=0.15)
    assert bootstrap_by_group(values, groups, seed=1) == by_whale
    assert bootstrap_by_group(values, groups, seed=2) != by_whale


def test_bootstrap_against_a_plain_loop() -> None:
    values, groups = np.array([0.0, 1.0, 0.5, 0.25, np.nan]), np.array(["a", "a", "b", "c", "c"])
    found = bootstrap_by_group(values, groups, n=600, seed=9, level=0.8)
    rng, means = np.random.default_rng(9), []
    drawn = np.concatenate([rng.integers(0, 3, (256, 3)), rng.integers(0, 3, (256, 3)), rng.integers(0, 3, (88, 3))])
    members = [[0.0, 1.0], [0.5], [0.25]]
    for row in drawn:
        sample = [value for group in row for value in members[group]]
        means.append(sum(sample) / len(sample))
    assert found.mean == pytest.approx(1.75 / 4)
    assert found.low == pytest.approx(np.quantile(means, 0.1))
    assert found.high == pytest.approx(np.quantile(means, 0.9))


def test_bootstrap_of_nothing_and_of_unequal_lengths() -> None:
    assert all(np.isnan(bootstrap_by_group([], [])))
    assert all(np.isnan(bootstrap_by_group([np.nan], ["a"])))
    with pytest.raises(ValueError, match="one group each"):
        bootstrap_by_group([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="level"):
        bootstrap_by_group([1.0], ["a"], level=95)


def test_paired_bootstrap_sees_a_small_steady_difference() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 5).astype(str)
    b = rng.random(150)
    a = b + 0.02 + 0.01 * rng.standard_normal(150)
    difference = paired_bootstrap(a, b, groups)
    assert difference.mean == pytest.approx((a - b).mean())
    assert 0.01 < difference.low < difference.high < 0.03
    assert paired_bootstrap(b, a, groups).high < 0
    with pytest.raises(ValueError, match="same queries"):
        paired_bootstrap(a, b[:-1], groups)


def test_any_statistic_resampled_is_the_bootstrap_of_the_mean() -> None:
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(40), 3).astype(str)
    values = np.repeat(rng.random(40), 3)
    found = bootstrap_statistic(lambda rows: float(values[rows].mean()), groups, n=2000)
    mean, low, high = bootstrap_by_group(values, groups)
    assert found.mean == pytest.approx(mean)
    assert (found.low, found.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_strata_are_in_every_sample() -> None:
    groups, rare = np.array(list("abcdefgh")), np.array([True] + 7 * [False])
    samples: list[np.ndarray] = []

    def note(rows: np.ndarray) -> float:
        samples.append(rows)
        return 0.0

    bootstrap_statistic(note, groups, rare, n=100)
    assert all(rare[rows].sum() == 1 and len(rows) == 8 for rows in samples)


def test_auc_by_hand_with_ties() -> None:
    scores, labels = [0.9, 0.8, 0.8, 0.3, 0.1], [1, 1, 0, 1, 0]
    assert auc(scores, labels) == pytest.approx((2 + 1.5 + 1) / 6)  # wins of each match over 2 others, ties half


def test_a_threshold_lets_no_more_impostors_through() -> None:
    impostors = np.arange(100) / 100
    for rate, above in ((0.01, 1), (0.1, 10), (0.005, 0)):
        assert (impostors > threshold_at_fpr(impostors, rate)).sum() <= above


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=60))
def test_auc_against_scikit_learn(pairs: list[tuple[int, bool]]) -> None:
    from sklearn.metrics import roc_auc_score

    scores, labels = [s for s, _ in pairs], [y for _, y in pairs]
    if len(set(labels)) < 2:
        with pytest.raises(ValueError, match="match"):
            auc(scores, labels)
        return
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_scores_that_cannot_be_used() -> None:
    with pytest.raises(ValueError, match="NaN"):
        auc([np.nan, 1.0], [0, 1])
    with pytest.raises(ValueError, match="one label each"):
        auc([1.0, 2.0], [1])
    with pytest.raises(ValueError, match="within"):
        reliability_curve([1.2], [1])


def test_calibration_by_hand() -> None:
    probabilities, labels = [0.05, 0.05, 0.95, 0.85, 1.0], [0, 1, 1, 1, 0]
    curve = reliability_curve(probabilities, labels, bins=10)
    np.testing.assert_allclose(curve.predicted, [0.05, 0.85, 0.975])
    np.testing.assert_allclose(curve.observed, [0.5, 1.0, 0.5])
    assert curve.counts.tolist() == [2, 1, 2]
    expected = (2 * 0.45 + 1 * 0.15 + 2 * 0.475) / 5
    assert expected_calibration_error(probabilities, labels, bins=10) == pytest.approx(expected)
    assert expected_calibration_error([0.0, 1.0], [0, 1]) == 0.0
    assert np.isnan(expected_calibration_error([], []))


def test_calibration_of_honest_and_boastful_probabilities() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20000)
    labels = rng.random(20000) < p
    assert expected_calibration_error(p, labels) < 0.02
    assert expected_calibration_error(np.sqrt(p), labels) > 0.1


def test_label_metrics_by_hand() -> None:
    truth, guess = ["a", "a", "a", "b", "c"], ["a", "a", "b", "b", "d"]
    assert balanced_accuracy(truth, guess) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert macro_f1(truth, guess) == pytest.approx((4 / 5 + 2 / 3 + 0 + 0) / 4)
    for metric in (balanced_accuracy, macro_f1):
        with pytest.raises(ValueError, match="labels"):
            metric([], [])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=50))
def test_label_metrics_against_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import f1_score, recall_score

    truth, guess = [t for t, _ in pairs], [g for _, g in pairs]
    assert macro_f1(truth, guess) == pytest.approx(f1_score(truth, guess, average="macro", zero_division=0))
    recall = recall_score(truth, guess, average="macro", labels=sorted(set(truth)), zero_division=0)
    assert balanced_accuracy(truth, guess) == pytest.approx(recall)
