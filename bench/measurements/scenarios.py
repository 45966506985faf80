"""The challenge's ten scenarios, cut from any labelled catalogue and scored officially, or a folder's own as they are.

``rank`` answers a folder without labels, and the official formula scores it. Beside the official score come: the cosine
of the global descriptors alone; the same question with the photographs of the query's own encounter removed (the
shortlist is filled up again); 95 % intervals over whales; the share of queries with a match in a shortlist of 20, 50
and 100; time and memory per stage. ``--queries`` bounds the questions of a scenario, databases stay whole. Where the
catalogue names its scenarios itself (the published test set), they are asked as they are, by what ships.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.held_out import EVERYBODY
from bench.ledger import MeasuredMatcher, Stage
from bench.measurement import Measurement
from bench.out_of_fold import OUT_OF_FOLD, SHIPPED
from bench.protocols import Evaluation, Protocol, evaluate, evaluate_answers, evaluate_vectors
from bench.results import Result
from bench.scenarios.question_sheet import QuestionSheet, cut, has_own_scenarios, take_published
from engine.catalogue.catalog import Catalog, CatalogError
from engine.catalogue.index import CatalogIndex
from engine.competitions.challenge import rank_challenge
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS, ScenarioRule
from engine.competitions.scenarios import Scenario
from engine.competitions.submission import average_precision_per_query, write_submission
from scarmatch.metrics import Interval, bootstrap_by_group

#: Private mAP@20 of the challenge's winners, all by ensembles of 7 to 15 networks on GPUs (the winners' repository,
#: github.com/drivendataorg/wheres-whale-do).
WINNERS = {"1st": 0.4954, "2nd": 0.4953, "3rd": 0.4910, "4th": 0.4871, "6th": 0.4443}
TITLES = {
    "scenario01": "top, all years",
    "scenario02": "top, first year",
    "scenario03": "top, second year",
    "scenario04": "top, third year",
    "scenario05": "top, second year → first",
    "scenario06": "top, third year → first and second",
    "scenario07": "top, third year → second",
    "scenario08": "top, third year → first",
    "scenario09": "lateral → top",
    "scenario10": "top → lateral",
}


@dataclass(frozen=True)
class RuleFigures:
    """Answers and cosine alone under one rule; ``recall``: size of a shortlist by cosine -> queries with a match."""

    queries: int
    individuals: int
    map20: Interval
    top1: Interval
    cosine_map20: Interval
    recall: dict[str, float]


@dataclass(frozen=True)
class ScenarioFigures:
    """One scenario: the official score, and what every match and those of other encounters alone are worth."""

    scenario: str
    queries: int
    individuals: int
    database: int
    official: Interval
    all: RuleFigures
    other_encounter: RuleFigures | None

    @property
    def title(self) -> str:
        """Its number and what it asks."""
        return f"{self.scenario.removeprefix('scenario').lstrip('0')}: {TITLES.get(self.scenario, '')}"


@dataclass(frozen=True)
class ScenariosFigures(Figures):
    """Everything this measurement finds.

    Attributes:
        published: the scenarios came with the photographs and have the challenge's own sizes, all ten of them.
        overall: mAP@20 over all queries.
        left_out: scenario -> why this catalogue cannot have it.
        stages: what ``rank`` took.
    """

    published: bool
    photographs: int
    individuals: int
    queries: int
    unanswered: int
    overall: Interval
    scenarios: tuple[ScenarioFigures, ...]
    left_out: dict[str, str]
    stages: tuple[Stage, ...]


def measure(context: Context) -> ScenariosFigures:
    """Ask, score, and ask again without the queries' own encounters."""
    options = context.options
    published = has_own_scenarios(options.catalog)
    if options.ranker is None:  # the shipped ranker was trained on none of the published test set's photographs
        options.ranker = SHIPPED if published else OUT_OF_FOLD
    if published:
        options.individuals = EVERYBODY
        if options.queries is not None or options.scale != 1.0:
            raise CatalogError(
                f"{options.catalog} names its scenarios itself and is asked as it is: leave out --queries"
            )
    elif options.answers is not None:
        raise CatalogError(f"--answers goes with a folder that has a query_scenarios.csv; {options.catalog} has none")
    rules = rules_named(options.only)
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
        return run(_sheet(context, published, rules, options.work), context)
    with tempfile.TemporaryDirectory(prefix="scarmatch-scenarios-") as folder:
        return run(_sheet(context, published, rules, Path(folder)), context)


def _sheet(context: Context, published: bool, rules: Sequence[ScenarioRule], work: Path) -> QuestionSheet:
    options = context.options
    if published:
        return take_published(options.catalog, work, rules, options.answers)
    return cut(context.catalog, work, rules, options.scale, options.queries, context.seed)


def rules_named(numbers: Sequence[int] | None) -> tuple[ScenarioRule, ...]:
    """Return the challenge's rules by their numbers (1 to 10), all of them if None.

    Raises:
        CatalogError: there is no such scenario.
    """
    unknown = sorted(n for n in numbers or () if not 1 <= n <= len(CHALLENGE_SCENARIOS))
    if unknown:
        raise CatalogError(f"there is no scenario {unknown[0]}: they are numbered 1 to {len(CHALLENGE_SCENARIOS)}")
    chosen = sorted(set(numbers)) if numbers else range(1, len(CHALLENGE_SCENARIOS) + 1)
    return tuple(CHALLENGE_SCENARIOS[n - 1] for n in chosen)


def run(sheet: QuestionSheet, context: Context) -> ScenariosFigures:
    """Rank the folder without labels, score it, and judge every scenario."""
    asked = sum(map(len, sheet.scenarios))
    context.say(f"{len(sheet.scenarios)} scenarios, {asked:,} queries, {len(sheet.labelled):,} photographs")
    who = individuals_of(sheet)
    submission, unanswered, stages = rank(sheet, who, context)
    precision = average_precision_per_query(submission, sheet.answers)
    index = context.matcher.index(sheet.labelled, context.progress("photographs"))
    records = []
    for scenario in sheet.scenarios:
        context.say(f"{scenario.scenario_id}: scoring, and asking again without the queries' own encounters")
        if precision.index.isin(scenario.queries["query_id"]).any():
            records.append(judge(scenario, submission, precision, index, context))
    return ScenariosFigures(
        published=sheet.published,
        photographs=len(index),
        individuals=int(sheet.labelled.table["individual_id"].nunique()),
        queries=len(precision),
        unanswered=unanswered,
        overall=bootstrap_by_group(precision.to_numpy(), who.reindex(precision.index).to_numpy(str)),
        scenarios=tuple(records),
        left_out=sheet.left_out,
        stages=stages,
    )


def rank(sheet: QuestionSheet, who: pd.Series, context: Context) -> tuple[pd.DataFrame, int, tuple[Stage, ...]]:
    """Run ``rank`` on the folder without labels; return the submission, queries without an answer, what it took.

    With several rankers it runs once for each, and each query keeps the rows of its own fold's; the pairs are matched
    in the first run, which is the one that is timed.
    """
    rankers = context.rankers
    parts: list[pd.DataFrame] = []
    stages: tuple[Stage, ...] = ()
    unanswered = 0
    for fold, ranker in enumerate(rankers.rankers):
        matcher = MeasuredMatcher(context.settings, context.store, ranker, context.options.workers)
        output = sheet.folder.with_name(f"submission-{fold}.csv")
        done = rank_challenge(sheet.folder, output, matcher, announce=context.say if fold == 0 else None)
        matcher.close()
        stages, unanswered = stages or tuple(matcher.stages.values()), len(done.unanswered)
        folds = rankers.folds_of(who.reindex(done.submission["query_id"]).tolist())
        parts.append(done.submission[folds == fold])
    order = {name: place for place, name in enumerate(who.index)}
    together = pd.concat(parts, ignore_index=True)
    together = together.sort_values("query_id", key=lambda ids: ids.map(order), kind="stable")
    return write_submission(together, sheet.folder.with_name("submission.csv")), unanswered, stages


def individuals_of(sheet: QuestionSheet) -> pd.Series:
    """Return query_id -> individual."""
    queries = pd.concat([s.queries for s in sheet.scenarios], ignore_index=True)
    names = sheet.labelled.table.set_index("image_id")["individual_id"]
    return pd.Series(names.reindex(queries["query_image_id"]).to_numpy(), index=queries["query_id"])


def judge(
    scenario: Scenario, submission: pd.DataFrame, precision: pd.Series, index: CatalogIndex, context: Context
) -> ScenarioFigures:
    """Return one scenario's figures."""
    catalog: Catalog = index.catalog
    asked = precision.reindex(scenario.queries["query_id"]).dropna()
    image_of = scenario.queries.set_index("query_id")["query_image_id"]
    images = [image for image in dict.fromkeys(image_of.reindex(asked.index)) if image in catalog]
    database = [image for image in scenario.database if image in catalog]
    protocol = Protocol(scenario.scenario_id, tuple(images), tuple(database))
    who = catalog.table.set_index("image_id")["individual_id"].reindex(image_of.reindex(asked.index)).to_numpy(str)
    rows = submission[submission["query_id"].isin(asked.index)]
    ranking = rows.assign(query_id=rows["query_id"].map(image_of)).rename(columns={"database_image_id": "candidate_id"})
    ranking = ranking.drop_duplicates(["query_id", "candidate_id"])
    without = protocol.with_rule("other_encounter")
    answers = context.rankers.answers(index.subset(images), index.subset(database), "other_encounter")
    again = evaluate_answers(answers, without, catalog)
    return ScenarioFigures(
        scenario.scenario_id,
        len(asked),
        len(set(who)),
        len(database),
        bootstrap_by_group(asked.to_numpy(), who),
        _figures(evaluate(ranking, protocol, catalog), protocol, index),
        _figures(again, without, index) if len(again.per_query) else None,
    )


def _figures(judged: Evaluation, protocol: Protocol, index: CatalogIndex) -> RuleFigures:
    vectors = dict(zip(index.catalog.ids, np.asarray(index.vectors), strict=True))
    cosine, found = evaluate_vectors(vectors, vectors, protocol, index.catalog).summary(), judged.summary()
    return RuleFigures(found.queries, found.individuals, found.map20, found.top1, cosine.map20, cosine.recall)


def full(result: Result[ScenariosFigures]) -> str:
    """Return the scenarios, the whole beside the winners', time and memory."""
    f = result.figures
    heads = ["scenario", "queries (whales) / database", "challenge score", "cosine alone", "top-1"]
    heads += [
        "without own encounter (cosine alone), queries",
        "recall at 20 / 50 / 100",
        "the same without own encounter",
    ]
    stage_heads = ["stage", "photographs or pairs", "of them computed", "seconds", "memory, MiB", "largest worker, MiB"]
    stages = [
        [
            s.name,
            f"{s.items:,}",
            f"{s.computed:,}",
            f"{s.seconds:.1f}",
            f"{s.peak_mib:.0f}",
            f"{s.peak_mib_of_worker:.0f}",
        ]
        for s in f.stages
    ]
    words = [f"**mAP@20 over all {f.queries:,} queries: {markdown.interval(f.overall, 4)}**", _beside(f)]
    words += [f"{name} is left out: {why}." for name, why in f.left_out.items()]
    if f.unanswered:
        words.append(f"{f.unanswered} queries had no answer.")
    parts = [markdown.table(heads, map(_row, f.scenarios)), "\n".join(words), markdown.table(stage_heads, stages)]
    return "\n\n".join(parts)


def _row(r: ScenarioFigures) -> list[str]:
    other = r.other_encounter
    without = "–"
    if other is not None:
        without = f"{markdown.interval(other.map20)} ({other.cosine_map20.mean:.3f}), {other.queries:,}"
    return [
        r.title,
        f"{r.queries:,} ({r.individuals:,}) / {r.database:,}",
        markdown.bold(r.official),
        f"{r.all.cosine_map20.mean:.3f}",
        f"{r.all.top1.mean:.2f}",
        without,
        _recall(r.all),
        "–" if other is None else _recall(other),
    ]


def _recall(figures: RuleFigures) -> str:
    return " / ".join(f"{share:.2f}" for share in figures.recall.values())


def _beside(f: ScenariosFigures) -> str:
    if f.published:
        winners = ", ".join(f"{place} {value:.4f}" for place, value in WINNERS.items())
        return f"The challenge's private scores: {winners} (winners' repository)."
    return "This is not the published test set: not comparable with the challenge's leaderboard."


def short(result: Result[ScenariosFigures]) -> str:
    """Return scenario, size, challenge score, and the score without the query's own encounter."""
    f = result.figures
    rows = [
        [
            r.title,
            f"{r.queries:,} / {r.database:,}",
            markdown.interval(r.official),
            f"{r.all.cosine_map20.mean:.3f}",
            f"{r.all.recall['50']:.2f}",
            "–" if r.other_encounter is None else markdown.interval(r.other_encounter.map20),
        ]
        for r in f.scenarios
    ]
    heads = [
        "scenario",
        "queries / database",
        "challenge score",
        "cosine alone",
        "recall at 50",
        "without own encounter",
    ]
    words = f"mAP@20 over all {f.queries:,} queries: {markdown.bold(f.overall)}. {_beside(f)}"
    return f"{markdown.table(heads, rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.set_defaults(ranker=None)
    parser.add_argument("--queries", type=int, help="at most so many queries a scenario; databases stay whole")
    parser.add_argument("--only", type=int, action="append", metavar="N", help="scenario 1 to 10; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the sizes of queries and databases (1)")
    parser.add_argument("--answers", type=Path, help="true matches of a published test set: CSV or labelled catalogue")
    parser.add_argument("--work", type=Path, help="keep data folder and submission here (default: thrown away)")


MEASUREMENT = Measurement(
    title="The challenge's scenarios",
    figures=ScenariosFigures,
    measure=measure,
    full=full,
    short=short,
    add_options=add_options,
    ranker=True,
)
