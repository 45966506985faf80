"""Evaluation protocols over a labelled catalogue, and what a ranking is worth under each.

Every protocol (:mod:`bench.relations`) comes under three rules: all matches, matches of another encounter only, matches
of another year only. A query left without any match is not asked; how many is reported. All ways of evaluating see the
whole database of a query, so average precision is that of the challenge.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.relations import RULES, Protocol, ProtocolError, Relations, Rule, select, years_of
from bench.scenario_cutting import CutScenarios, cut_scenarios
from engine.catalogue.catalog import Catalog
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS, LATERAL, ScenarioRule
from features.records import BoolArray
from reranker.metrics import Interval, bootstrap_by_group, cmc

__all__ = [
    "CHALLENGE_SCENARIOS",
    "RULES",
    "CutScenarios",
    "Evaluation",
    "Protocol",
    "ProtocolError",
    "Relations",
    "Rule",
    "ScenarioRule",
    "ScoreBlock",
    "across_years",
    "all_against_all",
    "cut_scenarios",
    "evaluate",
    "evaluate_similarity",
    "lateral_to_top",
    "select",
    "standard_protocols",
    "top_to_lateral",
    "within_years",
    "years_of",
]

PER_QUERY = ["query_id", "individual_id", "ap20", "top1", "first_rank", "n_relevant"]

ScoreBlock = Callable[[list[str], list[str]], npt.NDArray[np.floating]]
"""(query ids, candidate ids) -> (Q, C) scores, larger is more alike."""


# --- builders ---------------------------------------------------------------------------------------------------------


def all_against_all(catalog: Catalog) -> Protocol:
    """Return every photograph from above against all the others."""
    ids = select(catalog, ("top",))
    return Protocol("top: all years", ids, ids)


def within_years(catalog: Catalog) -> list[Protocol]:
    """Return, for every year, its photographs from above against one another."""
    chosen = [(year, select(catalog, ("top",), [year])) for year in years_of(catalog)]
    return [Protocol(f"top: {year} within", ids, ids) for year, ids in chosen]


def across_years(catalog: Catalog) -> list[Protocol]:
    """Return every later year against each earlier one, and against all earlier ones together if there are several."""
    years = years_of(catalog)
    protocols = []
    for i, later in enumerate(years):
        sources = [[earlier] for earlier in years[:i]] + ([years[:i]] if i > 1 else [])
        for source in sources:
            name = f"top: {later} -> {'+'.join(map(str, source))}"
            protocols.append(Protocol(name, select(catalog, ("top",), [later]), select(catalog, ("top",), source)))
    return protocols


def lateral_to_top(catalog: Catalog) -> Protocol:
    """Return the photographs of a flank against those from above."""
    return Protocol("lateral -> top", select(catalog, LATERAL), select(catalog, ("top",)))


def top_to_lateral(catalog: Catalog) -> Protocol:
    """Return the photographs from above against those of a flank."""
    return Protocol("top -> lateral", select(catalog, ("top",)), select(catalog, LATERAL))


def standard_protocols(
    catalog: Catalog, rules: Sequence[Rule] = RULES, individuals: Collection[str] | None = None
) -> list[Protocol]:
    """Return all protocols under each rule, but for those in which no query has a match.

    Args:
        catalog: labelled photographs.
        rules: the rules wanted.
        individuals: restrict queries and database to these.
    """
    plain = [all_against_all(catalog), *within_years(catalog), *across_years(catalog)]
    plain += [lateral_to_top(catalog), top_to_lateral(catalog)]
    if individuals is not None:
        plain = [p.restricted_to(catalog, individuals) for p in plain]
    ruled = [p.with_rule(rule) for p in plain for rule in rules]
    return [p for p in ruled if p.queries and p.database and Relations(p, catalog).n_relevant.any()]


# --- evaluation -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a ranking is worth under one protocol.

    Attributes:
        protocol: the protocol.
        per_query: one row per query that has a match: query_id, individual_id, ap20, top1 (bool), first_rank (place of
            the first match, NaN if none was returned), n_relevant.
        left_out: number of queries without a match that counts.
    """

    protocol: Protocol
    per_query: pd.DataFrame
    left_out: int

    def summary(self, sizes: Sequence[int] = (20, 50, 100), n: int = 2000, seed: int = 0) -> dict[str, Any]:
        """Return counts, mAP@20 and top-1 with 95 % intervals over individuals, and recall at shortlist sizes.

        ``recall`` means what it says only if the ranking that was evaluated reaches that far.
        """
        table = self.per_query
        groups = table["individual_id"].to_numpy(str)
        summary: dict[str, Any] = {
            "protocol": self.protocol.name,
            "rule": self.protocol.rule,
            "queries": len(table),
            "individuals": int(table["individual_id"].nunique()),
            "left_out": self.left_out,
            "database": len(self.protocol.database),
        }
        for name, column in (("map20", "ap20"), ("top1", "top1")):
            interval: Interval = bootstrap_by_group(table[column].to_numpy(float), groups, n=n, seed=seed)
            summary[name] = interval._asdict()
        ranks = table["first_rank"].to_numpy(float)
        summary["recall"] = (
            {str(k): float(v) for k, v in zip(sizes, cmc(ranks, sizes), strict=True)} if len(ranks) else {}
        )
        return summary


def evaluate(
    ranking: pd.DataFrame | ScoreBlock, protocol: Protocol, catalog: Catalog, k: int = 20, chunk: int = 256
) -> Evaluation:
    """Evaluate a ranking under a protocol.

    Args:
        ranking: either a table of the columns query_id, candidate_id (image ids) and score, larger is better, in any
            order; rows of other queries, of photographs outside the database and of excluded ones are ignored, a query
            without rows earns 0. Equal scores are ordered by candidate_id. Or a function (query ids, candidate ids) ->
            (Q, C) scores of the whole database, called for ``chunk`` queries at a time; equal scores are ordered as in
            the protocol's database.
        protocol: queries, database and rule.
        catalog: the labelled photographs.
        k: places that count for average precision.
        chunk: number of queries held in memory at a time.

    Raises:
        ProtocolError: a column is missing, a score is NaN, or a pair occurs twice.
    """
    relations = Relations(protocol, catalog)
    if isinstance(ranking, pd.DataFrame):
        return _evaluate_table(ranking, relations, k, chunk)
    asked = np.flatnonzero(relations.n_relevant)
    database = list(protocol.database)
    parts = []
    for start in range(0, len(asked), chunk):
        rows = asked[start : start + chunk]
        scores = np.array(ranking([protocol.queries[r] for r in rows], database), np.float64)
        if scores.shape != (len(rows), len(database)) or np.isnan(scores).any():
            raise ProtocolError(f"{protocol.name}: need ({len(rows)}, {len(database)}) scores without NaN")
        relevant, excluded = relations.block(rows)
        scores[excluded] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")
        parts.append(_judge(np.take_along_axis(relevant, order, 1), relations.n_relevant[rows], k))
    return _collect(relations, asked, parts)


def evaluate_similarity(
    descriptors: npt.NDArray[np.floating],
    ids: Sequence[str],
    protocol: Protocol,
    catalog: Catalog,
    k: int = 20,
    chunk: int = 256,
) -> Evaluation:
    """Evaluate global descriptors by their inner product (cosine, if they are L2-normalised), a chunk at a time.

    Args:
        descriptors: (N, D), one row per photograph of ``ids``.
        ids: image ids; every photograph of the protocol must be among them.
        protocol, catalog, k, chunk: as in :func:`evaluate`.

    Raises:
        ProtocolError: a photograph has no descriptor.
    """
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    missing = [i for i in (*protocol.queries, *protocol.database) if i not in row_of]
    if missing or len(ids) != len(descriptors):
        raise ProtocolError(f"{len(descriptors)} descriptors for {len(ids)} ids; none for {missing[:3]}")
    database = np.asarray(descriptors)[[row_of[i] for i in protocol.database]].astype(np.float32).T

    def scores(query_ids: list[str], _: list[str]) -> npt.NDArray[np.floating]:
        return np.asarray(descriptors)[[row_of[i] for i in query_ids]].astype(np.float32) @ database

    return evaluate(scores, protocol, catalog, k=k, chunk=chunk)


def _evaluate_table(ranking: pd.DataFrame, relations: Relations, k: int, chunk: int) -> Evaluation:
    """Evaluate a ranking that is given as pairs."""
    protocol = relations.protocol
    if absent := {"query_id", "candidate_id", "score"} - set(ranking.columns):
        raise ProtocolError(f"the ranking lacks the columns {sorted(absent)}")
    query = pd.Index(protocol.queries).get_indexer(pd.Index(ranking["query_id"]))
    candidate = pd.Index(protocol.database).get_indexer(pd.Index(ranking["candidate_id"]))
    pairs = pd.DataFrame({"query": query, "candidate": candidate, "score": ranking["score"].to_numpy(np.float64)})
    pairs["name"] = ranking["candidate_id"].to_numpy()
    pairs = pairs[(pairs["query"] >= 0) & (pairs["candidate"] >= 0)]
    if pairs["score"].isna().any() or pairs.duplicated(["query", "candidate"]).any():
        raise ProtocolError(f"{protocol.name}: a score is NaN, or a pair of query and candidate occurs twice")
    pairs = pairs.sort_values(["query", "score", "name"], ascending=[True, False, True], kind="stable")
    rows, places = pairs["query"].to_numpy(), pairs["candidate"].to_numpy()
    asked = np.flatnonzero(relations.n_relevant)
    parts = []
    for start in range(0, len(asked), chunk):
        chosen = asked[start : start + chunk]
        relevant, excluded = relations.block(chosen)
        spans = zip(np.searchsorted(rows, chosen), np.searchsorted(rows, chosen, side="right"), strict=True)
        lists = [places[low:high] for low, high in spans]
        lists = [found[~excluded[i, found]] for i, found in enumerate(lists)]
        hits = np.zeros((len(chosen), max(map(len, lists), default=0)), bool)
        for i, found in enumerate(lists):
            hits[i, : len(found)] = relevant[i, found]
        parts.append(_judge(hits, relations.n_relevant[chosen], k))
    return _collect(relations, asked, parts)


def _judge(hits: BoolArray, n_relevant: npt.NDArray[np.int64], k: int) -> pd.DataFrame:
    """Return ap20, top1 and first_rank for (q, L) ranked hits: the average precision in bulk."""
    top = hits[:, :k]
    precision = np.cumsum(top, axis=1) / np.arange(1, top.shape[1] + 1)
    found = hits.any(axis=1)
    first = np.where(found, hits.argmax(axis=1) + 1.0, np.nan) if hits.shape[1] else np.full(len(hits), np.nan)
    gain = (precision * top).sum(axis=1) / np.minimum(n_relevant, k)
    return pd.DataFrame({"ap20": gain, "top1": first == 1.0, "first_rank": first})


def _collect(relations: Relations, asked: npt.NDArray[np.intp], parts: list[pd.DataFrame]) -> Evaluation:
    """Put the judged chunks beside their queries."""
    empty = pd.DataFrame({"ap20": np.zeros(0), "top1": np.zeros(0, bool), "first_rank": np.zeros(0)})
    judged = pd.concat(parts, ignore_index=True) if parts else empty
    judged["query_id"] = [relations.protocol.queries[row] for row in asked]
    judged["individual_id"] = relations.individuals[asked]
    judged["n_relevant"] = relations.n_relevant[asked]
    return Evaluation(relations.protocol, judged[PER_QUERY], len(relations.n_relevant) - len(asked))
