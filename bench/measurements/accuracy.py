"""What the whole engine is worth on labelled photographs, beside its own parts, on individuals that no part ever saw.

Individuals are described by weights that never saw them: those of the held-out half, or of both halves in turn
(``--individuals both-halves``; bench/held_out.py). ``--individuals all`` is for a catalogue that no weights were
trained on. They are both queries and database. The ranker that scores an individual was fitted without it. Each task
comes under two rules: all matches count, or the query's own encounter is left out of the database. ``--save-ranker
FILE`` keeps the ranker fitted on all queries, which ships.

Individuals are asked in turn, so that one with two photographs counts like one with sixty. "top: any photograph" draws
photographs instead, as a user's next one is drawn; these are judged and teach nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.held_out import HELD_OUT, SOURCES, shipped_name
from bench.lists import judge_lists
from bench.local_scores import plain_score
from bench.measurement import Measurement
from bench.protocols import BOTH, Protocol, evaluate_vectors
from bench.questions import ANY, add_photographs, any_photograph
from bench.results import Result
from engine.training.ranker_training import train_on_pairs
from reranker.local_evidence import LocalEvidence
from reranker.training import TrainedRanker
from reranker.training_settings import TrainingSettings
from scarmatch.metrics import Interval, bootstrap_by_group, paired_bootstrap

#: Methods of the table: name -> column of the out-of-fold scores.
COSINE = "cosine"
METHODS = {
    COSINE: "cosine",
    "local matching alone": "plain_score",
    "plain fusion": "wildfusion_baseline",
    "calibrated mean (WildFusion rule)": "calibrated_mean",
    "logistic ranker": "logistic",
    "LightGBM ranker": "lambdamart",
    "ranker (blend) without the support of its list": "blend_alone",
    "ranker (blend)": "blend",
}
#: Kind of ranker -> its method.
RANKERS = {"logistic": "logistic ranker", "lambdamart": "LightGBM ranker", "blend": "ranker (blend)"}
#: Methods of the ranker's card: name -> heading.
CARD = {
    "cosine": "cosine",
    "calibrated mean (WildFusion rule)": "calibrated mean",
    "logistic ranker": "logistic",
    "LightGBM ranker": "LightGBM",
    "ranker (blend) without the support of its list": "blend, own evidence alone",
    "ranker (blend)": "blend",
}
SIZES = (20, 50, 100)


@dataclass(frozen=True)
class MethodFigures:
    """What one method earns at one task under one rule; intervals over individuals."""

    task: str
    rule: str
    method: str
    queries: int
    individuals: int
    map20: Interval
    top1: Interval
    gain_over_cosine: Interval


@dataclass(frozen=True)
class Recall:
    """Shortlist size -> share of a task's queries with a match in the shortlist by cosine."""

    task: str
    rule: str
    queries: int
    recall: dict[str, float]


@dataclass(frozen=True)
class Chosen:
    """The recipe that was chosen out of fold, and the errors of its calibration by rule (NaN where unknown)."""

    kind: str
    reason: str
    calibration_error: dict[str, float]
    training_queries: int


@dataclass(frozen=True)
class AccuracyFigures(Figures):
    """Everything this measurement finds."""

    photographs: int
    individuals: int
    pairs: int
    ranker: Chosen
    methods: tuple[MethodFigures, ...]
    recall: tuple[Recall, ...]


def measure(context: Context) -> AccuracyFigures:
    """Gather the pairs of all tasks, fit the ranker out of fold, and judge every method."""
    raw = context.labelled_pairs(context.queries)
    drawn = context.pairs_of_any_photograph(context.options.photographs)
    pairs = pd.concat([raw, *drawn.values()], ignore_index=True).drop_duplicates(["query_id", "candidate_id"])
    context.say(f"{len(pairs):,} pairs; fitting the ranker")
    further = {f"{ANY}: {rule}": rows for rule, rows in drawn.items()}
    settings = TrainingSettings(folds=context.options.folds, seed=context.seed)
    trained = train_on_pairs(raw, context.matcher, settings, further)
    if context.options.save_ranker is not None:
        _save(trained, context)
    if context.options.save_evidence is not None:
        about = {"individuals": context.options.individuals, "questions": raw["query_id"].nunique()}
        LocalEvidence.fit_first_stage(raw, about).save(context.options.save_evidence)
    local = pairs[["query_id", "candidate_id"]].assign(plain_score=plain_score(pairs))
    report = trained.report
    return AccuracyFigures(
        photographs=context.photographs,
        individuals=context.individuals,
        pairs=len(pairs),
        ranker=Chosen(report["kind"], report["reason"], report["calibration_error"], report["training_queries"]),
        methods=tuple(
            m
            for rule in BOTH
            for name in (rule, f"{ANY}: {rule}")
            if name in trained.scores
            for m in judge(trained.scores[name], rule, local)
        ),
        recall=_recalls(context),
    )


def judge(scores: pd.DataFrame, rule: str, local: pd.DataFrame) -> list[MethodFigures]:
    """Return what every method earns at every task of one rule's out-of-fold scores.

    Args:
        scores: see :attr:`reranker.training.TrainedRanker.scores`.
        rule: of these scores.
        local: query_id, candidate_id, plain_score.
    """
    frame = scores.merge(local, on=["query_id", "candidate_id"], how="left", validate="one_to_one")
    task = frame["query_id"].str.split("|", n=1).str[0]
    found = []
    for name, rows in frame.groupby(task, sort=False):
        earned = {method: judge_lists(rows, column) for method, column in METHODS.items() if column in rows}
        base = earned["cosine"]
        if base.empty:
            continue
        who = base["individual"].to_numpy(str)
        for method, table in earned.items():
            worth = table["ap20"].to_numpy(float)
            found.append(
                MethodFigures(
                    str(name),
                    rule,
                    method,
                    len(table),
                    len(set(who)),
                    bootstrap_by_group(worth, who),
                    bootstrap_by_group(table["top1"].to_numpy(float), who),
                    paired_bootstrap(worth, base["ap20"].to_numpy(float), who),
                )
            )
    return found


def _recalls(context: Context) -> tuple[Recall, ...]:
    """Return the recall of the shortlists by cosine, for every task and rule; of two halves, over all their queries."""
    found: dict[tuple[str, str], list[Recall]] = {}
    for half in context.halves:
        drawn = any_photograph(half.index.catalog, context.options.photographs, context.seed)
        for task in (*half.tasks(context.queries), *([drawn] if drawn is not None else [])):
            for rule in BOTH:
                found.setdefault((task.name, rule), []).append(recall_of(task, rule, half))
    return tuple(_together(parts) for parts in found.values())


def _together(parts: Sequence[Recall]) -> Recall:
    """Return the recall over the queries of all parts."""
    asked = [part for part in parts if part.queries]
    queries = sum(part.queries for part in asked)
    if not asked:
        return parts[0]
    recall = {size: sum(part.queries * part.recall[size] for part in asked) / queries for size in asked[0].recall}
    return replace(parts[0], queries=queries, recall=recall)


def recall_of(task: Protocol, rule: str, context: Context) -> Recall:
    """Return the recall of the shortlists by cosine."""
    index = context.index
    vectors = dict(zip(index.catalog.ids, index.vectors, strict=True))
    found = evaluate_vectors(vectors, vectors, replace(task, rule=rule), index.catalog).summary(SIZES)  # type: ignore[arg-type]
    return Recall(task.name, rule, found.queries, found.recall)


def _save(trained: TrainedRanker, context: Context) -> None:
    # It will be asked about what ships, whose twins it was trained on.
    model = shipped_name(context.settings.describe.descriptor.model)
    trained.ranker.with_origin(trained.ranker.keypoint_kind, model, {}).save(context.options.save_ranker)


def full(result: Result[AccuracyFigures]) -> str:
    """Return the table of tasks, and every method's figures."""
    methods = result.figures.methods
    heads = ["task", "matches", "queries", "method", "mAP@20", "top-1", "gain over cosine"]
    tasks = markdown.only_once(f"{m.task} | {m.rule.replace('_', ' ')} | {m.queries}" for m in methods)
    rows = [
        [head or " | | ", m.method, *(markdown.interval(v) for v in (m.map20, m.top1, m.gain_over_cosine))]
        for head, m in zip(tasks, methods, strict=True)
    ]
    every = markdown.table(heads, rows)
    return f"{_table(result, None)}\n\nEvery method:\n\n{every}"


def short(result: Result[AccuracyFigures]) -> str:
    """Return the table without years within themselves, and pairs of years only where all earlier ones are asked."""
    return _table(result, _main_tasks([r.task for r in result.figures.recall]))


def _table(result: Result[AccuracyFigures], wanted: set[str] | None) -> str:
    figures = result.figures
    found: dict[tuple[str, str], dict[str, MethodFigures]] = {}
    for m in figures.methods:
        found.setdefault((m.task, m.rule), {})[m.method] = m
    rows = []
    for recall in _in_order(figures):
        methods = found.get((recall.task, recall.rule), {})
        # Between years no encounter is shared, so the second rule would repeat the first: the cosine is the same.
        first = found.get((recall.task, "all"), {}).get(COSINE)
        repeats = methods and first is not None and methods[COSINE] == replace(first, rule=recall.rule)
        if methods and (recall.rule == "all" or not repeats) and (wanted is None or recall.task in wanted):
            rows.append(_cells(recall, methods, methods[RANKERS[figures.ranker.kind]]))
    heads = ["question", "matches that count", "queries (whales)", "cosine alone", "local matching alone", "ranker"]
    heads += ["ranker's gain", "top-1", "recall at 20 / 50 / 100"]
    words = [
        f"mAP@20, 95 % intervals over whales; {figures.photographs:,} photographs of {figures.individuals} whales "
        f"({result.protocol.get('source', SOURCES[HELD_OUT])}).",
        f"{figures.pairs:,} pairs. Expected calibration error of the probabilities shown: {_errors(figures)}.",
        f"Ranker chosen out of fold: {figures.ranker.kind}.",
    ]
    return f"{markdown.table(heads, rows)}\n\n{' '.join(words)}"


def _in_order(figures: AccuracyFigures) -> list[Recall]:
    """Return the questions as tables show them, photographs drawn at random first."""
    return sorted(figures.recall, key=lambda recall: recall.task != ANY)


def _cells(recall: Recall, methods: dict[str, MethodFigures], chosen: MethodFigures) -> list[str]:
    return [
        recall.task,
        {"all": "all", "other_encounter": "other encounters"}[recall.rule],
        f"{chosen.queries} ({chosen.individuals})",
        f"{methods['cosine'].map20.mean:.3f}",
        f"{methods['local matching alone'].map20.mean:.3f}",
        markdown.bold(chosen.map20),
        markdown.change(chosen.gain_over_cosine),
        f"{chosen.top1.mean:.2f}",
        " / ".join(f"{value:.2f}" for value in recall.recall.values()),
    ]


def _main_tasks(tasks: Sequence[str]) -> set[str]:
    """Return all years, views, and of every later year the question with most earlier years."""
    widest: dict[str, str] = {}
    kept = set()
    for task in tasks:
        later, arrow, earlier = task.partition(" -> ")
        if arrow and later.startswith("top: "):
            if later not in widest or earlier.count("+") > widest[later].count("+"):
                widest[later] = task
        elif not task.endswith(" within"):
            kept.add(task)
    return kept | set(widest.values())


def _errors(figures: AccuracyFigures) -> str:
    errors = figures.ranker.calibration_error.items()
    return ", ".join(f"{value:.3f} ({rule.replace('_', ' ')})" for rule, value in errors if value == value)


def ranker_card(result: Result[AccuracyFigures]) -> str:
    """Return the table of the ranker's card: every question, every method, and the errors of the calibration."""
    found: dict[tuple[str, str], dict[str, Interval]] = {}
    for m in result.figures.methods:
        found.setdefault((m.task, m.rule), {})[m.method] = m.map20
    rows = [
        [task, rule.replace("_", " "), *(markdown.interval(methods[name]) for name in CARD)]
        for (task, rule), methods in found.items()
    ]
    words = f"Expected calibration error of the first 20 of a list, cross-fitted: {_errors(result.figures)}."
    return f"{markdown.table(['question', 'matches', *CARD.values()], rows)}\n\n{words}"


def headline(result: Result[AccuracyFigures], by: str) -> str:
    """Return the README's table: the questions from above, by the global descriptor alone and by the whole engine.

    Args:
        result: what was measured.
        by: the command that measures it.
    """
    figures = result.figures
    found = {(m.task, m.rule, m.method): m for m in figures.methods}
    wanted = {task for task in _main_tasks([r.task for r in figures.recall]) if task.startswith("top: ")}
    rows = []
    for recall in _in_order(figures):
        chosen = found.get((recall.task, recall.rule, RANKERS[figures.ranker.kind]))
        # Between years no encounter is shared, so the second rule would repeat the first.
        if recall.task not in wanted or chosen is None or (" -> " in recall.task and recall.rule != "all"):
            continue
        said = {"all": "", "other_encounter": ", matches of other encounters only"}[recall.rule]
        counts = f"{chosen.queries} ({chosen.individuals})"
        cosine = markdown.interval(found[recall.task, recall.rule, "cosine"].map20)
        rows.append([recall.task + said, counts, cosine, markdown.bold(chosen.map20), f"{chosen.top1.mean:.2f}"])
    heads = ["question", "queries (whales)", "global descriptor alone", "scarmatch", "top-1"]
    return f"By {by}:\n\n{markdown.table(heads, rows)}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    add_photographs(parser)
    parser.add_argument("--save-ranker", type=Path, metavar="FILE", help="keep the ranker trained on all queries")
    parser.add_argument(
        "--save-evidence", type=Path, metavar="FILE", help="keep the first stage's weights fitted on all these pairs"
    )


MEASUREMENT = Measurement(
    title="The engine beside its parts",
    figures=AccuracyFigures,
    measure=measure,
    full=full,
    short=short,
    add_options=add_options,
    queries=400,
    folds=True,
)
