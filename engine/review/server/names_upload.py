"""A table of names that is sent to a review: read as every such table is, and decided one after the other."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from engine.catalogue.catalog import Catalog, CatalogError
from engine.exports.names_table import NewNames, decisions_from_table
from engine.exports.records import ExportError
from engine.exports.wildbook import KEY_FILE
from engine.review.decisions import Decision, ReviewError
from engine.review.server.writing import Writing

_TABLES = (".csv", ".tsv", ".txt", ".xlsx")


def names_in(sent: Sequence[tuple[BinaryIO, str]], today: Catalog, who: str) -> NewNames:
    """Return the decisions that a table amounts to.

    Args:
        sent: the table, and beside it the key that an export to Wildbook wrote: bytes, and what the sender calls them.
        today: the catalogue under today's names.
        who: the reviewer.

    Raises:
        ReviewError: what was sent is no table, or more than one; or it says two things of one photograph.
    """
    keys = [one for one in sent if _letters(one[1]) == KEY_FILE and len(sent) > 1]
    tables = [one for one in sent if one not in keys]
    if len(tables) != 1 or len(keys) > 1:
        raise ReviewError(f"send one table, and beside it at most the {KEY_FILE} of an export to Wildbook")
    stream, name = tables[0]
    if Path(name).suffix.lower() not in _TABLES:
        raise ReviewError(f"{name!r} is no table by its ending: send {', '.join(_TABLES)}")
    with tempfile.TemporaryDirectory(prefix="scarmatch-names-") as folder:
        for source, called in (*[(stream, f"table{Path(name).suffix.lower()}")], *((key, KEY_FILE) for key, _ in keys)):
            with (Path(folder) / called).open("wb") as file:
                shutil.copyfileobj(source, file)
        table = Path(folder) / f"table{Path(name).suffix.lower()}"
        try:
            found = decisions_from_table(table, today, who)
        except (CatalogError, ExportError) as error:
            # Where it lay meanwhile is nothing to the sender.
            raise ReviewError(str(error).replace(str(table), repr(name))) from None
    shown = {"table": _letters(name)}
    return NewNames(tuple(one.replace(shown=shown) for one in found.decisions), found.notes)


def _letters(name: str) -> str:
    return Path(name.replace("\\", "/")).name


async def decide_in_turn(writing: Writing, decisions: Sequence[Decision]) -> None:
    """Make decisions of which each builds on those before.

    Raises:
        ReviewError: one cannot be made, because somebody decided otherwise meanwhile; it says how many were made.
    """
    for number, one in enumerate(decisions):
        try:
            await writing.decide([one])
        except ReviewError as error:
            raise ReviewError(f"{number} of {len(decisions)} decisions were made, then: {error}") from error
