"""Belugas as if nobody had trained on them: the general model, and what one's own labels buy.

Photographs from above of the held-out whales are asked against all the others: by the general model, by models that
``scarmatch train`` makes of 20, 50, 100, ... whales of the other half, starting from it, and by the belugas' parts with
a ranker fitted out of fold. Trainings take long, networks above all (``--parts``): ``--work`` keeps what is computed,
and a stopped run goes on.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.held_out import individuals_of
from bench.measurement import Measurement
from bench.protocols import select
from bench.results import Result
from engine.catalogue.catalog import Catalog
from engine.commands.model_training import parts
from engine.models.bundle import FILE_NAME, Model
from engine.models.library import load_model
from engine.search.matcher import Matcher
from engine.training.model_figures import Answers, figures_of, out_of_fold_answers
from engine.training.model_training import train_model
from engine.training.plan import PARTS, ModelTrainSettings
from engine.training.ranker_training import choose_queries, train_on_pairs
from reranker.training_settings import TrainingSettings
from scarmatch.metrics import paired_bootstrap


@dataclass(frozen=True)
class Way:
    """One way to answer: how many whales taught it, its figures, and mAP@20 over the general model."""

    name: str
    whales: int
    photographs: int
    map20: tuple[float, float, float]
    top1: float
    individual_top1: float
    new_auroc: float
    gain_over_generic: tuple[float, float, float]


@dataclass(frozen=True)
class GeneralityFigures(Figures):
    """Everything this measurement finds."""

    queries: int
    whales: int
    ways: tuple[Way, ...]


def measure(context: Context) -> GeneralityFigures:
    """Ask the same photographs by every model."""
    with tempfile.TemporaryDirectory() as temporary:
        return _measure(context, context.options.work or Path(temporary))


def _measure(context: Context, work: Path) -> GeneralityFigures:
    top = context.catalog.subset(list(select(context.catalog)))
    asked = choose_queries(top, context.queries, context.seed)
    found = {"generic": (0, 0, _ask(load_model("generic"), top, asked, context))}
    for count in context.options.whales or ():
        some = _others(context, count)
        model = _trained(some, work / f"whales-{count}", context)
        taught = some.table["individual_id"].nunique()  # all that there are, where more are asked for
        found[f"trained on {taught} whales"] = (taught, len(some), _ask(model, top, asked, context))
    found["beluga"] = (0, 0, _by_belugas(asked, context))
    theirs = found["generic"][2].average_precisions()
    ways = []
    for name, (whales, photographs, answers) in found.items():
        f = figures_of(answers)
        gain = paired_bootstrap(answers.average_precisions(), theirs, answers.truth.to_numpy(object))
        numbers = (f.map20, f.top1, f.individual_top1, f.new_auroc, (gain.mean, gain.low, gain.high))
        ways.append(Way(name, whales, photographs, *numbers))
    return GeneralityFigures(len(asked), found["generic"][2].truth.nunique(), tuple(ways))


def _by_belugas(asked: list[str], context: Context) -> Answers:
    """Return what a ranker on the belugas' parts answers, fitted on folds of other whales."""
    database = context.top
    teach = choose_queries(database.catalog, max(len(asked), context.options.training_queries), context.seed)
    raw = context.matcher.pairs(database.subset(teach), database, progress=context.progress("pairs"), neighbours=True)
    trained = train_on_pairs(raw, context.matcher, TrainingSettings(seed=context.seed))
    return out_of_fold_answers(trained, raw, "all", raw[raw["query_id"].isin(asked)])


def _ask(model: Model, catalog: Catalog, asked: list[str], context: Context) -> Answers:
    matcher = Matcher(store=context.store, workers=context.options.workers, model=model)
    index = matcher.index(catalog, context.progress("photographs"))
    raw = matcher.pairs(index.subset(asked), index, progress=context.progress("pairs"))
    answers = Answers.of_pairs(matcher.rank(raw, len(index)), raw, matcher.individual_model)
    matcher.close()
    return answers


def _others(context: Context, count: int) -> Catalog:
    """Return the photographs from above of so many whales that are not measured on, each seen twice at least."""
    catalog = context.whole_catalog
    measured = set(individuals_of(catalog, context.options.individuals))
    table = catalog.table[catalog.table["image_id"].isin(select(catalog))]
    counts = table["individual_id"].value_counts()
    names = sorted(str(name) for name in counts.index[counts > 1] if name not in measured)
    chosen = np.random.default_rng(context.seed).permutation(names)[:count]
    return catalog.subset(table.loc[table["individual_id"].isin(chosen), "image_id"].tolist())


def _trained(catalog: Catalog, folder: Path, context: Context) -> Model:
    if (folder / FILE_NAME).is_file():
        return load_model(folder)
    base = Matcher(store=context.store, workers=context.options.workers, model="generic")
    settings = ModelTrainSettings(context.options.parts, 3600.0 * context.options.hours)
    return train_model(catalog, base, folder, settings, context.say, context.progress).model


def full(result: Result[GeneralityFigures]) -> str:
    """Return the table."""
    heads = ["model", "whales taught", "photographs", "mAP@20", "over generic", "top-1", "whale first", "new AUROC"]
    rows = [
        [
            way.name,
            f"{way.whales}" if way.whales else "–",
            f"{way.photographs:,}" if way.photographs else "–",
            f"{way.map20[0]:.3f} ({way.map20[1]:.3f}–{way.map20[2]:.3f})",
            "{:+.3f} ({:+.3f}–{:+.3f})".format(*way.gain_over_generic),
            *(f"{value:.2f}" for value in (way.top1, way.individual_top1, way.new_auroc)),
        ]
        for way in result.figures.ways
    ]
    return f"{markdown.table(heads, rows)}\n\n{result.figures.queries} questions, {result.figures.whales} whales."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument(
        "--whales", type=int, nargs="*", help="train on so many whales of the other half, e.g. 20 50 100"
    )
    parser.add_argument("--parts", type=parts, default=PARTS, metavar="PART[,PART...]", help="train these (all)")
    parser.add_argument(
        "--training-queries", type=int, default=200, help="questions that the belugas' ranker is fitted on (200)"
    )
    parser.add_argument("--hours", type=float, default=2.0, help="budget of each training (2)")
    parser.add_argument("--work", type=Path, help="keep trained models in this folder")


MEASUREMENT = Measurement(
    title="Belugas by the general model",
    figures=GeneralityFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
    queries=200,
)
