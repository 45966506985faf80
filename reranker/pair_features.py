"""From the raw table of pairs to the features of the ranker: one row per (query, candidate).

Every feature is listed in :data:`reranker.feature_registry.FEATURES`; NaN means "not known" throughout, never zero.
Features that compare a candidate with the others ("in its list") look at the one query's own list only, so a query's
features do not change when other queries come or go, and they do not depend on the order of rows. Equal values share
their mean rank: an identifier must never become evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from reranker.feature_registry import FEATURE_NAMES, FEATURES, VIEWPOINT_PAIRS
from scarmatch.errors import ScarmatchError
from scarmatch.vocabulary import MODEL_KINDS

Values = npt.NDArray[np.float64]
#: Gives a column of the raw pair table, or a quantity made of several, as float64.
Read = Callable[[str], Values]

REQUIRED_COLUMNS = ("query_id", "candidate_id", "cosine")
DAYS_PER_YEAR = 365.25

#: What was found on the skin of two photographs. A flank seen from the side and a back seen from above share next to
#: none of it: what agrees there is outline, light and chance, and is held as unknown.
_ON_THE_SKIN = tuple(entry.name for entry in FEATURES if entry.group in ("mutual_nn", "lightglue", "skin"))


class PairTableError(ScarmatchError, ValueError):
    """The raw table of pairs cannot be used; the message names the columns or rows."""


def build(raw: pd.DataFrame) -> pd.DataFrame:
    """Compute all features from the raw table of pairs.

    Args:
        raw: one row per (query_id, candidate_id), each pair once; required beside the two: ``cosine``. Known optional
            columns that are missing make their features NaN; columns not known here are ignored.

    Returns:
        (rows, features) float32 frame with the index of ``raw`` and the columns of
        :data:`reranker.feature_registry.FEATURE_NAMES`, in order.

    Raises:
        PairTableError: a required column is missing, an identifier is missing, or a pair occurs twice.
    """
    _check(raw)
    # One fixed order for every sum: the same numbers to the last bit whatever order the rows came in.
    order = np.lexsort((raw["candidate_id"].astype(str).to_numpy(), raw["query_id"].astype(str).to_numpy()))
    table = raw.iloc[order].reset_index(drop=True)
    read = quantities(table)
    features = {entry.name: DERIVATIONS[entry.derivation](table, read(entry.source)) for entry in FEATURES}
    apart = features["viewpoint_pair"] == VIEWPOINT_PAIRS.index("lateral_top")
    for name in _ON_THE_SKIN:
        features[name] = np.where(apart, np.nan, features[name])
    values = np.empty((len(raw), len(FEATURES)), np.float32)
    with np.errstate(over="ignore"):
        values[order] = np.stack([features[name] for name in FEATURE_NAMES], axis=1)
    values[~np.isfinite(values)] = np.nan
    return pd.DataFrame(values, index=raw.index, columns=list(FEATURE_NAMES))


def quantities(table: pd.DataFrame) -> Read:
    """Return what reads the quantities of a raw pair table by name: its columns, and :data:`QUANTITIES`."""
    columns: dict[str, Values] = {}

    def read(name: str) -> Values:
        if name not in columns:
            make = QUANTITIES.get(name)
            special = _SPECIAL.get(name)
            columns[name] = make(read) if make else special(table) if special else _column(table, name)
        return columns[name]

    return read


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


def _to_best(table: pd.DataFrame, values: Values) -> Values:
    """Value minus the best of its list."""
    best = pd.Series(values).groupby(table["query_id"].to_numpy()).transform("max").to_numpy(dtype=np.float64)
    return values - best


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


def _agreement(matcher: str) -> Callable[[Read], Values]:
    """ln(1 + inliers x plausibility): agreement of two head-up crops."""
    return lambda read: np.log1p(read(f"{matcher}_inliers") * read(f"{matcher}_plausibility"))


def _fewer(first: str, second: str) -> Callable[[Read], Values]:
    return lambda read: np.minimum(read(first), read(second))


def _per(part: str, whole: str) -> Callable[[Read], Values]:
    return lambda read: _ratio(read(part), read(whole))


def _log_length(side: int) -> Callable[[Read], Values]:
    # The crops are tight, so the longer side is the animal's length whatever way the photograph lies.
    return lambda read: _log(np.fmax(read(f"width{side}"), read(f"height{side}")))


#: Quantities of a pair that are made of several columns.
QUANTITIES: Mapping[str, Callable[[Read], Values]] = {
    "skin_agreement": _agreement("skin"),
    "skin_keypoints_min": _fewer("skin_keypoints0", "skin_keypoints1"),
    "skin_inliers_per_keypoint": _per("skin_inliers", "skin_keypoints_min"),
    # The sun lights one flank only: the flank that is more alike, known where either is; the other, where both are.
    "skin_flank_best": lambda read: np.fmax(read("skin_aligned_left"), read("skin_aligned_right")),
    "skin_flank_other": _fewer("skin_aligned_left", "skin_aligned_right"),
    "skin_flank_inliers_min": _fewer("skin_inliers_left", "skin_inliers_right"),
    "mutual_nn_agreement": _agreement("mutual_nn"),
    "mutual_nn_distinctive_agreement": _agreement("mutual_nn_distinctive"),
    "lightglue_agreement": _agreement("lightglue"),
    "lightglue_keypoints_min": _fewer("lightglue_keypoints0", "lightglue_keypoints1"),
    "lightglue_confidence_mean": _per("lightglue_confidence_sum", "lightglue_matches"),
    "lightglue_matches_per_keypoint": _per("lightglue_matches_50", "lightglue_keypoints_min"),
    "lightglue_confidence_per_keypoint": _per("lightglue_confidence_sum", "lightglue_keypoints_min"),
    "lightglue_absolute_log_scale": lambda read: np.abs(_log(read("lightglue_scale"))),
    "lightglue_absolute_rotation": lambda read: np.abs(read("lightglue_rotation")),
    "log_length0": _log_length(0),
    "log_length1": _log_length(1),
    "log_length_ratio": lambda read: np.abs(read("log_length0") - read("log_length1")),
    "log_length_min": _fewer("log_length0", "log_length1"),
    "sharpness_min": _fewer("sharpness0", "sharpness1"),
    "sharpness_log_ratio": lambda read: np.abs(_log(read("sharpness0")) - _log(read("sharpness1"))),
    "same_day": lambda read: np.where(np.isnan(read("date_gap_days")), np.nan, read("date_gap_days") == 0),
}


def _dates(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    missing = pd.Series(pd.NaT, index=table.index, dtype="datetime64[ns]")
    date0, date1 = (
        pd.to_datetime(table[name]).dt.normalize() if name in table.columns else missing for name in ("date0", "date1")
    )
    return date0, date1


def _numbers(series: pd.Series) -> Values:
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _date_gap_days(table: pd.DataFrame) -> Values:
    date0, date1 = _dates(table)
    return _numbers((date1 - date0).abs().dt.days)


def _season_gap(table: pd.DataFrame) -> Values:
    """Days between the two days of the year, around the year's end."""
    date0, date1 = _dates(table)
    gap = np.abs(_numbers(date0.dt.day_of_year) - _numbers(date1.dt.day_of_year))
    return np.minimum(gap, np.abs(DAYS_PER_YEAR - gap))


def _years_apart(table: pd.DataFrame) -> Values:
    date0, date1 = _dates(table)
    return np.abs(_numbers(date0.dt.year) - _numbers(date1.dt.year))


def _model_kind(table: pd.DataFrame) -> Values:
    """Codes into :data:`MODEL_KINDS`, NaN for any other value."""
    if "lightglue_model_kind" not in table.columns:
        return np.full(len(table), np.nan)
    code = {name: float(i) for i, name in enumerate(MODEL_KINDS)}
    return np.array([code.get(kind, np.nan) for kind in table["lightglue_model_kind"]], dtype=np.float64)


def _viewpoint_pair(table: pd.DataFrame) -> Values:
    """Codes into :data:`VIEWPOINT_PAIRS`; an absent or empty viewpoint makes the pair "unknown"."""
    if "viewpoint0" not in table.columns or "viewpoint1" not in table.columns:
        return np.zeros(len(table))
    code = {name: float(i) for i, name in enumerate(VIEWPOINT_PAIRS)}
    code_of: dict[tuple[str, str], float] = {}
    result = np.empty(len(table))
    views = [
        table[name].astype(object).where(table[name].notna(), "").astype(str) for name in ("viewpoint0", "viewpoint1")
    ]
    for i, pair in enumerate(zip(*views, strict=True)):
        if pair not in code_of:
            code_of[pair] = code[viewpoint_pair(*pair)]
        result[i] = code_of[pair]
    return result


def viewpoint_pair(view0: str, view1: str) -> str:
    """Return the name of two viewpoints' pair, one of VIEWPOINT_PAIRS; "" stands for an unknown viewpoint."""
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


#: Quantities that are made of columns that hold no numbers.
_SPECIAL: Mapping[str, Callable[[pd.DataFrame], Values]] = {
    "date_gap_days": _date_gap_days,
    "season_gap": _season_gap,
    "years_apart": _years_apart,
    "lightglue_model_kind": _model_kind,
    "viewpoint_pair": _viewpoint_pair,
}

DERIVATIONS: Mapping[str, Callable[[pd.DataFrame, Values], Values]] = {
    "plain": lambda _, values: values,
    "log1p": lambda _, values: np.log1p(values),
    "zscore": _zscore,
    "log_rank": _log_rank,
    "list_mean": _list_mean,
    "to_best": _to_best,
    "to_next": _to_next,
}
