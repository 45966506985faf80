"""What ``--effort`` earns and costs: identification over seconds, for lists of 50, 200 and of all photographs.

The same photographs from above are asked of all others with lists of every effort's length; rankers are fitted out of
fold on lists of the normal length, as the one that ships is. Each query is asked twice, with its own encounter in the
catalogue and without. Seconds are those of one process with all photographs described and no pair known, over
``--timed`` of the queries.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.protocols import BOTH, RULES, Protocol, Rule, evaluate_answers, filter_of
from bench.results import Result
from engine.catalogue.index import CatalogIndex
from engine.commands.options import EFFORTS
from engine.search.individuals import rank_individuals
from engine.search.matcher import Matcher, MatcherSettings
from scarmatch.metrics import Interval, bootstrap_by_group, paired_bootstrap

SIZES = {name: size for name, size in EFFORTS.items() if name is not None}
#: The effort that the others are compared with.
NORMAL = "normal"


@dataclass(frozen=True)
class Earned:
    """What one effort earns under one rule; ``gain`` is of mAP@20 over the normal effort.

    Attributes:
        first, in_five: share of queries whose individual is the first, or among the first five, of the individuals.
    """

    rule: Rule
    queries: int
    individuals: int
    map20: Interval
    gain: Interval
    top1: Interval
    first: Interval
    in_five: Interval


@dataclass(frozen=True)
class Effort:
    """One effort; ``pairs`` is the mean length of a list, ``seconds`` the time of a query in one process."""

    name: str
    pairs: float
    seconds: float
    earned: tuple[Earned, ...]


@dataclass(frozen=True)
class EffortFigures(Figures):
    """Everything this measurement finds."""

    photographs: int
    timed: int
    efforts: tuple[Effort, ...]


def measure(context: Context) -> EffortFigures:
    """Ask the same questions with lists of every effort's length."""
    task = context.tasks(context.queries)[0]
    queries, database = (context.index.subset(list(ids)) for ids in (task.queries, task.database))
    tables: dict[tuple[str, Rule], pd.DataFrame] = {}
    lengths: dict[str, float] = {}
    for name, size in SIZES.items():
        context.say(f"{name}: {len(queries)} queries against {len(database):,}")
        matcher = Matcher(_settings(context, size), context.store, ranker="fusion", workers=context.options.workers)
        with closing(matcher):
            for rule in BOTH:
                raw = matcher.pairs(queries, database, filter_of(rule), context.progress("pairs"), neighbours=True)
                lengths.setdefault(name, len(raw) / len(queries))
                tables[name, rule] = _judged(context, raw, task.with_rule(rule))
    timed = queries.take(list(range(min(context.options.timed, len(queries)))))
    efforts = [
        Effort(name, lengths[name], _seconds(context, size, timed), tuple(_earned(r, name, tables) for r in BOTH))
        for name, size in SIZES.items()
    ]
    return EffortFigures(len(database), len(timed), tuple(efforts))


def _settings(context: Context, size: int) -> MatcherSettings:
    return context.settings.replace(shortlist=context.settings.shortlist.replace(size=size))


def _judged(context: Context, raw: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Return ap20, top1, first and in_five of every query that can be answered."""
    answers = context.rankers.rank(raw)
    table = evaluate_answers(answers, protocol, context.index.catalog).per_query.set_index("query_id")
    ranked = rank_individuals(answers, model=context.rankers.individual_model)
    right = ranked[ranked["query_id"].map(table["individual_id"]) == ranked["individual_id"]]
    place = right.groupby("query_id")["rank"].min().reindex(table.index)
    return table.assign(first=place == 1, in_five=place <= 5)


def _earned(rule: Rule, name: str, tables: dict[tuple[str, Rule], pd.DataFrame]) -> Earned:
    table, normal = tables[name, rule], tables[NORMAL, rule]
    who = table["individual_id"].to_numpy(str)
    means = {column: bootstrap_by_group(table[column].to_numpy(float), who) for column in ("top1", "first", "in_five")}
    worth = table["ap20"].to_numpy(float)
    gain = paired_bootstrap(worth, normal["ap20"].to_numpy(float), who)
    return Earned(rule, len(table), len(set(who)), bootstrap_by_group(worth, who), gain, **means)


def _seconds(context: Context, size: int, queries: CatalogIndex) -> float:
    """Return the seconds of one query in one process that has loaded and compiled everything."""
    started = 0.0
    with (
        _store_without_pairs(context.store) as store,
        closing(Matcher(_settings(context, size), store, workers=1)) as matcher,
    ):
        # An index is searched in the store that it was described in.
        database = matcher.index(context.top.catalog)
        for position, query in enumerate(queries.catalog.ids):
            if position == min(1, len(queries) - 1):
                started = time.perf_counter()
            matcher.match(database.subset([query]), database)
        return (time.perf_counter() - started) / max(len(queries) - 1, 1)


@contextmanager
def _store_without_pairs(store: Path) -> Iterator[Path]:
    """Give a store that holds the descriptions of another (as links to its files) and no pair."""
    with tempfile.TemporaryDirectory(prefix="effort-", dir=store.parent) as folder:
        copy = Path(folder) / "store"
        shutil.copytree(store, copy, copy_function=os.link, ignore=shutil.ignore_patterns("pairs.sqlite*"))
        yield copy


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--timed``."""
    parser.add_argument(
        "--timed", type=int, default=12, help="queries that seconds are measured on (12; the first warms up)"
    )


def full(result: Result[EffortFigures]) -> str:
    """Return one row per effort and rule."""
    figures = result.figures
    rows = [
        [
            *([e.name, f"{e.pairs:,.0f}", markdown.seconds(e.seconds)] if number == 0 else ["", "", ""]),
            f"{RULES[r.rule]} ({r.queries} of {r.individuals} whales)",
            markdown.bold(r.map20),
            "" if e.name == NORMAL else markdown.change(r.gain),
            f"{r.top1.mean:.2f}",
            f"{r.first.mean:.2f} / {r.in_five.mean:.2f}",
        ]
        for e in figures.efforts
        for number, r in enumerate(e.earned)
    ]
    heads = ["`--effort`", "candidates", "a query on one core", "matches that count (queries)", "mAP@20"]
    heads += ["difference to normal", "top-1", "individual first / in five"]
    words = (
        f"{figures.photographs:,} photographs from above, 95 % intervals over whales; seconds with all photographs "
        f"described and no pair known, mean of {figures.timed - 1} queries."
    )
    return f"{markdown.table(heads, rows)}\n\n{words}"


MEASUREMENT = Measurement(
    title="What effort earns",
    figures=EffortFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
    queries=400,
    ranker=True,
)
