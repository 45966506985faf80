"""WildFusion's rule, the baseline: a fusion of global and local evidence, for when no trained ranker applies.

The rule of WildFusion (Cermak et al., 2024): turn the global similarity and the number of local matches into
probabilities, each by its own logistic curve, and take their mean. A trained ranker fits one kind of keypoints and one
descriptor; this rule works with any, at the price of a rough probability.

Cosine similarities of different descriptors do not compare (0.7 to 0.95 with ImageNet weights, 0 to 1 after metric
learning), so the curve of the global evidence reads the cosine's **z-score within the query's own list**.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.calibration import Values, fit_platt, log_odds, sigmoid
from reranker.pair_features import build
from scarmatch.settings import Settings


@dataclass(frozen=True)
class FusionSettings(Settings):
    """The two logistic curves ``sigmoid(slope * x + offset)``.

    Attributes:
        global_slope, global_offset: over the cosine's z-score within the list. The defaults give 1 % to an average
            candidate, 18 % at three and 62 % at five standard deviations above the list's mean.
        local_slope, local_offset: over ln(1 + local count). The defaults give 2 % at 5 inliers (two animals easily
            agree in so many), 20 % at 30 and 60 % at 100.
    """

    global_slope: float = 1.0
    global_offset: float = -4.5
    local_slope: float = 1.5
    local_offset: float = -6.5


#: What the local evidence is read from: the larger of the first two where verified, else the first that is known.
_COUNTS = (
    "lightglue_inliers_log1p",
    "mutual_nn_distinctive_agreement",
    "lightglue_matches_50_log1p",
    "lightglue_matches_log1p",
)


def local_evidence(features: pd.DataFrame) -> Values:
    """Return ln(1 + count) per row: :func:`local_source` without the names."""
    return local_source(features)[1]


def local_source(features: pd.DataFrame) -> tuple[npt.NDArray[np.object_], Values]:
    """Return, per row, the feature that the local evidence is read from and its value, ln(1 + count).

    It is LightGlue's inliers or those among the distinctive nearest neighbours, whichever are more; where neither was
    verified matches of confidence above 0.5, else all matches. NaN (and the last name) where nothing is known.
    """
    inliers, nearest, strong, every = (features[name].to_numpy(dtype=np.float64) for name in _COUNTS)
    names = np.full(len(features), _COUNTS[3], object)
    values = every
    for name, better in ((_COUNTS[2], strong), (_COUNTS[1], nearest)):
        measured = ~np.isnan(better)
        names, values = np.where(measured, name, names), np.where(measured, better, values)
    more = ~np.isnan(inliers) & ~(nearest > inliers)
    return np.where(more, _COUNTS[0], names), np.where(more, inliers, values)


def wildfusion_baseline(raw: pd.DataFrame, settings: FusionSettings | None = None) -> pd.DataFrame:
    """Score the raw table of pairs without any trained model: :func:`fuse` of its features."""
    return fuse(build(raw), settings)


def fuse(features: pd.DataFrame, settings: FusionSettings | None = None) -> pd.DataFrame:
    """Score pairs without any trained model.

    Args:
        features: as :func:`reranker.pair_features.build` returns them; only cosine and local counts are read.

    Returns:
        Frame with the index of ``features``: "score" (log-odds of the estimate) and "probability" (the estimate: mean
        of the two curves, or the one whose evidence is known; without any, the curve at an average cosine).
    """
    settings = settings or FusionSettings()
    zscore = features["cosine_zscore"].to_numpy(dtype=np.float64)
    local = local_evidence(features)
    by_cosine = sigmoid(settings.global_slope * np.nan_to_num(zscore, nan=0.0) + settings.global_offset)
    by_count = sigmoid(settings.local_slope * local + settings.local_offset)
    mean = np.where(np.isnan(zscore), by_count, (by_cosine + by_count) / 2)
    mean = np.where(np.isnan(local), by_cosine, mean)
    return pd.DataFrame({"score": log_odds(mean), "probability": mean}, index=features.index)


def fit_fusion(features: pd.DataFrame, labels: npt.ArrayLike) -> FusionSettings:
    """Fit the two curves on labelled pairs by Platt's method (the calibrated mean as a fair baseline).

    Args:
        features: as :func:`reranker.pair_features.build` returns them (made of whole lists; here any part of the rows).
        labels: (rows,) True where both show the same individual.
    """
    same = np.asarray(labels).astype(bool)
    zscore, local = features["cosine_zscore"].to_numpy(dtype=np.float64), local_evidence(features)
    changes: dict[str, float] = {}
    for name, values in (("global", zscore), ("local", local)):
        measured = ~np.isnan(values)
        if measured.any():
            slope, offset = fit_platt(values[measured], same[measured])
            changes |= {f"{name}_slope": slope, f"{name}_offset": offset}
    return FusionSettings(**changes)
