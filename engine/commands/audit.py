"""The command that looks for mistakes in a catalogue's labels: audit."""

from __future__ import annotations

import argparse

from engine.catalogue.catalog import Catalog
from engine.commands.console import ProgressBar
from engine.commands.options import (
    Command,
    add_catalog,
    add_engine_options,
    count,
    matcher_from,
    output_folder,
    positive,
    share,
)
from engine.report.audit import AuditSettings, audit_catalog
from engine.report.audit_page import write_audit


def _audit_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    parser.add_argument(
        "--output", type=output_folder, required=True, metavar="DIR", help="where tables, pictures, page go"
    )
    parser.add_argument(
        "--limit", type=positive, default=20_000, help="pairs matched at most, the most suspicious first (20000)"
    )
    parser.add_argument("--min-probability", type=share, default=0.05, help="leave out what is less probable (0.05)")
    parser.add_argument("--pictures", type=count, default=30, help="pictures of each kind of finding (30)")
    add_engine_options(parser)


def _audit(options: argparse.Namespace) -> int:
    settings = AuditSettings(limit=options.limit, min_probability=options.min_probability)
    catalog = Catalog.read(options.catalog, options.format)
    matcher = matcher_from(options, catalog)
    audit = audit_catalog(catalog, matcher, settings, ProgressBar("auditing"))
    page = write_audit(audit, matcher, options.output, options.pictures, ProgressBar("drawing"))
    print(f"{len(audit.merges):,} pairs of individuals that may be one, {len(audit.wrong):,} photographs that may be")
    print(f"under the wrong name, {len(audit.copies):,} near-duplicates; {audit.left_out:,} photographs not asked")
    print(f"page: {page}")
    return 0


COMMANDS = {"audit": Command(_audit_arguments, _audit)}
