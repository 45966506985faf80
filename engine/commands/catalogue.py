"""The commands for a catalogue itself: check, index."""

from __future__ import annotations

import argparse
import json
import time

from engine.catalogue.catalog import Catalog
from engine.catalogue.check import check_catalog
from engine.commands.console import ProgressBar
from engine.commands.exit_status import EXIT_DATA
from engine.commands.options import Command, add_catalog, add_engine_options, matcher_from
from engine.competitions.scenarios import read_scenarios


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    parser.add_argument("--no-decode", action="store_true", help="read the photographs' headers only (quicker)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _check(options: argparse.Namespace) -> int:
    report = check_catalog(
        options.catalog,
        options.format,
        not options.no_decode,
        progress=ProgressBar("checking"),
        scenarios=read_scenarios,
    )
    print(json.dumps(report.to_dict(), indent=2, default=str) if options.json else report.render())
    return 0 if report.ok else EXIT_DATA


def _index_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    add_engine_options(parser, ranker=False)


def _index(options: argparse.Namespace) -> int:
    catalog = Catalog.read(options.catalog, options.format)
    matcher = matcher_from(options, catalog)
    started = time.perf_counter()
    index = matcher.index(catalog, ProgressBar("describing"))
    seconds = time.perf_counter() - started
    store = matcher.store_for(catalog)
    print(f"{len(index):,} of {len(catalog):,} photographs described in {seconds:.1f} s; store: {store}")
    return 0 if len(index) else EXIT_DATA


COMMANDS = {"check": Command(_check_arguments, _check), "index": Command(_index_arguments, _index)}
