"""Markdown for tables: cells, intervals, differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from scarmatch.metrics import Interval


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def interval(value: Interval, digits: int = 3) -> str:
    """Return "mean (low–high)"."""
    return f"{value.mean:.{digits}f} ({value.low:.{digits}f}–{value.high:.{digits}f})"


def change(value: Interval, digits: int = 3) -> str:
    """Return "+mean (+low … +high)"."""
    return f"{value.mean:+.{digits}f} ({value.low:+.{digits}f} … {value.high:+.{digits}f})"


def bold(value: Interval, digits: int = 3) -> str:
    """Return the interval with its mean in bold face."""
    mean, rest = interval(value, digits).split(" ", 1)
    return f"**{mean}** {rest}"


def seconds(value: float) -> str:
    """Return a time with its unit."""
    if value < 0.001:
        return "< 1 ms"
    return f"{1000 * value:.0f} ms" if value < 0.9995 else f"{value:.1f} s"


def only_once(cells: Iterable[str]) -> list[str]:
    """Return cells of a column with those emptied that repeat the one above."""
    shown: list[str] = []
    last = None
    for cell in cells:
        shown.append("" if cell == last else cell)
        last = cell
    return shown
