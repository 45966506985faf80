"""What is measured of a pair of photographs: the one registry of names, units, meanings and getters.

Every matcher measures the same things (:data:`COMMON`) and perhaps some of its own; a column of the pair table is
called ``{matcher}_{name}``. The pair worker's records, the pair cache and the pair table are made from this registry,
and they are reached by name everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.matching.dense import AlignedSkin
from engine.records import Correspondences, Verification
from features.records import LocalFeatures
from scarmatch.vocabulary import MODEL_KINDS

MatcherName = Literal["skin", "mutual_nn", "lightglue"]
SKIN: MatcherName = "skin"
MUTUAL_NN: MatcherName = "mutual_nn"
LIGHTGLUE: MatcherName = "lightglue"

#: The cheap matchers, which see every candidate of a list.
FIRST_STAGE: tuple[MatcherName, ...] = (SKIN, MUTUAL_NN)
#: All of them; LightGlue, thirty times as slow, re-scores the best candidates.
MATCHERS: tuple[MatcherName, ...] = (*FIRST_STAGE, LIGHTGLUE)


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """Two photographs, what a matcher found between them, and what the verification says of it.

    Attributes:
        features0, features1: query and candidate.
        matches: tentative matches.
        verification: of these matches.
        distinctive: of the mutual nearest neighbours, those that pass the ratio test with a verification of their own;
            None for other matchers.
        aligned: of the skin, how alike it is once one animal is laid on the other; None for other matchers.
    """

    features0: LocalFeatures
    features1: LocalFeatures
    matches: Correspondences
    verification: Verification
    distinctive: MatchedPair | None = None
    aligned: AlignedSkin | None = None


@dataclass(frozen=True)
class Measurement:
    """One number of a pair.

    Attributes:
        name: what it is called; the pair table puts the matcher's name before it.
        unit: "1" for a pure number, "code" for an index into ``categories``.
        meaning: one plain phrase.
        get: reads it off a pair.
        categories: names of the codes; the pair table holds the names.
    """

    name: str
    unit: str
    meaning: str
    get: Callable[[MatchedPair], float]
    categories: tuple[str, ...] = ()


#: What every matcher measures. "Keypoints" are the places of the grid where a matcher compares skin.
COMMON: tuple[Measurement, ...] = (
    Measurement("keypoints0", "keypoints", "keypoints of the query", lambda p: len(p.features0)),
    Measurement("keypoints1", "keypoints", "keypoints of the candidate", lambda p: len(p.features1)),
    Measurement("matches", "matches", "tentative matches", lambda p: len(p.matches)),
    Measurement("confidence_sum", "matches", "sum of their confidences", lambda p: p.matches.confidence.sum()),
    Measurement("similarity", "1", "the matcher's own similarity of the pair", lambda p: p.matches.similarity),
    Measurement("model_found", "0/1", "whether any geometric model was found", lambda p: p.verification.ok),
    Measurement(
        "model_kind",
        "code",
        "kind of the geometric model",
        lambda p: MODEL_KINDS.index(p.verification.kind),
        MODEL_KINDS,
    ),
    Measurement("inliers", "matches", "inliers of the geometric model", lambda p: p.verification.n_inliers),
    Measurement("inlier_ratio", "1", "inliers per tentative match", lambda p: p.verification.inlier_ratio),
    Measurement(
        "inlier_confidence_sum", "matches", "sum of the inliers' confidences", lambda p: p.verification.confidence_sum
    ),
    Measurement("residual", "body lengths", "median transfer error of the inliers", lambda p: p.verification.residual),
    Measurement(
        "spread_along",
        "body lengths",
        "standard deviation of the inliers along the body",
        lambda p: p.verification.spread_along,
    ),
    Measurement(
        "spread_across",
        "body lengths",
        "standard deviation of the inliers across the body",
        lambda p: p.verification.spread_across,
    ),
    Measurement("scale", "1", "scale of the model, 1 = same extent", lambda p: p.verification.scale),
    Measurement(
        "rotation", "degrees", "rotation of the model between head-up views", lambda p: p.verification.rotation
    ),
    Measurement("shear", "1", "departure of the model from a similarity", lambda p: p.verification.shear),
    Measurement(
        "position_gap",
        "body lengths",
        "median disagreement of the inliers' position along the body",
        lambda p: p.verification.position_gap,
    ),
    Measurement(
        "mark_share", "1", "share of inliers in mark regions of both views", lambda p: p.verification.mark_share
    ),
    Measurement(
        "plausibility", "1", "how well the model fits two head-up crops", lambda p: p.verification.plausibility
    ),
    Measurement("model_score", "1", "the estimator's own quality of the model", lambda p: p.verification.score),
)


def _aligned(pair: MatchedPair) -> AlignedSkin:
    return pair.aligned if pair.aligned is not None else AlignedSkin()


def _distinctive(pair: MatchedPair) -> MatchedPair:
    if pair.distinctive is None:
        raise ValueError("the pair comes without its distinctive matches")
    return pair.distinctive


def _inliers_across(pair: MatchedPair) -> npt.NDArray[np.floating]:
    """Return the inliers' places across the body of view 0: the left flank is negative."""
    return pair.features0.on_body[pair.matches.indices[pair.verification.inliers, 0], 1]


#: What is measured of the distinctive matches (Lowe, IJCV 2004: those that pass the ratio test) by themselves.
_DISTINCTIVE = ("matches", "inliers", "inlier_ratio", "inlier_confidence_sum", "position_gap", "plausibility")


def _of_distinctive(common: Measurement) -> Measurement:
    meaning = f"{common.meaning}, of the distinctive matches alone"
    return Measurement(f"distinctive_{common.name}", common.unit, meaning, lambda p: common.get(_distinctive(p)))


_OWN: Mapping[MatcherName, tuple[Measurement, ...]] = {
    "skin": (
        Measurement(
            "aligned_similarity",
            "1",
            "mean cosine of the skin once one animal is laid on the other",
            lambda p: _aligned(p).similarity,
        ),
        Measurement(
            "overlap",
            "1",
            "share of the query's skin that then falls on the candidate's",
            lambda p: _aligned(p).overlap,
        ),
        Measurement("aligned_left", "1", "that mean cosine over the left flank", lambda p: _aligned(p).left),
        Measurement("aligned_right", "1", "that mean cosine over the right flank", lambda p: _aligned(p).right),
        Measurement("inliers_left", "matches", "inliers on the left flank", lambda p: (_inliers_across(p) < 0).sum()),
        Measurement("inliers_right", "matches", "inliers on the right flank", lambda p: (_inliers_across(p) > 0).sum()),
    ),
    "mutual_nn": tuple(_of_distinctive(common) for common in COMMON if common.name in _DISTINCTIVE),
    "lightglue": (
        Measurement(
            "matches_50", "matches", "matches of confidence above 0.5", lambda p: (p.matches.confidence > 0.5).sum()
        ),
        Measurement(
            "matches_80", "matches", "matches of confidence above 0.8", lambda p: (p.matches.confidence > 0.8).sum()
        ),
    ),
}

#: Everything that is measured, by matcher.
MEASUREMENTS: Mapping[MatcherName, tuple[Measurement, ...]] = MappingProxyType(
    {matcher: COMMON + _OWN[matcher] for matcher in MATCHERS}
)


def record_type(matcher: MatcherName) -> np.dtype:
    """Return the type of one pair's record: a float32 field for every measurement, NaN where it is unknown."""
    return np.dtype([(measurement.name, np.float32) for measurement in MEASUREMENTS[matcher]])


def measure(matcher: MatcherName, pairs: Sequence[MatchedPair]) -> npt.NDArray[Any]:
    """Measure pairs; returns their (pairs,) records of :func:`record_type`."""
    rows = [tuple(measurement.get(pair) for measurement in MEASUREMENTS[matcher]) for pair in pairs]
    return np.array(rows, record_type(matcher))


def unmeasured(matcher: MatcherName, count: int) -> npt.NDArray[Any]:
    """Return the (count,) records of pairs that were not matched: all NaN."""
    return np.full(count, np.nan, record_type(matcher))


def columns(matcher: MatcherName, records: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Return (pairs,) records as the pair table's columns ``{matcher}_{name}``; NaN, or None for a name, if unknown."""
    table: dict[str, npt.NDArray[Any]] = {}
    for measurement in MEASUREMENTS[matcher]:
        values = np.ascontiguousarray(records[measurement.name])
        if measurement.categories:
            names = np.array([*measurement.categories, None], object)
            values = names[np.where(np.isnan(values), len(measurement.categories), values).astype(int)]
        table[f"{matcher}_{measurement.name}"] = values
    return table
