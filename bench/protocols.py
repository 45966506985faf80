"""Protocols: who is asked, what is searched, which photographs count, and what a ranking is worth.

Which candidates a query has is decided by the engine's own filter (:class:`engine.catalogue.catalog.CandidateFilter`),
so that "the same encounter" is one rule everywhere:

* ``all``: every photograph but the query itself.
* ``other_encounter``: without those of the query's encounter, which are often seconds apart and nearly copies.
* ``other_year``: of these, only those of another year, so that only marks that lasted count; whose year is unknown does
  not count. (``other_day`` likewise; out-of-fold tables know it.)

A query without any match is not asked; how many is reported. Every figure sees the whole database of a query.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import CandidateFilter, Catalog
from engine.competitions.challenge_scenarios import LATERAL, TOP
from features.records import BoolArray
from scarmatch.errors import ScarmatchError
from scarmatch.metrics import Interval, average_precision, bootstrap_by_group, cmc

Rule = Literal["all", "other_encounter", "other_day", "other_year"]
#: Rule -> the matches that count, in words.
RULES: dict[Rule, str] = {
    "all": "all matches",
    "other_encounter": "other encounters",
    "other_day": "other days",
    "other_year": "other years",
}
#: The two rules that every ranking is judged by.
BOTH: tuple[Rule, ...] = ("all", "other_encounter")
TOP_PLACES = 20


class ProtocolError(ScarmatchError, ValueError):
    """A protocol cannot be built or evaluated; the message names the photograph, rule or column."""


@dataclass(frozen=True)
class Protocol:
    """Queries, database and the rule for matches; photographs are named by image_id.

    Attributes:
        name: such as "top: 2019 -> 2017" (the rule is not part of it).
        queries: labelled photographs.
        database: what is searched; a query among them never answers itself.
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
        return replace(self, rule=rule)


def filter_of(rule: Rule) -> CandidateFilter:
    """Return the engine's filter of a rule (years and days are cut by :func:`allowed`)."""
    return CandidateFilter(exclude_encounter=rule != "all")


def allowed(query: pd.Series, database: Catalog, rule: Rule) -> BoolArray:
    """Return the (D,) bool mask of the photographs that a query may be answered with."""
    mask = filter_of(rule).mask_for(query, database)
    if rule in ("other_day", "other_year"):
        dates, own = database.table["date"], query["date"]
        years = rule == "other_year"
        units = dates.dt.year if years else dates.dt.normalize()
        mine = None if pd.isna(own) else own.year if years else own.normalize()
        mask = mask & dates.notna().to_numpy(bool) & (mine is not None) & (units != mine).to_numpy(bool)
    return mask


def select(catalog: Catalog, viewpoints: Sequence[str] = TOP, years: Sequence[int] | None = None) -> tuple[str, ...]:
    """Return the image ids of the labelled photographs of some viewpoints and years, in the catalogue's order."""
    table = catalog.table
    mask = table["individual_id"].notna() & table["viewpoint"].isin(list(viewpoints))
    if years is not None:
        mask &= table["date"].dt.year.isin(list(years))
    return tuple(table.loc[mask, "image_id"])


def years_of(catalog: Catalog) -> list[int]:
    """Return the years of the catalogue's labelled photographs from above, earliest first."""
    dates = catalog.subset(select(catalog)).table["date"].dropna()
    return sorted({int(year) for year in dates.dt.year})


def all_against_all(catalog: Catalog) -> Protocol:
    """Return every photograph from above against all the others."""
    return Protocol("top: all years", select(catalog), select(catalog))


def within_years(catalog: Catalog) -> list[Protocol]:
    """Return, for every year, its photographs from above against one another."""
    chosen = [(year, select(catalog, TOP, [year])) for year in years_of(catalog)]
    return [Protocol(f"top: {year} within", ids, ids) for year, ids in chosen]


def across_years(catalog: Catalog) -> list[Protocol]:
    """Return every later year against each earlier one, and against all earlier ones together if there are several."""
    years = years_of(catalog)
    protocols = []
    for i, later in enumerate(years):
        sources = [[earlier] for earlier in years[:i]] + ([years[:i]] if i > 1 else [])
        for source in sources:
            name = f"top: {later} -> {'+'.join(map(str, source))}"
            protocols.append(Protocol(name, select(catalog, TOP, [later]), select(catalog, TOP, source)))
    return protocols


def between_views(catalog: Catalog) -> list[Protocol]:
    """Return the photographs of a flank against those from above, and the other way round."""
    top, lateral = select(catalog), select(catalog, LATERAL)
    return [Protocol("lateral -> top", lateral, top), Protocol("top -> lateral", top, lateral)]


# --- evaluation -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """What a ranking is worth under one protocol, with 95 % intervals over individuals.

    Attributes:
        protocol, rule: what was asked.
        queries, individuals: those that have a match; ``left_out`` queries have none.
        database: photographs searched.
        map20, top1: mean average precision of the first 20 places, and share of right first places.
        recall: shortlist size -> share of queries with a match in it, if the ranking reaches that far.
    """

    protocol: str
    rule: str
    queries: int
    individuals: int
    left_out: int
    database: int
    map20: Interval
    top1: Interval
    recall: dict[str, float]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a ranking is worth, query by query.

    Attributes:
        protocol: the protocol.
        per_query: one row per query that has a match: query_id, individual_id, ap20, top1 (bool), first_rank (place of
            the first match, NaN if none was returned), n_relevant.
        left_out: number of queries without a match that counts.
    """

    protocol: Protocol
    per_query: pd.DataFrame
    left_out: int

    def mean(self, column: str = "ap20") -> Interval:
        """Return a column's mean with its interval over individuals."""
        return bootstrap_by_group(self.per_query[column].to_numpy(float), self.per_query["individual_id"])

    def summary(self, sizes: Sequence[int] = (20, 50, 100)) -> Summary:
        """Return counts, mAP@20 and top-1 with intervals, and recall at shortlist sizes."""
        table, protocol = self.per_query, self.protocol
        recall = cmc(table["first_rank"], sizes).tolist() if len(table) else []
        return Summary(
            protocol.name,
            protocol.rule,
            len(table),
            int(table["individual_id"].nunique()),
            self.left_out,
            len(protocol.database),
            self.mean(),
            self.mean("top1"),
            {str(size): share for size, share in zip(sizes, recall, strict=bool(recall))},
        )


def evaluate(ranking: pd.DataFrame, protocol: Protocol, catalog: Catalog) -> Evaluation:
    """Evaluate a ranking that is given as pairs.

    Args:
        ranking: query_id, candidate_id (image ids) and score, larger is better, in any order; rows of other queries, of
            photographs outside the database and of excluded ones are ignored, a query without rows earns 0. Equal
            scores are ordered by candidate_id.
        protocol: queries, database and rule.
        catalog: the labelled photographs.

    Raises:
        ProtocolError: a column is missing, a score is NaN, or a pair occurs twice.
    """
    if absent := {"query_id", "candidate_id", "score"} - set(ranking.columns):
        raise ProtocolError(f"the ranking lacks the columns {sorted(absent)}")
    rows = ranking[ranking["query_id"].isin(protocol.queries)]
    if rows["score"].isna().any() or rows.duplicated(["query_id", "candidate_id"]).any():
        raise ProtocolError(f"{protocol.name}: a score is NaN, or a pair of query and candidate occurs twice")
    rows = rows.sort_values(["score", "candidate_id"], ascending=[False, True], kind="stable")
    place = {name: number for number, name in enumerate(protocol.database)}
    lists = {
        query: np.array([place[name] for name in part["candidate_id"] if name in place], int)
        for query, part in rows.groupby("query_id", sort=False)
    }
    nothing = np.zeros(0, int)
    return _evaluate(lambda query: lists.get(query, nothing), protocol, catalog)


def evaluate_answers(answers: pd.DataFrame, protocol: Protocol, catalog: Catalog) -> Evaluation:
    """Evaluate the engine's answers (:meth:`scarmatch.Matcher.match`)."""
    columns = {"image_id": "candidate_id", "probability": "score"}
    return evaluate(answers[["query_id", *columns]].rename(columns=columns), protocol, catalog)


def evaluate_vectors(
    queries: dict[str, npt.NDArray], database: dict[str, npt.NDArray], protocol: Protocol, catalog: Catalog
) -> Evaluation:
    """Evaluate global descriptors by their inner product (cosine, if they are L2-normalised).

    Args:
        queries, database: image id -> (D,) descriptor.
        protocol, catalog: as in :func:`evaluate`. Equal scores are ordered as in the protocol's database.

    Raises:
        ProtocolError: a photograph has no descriptor.
    """
    missing = [i for i in protocol.queries if i not in queries] + [i for i in protocol.database if i not in database]
    if missing:
        raise ProtocolError(f"{protocol.name}: no descriptor for {missing[0]!r} ({len(missing)} missing)")
    matrix = np.stack([database[i] for i in protocol.database]).astype(np.float32)

    def ranked(query: str) -> npt.NDArray[np.intp]:
        return np.argsort(-(matrix @ queries[query].astype(np.float32)), kind="stable")

    return _evaluate(ranked, protocol, catalog)


def _evaluate(ranked: Callable[[str], npt.NDArray[np.intp]], protocol: Protocol, catalog: Catalog) -> Evaluation:
    """Judge every query; ``ranked`` names the places of the database, best first."""
    unknown = [i for i in (*protocol.queries, *protocol.database) if i not in catalog]
    if unknown:
        raise ProtocolError(f"{protocol.name}: {unknown[0]!r} is not in the catalogue ({len(unknown)} missing)")
    database, left_out, records = catalog.subset(protocol.database), 0, []
    names = database.keys.individual_id
    for query in protocol.queries:
        row = catalog.row(query)
        if pd.isna(row["individual_id"]):
            raise ProtocolError(f"{protocol.name}: the query {query!r} has no individual")
        may = allowed(row, database, protocol.rule)
        relevant = may & (names == row["individual_id"])
        if not relevant.any():
            left_out += 1
            continue
        found = ranked(query)
        hits = relevant[found[may[found]]]
        total = int(relevant.sum())
        first = float(hits.argmax() + 1) if hits.any() else np.nan
        score = average_precision(hits, total, TOP_PLACES)
        records.append((query, row["individual_id"], score, first == 1.0, first, total))
    columns = ["query_id", "individual_id", "ap20", "top1", "first_rank", "n_relevant"]
    return Evaluation(protocol, pd.DataFrame(records, columns=columns), left_out)
