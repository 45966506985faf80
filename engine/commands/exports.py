"""The commands that take a catalogue to other programs and names back from them: export, import."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from engine.catalogue.catalog import Catalog
from engine.commands.options import Command, add_catalog, positive
from engine.exports.formats import EXPORTS, export_catalog
from engine.exports.names_table import decisions_from_table
from engine.exports.records import ExportSettings
from engine.exports.today import CERTAINTIES, catalogue_today
from engine.review.decision_table import ReviewFile

_IN_WORDS = {
    "new_individual": "new individuals",
    "split": "split off",
    "move": "moved to another individual",
    "merge": "individuals merged",
    "rename": "individuals renamed",
}


def _comma(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _add_review(parser: argparse.ArgumentParser, text: str, required: bool) -> None:
    parser.add_argument("--decisions", type=Path, metavar="FILE", required=required, help=text)
    parser.add_argument(
        "--votes", type=positive, default=1, help="reviewers who must say the same before a link holds (1)"
    )


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = ExportSettings()
    add_catalog(parser)
    forms = "; ".join(f"{name}: {export.text}" for name, export in EXPORTS.items())
    parser.add_argument("--as", dest="form", required=True, choices=tuple(EXPORTS), help=forms)
    parser.add_argument("--output", type=Path, required=True, metavar="PATH", help="file, or new folder, to write")
    _add_review(parser, "a review's file: names are those of today", required=False)
    parser.add_argument(
        "--min-certainty",
        choices=CERTAINTIES,
        default=CERTAINTIES[0],
        help="names that rest on less certain decisions are left out (guessing: none)",
    )
    parser.add_argument(
        "--photos", choices=("link", "copy"), default=defaults.photos, help="how photographs get into folders (link)"
    )
    wildbook = parser.add_argument_group("Wildbook")
    wildbook.add_argument(
        "--species", default="", help='genus and epithet, where the catalogue lacks them: "Orcinus orca"'
    )
    wildbook.add_argument("--location", default="", help="location id of all encounters, as in Wildbook's menu")
    wildbook.add_argument("--submitter", default="", help="your user name there")
    wildbook.add_argument("--sheet", choices=("xlsx", "csv"), default=defaults.sheet, help="kind of sheet (xlsx)")
    capture = parser.add_argument_group("capture histories")
    capture.add_argument(
        "--occasions",
        choices=("day", "week", "month", "year", "breaks"),
        help="what a capture occasion is (year, or breaks where they are given)",
    )
    capture.add_argument(
        "--breaks", type=_comma, default=(), metavar="DATE,DATE,...", help="first days of own occasions, and the end"
    )
    capture.add_argument(
        "--sides", type=_comma, default=(), metavar="VIEW,...", help="viewpoints that count as captures (all)"
    )
    capture.add_argument(
        "--empty-occasions", action="store_true", help="keep occasions in which no photograph at all was taken"
    )


def _export(options: argparse.Namespace) -> int:
    settings = ExportSettings(
        photos=options.photos,
        species=options.species,
        location=options.location,
        submitter=options.submitter,
        sheet=options.sheet,
        occasions=options.occasions or ("breaks" if options.breaks else "year"),
        breaks=options.breaks,
        sides=options.sides,
        empty_occasions=options.empty_occasions,
    )
    catalog = Catalog.read(options.catalog, options.format)
    today, notes = catalogue_today(catalog, options.decisions, options.votes, options.min_certainty)
    written = export_catalog(today, options.output, options.form, settings)
    for note in (*notes, *written.notes):
        print(f"note: {note}", file=sys.stderr)
    print("\n".join(str(file) for file in written.files))
    return 0


def _import_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    parser.add_argument("table", type=Path, metavar="TABLE", help="CSV or .xlsx: photographs, and who is on them")
    _add_review(parser, "the review's file that the decisions are added to; made where there is none", required=True)
    parser.add_argument("--who", required=True, help="the name that the decisions bear")
    parser.add_argument("--dry-run", action="store_true", help="say what would be decided, and decide nothing")


def _import(options: argparse.Namespace) -> int:
    catalog = Catalog.read(options.catalog, options.format)
    there = options.decisions if options.decisions.is_file() else None
    today, notes = catalogue_today(catalog, there, options.votes)
    names = decisions_from_table(options.table, today, options.who)
    for note in (*notes, *names.notes):
        print(f"note: {note}", file=sys.stderr)
    if names.decisions and not options.dry_run:
        with ReviewFile(options.decisions) as review:
            review.append(names.decisions)
    counts = Counter(decision.kind for decision in names.decisions)
    kinds = ", ".join(f"{count:,} {_IN_WORDS[kind]}" for kind, count in counts.items())
    done = "would be added to" if options.dry_run else "added to"
    print(f"{len(names.decisions):,} decisions {done} {options.decisions}{': ' if kinds else ''}{kinds}")
    return 0


COMMANDS = {"export": Command(_export_arguments, _export), "import": Command(_import_arguments, _import)}
