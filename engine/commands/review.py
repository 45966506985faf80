"""The command that keeps decisions: review."""

from __future__ import annotations

import argparse
import getpass
import os
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from engine.catalogue.catalog import Catalog
from engine.catalogue.queries import query_catalog
from engine.commands.console import say
from engine.commands.options import Command, add_catalog, add_engine_options, matcher_from, positive
from engine.review.decision_table import ReviewFile
from engine.review.decisions import ReviewError
from engine.review.matching import EnginePlan
from engine.review.session import Review
from features.store import default_store

#: Where the password of other machines' browsers is read from: nobody sees the environment as they see a command line.
PASSWORD = "SCARMATCH_REVIEW_PASSWORD"
_NEEDED = ("fastapi", "uvicorn", "python_multipart")


def _review_arguments(parser: argparse.ArgumentParser) -> None:
    add_catalog(parser)
    parser.add_argument(
        "--queries",
        nargs="+",
        default=[],
        metavar="NEW",
        help="new photographs, or folders of them (default: the catalogue's photographs without a name)",
    )
    parser.add_argument("--query-viewpoint", help="viewpoint of the new photographs (top, left, right)")
    parser.add_argument("--query-date", help="date of the new photographs (YYYY-MM-DD, a month or a year)")
    parser.add_argument(
        "--database", type=Path, metavar="FILE", help="file of the decisions (default: review.sqlite in the catalogue)"
    )
    parser.add_argument("--reviewer", metavar="NAME", help="who decides (default: your name on this machine)")
    parser.add_argument(
        "--votes", type=positive, default=1, metavar="N", help="reviewers who must say the same before it holds (1)"
    )
    parser.add_argument("--ask-confidence", action="store_true", help="ask how sure a reviewer is")
    parser.add_argument("--single", action="store_true", help="ask about every photograph alone, not about encounters")
    serving = parser.add_argument_group("server")
    serving.add_argument("--port", type=int, default=0, help="port (default: a free one)")
    serving.add_argument(
        "--host", default="127.0.0.1", help=f"let other machines in by this address; ${PASSWORD} must hold a password"
    )
    serving.add_argument("--open", action="store_true", help="open the page in the browser")
    add_engine_options(parser)


def _review(options: argparse.Namespace) -> int:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ReviewError(f"{', '.join(missing)} is not installed: pip install 'scarmatch[review]'")
    # Late: the packages of the extra are there only where they were asked for.
    from engine.review.server.serve import ServerPlan, serve

    catalog = Catalog.read(options.catalog, options.format)
    path = options.database or catalog.root / "review.sqlite"
    with ReviewFile(path) as file:
        review = Review(catalog, file, options.votes, not options.single)
        _add_new(review, options)
        store = options.store if options.store is not None else default_store(catalog.root)
        engine = EnginePlan(
            catalog=options.catalog,
            file=path,
            pictures=store / "review" / "pictures",
            format=options.format,
            make_matcher=partial(matcher_from, _without_command(options)),
        )
        plan = ServerPlan(
            host=options.host,
            port=options.port,
            who=options.reviewer or _own_name(),
            password=os.environ.get(PASSWORD) or None,
            title=catalog.root.resolve().name or "review",
            confidence=options.ask_confidence,
        )
        say(f"decisions: {path} ({review.state.last} so far); {len(review.queue.questions)} questions")
        serve(review, engine, plan, say, options.open)
    return 0


def _add_new(review: Review, options: argparse.Namespace) -> None:
    """Add the new photographs that the review does not know yet."""
    if not options.queries:
        return
    asked = query_catalog(options.queries, review.photographs, options.query_viewpoint, options.query_date)
    new = asked.table[[image not in review.rows for image in asked.ids]]
    if len(new):
        review.add_photographs(new)


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return "reviewer"


def _without_command(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options alone, which can travel to another process."""
    return argparse.Namespace(**{name: value for name, value in vars(options).items() if name != "run"})


COMMANDS = {"review": Command(_review_arguments, _review)}
