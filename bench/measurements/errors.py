"""Where the engine fails, on what kind of photographs, and whom it takes for whom.

The questions are those of the measurement "accuracy" (photographs from above among all years; a flank against above and
back), without the query's own encounter. Three things come out:

* Causes that can be measured: the queries from above in thirds by resolution, sharpness, visible body, keypoints on
  marks, brightness of the skin (calves are dark grey), light unlike its matches', time to the nearest match. A query's
  likely causes are those in which it lies in the worst fifth.
* Confusion: which two individuals are taken for each other most often. A sure confusion in both directions may also be
  one animal with two names.
* With ``--pictures FOLDER`` a page of the worst queries, the surest wrong answers first, each with its first answers
  and its true match last.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.pages import draw_page, outside_repository
from bench.photographs import Photographs, Third, thirds_by
from bench.protocols import Protocol, Rule, allowed, evaluate_answers
from bench.results import Result
from engine.catalogue.catalog import CatalogError
from engine.catalogue.index import CatalogIndex
from engine.search.individuals import rank_individuals
from reranker.individual_model import IndividualModel
from scarmatch.metrics import Interval, bootstrap_by_group

TASKS = ("top: all years", "lateral -> top", "top -> lateral")
RULE: Rule = "other_encounter"
OUTCOMES = ("first", "places 2–20", "later in the shortlist", "not in the shortlist")
#: A query that lies in the worst fifth of a measure: that measure is a likely cause.
WORST_SHARE = 0.2
#: Matches of a query whose light is looked at, those that look most alike first; answers and confusions that are shown.
LIT_MATCHES, ANSWERS_DRAWN, CONFUSIONS = 4, 5, 15


@dataclass(frozen=True)
class Cause:
    """A measurable cause: its column, what it is called, what being bad at it is called, and which end is bad."""

    column: str
    name: str
    bad: str
    little_is_bad: bool = True


CAUSES = (
    Cause("length", "longer side, pixels", "low resolution"),
    Cause("sharpness", "sharpness", "blurred"),
    Cause("body_share", "share of visible body", "little body"),
    Cause("marks", "keypoints on marks", "few marks"),
    Cause("brightness", "brightness of the skin, grey levels", "dark skin (calf)"),
    Cause("light_gap", "lit flank unlike its matches'", "other light", False),
    Cause("days", "days to the nearest match", "long ago", False),
    Cause("matches", "matches in the catalogue", "few matches"),
)


@dataclass(frozen=True)
class Outcomes:
    """One task's answers; ``outcomes``: where the first match stands -> queries."""

    question: str
    queries: int
    individuals: int
    map20: Interval
    top1: Interval
    outcomes: dict[str, int]


@dataclass(frozen=True)
class CauseFigures:
    """mAP@20 of the queries in thirds of a measure.

    Attributes:
        cause: name of the measure.
        worst, middle, best: thirds.
        correlation: Spearman's between average precision and the measure's good side: positive where it matters; NaN
            where all lists are worth the same.
        share_of_failures, share_of_all: share of wrong first answers, and of all queries, in the worst fifth.
    """

    cause: str
    worst: Third
    middle: Third
    best: Third
    correlation: float
    share_of_failures: float
    share_of_all: float


@dataclass(frozen=True)
class Confusion:
    """Two individuals taken for each other; ``query``, ``candidate``, ``probability``: the surest case."""

    individuals: tuple[str, str]
    queries: int
    both_directions: bool
    query: str
    candidate: str
    probability: float


@dataclass(frozen=True)
class ErrorFigures(Figures):
    """Everything this measurement finds."""

    photographs: int
    individuals: int
    questions: tuple[Outcomes, ...]
    causes: tuple[CauseFigures, ...]
    failures: int
    failures_without_cause: int
    confusion: tuple[Confusion, ...]


@dataclass(frozen=True, eq=False)
class Asked:
    """One task's answers.

    Attributes:
        task: who was asked of whom.
        answers: the engine's ranked candidates, the whole shortlist.
        queries: one row per query with a match, indexed by image id: individual_id, ap20, top1, first_rank, outcome,
            probability (the first candidate's).
        individual_model: what the ranker has learned of an individual's photographs together.
    """

    task: Protocol
    answers: pd.DataFrame
    queries: pd.DataFrame
    individual_model: IndividualModel | None = None

    def summary(self) -> Outcomes:
        """Return the figures of all queries together."""
        table = self.queries
        who = table["individual_id"].to_numpy(str)
        map20, top1 = (bootstrap_by_group(table[column].to_numpy(float), who) for column in ("ap20", "top1"))
        counts = table["outcome"].value_counts()
        outcomes = {name: int(counts.get(name, 0)) for name in OUTCOMES}
        return Outcomes(self.task.name, len(table), len(set(who)), map20, top1, outcomes)


def measure(context: Context) -> ErrorFigures:
    """Ask, measure, and draw if there is a folder for it."""
    index = context.index
    tasks = {task.name: task for task in context.tasks(context.queries)}
    done = []
    for name in TASKS:
        if name in tasks:
            context.say(f"{name}: {len(tasks[name].queries)} queries")
            done.append(ask(tasks[name].with_rule(RULE), context))
    done = [asked for asked in done if len(asked.queries)]
    if not done or done[0].task.name != TASKS[0]:
        raise CatalogError(f"{index.catalog.root}: no whale was photographed from above in two encounters")
    main = done[0]
    context.say("measuring light and marks")
    table = measured(main, index, Photographs(index, context))
    failed = ~table["top1"].to_numpy(bool)
    if context.options.pictures is not None:
        chosen = worst_queries(table, context.options.worst)
        page = draw_page(
            _shown(chosen, main, index), index, context.matcher, context.options.pictures, "Where it fails"
        )
        context.say(f"page: {page}")
    return ErrorFigures(
        photographs=context.photographs,
        individuals=context.individuals,
        questions=tuple(asked.summary() for asked in done),
        causes=tuple(by_cause(table)),
        failures=int(failed.sum()),
        failures_without_cause=int((failed & ~worst_fifths(table).any(axis=1).to_numpy()).sum()),
        confusion=tuple(confusion(main)),
    )


def ask(task: Protocol, context: Context) -> Asked:
    """Ask a task's queries without their own encounters and judge the answers."""
    index = context.index
    size = context.settings.shortlist.longest(len(task.database))
    answers = context.rankers.answers(index.subset(list(task.queries)), index.subset(list(task.database)), RULE, size)
    judged = evaluate_answers(answers, task, index.catalog).per_query.set_index("query_id")
    first = answers[answers["rank"] == 1].set_index("query_id").reindex(judged.index)
    place = judged["first_rank"].to_numpy(float)
    outcome = np.select([place == 1, place <= 20, place > 20], list(OUTCOMES[:3]), OUTCOMES[3])
    queries = judged.assign(outcome=outcome, probability=first["probability"].to_numpy(float))
    return Asked(task, answers, queries, context.rankers.individual_model)


def true_matches(query_id: str, task: Protocol, index: CatalogIndex) -> list[str]:
    """Return the matches of a query in the database, those that look most alike (by cosine) first."""
    row, database = index.catalog.row(query_id), index.catalog.subset(task.database)
    mask = allowed(row, database, task.rule) & (database.keys.individual_id == row["individual_id"])
    names = np.array(database.ids, object)[mask].tolist()
    vector = index.vectors[index.catalog.position(query_id)]
    return sorted(names, key=lambda name: -float(index.vectors[index.catalog.position(name)] @ vector))


def measured(asked: Asked, index: CatalogIndex, photographs: Photographs) -> pd.DataFrame:
    """Return the queries with one column for each of :data:`CAUSES`."""
    dates = index.catalog.table.set_index("image_id")["date"]
    rows = []
    for query_id in asked.queries.index:
        matches, own = true_matches(query_id, asked.task, index), photographs.light(query_id)
        sides = [abs(photographs.light(name).side - own.side) for name in matches[:LIT_MATCHES]]
        gaps = (dates.reindex(matches) - dates[query_id]).abs().dt.days
        rows.append(
            {
                "marks": photographs.marks(query_id),
                "brightness": own.brightness,
                "light_gap": min((side for side in sides if not math.isnan(side)), default=math.nan),
                "days": float(gaps.min()),
                "matches": float(len(matches)),
            }
        )
    return asked.queries.join(photographs.plain).join(pd.DataFrame(rows, index=asked.queries.index, dtype=float))


def badness(table: pd.DataFrame, cause: Cause) -> npt.NDArray[np.float64]:
    """Return (queries,) the measure, turned so that more is worse."""
    values = table[cause.column].to_numpy(float)
    return -values if cause.little_is_bad else values


def worst_fifths(table: pd.DataFrame) -> pd.DataFrame:
    """Return (queries, causes) bool: where a query lies in the worst fifth of a measure."""
    columns = {}
    for cause in CAUSES:
        values = badness(table, cause)
        known = values[~np.isnan(values)]
        told = len(known) >= 1 / WORST_SHARE and np.ptp(known) > 0
        columns[cause.bad] = values >= np.quantile(known, 1 - WORST_SHARE) if told else np.zeros(len(values), bool)
    return pd.DataFrame(columns, index=table.index)


def by_cause(table: pd.DataFrame) -> list[CauseFigures]:
    """Return, per measure, the worst, middle and best third of the queries with their figures."""
    from scipy.stats import spearmanr

    worth, who = table["ap20"].to_numpy(float), table["individual_id"].to_numpy(str)
    worst, failed = worst_fifths(table), ~table["top1"].to_numpy(bool)
    found = []
    for cause in CAUSES:
        bad = badness(table, cause)
        known = ~np.isnan(bad)
        thirds = thirds_by(bad, worth, who, table[cause.column].to_numpy(float))
        if thirds is None:
            continue
        told = np.ptp(worth[known]) > 0
        rho = float(spearmanr(-bad[known], worth[known]).statistic) if told else math.nan
        flagged = worst[cause.bad].to_numpy(bool)
        lost = known & failed
        share = float(flagged[lost].mean()) if lost.any() else 0.0
        found.append(CauseFigures(cause.name, *thirds, rho, share, float(flagged[known].mean())))
    return found


def confusion(asked: Asked) -> list[Confusion]:
    """Return the pairs of individuals that are taken for each other most often, then by the surest case.

    Each query whose first individual is wrong counts for the pair (its own, the first).
    """
    best = rank_individuals(asked.answers, 1, asked.individual_model).set_index("query_id").reindex(asked.queries.index)
    best = best.assign(truth=asked.queries["individual_id"]).dropna(subset=["individual_id"])
    wrong = best[best["individual_id"] != best["truth"]].sort_values("probability", ascending=False, kind="stable")
    sides = wrong[["truth", "individual_id"]].astype(str)
    found = []
    for (one, other), cases in wrong.groupby([sides.min(axis=1), sides.max(axis=1)]):
        surest = cases.iloc[0]
        both = cases["truth"].nunique() == 2
        case = (str(cases.index[0]), str(surest["best_image_id"]), float(surest["probability"]))
        found.append(Confusion((str(one), str(other)), len(cases), both, *case))
    found.sort(key=lambda c: (-c.queries, -c.probability, c.individuals))
    return found[:CONFUSIONS]


def worst_queries(table: pd.DataFrame, count: int) -> list[str]:
    """Return the queries of the least average precision, among equals the surest wrong answers first."""
    failed = table[~table["top1"].astype(bool)]
    order = np.lexsort((failed.index.to_numpy(str), -failed["probability"].fillna(0.0), failed["ap20"]))
    return failed.index[order[:count]].tolist()


def _shown(queries: list[str], asked: Asked, index: CatalogIndex) -> pd.DataFrame:
    """Return the first answers of some queries, and after them the true match that looks most alike."""
    parts = []
    for query in queries:
        rows = asked.answers[asked.answers["query_id"] == query].head(ANSWERS_DRAWN)
        match = true_matches(query, asked.task, index)[:1]
        missing = pd.DataFrame([{"query_id": query, "image_id": m} for m in match if m not in set(rows["image_id"])])
        listed = asked.answers[asked.answers["query_id"] == query].set_index("image_id")["probability"]
        if len(missing):
            missing["probability"] = listed.reindex(missing["image_id"]).fillna(0.0).to_numpy()
        parts += [rows, missing]
    return pd.concat(parts, ignore_index=True)


def full(result: Result[ErrorFigures]) -> str:
    """Return outcomes by viewpoint, causes in thirds, confusion."""
    figures = result.figures
    outcomes = [
        [
            r.question,
            f"{r.queries} ({r.individuals})",
            markdown.interval(r.map20, 2),
            markdown.interval(r.top1, 2),
            *(f"{r.outcomes[name] / max(r.queries, 1):.0%}" for name in OUTCOMES),
        ]
        for r in figures.questions
    ]
    causes = [
        [
            r.cause,
            *(f"{markdown.interval(t.earned, 2)} [{t.least:.3g}–{t.most:.3g}]" for t in (r.worst, r.middle, r.best)),
            "–" if math.isnan(r.correlation) else f"{r.correlation:+.2f}",
            f"{r.share_of_failures:.0%} / {r.share_of_all:.0%}",
        ]
        for r in figures.causes
    ]
    words = (
        "mAP@20 of the thirds of the queries from above (range of the measure), own encounter left out; the last "
        f"column counts queries in the worst fifth. {figures.failures_without_cause} of {figures.failures} "
        "failures lie in no worst fifth."
    )
    confused = [
        [" and ".join(c.individuals), str(c.queries), "yes" if c.both_directions else "no", f"{c.probability:.2f}"]
        for c in figures.confusion
    ]
    heads = ["cause", "worst third", "middle", "best third", "rank correlation", "of the failures / of all"]
    return "\n\n".join(
        [
            markdown.table(["question", "queries (whales)", "mAP@20", "top-1", *OUTCOMES], outcomes),
            markdown.table(heads, causes),
            words,
            markdown.table(["taken for each other", "queries", "both directions", "surest"], confused),
        ]
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--pictures", type=outside_repository, metavar="FOLDER", help="draw the worst queries here")
    parser.add_argument("--worst", type=int, default=24, help="queries that are drawn (24)")


MEASUREMENT = Measurement(
    title="Where it fails",
    figures=ErrorFigures,
    measure=measure,
    full=full,
    add_options=add_options,
    queries=160,
    ranker=True,
)
