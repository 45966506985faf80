"""Where the time of a run goes, stage by stage, from nothing: photographs and pairs a second, and memory.

The store is a fresh folder that is removed afterwards. Start-up of worker processes and loading of networks are
measured apart, by a first run on a few photographs. LightGlue's rate is that of some further pairs of the lists, whose
first stage is known by then; the first stage gets the rest of the time. With ``--save`` the rates go to
engine/competitions/measured_rates.json too, by which ``scarmatch package`` reckons.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.memory import peak_mib, usage_mib
from bench.results import Result
from engine.competitions.running_time import RATES_FILE, write_rates
from engine.search.matcher import Matcher

_WARM_UP = 16
#: Candidates of a list that LightGlue's rate is measured on.
_RESCORED = 3
T = TypeVar("T")


@dataclass(frozen=True)
class StagesFigures(Figures):
    """Everything this measurement finds: seconds, rates, memory.

    Attributes:
        first_stage_pairs_per_second: pairs a second of the first stage.
        lightglue_pairs: pairs of the lists that LightGlue saw; ``lightglue_pairs_per_second``: its rate.
    """

    workers: int
    photographs: int
    seconds_start_index: float
    seconds_start_match: float
    seconds_index: float
    seconds_index_again: float
    seconds_pairs: float
    seconds_rank: float
    pairs: int
    lightglue_pairs: int
    lightglue_pairs_per_second: float
    first_stage_pairs_per_second: float
    photographs_per_second: float
    pairs_per_second: float
    peak_mib: float
    peak_mib_of_largest_worker: float
    seconds_import: float


def measure(context: Context) -> StagesFigures:
    """Index and match a random part of a catalogue from nothing."""
    catalog, count = context.catalog, context.options.photographs
    chosen = np.random.default_rng(context.seed).permutation(len(catalog))[: count + _WARM_UP]
    warm_up, rest = catalog.take(chosen[:_WARM_UP]), catalog.take(chosen[_WARM_UP:])
    with tempfile.TemporaryDirectory(prefix="scarmatch-stages-") as folder:
        matcher = Matcher(context.settings, folder, ranker="fusion", workers=context.options.workers)
        seconds_start_index, few = timed(lambda: matcher.index(warm_up))
        seconds_start_match, _ = timed(lambda: matcher.pairs(few, few))
        seconds_index, index = timed(lambda: matcher.index(rest))
        seconds_again, _ = timed(lambda: matcher.index(rest))
        asked = index.take(list(range(min(context.queries, len(index)))))
        seconds_pairs, raw = timed(lambda: matcher.pairs(asked, index))
        seconds_rank, _ = timed(lambda: matcher.rank(raw))
        unseen = raw[raw["lightglue_matches"].isna()].groupby("query_id").head(_RESCORED)
        further = list(zip(unseen["query_id"], unseen["candidate_id"], strict=True))
        seconds_further, _ = timed(lambda: matcher.compare(further, asked, index))
        workers = matcher.workers
        matcher.close()
    seen = int(raw["lightglue_matches"].notna().sum())
    rescoring = len(further) / seconds_further if further else float("nan")
    return StagesFigures(
        workers=workers,
        photographs=len(rest),
        seconds_start_index=seconds_start_index,
        seconds_start_match=seconds_start_match,
        seconds_index=seconds_index,
        seconds_index_again=seconds_again,
        seconds_pairs=seconds_pairs,
        seconds_rank=seconds_rank,
        pairs=len(raw),
        lightglue_pairs=seen,
        lightglue_pairs_per_second=rescoring,
        first_stage_pairs_per_second=len(raw) / max(seconds_pairs - seen / rescoring, 1e-9),
        photographs_per_second=len(rest) / seconds_index,
        pairs_per_second=len(raw) / seconds_pairs,
        peak_mib=peak_mib(),
        peak_mib_of_largest_worker=usage_mib(resource.RUSAGE_CHILDREN),
        seconds_import=import_seconds(),
    )


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Return the seconds that some work takes, and its answer."""
    started = time.perf_counter()
    answer = work()
    return time.perf_counter() - started, answer


def import_seconds() -> float:
    """Return the median of five times that importing the package takes in a fresh process, Python's start left out."""
    code = (
        "import time; s = time.perf_counter(); from scarmatch import Catalog, Matcher; print(time.perf_counter() - s)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    return float(np.median([float(run.stdout) for run in runs]))


def keep_rates(result: Result[Any], file: Path = RATES_FILE) -> None:
    """Write a result's rates where the product reads them."""
    write_rates(
        result.figures.to_json(),
        f"{result.machine['cores']} cores of {result.machine['cpu']} ({result.created[:10]})",
        file,
    )


def full(result: Result[StagesFigures]) -> str:
    """Return where the time goes, from nothing."""
    f = result.figures
    rows = [
        [
            "describing (global descriptor, regions, 512 keypoints)",
            f"{f.photographs_per_second:.1f} photographs a second",
        ],
        ["the same photographs again, from the store", f"{f.photographs / f.seconds_index_again:,.0f} a second"],
        [
            "comparing and verifying a list",
            f"{f.pairs_per_second:.0f} pairs a second: the first stage at {f.first_stage_pairs_per_second:.0f} a "
            f"second, and LightGlue for {f.lightglue_pairs / f.pairs:.0%} of it, which does "
            f"{f.lightglue_pairs_per_second:.1f} a second",
        ],
        ["ranking", f"{f.pairs / f.seconds_rank:,.0f} pairs a second"],
        [
            "starting the processes",
            f"{f.seconds_start_index:.1f} s to describe, {f.seconds_start_match:.1f} s to compare",
        ],
        [
            "memory",
            f"{f.peak_mib:.0f} MiB, and up to {f.peak_mib_of_largest_worker:.0f} MiB for each of {f.workers} workers",
        ],
        ["importing the package", f"{f.seconds_import:.2f} s"],
    ]
    words = (
        f"{result.cpu}, no GPU; {f.photographs} real photographs, {f.pairs:,} pairs; a shared machine, the start of "
        "the processes included."
    )
    return f"{markdown.table(['stage', 'measured'], rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--photographs", type=int, default=200, help="photographs, drawn at random (200)")


MEASUREMENT = Measurement(
    title="Speed, stage by stage",
    figures=StagesFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
    queries=20,
    individuals="all",
    extra=keep_rates,
)
