"""The commands that train: train-ranker, train-descriptor, train-marks, train-keypoints.

Modules that load torch are imported late: `--help` must not wait for it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.catalogue.catalog import Catalog
from engine.catalogue.further_boxes import read_boxes
from engine.commands.console import ProgressBar, say, show_over_last
from engine.commands.options import (
    AnySettings,
    Command,
    add_catalog,
    add_engine_options,
    matcher_from,
    output_file,
    output_folder,
    positive,
    with_overrides,
)
from engine.review.decisions import ReviewError
from engine.review.labels import DecidedLabels
from engine.review.reviewed import reviewed_catalog
from engine.training.keypoint_training import train_keypoint_metric
from engine.training.ranker_training import render_report, train_on_catalog
from engine.training.skin_training import train_mark_descriptors
from features.training.settings import RANDOM, RECIPES, TrainSettings, told_of_random
from features.training.skin_settings import SkinTrainSettings


def _train_ranker_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    parser.add_argument("--output", type=output_file, required=True, metavar="MODEL", help="the ranker's JSON file")
    parser.add_argument(
        "--decisions",
        type=Path,
        metavar="FILE",
        help="learn from what reviewers decided, too: the file of `scarmatch review`",
    )
    parser.add_argument("--queries", type=positive, help="use so many queries at most (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of queries and the folds (0)")
    parser.add_argument(
        "--kind", default="auto", choices=("auto", "logistic", "lambdamart", "blend"), help="(auto: the best)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_engine_options(parser, ranker=False)


def _train_ranker(options: argparse.Namespace) -> int:
    catalog, labels = _with_decisions(Catalog.read(options.catalog, options.format), options.decisions)
    trained = train_on_catalog(
        catalog,
        matcher_from(options, catalog),
        queries=options.queries,
        seed=options.seed,
        kind=options.kind,
        progress=ProgressBar("training"),
        further=labels,
    )
    trained.ranker.save(options.output)
    print(json.dumps(trained.report, indent=2) if options.json else render_report(trained.report))
    say(f"saved to {options.output}")
    return 0


def _with_decisions(catalog: Catalog, file: Path | None) -> tuple[Catalog, DecidedLabels | None]:
    """Return a catalogue under the names that reviewers gave, with the photographs that they were asked about, and what
    their decisions say of pairs.

    Raises:
        ReviewError: the file is not there, or is no review's.
    """
    if file is None:
        return catalog, None
    if not file.is_file():
        raise ReviewError(f"{file}: there is no such file of decisions; `scarmatch review` writes one")
    reviewed, state = reviewed_catalog(catalog, file)
    named = sum(state.name(image) != name for image, name in state.catalogue_names.items())
    say(f"{named} photographs are named otherwise than in the catalogue, by {len(state.active())} decisions")
    if state.contradictions():
        say(f"{len(state.contradictions())} contradictions: what they leave without a name teaches nothing")
    labels = DecidedLabels.of(state)
    same, different = labels.counts()
    say(
        f"{same} pairs were said to be the same animal and {different} to be different ones; "
        f"{len(labels.groups)} photographs without a name teach by them"
    )
    return labels.named(reviewed), labels


def _train_descriptor_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    parser.add_argument(
        "--recipe",
        choices=tuple(RECIPES),
        default="skin",
        help="skin (default): flattened photographs from above, as beluga-skin was trained; colour: photographs as "
        "they are, from all sides",
    )
    parser.add_argument(
        "--backbone",
        metavar="NAME[@WEIGHTS]",
        help="efficientnet_lite0 .. 2, basic_cnn, or one of timm's, with a file of weights in timm's layout (random "
        "ones without)",
    )
    parser.add_argument(
        "--boxes",
        type=Path,
        metavar="CSV",
        help="further boxes of photographs (image_id, x, y, width, height), by other detectors or of parts of the "
        "body: one of all is shown each time",
    )
    parser.add_argument("--epochs", type=positive, help="passes over the photographs (18 for skin, 20 for colour)")
    parser.add_argument(
        "--everybody", action="store_true", help="hold nobody out: no figures on the way, the best model to use"
    )
    _add_network_options(parser, "model, checkpoint and log")


def _train_descriptor(options: argparse.Namespace) -> int:
    from features.training.loop import train_descriptor

    recipe = TrainSettings.recipe(options.recipe, options.backbone)
    settings = _settings_from(options, recipe, ("epochs", "seed"))
    if settings.start == RANDOM:
        say(told_of_random(settings.backbone))
    catalog = Catalog.read(options.catalog, options.format)
    table = catalog.table
    if options.boxes is not None:
        boxes = read_boxes(options.boxes, catalog)
        table = table.assign(more_boxes=table["image_id"].map(boxes))
        say(f"{sum(map(len, boxes.values()))} further boxes of {len(boxes)} photographs")

    def show(record: dict[str, Any]) -> None:
        place = f"epoch {record['epoch'] + 1}/{settings.epochs} step {record['step']}/{record['steps']}"
        show_over_last(f"{place}  loss {record['loss']:.3f}  about {record['eta_seconds'] / 60:.0f} min left")

    report = train_descriptor(table, options.output, settings, options.resume, show)
    print(f"\n{report.model}: use it with --set describe.descriptor.model={report.model}")
    print(f"for photographs of the animals that it was trained on also: identify --classifier {options.output}")
    return 0


def _train_marks_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    parser.add_argument("--steps", type=positive, help="steps on made-up views (500)")
    parser.add_argument("--everybody", action="store_true", help="hold nobody out: the best network to use")
    _add_network_options(parser, "network and checkpoints")


def _train_marks(options: argparse.Namespace) -> int:
    settings = _settings_from(options, SkinTrainSettings(), ("steps", "seed"))
    catalog = Catalog.read(options.catalog, options.format)

    path = train_mark_descriptors(catalog.table, options.output, settings, options.resume, _show_stage)
    print(f"\n{path}: use it with --set describe.skin.model={path}")
    return 0


def _train_keypoints_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    parser.add_argument("--output", type=output_folder, required=True, metavar="FOLDER", help="where the metric goes")
    parser.add_argument("--rounds", type=positive, help="look for pairs so many times (4)")
    parser.add_argument("--seed", type=int, help="of everything random (0)")
    parser.add_argument("--everybody", action="store_true", help="hold nobody out: the best metric to use")
    parser.add_argument(
        "--train-set", action="append", default=[], metavar="OPTION=VALUE", help="any other option of the training"
    )
    add_engine_options(parser, ranker=False)


def _train_keypoints(options: argparse.Namespace) -> int:
    from features.training.keypoint_metric import KeypointTrainSettings

    settings = _with_named(options, KeypointTrainSettings(), ("rounds", "seed"))
    settings = with_overrides(settings, options.train_set)
    catalog = Catalog.read(options.catalog, options.format)
    path = train_keypoint_metric(catalog, matcher_from(options, catalog), options.output, settings, _show_stage)
    print(f"\n{path}: use it with --set mutual_nn.metric={path}")
    return 0


def _add_network_options(parser: argparse.ArgumentParser, holds: str) -> None:
    """Add what every training of a network takes; ``holds``: what its folder will hold."""
    parser.add_argument("--output", type=output_folder, required=True, metavar="FOLDER", help=holds)
    parser.add_argument("--seed", type=int, help="of everything random (0)")
    parser.add_argument("--resume", action="store_true", help="go on from what FOLDER holds")
    parser.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", dest="overrides", help="any other option"
    )


def _settings_from(options: argparse.Namespace, settings: AnySettings, named: Sequence[str]) -> AnySettings:
    """Return settings changed by the command line's own options and by --set."""
    return with_overrides(_with_named(options, settings, named), options.overrides)


def _with_named(options: argparse.Namespace, settings: AnySettings, named: Sequence[str]) -> AnySettings:
    """Return settings changed by the command line's own options."""
    for name in named:
        if getattr(options, name) is not None:
            settings = settings.with_option(name, str(getattr(options, name)))
    return settings.with_option("held_out", "none") if options.everybody else settings


def _show_stage(record: dict[str, Any]) -> None:
    """Show how far a training's stage is, with the figures that it has."""
    figures = "".join(f"  {name} {record[name]:.3f}" for name in ("loss", "accuracy") if name in record)
    show_over_last(f"{record['stage']} {record['done']}/{record['total']}{figures}")


COMMANDS = {
    "train-ranker": Command(_train_ranker_arguments, _train_ranker),
    "train-descriptor": Command(_train_descriptor_arguments, _train_descriptor),
    "train-marks": Command(_train_marks_arguments, _train_marks),
    "train-keypoints": Command(_train_keypoints_arguments, _train_keypoints),
}
