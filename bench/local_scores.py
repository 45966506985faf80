"""What each matcher alone says of a pair, and what all of them say together with weights fitted on other whales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.training.data import fold_of
from reranker.local_evidence import FIRST_STAGE_TERMS, TERMS, cross_fitted

Floats = npt.NDArray[np.float64]
#: Terms of the matchers that see every candidate of a list.
FIRST_STAGE = tuple(FIRST_STAGE_TERMS)
EVERYTHING = tuple(TERMS)


def lightglue_score(numbers: pd.DataFrame) -> Floats:
    """Return what LightGlue says: ln(1 + inliers x plausibility), ties by the sum of the confidences."""
    return _with_ties(numbers, "lightglue", np.log1p(numbers["lightglue_confidence_sum"].to_numpy(float)))


def skin_score(numbers: pd.DataFrame) -> Floats:
    """Return what dense skin descriptors say: ln(1 + explained places x plausibility), ties by their likeness."""
    return _with_ties(numbers, "skin", np.nan_to_num(numbers["skin_aligned_similarity"].to_numpy(float)))


def mutual_nn_score(numbers: pd.DataFrame) -> Floats:
    """Return what mutual nearest neighbours of keypoints say: ln(1 + inliers x plausibility), ties by confidence."""
    return _with_ties(numbers, "mutual_nn", np.log1p(numbers["mutual_nn_confidence_sum"].to_numpy(float)))


def plain_score(numbers: pd.DataFrame) -> Floats:
    """Return all matchers' scores added up, nothing fitted: local evidence before any whale was learned from."""
    return lightglue_score(numbers) + mutual_nn_score(numbers) + skin_score(numbers)


def _with_ties(numbers: pd.DataFrame, matcher: str, ties: Floats) -> Floats:
    inliers, plausibility = (numbers[f"{matcher}_{name}"].to_numpy(float) for name in ("inliers", "plausibility"))
    return np.nan_to_num(np.log1p(inliers * plausibility) + 1e-3 * ties)


def honest_score(
    numbers: pd.DataFrame,
    same: npt.NDArray[np.bool_],
    individuals: npt.NDArray[np.str_],
    learns: npt.NDArray[np.bool_],
    terms: Sequence[str] = EVERYTHING,
    repeats: int = 8,
) -> Floats:
    """Return the local evidence of pairs by weights that were fitted without the whales that they score.

    Which whales fall into one fold moves the rates by 0.01 to 0.02, so the mean over several divisions is taken.

    Args:
        numbers: the pairs' measurements (:meth:`scarmatch.Matcher.compare`).
        same: (pairs,) true pairs.
        individuals: (pairs,) that of each pair's first photograph.
        learns: (pairs,) those that weights may be fitted on.
        terms: that are weighed.
        repeats: divisions into five folds.
    """
    scores = []
    for seed in range(repeats):
        folds = np.array([fold_of(name, 5, seed) for name in individuals], np.int64)
        scores.append(cross_fitted(numbers, same, folds, learns, terms))
    return np.asarray(np.mean(scores, axis=0), np.float64)
