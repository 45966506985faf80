"""``rank`` on ten scenarios of the challenge's own sizes, from nothing and with photographs known: where time goes.

The scenarios are cut from a labelled catalogue with the sizes of the challenge (queries / database, as far as there are
photographs) and ranked three times: with an empty store; with the photographs described and no pair known; with
everything known. ``--fraction`` scales all sizes; what the whole would take is then printed as an extrapolation, and
called one; ``--only "from nothing"`` leaves the other two runs out. Then the same queries are asked of one, two and
four times as many photographs, which must cost the same.

The store is a fresh folder (``--store`` names where) that is removed afterwards. A whole run takes 2 to 3 times what it
measures, ``--fraction 0.05`` about five minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.ledger import MeasuredMatcher, Stage
from bench.measurement import Measurement
from bench.protocols import select
from bench.results import Result
from bench.scenarios.cutting import choose_scenarios, cut_scenarios, used_by
from engine.catalogue.index import CatalogIndex
from engine.competitions.challenge import rank_challenge
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS
from engine.competitions.scenarios import Scenario
from engine.search.candidates import ShortlistSettings
from engine.search.matcher import Matcher

RUNS = ("from nothing", "photographs known", "everything known")
#: Minutes for the challenge's own sizes, and MiB of all processes together.
TARGET_MINUTES = {"from nothing": 28.0, "photographs known": 25.0}
TARGET_MIB = 1536.0
GROWTH = (1, 2, 4)


@dataclass(frozen=True)
class Sizes:
    """How much scenarios ask for; pairs that two scenarios share count twice."""

    scenarios: int
    photographs: int
    queries: int
    pairs: int


@dataclass(frozen=True)
class Run:
    """One run of ``rank``.

    Attributes:
        memory_mib: at most: the highest of this process plus as many workers as there are, each at the highest that
            any of them ever reached.
    """

    seconds: float
    seconds_outside_stages: float
    stages: tuple[Stage, ...]
    memory_mib: float
    workers: int


@dataclass(frozen=True)
class Growth:
    """The same queries asked of ``times`` as many photographs."""

    times: int
    photographs: int
    queries: int
    pairs: int
    seconds_pairs: float
    seconds_rank: float


@dataclass(frozen=True)
class EndToEndFigures(Figures):
    """Everything this measurement finds.

    Attributes:
        fraction: of the challenge's sizes that was run.
        measured, whole: what was run, and what is asked about.
        challenge_queries: of the challenge itself.
        runs: name -> what it took.
        extrapolation: name -> stage -> seconds of the whole, "seconds" in all; None if all of it was run.
        left_out: scenario -> why this catalogue cannot have it.
    """

    fraction: float
    measured: Sizes
    whole: Sizes
    challenge_queries: int
    runs: dict[str, Run]
    extrapolation: dict[str, dict[str, float]] | None
    growth: tuple[Growth, ...]
    left_out: dict[str, str]


def measure(context: Context) -> EndToEndFigures:
    """Cut, rank three times, and ask growing catalogues."""
    options, catalog, lists = context.options, context.catalog, context.settings.shortlist
    parent = options.store
    if parent is not None:
        parent.mkdir(parents=True, exist_ok=True)
    all_of_it, left_out = choose_scenarios(catalog, seed=context.seed)
    runs = {}
    with tempfile.TemporaryDirectory(prefix="scarmatch-end-to-end-", dir=parent) as work:
        folder, store = Path(work) / "data", Path(work) / "store"
        cut = cut_scenarios(catalog, folder, scale=options.fraction, seed=context.seed)
        measured, whole = sizes_of(cut.scenarios, lists), sizes_of(all_of_it, lists)
        for name in options.only or RUNS:
            if name == "photographs known":
                forget_pairs(store)
            context.say(name)
            runs[name] = timed_run(cut.folder, store, context)
        growth = asked_of_growing(context, store) if options.growth_queries else ()
    extrapolation = {name: extrapolate(run, measured, whole) for name, run in runs.items()}
    return EndToEndFigures(
        fraction=options.fraction,
        measured=measured,
        whole=whole,
        challenge_queries=sum(rule.n_queries for rule in CHALLENGE_SCENARIOS),
        runs=runs,
        extrapolation=extrapolation if options.fraction < 1 else None,
        growth=growth,
        left_out=left_out,
    )


def sizes_of(scenarios: Sequence[Scenario], settings: ShortlistSettings) -> Sizes:
    """Return how much scenarios ask for."""
    pairs = sum(len(s) * settings.longest(len(s.database)) for s in scenarios)
    return Sizes(len(scenarios), len(used_by(scenarios)), sum(map(len, scenarios)), pairs)


def forget_pairs(store: Path) -> None:
    """Remove the measurements of pairs from a store that this run made itself."""
    for file in store.glob("pairs.sqlite*"):
        file.unlink()


def timed_run(folder: Path, store: Path, context: Context) -> Run:
    """Rank a challenge folder once."""
    matcher = MeasuredMatcher(context.settings, store, workers=context.options.workers)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="scarmatch-answers-") as answers:
        rank_challenge(folder, Path(answers) / "submission.csv", matcher, announce=context.say)
    seconds = time.perf_counter() - started
    matcher.close()
    stages = tuple(matcher.stages.values())
    outside = seconds - sum(stage.seconds for stage in stages)
    memory = max(s.peak_mib + matcher.workers * s.peak_mib_of_worker for s in stages)
    return Run(seconds, outside, stages, memory, matcher.workers)


def extrapolate(run: Run, measured: Sizes, whole: Sizes) -> dict[str, float]:
    """Return what a run of the whole sizes would take, each stage in proportion to what it works on.

    Pairs that scenarios share are matched once; a smaller cut shares fewer, so the measured share is an upper bound for
    the time and is kept.
    """
    pairs = whole.pairs / measured.pairs
    factors = {"describing": whole.photographs / measured.photographs}
    parts = {stage.name: stage.seconds * factors.get(stage.name, pairs) for stage in run.stages}
    parts["outside stages"] = run.seconds_outside_stages * pairs
    return {**parts, "seconds": sum(parts.values())}


def asked_of_growing(context: Context, store: Path) -> tuple[Growth, ...]:
    """Ask the same queries of the first quarter, half and all of some described photographs, no pair being known."""
    options, catalog = context.options, context.catalog
    matcher = Matcher(context.settings, store, workers=options.workers)
    tops = select(catalog)
    order = np.random.default_rng(context.seed).permutation(len(tops))
    count = max(max(GROWTH) * (context.settings.shortlist.size + 1), int(options.fraction * len(tops)))
    index: CatalogIndex = matcher.index(catalog.subset([tops[i] for i in order[:count]]))
    base = len(index) // max(GROWTH)
    asked = index.take(list(range(min(options.growth_queries, base))))
    forget_pairs(store)
    matcher.pairs(asked.take([0]), index.take(list(range(base))))  # processes and networks are there
    records = []
    for times in GROWTH:
        database = index.take(list(range(times * base)))
        forget_pairs(store)
        context.say(f"growth: {len(asked)} queries against {len(database):,} photographs")
        started = time.perf_counter()
        raw = matcher.pairs(asked, database)
        matched = time.perf_counter()
        matcher.rank(raw)
        spent = matched - started, time.perf_counter() - matched
        records.append(Growth(times, len(database), len(asked), len(raw), *spent))
    matcher.close()
    return tuple(records)


def full(result: Result[EndToEndFigures]) -> str:
    """Return the stages of every run, the extrapolation and the growing catalogues."""
    f, rows = result.figures, []
    for name, run in f.runs.items():
        for s in run.stages:
            rate = f"{s.computed / s.seconds:,.1f}" if s.computed and s.seconds else "–"
            rows.append([name, s.name, f"{s.items:,}", f"{s.computed:,}", f"{s.seconds:.1f}", rate])
        rows.append([name, "**in all**", "", "", f"**{run.seconds:.1f}**", ""])
    first = next(iter(f.runs.values()))
    parts = [
        f"{f.measured.scenarios} scenarios, {f.fraction:.0%} of the challenge's sizes: {f.measured.queries:,} queries, "
        f"{f.measured.photographs:,} photographs, {f.measured.pairs:,} pairs",
        markdown.table(["run", "stage", "photographs or pairs", "of them computed", "seconds", "a second"], rows),
        f"memory, this process and {first.workers} workers: at most {first.memory_mib:,.0f} MiB "
        f"(aim {TARGET_MIB:,.0f})",
    ]
    if f.extrapolation:
        stages = list(dict.fromkeys(s.name for run in f.runs.values() for s in run.stages))
        times = [
            [name, *(f"{of.get(stage, 0.0) / 60:.1f}" for stage in (*stages, "seconds")), _aim(name)]
            for name, of in f.extrapolation.items()
        ]
        parts += [
            f"EXTRAPOLATED, not measured, to {f.whole.queries:,} queries, {f.whole.photographs:,} photographs and "
            f"{f.whole.pairs:,} pairs (the challenge asks {f.challenge_queries:,} queries):",
            markdown.table(["run", *stages, "in all, minutes", "aim"], times),
        ]
    grown = [
        [
            f"{g.photographs:,} ({g.times} x)",
            str(g.queries),
            f"{g.pairs:,}",
            f"{g.seconds_pairs:.1f}",
            f"{g.seconds_rank:.2f}",
        ]
        for g in f.growth
    ]
    if grown:
        parts.append(markdown.table(["photographs", "queries", "pairs", "matching, s", "ranking, s"], grown))
    parts += [f"{name} is left out: {why}" for name, why in f.left_out.items()]
    return "\n\n".join(parts)


def short(result: Result[EndToEndFigures]) -> str:
    """Return what the challenge's ten scenarios take."""
    f = result.figures
    seconds = {
        name: f.extrapolation[name]["seconds"] if f.extrapolation else run.seconds for name, run in f.runs.items()
    }
    rows = [[name, f"{value / 60:.0f}", _aim(name)] for name, value in seconds.items()]
    first = next(iter(f.runs.values()))
    how = f", extrapolated from {f.fraction:.0%} of them" if f.extrapolation else ""
    words = (
        f"{f.whole.queries:,} queries and {f.whole.photographs:,} photographs{how}; memory of all processes at most "
        f"{first.memory_mib:,.0f} MiB (aim {TARGET_MIB:,.0f}); {result.cpu}, no GPU."
    )
    heads = ["ten scenarios of the challenge's own sizes", "minutes", "aim"]
    return f"{markdown.table(heads, rows)}\n\n{words}"


def _aim(name: str) -> str:
    return f"{TARGET_MINUTES[name]:.0f}" if name in TARGET_MINUTES else "–"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--fraction", type=_fraction, default=1.0, help="of the challenge's sizes (1.0)")
    parser.add_argument(
        "--growth-queries", type=int, default=20, help="queries asked of growing catalogues (20); 0: none"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=RUNS[:1],
        metavar="RUN",
        help='"from nothing": this run alone, where all three would take too long',
    )


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0 and at most 1")
    return value


MEASUREMENT = Measurement(
    title="Speed, end to end",
    figures=EndToEndFigures,
    measure=measure,
    full=full,
    short=short,
    add_options=add_options,
    individuals="all",
)
