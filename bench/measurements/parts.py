"""What each part of a model of one's own brings, and what it costs to train: made-up animals.

The parts that see photographs (metric of keypoints, dense skin network, global descriptor) are trained one by one on
the train part of a made-up species, as ``scarmatch train`` trains them. Each is then asked for animals that it never
saw, those of the test part, in place of the general model's; a ranker is fitted for it on the same folds of individuals
as for all the others. The time is the processor's, so that a busy machine does not count. ``--work`` keeps what is
computed, and a stopped run goes on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.made_up_species import matcher_for, part_of, teaching_and_asked
from bench.measurement import Measurement
from bench.results import Result
from engine.catalogue.catalog import Catalog
from engine.demo.species import SPECIES
from engine.search.matcher import Matcher
from engine.training.fold_parts import PHOTOGRAPH_PARTS, train_part
from engine.training.model_figures import Answers, figures_of, out_of_fold_answers
from engine.training.model_training import recipe_of, with_parts
from engine.training.plan import ModelTrainSettings, Plan
from reranker.training import train_ranker
from reranker.training_settings import TrainingSettings
from scarmatch.metrics import paired_bootstrap

#: The way that all are compared with.
WITHOUT = "none"


@dataclass(frozen=True)
class Way:
    """One part of one's own: minutes of one core to train it, figures, and mAP@20 over none."""

    part: str
    core_minutes: float
    map20: tuple[float, float, float]
    top1: float
    individual_top1: float
    new_auroc: float
    gain: tuple[float, float, float]


@dataclass(frozen=True)
class PartsFigures(Figures):
    """Everything this measurement finds; ``taught`` and ``asked`` are (animals, photographs)."""

    species: str
    taught: tuple[int, int]
    asked: tuple[int, int]
    skin_steps: int
    epochs: int
    ways: tuple[Way, ...]


def measure(context: Context) -> PartsFigures:
    """Train each part, and ask the same photographs with it."""
    with tempfile.TemporaryDirectory() as temporary:
        return _measure(context, context.options.work or Path(temporary))


def _measure(context: Context, work: Path) -> PartsFigures:
    options, work = context.options, work.absolute()
    teaching, asked = teaching_and_asked(options.species)
    sizes = (options.animals, options.photographs), (options.asked, options.photographs)
    taught = part_of(options.species, teaching, work, size=sizes[0])
    catalog = part_of(options.species, asked, work, size=sizes[1])
    found, minutes = {WITHOUT: _answers(catalog, _general(catalog, work, options.workers))}, {WITHOUT: 0.0}
    for part in options.part or PHOTOGRAPH_PARTS:
        context.say(f"training: {part}")
        path, minutes[part] = _trained(part, taught, work, context)
        base = _general(catalog, work, options.workers)
        found[part] = (
            _answers(catalog, with_parts(base, {PHOTOGRAPH_PARTS[part]: str(path)})) if path else found[WITHOUT]
        )
    theirs = found[WITHOUT].average_precisions()
    ways = []
    for part, answers in found.items():
        f = figures_of(answers)
        gain = paired_bootstrap(answers.average_precisions(), theirs, answers.truth.to_numpy(object))
        numbers = (f.map20, f.top1, f.individual_top1, f.new_auroc, (gain.mean, gain.low, gain.high))
        ways.append(Way(part, minutes[part], *numbers))
    counts = (options.animals, len(taught)), (options.asked, len(catalog))
    return PartsFigures(options.species, *counts, options.skin_steps, options.epochs, tuple(ways))


def _general(catalog: Catalog, work: Path, workers: int | None) -> Matcher:
    return matcher_for(catalog, work, "generic", workers)


def _trained(part: str, taught: Catalog, work: Path, context: Context) -> tuple[Path | None, float]:
    """Return a part trained on all of a catalogue, None where it taught nothing, and minutes of one core."""
    options, folder = context.options, work / "parts"
    plan = Plan((), (part,), 0, 0, options.skin_steps, options.epochs)
    recipe = recipe_of(plan, ModelTrainSettings(seed=context.seed))
    base = _general(taught, work, options.workers)
    with _clock(folder / f"{part}-seconds.txt") as seconds:
        path = train_part(part, taught, base, folder, recipe, lambda told: context.say(f"{part}: {told}"))
    return path, seconds[0] / 60


@contextmanager
def _clock(file: Path) -> Iterator[list[float]]:
    """Give a list that holds in the end the processor's seconds spent inside, those of stopped runs with them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    before = float(file.read_text(encoding="utf-8")) if file.is_file() else 0.0
    seconds, started = list[float](), time.process_time()
    try:
        yield seconds
    finally:
        seconds.append(before + time.process_time() - started)
        file.write_text(f"{seconds[0]:.1f}\n", encoding="utf-8")


def _answers(catalog: Catalog, matcher: Matcher) -> Answers:
    """Ask every photograph against all the others, by a ranker fitted on the answers of other individuals."""
    index = matcher.index(catalog)
    raw = matcher.pairs(index, index, neighbours=True)
    matcher.close()
    describe = matcher.settings.describe
    settings = TrainingSettings()
    trained = train_ranker(raw, settings, keypoint_kind=describe.keypoints.kind, descriptor=describe.descriptor.model)
    return out_of_fold_answers(trained, raw, "all", raw)


def full(result: Result[PartsFigures]) -> str:
    """Return the table."""
    figures = result.figures
    heads = ["part of one's own", "core minutes", "mAP@20", "over none", "top-1", "individual first", "new AUROC"]
    rows = [
        [
            way.part,
            f"{way.core_minutes:.1f}" if way.core_minutes else "–",
            f"{way.map20[0]:.3f} ({way.map20[1]:.3f}–{way.map20[2]:.3f})",
            "" if way.part == WITHOUT else "{:+.3f} ({:+.3f}–{:+.3f})".format(*way.gain),
            *(f"{value:.2f}" for value in (way.top1, way.individual_top1, way.new_auroc)),
        ]
        for way in figures.ways
    ]
    (animals, photographs), (others, questions) = figures.taught, figures.asked
    steps = f"{figures.skin_steps} + {figures.skin_steps // 2}"
    words = (
        f"Made-up {figures.species}: {photographs} photographs of {animals} animals teach, {questions} of {others} "
        f"others are asked; skin network {steps} steps, descriptor {figures.epochs} epochs. `scarmatch train` trains "
        "each once for every fold and once for all: four times the minutes."
    )
    return f"{markdown.table(heads, rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--work", type=Path, help="keep photographs, store and trained parts in this folder")
    parser.add_argument("--species", choices=SPECIES, default="spots", help="which made-up animals (spots)")
    parser.add_argument("--part", action="append", choices=PHOTOGRAPH_PARTS, help="this one only (may be repeated)")
    parser.add_argument("--animals", type=int, default=40, help="that teach (40)")
    parser.add_argument("--asked", type=int, default=24, help="animals that are asked (24)")
    parser.add_argument("--photographs", type=int, default=5, help="of each animal (5)")
    parser.add_argument(
        "--skin-steps", type=int, default=200, help="on made-up views; half as many more on pairs (200)"
    )
    parser.add_argument("--epochs", type=int, default=20, help="of the global descriptor (20)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")


MEASUREMENT = Measurement(
    title="What parts of one's own are worth",
    figures=PartsFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
    catalog=False,
)
