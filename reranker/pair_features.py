"""From the raw table of pairs to the features of the ranker: one row per (query, candidate).

Every feature is listed in :data:`FEATURES`; NaN means "not known" throughout, never zero. Features that compare a
candidate with the others ("in its list") look at the one query's own list only, so a query's features do not change
when other queries come or go, and they do not depend on the order of rows. Equal values share their mean rank: an
identifier must never become evidence.

Never features: time of day, encounter and individual, because a question about a new photograph does not know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from scarmatch.errors import ScarmatchError

Group = Literal["global", "requery", "nearest", "local", "geometry", "marks", "metadata"]
Values = npt.NDArray[np.float64]

#: Raised whenever a feature changes its meaning under an unchanged name; a saved ranker of another version is refused.
FEATURE_VERSION = 5

REQUIRED_COLUMNS = ("query_id", "candidate_id", "cosine")

VIEWPOINT_PAIRS = ("unknown", "top_top", "same_side", "left_right", "lateral_top", "same_other", "different")
MODEL_KINDS = ("none", "similarity", "affine", "homography")

DAYS_PER_YEAR = 365.25


class PairTableError(ScarmatchError, ValueError):
    """The raw table of pairs cannot be used; the message names the columns or rows."""


@dataclass(frozen=True)
class Feature:
    """One column of the feature table.

    Attributes:
        name: column name.
        unit: unit of the values, "1" for a pure number, "code" for an index into ``categories``.
        group: the kind of evidence it belongs to (the unit of an ablation).
        meaning: one plain sentence.
        monotone: 1 if more of it can only speak for, -1 if it can only speak against the same individual, 0 if open.
        categories: names of the codes 0, 1, ... of an unordered category; empty for a number.
    """

    name: str
    unit: str
    group: Group
    meaning: str
    monotone: Literal[-1, 0, 1] = 0
    categories: tuple[str, ...] = ()


FEATURES: tuple[Feature, ...] = (
    Feature("cosine", "1", "global", "cosine similarity of the two global descriptors", 1),
    Feature(
        "cosine_log_rank", "ln", "global", "logarithm of the candidate's rank by cosine in its list (0 = best)", -1
    ),
    Feature("cosine_to_best", "1", "global", "cosine minus the best cosine of the list", 1),
    Feature(
        "cosine_to_next", "1", "global", "cosine minus the next lower cosine of the list (unknown for the lowest)", 1
    ),
    Feature("cosine_zscore", "sd", "global", "cosine in standard deviations above its list's mean", 1),
    Feature("requery_score", "1", "requery", "similarity after asking again through the query's best candidates", 1),
    Feature("requery_log_rank", "ln", "requery", "logarithm of the rank by re-query score in the list", -1),
    Feature("nearest_log_matches", "ln", "nearest", "ln(1 + keypoints that are each other's nearest)", 1),
    Feature("nearest_similarity", "1", "nearest", "mean cosine of the descriptors of these keypoints"),
    Feature("nearest_sharpness", "matches", "nearest", "sum over them of 1 - distance to the nearest / to the next", 1),
    Feature(
        "nearest_log_plausible_inliers", "ln", "nearest", "ln(1 + those that one placement explains x plausibility)", 1
    ),
    Feature("nearest_inlier_ratio", "1", "nearest", "share of them that the placement explains", 1),
    Feature("nearest_inlier_sharpness", "matches", "nearest", "the sum over those that the placement explains", 1),
    Feature("nearest_residual", "body lengths", "nearest", "median transfer error of those"),
    Feature("nearest_spread_along", "body lengths", "nearest", "standard deviation of those along the body"),
    Feature("nearest_position_gap", "body lengths", "nearest", "median disagreement of position along the body", -1),
    Feature("nearest_mark_share", "1", "nearest", "share of those that lie in mark regions in both photographs"),
    Feature("nearest_log_sure", "ln", "nearest", "ln(1 + neighbours far nearer than the next)", 1),
    Feature("nearest_sure_log_plausible_inliers", "ln", "nearest", "ln(1 + the sure ones explained x plausibility)", 1),
    Feature("nearest_sure_inlier_ratio", "1", "nearest", "share of the sure ones that their placement explains", 1),
    Feature("nearest_sure_inlier_sharpness", "matches", "nearest", "the sum over the sure ones explained", 1),
    Feature("nearest_sure_position_gap", "body lengths", "nearest", "disagreement of the sure ones' position", -1),
    Feature("nearest_zscore", "sd", "nearest", "plausible explained neighbours above their list's mean", 1),
    Feature("nearest_log_rank", "ln", "nearest", "logarithm of the rank by plausible explained neighbours", -1),
    Feature("nearest_sure_zscore", "sd", "nearest", "the same of the sure ones", 1),
    Feature("nearest_sure_log_rank", "ln", "nearest", "the same of the sure ones", -1),
    Feature("nearest_commonness", "ln", "nearest", "mean of the list: how easily the query's keypoints fall into line"),
    Feature("log_matches", "ln", "local", "ln(1 + tentative matches)", 1),
    Feature("log_matches_50", "ln", "local", "ln(1 + matches of confidence above 0.5)", 1),
    Feature("log_matches_80", "ln", "local", "ln(1 + matches of confidence above 0.8)", 1),
    Feature("confidence_sum", "matches", "local", "sum of the matches' confidences", 1),
    Feature("confidence_mean", "1", "local", "mean confidence of a match (unknown without matches)"),
    Feature("match_similarity", "1", "local", "the matcher's own similarity of the pair", 1),
    Feature(
        "matches_per_keypoint", "1", "local", "matches of confidence above 0.5 per keypoint of the poorer photograph", 1
    ),
    Feature("confidence_per_keypoint", "1", "local", "sum of confidences per keypoint of the poorer photograph", 1),
    Feature("log_keypoints_min", "ln", "local", "ln(1 + keypoints of the poorer photograph)"),
    Feature(
        "confidence_sum_zscore", "sd", "local", "sum of confidences in standard deviations above its list's mean", 1
    ),
    Feature("confidence_sum_log_rank", "ln", "local", "logarithm of the rank by sum of confidences in the list", -1),
    Feature("model_ok", "0/1", "geometry", "whether any geometric model was found", 1),
    Feature("model_kind", "code", "geometry", "kind of the geometric model", 0, MODEL_KINDS),
    Feature("log_inliers", "ln", "geometry", "ln(1 + inliers of the geometric model)", 1),
    Feature(
        "log_plausible_inliers", "ln", "geometry", "ln(1 + inliers x plausibility): agreement of two head-up crops", 1
    ),
    Feature("inlier_ratio", "1", "geometry", "inliers per tentative match", 1),
    Feature("inlier_confidence_sum", "matches", "geometry", "sum of the inliers' confidences", 1),
    Feature("residual", "body lengths", "geometry", "median transfer error of the inliers"),
    Feature("spread_along", "body lengths", "geometry", "standard deviation of the inliers along the body", 1),
    Feature("spread_across", "body lengths", "geometry", "standard deviation of the inliers across the body", 1),
    Feature("log_scale", "ln", "geometry", "size of the logarithm of the model's relative scale (0 = same extent)"),
    Feature("rotation", "degrees", "geometry", "size of the model's rotation between the two head-up photographs"),
    Feature("shear", "1", "geometry", "departure of the model from a similarity"),
    Feature("position_gap", "body lengths", "geometry", "median disagreement of position along the body", -1),
    Feature("plausibility", "1", "geometry", "how well scale, rotation and shear fit two head-up crops", 1),
    Feature("geometry_score", "1", "geometry", "the estimator's own quality of the model", 1),
    Feature("inliers_zscore", "sd", "geometry", "inliers in standard deviations above their list's mean", 1),
    Feature("inliers_log_rank", "ln", "geometry", "logarithm of the rank by inliers in the list", -1),
    Feature("mark_share", "1", "marks", "share of inliers that lie in mark regions in both photographs"),
    Feature("marks_log_matches", "ln", "marks", "ln(1 + places of alike skin, each other's nearest)", 1),
    Feature("marks_similarity", "1", "marks", "mean cosine of the skin of these places"),
    Feature("marks_log_inliers", "ln", "marks", "ln(1 + places of alike skin that one placement explains)", 1),
    Feature("marks_log_plausible_inliers", "ln", "marks", "ln(1 + those places x how plausible the placement is)", 1),
    Feature("marks_inlier_ratio", "1", "marks", "share of the places of alike skin that the placement explains", 1),
    Feature("marks_per_place", "1", "marks", "explained places per place of the poorer photograph", 1),
    Feature("marks_residual", "body lengths", "marks", "median transfer error of the explained places"),
    Feature("marks_spread_along", "body lengths", "marks", "standard deviation of the explained places along the body"),
    Feature("marks_position_gap", "body lengths", "marks", "median disagreement of position along the body", -1),
    Feature("marks_plausibility", "1", "marks", "how well the placement fits two head-up crops", 1),
    Feature("marks_aligned", "1", "marks", "mean cosine of the skin once one animal is laid on the other", 1),
    Feature("marks_overlap", "1", "marks", "share of the query's skin that then falls on the candidate's"),
    Feature(
        "marks_flank_best", "1", "marks", "the same mean over the flank that is more alike (the sun lights one only)", 1
    ),
    Feature("marks_flank_other", "1", "marks", "the same mean over the other flank", 1),
    Feature("marks_flanks_log_inliers", "ln", "marks", "ln(1 + explained places of the flank that has fewer)", 1),
    Feature("marks_places_min", "ln", "marks", "ln(1 + places of the poorer photograph)"),
    Feature(
        "marks_zscore", "sd", "marks", "plausible explained places in standard deviations above their list's mean", 1
    ),
    Feature("marks_log_rank", "ln", "marks", "logarithm of the rank by plausible explained places in the list", -1),
    Feature(
        "marks_commonness",
        "ln",
        "marks",
        "mean ln(1 + plausible explained places) of the list: how common the query's marks are",
    ),
    Feature("marks_aligned_zscore", "sd", "marks", "aligned cosine in standard deviations above its list's mean", 1),
    Feature("date_gap_log_days", "ln", "metadata", "ln(1 + days between the photographs)"),
    Feature("same_day", "0/1", "metadata", "whether both were taken on the same day"),
    Feature("season_gap", "days", "metadata", "days between the two days of the year, around the year's end (0..183)"),
    Feature("years_apart", "years", "metadata", "difference of the two calendar years"),
    Feature("viewpoint_pair", "code", "metadata", "the two viewpoints, in either order", 0, VIEWPOINT_PAIRS),
    Feature("log_length0", "ln px", "metadata", "logarithm of the query's longer side"),
    Feature("log_length1", "ln px", "metadata", "logarithm of the candidate's longer side"),
    Feature("log_length_ratio", "ln", "metadata", "size of the logarithm of the two lengths' ratio"),
    Feature("log_length_min", "ln px", "metadata", "logarithm of the shorter of the two lengths"),
    Feature("body_share0", "1", "metadata", "share of the query's pixels that show the body"),
    Feature("body_share1", "1", "metadata", "share of the candidate's pixels that show the body"),
    Feature("sharpness_min", "1", "metadata", "sharpness of the less sharp photograph"),
    Feature("sharpness_log_ratio", "ln", "metadata", "size of the logarithm of the two sharpnesses' ratio"),
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
#: What was found on the skin of two photographs. A flank seen from the side and a back seen from above share next to
#: none of it: what agrees there is outline, light and chance, and is held as unknown.
_ON_THE_SKIN = tuple(entry.name for entry in FEATURES if entry.group in ("nearest", "local", "geometry", "marks"))
GROUPS: tuple[Group, ...] = ("global", "requery", "nearest", "local", "geometry", "marks", "metadata")


def feature(name: str) -> Feature:
    """Return the registry's entry of that name; KeyError if there is none."""
    for entry in FEATURES:
        if entry.name == name:
            return entry
    raise KeyError(f"no feature is called {name!r}")


def build(raw: pd.DataFrame) -> pd.DataFrame:
    """Compute all features of :data:`FEATURES` from the raw table of pairs.

    Args:
        raw: one row per (query_id, candidate_id), each pair once; required beside the two: ``cosine``. Known optional
            columns that are missing make their features NaN; columns not known here are ignored.

    Returns:
        (rows, features) float32 frame with the index of ``raw`` and the columns of :data:`FEATURE_NAMES`, in order.

    Raises:
        PairTableError: a required column is missing, an identifier is missing, or a pair occurs twice.
    """
    _check(raw)
    # One fixed order for every sum: the same numbers to the last bit whatever order the rows came in.
    order = np.lexsort((raw["candidate_id"].astype(str).to_numpy(), raw["query_id"].astype(str).to_numpy()))
    table = raw.iloc[order].reset_index(drop=True)
    columns = {
        **_global(table),
        **_nearest(table),
        **_local(table),
        **_geometry(table),
        **_marks(table),
        **_dates(table),
        **_sizes(table),
        "viewpoint_pair": _viewpoint_pair(table),
    }
    apart = columns["viewpoint_pair"] == VIEWPOINT_PAIRS.index("lateral_top")
    for name in _ON_THE_SKIN:
        columns[name] = np.where(apart, np.nan, columns[name])
    values = np.empty((len(raw), len(FEATURES)), np.float32)
    with np.errstate(over="ignore"):
        values[order] = np.stack([columns[name] for name in FEATURE_NAMES], axis=1)
    values[~np.isfinite(values)] = np.nan
    return pd.DataFrame(values, index=raw.index, columns=list(FEATURE_NAMES))


def _check(raw: pd.DataFrame) -> None:
    missing = [name for name in REQUIRED_COLUMNS if name not in raw.columns]
    if missing:
        present = ", ".join(map(str, raw.columns))
        raise PairTableError(f"the table of pairs lacks the column(s) {', '.join(missing)}; it has: {present}")
    for name in ("query_id", "candidate_id"):
        if raw[name].isna().any():
            raise PairTableError(
                f"column {name!r} of the table of pairs has {int(raw[name].isna().sum())} empty values"
            )
    twice = raw.duplicated(["query_id", "candidate_id"])
    if twice.any():
        first = raw.loc[twice].iloc[0]
        raise PairTableError(
            f"{int(twice.sum())} pair(s) occur twice, first: query {first['query_id']},"
            f" candidate {first['candidate_id']}"
        )


def _column(table: pd.DataFrame, name: str) -> Values:
    """Return a raw column as float64, NaN where unknown or where the column is missing."""
    if name not in table.columns:
        return np.full(len(table), np.nan)
    values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    # One infinite number would spoil the mean of its whole list.
    return np.where(np.isfinite(values), values, np.nan)


def _log(values: Values) -> Values:
    """Natural logarithm; NaN for values that are not positive."""
    return np.log(np.where(values > 0, values, np.nan))


def _ratio(part: Values, whole: Values) -> Values:
    """part / whole, NaN where the whole is not positive."""
    return part / np.where(whole > 0, whole, np.nan)


def _log_rank(table: pd.DataFrame, values: Values) -> Values:
    """Logarithm of the rank (1 = largest, ties share the mean rank) within each query's list; NaN stays NaN."""
    ranks = pd.Series(values).groupby(table["query_id"].to_numpy()).rank(ascending=False, method="average")
    return np.log(ranks.to_numpy(dtype=np.float64))


def _list_mean(table: pd.DataFrame, values: Values) -> Values:
    """Mean of each query's list over what is known."""
    return pd.Series(values).groupby(table["query_id"].to_numpy()).transform("mean").to_numpy(dtype=np.float64)


def _zscore(table: pd.DataFrame, values: Values) -> Values:
    """Standard deviations above the mean of each query's list; 0 where the list does not vary."""
    groups = pd.Series(values).groupby(table["query_id"].to_numpy())
    deviation = groups.transform("std", ddof=0).to_numpy(dtype=np.float64)
    centred = values - groups.transform("mean").to_numpy(dtype=np.float64)
    # Rounding leaves a deviation of about 1e-17 on lists of equal values: that is no variation.
    varies = deviation > 1e-9 * np.maximum(1.0, np.abs(values))
    return np.where(varies, centred / np.where(varies, deviation, 1.0), np.where(np.isnan(values), np.nan, 0.0))


def _to_next(table: pd.DataFrame, values: Values) -> Values:
    """Value minus the next lower (or equal) value of its list; NaN for the lowest."""
    codes = pd.factorize(table["query_id"])[0]
    order = np.lexsort((-values, codes))
    ordered, own = values[order], codes[order]
    gap = np.full(len(values), np.nan)
    if len(values) > 1:
        gap[:-1] = np.where(own[:-1] == own[1:], ordered[:-1] - ordered[1:], np.nan)
        # Equal values share one gap, the one to the next smaller value, as they share one rank.
        for i in range(len(values) - 2, -1, -1):
            if own[i] == own[i + 1] and ordered[i] == ordered[i + 1]:
                gap[i] = gap[i + 1]
    result = np.empty_like(gap)
    result[order] = gap
    return result


def _global(table: pd.DataFrame) -> dict[str, Values]:
    cosine = _column(table, "cosine")
    requery = _column(table, "requery_score")
    best = pd.Series(cosine).groupby(table["query_id"].to_numpy()).transform("max").to_numpy(dtype=np.float64)
    return {
        "cosine": cosine,
        "cosine_log_rank": _log_rank(table, cosine),
        "cosine_to_best": cosine - best,
        "cosine_to_next": _to_next(table, cosine),
        "cosine_zscore": _zscore(table, cosine),
        "requery_score": requery,
        "requery_log_rank": _log_rank(table, requery),
    }


def _nearest(table: pd.DataFrame) -> dict[str, Values]:
    def column(name: str) -> Values:
        return _column(table, f"nearest_{name}")

    agreement = np.log1p(column("inliers") * column("plausibility"))
    sure = np.log1p(column("sure_inliers") * column("sure_plausibility"))
    plain = ("similarity", "sharpness", "inlier_ratio", "inlier_sharpness", "residual", "spread_along", "position_gap")
    more = ("mark_share", "sure_inlier_ratio", "sure_inlier_sharpness", "sure_position_gap")
    return {
        **{f"nearest_{name}": column(name) for name in plain + more},
        "nearest_log_matches": np.log1p(column("matches")),
        "nearest_log_sure": np.log1p(column("sure")),
        "nearest_log_plausible_inliers": agreement,
        "nearest_sure_log_plausible_inliers": sure,
        "nearest_zscore": _zscore(table, agreement),
        "nearest_log_rank": _log_rank(table, agreement),
        "nearest_sure_zscore": _zscore(table, sure),
        "nearest_sure_log_rank": _log_rank(table, sure),
        "nearest_commonness": _list_mean(table, agreement),
    }


def _local(table: pd.DataFrame) -> dict[str, Values]:
    matches, strong = _column(table, "n_matches"), _column(table, "n_matches_50")
    total = _column(table, "confidence_sum")
    keypoints = np.minimum(_column(table, "n_keypoints0"), _column(table, "n_keypoints1"))
    return {
        "log_matches": np.log1p(matches),
        "log_matches_50": np.log1p(strong),
        "log_matches_80": np.log1p(_column(table, "n_matches_80")),
        "confidence_sum": total,
        "confidence_mean": _ratio(total, matches),
        "match_similarity": _column(table, "match_similarity"),
        "matches_per_keypoint": _ratio(strong, keypoints),
        "confidence_per_keypoint": _ratio(total, keypoints),
        "log_keypoints_min": np.log1p(keypoints),
        "confidence_sum_zscore": _zscore(table, total),
        "confidence_sum_log_rank": _log_rank(table, total),
    }


def _geometry(table: pd.DataFrame) -> dict[str, Values]:
    inliers = _column(table, "n_inliers")
    kinds = np.full(len(table), np.nan)
    if "model_kind" in table.columns:
        code = {name: float(i) for i, name in enumerate(MODEL_KINDS)}
        kinds = np.array([code.get(kind, np.nan) for kind in table["model_kind"]], dtype=np.float64)
    plain = ("model_ok", "inlier_ratio", "inlier_confidence_sum", "residual", "spread_along", "spread_across", "shear")
    more = ("position_gap", "plausibility", "geometry_score", "mark_share")
    return {
        **{name: _column(table, name) for name in plain + more},
        "model_kind": kinds,
        "log_inliers": np.log1p(inliers),
        "log_plausible_inliers": np.log1p(inliers * _column(table, "plausibility")),
        "log_scale": np.abs(_log(_column(table, "scale"))),
        "rotation": np.abs(_column(table, "rotation")),
        "inliers_zscore": _zscore(table, inliers),
        "inliers_log_rank": _log_rank(table, inliers),
    }


def _marks(table: pd.DataFrame) -> dict[str, Values]:
    inliers, plausibility = _column(table, "marks_inliers"), _column(table, "marks_plausibility")
    places = np.minimum(_column(table, "marks_places0"), _column(table, "marks_places1"))
    agreement = np.log1p(inliers * plausibility)
    flanks = np.stack([_column(table, f"marks_aligned_{side}") for side in ("left", "right")])
    fewer = np.minimum(_column(table, "marks_inliers_left"), _column(table, "marks_inliers_right"))
    plain = ("similarity", "inlier_ratio", "residual", "spread_along", "position_gap", "plausibility")
    return {
        **{f"marks_{name}": _column(table, f"marks_{name}") for name in (*plain, "aligned", "overlap")},
        "marks_log_matches": np.log1p(_column(table, "marks_matches")),
        "marks_log_inliers": np.log1p(inliers),
        "marks_log_plausible_inliers": agreement,
        "marks_per_place": _ratio(inliers, places),
        "marks_flank_best": np.fmax(*flanks),
        "marks_flank_other": np.minimum(*flanks),
        "marks_flanks_log_inliers": np.log1p(fewer),
        "marks_commonness": _list_mean(table, agreement),
        "marks_places_min": np.log1p(places),
        "marks_zscore": _zscore(table, agreement),
        "marks_log_rank": _log_rank(table, agreement),
        "marks_aligned_zscore": _zscore(table, _column(table, "marks_aligned")),
    }


def _dates(table: pd.DataFrame) -> dict[str, Values]:
    missing = pd.Series(pd.NaT, index=table.index, dtype="datetime64[ns]")
    date0, date1 = (
        pd.to_datetime(table[name]).dt.normalize() if name in table.columns else missing for name in ("date0", "date1")
    )
    days = (date1 - date0).abs().dt.days.to_numpy(dtype=np.float64, na_value=np.nan)
    of_year = [date.dt.day_of_year.to_numpy(dtype=np.float64, na_value=np.nan) for date in (date0, date1)]
    years = [date.dt.year.to_numpy(dtype=np.float64, na_value=np.nan) for date in (date0, date1)]
    season = np.abs(of_year[0] - of_year[1])
    return {
        "date_gap_log_days": np.log1p(days),
        "same_day": np.where(np.isnan(days), np.nan, (days == 0).astype(np.float64)),
        "season_gap": np.minimum(season, np.abs(DAYS_PER_YEAR - season)),
        "years_apart": np.abs(years[0] - years[1]),
    }


def _sizes(table: pd.DataFrame) -> dict[str, Values]:
    # The crops are tight, so the longer side is the animal's length whatever way the photograph lies.
    lengths = [_log(np.fmax(_column(table, f"width{i}"), _column(table, f"height{i}"))) for i in (0, 1)]
    sharpness = [_column(table, f"sharpness{i}") for i in (0, 1)]
    return {
        "log_length0": lengths[0],
        "log_length1": lengths[1],
        "log_length_ratio": np.abs(lengths[0] - lengths[1]),
        "log_length_min": np.minimum(lengths[0], lengths[1]),
        "body_share0": _column(table, "body_share0"),
        "body_share1": _column(table, "body_share1"),
        "sharpness_min": np.minimum(sharpness[0], sharpness[1]),
        "sharpness_log_ratio": np.abs(_log(sharpness[0]) - _log(sharpness[1])),
    }


def _viewpoint_pair(table: pd.DataFrame) -> Values:
    """Codes into :data:`VIEWPOINT_PAIRS`; an absent or empty viewpoint makes the pair "unknown"."""
    if "viewpoint0" not in table.columns or "viewpoint1" not in table.columns:
        return np.zeros(len(table))
    code = {name: float(i) for i, name in enumerate(VIEWPOINT_PAIRS)}
    known: dict[tuple[str, str], float] = {}
    result = np.empty(len(table))
    views = [
        table[name].astype(object).where(table[name].notna(), "").astype(str) for name in ("viewpoint0", "viewpoint1")
    ]
    for i, pair in enumerate(zip(*views, strict=True)):
        if pair not in known:
            known[pair] = code[viewpoint_pair(*pair)]
        result[i] = known[pair]
    return result


def viewpoint_pair(view0: str, view1: str) -> str:
    """Return the name of two viewpoints' pair, one of :data:`VIEWPOINT_PAIRS`; "" stands for an unknown viewpoint."""
    sides = {"left", "right"}
    if not view0 or not view1:
        return "unknown"
    if view0 == view1:
        return "top_top" if view0 == "top" else "same_side" if view0 in sides else "same_other"
    if {view0, view1} == sides:
        return "left_right"
    if "top" in (view0, view1) and (view0 in sides or view1 in sides):
        return "lateral_top"
    return "different"
