"""The options of the measurements' command line: those that several share, and each one's parser."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from bench import measurements
from bench.held_out import HELP, INDIVIDUALS
from bench.measurement import Measurement
from bench.out_of_fold import OUT_OF_FOLD
from bench.results import RESULTS


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of one measurement's options."""
    measurement = measurements.load(name)
    parser = argparse.ArgumentParser(
        prog=f"python -m bench {name}",
        description=importlib.import_module(f"bench.measurements.{name}").__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_shared(parser, measurement)
    if measurement.add_options is not None:
        measurement.add_options(parser)
    parser.add_argument("--save", action="store_true", help="keep the result in bench/results")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FOLDER", help="keep it in this folder instead"
    )
    return parser


def _add_shared(parser: argparse.ArgumentParser, measurement: Measurement) -> None:
    """Add the options that a measurement shares with others."""
    if not measurement.catalog:
        parser.add_argument("--seed", type=int, default=0, help="of every choice made at random (0)")
        return
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="labelled catalogue")
    parser.add_argument("--store", type=Path, help="store's folder (default: your cache folder)")
    parser.add_argument("--individuals", choices=INDIVIDUALS, default=measurement.individuals, help=HELP)
    if measurement.queries is not None:
        parser.add_argument(
            "--queries", type=int, default=measurement.queries, help=f"questions asked ({measurement.queries})"
        )
    if measurement.ranker:
        parser.add_argument(
            "--ranker",
            default=OUT_OF_FOLD,
            help='"out-of-fold" (default: the recipe fitted without the whales asked), "shipped", "fusion", or a file',
        )
        parser.add_argument(
            "--training-queries", type=int, default=160, help="questions that out-of-fold rankers are trained on (160)"
        )
    if measurement.ranker or measurement.folds:
        parser.add_argument("--folds", type=int, default=5, help="folds of individuals (5)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE", dest="overrides")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--seed", type=int, default=0, help="of every choice made at random (0)")
