"""Calibration: strictly increasing whatever the data, right where the truth is known, and measured by its error."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reranker.calibration import (
    SLIVER,
    Calibration,
    fit_calibration,
    fit_platt,
    log_odds,
    sigmoid,
    strictly_decreasing,
)


def drawn(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose true probability is sigmoid(2 s - 1)."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 1.5, n)
    return scores, random.random(n) < sigmoid(2 * scores - 1)


def test_sigmoid_and_log_odds_are_inverse_and_do_not_overflow() -> None:
    np.testing.assert_allclose(sigmoid([-1000, 0, 1000]), [0, 0.5, 1])
    np.testing.assert_allclose(log_odds(sigmoid([-3.0, 0.0, 2.5])), [-3, 0, 2.5])


def test_platt_finds_the_curve_the_labels_were_drawn_from() -> None:
    slope, offset = fit_platt(*drawn(20000))
    assert slope == pytest.approx(2, abs=0.1) and offset == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_both_kinds_are_close_to_the_truth(kind: str) -> None:
    calibration = fit_calibration(*drawn(20000), kind=kind)  # type: ignore[arg-type]
    grid = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(calibration(grid), sigmoid(2 * grid - 1), atol=0.04)


def test_auto_takes_the_plain_curve_where_matches_are_few() -> None:
    scores, labels = drawn(4000)
    assert fit_calibration(scores, labels).kind == "isotonic"
    assert fit_calibration(scores[:50], labels[:50]).kind == "platt"


@settings(max_examples=60, deadline=None, derandomize=True)
@example(kind="platt", pairs=[(0.0, False), (2.4e-136, False)], asked=[0, 1])
@given(
    kind=st.sampled_from(["platt", "isotonic"]),
    pairs=st.lists(st.tuples(st.floats(-30, 30), st.booleans()), min_size=1, max_size=60),
    asked=st.lists(st.integers(-40_000, 40_000), min_size=2, max_size=30, unique=True),
)
def test_strictly_increasing_and_inside_0_1_whatever_the_data(
    kind: str, pairs: list[tuple[float, bool]], asked: list[int]
) -> None:
    calibration = fit_calibration([s for s, _ in pairs], [y for _, y in pairs], kind=kind)  # type: ignore[arg-type]
    probabilities = calibration(np.sort(asked) / 1000)
    assert (np.diff(probabilities) > 0).all()
    assert probabilities.min() > 0 and probabilities.max() < 1


def test_one_lucky_photograph_is_not_certain() -> None:
    calibration = fit_calibration([0, 1, 2, 3, 10], [False, True, False, False, True], kind="isotonic")
    assert calibration([10.0])[0] < 0.99


def test_json_keeps_every_bit() -> None:
    calibration = fit_calibration(*drawn())
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert again == calibration
    np.testing.assert_array_equal(again([0.1, 2.0]), calibration([0.1, 2.0]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"slope": 0.0},
        {"kind": "isotonic"},
        {"kind": "isotonic", "knots": (0.0, 0.0), "values": (0.1, 0.2)},
        {"kind": "isotonic", "knots": (0.0, 1.0), "values": (0.2, 0.1)},
    ],
)
def test_a_damaged_curve_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="calibration"):
        Calibration(**wrong)  # type: ignore[arg-type]


def test_bad_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        fit_calibration([0.0, np.nan], [True, False])
    with pytest.raises(ValueError, match="at least one"):
        fit_calibration([], [])


def test_the_sliver_stays_below_what_calibration_can_see() -> None:
    curve = Calibration("platt", 2.0, -1.0)
    grid = np.linspace(-5, 5, 101)
    assert np.abs(curve(grid) - sigmoid(2 * grid - 1)).max() <= SLIVER


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_strictly_decreasing_survives_being_written_as_text(values: list[float]) -> None:
    ranked = sorted(values, reverse=True)
    spread = strictly_decreasing(ranked)
    written = [float(f"{p:.12f}") for p in spread]
    assert all(later < earlier for earlier, later in itertools.pairwise(written))
    assert spread.min() >= 0 and spread.max() <= 1
    np.testing.assert_allclose(spread, ranked, atol=1e-10)


def test_strictly_decreasing_leaves_a_good_list_alone_and_refuses_nonsense() -> None:
    np.testing.assert_allclose(strictly_decreasing([0.9, 0.5, 0.1]), [0.9, 0.5, 0.1], rtol=1e-15)
    np.testing.assert_array_equal(np.argsort(-strictly_decreasing(np.zeros(20))), np.arange(20))
    assert len(strictly_decreasing([])) == 0
    with pytest.raises(ValueError, match="finite"):
        strictly_decreasing([np.nan])
    with pytest.raises(ValueError, match="do not fit"):
        strictly_decreasing(np.zeros(100), step=0.01)
