"""LightGlue beside its peers in one run: same photographs, same weights; pairs a second, and whether the matches agree.

::

    python -m bench.speed.matcher CATALOG [--store DIR] [--pairs 60] [--keypoints 512 256] [--rounds 3]
                                  [--map 40] [--compare shortlist.rescore=25] [--result matcher]

Half of the pairs are true, half impostors, drawn by :mod:`bench.pairs` among photographs with as many keypoints as are
asked for (as far as there are, so that peers which need equal numbers can batch). Everybody is warmed up and then timed
in turn, ``--rounds`` times; the least time of each counts, on one thread and on all. Ours starts without anything known
of a photograph, but for the row that says so; as the engine works, it is also timed in one process per core. "A list as
shipped" is what the engine does to the keypoints of a list: nearest neighbours of all its pairs, and LightGlue for the
share of them that it re-scores (``shortlist.rescore`` of list and expansion). Agreement is counted on the true pairs,
against the network in single precision: over all of its matches at the threshold in use, and over those that the
published threshold would keep.

``--map N`` also asks N queries with the reference's settings, with those shipped, and with each ``--compare``, and
prints what the difference does to mAP@20.

About twelve minutes on two quiet cores with 60 pairs, both numbers of keypoints and three rounds, and five more for
``--map 40``; the photographs' descriptions and the queries' pairs are kept in the store.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench.held_out import measured_part
from bench.machine import write_result
from bench.out_of_fold import add_options, matcher_from, protocol_from
from bench.pair_draw import draw_pairs
from bench.progress import Say, say
from bench.protocols import Evaluation, all_against_all, evaluate
from bench.speed.contestants import (
    A_LIST,
    BATCH,
    KORNIA,
    NEIGHBOURS,
    OURS,
    REFERENCE,
    Contestant,
    ListMatcher,
    Matches,
    contestants,
)
from engine.catalogue.catalog import Catalog, CatalogError
from engine.catalogue.index import CatalogIndex
from engine.commands.console import ProgressBar
from engine.commands.exit_status import EXIT_DATA
from engine.commands.options import with_overrides
from engine.matching.base import FeaturePair
from engine.matching.lightglue import LightGlueMatcher, LightGlueSettings
from engine.search.matcher import Matcher, MatcherSettings
from engine.training.ranker_training import choose_queries
from engine.workers import TaskPool, default_workers
from reranker.metrics import paired_bootstrap
from scarmatch.settings import SettingsError

TARGETS = {"batched": 8.0, "adaptive": 3.0, "recall": 0.99, "map20": 0.003}
#: Confidence from which on LightGlue's authors keep a match.
PUBLISHED_THRESHOLD = 0.1
#: Candidates drawn for each pair wanted, of which those with enough keypoints are taken first.
_SPARE = 3


def choose_pairs(
    catalog: Catalog, matcher: Matcher, kinds: Sequence[str], pairs: int, keypoints: int, seed: int, progress: Any
) -> tuple[dict[str, list[FeaturePair]], npt.NDArray[np.bool_]]:
    """Draw pairs, half of them true, and read their features of every kind.

    Args:
        catalog: labelled.
        matcher: describes photographs; its settings' kind of keypoints decides which pairs have enough of them.
        kinds: kinds of keypoints.
        pairs: how many.
        keypoints: how many keypoints both photographs of a pair should have.
        seed: of the draw.
        progress: see :meth:`Matcher.index`.

    Returns:
        Kind -> pairs of features, and (pairs,) which of them are true.

    Raises:
        CatalogError: nothing can be drawn.
    """
    drawn = draw_pairs(catalog, _SPARE * pairs, "all", seed)
    rng = np.random.default_rng(seed)
    halves = []
    for same in (True, False):
        half = [pair for pair in drawn if pair.same == same and pair.kind != "lateral and top"]
        halves.append([half[i] for i in rng.permutation(len(half))[: _SPARE * (pairs // 2)]])
    names = list(dict.fromkeys(name for half in halves for pair in half for name in (pair.image_id0, pair.image_id1)))
    index = matcher.index(catalog.subset(names), progress)
    enough = {item.image_id: item.n_keypoints >= keypoints for item in index.descriptions}
    chosen = []
    for half in halves:
        known = [pair for pair in half if pair.image_id0 in enough and pair.image_id1 in enough]
        known.sort(key=lambda pair: -(enough[pair.image_id0] + enough[pair.image_id1]))
        chosen += known[: pairs // 2]
    if not any(pair.same for pair in chosen) or all(pair.same for pair in chosen):
        raise CatalogError(f"{catalog.root}: too few labelled photographs to draw true pairs and impostors from")
    names = list(dict.fromkeys(name for pair in chosen for name in (pair.image_id0, pair.image_id1)))
    features = {}
    for kind in kinds:
        settings = matcher.settings.with_option("describe.keypoints.kind", kind)
        describing = Matcher(settings, matcher.store_for(catalog), ranker="fusion", workers=matcher.workers)
        described = describing.index(catalog.subset(names), progress)
        worker = describing.pair_pool(matcher.store_for(catalog)).worker
        views = {item.image_id: worker.keypoints(item.key) for item in described.descriptions}
        features[kind] = [(views[pair.image_id0], views[pair.image_id1]) for pair in chosen]
    return features, np.array([pair.same for pair in chosen])


def agreement(found: Matches, reference: Matches, chosen: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    """Return precision and recall of matches against a reference's, over all matches of the chosen pairs."""
    both = ours = theirs = 0
    for place in np.flatnonzero(chosen):
        first, second = ({tuple(row) for row in matches[place].tolist()} for matches in (found, reference))
        both, ours, theirs = both + len(first & second), ours + len(first), theirs + len(second)
    return {"precision": both / ours if ours else None, "recall": both / theirs if theirs else None}


def race(
    field: Sequence[Contestant], features: dict[str, list[FeaturePair]], threads: int, rounds: int, say: Say
) -> tuple[dict[str, float], dict[str, Matches]]:
    """Time all contestants in turn, several times, on so many threads.

    Returns:
        Pairs a second (the best round) and the matches (of the warm-up) by name.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        matches = {one.name: one.match(features[one.kind]) for one in field}
        least = dict.fromkeys(matches, np.inf)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds} on {threads} thread{'s' * (threads > 1)}")
            for one in field:
                started = time.perf_counter()
                one.match(features[one.kind])
                least[one.name] = min(least[one.name], time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    return {one.name: len(features[one.kind]) / least[one.name] for one in field}, matches


def _reference(
    kind: str, pairs: Sequence[FeaturePair], count: int, settings: LightGlueSettings
) -> tuple[Matches, Matches]:
    """Return the matches of the network in single precision: all, and those it is sure of."""
    exact = settings.replace(max_keypoints=count, **REFERENCE)
    found = LightGlueMatcher(kind, exact).match(pairs)
    return [one.indices for one in found], [one.indices[one.confidence > PUBLISHED_THRESHOLD] for one in found]


def _matched(matcher: LightGlueMatcher | ListMatcher, pairs: list[FeaturePair]) -> int:
    return sum(map(len, matcher.match(pairs)))


def in_processes(
    pairs: list[FeaturePair], make: Callable[[], LightGlueMatcher | ListMatcher], workers: int, rounds: int
) -> float:
    """Return the pairs a second of ours as the engine works: one process per core with one thread each."""
    pool = TaskPool(make, workers)
    # Two tasks a process: one that waits keeps nobody idle, and batches stay full.
    parts = [list(pairs[start :: 2 * workers]) for start in range(2 * workers)]
    tasks = [part for part in parts if part]
    try:
        list(pool.run(_matched, tasks))
        least = np.inf
        for _ in range(rounds):
            started = time.perf_counter()
            list(pool.run(_matched, tasks))
            least = min(least, time.perf_counter() - started)
    finally:
        pool.close()
    return len(pairs) / float(least)


def measure(
    features: dict[str, list[FeaturePair]],
    true: npt.NDArray[np.bool_],
    count: int,
    settings: LightGlueSettings,
    share: float,
    rounds: int,
    workers: int,
    say: Say,
) -> dict[str, Any]:
    """Return the figures at one number of keypoints: a row for each contestant and number of threads, and ratios."""
    field, absent = contestants(count, settings, share)
    field = [one for one in field if one.kind in features]
    full = sum(min(len(a), len(b)) >= count for a, b in features["aliked"])
    exact = {kind: _reference(kind, pairs, count, settings) for kind, pairs in features.items()}
    rows: list[dict[str, Any]] = []
    for threads in sorted({1, workers}):
        speeds, matches = race(field, features, threads, rounds, say)
        for one in field:
            row = {"name": one.name, "threads": threads, "processes": 1, "pairs_per_second": speeds[one.name]}
            every, sure = exact[one.kind]
            if one.name in (NEIGHBOURS, A_LIST):
                # Other matches on purpose: what they are worth is a matter of mAP.
                rows.append(row | dict.fromkeys(("precision", "recall", "recall_of_sure")))
                continue
            row |= agreement(matches[one.name], every, true)
            rows.append(row | {"recall_of_sure": agreement(matches[one.name], sure, true)["recall"]})
    if workers > 1:
        shipped = settings.replace(max_keypoints=count)
        makers: dict[str, Callable[[], LightGlueMatcher | ListMatcher]]
        makers = {OURS: partial(LightGlueMatcher, "aliked", shipped), A_LIST: partial(ListMatcher, shipped, share)}
        for which, make in makers.items():
            speed = in_processes(features["aliked"], make, workers, rounds)
            same = next(row for row in rows if row["name"] == which)
            name = f"{which}, {workers} processes"
            rows.append({**same, "name": name, "threads": workers, "processes": workers, "pairs_per_second": speed})
    return {"rows": rows, "ratios": ratios(rows), "absent": absent, "pairs_with_all_keypoints": full}


def ratios(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return how many times faster ours as shipped is than kornia's, for each number of threads and processes."""
    found = []
    for row in rows:
        if not row["name"].startswith((OURS, A_LIST)):
            continue
        speeds = {r["name"]: r["pairs_per_second"] for r in rows if r["threads"] == row["threads"]}
        batched = speeds.get(f"{KORNIA}, full depth, batch {BATCH}")
        adaptive = [s for name, s in speeds.items() if name.startswith(KORNIA) and "full depth" not in name]
        ours = row["pairs_per_second"]
        record = {"name": row["name"], "threads": row["threads"]}
        record["batched"] = ours / batched if batched else None
        record["adaptive"] = ours / max(adaptive) if adaptive else None
        found.append(record)
    return found


def accuracy_effect(
    index: CatalogIndex, matcher: Matcher, queries: int, compare: Sequence[str], seed: int, progress: Any, say: Say
) -> dict[str, Any]:
    """Rank the same shortlists with the reference's settings, as shipped, and otherwise; return mAP@20 and differences.

    Args:
        index: described labelled photographs.
        matcher: with the settings as shipped.
        queries: how many are asked, individuals in turn.
        compare: further settings, each ``STAGE.OPTION=VALUE`` or several joined by ``+``.
        seed: of the choice of queries.
    """
    protocol = all_against_all(index.catalog)
    asked = choose_queries(index.catalog.subset(protocol.queries), queries, seed)
    chosen = type(protocol)(protocol.name, tuple(asked), protocol.database)
    variants: dict[str, MatcherSettings] = {"reference": matcher.settings, "as shipped": matcher.settings}
    for name, value in REFERENCE.items():
        variants["reference"] = variants["reference"].with_option(f"lightglue.{name}", str(value))
    variants |= {text: with_overrides(matcher.settings, text.split("+")) for text in compare}
    database = index.subset(list(protocol.database))
    judged: dict[str, list[Evaluation]] = {}
    records: list[dict[str, Any]] = []
    for name, settings in variants.items():
        say(f"mAP: {name}")
        asking = Matcher(settings, matcher.store_for(index.catalog), workers=matcher.workers)
        answers = asking.match(index.subset(asked), database, top=settings.shortlist.size, progress=progress)
        asking.close()
        table = answers[["query_id", "image_id", "probability"]].set_axis(["query_id", "candidate_id", "score"], axis=1)
        rules = (chosen, chosen.with_rule("other_encounter"))
        judged[name] = [evaluate(table, rule, index.catalog) for rule in rules]
        for rule, one, reference in zip(("all", "other_encounter"), judged[name], judged["reference"], strict=True):
            if len(one.per_query):
                records.append({"settings": name, "rule": rule, **_difference(one, reference)})
    return {"queries": len(asked), "database": len(database), "records": records}


def _difference(one: Evaluation, reference: Evaluation) -> dict[str, Any]:
    """Return mAP@20 and its difference to the reference's, with a 95 % interval over individuals."""
    table, other = one.per_query, reference.per_query
    gain = paired_bootstrap(table["ap20"].to_numpy(), other["ap20"].to_numpy(), table["individual_id"].to_numpy(str))
    return {"map20": float(table["ap20"].mean()), "queries": len(table), "difference": gain._asdict()}


def render(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines = []
    for count, part in figures["keypoints"].items():
        lines += [
            f"{count} keypoints, {figures['pairs']} pairs ({part['pairs_with_all_keypoints']} with all keypoints)",
            "",
            "| matcher | threads | pairs a second | found of the reference's matches, true pairs | of those above 0.1 "
            "| share of matches that are the reference's |",
            "|---|---|---|---|---|---|",
        ]
        for row in part["rows"]:
            shares = (
                "–" if row[name] is None else f"{row[name]:.1%}" for name in ("recall", "recall_of_sure", "precision")
            )
            cells = [row["name"], str(row["threads"]), f"{row['pairs_per_second']:.1f}", *shares]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        for ratio in part["ratios"]:
            times = ["–" if ratio[name] is None else f"{ratio[name]:.1f}" for name in ("batched", "adaptive")]
            lines.append(
                f"{ratio['name']}, {ratio['threads']} thread(s): {times[0]} x kornia's batched float32 (aim "
                f"{TARGETS['batched']:.0f}), {times[1]} x its fastest adaptive mode (aim {TARGETS['adaptive']:.0f})  "
            )
        lines += [f"left out: {name} ({why})  " for name, why in part["absent"].items()] + [""]
    lines += [f"of a list, LightGlue sees {figures['share_of_a_list']:.0%}", ""]
    if figures.get("map") is not None:
        lines += ["| settings | matches that count | queries | mAP@20 | difference |", "|---|---|---|---|---|"]
        for record in figures["map"]["records"]:
            gain = "{mean:+.4f} ({low:+.4f} … {high:+.4f})".format(**record["difference"])
            cells = [record["settings"], record["rule"].replace("_", " "), str(record["queries"])]
            lines.append("| " + " | ".join([*cells, f"{record['map20']:.4f}", gain]) + " |")
    return "\n".join(lines)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.speed.matcher", description=__doc__.split("\n", 1)[0])
    add_options(parser, ranker=False)
    parser.add_argument("--pairs", type=int, default=60, help="pairs, half of them true (60)")
    parser.add_argument("--keypoints", type=int, nargs="+", default=[512, 256], help="numbers of keypoints (512 256)")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds, the best counts (3)")
    parser.add_argument("--map", type=int, metavar="QUERIES", help="also compare mAP@20 on so many queries")
    parser.add_argument(
        "--compare", action="append", default=[], metavar="STAGE.OPTION=VALUE", help="further settings for --map"
    )
    return parser.parse_args(arguments)


def _kinds(say: Say) -> list[str]:
    """Return the kinds of keypoints of the contestants that are there."""
    field, absent = contestants(1, LightGlueSettings())
    for name, why in absent.items():
        say(f"{name} is left out: {why}")
    return list(dict.fromkeys(one.kind for one in field))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure from the command line."""
    options = _options(arguments)

    bar = ProgressBar("photographs")
    workers = options.workers if options.workers is not None else default_workers()
    figures: dict[str, Any] = {"pairs": options.pairs, "targets": TARGETS, "keypoints": {}}
    try:
        catalog = measured_part(Catalog.read(options.catalog), options.individuals)
        matcher = matcher_from(options)
        most = max(options.keypoints)
        features, true = choose_pairs(catalog, matcher, _kinds(say), options.pairs, most, options.seed, bar)
        figures["pairs"] = len(true)
        lists = matcher.settings.shortlist
        share = lists.rescored(lists.longest) / lists.longest
        figures["share_of_a_list"] = share
        for count in options.keypoints:
            say(f"{count} keypoints")
            part = measure(features, true, count, matcher.settings.lightglue, share, options.rounds, workers, say)
            figures["keypoints"][str(count)] = part
        if options.map is not None:
            index = matcher.index(catalog, bar)
            figures["map"] = accuracy_effect(index, matcher, options.map, options.compare, options.seed, bar, say)
    except (CatalogError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DATA
    matcher.close()
    print(render(figures))
    if options.result:
        names = ("pairs", "rounds", "map", "compare")
        protocol = protocol_from(options) | {name: getattr(options, name) for name in names}
        write_result(options.result, figures, matcher.settings.to_dict(), protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
