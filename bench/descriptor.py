"""Train a global descriptor, and measure descriptors on individuals that training never saw.

::

    python -m bench.descriptor train CATALOG --output FOLDER [--set epochs=30 --set backbone=efficientnet_lite1 ...]
    python -m bench.descriptor eval  CATALOG --model beluga --model efficientnet_lite0 [--result descriptor]
    python -m bench.descriptor ship  FOLDER/model.safetensors features/models/NAME.safetensors

``eval`` prints one table for all protocols and, with ``--result``, writes it to ``bench/results``. Individuals are
those of the half that training holds out (:mod:`bench.held_out`: there, a shipped network that saw them stands for its
twin that did not), or all with ``--individuals all``.
"""

from __future__ import annotations

import argparse
import ast
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.held_out import HELD_OUT, HELP, INDIVIDUALS, individuals_of, unseeing
from bench.machine import write_result
from bench.protocols import (
    Evaluation,
    Protocol,
    across_years,
    all_against_all,
    evaluate_similarity,
    lateral_to_top,
    top_to_lateral,
)
from engine.catalogue.catalog import Catalog
from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings
from features.photo import PhotoError, canonical_frame, read_photo
from features.records import FloatArray
from features.training.data import box_of
from reranker.metrics import Interval, bootstrap_by_group

log = logging.getLogger("bench.descriptor")
SIZES = (20, 50, 100, 200)
DIFFERENT_SOURCE = (
    "photographs of the public training set: not comparable with the figures of the challenge's hidden test set"
)


def protocols_of(catalog: Catalog, individuals: Sequence[str] | None = None) -> list[Protocol]:
    """All photographs from above with and without the query's encounter, each year against earlier ones, both views."""
    everything = all_against_all(catalog)
    chosen = [everything, everything.with_rule("other_encounter"), *across_years(catalog)]
    chosen += [lateral_to_top(catalog), top_to_lateral(catalog)]
    if individuals is None:
        return chosen
    return [protocol.restricted_to(catalog, individuals) for protocol in chosen]


def describe_catalog(descriptor: GlobalDescriptor, catalog: Catalog, block: int = 32) -> tuple[FloatArray, list[str]]:
    """Describe every readable photograph of a catalogue, a block in memory at a time: (N, dim) and the N ids."""
    vectors, ids, rows = [], [], catalog.table.to_dict("records")
    for start in range(0, len(rows), block):
        photos, frames = [], []
        for row in rows[start : start + block]:
            try:
                photo = read_photo(row["path"], box_of(row.get("box")))
            except PhotoError as error:
                log.warning("left out: %s", error)
                continue
            photos.append(photo)
            frames.append(canonical_frame(photo.size, row["viewpoint"]))
            ids.append(str(row["image_id"]))
        vectors.append(descriptor.describe(photos, frames))
    return np.concatenate(vectors) if vectors else np.zeros((0, descriptor.dim), np.float32), ids


def later_years(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """One figure over every later year against all earlier ones: each later photograph asked once."""
    empty = pd.DataFrame({"ap20": [], "top1": [], "individual_id": []})
    table = pd.concat([e.per_query for e in evaluations], ignore_index=True) if evaluations else empty
    groups = table["individual_id"].to_numpy(str)
    figure: dict[str, Any] = {"protocol": "top: later year -> all earlier years", "queries": len(table)}
    for name, column in (("map20", "ap20"), ("top1", "top1")):
        interval: Interval = bootstrap_by_group(table[column].to_numpy(float), groups)
        figure[name] = interval._asdict()
    return figure


def measure(settings: GlobalSettings, catalog: Catalog, individuals: Sequence[str] | None) -> dict[str, Any]:
    """Describe the photographs of some individuals and score every protocol."""
    if individuals is not None:
        table = catalog.table
        catalog = catalog.subset(table.loc[table["individual_id"].isin(list(individuals)), "image_id"].tolist())
    descriptor = GlobalDescriptor(settings)
    started = time.perf_counter()
    vectors, ids = describe_catalog(descriptor, catalog)
    seconds = time.perf_counter() - started
    catalog = catalog.subset(ids)
    evaluations = [evaluate_similarity(vectors, ids, protocol, catalog) for protocol in protocols_of(catalog)]
    evaluations = [evaluation for evaluation in evaluations if len(evaluation.per_query)]
    return {
        "model": settings.model,
        "settings": settings.to_dict(),
        "fingerprint": descriptor.fingerprint(),
        "precision": descriptor.precisions,
        "dimensions": descriptor.dim,
        "photographs": len(ids),
        "photographs_per_second": round(len(ids) / seconds, 1),
        "protocols": [evaluation.summary(sizes=SIZES) for evaluation in evaluations],
        "later_years": later_years(last_year_pairs(evaluations)),
    }


def last_year_pairs(evaluations: Sequence[Evaluation]) -> list[Evaluation]:
    """Of "top: later -> earlier" evaluations, for each later year the one with all earlier years."""
    widest: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        name = evaluation.protocol.name
        if name.startswith("top: ") and " -> " in name:
            later = name.removeprefix("top: ").split(" -> ")[0]
            kept = widest.get(later)
            if kept is None or len(evaluation.protocol.database) > len(kept.protocol.database):
                widest[later] = evaluation
    return list(widest.values())


def table_of(results: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: one row per model and protocol, 95 % intervals over individuals in brackets."""
    lines = ["| model | protocol | rule | queries | mAP@20 | top-1 | recall at 20 / 50 / 100 / 200 |", "|" + "---|" * 7]
    for result in results:
        for row in [*result["protocols"], result["later_years"]]:
            recall = " / ".join(f"{value:.2f}" for value in row.get("recall", {}).values()) or "–"
            lines.append(
                f"| {result['model']} | {row['protocol']} | {row.get('rule', '–')} | {row['queries']} "
                f"| {_interval(row['map20'])} | {_interval(row['top1'])} | {recall} |"
            )
    return "\n".join(lines)


def _interval(value: dict[str, float]) -> str:
    mean, low, high = value.values()
    return f"{mean:.3f} ({low:.3f}–{high:.3f})"


def train(arguments: argparse.Namespace) -> None:
    """Train on a catalogue; progress goes to standard error."""
    from features.training.loop import train_descriptor
    from features.training.settings import TrainSettings

    settings, options = TrainSettings.recipe(arguments.recipe), parse_options(arguments.set)
    if "augmentation" in options:  # single options of it, beside those of the recipe
        options["augmentation"] = settings.augmentation.replace(**options["augmentation"])
    settings = settings.replace(**options)
    catalog = Catalog.read(arguments.catalog)

    def show(record: dict[str, Any]) -> None:
        minutes = record["eta_seconds"] / 60
        sys.stderr.write(
            f"\repoch {record['epoch'] + 1}/{settings.epochs} step {record['step']}/{record['steps']} "
            f"loss {record['loss']:.3f}, about {minutes:.0f} min left   "
        )

    report = train_descriptor(
        catalog.table,
        arguments.output,
        settings,
        resume=arguments.resume,
        progress=show,
        workers=arguments.workers,
    )
    sys.stdout.write(f"\n{report.model}\n")


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Options given as KEY=VALUE; "augmentation.KEY" reaches the nested ones; values are Python literals or words."""
    options: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise SystemExit(f"--set wants KEY=VALUE, not {pair!r}")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        if key.startswith("augmentation."):
            options.setdefault("augmentation", {})[key.removeprefix("augmentation.")] = value
        else:
            options[key] = value
    return options


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure models and print the table."""
    catalog = Catalog.read(arguments.catalog)
    hidden = arguments.individuals == HELD_OUT
    individuals = individuals_of(catalog, HELD_OUT) if hidden else None
    options = parse_options(arguments.set)
    results = []
    for name in arguments.model:
        settings = GlobalSettings.from_dict({**options, "model": unseeing(name) if hidden else name})
        results.append(measure(settings, catalog, individuals) | {"model": name})
    sys.stdout.write(table_of(results) + "\n")
    if arguments.result:
        protocol = {
            "individuals": arguments.individuals,
            "split": "sha256('split-0:' + individual) mod 2 = 1" if individuals is not None else "none",
            "number_of_individuals": len(individuals) if individuals is not None else None,
            "intervals": "95 %, bootstrap over individuals",
            "remark": DIFFERENT_SOURCE,
        }
        about = {"options": options, "threads": os.environ.get("OMP_NUM_THREADS", "all")}
        sys.stdout.write(f"{write_result(arguments.result, results, about, protocol)}\n")


def ship(arguments: argparse.Namespace) -> None:
    """Write a trained model in half precision, without the history of its training."""
    from features.model_file import load_embedder, save_embedder

    model, header = load_embedder(Path(arguments.model))
    header["training"] = {k: v for k, v in header.get("training", {}).items() if k != "history"}
    save_embedder(Path(arguments.target), model, header, half=True)
    sys.stdout.write(f"{arguments.target}: {Path(arguments.target).stat().st_size / 1e6:.1f} MB\n")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m bench.descriptor", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("train", help="train a descriptor")
    one.add_argument("catalog")
    one.add_argument("--recipe", default="colour", help="skin or colour (default), changed by --set")
    one.add_argument("--output", required=True, help="folder for model, checkpoint and log")
    one.add_argument("--resume", action="store_true", help="continue from the folder's checkpoint")
    one.add_argument("--workers", type=int, default=0, help="threads that prepare photographs (for a GPU)")
    one.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of TrainSettings")
    one.set_defaults(run=train)
    two = commands.add_parser("eval", help="measure descriptors")
    two.add_argument("catalog")
    two.add_argument("--model", action="append", required=True, help="as in GlobalSettings.model; may be repeated")
    two.add_argument("--individuals", choices=INDIVIDUALS, default=HELD_OUT, help=HELP)
    two.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of GlobalSettings")
    two.add_argument("--result", help="name of the file in bench/results")
    two.set_defaults(run=evaluate)
    three = commands.add_parser("ship", help="write a trained model in half precision")
    three.add_argument("model")
    three.add_argument("target")
    three.set_defaults(run=ship)
    arguments = parser.parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
