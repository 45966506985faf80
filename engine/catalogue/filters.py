"""Which candidates a query is compared with, and how many each rule leaves out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from engine.catalogue.dates import parse_when
from engine.catalogue.encounters import is_known, same_encounter
from engine.catalogue.fields import name_or_none, normalise_viewpoint
from features.records import BoolArray
from scarmatch.settings import Settings, SettingsError

if TYPE_CHECKING:
    from engine.catalogue.catalog import Catalog


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
        since, until: first and last allowed day, inclusive (a date, "YYYY-MM-DD", or a month or year as text); unknown
            dates stay, and months and years that reach into the time allowed.
        require_date: drop candidates of which not even the year is known.
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
        for name in ("species", "exclude_individuals"):  # in the one spelling that catalogues have
            if getattr(self, name) is not None:
                try:
                    names = [name_or_none(value) for value in getattr(self, name)]
                except ValueError as error:
                    raise SettingsError(f"{name}: {error}") from None
                object.__setattr__(self, name, tuple(value for value in names if value is not None))
        if self.viewpoints is not None:
            views = tuple(view for view in (normalise_viewpoint(v)[0] for v in self.viewpoints) if view is not None)
            object.__setattr__(self, "viewpoints", views or None)

    def static_masks(self, table: pd.DataFrame) -> list[tuple[str, BoolArray]]:
        """Return (rule, kept) for every rule that does not depend on the query; kept is an (N,) bool array."""
        masks: list[tuple[str, BoolArray]] = []
        if self.viewpoints is not None:
            kept = table["viewpoint"].isin(self.viewpoints) | table["viewpoint"].isna()
            masks.append((f"viewpoint (kept: {', '.join(self.viewpoints)})", _array(kept)))
        unknown = table["latest"].isna()
        first, last = table["earliest"], table["latest"]
        if self.since is not None:
            masks.append((f"date before {self.since}", _array((last >= pd.Timestamp(self.since)) | unknown)))
        if self.until is not None:
            masks.append((f"date after {self.until}", _array((first <= pd.Timestamp(self.until)) | unknown)))
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

        The query itself never is a candidate: neither a photograph of the same ``image_id``, nor anything that is cut
        from the same file, whatever its box: two boxes of one picture show two animals. It depends on this query and
        the catalogue alone.

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
        if is_known(query.get("path")):
            itself = itself | (keys.path == query["path"])
        if same_content is not None:
            itself = itself | np.asarray(same_content, bool)
        masks = [("being the query itself", ~itself)]
        if self.exclude_encounter:
            masks.append(("encounter of the query", ~same_encounter(query, keys)))
        if self.exclude_own_individual and is_known(query.get("individual_id")):
            masks.append(("individual of the query", keys.individual_id != query["individual_id"]))
        return _combine(len(itself), masks)


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
        when = parse_when(str(value))
        return when.earliest if name == "since" else when.latest
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _array(series: pd.Series) -> BoolArray:
    return series.fillna(False).to_numpy(dtype=bool)
