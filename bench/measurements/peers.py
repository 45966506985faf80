"""Other people's methods on the same photographs and questions, in one run (bench/peers/, one file each).

Photographs from above of the individuals measured on; ``--queries`` of them are asked under three rules. The engine's
own rows come from rankers fitted without the whale that is asked; what WildFusion's curves need is fitted in folds too.
95 % intervals are over whales. Times are of one process: describing a photograph from nothing, and answering one
question in a described catalogue; that of local matching is measured apart, on 31 photographs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.matching_time import MatchingTime
from bench.measurement import Measurement
from bench.peers.cosine import IMAGENET, ImagenetCosine, OwnCosine
from bench.peers.hotspotter import HotSpotter, HotSpotterSettings
from bench.peers.knn import SETTINGS as KNN
from bench.peers.knn import NearestNeighbours
from bench.peers.own import OwnEngine
from bench.peers.questions import ASKED, Answers, Peer, Sheet, hits_of, questions_of
from bench.peers.wildfusion import WildFusion
from bench.protocols import RULES, TOP_PLACES
from bench.results import Result
from engine.catalogue.catalog import CatalogError
from scarmatch.metrics import Interval, average_precision, bootstrap_by_group, paired_bootstrap

NAMES = ("imagenet", "knn", "hotspotter", "wildfusion", "cosine", "engine")


@dataclass(frozen=True)
class About:
    """A peer, where it comes from, and its times in seconds."""

    peer: str
    source: str
    seconds_photo: float
    seconds_query: float


@dataclass(frozen=True)
class PeerFigures:
    """What a peer earns under one rule.

    Attributes:
        difference: to the whole engine; None for the engine itself, or where that was not run.
        called_new: share of the queries (all known) that it calls new; None if it has no such answer.
    """

    peer: str
    rule: str
    queries: int
    individuals: int
    map20: Interval
    top1: Interval
    difference: Interval | None
    called_new: float | None


@dataclass(frozen=True)
class PeersFigures(Figures):
    """Everything this measurement finds."""

    photographs: int
    individuals: int
    queries: int
    peers: tuple[About, ...]
    records: tuple[PeerFigures, ...]


def measure(context: Context) -> PeersFigures:
    """Let every peer answer."""
    index = context.top
    sheet = Sheet(index, questions_of(index.catalog, context.queries, context.seed))
    if not sheet.questions:
        raise CatalogError(f"{index.catalog.root}: no photograph from above has a match; nothing can be asked")
    settings = {"imagenet": IMAGENET.to_dict(), "knn": KNN.to_dict(), "hotspotter": HotSpotterSettings().to_dict()}
    context.more_settings["peers"] = settings
    answers = {}
    for peer in peers_of(context):
        context.say(peer.name)
        answers[peer.name] = (peer, peer.answer(sheet))
    about = [About(p.name, p.source, a.seconds_photo, a.seconds_query) for p, a in answers.values()]
    return PeersFigures(
        photographs=len(index),
        individuals=len(set(sheet.individuals)),
        queries=len({q.query for q in sheet.questions}),
        peers=tuple(about),
        records=tuple(judge(sheet, {name: answer for name, (_, answer) in answers.items()})),
    )


def peers_of(context: Context) -> list[Peer]:
    """Return the peers that are asked for."""
    descriptor, wanted = context.settings.describe.descriptor, context.options.only or NAMES
    time = None
    if {"wildfusion", "engine"} & set(wanted):
        context.say("timing the engine from nothing")
        time = MatchingTime.measure(context.matcher, context.top)
    makers: dict[str, Callable[[], Peer]] = {
        "imagenet": ImagenetCosine,
        "knn": lambda: NearestNeighbours(descriptor),
        "hotspotter": lambda: HotSpotter(seed=context.seed),
        "wildfusion": lambda: WildFusion(context.matcher, time, context.seed),  # type: ignore[arg-type]
        "cosine": lambda: OwnCosine(descriptor),
        "engine": lambda: OwnEngine(context.rankers, time),  # type: ignore[arg-type]
    }
    return [makers[name]() for name in NAMES if name in wanted]


def judge(sheet: Sheet, answers: dict[str, Answers]) -> list[PeerFigures]:
    """Return one record per peer and rule."""
    rules = np.array([q.rule for q in sheet.questions])
    who = sheet.individuals[[q.query for q in sheet.questions]]
    earned, first = {}, {}
    for name, answer in answers.items():
        hits = [hits_of(q, np.asarray(s, np.float64)) for q, s in zip(sheet.questions, answer.scores, strict=True)]
        totals = [int(q.relevant.sum()) for q in sheet.questions]
        earned[name] = np.array([average_precision(h, n, TOP_PLACES) for h, n in zip(hits, totals, strict=True)])
        first[name] = np.array([bool(h[:1].any()) for h in hits], float)
    best, records = earned.get(OwnEngine.name), []
    for name, answer in answers.items():
        for rule in ASKED:
            asked = rules == rule
            if not asked.any():
                continue
            mine, names = earned[name][asked], who[asked]
            compared = best is not None and name != OwnEngine.name
            called = answer.called_new
            records.append(
                PeerFigures(
                    name,
                    rule,
                    int(asked.sum()),
                    len(set(names)),
                    bootstrap_by_group(mine, names),
                    bootstrap_by_group(first[name][asked], names),
                    paired_bootstrap(mine, best[asked], names) if compared else None,  # type: ignore[index]
                    None if called is None else float(called[asked].mean()),
                )
            )
    return records


def full(result: Result[PeersFigures]) -> str:
    """Return the table: peers down, rules across, then time; the differences; and where each comes from."""
    figures = result.figures
    records = {(r.peer, r.rule): r for r in figures.records}
    rules = [rule for rule in ASKED if any(r.rule == rule for r in figures.records)]
    counts = {r.rule: f"{r.queries} queries, {r.individuals} whales" for r in figures.records}
    heads = ["method", *(f"{RULES[rule]} ({counts[rule]}): mAP@20, top-1" for rule in rules), "a photograph", "a query"]
    rows = []
    for about in figures.peers:
        mine = [records[about.peer, rule] for rule in rules]
        cells = [f"{markdown.interval(r.map20)}, {r.top1.mean:.2f}" for r in mine]
        times = [markdown.seconds(about.seconds_photo), markdown.seconds(about.seconds_query)]
        rows.append([about.peer, *cells, *times])
    parts = [markdown.table(heads, rows)]
    compared = [about.peer for about in figures.peers if records[about.peer, rules[0]].difference is not None]
    if compared:
        gaps = [
            [p, *(markdown.change(records[p, rule].difference or records[p, rule].map20) for rule in rules)]
            for p in compared
        ]
        parts.append(markdown.table([f"minus {OwnEngine.name}", *(RULES[rule] for rule in rules)], gaps))
    parts.append("\n".join(f"* {about.peer}: {about.source}." for about in figures.peers))
    words = [
        f"{figures.photographs:,} photographs from above of {figures.individuals} whales; 95 % intervals over whales; "
        "times of one process, catalogue described before the query."
    ]
    new = [r for r in figures.records if r.called_new is not None and r.rule == "all"]
    words += [f"{r.peer} calls {r.called_new:.0%} of the queries (all known) new." for r in new]
    return "\n\n".join([*parts, "\n".join(words)])


def short(result: Result[PeersFigures]) -> str:
    """Return one row per peer: mAP@20 under each rule and the time of a query."""
    figures = result.figures
    records = {(r.peer, r.rule): r for r in figures.records}
    counts = {r.rule: r.queries for r in figures.records}
    rules = [rule for rule in ASKED if rule in counts]
    rows = [
        [
            about.peer,
            *(markdown.interval(records[about.peer, rule].map20) for rule in rules),
            markdown.seconds(about.seconds_query),
        ]
        for about in figures.peers
    ]
    words = (
        f"mAP@20 (number of queries in brackets), 95 % intervals over whales; {figures.photographs:,} photographs; "
        "time of a query in a described catalogue, one process."
    )
    heads = ["method", *(f"{RULES[rule]} ({counts[rule]})" for rule in rules), "a query"]
    return f"{markdown.table(heads, rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--only", action="append", choices=NAMES, help="this one; may be given several times")


MEASUREMENT = Measurement(
    title="Beside other people's methods",
    figures=PeersFigures,
    measure=measure,
    full=full,
    short=short,
    add_options=add_options,
    queries=80,
    ranker=True,
)
