"""The commands that answer for individuals: identify, blend, audit, package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from engine.commands import main as cli


def add(commands: Any) -> None:
    """Add the commands to the parser."""
    _add_identify(commands)
    _add_blend(commands)
    _add_audit(commands)
    _add_package(commands)


def _add_identify(commands: Any) -> None:
    text = "Name the individual of every photograph: five predictions each, new_individual among them (Happywhale)."
    parser = cli.add_command(commands, "identify", _identify, text)
    parser.add_argument("test", type=Path, metavar="TEST_DIR", help="photographs to identify: a folder, or a catalogue")
    parser.add_argument("--catalog", type=Path, required=True, help="the known animals: folder, CSV or COCO file")
    parser.add_argument("--format", default="auto", help="layout of the catalogue (default: found out)")
    parser.add_argument("--output", type=Path, required=True, help="the submission's CSV file: image, predictions")
    parser.add_argument("--details", type=Path, metavar="CSV", help="probabilities and supporting photographs")
    parser.add_argument("--by-encounter", action="store_true", help="ask all photographs of an encounter as one")
    rule = parser.add_argument_group("the decision")
    rule.add_argument(
        "--head", choices=("ranker", "knn"), default="ranker", help="whole engine, or nearest photographs (ranker)"
    )
    rule.add_argument(
        "--new-odds", type=float, default=1.0, metavar="W", help="ranker: odds of a new animal beforehand (1)"
    )
    rule.add_argument(
        "--classifier",
        type=Path,
        metavar="FOLDER",
        help="ranker: average in what the head of a train-descriptor run says of the animals that it was trained on",
    )
    rule.add_argument(
        "--classifier-weight", type=float, default=0.5, metavar="W", help="ranker: of what that head says (0.5)"
    )
    rule.add_argument("--neighbours", type=cli.positive, default=50, help="knn: photographs that vote (50)")
    rule.add_argument("--max-distance", type=float, default=0.62, help="knn: beyond it the animal is new (0.62)")
    rule.add_argument("--min-confidence", type=float, default=0.38, help="knn: below it the animal is new (0.38)")
    cli.add_engine_options(parser)


def _identify(options: argparse.Namespace) -> int:
    from engine.catalogue.catalog import Catalog
    from engine.competitions.happywhale import identify_photographs, read_test_photographs, write_happywhale
    from engine.search.individuals import IdentifySettings, KnnSettings
    from features.global_descriptor.classifier import TrainedHead

    catalog = Catalog.read(options.catalog, options.format)
    run = identify_photographs(
        read_test_photographs(options.test, catalog),
        catalog,
        cli.matcher_from(options),
        IdentifySettings(new_odds=options.new_odds),
        head=options.head,
        knn=KnnSettings(options.neighbours, options.max_distance, options.min_confidence),
        by_encounter=options.by_encounter,
        classifier=TrainedHead(options.classifier) if options.classifier is not None else None,
        classifier_weight=options.classifier_weight,
        progress=cli.ProgressBar("identifying"),
    )
    write_happywhale(run.predictions, options.output)
    if options.details:
        run.write_details(options.details)
    for failure in run.failures:
        print(f"skipped: {failure.reason}", file=sys.stderr)
    print(f"{len(run.predictions):,} rows written to {options.output}")
    if run.score is not None:
        print(f"MAP@5  {run.score:.4f}  over {len(run.truth):,} photographs with a label")
    return 0


def _add_blend(commands: Any) -> None:
    text = "Blend several files of rankings: by places (rank table) or by probabilities (calibrated mean)."
    parser = cli.add_command(commands, "blend", _blend, text)
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="image, predictions; identify's --details; or submissions"
    )
    parser.add_argument("--output", type=Path, required=True, help="the blend, in the files' own form")
    parser.add_argument(
        "--method", choices=("table", "mean"), help="(default: table for individuals, mean for photographs)"
    )
    parser.add_argument("--answers", type=Path, help="truth for the files' queries: learn the weights, and judge them")
    parser.add_argument("--weights", metavar="W,W,...|FILE", help="weights of the files (default: 1 each, or learned)")
    parser.add_argument("--save-weights", type=Path, metavar="FILE", help="keep the weights as JSON")
    parser.add_argument("--catalog", type=Path, help="counts an individual's photographs, for the frequency penalty")
    table = parser.add_argument_group("rank table")
    table.add_argument("--table", default="10,6.5,3.3,2.9,2.7", help="points of the first places (10,6.5,3.3,2.9,2.7)")
    table.add_argument("--frequency-penalty", type=float, default=0.033, help="points lost per photograph (0.033)")
    table.add_argument("--new-damping", type=float, default=4.0, help="divides new_individual from place 3 on (4)")
    parser.add_argument("--seed", type=int, default=0, help="of the folds that judge learned weights (0)")


def _blend(options: argparse.Namespace) -> int:
    from engine.catalogue.catalog import Catalog
    from engine.competitions import blending

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


def _add_audit(commands: Any) -> None:
    text = "Find individuals that are probably the same, photographs under the wrong name, and near-duplicates."
    parser = cli.add_command(commands, "audit", _audit, text)
    cli.add_catalog(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="tables, pictures and a page")
    parser.add_argument(
        "--limit", type=cli.positive, default=20_000, help="pairs matched at most, the most suspicious first (20000)"
    )
    parser.add_argument("--min-probability", type=float, default=0.05, help="leave out what is less probable (0.05)")
    parser.add_argument("--pictures", type=int, default=30, help="pictures of each kind of finding (30)")
    cli.add_engine_options(parser)


def _audit(options: argparse.Namespace) -> int:
    from engine.catalogue.catalog import Catalog
    from engine.report.audit import AuditSettings, audit_catalog
    from engine.report.audit_page import write_audit

    matcher = cli.matcher_from(options)
    settings = AuditSettings(limit=options.limit, min_probability=options.min_probability)
    catalog = Catalog.read(options.catalog, options.format)
    audit = audit_catalog(catalog, matcher, settings, cli.ProgressBar("auditing"))
    page = write_audit(audit, matcher, options.output, options.pictures, cli.ProgressBar("drawing"))
    print(f"{len(audit.merges):,} pairs of individuals that may be one, {len(audit.wrong):,} photographs that may be")
    print(f"under the wrong name, {len(audit.copies):,} near-duplicates; {audit.left_out:,} photographs not asked")
    print(f"page: {page}")
    return 0


def _add_package(commands: Any) -> None:
    text = "Write the archive of the challenge's code-execution form: main.py answers data/ without network."
    parser = cli.add_command(commands, "package", _package, text)
    parser.add_argument("--output", type=Path, required=True, metavar="ZIP", help="the archive, e.g. submission.zip")
    cli.add_engine_options(parser)


def _package(options: argparse.Namespace) -> int:
    from engine.competitions.package import write_package
    from engine.competitions.running_time import HOURS, challenge_estimate, read_rates, within_hours

    asked = cli.settings_from(options)
    # A tenth is kept back: the container's machine is not the one that was measured.
    settings = within_hours(asked, 0.9 * HOURS)
    if settings != asked:
        print(f"second looks a query: {settings.shortlist.second_look}, so that the limit of {HOURS:g} hours is kept")
    names = write_package(options.output, settings, options.ranker)
    print(f"{len(names)} files, {options.output.stat().st_size / 1e6:.0f} MB: {options.output}")
    expected = challenge_estimate(settings)
    print(f"the challenge's ten scenarios: {expected}, at the rates that the default settings")
    print(f"reached on {read_rates().machine} (fewer keypoints are faster)")
    if expected.hours > HOURS:
        print("too long: try --shortlist 30, or --set describe.keypoints.max_keypoints=256", file=sys.stderr)
        return cli.EXIT_DATA
    return 0
