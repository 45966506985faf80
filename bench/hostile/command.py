"""Hostile tables, photographs, stores and models: so many of each, or as many as fit into a time; what goes wrong."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figures import Figures
from bench.hostile import models, photographs, stores, tables
from bench.hostile.outcome import Outcome, render
from bench.results import new_result, write_result

KINDS: dict[str, Callable[[int, int, Path], Outcome]] = {
    "tables": tables.run,
    "photographs": photographs.run,
    "stores": stores.run,
    "models": models.run,
}
_STEP = 250


@dataclass(frozen=True)
class HostileFigures(Figures):
    """The counts of every kind."""

    kinds: dict[str, dict[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try hostile inputs; 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench hostile", description=__doc__)
    parser.add_argument("--kind", action="append", choices=tuple(KINDS), help="may be repeated (default: all)")
    parser.add_argument("--inputs", type=int, default=2000, help="of each kind (2000)")
    parser.add_argument("--minutes", type=float, help="go on for so long instead, each kind its share")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the counts to this JSON file")
    options = parser.parse_args(arguments)
    kinds = options.kind or list(KINDS)
    seconds = None if options.minutes is None else 60 * options.minutes / len(kinds)
    found = {kind: run_kind(kind, options.inputs, options.seed, seconds) for kind in kinds}
    print(render(found))
    for outcome in found.values():
        for fault in outcome.faults:
            print(fault)
    if options.output is not None:
        figures = HostileFigures({kind: outcome.to_dict() for kind, outcome in found.items()})
        protocol = {"seed": options.seed, "source": "made from sound inputs by seeded damage"}
        write_result(new_result(options.output.stem, figures, {}, protocol), options.output.parent)
    return 0 if all(outcome.ok for outcome in found.values()) else 1


def run_kind(kind: str, inputs: int, seed: int, seconds: float | None = None) -> Outcome:
    """Try so many inputs of a kind, or, for so many seconds, as many as it takes, each step with a seed of its own."""
    started, outcome, step = time.monotonic(), Outcome(), 0
    while True:
        with tempfile.TemporaryDirectory() as folder:
            count = inputs if seconds is None else _STEP
            outcome += KINDS[kind](count, seed + step, Path(folder))
        step += 1
        if seconds is None or time.monotonic() - started >= seconds:
            return outcome
