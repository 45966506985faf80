"""``rank`` on ten scenarios of the challenge's own sizes, from nothing and with photographs known: where time goes.

::

    python -m bench.speed.end_to_end CATALOG [--fraction 1.0] [--store NEW_FOLDER] [--workers N] [--result end_to_end]

The scenarios are cut from a labelled catalogue with the sizes of the challenge (queries / database, as far as there are
photographs) and ranked three times: with an empty store; with the photographs described and no pair known; with
everything known. ``--fraction`` scales all sizes; what the whole would take is then printed as an extrapolation, and
called one. Then the same queries are asked of one, two and four times as many photographs, which must cost the same.

The store is a fresh folder (``--store`` names where; it must not hold anything) that is removed afterwards. A whole run
takes 2 to 3 times what it measures, ``--fraction 0.05`` about five minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.held_out import measured_part, settings_for
from bench.machine import write_result
from bench.out_of_fold import add_options, protocol_from
from bench.progress import Say, say
from bench.protocols import all_against_all
from bench.scenario_cutting import CuttingError, choose_scenarios, cut_scenarios, used_by
from bench.scenarios.measuring import MeasuredMatcher
from bench.speed import peak
from engine.catalogue.catalog import Catalog, CatalogError
from engine.catalogue.index import CatalogIndex
from engine.commands.exit_status import EXIT_DATA
from engine.competitions.challenge import rank_challenge
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS
from engine.competitions.scenarios import Scenario
from engine.matching.pair_worker import PairTask
from engine.search.candidates import ShortlistSettings
from engine.search.matcher import Matcher, MatcherSettings
from scarmatch.settings import SettingsError

RUNS = ("from nothing", "photographs known", "everything known")
#: Minutes for the challenge's own sizes, and MiB.
TARGETS = {"from nothing": 45.0, "photographs known": 25.0, "memory_mib": 2048.0, "photographs_per_second": 10.0}
GROWTH = (1, 2, 4)


def sizes_of(scenarios: Sequence[Scenario], settings: ShortlistSettings) -> dict[str, Any]:
    """Return how much the scenarios ask for: photographs, queries, pairs and those that LightGlue sees.

    Pairs that two scenarios share count twice.
    """
    rows = []
    for s in scenarios:
        pairs = min(settings.longest, len(s.database))
        row = {"scenario": s.scenario_id, "queries": len(s), "database": len(s.database), "pairs": len(s) * pairs}
        rows.append(row | {"second_looks": len(s) * settings.rescored(pairs)})
    return {
        "scenarios": rows,
        "photographs": len(used_by(scenarios)),
        "queries": sum(row["queries"] for row in rows),
        "pairs": sum(row["pairs"] for row in rows),
        "second_looks": sum(row["second_looks"] for row in rows),
    }


def forget_pairs(store: Path) -> None:
    """Remove the numbers of pairs from a store that this measurement made itself."""
    for file in store.glob("pairs.sqlite*"):
        file.unlink()


def timed_run(folder: Path, store: Path, settings: MatcherSettings, workers: int | None, say: Say) -> dict[str, Any]:
    """Rank a challenge folder once; return seconds and memory of each stage and in all.

    Memory is bounded from above: the highest of this process plus as many workers as there are, each at the highest
    that any of them ever reached.
    """
    matcher = MeasuredMatcher(settings, store, workers=workers)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="scarmatch-answers-") as answers:
        done = rank_challenge(folder, Path(answers) / "submission.csv", matcher, announce=say)
    seconds = time.perf_counter() - started
    matcher.close()
    stages = matcher.ledger.to_list()
    known = sum(stage["seconds"] for stage in stages)
    memory = max(s["peak_mib"] + (matcher.workers * s["peak_mib_of_worker"]) for s in stages)
    return {
        "seconds": seconds,
        "seconds_outside_stages": seconds - known,
        "stages": stages,
        "memory_mib": memory,
        "rows": len(done.submission),
        "unanswered": len(done.unanswered),
        "workers": matcher.workers,
    }


def extrapolate(run: dict[str, Any], measured: dict[str, Any], whole: dict[str, Any]) -> dict[str, float]:
    """Return what a run of the whole sizes would take, each stage in proportion to what it works on.

    Pairs that scenarios share are matched once; a smaller cut shares fewer, so the measured share is an upper bound for
    the time and is kept.

    Args:
        run: figures of :func:`timed_run`.
        measured, whole: figures of :func:`sizes_of` for what was run and for what is asked about.
    """
    photographs = whole["photographs"] / measured["photographs"]
    pairs = whole["pairs"] / measured["pairs"]
    second = whole["second_looks"] / measured["second_looks"]
    factor = {"describing": photographs, "matching by lightglue": second}
    parts = {stage["name"]: stage["seconds"] * factor.get(stage["name"], pairs) for stage in run["stages"]}
    parts["outside stages"] = run["seconds_outside_stages"] * pairs
    return {**parts, "seconds": sum(parts.values())}


def growth(index: CatalogIndex, matcher: Matcher, store: Path, queries: int, say: Say) -> list[dict[str, Any]]:
    """Ask the same queries of the first quarter, half and all of the described photographs, no pair being known."""
    base = len(index) // max(GROWTH)
    asked = index.take(list(range(min(queries, base))))
    forget_pairs(store)
    matcher.pairs(asked.take([0]), index.take(list(range(base))))  # processes and networks are there
    records = []
    for times in GROWTH:
        database = index.take(list(range(times * base)))
        forget_pairs(store)
        say(f"growth: {len(asked)} queries against {len(database):,} photographs")
        started = time.perf_counter()
        raw = matcher.pairs(asked, database)
        matched = time.perf_counter()
        matcher.rank(raw)
        ranked = time.perf_counter()
        record = {"times": times, "photographs": len(database), "queries": len(asked), "pairs": len(raw)}
        records.append(record | {"seconds_pairs": matched - started, "seconds_rank": ranked - matched})
    return records


def parts_of_a_pair(index: CatalogIndex, matcher: Matcher, store: Path, queries: int = 3) -> dict[str, Any]:
    """Return where the time of a pair goes, on some queries' shortlists (see :mod:`bench.speed.peak`)."""
    worker = matcher.pair_pool(store).worker
    asked = index.take(list(range(min(queries, len(index)))))
    raw = matcher.pairs(asked, index)
    key_of = {item.image_id: item.key for item in index.descriptions}

    def tasks_of(rows: pd.DataFrame) -> list[PairTask]:
        return [
            PairTask(key_of[str(query)], tuple(key_of[name] for name in part["candidate_id"]))
            for query, part in rows.groupby("query_id", sort=False)
        ]

    return peak.dissect(worker, tasks_of(raw), tasks_of(raw[raw["lightglue_matches"].notna()]))


def measure(
    catalog: Catalog,
    settings: MatcherSettings,
    store: Path,
    fraction: float,
    workers: int | None,
    growth_queries: int,
    seed: int,
    say: Say,
) -> dict[str, Any]:
    """Cut, rank three times, and ask growing catalogues; return JSON-ready figures."""
    lists = settings.shortlist
    whole_cut, left_out = choose_scenarios(catalog, scale=1.0, seed=seed)
    with tempfile.TemporaryDirectory(prefix="scarmatch-end-to-end-") as work:
        cut = cut_scenarios(catalog, Path(work) / "data", CHALLENGE_SCENARIOS, scale=fraction, seed=seed)
        measured, whole = sizes_of(cut.scenarios, lists), sizes_of(whole_cut, lists)
        figures: dict[str, Any] = {"fraction": fraction, "measured": measured, "whole": whole, "left_out": left_out}
        figures["challenge"] = {"queries": sum(rule.n_queries for rule in CHALLENGE_SCENARIOS), "shortlist": lists.size}
        figures |= {"targets": TARGETS, "runs": {}, "extrapolation": None}
        for name in RUNS:
            if name == "photographs known":
                forget_pairs(store)
            say(name)
            figures["runs"][name] = timed_run(cut.folder, store, settings, workers, say)
    if fraction < 1:
        figures["extrapolation"] = {name: extrapolate(run, measured, whole) for name, run in figures["runs"].items()}
    matcher = Matcher(settings, store, workers=workers)
    tops = all_against_all(catalog).queries
    order = np.random.default_rng(seed).permutation(len(tops))
    count = max(max(GROWTH) * (lists.size + 1), int(fraction * len(tops)))
    index = matcher.index(catalog.subset([tops[i] for i in order[:count]]))
    figures["growth"] = growth(index, matcher, store, growth_queries, say)
    say("the parts of a pair")
    figures["parts"] = parts_of_a_pair(index, matcher, store)
    matcher.close()
    return figures


def render(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    measured, whole = figures["measured"], figures["whole"]
    lines = [
        f"{len(measured['scenarios'])} scenarios, {figures['fraction']:.0%} of the challenge's sizes: "
        f"{measured['queries']:,} queries, {measured['photographs']:,} photographs, {measured['pairs']:,} pairs",
        "",
        "| run | stage | photographs or pairs | of them computed | seconds | a second |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in figures["runs"].items():
        for stage in run["stages"]:
            rate = f"{stage['computed'] / stage['seconds']:,.1f}" if stage["computed"] and stage["seconds"] else "–"
            cells = [name, stage["name"], f"{stage['items']:,}", f"{stage['computed']:,}", f"{stage['seconds']:.1f}"]
            lines.append("| " + " | ".join([*cells, rate]) + " |")
        lines.append(f"| {name} | **in all** | | | **{run['seconds']:.1f}** | |")
    first = figures["runs"][RUNS[0]]
    lines += ["", f"memory, this process and {first['workers']} workers: at most {first['memory_mib']:,.0f} MiB  "]
    lines.append(f"(aim {figures['targets']['memory_mib']:,.0f} MiB)")
    if figures["extrapolation"]:
        stages = list(dict.fromkeys(stage["name"] for run in figures["runs"].values() for stage in run["stages"]))
        lines += [
            "",
            f"EXTRAPOLATED, not measured, to {whole['queries']:,} queries, {whole['photographs']:,} photographs and "
            f"{whole['pairs']:,} pairs (the challenge asks {figures['challenge']['queries']:,} queries):",
            "",
            f"| run | {' | '.join(stages)} | in all, minutes | aim |",
            "|---|" + "---|" * (len(stages) + 2),
        ]
        for name, parts in figures["extrapolation"].items():
            cells = [f"{parts.get(stage, 0.0) / 60:.1f}" for stage in (*stages, "seconds")]
            aim = figures["targets"].get(name)
            lines.append("| " + " | ".join([name, *cells, f"{aim:.0f}" if aim else "–"]) + " |")
    lines += ["", "| photographs | queries | pairs | matching, s | ranking, s |", "|---|---|---|---|---|"]
    for row in figures["growth"]:
        cells = [f"{row['photographs']:,} ({row['times']} x)", str(row["queries"]), f"{row['pairs']:,}"]
        cells += [f"{row['seconds_pairs']:.1f}", f"{row['seconds_rank']:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", peak.render(figures["parts"])]
    lines += [f"{name} is left out: {why}" for name, why in figures["left_out"].items()]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.end_to_end", description=__doc__.split("\n", 1)[0])
    add_options(parser, ranker=False)
    parser.set_defaults(individuals="all")
    parser.add_argument("--fraction", type=float, default=1.0, help="of the challenge's sizes (1.0)")
    parser.add_argument("--growth-queries", type=int, default=20, help="queries asked of growing catalogues (20)")
    options = parser.parse_args(arguments)
    if not 0 < options.fraction <= 1:
        parser.error(f"--fraction {options.fraction}: give a number above 0 and at most 1")
    if options.store is not None and options.store.exists() and any(options.store.iterdir()):
        parser.error(f"--store {options.store} holds something; the run starts from nothing: name a new folder")

    try:
        settings = settings_for(options.individuals, options.overrides)
        catalog = measured_part(Catalog.read(options.catalog), options.individuals)
        with tempfile.TemporaryDirectory(prefix="scarmatch-store-", dir=_parent(options.store)) as folder:
            figures = measure(
                catalog,
                settings,
                Path(folder),
                options.fraction,
                options.workers,
                options.growth_queries,
                options.seed,
                say,
            )
    except (CatalogError, CuttingError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DATA
    print(render(figures))
    if options.result:
        protocol = protocol_from(options) | {"fraction": options.fraction, "growth_queries": options.growth_queries}
        write_result(options.result, figures, settings.to_dict(), protocol)
    return 0


def _parent(store: Path | None) -> Path | None:
    """Return the folder in which the fresh store is made; None for the system's own place."""
    if store is not None:
        store.mkdir(parents=True, exist_ok=True)
    return store


if __name__ == "__main__":
    sys.exit(main())
