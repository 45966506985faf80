"""What does a cold start cost? A fresh process reads a table, opens its described catalogue, filters, and asks once.

A catalogue of each size is made as ``bench/described_catalogue.py`` says: table, files of photographs, store, and what
lies beside the store of a large one. Then a fresh process does what a user's program does, and every step is timed:
starting Python, importing, reading the table, opening the catalogue, applying a filter, and the first question, of a
photograph of the catalogue. "Candidates" ends with the question's list, which keypoints and cosine make; "answer" goes
on until its photographs are matched, verified and ranked. Each is the median of several processes, which alternate with
those of the tree before where ``--before`` names one. Files were written a while before, so that they are in the
system's cache where they fit; compiled code is in its own cache.

Steps are the work of all cores in seconds, which other programs hardly change; by the clock they do. Memory is the
process's highest, with the pages of files that it has mapped at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import markdown
from bench.context import Context
from bench.described_catalogue import DescribedCatalogue
from bench.figures import Figures
from bench.measurement import Measurement
from bench.results import Result
from engine.search.matcher import Matcher
from engine.workers import default_workers
from scarmatch.errors import ScarmatchError

#: Photographs of the catalogues.
_SIZES = (10_000, 100_000)
_SCRIPT = Path(__file__).parents[1] / "cold_start_question.py"
#: What a cold start goes to, in order.
STEPS = ("Python", "imports", "reading", "opening", "filter", "question")
#: The filter that is applied: later photographs, and none of the question's own encounter.
_SINCE = "2018-01-01"


@dataclass(frozen=True)
class Start:
    """One kind of cold start: medians of several processes.

    Attributes:
        clock, work: seconds by step, by the clock and of all cores.
        memory: MiB.
        torch: whether torch was imported.
    """

    clock: dict[str, float]
    work: dict[str, float]
    memory: float
    torch: bool

    @property
    def seconds(self) -> float:
        """Seconds of the whole, by the clock."""
        return sum(self.clock.values())

    @property
    def total_work(self) -> float:
        """Seconds of all cores."""
        return sum(self.work.values())


@dataclass(frozen=True)
class ColdStartFigures(Figures):
    """Everything this measurement finds.

    Attributes:
        rounds: processes of each kind. workers: of each.
        real: photographs of a catalogue that are real.
        before: commit of the tree before, empty where none was named.
        starts: by number of photographs, by "candidates" or "answer", by "now" or "before".
        same: whether both trees' lists were the same.
    """

    rounds: int
    workers: int
    real: int
    before: str
    starts: dict[str, dict[str, dict[str, Start]]]
    same: bool


def measure(context: Context) -> ColdStartFigures:
    """Make catalogues of every size, and let fresh processes open them."""
    options, index = context.options, context.index
    trees = {"now": Path(__file__).resolve().parents[2]}
    if options.before is not None:
        trees["before"] = options.before.resolve()
    query = _question(context)
    starts: dict[str, dict[str, dict[str, Start]]] = {}
    same = True
    for size in options.sizes or _SIZES:
        with tempfile.TemporaryDirectory(prefix="scarmatch-cold-", dir=options.work) as name:
            made = DescribedCatalogue(index, context.settings, size, Path(name), context.seed)
            context.say(f"a described catalogue of {size:,} photographs")
            made.make(context.matcher, context.say)
            context.matcher.close()
            matcher = Matcher(context.settings, made.store, ranker="fusion", workers=1)
            made.write_listed(matcher, query, context.say)
            kinds = starts[str(size)] = {}
            for kind in ("candidates", "answer"):
                runs = _runs(context, made, query, kind == "answer", trees)
                same &= len({tuple(run["found"]) for own in runs.values() for run in own}) == 1
                kinds[kind] = {tree: _start(own) for tree, own in runs.items()}
                for tree, start in kinds[kind].items():
                    context.say(f"{kind} {tree}: {start.seconds:.2f} s ({_spent(start)}), {start.memory:,.0f} MiB")
    workers = options.workers or default_workers()
    before = _commit(trees["before"]) if "before" in trees else ""
    return ColdStartFigures(options.rounds, workers, len(index), before, starts, same)


def _question(context: Context) -> str:
    """Choose a photograph whose individual others show."""
    names = context.index.catalog.table["individual_id"]
    several = context.index.catalog.table["image_id"][names.isin(names[names.duplicated()])]
    return str(several.iloc[int(np.random.default_rng(context.seed).integers(len(several)))])


def _runs(
    context: Context, made: DescribedCatalogue, query: str, answer: bool, trees: dict[str, Path]
) -> dict[str, list[dict[str, Any]]]:
    """Start processes of every tree in turns; the first of each is not counted, as it makes compiled code."""
    runs: dict[str, list[dict[str, Any]]] = {tree: [] for tree in trees}
    for number in range(context.options.rounds + 1):
        for tree, folder in trees.items():
            (made.store / "pairs.sqlite").unlink(missing_ok=True)
            run = _ask(context, made, query, answer, folder)
            if number:
                runs[tree].append(run)
    return runs


def _ask(context: Context, made: DescribedCatalogue, query: str, answer: bool, tree: Path) -> dict[str, Any]:
    settings = context.settings
    descriptor, skin = settings.describe.descriptor, settings.describe.skin
    named = {
        "describe.descriptor.model": ",".join(map(_whole, descriptor.model.split(","))),
        "describe.skin.model": _whole(skin.model),
        "mutual_nn.metric": _whole(settings.mutual_nn.metric),
    }
    for name, value in named.items():  # another tree's process has another folder
        settings = settings.with_option(name, value)
    asked: dict[str, Any] = {
        "catalogue": str(made.root),
        "store": str(made.store),
        "settings": settings.to_dict(),
        "query": query,
    }
    asked |= {"answer": answer, "since": _SINCE, "workers": context.options.workers or default_workers()}
    file = made.folder / "question.json"
    # In front of everything, an installed scarmatch too.
    path = os.pathsep.join([str(tree), *(part for part in sys.path if part and Path(part) != _SCRIPT.parents[1])])
    environment = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path}
    file.write_text(json.dumps({**asked, "started": time.perf_counter()}), encoding="utf-8")
    done = subprocess.run([sys.executable, str(_SCRIPT), str(file)], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise ScarmatchError(f"the process of {tree} failed: {done.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _whole(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).is_file() else model


def _start(runs: list[dict[str, Any]]) -> Start:
    clock, work = (np.median([run[name] for run in runs], axis=0).tolist() for name in ("clock", "work"))
    work[-1] += float(np.median([run["children_work"] for run in runs]))
    steps = dict(zip(STEPS, clock, strict=True)), dict(zip(STEPS, work, strict=True))
    return Start(*steps, float(np.median([run["memory"] for run in runs])), any(run["torch"] for run in runs))


def _commit(tree: Path) -> str:
    done = subprocess.run(["git", "-C", str(tree), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or tree.name


def _spent(start: Start) -> str:
    return ", ".join(f"{step} {markdown.seconds(value)}" for step, value in start.clock.items())


def full(result: Result[ColdStartFigures]) -> str:
    """Return the table of steps."""
    figures, rows = result.figures, []
    for size, kinds in figures.starts.items():
        for kind, trees in kinds.items():
            for tree in ("before", "now"):
                if tree not in trees:
                    continue
                start = trees[tree]
                steps = [markdown.seconds(start.work[step]) for step in STEPS]
                whole = [markdown.seconds(start.total_work), markdown.seconds(start.seconds)]
                memory = f"{start.memory / 1024:.2f} GiB"
                rows.append(
                    [f"{int(size):,}", f"{kind}, {tree}", *steps, *whole, memory, "yes" if start.torch else "no"]
                )
    heads = ["photographs", "until", *STEPS, "work in all", "by the clock", "memory", "torch"]
    text = [markdown.table(heads, rows)]
    times = f"medians of {figures.rounds} processes each" if figures.rounds > 1 else "one process each"
    about = f"Seconds of work. {figures.workers} workers; {result.cpu}; {times}."
    if figures.before:
        lists = "The lists are the same." if figures.same else "The lists differ."
        about += f" Before: commit {figures.before}, in the same run. {lists}"
    return "\n\n".join([*text, about])


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument(
        "--sizes",
        action="append",
        type=int,
        metavar="N",
        help=f"photographs ({', '.join(map(str, _SIZES))}; the largest takes 8 GB of disk while it runs)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="processes of each kind (5)")
    parser.add_argument("--before", type=Path, metavar="FOLDER", help="an earlier checkout that is measured beside it")
    parser.add_argument("--work", type=Path, help="folder for the catalogues (the system's)")


MEASUREMENT = Measurement(
    title="Cold start",
    figures=ColdStartFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
)
