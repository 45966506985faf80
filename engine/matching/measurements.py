"""What is measured of a pair of photographs: the one registry of names, units, meanings and getters.

Every matcher measures the same things (:data:`COMMON`) and perhaps some of its own; a column of the pair table is
called ``{matcher}_{name}``. The pair worker's records, the pair cache and the pair table are made from this registry,
and they are reached by name everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from engine.matching import block_correlation
from engine.matching.matched import AlignedSkin, MatchedList
from scarmatch.vocabulary import MODEL_KINDS

MatcherName = Literal["skin", "mutual_nn", "lightglue"]
SKIN: MatcherName = "skin"
MUTUAL_NN: MatcherName = "mutual_nn"
LIGHTGLUE: MatcherName = "lightglue"

#: The cheap matchers: keypoints of every candidate of a list, and the skin of the best of them.
FIRST_STAGE: tuple[MatcherName, ...] = (SKIN, MUTUAL_NN)
#: All of them; LightGlue, thirty times as slow, re-scores the best candidates.
MATCHERS: tuple[MatcherName, ...] = (*FIRST_STAGE, LIGHTGLUE)


@dataclass(frozen=True)
class Measurement:
    """One number of a pair.

    Attributes:
        name: what it is called; the pair table puts the matcher's name before it.
        unit: "1" for a pure number, "code" for an index into ``categories``.
        meaning: one plain phrase.
        get: reads the (P,) values off a list of pairs.
        categories: names of the codes; the pair table holds the names.
    """

    name: str
    unit: str
    meaning: str
    get: Callable[[MatchedList], npt.NDArray[Any]]
    categories: tuple[str, ...] = ()


def _verified(name: str, unit: str, meaning: str, field: str | None = None) -> Measurement:
    """Return a number of the verification, which is called by another name there if ``field`` says so."""
    return Measurement(name, unit, meaning, lambda m: m.verified.numbers[field or name])


#: What every matcher measures. "Keypoints" are the places of the grid where a matcher compares skin.
COMMON: tuple[Measurement, ...] = (
    Measurement("keypoints0", "keypoints", "keypoints of the query", lambda m: m.keypoints0),
    Measurement("keypoints1", "keypoints", "keypoints of the candidate", lambda m: m.keypoints1),
    Measurement("matches", "matches", "tentative matches", lambda m: np.diff(m.offsets)),
    Measurement("confidence_sum", "matches", "sum of their confidences", lambda m: m.confidence_sums()),
    Measurement("similarity", "1", "the matcher's own similarity of the pair", lambda m: m.similarity),
    Measurement("model_found", "0/1", "whether any geometric model was found", lambda m: m.verified.found),
    Measurement("model_kind", "code", "kind of the geometric model", lambda m: m.verified.kinds + 1, MODEL_KINDS),
    _verified("inliers", "matches", "inliers of the geometric model", "n_inliers"),
    _verified("inlier_ratio", "1", "inliers per tentative match"),
    _verified("inlier_confidence_sum", "matches", "sum of the inliers' confidences", "confidence_sum"),
    _verified("residual", "body lengths", "median transfer error of the inliers"),
    _verified("spread_along", "body lengths", "standard deviation of the inliers along the body"),
    _verified("spread_across", "body lengths", "standard deviation of the inliers across the body"),
    _verified("scale", "1", "scale of the model, 1 = same extent"),
    _verified("rotation", "degrees", "rotation of the model between head-up views"),
    _verified("shear", "1", "departure of the model from a similarity"),
    _verified("position_gap", "body lengths", "median disagreement of the inliers' position along the body"),
    _verified("mark_share", "1", "share of inliers in mark regions of both views"),
    _verified("plausibility", "1", "how well the model fits two head-up crops"),
    _verified("model_score", "1", "the estimator's own quality of the model", "score"),
)


def _distinctive(matched: MatchedList) -> MatchedList:
    if matched.distinctive is None:
        raise ValueError("the pairs come without their distinctive matches")
    return matched.distinctive


def _aligned(name: str, meaning: str) -> Measurement:
    """Return a number of :class:`engine.matching.matched.AlignedSkin`."""

    def get(matched: MatchedList) -> npt.NDArray[Any]:
        pairs = matched.aligned if matched.aligned is not None else [AlignedSkin()] * len(matched)
        return np.array([getattr(pair, name) for pair in pairs], np.float64)

    return Measurement(name if name == "overlap" else f"aligned_{name}", "1", meaning, get)


def _inliers_across(matched: MatchedList, flank: int) -> npt.NDArray[Any]:
    """Return how many inliers lie on the left (-1) or the right (+1) flank of view 0."""
    if matched.across0 is None:
        raise ValueError("the pairs come without the places of their matches across the body")
    return matched.count(matched.verified.inliers & (flank * matched.across0 > 0))


#: What is measured of the distinctive matches (Lowe, IJCV 2004: those that pass the ratio test) by themselves.
_DISTINCTIVE = ("matches", "inliers", "inlier_ratio", "inlier_confidence_sum", "position_gap", "plausibility")


def _of_distinctive(common: Measurement) -> Measurement:
    meaning = f"{common.meaning}, of the distinctive matches alone"
    return Measurement(f"distinctive_{common.name}", common.unit, meaning, lambda m: common.get(_distinctive(m)))


def _correlation(number: int, name: str) -> Measurement:
    """Return a column of :func:`engine.matching.block_correlation.correlations`."""

    def get(matched: MatchedList) -> npt.NDArray[Any]:
        if matched.correlation is None:  # keypoints alone were compared
            return np.full(len(matched), np.nan)
        return matched.correlation[:, number]

    return Measurement(name, block_correlation.UNITS[name], block_correlation.MEANINGS[name], get)


_OWN: Mapping[MatcherName, tuple[Measurement, ...]] = {
    "skin": (
        _aligned("similarity", "mean cosine of the skin once one animal is laid on the other"),
        _aligned("overlap", "share of the query's skin that then falls on the candidate's"),
        _aligned("left", "that mean cosine over the left flank"),
        _aligned("right", "that mean cosine over the right flank"),
        Measurement("inliers_left", "matches", "inliers on the left flank", lambda m: _inliers_across(m, -1)),
        Measurement("inliers_right", "matches", "inliers on the right flank", lambda m: _inliers_across(m, 1)),
    ),
    "mutual_nn": (
        *(_of_distinctive(common) for common in COMMON if common.name in _DISTINCTIVE),
        *(_correlation(number, name) for number, name in enumerate(block_correlation.NAMES)),
    ),
    "lightglue": (
        Measurement("matches_50", "matches", "matches of confidence above 0.5", lambda m: m.count(m.confidence > 0.5)),
        Measurement("matches_80", "matches", "matches of confidence above 0.8", lambda m: m.count(m.confidence > 0.8)),
    ),
}

#: Everything that is measured, by matcher.
MEASUREMENTS: Mapping[MatcherName, tuple[Measurement, ...]] = MappingProxyType(
    {matcher: COMMON + _OWN[matcher] for matcher in MATCHERS}
)


def record_type(matcher: MatcherName) -> np.dtype:
    """Return the type of one pair's record: a float32 field for every measurement, NaN where it is unknown."""
    return np.dtype([(measurement.name, np.float32) for measurement in MEASUREMENTS[matcher]])


def measure(matcher: MatcherName, matched: MatchedList) -> npt.NDArray[Any]:
    """Measure a list of pairs; returns their (pairs,) records of :func:`record_type`."""
    records = unmeasured(matcher, len(matched))
    for measurement in MEASUREMENTS[matcher]:
        records[measurement.name] = measurement.get(matched)
    return records


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
