"""The command line: every command calls one function that the Python API offers too."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from scarmatch import __version__
from scarmatch.errors import ScarmatchError

if TYPE_CHECKING:
    from engine.search.matcher import Matcher, MatcherSettings
    from scarmatch.settings import Settings

AnySettings = TypeVar("AnySettings", bound="Settings")

#: What a command ends with where something is wrong with the data (0 is fine, 2 the parser's own for the command line).
EXIT_DATA = 1


class ProgressBar:
    """A bar with the time left on a terminal, nothing elsewhere."""

    def __init__(self, label: str, enabled: bool = True) -> None:
        self._label = label
        self._enabled = enabled and sys.stderr.isatty()
        self._bar: Any = None

    def __call__(self, done: int, total: int) -> None:
        """Move the bar; a new total starts a new bar."""
        if not self._enabled:
            return
        from tqdm import tqdm

        if self._bar is not None and self._bar.total != total:
            self.close()
        if self._bar is None:
            # Work found in the store is no measure of speed, so the clock starts behind it.
            self._bar = tqdm(total=total, initial=done, desc=self._label, dynamic_ncols=True, file=sys.stderr)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self.close()

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose else logging.WARNING,
        format="%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("numba", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        print("stopped; what was computed is kept, run the same command to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python would complain once more at exit otherwise.
        sys.stderr.close()
        return 0
    except Exception as error:
        if options.verbose or not isinstance(error, (ScarmatchError, FileNotFoundError, NotADirectoryError)):
            raise
        print(f"scarmatch {options.command}: {error}", file=sys.stderr)
        return EXIT_DATA


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    from engine.commands import answering, training

    parser = argparse.ArgumentParser(
        prog="scarmatch",
        description="Find the same animal again in a catalogue of photographs, by its scars and marks.",
    )
    parser.add_argument("--version", action="version", version=f"scarmatch {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_check(commands)
    _add_index(commands)
    _add_match(commands)
    _add_explain(commands)
    _add_rank(commands)
    _add_score(commands)
    _add_info(commands)
    answering.add(commands)
    training.add(commands)
    return parser


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Add a command with the options that every command has."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument("-v", "--verbose", action="store_true", help="say more, and show where an error came from")
    return parser


def add_engine_options(parser: argparse.ArgumentParser, ranker: bool = True) -> None:
    """Add the options of :func:`settings_from` and :func:`matcher_from`."""
    group = parser.add_argument_group("engine")
    group.add_argument("--store", type=Path, help="folder that keeps what was computed (default: your cache folder)")
    group.add_argument(
        "--workers", type=positive, help="processes (default: one per core); answers do not depend on it"
    )
    group.add_argument(
        "--device", choices=("cpu", "cuda"), help="where networks run (default: a GPU where there is one)"
    )
    group.add_argument("--descriptor", metavar="MODEL[,MODEL...]", help="global descriptor: a name or a file")
    group.add_argument("--keypoints", choices=("aliked", "disk", "xfeat", "sift"), help="keypoint type")
    group.add_argument("--shortlist", type=positive, help="candidates that the keypoint matcher sees (default: 50)")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.OPTION=VALUE",
        dest="overrides",
        help="any other option, e.g. --set describe.keypoints.max_keypoints=256 (may be repeated)",
    )
    if ranker:
        group.add_argument(
            "--ranker", metavar="FILE", help='trained ranker, or "fusion" for none (default: the shipped one)'
        )


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def shown_candidates(text: str) -> int:
    """Read how many of a query's candidates something is done for: 0 to 20, which is how many are shown."""
    value = int(text)
    if not 0 <= value <= 20:
        raise argparse.ArgumentTypeError("must be from 0 to 20: so many candidates are shown")
    return value


def settings_from(options: argparse.Namespace) -> MatcherSettings:
    """Return the engine's settings that the command line asks for.

    Raises:
        SettingsError: an option or value is unknown.
    """
    from engine.search.matcher import MatcherSettings

    settings = MatcherSettings()
    named = {
        "describe.descriptor.model": options.descriptor,
        "describe.keypoints.kind": options.keypoints,
        "shortlist.size": options.shortlist,
    }
    for name, value in named.items():
        if value is not None:
            settings = settings.with_option(name, str(value))
    return with_overrides(settings, options.overrides)


def with_overrides(settings: AnySettings, overrides: Sequence[str]) -> AnySettings:
    """Return settings changed by the texts of ``--set OPTION=VALUE``.

    Raises:
        SettingsError: a text has no "=", or the option or value is unknown.
    """
    from scarmatch.settings import SettingsError

    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            raise SettingsError(
                f"--set {override}: write OPTION=VALUE, with the stage before a dot where there are stages"
            )
        settings = settings.with_option(name, value)
    return settings


def matcher_from(options: argparse.Namespace) -> Matcher:
    """Return the matcher that the command line asks for."""
    from engine.search.matcher import Matcher

    return Matcher(
        settings_from(options),
        store=options.store,
        ranker=getattr(options, "ranker", None),
        workers=options.workers,
        device=options.device,
    )


def _add_demo(commands: Any) -> None:
    parser = add_command(
        commands, "demo", _demo, "Draw a small made-up catalogue, match a few queries, and show the result."
    )
    parser.add_argument("--output", type=Path, default=Path("scarmatch-demo"), help="folder to write (scarmatch-demo)")
    parser.add_argument("--queries", type=positive, default=4, help="number of queries (4)")
    parser.add_argument("--workers", type=positive, help="processes (default: one per core)")


def _demo(options: argparse.Namespace) -> int:
    from engine.demo.demo import run_demo

    run_demo(options.output, options.queries, options.workers, print)
    return 0


def _add_check(commands: Any) -> None:
    text = "Read a catalogue, say what is in it, and name every problem with file, line and way out."
    parser = add_command(commands, "check", _check, text)
    add_catalog(parser)
    parser.add_argument("--no-decode", action="store_true", help="read the photographs' headers only (quicker)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def add_catalog(parser: argparse.ArgumentParser) -> None:
    """Add the catalogue and its layout."""
    parser.add_argument("catalog", type=Path, metavar="CATALOG", help="folder, CSV or COCO file")
    parser.add_argument(
        "--format",
        default="auto",
        choices=("auto", "challenge", "coco", "happywhale", "csv", "folders"),
        help="layout of the catalogue (default: found out)",
    )


def _check(options: argparse.Namespace) -> int:
    from engine.catalogue.check import check_catalog

    report = check_catalog(options.catalog, options.format, not options.no_decode, progress=ProgressBar("checking"))
    print(json.dumps(report.to_dict(), indent=2, default=str) if options.json else report.render())
    return 0 if report.ok else EXIT_DATA


def _add_index(commands: Any) -> None:
    text = "Describe every photograph of a catalogue once; a stopped run goes on where it was."
    parser = add_command(commands, "index", _index, text)
    add_catalog(parser)
    add_engine_options(parser, ranker=False)


def _index(options: argparse.Namespace) -> int:
    from engine.catalogue.catalog import Catalog

    matcher = matcher_from(options)
    catalog = Catalog.read(options.catalog, options.format)
    started = time.perf_counter()
    index = matcher.index(catalog, ProgressBar("describing"))
    seconds = time.perf_counter() - started
    store = matcher.store_for(catalog)
    print(f"{len(index):,} of {len(catalog):,} photographs described in {seconds:.1f} s; store: {store}")
    return 0 if len(index) else EXIT_DATA


def _add_match(commands: Any) -> None:
    text = "Match photographs against a catalogue: the most probable candidates, with probabilities."
    parser = add_command(commands, "match", _match, text)
    parser.add_argument("queries", nargs="+", metavar="QUERY", help="photographs, or folders of them")
    parser.add_argument("--catalog", type=Path, required=True, help="folder, CSV or COCO file")
    parser.add_argument("--format", default="auto", help="layout of the catalogue (default: found out)")
    parser.add_argument("--top", type=positive, default=20, help="candidates per query (20)")
    parser.add_argument("--query-viewpoint", help="viewpoint of the queries (top, left, right; default: unknown)")
    parser.add_argument("--query-date", help="date of the queries (YYYY-MM-DD; default: unknown)")
    rules = parser.add_argument_group("candidates")
    rules.add_argument("--viewpoint", action="append", help="allowed viewpoint (may be repeated; unknown ones stay)")
    rules.add_argument("--since", help="first allowed date (YYYY-MM-DD)")
    rules.add_argument("--until", help="last allowed date")
    rules.add_argument("--exclude-encounter", action="store_true", help="leave out the query's own encounter")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--report", type=Path, metavar="DIR", help="write a page with pictures of the matched keypoints"
    )
    output.add_argument(
        "--layers-for",
        type=shown_candidates,
        metavar="N",
        help="candidates of each query whose keypoints, matches and maps the page can show (3; at most 20)",
    )
    shape = output.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the answers as JSON")
    shape.add_argument("--csv", action="store_true", help="print the answers as CSV")
    add_engine_options(parser)


def _match(options: argparse.Namespace) -> int:
    from engine.catalogue.catalog import CandidateFilter, Catalog
    from engine.search.individuals import new_individual_probability, rank_individuals

    catalog = Catalog.read(options.catalog, options.format)
    queries = queries_from(options.queries, catalog, options.query_viewpoint, options.query_date)
    candidates = CandidateFilter(
        viewpoints=tuple(options.viewpoint) if options.viewpoint else None,
        since=options.since,
        until=options.until,
        exclude_encounter=options.exclude_encounter,
    )
    matcher = matcher_from(options)
    bar = ProgressBar("matching")
    index = matcher.index(catalog, bar)
    asked = matcher.index(queries, bar, matcher.store_for(catalog))
    rules = str(matcher.filter_report(index, candidates))
    raw = matcher.pairs(asked, index, candidates, bar)
    answers = matcher.rank(raw, options.top)
    individuals = rank_individuals(answers)
    new = new_individual_probability(answers, asked.catalog.ids, individuals)
    if options.csv:
        answers.to_csv(sys.stdout, index=False)
    elif options.json:
        print(_answers_as_json(answers, individuals, new, rules, asked.failures + index.failures))
    else:
        print(rules)
        for query_id in asked.catalog.ids:
            print_answers(query_id, answers[answers["query_id"] == query_id], float(new[query_id]))
            if options.exclude_encounter:
                print(f"  {candidates.report_for(asked.catalog.row(query_id), index.catalog)[1]}")
    if options.report:
        from engine.report import PICTURES_PER_QUERY
        from engine.report.match_report import report_matches

        each = {
            name: str(candidates.report_for(asked.catalog.row(name), index.catalog)[1]) for name in asked.catalog.ids
        }
        page = report_matches(
            matcher,
            asked,
            index,
            answers,
            options.report,
            rules,
            ProgressBar("drawing"),
            raw=raw,
            query_filters=each,
            pictures_per_query=PICTURES_PER_QUERY if options.layers_for is None else options.layers_for,
        )
        print(f"report: {page}", file=sys.stderr)
    return 0 if len(asked) else EXIT_DATA


def _add_explain(commands: Any) -> None:
    text = "Explain one pair: pictures layer by layer, the probability, and what weighed for and against it."
    parser = add_command(commands, "explain", _explain, text)
    parser.add_argument("query", metavar="QUERY", help="image id of the catalogue, or a file")
    parser.add_argument("candidate", metavar="CANDIDATE", help="image id of the catalogue, or a file")
    parser.add_argument("--catalog", type=Path, required=True, help="folder, CSV or COCO file")
    parser.add_argument("--format", default="auto", help="layout of the catalogue (default: found out)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write pictures, a page and a JSON file")
    parser.add_argument(
        "--layers",
        help="pictures to write, separated by commas; layers of one picture joined by + (default: each layer alone)",
    )
    parser.add_argument("--json", action="store_true", help="print the explanation as JSON")
    add_engine_options(parser)


def _explain(options: argparse.Namespace) -> int:
    from engine.catalogue.catalog import Catalog
    from engine.report.explain import DEFAULT_LAYERS, explain_pair, write_explanation

    layers = tuple(options.layers.split(",")) if options.layers else DEFAULT_LAYERS
    catalog = Catalog.read(options.catalog, options.format)
    matcher = matcher_from(options)
    found = explain_pair(matcher, options.query, options.candidate, catalog, ProgressBar("matching"))
    print(json.dumps(found.to_dict(), indent=2) if options.json else found.render())
    if options.output:
        files = write_explanation(found, options.output, layers)
        print(f"page: {files[0]} (and {len(files) - 1} files beside it)", file=sys.stderr)
    return 0


def queries_from(paths: Sequence[str], catalog: Any, viewpoint: str | None, date: str | None) -> Any:
    """Return the queries as a catalogue.

    A photograph of the catalogue itself keeps what the catalogue knows of it (its encounter can then be left out, and
    it is never its own candidate).
    """
    from engine.catalogue.catalog import Catalog

    known = dict(zip(catalog.table["path"], catalog.ids, strict=True))
    inside = [known.get(str(Path(path).absolute())) for path in paths]
    if all(name is not None for name in inside):
        return catalog.subset(list(dict.fromkeys(name for name in inside if name is not None)))
    return Catalog.from_photos(paths, viewpoint, date, avoid=catalog.ids)


def print_answers(query_id: str, answers: Any, new: float) -> None:
    """Print one query's answers as a table."""
    import pandas as pd

    print(f"\n{query_id}")
    if answers.empty:
        print("  no candidates")
        return
    # Keypoints that one placement explains: those that are each other's nearest, and LightGlue's where it looked.
    print("  rank  probability  individual      date        view    nearest  LightGlue  photograph")
    for row in answers.itertuples():
        date = "-" if row.date is None or row.date != row.date else str(row.date)[:10]
        name, view = row.individual_id or "-", row.viewpoint or "-"
        nearest, lightglue = ("-" if n is pd.NA else n for n in (row.nearest_inliers, row.n_inliers))
        found = f"{nearest:>7}  {lightglue:>9}  {row.image_id}"
        print(f"  {row.rank:>4}  {row.probability:>10.1%}  {name:<14}  {date:<10}  {view:<6}  {found}")
    print(f"  probability that it is none of them: {new:.1%}")


def _answers_as_json(answers: Any, individuals: Any, new: Any, rules: str, failures: Any) -> str:
    record = {
        "filter": rules,
        "answers": json.loads(answers.to_json(orient="records", date_format="iso")),
        "individuals": json.loads(individuals.to_json(orient="records")),
        "new_individual": {str(name): float(value) for name, value in new.items()},
        "skipped": [{"image_id": item.image_id, "path": str(item.path), "reason": item.reason} for item in failures],
    }
    return json.dumps(record, indent=2)


def _add_rank(commands: Any) -> None:
    text = "Answer all queries of a folder in the challenge's layout and write a valid submission."
    parser = add_command(commands, "rank", _rank, text)
    parser.add_argument(
        "data_dir", type=Path, metavar="DATA_DIR", help="metadata.csv, images/, query_scenarios.csv, ..."
    )
    parser.add_argument("--output", type=Path, required=True, help="the submission's CSV file")
    add_engine_options(parser)


def _rank(options: argparse.Namespace) -> int:
    from engine.competitions.challenge import rank_challenge
    from engine.competitions.submission import check_submission

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    run = rank_challenge(options.data_dir, options.output, matcher_from(options), ProgressBar("ranking"), say)
    problems = [item for item in check_submission(run.submission, run.scenarios) if item.severity == "error"]
    rows, queries = len(run.submission), run.submission["query_id"].nunique()
    print(f"{rows:,} rows for {queries:,} queries written to {options.output}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return EXIT_DATA if problems or run.unanswered else 0


def _add_score(commands: Any) -> None:
    parser = add_command(
        commands, "score", _score, "Check a submission as the organisers' scorer would and print its mAP@20."
    )
    parser.add_argument("submission", type=Path, metavar="SUBMISSION", help="CSV: query_id, database_image_id, score")
    parser.add_argument("answers", type=Path, metavar="ANSWERS", help="CSV of true matches, or a labelled catalogue")
    parser.add_argument(
        "--scenarios", type=Path, help="folder of query_scenarios.csv, to check queries and databases too"
    )
    parser.add_argument("--json", action="store_true", help="print the score as JSON")


def _score(options: argparse.Namespace) -> int:
    from engine.competitions.scenarios import read_scenarios
    from engine.competitions.submission import check_submission, read_answers, read_submission, score_submission

    given = read_scenarios(options.scenarios) if options.scenarios else None
    answers, scenarios = read_answers(options.answers, given)
    problems = check_submission(options.submission, scenarios or given, answers)
    errors = [problem for problem in problems if problem.severity == "error"]
    for problem in problems:
        print(f"{problem.severity}: {problem}", file=sys.stderr)
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


def _add_info(commands: Any) -> None:
    parser = add_command(commands, "info", _info, "Versions, device, weights with hashes and licences, store size.")
    parser.add_argument("--store", type=Path, help="folder whose size is told")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _info(options: argparse.Namespace) -> int:
    from engine.commands.info import collect_info, render_info

    info = collect_info(options.store)
    print(json.dumps(info, indent=2) if options.json else render_info(info))
    return 0


if __name__ == "__main__":
    sys.exit(main())
