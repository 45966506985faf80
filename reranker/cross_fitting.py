"""Probabilities of out-of-fold scores, each calibrated on the other folds, and how far they are off."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import Values, fit_calibration
from reranker.ranker import Kind, rank_order
from scarmatch.metrics import expected_calibration_error


def cross_fitted_probabilities(frame: pd.DataFrame, base: pd.DataFrame, method: str) -> Values:
    """Return (rows,) probabilities of a frame's out-of-fold scores: no individual has a say in its own calibration.

    Args:
        frame: out-of-fold scores (:attr:`TrainedRanker.scores`) without a NaN in the method's column.
        base: the protocol's frame that calibrations are fitted on, each on the other folds; rows without a score
            teach nothing.
        method: column of the scores.

    Returns:
        NaN where the other folds hold no match.
    """
    probabilities = np.full(len(frame), np.nan)
    for fold in np.unique(frame["fold"]):
        mask = (frame["fold"] == fold).to_numpy()
        others = base.loc[base["fold"] != fold].dropna(subset=[method])
        if others["same"].any():
            probabilities[mask] = fit_calibration(others[method], others["same"])(frame.loc[mask, method])
    return probabilities


def places_in_lists(frame: pd.DataFrame, method: str) -> npt.NDArray[np.int64]:
    """Return (rows,) the place of each row in its query's list by a method's scores, from 0."""
    order = rank_order(frame["query_id"], frame[method], frame["cosine"], frame["candidate_id"])
    places = np.empty(len(frame), dtype=np.int64)
    places[order] = frame.iloc[order].groupby("query_id", sort=False).cumcount()
    return places


def calibration_errors(frame: pd.DataFrame, base: pd.DataFrame, kind: Kind, top: int) -> dict[str, float]:
    """Expected calibration errors of cross-fitted probabilities.

    Over all pairs ("pairs"), over the first ``top`` of every list ("shown") and over the first alone ("first"): most
    pairs are hopeless and easily right, so the figure over all pairs flatters.
    """
    scored = frame.dropna(subset=[kind]).reset_index(drop=True)
    probabilities, place = cross_fitted_probabilities(scored, base, kind), places_in_lists(scored, kind)
    same, errors = scored["same"].to_numpy(), {}
    for name, last in (("pairs", len(scored)), ("shown", top), ("first", 1)):
        rows = (place < last) & ~np.isnan(probabilities)
        errors[name] = expected_calibration_error(probabilities[rows], same[rows])
    return errors
