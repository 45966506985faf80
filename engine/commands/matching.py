"""The commands that compare photographs: match, explain."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence

import pandas as pd

from engine.catalogue.catalog import CandidateFilter, Catalog
from engine.catalogue.csv_output import write_csv
from engine.catalogue.index import CatalogIndex
from engine.catalogue.queries import query_catalog
from engine.commands.console import ProgressBar, print_data, printable, say
from engine.commands.exit_status import EXIT_DATA
from engine.commands.options import (
    Command,
    add_catalog_option,
    add_engine_options,
    matcher_from,
    output_folder,
    positive,
    shown_candidates,
)
from engine.report.explain import DEFAULT_LAYERS, explain_pair, write_explanation
from engine.report.match_report import report_matches
from engine.report.page import PICTURES_PER_QUERY
from engine.search.coverage import coverage
from engine.search.individuals import new_individual_probability, rank_individuals
from features.records import Failure
from reranker.individual_model import IndividualModel


def _match_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "queries", nargs="+", metavar="QUERY", help="photographs, folders of them, or ids of the catalogue"
    )
    add_catalog_option(parser)
    parser.add_argument("--top", type=positive, default=20, help="candidates per query (20)")
    parser.add_argument("--query-viewpoint", help="viewpoint of the queries (top, left, right; default: unknown)")
    parser.add_argument("--query-date", help="date of the queries (YYYY-MM-DD, a month or a year; default: unknown)")
    rules = parser.add_argument_group("candidates")
    rules.add_argument("--viewpoint", action="append", help="allowed viewpoint (may be repeated; unknown ones stay)")
    rules.add_argument("--since", help="first allowed date (YYYY-MM-DD)")
    rules.add_argument("--until", help="last allowed date")
    rules.add_argument("--exclude-encounter", action="store_true", help="leave out the query's own encounter")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--report", type=output_folder, metavar="DIR", help="write a page with pictures of the matched keypoints"
    )
    output.add_argument(
        "--layers-for",
        type=shown_candidates,
        default=PICTURES_PER_QUERY,
        metavar="N",
        help=f"candidates of each query whose keypoints, matches and maps the page can show ({PICTURES_PER_QUERY}; "
        "at most 20)",
    )
    shape = output.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the answers as JSON")
    shape.add_argument("--csv", action="store_true", help="print the answers as CSV")
    add_engine_options(parser)


def _match(options: argparse.Namespace) -> int:
    catalog = Catalog.read(options.catalog, options.format)
    photographs = query_catalog(options.queries, catalog, options.query_viewpoint, options.query_date)
    candidates = CandidateFilter(
        viewpoints=tuple(options.viewpoint) if options.viewpoint else None,
        since=options.since,
        until=options.until,
        exclude_encounter=options.exclude_encounter,
    )
    matcher = matcher_from(options, catalog)
    bar = ProgressBar("matching")
    index = matcher.index(catalog, bar)
    queries = matcher.index(photographs, bar, matcher.store_for(catalog))
    raw = matcher.pairs(queries, index, candidates, bar)
    compared = str(coverage(queries, index, candidates, raw, matcher.settings.shortlist.flanks_apart))
    answers = matcher.rank(raw, options.top)
    rules = str(matcher.filter_report(index, candidates))
    left_out = {
        name: str(candidates.report_for(queries.catalog.row(name), index.catalog)[1]) for name in queries.catalog.ids
    }
    # Files first: what took hours must not hang on what reads standard output.
    if options.report:
        page = report_matches(
            matcher,
            queries,
            index,
            answers,
            options.report,
            rules,
            ProgressBar("drawing"),
            raw=raw,
            query_filters=left_out,
            pictures_per_query=options.layers_for,
        )
        say(f"report: {page}")
    if options.csv:
        text = io.StringIO()
        write_csv(answers, text)
        print_data(text.getvalue())
    elif options.json:
        print(
            _answers_as_json(
                answers, queries, matcher.individual_model, rules, compared, queries.failures + index.failures
            )
        )
    else:
        print(rules)
        print(compared)
        _print_all(answers, queries, left_out if options.exclude_encounter else {}, matcher.individual_model)
    return 0 if len(queries) else EXIT_DATA


def print_answers(title: str, answers: pd.DataFrame, new: float) -> None:
    """Print one query's candidates as a table.

    Args:
        title: the query.
        answers: its rows of the answer table, best first.
        new: probability that the animal is none of them.
    """
    print(f"\n{printable(title)}")
    if answers.empty:
        print("  no candidates")
        return
    # Keypoints that one placement explains: those that are each other's nearest, and LightGlue's where it looked.
    print("  rank  probability  individual      date        view    nearest  LightGlue  photograph")
    for row in answers.to_dict("records"):
        date = "-" if pd.isna(row["date"]) else str(row["date"])[:10]
        name, view = printable(row["individual_id"] or "-"), printable(row["viewpoint"] or "-")
        nearest, lightglue = ("-" if pd.isna(row[n]) else row[n] for n in ("mutual_nn_inliers", "lightglue_inliers"))
        counts = f"{nearest:>7}  {lightglue:>9}  {printable(row['image_id'])}"
        print(f"  {row['rank']:>4}  {row['probability']:>10.1%}  {name:<14}  {date:<10}  {view:<6}  {counts}")
    if answers["individual_id"].isna().all():
        print("  the candidates have no names, so nothing can be said of a new individual")
    else:
        print(f"  probability that it is none of them: {new:.1%}")


def _print_all(
    answers: pd.DataFrame, queries: CatalogIndex, left_out: dict[str, str], model: IndividualModel | None
) -> None:
    """Print a table a query, and below it what the filter left out for this query where that is asked for."""
    new = new_individual_probability(answers, queries.catalog.ids, model=model)
    for query_id in queries.catalog.ids:
        print_answers(query_id, answers[answers["query_id"] == query_id], float(new[query_id]))
        if query_id in left_out:
            print(f"  {left_out[query_id]}")


def _answers_as_json(
    answers: pd.DataFrame,
    queries: CatalogIndex,
    model: IndividualModel | None,
    rules: str,
    compared: str,
    failures: Sequence[Failure],
) -> str:
    individuals = rank_individuals(answers, model=model)
    new = new_individual_probability(answers, queries.catalog.ids, individuals)
    record = {
        "filter": rules,
        "compared": compared,
        "answers": json.loads(answers.to_json(orient="records", date_format="iso")),
        "individuals": json.loads(individuals.to_json(orient="records")),
        "new_individual": {str(name): float(value) for name, value in new.items()},
        "skipped": [{"image_id": item.image_id, "path": str(item.path), "reason": item.reason} for item in failures],
    }
    return json.dumps(record, indent=2)


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY", help="image id of the catalogue, or a file")
    parser.add_argument("candidate", metavar="CANDIDATE", help="image id of the catalogue, or a file")
    add_catalog_option(parser)
    parser.add_argument("--output", type=output_folder, metavar="DIR", help="write pictures, a page and a JSON file")
    parser.add_argument(
        "--layers",
        help="pictures to write, separated by commas; layers of one picture joined by + (default: each layer alone)",
    )
    parser.add_argument("--json", action="store_true", help="print the explanation as JSON")
    add_engine_options(parser)


def _explain(options: argparse.Namespace) -> int:
    layers = tuple(options.layers.split(",")) if options.layers else DEFAULT_LAYERS
    catalog = Catalog.read(options.catalog, options.format)
    explanation = explain_pair(
        matcher_from(options, catalog), options.query, options.candidate, catalog, ProgressBar("matching")
    )
    if options.output:
        files = write_explanation(explanation, options.output, layers)
        say(f"page: {files[0]} (and {len(files) - 1} files beside it)")
    print(json.dumps(explanation.to_dict(), indent=2) if options.json else explanation.render())
    return 0


COMMANDS = {"match": Command(_match_arguments, _match), "explain": Command(_explain_arguments, _explain)}
