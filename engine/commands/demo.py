"""The command that shows everything on synthetic photographs: demo."""

from __future__ import annotations

import argparse

from engine.commands.console import ProgressBar
from engine.commands.matching import print_answers
from engine.commands.options import Command, output_folder, positive
from engine.demo.demo import run_demo


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=output_folder, default="scarmatch-demo", help="folder to write (scarmatch-demo)"
    )
    parser.add_argument("--queries", type=positive, default=4, help="number of queries (4)")
    parser.add_argument("--workers", type=positive, help="processes (default: one per core)")


def _demo(options: argparse.Namespace) -> int:
    run_demo(
        options.output,
        options.queries,
        options.workers,
        say=print,
        show_answers=print_answers,
        progress=ProgressBar,
    )
    return 0


COMMANDS = {"demo": Command(_demo_arguments, _demo)}
