"""The command that trains mark descriptors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from engine.cli import add_catalog, add_command, positive, with_overrides


def add(commands: Any) -> None:
    """Add the commands of this module to the parser's."""
    _add_train_marks(commands)


def _add_train_marks(commands: Any) -> None:
    text = "Train mark descriptors on a labelled catalogue; a stopped training goes on with --resume."
    parser = add_command(commands, "train-marks", _train_marks, text)
    add_catalog(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="network and checkpoints")
    parser.add_argument("--steps", type=positive, help="steps on made-up views (500)")
    parser.add_argument("--seed", type=int, help="of everything random (0)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints in FOLDER")
    parser.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", dest="overrides", help="any other option"
    )


def _train_marks(options: argparse.Namespace) -> int:
    from engine.catalog import Catalog
    from engine.mark_training import train_mark_descriptors
    from features.training.marks import MarkTrainSettings

    settings = MarkTrainSettings()
    for name in ("steps", "seed"):
        if getattr(options, name) is not None:
            settings = settings.with_option(name, str(getattr(options, name)))
    settings = with_overrides(settings, options.overrides)
    catalog = Catalog.read(options.catalog, options.format)

    def show(record: dict[str, Any]) -> None:
        figures = "".join(f"  {name} {record[name]:.3f}" for name in ("loss", "accuracy") if name in record)
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"{record['stage']} {record['done']}/{record['total']}{figures}   ", file=sys.stderr, end=end, flush=True)

    path = train_mark_descriptors(catalog.table, options.output, settings, options.resume, show)
    print(f"\n{path}: use it with --set describe.marks.model={path}")
    return 0
