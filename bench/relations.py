"""Protocols: who is asked, what is searched, and which database photographs count as matches of a query.

A protocol names its queries and its database by photograph. Its rule says which photographs of the query's own
individual leave the database for that query:

* ``all``: none but the query itself.
* ``other_encounter``: those of the query's encounter, which are often seconds apart and nearly copies: equal encounter
  ids, or taken at most an hour apart (the challenge gives the views of one encounter ids of their own); where an id and
  a time are unknown, the same day.
* ``other_year``: those of the query's own year (and those whose year is unknown), so that only marks that lasted count.

Photographs of other individuals always stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.encounters import ENCOUNTER_GAP
from features.records import BoolArray
from scarmatch.errors import ScarmatchError

Rule = Literal["all", "other_encounter", "other_year"]
RULES: tuple[Rule, ...] = ("all", "other_encounter", "other_year")


class ProtocolError(ScarmatchError, ValueError):
    """A protocol cannot be built or evaluated; the message names the photograph, rule or column."""


@dataclass(frozen=True)
class Protocol:
    """Queries, database and the rule for matches; photographs are named by image_id.

    Attributes:
        name: such as "top: 2019 -> 2017" (the rule is not part of it).
        queries: image ids of the queries.
        database: image ids of the database; a query among them never answers itself.
        rule: which matches count, see the module's docstring.
    """

    name: str
    queries: tuple[str, ...]
    database: tuple[str, ...]
    rule: Rule = "all"

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ProtocolError(f"rule {self.rule!r} is none of {', '.join(RULES)}")
        for kind, ids in (("query", self.queries), ("database", self.database)):
            if len(set(ids)) != len(ids):
                raise ProtocolError(f"{self.name}: a {kind} photograph is named twice")

    def with_rule(self, rule: Rule) -> Protocol:
        """Return the same queries and database under another rule."""
        return dataclasses.replace(self, rule=rule)

    def restricted_to(self, catalog: Catalog, individuals: Collection[str]) -> Protocol:
        """Return the protocol with the queries and database photographs of some individuals only (held-out animals)."""
        table, wanted = catalog.table, set(individuals)
        kept = set(table.loc[table["individual_id"].isin(list(wanted)), "image_id"])
        return dataclasses.replace(
            self,
            queries=tuple(q for q in self.queries if q in kept),
            database=tuple(d for d in self.database if d in kept),
        )


def years_of(catalog: Catalog) -> list[int]:
    """Return the years of the catalogue's labelled photographs from above, earliest first."""
    table = catalog.table
    dates = table.loc[(table["viewpoint"] == "top") & table["individual_id"].notna(), "date"].dropna()
    return sorted({int(year) for year in dates.dt.year})


def select(catalog: Catalog, viewpoints: Sequence[str], years: Sequence[int] | None = None) -> tuple[str, ...]:
    """Return the image ids of the labelled photographs of some viewpoints and years, in the catalogue's order."""
    table = catalog.table
    mask = table["individual_id"].notna() & table["viewpoint"].isin(list(viewpoints))
    if years is not None:
        mask &= table["date"].dt.year.isin(list(years))
    return tuple(table.loc[mask, "image_id"])


@dataclass(frozen=True, eq=False)
class _Keys:
    """What decides relations, as whole numbers (-1 = unknown), for N photographs."""

    image: npt.NDArray[np.int64]
    individual: npt.NDArray[np.int64]
    encounter: npt.NDArray[np.int64]
    day: npt.NDArray[np.int64]
    year: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.intp] | slice, column: bool = False) -> _Keys:
        """Return the keys of some photographs, as (n,) or, to compare with all others, (n, 1) arrays."""
        parts = (getattr(self, f.name)[rows] for f in dataclasses.fields(self))
        return _Keys(*(part[:, None] if column else part for part in parts))


class Relations:
    """Which database photographs are matches of a query, and which are not offered to it.

    Attributes:
        protocol: the protocol.
        individuals: (Q,) individual of each query.
        n_relevant: (Q,) number of matches that count.
    """

    def __init__(self, protocol: Protocol, catalog: Catalog) -> None:
        """Look the photographs up.

        Raises:
            ProtocolError: a photograph is not in the catalogue, or a query has no individual.
        """
        self.protocol = protocol
        table = catalog.table
        row_of = pd.Series(np.arange(len(table)), index=table["image_id"])
        missing = [i for i in (*protocol.queries, *protocol.database) if i not in row_of.index]
        if missing:
            raise ProtocolError(f"{protocol.name}: {missing[0]!r} is not in the catalogue ({len(missing)} missing)")
        keys = _keys(table)
        rows = row_of.loc[list(protocol.queries)].to_numpy(np.intp)
        self._queries, self._database = (
            keys.take(rows),
            keys.take(row_of.loc[list(protocol.database)].to_numpy(np.intp)),
        )
        if (self._queries.individual < 0).any():
            name = protocol.queries[int(np.argmax(self._queries.individual < 0))]
            raise ProtocolError(f"{protocol.name}: the query {name!r} has no individual")
        self.individuals = table["individual_id"].to_numpy(object)[rows].astype(str)
        blocks = [self.block(slice(i, i + 512))[0].sum(1) for i in range(0, len(rows), 512)]
        self.n_relevant = np.concatenate([np.zeros(0, np.int64), *blocks]).astype(np.int64)

    def block(self, rows: npt.NDArray[np.intp] | slice) -> tuple[BoolArray, BoolArray]:
        """Return (relevant, excluded), each (q, D) bool, for some of the queries."""
        query, database = self._queries.take(rows, column=True), self._database
        same = query.individual == database.individual
        if self.protocol.rule == "other_encounter":
            known = (query.encounter >= 0) & (database.encounter >= 0)
            same_day = (query.day == database.day) & (query.day >= 0)
            timed = (query.second >= 0) & (database.second >= 0)
            near = timed & (np.abs(query.second - database.second) <= ENCOUNTER_GAP.total_seconds())
            excluded = same & (near | np.where(known, query.encounter == database.encounter, same_day & ~timed))
        elif self.protocol.rule == "other_year":
            excluded = same & ((query.year == database.year) | (query.year < 0) | (database.year < 0))
        else:
            excluded = np.zeros_like(same)
        excluded |= query.image == database.image
        return same & ~excluded, excluded


def _keys(table: pd.DataFrame) -> _Keys:
    """Return the keys of a catalogue's photographs."""
    date = table["date"]
    known = date.notna().to_numpy()
    timed = table["timestamp"].notna().to_numpy()
    return _Keys(
        image=np.arange(len(table)),
        individual=pd.factorize(table["individual_id"])[0].astype(np.int64),
        encounter=pd.factorize(table["encounter_id"])[0].astype(np.int64),
        day=pd.factorize(date)[0].astype(np.int64),
        second=np.where(timed, table["timestamp"].to_numpy("datetime64[s]").astype(np.int64), -1),
        year=np.where(known, date.dt.year.fillna(-1), -1).astype(np.int64),
    )
