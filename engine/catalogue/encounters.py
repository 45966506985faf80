"""Encounters: which photographs were taken on one occasion. The one rule that everything goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.records import BoolArray

ENCOUNTER_GAP = pd.Timedelta(hours=1)
"""Two photographs of one individual at most this far apart belong to one encounter (the challenge's own rule)."""


@dataclass(frozen=True, eq=False)
class CandidateKeys:
    """A catalogue's columns as plain arrays, so that asking once per query stays cheap.

    Attributes:
        image_id, path, individual_id, encounter_id: (N,) object arrays of str, None where not known.
        date, timestamp: (N,) datetime64[s], NaT where not known; as they are written.
        utc_offset: (N,) float minutes by which the timestamp is ahead of UTC, NaN where no zone is known.
    """

    image_id: npt.NDArray[np.object_]
    path: npt.NDArray[np.object_]
    individual_id: npt.NDArray[np.object_]
    encounter_id: npt.NDArray[np.object_]
    date: npt.NDArray[np.datetime64]
    timestamp: npt.NDArray[np.datetime64]
    utc_offset: npt.NDArray[np.float64]

    @classmethod
    def of(cls, table: pd.DataFrame) -> CandidateKeys:
        """Take the columns of a catalogue's table (without a column utc_offset, no zone is known)."""
        texts = ("image_id", "path", "individual_id", "encounter_id")
        columns = {name: table[name].astype(object).where(table[name].notna(), None).to_numpy() for name in texts}
        times = {name: table[name].to_numpy(dtype="datetime64[s]") for name in ("date", "timestamp")}
        return cls(**columns, **times, utc_offset=_offsets(table))


def same_encounter(query: pd.Series | Mapping[Any, Any], candidates: CandidateKeys | pd.DataFrame) -> BoolArray:
    """Return the (N,) bool mask of the photographs taken in the query's own encounter.

    * Both encounter ids known: they are equal; or the two are known to be the same individual within one hour, because
      published ids may be given per viewpoint (those of the Cook Inlet photographs are), and a lateral photograph of
      the same minute is no independent sighting.
    * Otherwise: the two are not known to be different individuals, and were taken at most one hour apart (both times
      known) or on the same day (only dates known). So a query of which nothing but the date is known shares its
      encounter with every photograph of that day that may show the same animal: rather one candidate too few than one
      that is recognised by the light of the same minute.
    * Neither encounter nor date known of one of the two: not the same. A month or a year is no date.

    Times of two known zones are compared as the moments that they are; others as they are written.

    Args:
        query: a row of a catalogue's table (missing fields count as unknown).
        candidates: a catalogue's ``keys``, or its table.
    """
    keys = candidates if isinstance(candidates, CandidateKeys) else CandidateKeys.of(candidates)
    nothing = np.zeros(len(keys.image_id), bool)
    near, close, same = nothing, nothing, nothing
    may_be_same = ~nothing
    if is_known(query.get("date")):
        near = keys.date == np.datetime64(pd.Timestamp(query["date"]), "s")
    if is_known(query.get("timestamp")):
        gap = keys.timestamp - np.datetime64(pd.Timestamp(query["timestamp"]), "s")
        if is_known(query.get("utc_offset")):
            shift = np.nan_to_num(keys.utc_offset - float(query["utc_offset"])) * 60.0
            gap = gap - shift.astype("timedelta64[s]")
        close = np.abs(gap) <= ENCOUNTER_GAP.to_timedelta64()  # False where NaT
        near = np.where(np.isnat(keys.timestamp), near, close)
    if is_known(query.get("individual_id")):
        same = keys.individual_id == query["individual_id"]
        may_be_same = same | _missing(keys.individual_id)
    result = near & may_be_same
    if is_known(query.get("encounter_id")):
        equal = keys.encounter_id == query["encounter_id"]
        result = np.where(_missing(keys.encounter_id), result, equal | (close & same))
    return result.astype(bool)


def derive_encounters(table: pd.DataFrame) -> pd.Series:
    """Return encounter ids by the one-hour rule: ``individual-000``, ``individual-001`` … in order of time.

    Runs of photographs of one individual that are at most one hour apart, from one to the next, form an encounter.
    Photographs without individual or time of day get None (:func:`same_encounter` then goes by the date). Times without
    a zone count as in the zone that most of the table's times have.

    Args:
        table: with the columns individual_id and timestamp, and utc_offset (minutes) where zones are known.
    """
    encounters = pd.Series([None] * len(table), index=table.index, dtype=object)
    known = table[table["individual_id"].notna() & table["timestamp"].notna()]
    if known.empty:
        return encounters
    offsets = pd.Series(_offsets(known), index=known.index)
    if offsets.notna().any():
        offsets = offsets.fillna(offsets.mode().iloc[0])
        known = known.assign(timestamp=known["timestamp"] - pd.to_timedelta(offsets, unit="min"))
    known = known.sort_values(["individual_id", "timestamp"], kind="stable")
    starts = known.groupby("individual_id", sort=False)["timestamp"].diff() > ENCOUNTER_GAP
    numbers = starts.groupby(known["individual_id"], sort=False).cumsum().astype(int)
    names = [f"{who}-{number:03d}" for who, number in zip(known["individual_id"], numbers, strict=True)]
    encounters.loc[known.index] = names
    return encounters


def is_known(value: object) -> bool:
    """Return whether a value of a table's row says something."""
    return value is not None and not bool(pd.isna(value))  # type: ignore[call-overload]


def _offsets(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    if "utc_offset" not in table.columns:
        return np.full(len(table), np.nan)
    return pd.to_numeric(table["utc_offset"]).to_numpy(dtype=np.float64, na_value=np.nan)


def _missing(values: npt.NDArray[np.object_]) -> BoolArray:
    return np.asarray(values == None, dtype=bool)  # noqa: E711 - elementwise
