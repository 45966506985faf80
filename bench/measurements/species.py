"""Whether the engine finds animals that it has never seen: made-up species, by three models.

For spots, stripes, scars on a fin and rosettes (which nothing was tuned or trained on) every photograph of the test
part is asked against all the others: by the belugas' model, by the general model, and by a model that ``scarmatch
train`` made of the train part, whose animals are others. Matches of the other flank count, though nobody can find them:
of five, two can be found. The cosine alone is ImageNet's.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.made_up_species import SIZES, answers_of, matcher_for, part_of, teaching_and_asked
from bench.measurement import Measurement
from bench.results import Result
from engine.catalogue.catalog import Catalog
from engine.demo.species import HELD_BACK, SPECIES
from engine.models.bundle import FILE_NAME, Model
from engine.models.library import load_model
from engine.search.matcher import Matcher
from engine.training.model_figures import Answers, figures_of
from engine.training.model_training import train_model
from engine.training.plan import ModelTrainSettings
from scarmatch.metrics import paired_bootstrap

COSINE, TRAINED = "cosine alone", "trained"


@dataclass(frozen=True)
class Row:
    """One model on one species."""

    species: str
    model: str
    map20: tuple[float, float, float]
    top1: float
    top5: float
    individual_top1: float
    new_auroc: float
    calibration_error: float
    gain_over_beluga: tuple[float, float, float]


@dataclass(frozen=True)
class SpeciesFigures(Figures):
    """Everything this measurement finds."""

    animals: int
    photographs: int
    held_back: str
    rows: tuple[Row, ...]


def measure(context: Context) -> SpeciesFigures:
    """Ask the test parts by every model."""
    with tempfile.TemporaryDirectory() as temporary:
        return _measure(context, context.options.work or Path(temporary))


def _measure(context: Context, work: Path) -> SpeciesFigures:
    workers, rows = context.options.workers, list[Row]()
    size = (context.options.animals, context.options.photographs)
    for species in context.options.species or SPECIES:
        catalog = part_of(species, teaching_and_asked(species)[1], work, size=size)
        models: dict[str, Model] = {name: load_model(name) for name in ("beluga", "generic")}
        if not context.options.no_training:
            models[TRAINED] = _trained(species, work, workers, context)
        found: dict[str, Answers] = {}
        for name, model in models.items():
            matcher = matcher_for(catalog, work, model, workers)
            found[name] = answers_of(catalog, matcher)
            if name == "generic":
                found[COSINE] = _by_cosine(catalog, matcher)
            matcher.close()
            context.say(f"{species}: {name}")
        rows += [_row(species, name, answers, found["beluga"]) for name, answers in found.items()]
    return SpeciesFigures(size[0], size[0] * size[1], HELD_BACK, tuple(rows))


def _trained(species: str, work: Path, workers: int | None, context: Context) -> Model:
    """Return the model of a species' train part, trained if need be."""
    folder = work / f"model-{species}"
    if (folder / FILE_NAME).is_file():
        return load_model(folder)
    catalog = part_of(species, teaching_and_asked(species)[0], work)
    base = matcher_for(catalog, work, "generic", workers)
    return train_model(catalog, base, folder, ModelTrainSettings(), context.say).model


def _by_cosine(catalog: Catalog, matcher: Matcher) -> Answers:
    """Return what the global descriptor says alone, as probabilities in the order of its cosines."""
    index = matcher.index(catalog)
    raw = matcher.pairs(index, index)
    named = {"candidate_id": "image_id", "individual1": "individual_id"}
    table = raw.rename(columns=named).assign(probability=raw["cosine"].clip(0, 1))
    return Answers.of_pairs(table[["query_id", "image_id", "individual_id", "probability"]], raw)


def _row(species: str, name: str, answers: Answers, beluga: Answers) -> Row:
    figures = figures_of(answers)
    groups = answers.truth.to_numpy(object)
    gain = paired_bootstrap(answers.average_precisions(), beluga.average_precisions(), groups)
    return Row(
        species,
        name,
        figures.map20,
        figures.top1,
        figures.top5,
        figures.individual_top1,
        figures.new_auroc,
        figures.calibration_error,
        (gain.mean, gain.low, gain.high),
    )


def full(result: Result[SpeciesFigures]) -> str:
    """Return the table."""
    heads = ["species", "model", "mAP@20", "over beluga", "top-1", "top-5", "individual first", "new AUROC", "ECE"]
    rows = [
        [
            f"{row.species} (held back)" if row.species == result.figures.held_back else row.species,
            row.model,
            f"{row.map20[0]:.3f} ({row.map20[1]:.3f}–{row.map20[2]:.3f})",
            "" if row.model == "beluga" else "{:+.3f} ({:+.3f}–{:+.3f})".format(*row.gain_over_beluga),
            *(f"{value:.2f}" for value in (row.top1, row.top5, row.individual_top1, row.new_auroc)),
            f"{row.calibration_error:.3f}",
        ]
        for row in result.figures.rows
    ]
    figures = result.figures
    words = f"{figures.photographs} photographs of {figures.animals} made-up animals a species, all against all."
    return f"{markdown.table(heads, rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--work", type=Path, help="keep photographs, store and trained models in this folder")
    animals, photographs = SIZES["test"]
    parser.add_argument("--animals", type=int, default=animals, help=f"of a test part ({animals})")
    parser.add_argument("--photographs", type=int, default=photographs, help=f"of each of them ({photographs})")
    parser.add_argument("--species", action="append", choices=SPECIES, help="this one only (may be repeated)")
    parser.add_argument("--no-training", action="store_true", help="leave out the models that are trained")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")


MEASUREMENT = Measurement(
    title="Made-up species",
    figures=SpeciesFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
    catalog=False,
)
