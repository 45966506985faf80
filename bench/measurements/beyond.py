"""Protocols beyond the challenge: what a biologist asks, measured through the public API.

* Time forward: the catalogue is all that was photographed from above before the last year; each encounter of the last
  year is a question. Its animal is known or new, and the engine must say which, and who.
* Encounters against single photographs: all photographs of an encounter as one question, beside its photographs asked
  alone; the own encounter is left out of the catalogue.
* Photographs per individual: the catalogue keeps k = 1, 2, 4, 8 of everybody's (fewer where there are not so many).
* Size of the catalogue: a quarter, half, all of the individuals; the questions stay those of the first quarter.

The last three leave out the query's own encounter. Intervals (95 %) are over whales. ``--queries`` bounds the questions
of each; an encounter asks with at most five photographs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.protocols import Protocol, evaluate_answers, select, years_of
from bench.results import Result
from engine.search.individuals import NEW_INDIVIDUAL, new_individual_probability, rank_encounters, rank_individuals
from engine.training.ranker_training import in_turn
from scarmatch.metrics import (
    Interval,
    auc,
    balanced_accuracy,
    bootstrap_by_group,
    bootstrap_statistic,
    paired_bootstrap,
)

PER_INDIVIDUAL = (1, 2, 4, 8)
SHARES = (0.25, 0.5, 1.0)
#: Photographs that an encounter asks with: more of one minute say the same again and cost as much.
PER_QUESTION = 5


@dataclass(frozen=True)
class Verdicts:
    """How well known and new animals are told apart, and the known ones named."""

    known: int
    new: int
    individuals: int
    auroc: Interval
    balanced_accuracy: Interval
    new_called_new: Interval
    known_called_new: Interval
    top1_of_known: Interval
    map5_of_known: Interval
    right_answer: Interval


@dataclass(frozen=True)
class TimeForward:
    """The last year asked of the years before, by encounter and by photograph."""

    catalogue: str
    year: int
    database: int
    catalogued: int
    encounter: Verdicts
    photograph: Verdicts


@dataclass(frozen=True)
class BothWays:
    """A figure of encounters asked whole, and of their photographs asked alone."""

    encounter: Interval
    photograph: Interval
    gain: Interval


@dataclass(frozen=True)
class Encounters:
    """All photographs of an encounter as one question."""

    questions: int
    photographs: int
    individuals: int
    top1: BothWays
    map5: BothWays


@dataclass(frozen=True)
class SizeFigures:
    """One catalogue of a series: ``head`` names its size, ``database`` counts its photographs."""

    head: str
    database: int
    map20: Interval
    top1: Interval
    map5: Interval


@dataclass(frozen=True)
class Series:
    """The same queries asked of growing catalogues."""

    queries: int
    records: tuple[SizeFigures, ...]


@dataclass(frozen=True)
class BeyondFigures(Figures):
    """Everything this measurement finds; a protocol that the catalogue has no photographs for is None.

    Attributes:
        left_out: protocol -> why it is None.
    """

    photographs: int
    individuals: int
    time_forward: TimeForward | None
    encounters: Encounters | None
    per_individual: Series | None
    catalogue_size: Series | None
    left_out: dict[str, str]


class LeftOut(Exception):
    """A protocol needs photographs that the catalogue does not have; the message says which."""


def measure(context: Context) -> BeyondFigures:
    """Run every protocol that the catalogue has photographs for."""
    protocols = {
        "time_forward": time_forward,
        "encounters": encounters,
        "per_individual": per_individual,
        "catalogue_size": catalogue_size,
    }
    found, left_out = {}, {}
    for name, protocol in protocols.items():
        context.say(name.replace("_", " "))
        try:
            found[name] = protocol(context)
        except LeftOut as reason:
            found[name], left_out[name] = None, str(reason)
    return BeyondFigures(context.photographs, context.individuals, **found, left_out=left_out)  # type: ignore[arg-type]


def time_forward(context: Context) -> TimeForward:
    """Ask every encounter of the last year of a catalogue of the years before; half known, half new animals if it can.

    The verdict is "new" where that is more probable than any individual.
    """
    catalog, count, seed = context.index.catalog, context.queries, context.seed
    years = years_of(catalog)
    if len(years) < 2:
        raise LeftOut("there is one year only")
    database = select(catalog, years=years[:-1])
    table = catalog.subset(select(catalog, years=years[-1:])).table
    catalogued = set(catalog.subset(database).table["individual_id"])
    table = table[table["encounter_id"].notna()].assign(known=lambda t: t["individual_id"].isin(catalogued))
    shares = {True: count - count // 2, False: count // 2}
    chosen = [name for k, n in shares.items() for name in _encounters(table[table["known"] == k], n, seed)]
    asked = table[table["encounter_id"].isin(chosen)]
    if asked["known"].nunique() < 2:
        raise LeftOut(f"{years[-1]} has no known or no new animals")
    asked = _few_each(asked, seed)
    answers = _answers(context, asked["image_id"].tolist(), list(database), "all")
    questions, model = (
        dict(zip(asked["image_id"], asked["encounter_id"], strict=True)),
        context.rankers.individual_model,
    )
    first = asked.drop_duplicates("encounter_id").set_index("encounter_id")
    return TimeForward(
        f"{years[0]}–{years[-2]}" if len(years) > 2 else str(years[0]),
        years[-1],
        len(database),
        len(catalogued),
        _verdicts(first, rank_encounters(answers, questions, model=model), answers, seed),
        _verdicts(asked.set_index("image_id"), rank_individuals(answers, model=model), answers, seed),
    )


def _verdicts(truth: pd.DataFrame, ranked: pd.DataFrame, answers: pd.DataFrame, seed: int) -> Verdicts:
    """Judge "new or known" and, of the known, who; ``truth`` has individual_id and known by question."""
    p_new = new_individual_probability(answers, truth.index.tolist(), ranked).reindex(truth.index)
    best = ranked[ranked["rank"] == 1].set_index("query_id").reindex(truth.index)
    who, known = truth["individual_id"].to_numpy(str), truth["known"].to_numpy(bool)
    called = (p_new > best["probability"].fillna(0.0)).to_numpy(bool)
    named = best["individual_id"].fillna("").to_numpy(str)
    right = np.where(called, NEW_INDIVIDUAL, named) == np.where(known, who, NEW_INDIVIDUAL)
    evidence, gains = p_new.to_numpy(float), _gains(ranked, truth["individual_id"]).to_numpy(float)

    def share(values: np.ndarray, rows: np.ndarray) -> Interval:
        return bootstrap_by_group(values[rows].astype(float), who[rows])

    return Verdicts(
        int(known.sum()),
        int((~known).sum()),
        len(set(who)),
        bootstrap_statistic(lambda rows: auc(evidence[rows], ~known[rows]), who, known, 1000, seed),
        bootstrap_statistic(lambda rows: balanced_accuracy(~known[rows], called[rows]), who, known, 1000, seed),
        share(called, ~known),
        share(called, known),
        share(named == who, known),
        share(gains, known),
        share(right, np.ones(len(who), bool)),
    )


def encounters(context: Context) -> Encounters:
    """Ask encounters of several photographs as one question, and each of their photographs alone."""
    database = select(context.index.catalog)
    table = context.index.catalog.subset(database).table
    table = table[table["encounter_id"].notna()]
    several = table.groupby("encounter_id")["image_id"].transform("size") > 1
    elsewhere = table.groupby("individual_id")["encounter_id"].transform("nunique") > 1
    askable = table[several & elsewhere]
    asked = askable[askable["encounter_id"].isin(_encounters(askable, context.queries, context.seed))]
    if asked.empty:
        raise LeftOut("no whale has an encounter of several photographs and another one")
    asked = _few_each(asked, context.seed)
    answers = _answers(context, asked["image_id"].tolist(), list(database))
    questions, model = asked.set_index("image_id")["encounter_id"], context.rankers.individual_model
    first = asked.drop_duplicates("encounter_id").set_index("encounter_id")["individual_id"]
    single, who = asked.set_index("image_id")["individual_id"], first.to_numpy(str)
    together, alone = (
        rank_encounters(answers, dict(zip(asked["image_id"], asked["encounter_id"], strict=True)), model=model),
        rank_individuals(answers, model=model),
    )
    figures = []
    for gain in (_firsts, _gains):
        whole = gain(together, first).to_numpy(float)
        # The mean over an encounter's photographs, so that both ways weigh every encounter once.
        parts = gain(alone, single).groupby(questions).mean().reindex(first.index).to_numpy(float)
        figures.append(
            BothWays(
                bootstrap_by_group(whole, who), bootstrap_by_group(parts, who), paired_bootstrap(whole, parts, who)
            )
        )
    return Encounters(len(first), len(asked), len(set(who)), *figures)


def per_individual(context: Context) -> Series:
    """Ask the same queries of catalogues with at most 1, 2, 4, 8 photographs of each individual (each within the next).

    A query's individual is represented by photographs of other encounters than the query's, so that every query can be
    answered from every catalogue.
    """
    table = context.top.catalog.table
    queries = _one_each(table, context.queries, context.seed)
    if not queries:
        raise LeftOut("no whale was seen in two encounters")
    shuffled = table.iloc[np.random.default_rng(context.seed).permutation(len(table))]
    own = set(context.top.catalog.subset(queries).table["encounter_id"])
    kept = shuffled[~shuffled["encounter_id"].isin(own) & ~shuffled["image_id"].isin(queries)]
    turns = kept.groupby("individual_id").cumcount()
    sizes = {str(k): kept["image_id"][turns < k].tolist() for k in PER_INDIVIDUAL}
    return _series(context, queries, sizes)


def catalogue_size(context: Context) -> Series:
    """Ask the same queries of catalogues with a quarter, half and all of the individuals (each within the next)."""
    table = context.top.catalog.table
    names = np.unique(table["individual_id"].to_numpy(str))
    order = np.random.default_rng(context.seed).permutation(names).tolist()
    parts = [set(order[: max(1, round(share * len(order)))]) for share in SHARES]
    queries = _one_each(table[table["individual_id"].isin(parts[0])], context.queries, context.seed)
    if not queries:
        raise LeftOut("no whale of the first quarter was seen in two encounters")
    sizes = {f"{len(part):,}": table["image_id"][table["individual_id"].isin(part)].tolist() for part in parts}
    return _series(context, queries, sizes)


def _series(context: Context, queries: list[str], databases: dict[str, list[str]]) -> Series:
    """Ask queries whose individual is in every database, without their own encounters."""
    catalog, records = context.index.catalog, []
    truth = catalog.subset(queries).table.set_index("image_id")["individual_id"]
    for head, ids in databases.items():
        database = sorted(ids, key=catalog.position)
        answers = _answers(context, queries, database)
        protocol = Protocol(head, tuple(queries), tuple(database), "other_encounter")
        ranked, who = rank_individuals(answers, model=context.rankers.individual_model), truth.to_numpy(str)
        means = [bootstrap_by_group(gain(ranked, truth).to_numpy(float), who) for gain in (_firsts, _gains)]
        records.append(SizeFigures(head, len(database), evaluate_answers(answers, protocol, catalog).mean(), *means))
    return Series(len(queries), tuple(records))


def _answers(context: Context, queries: list[str], database: list[str], rule: str = "other_encounter") -> pd.DataFrame:
    index = context.index
    return context.rankers.answers(index.subset(queries), index.subset(database), rule)  # type: ignore[arg-type]


def _one_each(table: pd.DataFrame, count: int, seed: int) -> list[str]:
    """Return one photograph of each of some individuals that were seen in another encounter too."""
    table = table[table["encounter_id"].notna()]
    several = table[table.groupby("individual_id")["encounter_id"].transform("nunique") > 1]
    if several.empty:
        return []
    limit = min(count, several["individual_id"].nunique())
    return sorted(in_turn(several[["image_id", "individual_id"]], limit, seed))


def _encounters(table: pd.DataFrame, count: int, seed: int) -> list[str]:
    """Return some encounters, individuals in turn."""
    first = table.drop_duplicates("encounter_id")
    chosen = in_turn(first[["image_id", "individual_id"]], count, seed) if len(first) else []
    return first["encounter_id"][first["image_id"].isin(chosen)].tolist()


def _few_each(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return at most :data:`PER_QUESTION` photographs of each encounter, in the order of the table."""
    shuffled = table.iloc[np.random.default_rng(seed).permutation(len(table))]
    return shuffled[shuffled.groupby("encounter_id").cumcount() < PER_QUESTION].sort_index()


def _gains(ranked: pd.DataFrame, truth: pd.Series) -> pd.Series:
    """Return, for each question of ``truth`` (question -> individual), 1 / place of its individual among five, or 0."""
    right = ranked[(ranked["rank"] <= 5) & (ranked["query_id"].map(truth) == ranked["individual_id"])]
    return (1.0 / right.set_index("query_id")["rank"]).reindex(truth.index).fillna(0.0)


def _firsts(ranked: pd.DataFrame, truth: pd.Series) -> pd.Series:
    """Return 1.0 where a question's first individual is right."""
    return (_gains(ranked, truth) == 1.0).astype(float)


def full(result: Result[BeyondFigures]) -> str:
    """Return one table a protocol."""
    f = result.figures
    parts = {
        "**A later year** (time forward)": f.time_forward and _time_table(f.time_forward),
        "**All photographs of an encounter as one question**, own encounter left out": f.encounters
        and _encounter_table(f.encounters),
        "**Photographs of each individual in the catalogue**, own encounter left out": f.per_individual
        and _size_table(f.per_individual, "at most"),
        "**Size of the catalogue**, own encounter left out": f.catalogue_size
        and _size_table(f.catalogue_size, "individuals"),
    }
    reasons = iter(f.left_out.values())
    return "\n\n".join(f"{head}\n\n{text or f'Left out: {next(reasons)}.'}" for head, text in parts.items())


def _time_table(f: TimeForward) -> str:
    heads = ["question", "known / new", "AUROC of “new”", "balanced accuracy", "new called new", "known called new"]
    heads += ["of the known: right individual first", "MAP@5", "right answer, “new” included"]
    rows = []
    for name, v in (("encounter", f.encounter), ("photograph", f.photograph)):
        values = [v.auroc, v.balanced_accuracy, v.new_called_new, v.known_called_new]
        values += [v.top1_of_known, v.map5_of_known, v.right_answer]
        rows.append([name, f"{v.known} / {v.new}", *(markdown.interval(value, 2) for value in values)])
    where = f"{f.year} asked of {f.catalogue}: {f.database:,} photographs of {f.catalogued:,} individuals."
    return f"{markdown.table(heads, rows)}\n\n{where}"


def _encounter_table(f: Encounters) -> str:
    rows = [
        [name, markdown.interval(r.photograph, 2), markdown.interval(r.encounter, 2), markdown.change(r.gain)]
        for name, r in (("right individual first", f.top1), ("MAP@5", f.map5))
    ]
    words = f"{f.questions} encounters of {f.individuals} individuals, {f.photographs} photographs."
    return f"{markdown.table(['figure', 'one photograph', 'the encounter', 'gain'], rows)}\n\n{words}"


def _size_table(f: Series, head: str) -> str:
    rows = [
        [r.head, f"{r.database:,}", *(markdown.interval(value, 2) for value in (r.map20, r.top1, r.map5))]
        for r in f.records
    ]
    heads = [head, "photographs", "mAP@20", "right individual first", "MAP@5"]
    return f"{markdown.table(heads, rows)}\n\nThe same {f.queries} queries in every row."


MEASUREMENT = Measurement(
    title="Beyond the challenge",
    figures=BeyondFigures,
    measure=measure,
    full=full,
    queries=60,
    ranker=True,
)
