"""How much worse the answers get when a query's photograph is worse; the catalogue stays as it is.

Photographs from above are asked as they are and spoilt in twenty ways (bench/degradations.py). Spoilt copies lie in a
temporary folder and go through the public API like any new photograph: read, described, matched, ranked. Changes are
paired: the same queries, 95 % intervals over whales. Each comes under two rules: all matches count, or the query's own
encounter is left out of the catalogue. Beside the whole engine, out of fold, stands the global descriptor alone. Spoilt
copies are the same in every run, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.degradations import DEGRADATIONS, Degradation, named, spoil
from bench.figures import Figures
from bench.measurement import Measurement
from bench.protocols import BOTH, RULES, Protocol, evaluate_answers, evaluate_vectors
from bench.results import Result
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import refs_of
from engine.training.ranker_training import choose_queries
from features.photo import PhotoError, read_photo
from scarmatch.metrics import Interval, bootstrap_by_group, paired_bootstrap

SCORERS = {"cosine": "cosine alone", "engine": "whole engine"}
NONE = "none"
#: (scorer, rule) -> one row per query: query_id, individual_id, ap20, top1.
Judged = dict[tuple[str, str], pd.DataFrame]


@dataclass(frozen=True)
class Change:
    """What one scorer earns under one rule, with photographs spoilt in one way, and the change from as they are."""

    degradation: str
    label: str
    scorer: str
    rule: str
    queries: int
    individuals: int
    map20: Interval
    map20_change: Interval


@dataclass(frozen=True)
class RobustnessFigures(Figures):
    """Everything this measurement finds."""

    photographs: int
    individuals: int
    queries: int
    records: tuple[Change, ...]


def measure(context: Context) -> RobustnessFigures:
    """Ask photographs as they are and spoilt."""
    ways = named(context.options.only)
    catalog = context.top.catalog
    chosen = catalog.subset(choose_queries(catalog, context.queries, context.seed))
    plain = judge(chosen, context)
    records = [_change(NONE, "as it is", key, table, table) for key, table in plain.items() if len(table)]
    with tempfile.TemporaryDirectory(prefix="scarmatch-robustness-") as folder:
        for number, one in enumerate(ways, start=1):
            context.say(f"{number}/{len(ways)}: {one.label}")
            with tempfile.TemporaryDirectory(dir=folder) as where:
                found = judge(spoilt(chosen, one, Path(where)), context)
            records += [
                _change(one.name, one.label, key, found[key], before) for key, before in plain.items() if len(before)
            ]
    individuals = int(catalog.table["individual_id"].nunique())
    return RobustnessFigures(len(catalog), individuals, len(chosen), tuple(records))


def judge(queries: Catalog, context: Context) -> Judged:
    """Ask photographs whose ids are those of the catalogue's; a query's namesake never is its answer."""
    index, matcher = context.top, context.matcher
    asked = matcher.index(queries, store=context.store)
    vectors, database = (dict(zip(i.catalog.ids, i.vectors, strict=True)) for i in (asked, index))
    judged: Judged = {}
    for rule in BOTH:
        protocol = Protocol("robustness", tuple(asked.catalog.ids), tuple(index.catalog.ids), rule)
        answers = context.rankers.answers(asked, index, rule)
        judged["engine", rule] = evaluate_answers(answers, protocol, index.catalog).per_query
        judged["cosine", rule] = evaluate_vectors(vectors, database, protocol, index.catalog).per_query
    return judged


def spoilt(queries: Catalog, degradation: Degradation, folder: Path) -> Catalog:
    """Write spoilt copies of photographs and return the catalogue of them: all that is known of them stays."""
    paths: list[str] = []
    for ref in refs_of(queries):
        copy = folder / f"{len(paths):05d}.png"
        try:
            spoil(read_photo(ref.path, ref.box).rgb, degradation, copy)
        except PhotoError:
            copy = ref.path  # unreadable before: described as such again
        paths.append(str(copy))
    # The box is cut out already, and the size is another now.
    return Catalog(queries.table.drop(columns=["box", "width", "height"]).assign(path=paths), folder)


def _change(name: str, label: str, key: tuple[str, str], judged: pd.DataFrame, before: pd.DataFrame) -> Change:
    """Return what is earned, and the change; a query that could not be asked earns nothing."""
    after = judged.set_index("query_id")["ap20"].reindex(before["query_id"]).fillna(0.0).to_numpy(float)
    who, old = before["individual_id"].to_numpy(str), before["ap20"].to_numpy(float)
    means = bootstrap_by_group(after, who), paired_bootstrap(after, old, who)
    return Change(name, label, *key, len(before), len(set(who)), *means)


def full(result: Result[RobustnessFigures]) -> str:
    """Return the table: ways of spoiling down, rules and scorers across."""
    figures = result.figures
    records = {(r.degradation, r.scorer, r.rule): r for r in figures.records}
    columns = [(scorer, rule) for rule in BOTH for scorer in SCORERS if (NONE, scorer, rule) in records]
    heads = ["query's photograph"]
    heads += [f"{RULES[rule]} ({records[NONE, scorer, rule].queries}), {SCORERS[scorer]}" for scorer, rule in columns]
    rows = [
        [label, *(_cell(records[name, *column]) for column in columns)]
        for name, label in dict.fromkeys((r.degradation, r.label) for r in figures.records)
    ]
    words = (
        f"mAP@20 and its change with 95 % intervals over whales; the same {figures.queries} queries from above (those "
        f"with a match under the rule in brackets) of {figures.photographs:,} photographs."
    )
    return f"{markdown.table(heads, rows)}\n\n{words}"


def _cell(record: Change) -> str:
    if record.degradation == NONE:
        return markdown.bold(record.map20)
    return f"{record.map20.mean:.3f}, {markdown.change(record.map20_change)}"


def short(result: Result[RobustnessFigures]) -> str:
    """Say what hurts most under all matches; the plot shows the rest."""
    parts = []
    for scorer, name in SCORERS.items():
        records = [r for r in result.figures.records if (r.scorer, r.rule) == (scorer, "all")]
        changed = sorted((r for r in records if r.degradation != NONE), key=lambda r: r.map20_change.mean)
        base = next((r for r in records if r.degradation == NONE), None)
        if base is not None and changed:
            worst = ", ".join(f"{r.label} {markdown.change(r.map20_change)}" for r in changed[:3])
            parts.append(f"* {name} {base.map20.mean:.3f} as they are; most is lost by: {worst}.")
    return "\n".join([f"mAP@20 of {result.figures.queries} queries, all matches:", "", *parts])


def plot(figures: RobustnessFigures, path: Path) -> None:
    """Draw the change of mAP@20 with its interval, one row a way of spoiling, one panel a rule."""
    from matplotlib.figure import Figure

    changed = [r for r in figures.records if r.degradation != NONE]
    labels = list(dict.fromkeys(r.label for r in changed))
    rules = [rule for rule in BOTH if any(r.rule == rule for r in changed)]
    picture = Figure(figsize=(3 + 4 * len(rules), 1.6 + 0.26 * len(labels)), layout="constrained")
    for axes, rule in zip(picture.subplots(1, len(rules), sharey=True, squeeze=False)[0], rules, strict=True):
        # Scorers differ in shape as well as in colour.
        for aside, (scorer, mark, colour) in ((-0.15, ("cosine", "s", "#b2620c")), (0.15, ("engine", "o", "#0e4f5f"))):
            mine = [r for r in changed if (r.rule, r.scorer) == (rule, scorer)]
            places = [labels.index(r.label) + aside for r in mine]
            axes.hlines(places, [r.map20_change.low for r in mine], [r.map20_change.high for r in mine], color=colour)
            axes.plot([r.map20_change.mean for r in mine], places, mark, color=colour, label=SCORERS[scorer])
        axes.axvline(0, color="0.5", linewidth=1)
        axes.set_yticks(np.arange(len(labels)), labels)
        queries = next(r.queries for r in changed if r.rule == rule)
        axes.set(title=f"{RULES[rule]} ({queries} queries)", xlabel="change of mAP@20")
        axes.grid(axis="x", color="0.9")
    axes.invert_yaxis()
    axes.legend(loc="lower left")
    picture.savefig(path, dpi=100)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    names = ", ".join(one.name for one in DEGRADATIONS)
    parser.add_argument("--only", action="append", metavar="NAME", help=f"this way of spoiling; may be given: {names}")


MEASUREMENT = Measurement(
    title="Worse photographs",
    figures=RobustnessFigures,
    measure=measure,
    full=full,
    short=short,
    plot=plot,
    add_options=add_options,
    queries=60,
    ranker=True,
)
