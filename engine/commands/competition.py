"""The commands for competitions, and those that answer for individuals: identify, rank, score, blend, package."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

from engine.catalogue.catalog import Catalog
from engine.commands.console import ProgressBar, say
from engine.commands.exit_status import EXIT_DATA
from engine.commands.options import (
    Command,
    add_catalog_option,
    add_engine_options,
    finite,
    matcher_from,
    model_from,
    output_file,
    positive,
    settings_from,
    share,
)
from engine.competitions import blending
from engine.competitions.challenge import rank_challenge
from engine.competitions.happywhale import write_happywhale
from engine.competitions.identification import identify_photographs, read_test_photographs
from engine.competitions.package import write_package
from engine.competitions.running_time import HOURS, challenge_estimate, read_rates, within_hours
from engine.competitions.scenarios import read_scenarios
from engine.competitions.submission import read_answers, read_submission, score_submission
from engine.competitions.submission_check import check_submission
from engine.models.decision import Decision
from engine.search.individuals import IdentifySettings, KnnSettings


def _identify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("test", type=Path, metavar="TEST_DIR", help="photographs to identify: a folder, or a catalogue")
    add_catalog_option(parser, "the known animals: folder, CSV or COCO file")
    parser.add_argument("--output", type=output_file, required=True, help="the CSV to write: image, predictions")
    parser.add_argument("--details", type=output_file, metavar="CSV", help="probabilities and supporting photographs")
    parser.add_argument("--by-encounter", action="store_true", help="ask all photographs of an encounter as one")
    rule = parser.add_argument_group("the decision")
    rule.add_argument(
        "--head", choices=("ranker", "knn"), default="ranker", help="whole engine, or nearest photographs (ranker)"
    )
    rule.add_argument(
        "--new-odds", type=finite, metavar="W", help="ranker: odds of a new animal beforehand (the model's; else 1)"
    )
    rule.add_argument(
        "--classifier",
        type=Path,
        metavar="FOLDER",
        help="ranker: average in what the head of a train-descriptor run says of the animals that it was trained on "
        "(default: the model's head, where it has one that knows some of them)",
    )
    rule.add_argument(
        "--classifier-weight", type=share, metavar="W", help="ranker: of what that head says (the model's; else 0.5)"
    )
    rule.add_argument("--neighbours", type=positive, help="knn: photographs that vote (the model's; else 50)")
    rule.add_argument("--max-distance", type=finite, help="knn: beyond it the animal is new (the model's; else 0.62)")
    rule.add_argument("--min-confidence", type=finite, help="knn: below it the animal is new (the model's; else 0.38)")
    add_engine_options(parser)


def _identify(options: argparse.Namespace) -> int:
    from features.global_descriptor.classifier import TrainedHead  # loads torch

    catalog = Catalog.read(options.catalog, options.format)
    matcher = matcher_from(options, catalog)
    classifier = TrainedHead(options.classifier) if options.classifier is not None else None
    if classifier is None and options.head == "ranker" and matcher.model.classifier is not None:
        own = TrainedHead(matcher.model.classifier)
        if set(own.names) & set(catalog.table["individual_id"].dropna()):
            classifier = own
        else:
            say(f"the trained head of the model {matcher.model.name!r} knows none of these individuals: left out")
    named = {field.name: getattr(options, field.name) for field in fields(Decision)}
    decision = matcher.model.decision.replace(**{name: value for name, value in named.items() if value is not None})
    run = identify_photographs(
        read_test_photographs(options.test, catalog),
        catalog,
        matcher,
        IdentifySettings(new_odds=decision.new_odds),
        head=options.head,
        knn=KnnSettings(decision.neighbours, decision.max_distance, decision.min_confidence),
        by_encounter=options.by_encounter,
        classifier=classifier,
        classifier_weight=decision.classifier_weight,
        progress=ProgressBar("identifying"),
    )
    write_happywhale(run.predictions, options.output)
    if options.details:
        run.write_details(options.details)
    for failure in run.failures:
        say(f"skipped: {failure.reason}")
    print(f"{len(run.predictions):,} rows written to {options.output}")
    if run.score is not None:
        print(f"MAP@5  {run.score:.4f}  over {len(run.truth):,} photographs with a label")
    return 0


def _rank_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data_dir", type=Path, metavar="DATA_DIR", help="metadata.csv, images/, query_scenarios.csv, ..."
    )
    parser.add_argument("--output", type=output_file, required=True, help="the submission's CSV file")
    add_engine_options(parser)


def _rank(options: argparse.Namespace) -> int:
    run = rank_challenge(options.data_dir, options.output, matcher_from(options), ProgressBar("ranking"), say)
    problems = [item for item in check_submission(run.submission, run.scenarios) if item.severity == "error"]
    rows, queries = len(run.submission), run.submission["query_id"].nunique()
    print(f"{rows:,} rows for {queries:,} queries written to {options.output}")
    for problem in problems:
        say(f"error: {problem}")
    return EXIT_DATA if problems or run.unanswered else 0


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("submission", type=Path, metavar="SUBMISSION", help="CSV: query_id, database_image_id, score")
    parser.add_argument("answers", type=Path, metavar="ANSWERS", help="CSV of true matches, or a labelled catalogue")
    parser.add_argument(
        "--scenarios", type=Path, help="folder of query_scenarios.csv, to check queries and databases too"
    )
    parser.add_argument("--json", action="store_true", help="print the score as JSON")


def _score(options: argparse.Namespace) -> int:
    given = read_scenarios(options.scenarios) if options.scenarios else None
    answers, scenarios = read_answers(options.answers, given)
    problems = check_submission(options.submission, scenarios or given, answers)
    errors = [problem for problem in problems if problem.severity == "error"]
    for problem in problems:
        say(f"{problem.severity}: {problem}")
    if errors:
        return EXIT_DATA
    score = score_submission(read_submission(options.submission), answers)
    if options.json:
        print(json.dumps(score.to_dict(), indent=2))
    else:
        for name, value in score.per_scenario.items():
            print(f"{name}  {value:.4f}")
        print(f"mAP@20  {score.mean_average_precision:.4f}  over {len(score.per_query):,} queries")
    return 0


def _blend_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="image, predictions; identify's --details; or submissions"
    )
    parser.add_argument("--output", type=output_file, required=True, help="the blend, in the files' own form")
    parser.add_argument(
        "--method", choices=("table", "mean"), help="(default: table for individuals, mean for photographs)"
    )
    parser.add_argument("--answers", type=Path, help="truth for the files' queries: learn the weights, and judge them")
    parser.add_argument("--weights", metavar="W,W,...|FILE", help="weights of the files (default: 1 each, or learned)")
    parser.add_argument("--save-weights", type=output_file, metavar="FILE", help="keep the weights as JSON")
    parser.add_argument("--catalog", type=Path, help="counts an individual's photographs, for the frequency penalty")
    table = parser.add_argument_group("rank table")
    table.add_argument("--table", default="10,6.5,3.3,2.9,2.7", help="points of the first places (10,6.5,3.3,2.9,2.7)")
    table.add_argument("--frequency-penalty", type=finite, default=0.033, help="points lost per photograph (0.033)")
    table.add_argument("--new-damping", type=finite, default=4.0, help="divides new_individual from place 3 on (4)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds that judge learned weights (0)")


def _blend(options: argparse.Namespace) -> int:
    counts: dict[str, int] = {}
    if options.catalog:
        found = Catalog.read(options.catalog).table["individual_id"].value_counts()
        counts = {str(name): int(count) for name, count in found.items()}
    labels = blending.read_ranking(options.files[0]).labels
    blend = blending.blend_files(
        options.files,
        options.method,
        weights=blending.read_weights(options.weights, len(options.files)) if options.weights else None,
        answers=blending.read_blend_answers(options.answers, labels) if options.answers else None,
        photographs=counts,
        settings=blending.table_settings(options.table, options.frequency_penalty, options.new_damping),
        seed=options.seed,
    )
    blend.write(options.output)
    if options.save_weights:
        blending.write_weights(options.save_weights, blend, options.files)
    print(blend.render(options.files))
    print(f"{len(blend.scores):,} queries written to {options.output}")
    return 0


def _package_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=output_file, required=True, metavar="ZIP", help="archive, e.g. submission.zip")
    add_engine_options(parser)


def _package(options: argparse.Namespace) -> int:
    model = model_from(options)
    wanted = settings_from(options, model)
    # A tenth is kept back: the container's machine is not the one that was measured.
    settings = within_hours(wanted, 0.9 * HOURS)
    if settings != wanted:
        print(f"re-scored candidates: {settings.shortlist.rescore} a query, to keep the limit of {HOURS:g} hours")
    names = write_package(options.output, settings, options.ranker, model)
    print(f"{len(names)} files, {options.output.stat().st_size / 1e6:.0f} MB: {options.output}")
    expected = challenge_estimate(settings)
    print(f"the challenge's ten scenarios: {expected}, at the rates that the default settings")
    print(f"reached on {read_rates().machine} (fewer keypoints are faster)")
    if expected.hours > HOURS:
        say("too long: try --shortlist 30, or --set describe.keypoints.max_keypoints=256")
        return EXIT_DATA
    return 0


COMMANDS = {
    "identify": Command(_identify_arguments, _identify),
    "rank": Command(_rank_arguments, _rank),
    "score": Command(_score_arguments, _score),
    "blend": Command(_blend_arguments, _blend),
    "package": Command(_package_arguments, _package),
}
