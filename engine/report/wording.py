"""The words in which a report speaks of missing values, dates, probabilities and verdicts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pandas as pd


def known(value: Any) -> bool:
    """Tell whether a table's value is there: None, NaN, NaT, NA and the empty string are not."""
    if isinstance(value, str):
        return value != ""
    missing = pd.isna(value)  # an array for a list or tuple, which then is a value
    return not (isinstance(missing, bool) and missing)


def text_of(value: Any) -> str:
    """Return a value as text that any encoding can carry, "" if it is missing.

    File names may hold bytes that are no text; they become "?" instead of stopping the page.
    """
    return str(value).encode("utf-8", "replace").decode("utf-8") if known(value) else ""


def date_of(value: Any) -> str:
    """Return a date as YYYY-MM-DD, "" if it is unknown."""
    if not known(value):
        return ""
    return _parsed(text_of(value))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> str:
    date = pd.to_datetime(text, errors="coerce")
    return text if pd.isna(date) else date.strftime("%Y-%m-%d")


def gap_in_words(days: float | None) -> str:
    """Return the time between query and candidate in words; positive days mean that the candidate is later.

    >>> gap_in_words(0), gap_in_words(-1), gap_in_words(430)
    ('same day', '1 day earlier', '1 year 2 months later')
    """
    if days is None or not known(days):
        return ""
    span = abs(round(float(days)))
    if span == 0:
        return "same day"
    if span < 14:
        words = _counted(span, "day")
    elif span < 61:
        words = _counted(round(span / 7), "week")
    else:
        months = round(span / 30.4375)
        years, rest = divmod(months, 12)
        words = " ".join(_counted(n, unit) for n, unit in ((years, "year"), (rest, "month")) if n)
    return f"{words} {'later' if float(days) > 0 else 'earlier'}"


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def verdict(best: float | None, individual: str, new: float | None) -> tuple[str, str]:
    """Return a level ("match", "maybe", "none", "new") and one sentence for a query.

    Args:
        best: probability of the best individual (or photograph), None without candidates.
        individual: its name, "" if it has none.
        new: probability that the animal is not in the catalogue, None if unknown.
    """
    if best is None:
        return "none", "No candidate passed the filter"
    if new is not None and new >= 0.5 and new >= best:
        return "new", f"Probably a new individual ({new:.2f})"
    name = individual or "the best photograph's animal"
    if best >= 0.9:
        return "match", f"Very likely {name}"
    if best >= 0.5:
        return "match", f"Probably {name}"
    if best >= 0.15:
        return "maybe", f"Perhaps {name}"
    return "none", "No convincing match"


def uncertainty(best: float | None) -> float:
    """Return how much a person is needed: 1 at a probability of one half, 0 at 0 and 1, 0 without candidates."""
    return 0.0 if best is None else 1.0 - 2.0 * abs(float(best) - 0.5)
