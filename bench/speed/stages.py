"""Where the time of a run goes, stage by stage, from nothing: photographs and pairs a second, and memory.

::

    python -m bench.speed.stages CATALOG [--photographs 200] [--queries 20] [--workers N] [--result stages]

The store is a fresh folder that is removed afterwards. Start-up of worker processes and loading of networks are
measured apart, by a first run on a few photographs.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import read_result, write_result
from bench.scenarios.measuring import Ledger, MeasuredMatcher
from engine.catalogue.catalog import Catalog
from engine.commands.options import with_overrides
from engine.competitions.running_time import RATES_FILE, write_rates
from engine.search.matcher import MatcherSettings

_WARM_UP = 16
#: The result whose rates ``scarmatch package`` reckons with.
RESULT = "stages"


def measure(
    catalog: Catalog, settings: MatcherSettings, photographs: int, queries: int, workers: int | None, seed: int = 0
) -> dict[str, Any]:
    """Index and match a random part of a catalogue from nothing.

    Returns:
        Seconds and rates per stage, peak memory in MiB of this process and of the largest worker.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(catalog))[: photographs + _WARM_UP]
    warm_up, rest = catalog.take(chosen[:_WARM_UP]), catalog.take(chosen[_WARM_UP:])
    with tempfile.TemporaryDirectory() as folder:
        matcher = MeasuredMatcher(settings, folder, ranker="fusion", workers=workers)
        figures: dict[str, Any] = {"workers": matcher.workers, "photographs": len(rest)}
        figures["seconds_start_index"], index = _timed(lambda: matcher.index(warm_up))
        figures["seconds_start_match"], _ = _timed(lambda: matcher.pairs(index, index))
        figures["seconds_index"], index = _timed(lambda: matcher.index(rest))
        figures["seconds_index_again"], _ = _timed(lambda: matcher.index(rest))
        asked = index.take(list(range(min(queries, len(index)))))
        matcher.ledger = Ledger()
        figures["seconds_pairs"], raw = _timed(lambda: matcher.pairs(asked, index))
        figures["seconds_rank"], _ = _timed(lambda: matcher.rank(raw))
        matcher.close()
    figures["pairs"] = len(raw)
    second = matcher.ledger.stages["matching by lightglue"]
    figures["second_looks"] = second.items
    figures["second_looks_per_second"] = second.items / second.seconds
    figures["quick_looks_per_second"] = len(raw) / (figures["seconds_pairs"] - second.seconds)
    figures["photographs_per_second"] = len(rest) / figures["seconds_index"]
    figures["pairs_per_second"] = len(raw) / figures["seconds_pairs"]
    figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures["peak_mib_of_largest_worker"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    figures["seconds_import"] = import_seconds()
    return figures


def keep_rates(result: dict[str, Any], file: Path = RATES_FILE) -> None:
    """Write a result's rates where the product reads them."""
    machine = result["machine"]
    write_rates(result["figures"], f"{machine['cores']} cores of {machine['cpu']} ({result['created'][:10]})", file)


def import_seconds() -> float:
    """Return the median of five times that importing the package takes in a fresh process, Python's start left out."""
    code = (
        "import time; s = time.perf_counter(); from scarmatch import Catalog, Matcher; print(time.perf_counter() - s)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    return float(np.median([float(run.stdout) for run in runs]))


def _timed(work: Any) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def render(figures: dict[str, Any]) -> str:
    """Return the figures as text."""
    f = figures
    lines = [
        f"{f['workers']} processes",
        f"start-up, describing: {f['seconds_start_index']:.1f} s; comparing: {f['seconds_start_match']:.1f} s",
        f"describing: {f['photographs_per_second']:.1f} photographs a second (with the start of the processes)",
        f"the same again, from the store: {f['seconds_index_again']:.2f} s for {f['photographs']}",
        f"comparing: {f['pairs_per_second']:.1f} pairs a second",
        f"of it the quick looks: {f['quick_looks_per_second']:.1f} pairs a second",
        f"LightGlue, for {f['second_looks']:,} of them: {f['second_looks_per_second']:.1f} pairs a second",
        f"ranking {f['pairs']:,} pairs: {f['seconds_rank']:.2f} s",
        f"memory: {f['peak_mib']:.0f} MiB, and up to {f['peak_mib_of_largest_worker']:.0f} MiB a worker",
        f"import: {f['seconds_import']:.2f} s",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed.stages", description=__doc__.split("\n", 1)[0])
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--photographs", type=int, default=200)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE", dest="overrides")
    parser.add_argument("--result", metavar="NAME", help="write bench/results/NAME.json")
    options = parser.parse_args(arguments)
    settings = with_overrides(MatcherSettings(), options.overrides)
    catalog = Catalog.read(options.catalog)
    figures = measure(catalog, settings, options.photographs, options.queries, options.workers)
    print(render(figures))
    if options.result:
        write_result(options.result, figures, settings.to_dict(), "random photographs of a catalogue, from nothing")
    if options.result == RESULT:
        keep_rates(read_result(RESULT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
