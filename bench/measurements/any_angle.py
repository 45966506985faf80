"""Made-up animals that lie in the picture at any angle, and ways to meet them.

Animals without a standard pose: turned at random, with no flank named. Every photograph of the test part is asked
against all the others by the general model as it is, and described in several rotations
(``--set describe.rotations=N``). Nothing is trained.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.made_up_species import SIZES, answers_of, matcher_for, part_of, teaching_and_asked
from bench.measurement import Measurement
from bench.results import Result
from engine.demo.species import SPECIES
from engine.training.model_figures import Answers, figures_of
from scarmatch.metrics import bootstrap_by_group, paired_bootstrap

#: What the rows of all species together are called.
ALL = "all"
#: Ways to meet animals at any angle: name -> the engine's options, with the general model.
WAYS: dict[str, dict[str, str]] = {
    "generic": {},
    **{f"generic, {count} rotations": {"describe.rotations": str(count)} for count in (4, 8)},
}


@dataclass(frozen=True)
class Row:
    """One way on one species."""

    species: str
    way: str
    map20: tuple[float, float, float]
    top1: float
    individual_top1: float
    new_auroc: float
    gain: tuple[float, float, float]


@dataclass(frozen=True)
class AngleFigures(Figures):
    """Everything this measurement finds; the last rows are of all species' questions together (:data:`ALL`)."""

    animals: int
    photographs: int
    rows: tuple[Row, ...]


def measure(context: Context) -> AngleFigures:
    """Ask the turned test parts in every way."""
    with tempfile.TemporaryDirectory() as temporary:
        return _measure(context, context.options.work or Path(temporary))


def _measure(context: Context, work: Path) -> AngleFigures:
    size, rows = (context.options.animals, context.options.photographs), list[Row]()
    everybody: dict[str, list[Answers]] = {name: [] for name in WAYS}
    for species in context.options.species or SPECIES:
        catalog = part_of(species, teaching_and_asked(species)[1], work, size=size, any_angle=True)
        for name, options in WAYS.items():
            matcher = matcher_for(catalog, work, "generic", context.options.workers, options)
            everybody[name].append(answers_of(catalog, matcher))
            matcher.close()
            context.say(f"{species}: {name}")
        rows += [_row(species, name, found[-1:], everybody["generic"][-1:]) for name, found in everybody.items()]
    rows += [_row(ALL, name, found, everybody["generic"]) for name, found in everybody.items()]
    return AngleFigures(size[0], size[0] * size[1], tuple(rows))


def _row(species: str, name: str, answers: Sequence[Answers], plain: Sequence[Answers]) -> Row:
    """Return the figures of one way, over all questions of one species or of several."""
    precisions, theirs = (np.concatenate([one.average_precisions() for one in some]) for some in (answers, plain))
    groups = np.concatenate([one.truth.to_numpy(object) for one in answers])
    value, gain = bootstrap_by_group(precisions, groups), paired_bootstrap(precisions, theirs, groups)
    # Every species asks as many questions.
    found = [figures_of(one) for one in answers]
    top1, first, new = (
        float(np.mean(values))
        for values in zip(*((one.top1, one.individual_top1, one.new_auroc) for one in found), strict=True)
    )
    interval = (value.mean, value.low, value.high)
    return Row(species, name, interval, top1, first, new, (gain.mean, gain.low, gain.high))


def full(result: Result[AngleFigures]) -> str:
    """Return the table."""
    heads = ["species", "way", "mAP@20", "over generic", "top-1", "individual first", "new AUROC"]
    rows = [
        [
            row.species,
            row.way,
            f"{row.map20[0]:.3f} ({row.map20[1]:.3f}–{row.map20[2]:.3f})",
            "" if row.way == "generic" else "{:+.3f} ({:+.3f}–{:+.3f})".format(*row.gain),
            *(f"{value:.2f}" for value in (row.top1, row.individual_top1, row.new_auroc)),
        ]
        for row in result.figures.rows
    ]
    figures = result.figures
    words = (
        f"{figures.photographs} photographs of {figures.animals} made-up animals a species, turned at random, no flank "
        "named, all against all."
    )
    return f"{markdown.table(heads, rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--work", type=Path, help="keep photographs and store in this folder")
    animals, photographs = SIZES["test"]
    parser.add_argument("--animals", type=int, default=animals, help=f"of a test part ({animals})")
    parser.add_argument("--photographs", type=int, default=photographs, help=f"of each of them ({photographs})")
    parser.add_argument("--species", action="append", choices=SPECIES, help="this one only (may be repeated)")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")


MEASUREMENT = Measurement(
    title="Animals at any angle",
    figures=AngleFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
    catalog=False,
)
