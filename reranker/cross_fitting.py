"""Probabilities of out-of-fold scores, each calibrated on the other folds, and how far they are off."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import Values, fit_calibration
from reranker.list_calibration import ListCalibration
from reranker.rank_order import rank_order
from reranker.ranker import Kind
from reranker.training_settings import CALIBRATE_ON
from scarmatch.metrics import expected_calibration_error

#: Protocols whose lists' first places teach: a probability is to be right with the own encounter there, and without it.
_ASKINGS = ("all", "other_encounter")
#: Lists from which on first places have a curve of their own.
_FEWEST_LISTS = 50


def fit_list_calibration(scores: Mapping[str, pd.DataFrame], method: str) -> ListCalibration:
    """Fit both curves to out-of-fold scores.

    Args:
        scores: protocol -> frame with query_id, candidate_id, cosine, same and the method's column (see
            :attr:`reranker.training.TrainedRanker.scores`); rows without a score teach nothing.
        method: column of the scores.
    """
    return _fitted(*_teaching(scores, method), method)


def cross_fitted_calibrations(scores: Mapping[str, pd.DataFrame], method: str) -> dict[int, ListCalibration]:
    """Return by fold what :func:`fit_list_calibration` learns of all other folds; none where these hold no match."""
    every, firsts = _teaching(scores, method)
    curves = {}
    for fold in np.unique(np.concatenate([frame["fold"].to_numpy() for frame in scores.values()])):
        others = every[every["fold"] != fold]
        if others["same"].any():
            curves[int(fold)] = _fitted(others, firsts[firsts["fold"] != fold], method)
    return curves


def _teaching(scores: Mapping[str, pd.DataFrame], method: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scored rows that all places are calibrated on, and those that first places are."""
    leading = []
    for name in (asking for asking in _ASKINGS if asking in scores):
        frame = scores[name].dropna(subset=[method])
        leading.append(frame[places_in_lists(frame, method) == 0])
    return scores[CALIBRATE_ON].dropna(subset=[method]), pd.concat(leading, ignore_index=True)


def _fitted(every: pd.DataFrame, firsts: pd.DataFrame, method: str) -> ListCalibration:
    taught = len(firsts) >= _FEWEST_LISTS
    return ListCalibration(
        fit_calibration(every[method], every["same"]),
        fit_calibration(firsts[method], firsts["same"]) if taught else None,
    )


def cross_fitted_probabilities(frame: pd.DataFrame, curves: Mapping[int, ListCalibration], method: str) -> Values:
    """Return (rows,) probabilities of a frame's out-of-fold scores: no individual has a say in its own calibration.

    Args:
        frame: out-of-fold scores of whole lists, without a NaN in the method's column.
        curves: :func:`cross_fitted_calibrations`.
        method: column of the scores.

    Returns:
        NaN where a fold has no calibration.
    """
    probabilities, places = np.full(len(frame), np.nan), places_in_lists(frame, method)
    for fold, calibration in curves.items():
        mask = (frame["fold"] == fold).to_numpy()
        probabilities[mask] = calibration(frame.loc[mask, method], places[mask])
    return probabilities


def places_in_lists(frame: pd.DataFrame, method: str) -> npt.NDArray[np.int64]:
    """Return (rows,) the place of each row in its query's list by a method's scores, from 0."""
    order = rank_order(frame["query_id"], frame[method], frame["cosine"], frame["candidate_id"])
    places = np.empty(len(frame), dtype=np.int64)
    places[order] = frame.iloc[order].groupby("query_id", sort=False).cumcount()
    return places


def calibration_errors(
    frame: pd.DataFrame, curves: Mapping[int, ListCalibration], kind: Kind, top: int
) -> dict[str, float]:
    """Expected calibration errors of cross-fitted probabilities.

    Over all pairs ("pairs"), over the first ``top`` of every list ("shown") and over the first alone ("first"): most
    pairs are hopeless and easily right, so the figure over all pairs flatters.
    """
    scored = frame.dropna(subset=[kind]).reset_index(drop=True)
    probabilities, place = cross_fitted_probabilities(scored, curves, kind), places_in_lists(scored, kind)
    same, errors = scored["same"].to_numpy(), {}
    for name, last in (("pairs", len(scored)), ("shown", top), ("first", 1)):
        rows = (place < last) & ~np.isnan(probabilities)
        errors[name] = expected_calibration_error(probabilities[rows], same[rows])
    return errors
