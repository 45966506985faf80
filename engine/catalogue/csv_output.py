"""Tables for people, as CSV: what a spreadsheet would run stays text, and is read back as it was.

A name that begins like a formula (``=``, ``+``, ``-``, ``@``) is one to Excel and LibreOffice, whoever wrote it. Such
cells get an apostrophe in front, which spreadsheets take for "text" (the remedy that OWASP recommends);
:func:`without_guard` takes it away, and this program's reader of tables does so. Submissions and scenarios of a
competition are not written here: their format is the organisers', to the letter.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import pandas as pd

GUARD = "'"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(table: pd.DataFrame, target: Path | IO[str]) -> None:
    """Write a table as UTF-8 CSV, its texts guarded (:func:`guarded`); numbers and dates as they are."""
    texts = [name for name in table.columns if table[name].dtype == object or pd.api.types.is_string_dtype(table[name])]
    # Made from a list: Series.map would turn whole numbers beside gaps into fractions.
    columns = {name: pd.Series(list(map(guarded, table[name])), table.index, dtype=object) for name in texts}
    safe = table.assign(**columns)
    safe.to_csv(target, index=False, encoding="utf-8")


def guarded(value: Any) -> Any:
    """Return a text that no spreadsheet takes for a formula; whatever is no text as it is."""
    return GUARD + value if isinstance(value, str) and value.startswith(_FORMULA) else value


def without_guard(text: str) -> str:
    """Return what :func:`guarded` was given."""
    return text[1:] if text.startswith(GUARD) and text[1:].startswith(_FORMULA) else text
