"""Which candidates a query is compared with, and how many each rule leaves out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.fields import normalise_viewpoint, parse_date
from features.records import BoolArray
from scarmatch.settings import Settings, SettingsError

if TYPE_CHECKING:
    from engine.catalogue.catalog import Catalog

ENCOUNTER_GAP = pd.Timedelta(hours=1)
"""Two photographs of one individual at most this far apart belong to one encounter (the challenge's own rule)."""


@dataclass(frozen=True)
class FilterReport:
    """What a filter did.

    Attributes:
        before: number of candidates before.
        dropped: (rule, number of candidates it dropped), in the order of the rules; a candidate counts for the first
            rule that drops it.
    """

    before: int
    dropped: tuple[tuple[str, int], ...] = ()

    @property
    def left(self) -> int:
        """Number of candidates left."""
        return self.before - sum(count for _, count in self.dropped)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-ready values."""
        return {"before": self.before, "dropped": dict(self.dropped), "left": self.left}

    def __str__(self) -> str:
        parts = [f"{count:,} dropped by {rule}" for rule, count in self.dropped]
        return f"{self.before:,} candidates: " + (", ".join(parts) + "; " if parts else "") + f"{self.left:,} left"


@dataclass(frozen=True)
class CandidateFilter(Settings):
    """Which candidates are compared with a query. What is not known never excludes a candidate, unless said so.

    Attributes:
        viewpoints: allowed candidate viewpoints (None = all); a candidate of unknown viewpoint always stays.
        since, until: first and last allowed date, inclusive ("YYYY-MM-DD" or a date); unknown dates stay.
        require_date: drop candidates of unknown date.
        exclude_encounter: drop candidates of the query's own encounter (see :func:`same_encounter`).
        exclude_own_individual: drop candidates that carry the query's own name (an audit asks whom else it shows).
        exclude_individuals, exclude_ids: individuals and image ids to leave out.
        species: allowed species (None = all); a candidate of unknown species always stays.

    Raises:
        SettingsError: a date cannot be read, or ``since`` lies after ``until``.
    """

    viewpoints: tuple[str, ...] | None = None
    since: dt.date | str | None = None
    until: dt.date | str | None = None
    require_date: bool = False
    exclude_encounter: bool = False
    exclude_own_individual: bool = False
    exclude_individuals: tuple[str, ...] = ()
    exclude_ids: tuple[str, ...] = ()
    species: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            object.__setattr__(self, name, _as_date(name, getattr(self, name)))
        if self.since is not None and self.until is not None and self.since > self.until:  # type: ignore[operator]
            raise SettingsError(f"since ({self.since}) lies after until ({self.until}): no candidate could be left")
        for name in ("viewpoints", "species", "exclude_individuals", "exclude_ids"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        if self.viewpoints is not None:
            views = tuple(view for view in (normalise_viewpoint(v)[0] for v in self.viewpoints) if view is not None)
            object.__setattr__(self, "viewpoints", views or None)

    def static_masks(self, table: pd.DataFrame) -> list[tuple[str, BoolArray]]:
        """Return (rule, kept) for every rule that does not depend on the query; kept is an (N,) bool array."""
        masks: list[tuple[str, BoolArray]] = []
        if self.viewpoints is not None:
            kept = table["viewpoint"].isin(self.viewpoints) | table["viewpoint"].isna()
            masks.append((f"viewpoint (kept: {', '.join(self.viewpoints)})", _array(kept)))
        unknown = table["date"].isna()
        if self.since is not None:
            masks.append((f"date before {self.since}", _array((table["date"] >= pd.Timestamp(self.since)) | unknown)))
        if self.until is not None:
            masks.append((f"date after {self.until}", _array((table["date"] <= pd.Timestamp(self.until)) | unknown)))
        if self.require_date:
            masks.append(("unknown date", _array(~unknown)))
        if self.species is not None:
            kept = table["species"].isin(self.species) | table["species"].isna()
            masks.append((f"species (kept: {', '.join(self.species)})", _array(kept)))
        if self.exclude_individuals:
            masks.append(("excluded individual", _array(~table["individual_id"].isin(self.exclude_individuals))))
        if self.exclude_ids:
            masks.append(("excluded photograph", _array(~table["image_id"].isin(self.exclude_ids))))
        return masks

    def apply(self, table: pd.DataFrame) -> tuple[BoolArray, FilterReport]:
        """Return the (N,) bool mask of the candidates that the query-independent rules keep, and the counts."""
        return _combine(len(table), self.static_masks(table))

    def mask_for(
        self, query: pd.Series | Mapping[Any, Any], catalog: Catalog, *, same_content: BoolArray | None = None
    ) -> BoolArray:
        """Return the (N,) bool mask of the candidates allowed for one query, by the rules that depend on it.

        The query itself never is a candidate: neither a photograph of the same ``image_id``, nor the same file under
        another id. It depends on this query and the catalogue alone.

        Args:
            query: a row of a catalogue's table (missing fields count as unknown).
            catalog: the candidates.
            same_content: (N,) bool, candidates whose file holds the same bytes as the query's, where the caller knows.
        """
        return self.report_for(query, catalog, same_content=same_content)[0]

    def report_for(
        self, query: pd.Series | Mapping[Any, Any], catalog: Catalog, *, same_content: BoolArray | None = None
    ) -> tuple[BoolArray, FilterReport]:
        """Like :meth:`mask_for`, with the counts."""
        keys = catalog.keys
        itself = keys.image_id == query["image_id"]
        if _known(query.get("path")):
            # two boxes of one picture share a path and are different photographs: the box must agree as well
            box = _plain_box(query.get("box"))
            for position in np.flatnonzero(keys.path == query["path"]):
                itself[position] |= _plain_box(catalog.table["box"].iloc[position]) == box
        if same_content is not None:
            itself = itself | np.asarray(same_content, bool)
        masks = [("being the query itself", ~itself)]
        if self.exclude_encounter:
            masks.append(("encounter of the query", ~same_encounter(query, keys)))
        if self.exclude_own_individual and _known(query.get("individual_id")):
            masks.append(("individual of the query", keys.individual_id != query["individual_id"]))
        return _combine(len(itself), masks)


@dataclass(frozen=True, eq=False)
class CandidateKeys:
    """A catalogue's columns as plain arrays, so that asking once per query stays cheap.

    Attributes:
        image_id, path, individual_id, encounter_id: (N,) object arrays of str, None where not known.
        date, timestamp: (N,) datetime64[s], NaT where not known.
    """

    image_id: npt.NDArray[np.object_]
    path: npt.NDArray[np.object_]
    individual_id: npt.NDArray[np.object_]
    encounter_id: npt.NDArray[np.object_]
    date: npt.NDArray[np.datetime64]
    timestamp: npt.NDArray[np.datetime64]

    @classmethod
    def of(cls, table: pd.DataFrame) -> CandidateKeys:
        """Take the columns of a catalogue's table."""
        texts = ("image_id", "path", "individual_id", "encounter_id")
        columns = {name: table[name].astype(object).where(table[name].notna(), None).to_numpy() for name in texts}
        times = {name: table[name].to_numpy(dtype="datetime64[s]") for name in ("date", "timestamp")}
        return cls(**columns, **times)


def same_encounter(query: pd.Series | Mapping[Any, Any], candidates: CandidateKeys | pd.DataFrame) -> BoolArray:
    """Return the (N,) bool mask of the photographs taken in the query's own encounter.

    * Both encounter ids known: they are equal; or the two are known to be the same individual within one hour, because
      published ids may be given per viewpoint (those of the Cook Inlet photographs are), and a lateral photograph of
      the same minute is no independent sighting.
    * Otherwise: the two are not known to be different individuals, and were taken at most one hour apart (both times
      known) or on the same day (only dates known). So a query of which nothing but the date is known shares its
      encounter with every photograph of that day that may show the same animal: rather one candidate too few than one
      that is recognised by the light of the same minute.
    * Neither encounter nor date known of one of the two: not the same.

    Args:
        query: a row of a catalogue's table (missing fields count as unknown).
        candidates: a catalogue's ``keys``, or its table.
    """
    keys = candidates if isinstance(candidates, CandidateKeys) else CandidateKeys.of(candidates)
    nothing = np.zeros(len(keys.image_id), bool)
    near, close, same = nothing, nothing, nothing
    may_be_same = ~nothing
    if _known(query.get("date")):
        near = keys.date == np.datetime64(pd.Timestamp(query["date"]), "s")
    if _known(query.get("timestamp")):
        gap = np.abs(keys.timestamp - np.datetime64(pd.Timestamp(query["timestamp"]), "s"))
        close = gap <= ENCOUNTER_GAP.to_timedelta64()  # False where NaT
        near = np.where(np.isnat(keys.timestamp), near, close)
    if _known(query.get("individual_id")):
        same = keys.individual_id == query["individual_id"]
        may_be_same = same | _missing(keys.individual_id)
    result = near & may_be_same
    if _known(query.get("encounter_id")):
        equal = keys.encounter_id == query["encounter_id"]
        result = np.where(_missing(keys.encounter_id), result, equal | (close & same))
    return result.astype(bool)


def derive_encounters(table: pd.DataFrame) -> pd.Series:
    """Return encounter ids by the one-hour rule: ``individual-000``, ``individual-001`` … in order of time.

    Runs of photographs of one individual that are at most one hour apart, from one to the next, form an encounter.
    Photographs without individual or time of day get None (:func:`same_encounter` then goes by the date).

    Args:
        table: with the columns individual_id and timestamp.
    """
    encounters = pd.Series([None] * len(table), index=table.index, dtype=object)
    known = table[table["individual_id"].notna() & table["timestamp"].notna()]
    if known.empty:
        return encounters
    known = known.sort_values(["individual_id", "timestamp"], kind="stable")
    starts = known.groupby("individual_id", sort=False)["timestamp"].diff() > ENCOUNTER_GAP
    numbers = starts.groupby(known["individual_id"], sort=False).cumsum().astype(int)
    names = [f"{who}-{number:03d}" for who, number in zip(known["individual_id"], numbers, strict=True)]
    encounters.loc[known.index] = names
    return encounters


def _combine(n_candidates: int, masks: list[tuple[str, BoolArray]]) -> tuple[BoolArray, FilterReport]:
    kept = np.ones(n_candidates, bool)
    dropped = []
    for rule, mask in masks:
        dropped.append((rule, int((kept & ~mask).sum())))
        kept &= mask
    return kept, FilterReport(n_candidates, tuple(dropped))


def _as_date(name: str, value: object) -> dt.date | None:
    if value is None:
        return None
    if isinstance(value, dt.datetime):
        return value.date()
    if isinstance(value, dt.date):
        return value
    try:
        return parse_date(str(value))[0]
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _array(series: pd.Series) -> BoolArray:
    return series.fillna(False).to_numpy(dtype=bool)


def _known(value: object) -> bool:
    return value is not None and not bool(pd.isna(value))  # type: ignore[call-overload]


def _missing(values: npt.NDArray[np.object_]) -> BoolArray:
    return np.asarray(values == None, dtype=bool)  # noqa: E711 - elementwise


def _plain_box(box: object) -> tuple[int, ...] | None:
    return tuple(box) if isinstance(box, tuple | list) else None
