"""All peers on the same photographs and questions.

::

    python -m bench.peers CATALOG [--store DIR] [--queries 80] [--only hotspotter --only knn] [--result peers]

Photographs from above of the individuals measured on; ``--queries`` of them are asked under three rules
(:mod:`bench.peers.questions`). The engine's own rows come from rankers fitted without the whale that is asked; what
WildFusion's curves need is fitted in folds too. 95 % intervals are over whales.

Times are of one process: describing a photograph from nothing, and answering one question in a described catalogue.
Pairs of the store are not matched again, so the time of local matching is measured apart, on 31 photographs.

Cost for 1,800 photographs and 80 queries, one core: ImageNet one minute, HotSpotter four, the vote seconds; our engine
and WildFusion share about 12,000 pairs (five minutes where the store knows none), and the out-of-fold rankers need the
pairs of ``bench.accuracy`` (see there; a minute from its store).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from bench.held_out import measured_part
from bench.machine import write_result
from bench.out_of_fold import add_options, matcher_from, protocol_from, rankers_for
from bench.peers.hotspotter import HotSpotter, HotSpotterSettings
from bench.peers.imagenet_cosine import SETTINGS as IMAGENET_SETTINGS
from bench.peers.imagenet_cosine import ImagenetCosine
from bench.peers.knn import SETTINGS as KNN_SETTINGS
from bench.peers.knn import NearestNeighbours
from bench.peers.own import LocalTime, OwnCosine, OwnEngine
from bench.peers.questions import RULES, Peer, Sheet, figures_of, judge, questions_of
from bench.peers.wildfusion import WildFusion
from bench.progress import Say, say
from bench.protocols import select
from engine.catalogue.catalog import Catalog, CatalogError
from engine.search.matcher import Matcher

NAMES = ("imagenet", "knn", "hotspotter", "wildfusion", "cosine", "engine")


class Workshop:
    """Makes the peers that are asked for, and what several of them share once."""

    def __init__(self, options: argparse.Namespace, part: Catalog, matcher: Matcher, say: Say) -> None:
        self._options, self._part, self._matcher, self._say = options, part, matcher, say
        self.index = matcher.index(part.subset(select(part, ("top",))))

    @cached_property
    def _time(self) -> LocalTime:
        return LocalTime.measure(self._matcher, self.index)

    def make(self, name: str) -> Peer:
        """Return a peer by its short name."""
        descriptor, seed = self._matcher.settings.describe.descriptor, self._options.seed
        makers: dict[str, Callable[[], Peer]] = {
            "imagenet": ImagenetCosine,
            "knn": lambda: NearestNeighbours(descriptor),
            "hotspotter": lambda: HotSpotter(seed=seed),
            "wildfusion": lambda: WildFusion(self._matcher, self._time, seed),
            "cosine": lambda: OwnCosine(descriptor),
            "engine": self._engine,
        }
        return makers[name]()

    def _engine(self) -> OwnEngine:
        o = self._options
        judges = rankers_for(o.ranker, self._part, self._matcher, o.training_queries, o.folds, o.seed, self._say)
        return OwnEngine(judges, self._time)


def run(sheet: Sheet, peers: Sequence[Peer], say: Say) -> dict[str, Any]:
    """Let every peer answer; return JSON-ready figures."""
    judged, about = {}, []
    for peer in peers:
        say(peer.name)
        answers = peer.answer(sheet)
        judged[peer.name] = judge(sheet, answers)
        times = {"seconds_photo": answers.seconds_photo, "seconds_query": answers.seconds_query}
        about.append({"peer": peer.name, "source": peer.source, **times})
    return {
        "photographs": len(sheet.index),
        "individuals": len(set(sheet.individuals)),
        "queries": len({q.query for q in sheet.questions}),
        "peers": about,
        "records": figures_of(sheet, judged, OwnEngine.name if OwnEngine.name in judged else None),
    }


def render(figures: dict[str, Any]) -> str:
    """Return the table as Markdown: peers down, rules across, then time; and where each comes from."""
    records = {(r["peer"], r["rule"]): r for r in figures["records"]}
    rules = [rule for rule in RULES if any(r["rule"] == rule for r in figures["records"])]
    counts = {r["rule"]: f"{r['queries']} queries, {r['individuals']} whales" for r in figures["records"]}
    heads = [f"{RULES[rule]} ({counts[rule]}): mAP@20, top-1" for rule in rules]
    lines = [
        f"| method | {' | '.join(heads)} | a photograph | a query |",
        "|---" * (len(rules) + 3) + "|",
    ]
    for about in figures["peers"]:
        cells = [_cell(records[about["peer"], rule]) for rule in rules]
        times = [in_words(about[name]) for name in ("seconds_photo", "seconds_query")]
        lines.append(f"| {about['peer']} | {' | '.join([*cells, *times])} |")
    lines += ["", *_differences(figures, rules)]
    lines += [f"* {about['peer']}: {about['source']}." for about in figures["peers"]]
    words = [
        "",
        f"{figures['photographs']:,} photographs from above of {figures['individuals']} whales; 95 % intervals over "
        "whales; times of one process, catalogue described before the query.",
    ]
    words += [
        f"{r['peer']} calls {r['called_new']:.0%} of the queries (all known) new."
        for r in figures["records"]
        if "called_new" in r and r["rule"] == "all"
    ]
    return "\n".join([*lines, *words])


def in_words(seconds: float) -> str:
    """Return a time with its unit."""
    if seconds < 0.001:
        return "< 1 ms"
    return f"{1000 * seconds:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def _cell(record: dict[str, Any]) -> str:
    value = "{mean:.3f} ({low:.3f}–{high:.3f})".format(**record["map20"])
    return f"{value}, {record['top1']['mean']:.2f}"


def _differences(figures: dict[str, Any], rules: Sequence[str]) -> list[str]:
    """Return the table of what every peer lacks of the whole engine, nothing where that was not run."""
    records = {(r["peer"], r["rule"]): r for r in figures["records"] if "difference" in r}
    if not records:
        return []
    lines = [f"| minus {OwnEngine.name} | {' | '.join(RULES[rule] for rule in rules)} |"]
    lines.append("|---" * (len(rules) + 1) + "|")
    for peer in dict.fromkeys(name for name, _ in records):
        cells = ["{mean:+.3f} ({low:+.3f} … {high:+.3f})".format(**records[peer, r]["difference"]) for r in rules]
        lines.append(f"| {peer} | {' | '.join(cells)} |")
    return [*lines, ""]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__.split("\n", 1)[0])
    add_options(parser)
    parser.add_argument("--queries", type=int, default=80, help="photographs asked (80)")
    parser.add_argument("--only", action="append", choices=NAMES, help="this one; may be given several times")
    options = parser.parse_args(arguments)

    matcher = matcher_from(options)
    workshop = Workshop(options, measured_part(Catalog.read(options.catalog), options.individuals), matcher, say)
    questions = questions_of(workshop.index.catalog, options.queries, options.seed)
    if not questions:
        raise CatalogError(f"{options.catalog}: no photograph from above has a match; nothing can be asked")
    chosen = [workshop.make(name) for name in NAMES if not options.only or name in options.only]
    figures = run(Sheet(workshop.index, questions), chosen, say)
    matcher.close()
    print(render(figures))
    if options.result:
        protocol = protocol_from(options) | {"queries": options.queries, "peers": [peer.name for peer in chosen]}
        peers = {
            "imagenet": IMAGENET_SETTINGS.to_dict(),
            "knn": KNN_SETTINGS.to_dict(),
            "hotspotter": HotSpotterSettings().to_dict(),
        }
        write_result(options.result, figures, {**matcher.settings.to_dict(), "peers": peers}, protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
