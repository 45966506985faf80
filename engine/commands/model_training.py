"""The command that makes a model of one's own: train."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from engine.catalogue.catalog import Catalog
from engine.commands.console import ProgressBar, say
from engine.commands.options import Command, add_catalog, add_engine_options, matcher_from, output_folder
from engine.models.bundle import PART_OPTIONS
from engine.models.card import ReportCard
from engine.report.report_card import write_report_card
from engine.training.model_training import finish, train_model
from engine.training.plan import NETWORKS_FROM, PARTS, ModelTrainSettings
from scarmatch.settings import SettingsError

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def budget(text: str) -> float:
    """Read a time such as "2h", "90m" or "1800s" in seconds."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h|d)\s*", text)
    if found is None or float(found[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2h, 90m or 1800s")
    return float(found[1]) * _SECONDS[found[2]]


def parts(text: str) -> tuple[str, ...]:
    """Read names of parts that are separated by commas, or "all"."""
    if text.strip() == "all":
        return PARTS
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is no part: {', '.join(PARTS)}, all")
    return names


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    parser.add_argument(
        "--output", type=output_folder, required=True, metavar="MODEL", help="the model's folder, to name by --model"
    )
    parser.add_argument(
        "--budget",
        type=budget,
        default=7200.0,
        metavar="TIME",
        help="time for all, e.g. 30m or 8h; networks get what is left of it or are skipped (2h)",
    )
    parser.add_argument(
        "--parts",
        type=parts,
        default=(),
        metavar="PART[,PART...]",
        help=f"train these: {', '.join(PARTS)}, or all (default: what is worth its time for so many animals: networks "
        f"from {NETWORKS_FROM} individuals with two photographs on)",
    )
    parser.add_argument(
        "--backbone",
        default="",
        metavar="NAME[@WEIGHTS]",
        help="train the global descriptor on another network than EfficientNet-Lite0: efficientnet_lite1, "
        "efficientnet_lite2, or one of timm's with a file of weights in timm's layout (random ones without)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (0)")
    parser.add_argument("--json", action="store_true", help="print the report card as JSON")
    add_engine_options(parser, ranker=False)


def _train(options: argparse.Namespace) -> int:
    taken = [name for name in PART_OPTIONS if any(text.startswith(f"{name}=") for text in options.overrides)]
    if taken:
        raise SettingsError(f"--set {taken[0]} names a part: a training starts from a model, --model")
    catalog = Catalog.read(options.catalog, options.format)
    settings = ModelTrainSettings(options.parts, options.budget, options.backbone, options.seed)
    base = matcher_from(options, catalog)
    trained = train_model(catalog, base, options.output, settings, say, ProgressBar)
    page = write_report_card(
        trained.card, trained.matcher, trained.index, Path(options.output) / "report", ProgressBar("drawing")
    )
    finish(trained)
    print(json.dumps(trained.card.to_dict(), indent=2) if options.json else render_card(trained.card))
    say(f"report card: {page}")
    say(f"{'use it' if trained.card.better else 'to use it all the same'}: --model {trained.model.folder}")
    return 0


def render_card(card: ReportCard) -> str:
    """Return a report card as text for a terminal."""
    lines = [
        f"{card.photographs:,} photographs of {card.individuals:,} individuals; figures of {card.folds} folds of them,",
        f"{card.question}",
        f"  {'':<22} mAP@20  top-1  top-5  individual  in five  new AUROC",
    ]
    for name, f in card.methods.items():
        mark = "*" if name == card.chosen else " "
        lines.append(
            f"{mark} {name:<22} {f.map20[0]:>6.3f}  {f.top1:>5.2f}  {f.top5:>5.2f}  {f.individual_top1:>10.2f}  "
            f"{f.individual_top5:>7.2f}  {f.new_auroc:>9.2f}"
        )
    return "\n".join([*lines, "* in this model", card.verdict])


COMMANDS = {"train": Command(_train_arguments, _train)}
