"""The command line of the scenarios: one function that every script calls with its own rules."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.held_out import EVERYBODY, measured_part
from bench.machine import write_result
from bench.out_of_fold import (
    OUT_OF_FOLD,
    SHIPPED,
    add_options,
    matcher_from,
    protocol_from,
    rankers_for,
    store_from,
)
from bench.progress import Say, say
from bench.scenario_cutting import CuttingError
from bench.scenarios.asking import QuestionSheet, cut, has_own_scenarios, take_published
from bench.scenarios.running import render, rules_named, run
from engine.catalogue.catalog import Catalog, CatalogError
from engine.commands.exit_status import EXIT_DATA
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS, ScenarioRule
from engine.search.matcher import Matcher
from scarmatch.settings import SettingsError


def main(
    rules: Sequence[ScenarioRule] = CHALLENGE_SCENARIOS,
    arguments: Sequence[str] | None = None,
    program: str = "python -m bench.scenarios",
) -> int:
    """Run scenarios from the command line; ``--only`` is offered where there are several."""
    parser = _parser(program, len(rules) > 1)
    options = parser.parse_args(arguments)
    try:
        chosen = rules_named(options.only) if len(rules) > 1 else tuple(rules)
    except ValueError as error:
        parser.error(str(error))
    published = has_own_scenarios(options.catalog)
    if published and (options.queries is not None or options.scale != 1.0):
        parser.error("the catalogue names its scenarios itself and is asked as it is: leave out --queries and --scale")
    if options.answers is not None and not published:
        parser.error(f"--answers goes with a folder that has a query_scenarios.csv; {options.catalog} has none")

    if options.ranker is None:  # the shipped ranker was trained on none of the published test set's photographs
        options.ranker = SHIPPED if published else OUT_OF_FOLD
    if published:
        options.individuals = EVERYBODY
    try:
        matcher = matcher_from(options)
        if options.work is not None:
            figures = _run(options, chosen, published, matcher, options.work, say)
        else:
            with tempfile.TemporaryDirectory(prefix="scarmatch-scenarios-") as folder:
                figures = _run(options, chosen, published, matcher, Path(folder), say)
    except (CatalogError, CuttingError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DATA
    matcher.close()
    print(render(figures))
    if options.result:
        protocol = protocol_from(options) | {"scale": options.scale, "queries": options.queries}
        if published:
            protocol |= {"source": f"the scenarios of {protocol['catalogue']!r}, as they are"}
        write_result(options.result, figures, matcher.settings.to_dict(), protocol)
    return 0


def _run(
    options: argparse.Namespace,
    rules: tuple[ScenarioRule, ...],
    published: bool,
    matcher: Matcher,
    work: Path,
    say: Say,
) -> dict[str, Any]:
    store = store_from(options)
    work.mkdir(parents=True, exist_ok=True)
    if published:
        sheet: QuestionSheet = take_published(options.catalog, work, rules, options.answers)
        catalog = sheet.labelled
    else:
        catalog = measured_part(Catalog.read(options.catalog), options.individuals)
        sheet = cut(catalog, work, rules, options.scale, options.queries, options.seed)
    asked = sum(map(len, sheet.scenarios))
    say(f"{len(sheet.scenarios)} scenarios, {asked:,} queries, {len(sheet.labelled):,} photographs in {sheet.folder}")
    judges = rankers_for(options.ranker, catalog, matcher, options.training_queries, options.folds, options.seed, say)
    return run(sheet, judges, store, say)


def _parser(program: str, several: bool) -> argparse.ArgumentParser:
    text = (
        "Cut the challenge's scenarios from a labelled catalogue (or take a folder's own), rank, and score officially."
    )
    parser = argparse.ArgumentParser(prog=program, description=text)
    add_options(parser)
    parser.set_defaults(ranker=None, only=None)
    if several:
        parser.add_argument("--only", type=int, action="append", metavar="N", help="scenario 1 to 10; may be repeated")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the sizes of queries and databases (1)")
    parser.add_argument("--queries", type=int, help="at most so many queries a scenario; databases stay whole")
    parser.add_argument("--answers", type=Path, help="true matches of a published test set: CSV or labelled catalogue")
    parser.add_argument("--work", type=Path, help="keep data folder and submission here (default: thrown away)")
    return parser
