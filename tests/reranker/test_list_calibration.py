"""Probabilities of lists: first places have a curve of their own, and no order changes by it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reranker.calibration import Calibration
from reranker.cross_fitting import calibration_errors, cross_fitted_calibrations, fit_list_calibration, places_in_lists
from reranker.list_calibration import ListCalibration


def lists(count: int, seed: int = 0) -> pd.DataFrame:
    """Lists of eight whose best is right half of the time, whatever its score, and the others a tenth."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.normal(size=(count, 8)))[:, ::-1]
    same = rng.random((count, 8)) < np.where(np.arange(8) == 0, 0.5, 0.1)
    return pd.DataFrame(
        {
            "query_id": np.repeat([f"q{k}" for k in range(count)], 8),
            "candidate_id": [f"c{k}" for k in range(8 * count)],
            "cosine": 0.0,
            "blend": scores.ravel(),
            "same": same.ravel(),
            "fold": np.repeat(np.arange(count) % 5, 8),
        }
    )


def test_what_leads_a_list_is_believed_as_often_as_it_is_right() -> None:
    frame = lists(600)
    curves = fit_list_calibration({"all": frame}, "blend")
    first = places_in_lists(frame, "blend") == 0
    shown = curves(frame["blend"], places_in_lists(frame, "blend"))
    assert abs(shown[first].mean() - 0.5) < 0.05
    assert abs(shown[~first].mean() - 0.1) < 0.05
    assert calibration_errors(frame, cross_fitted_calibrations({"all": frame}, "blend"), "blend", 20)["first"] < 0.08
    assert abs(curves.every(frame["blend"][first]).mean() - 0.5) > 0.1, "one curve for all places is far off"


def test_both_askings_teach_first_places() -> None:
    sure = lists(300, 1).assign(same=lambda table: places_in_lists(table, "blend") == 0)
    alone = fit_list_calibration({"all": lists(300)}, "blend")
    both = fit_list_calibration({"all": lists(300), "other_encounter": sure}, "blend")
    assert alone.first is not None and both.first is not None
    assert both.first([2.0])[0] > alone.first([2.0])[0] + 0.1
    assert both.every == alone.every


def test_a_first_place_is_raised_and_never_lowered() -> None:
    curves = ListCalibration(Calibration("platt", 1.0, 0.0), Calibration("platt", 1.0, -2.0))
    scores, places = np.array([3.0, 1.0, -1.0]), np.array([0, 1, 2])
    np.testing.assert_array_equal(curves(scores, places), curves.every(scores))
    raised = ListCalibration(curves.every, Calibration("platt", 1.0, 2.0))(scores, places)
    assert raised[0] > curves.every(scores)[0] and (raised[1:] == curves.every(scores)[1:]).all()


def test_few_lists_teach_one_curve_only() -> None:
    assert fit_list_calibration({"all": lists(20)}, "blend").first is None


def test_it_is_read_as_it_was_written_and_a_single_curve_as_one_for_all_places() -> None:
    curves = fit_list_calibration({"all": lists(600)}, "blend")
    assert ListCalibration.from_dict(curves.to_dict()) == curves
    assert ListCalibration.from_dict(ListCalibration().to_dict()) == ListCalibration()
    older = Calibration("platt", 2.0, -1.0)
    assert ListCalibration.from_dict(older.to_dict()) == ListCalibration(older)
