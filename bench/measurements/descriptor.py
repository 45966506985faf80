"""What global descriptors are worth alone, by their cosine, on individuals that training never saw.

Every photograph of the individuals measured on is asked, from above with and without the query's encounter, each year
against earlier ones, and between views. Where individuals are the held-out half, a shipped network that saw them stands
for its twin that did not (bench/held_out.py). ``--model`` may be given several times.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.held_out import unseeing
from bench.measurement import Measurement
from bench.protocols import (
    Evaluation,
    Protocol,
    Summary,
    across_years,
    all_against_all,
    between_views,
    evaluate_vectors,
)
from bench.results import Result
from engine.catalogue.catalog import Catalog
from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings
from features.photo import PhotoError, canonical_frame, read_photo
from features.records import FloatArray
from features.training.data import box_of
from scarmatch.metrics import Interval, bootstrap_by_group

logger = logging.getLogger(__name__)
SIZES = (20, 50, 100, 200)
#: Photographs in memory at a time.
_BLOCK = 32


@dataclass(frozen=True)
class LaterYears:
    """One figure over every later year against all earlier ones: each later photograph asked once."""

    queries: int
    map20: Interval
    top1: Interval


@dataclass(frozen=True)
class ModelFigures:
    """What one descriptor is worth; ``model`` as it was asked for, ``settings`` as it was measured."""

    model: str
    settings: dict[str, str]
    fingerprint: str
    dimensions: int
    photographs: int
    photographs_per_second: float
    protocols: tuple[Summary, ...]
    later_years: LaterYears


@dataclass(frozen=True)
class DescriptorFigures(Figures):
    """Everything this measurement finds."""

    models: tuple[ModelFigures, ...]


def measure(context: Context) -> DescriptorFigures:
    """Describe the photographs by every model and score every protocol."""
    found = []
    plain = context.settings.describe.descriptor
    for name in context.options.model or ["beluga"]:
        context.say(f"{name}: {len(context.catalog):,} photographs")
        settings = plain.replace(model=unseeing(name, context.options.individuals))
        found.append(measure_model(name, settings, context.catalog))
    return DescriptorFigures(tuple(found))


def measure_model(name: str, settings: GlobalSettings, catalog: Catalog) -> ModelFigures:
    """Describe a catalogue by one model and score every protocol."""
    descriptor = GlobalDescriptor(settings)
    started = time.perf_counter()
    vectors, ids = describe(descriptor, catalog)
    seconds = time.perf_counter() - started
    catalog, vector_of = catalog.subset(ids), dict(zip(ids, vectors, strict=True))
    evaluations = [evaluate_vectors(vector_of, vector_of, p, catalog) for p in protocols_of(catalog)]
    evaluations = [evaluation for evaluation in evaluations if len(evaluation.per_query)]
    return ModelFigures(
        model=name,
        settings={key: str(value) for key, value in settings.to_dict().items()},
        fingerprint=descriptor.fingerprint(),
        dimensions=descriptor.dim,
        photographs=len(ids),
        photographs_per_second=round(len(ids) / seconds, 1),
        protocols=tuple(evaluation.summary(SIZES) for evaluation in evaluations),
        later_years=later_years(evaluations),
    )


def protocols_of(catalog: Catalog) -> list[Protocol]:
    """Return what is asked."""
    top = all_against_all(catalog)
    return [top, top.with_rule("other_encounter"), *across_years(catalog), *between_views(catalog)]


def describe(descriptor: GlobalDescriptor, catalog: Catalog) -> tuple[FloatArray, list[str]]:
    """Describe every readable photograph of a catalogue, a block in memory at a time: (N, dim) and the N ids."""
    vectors, ids, rows = [], [], catalog.table.to_dict("records")
    for start in range(0, len(rows), _BLOCK):
        photos, frames = [], []
        for row in rows[start : start + _BLOCK]:
            try:
                photo = read_photo(row["path"], box_of(row.get("box")))
            except PhotoError as error:
                logger.warning("left out: %s", error)
                continue
            photos.append(photo)
            frames.append(canonical_frame(photo.size, row["viewpoint"]))
            ids.append(str(row["image_id"]))
        vectors.append(descriptor.describe(photos, frames))
    return np.concatenate(vectors) if vectors else np.zeros((0, descriptor.dim), np.float32), ids


def later_years(evaluations: Sequence[Evaluation]) -> LaterYears:
    """Return the figure over "top: later -> earlier" evaluations, of each later year the one with all earlier years."""
    widest: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        later, arrow, _ = evaluation.protocol.name.removeprefix("top: ").partition(" -> ")
        if arrow and evaluation.protocol.name.startswith("top: "):
            kept = widest.get(later)
            if kept is None or len(evaluation.protocol.database) > len(kept.protocol.database):
                widest[later] = evaluation
    empty = pd.DataFrame({"ap20": [], "top1": [], "individual_id": []}, dtype=object)
    table = pd.concat([empty, *(e.per_query for e in widest.values())], ignore_index=True)
    who = table["individual_id"].to_numpy(str)
    means = (bootstrap_by_group(table[column].to_numpy(float), who) for column in ("ap20", "top1"))
    return LaterYears(len(table), *means)


def full(result: Result[DescriptorFigures]) -> str:
    """Return one row per model and protocol."""
    rows = []
    for model in result.figures.models:
        for s in model.protocols:
            recall = " / ".join(f"{value:.2f}" for value in s.recall.values())
            means = [markdown.interval(s.map20), markdown.interval(s.top1)]
            rows.append([model.model, s.protocol, s.rule, str(s.queries), *means, recall])
        later = model.later_years
        means = [markdown.interval(later.map20), markdown.interval(later.top1)]
        rows.append([model.model, "top: later year -> all earlier years", "–", str(later.queries), *means, "–"])
    heads = ["model", "protocol", "rule", "queries", "mAP@20", "top-1", "recall at 20 / 50 / 100 / 200"]
    return markdown.table(heads, rows)


def short(result: Result[DescriptorFigures]) -> str:
    """Return one row per model: all matches, other encounters, later years, speed."""
    rows = []
    for model in result.figures.models:
        found = {(s.protocol, s.rule): s for s in model.protocols}
        every, other = (found.get(("top: all years", rule)) for rule in ("all", "other_encounter"))
        cells = [markdown.interval(s.map20) if s else "–" for s in (every, other)]
        cells.append(markdown.interval(model.later_years.map20))
        recall = f"{other.recall['50']:.2f}" if other else "–"
        rows.append([model.model, *cells, recall, f"{model.photographs_per_second:g}"])
    heads = ["global descriptor alone", "all matches", "other encounters", "later years → all earlier"]
    heads += ["other encounters: recall at 50", "photographs a second"]
    words = (
        "mAP@20 of all photographs from above, 95 % intervals over whales (photographs of the public training set: not "
        "comparable with the figures of the challenge's hidden test set)."
    )
    return f"{markdown.table(heads, rows)}\n\n{words}"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    parser.add_argument("--model", action="append", help="as in GlobalSettings.model; may be repeated (beluga)")


MEASUREMENT = Measurement(
    title="Global descriptors alone",
    figures=DescriptorFigures,
    measure=measure,
    full=full,
    short=short,
    add_options=add_options,
)
