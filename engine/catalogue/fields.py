"""Single values as people write them in tables: viewpoints, dates, boxes, sizes, paths inside a catalogue."""

from __future__ import annotations

import datetime as dt
import math
import os
import re
from functools import lru_cache
from pathlib import Path

UNKNOWN = frozenset({"", "na", "n/a", "nan", "nat", "none", "null", "unknown", "unidentified", "?", "-", "____"})
"""Spellings of "not known" (lower case); ``____`` is what Wildbook writes for an animal without a name."""

_VIEWPOINTS = {
    "top": "top up aerial dorsal above overhead drone",
    "left": "left l left_side lateral_left port",
    "right": "right r right_side lateral_right starboard",
}
_VIEWPOINT_OF = {word: view for view, words in _VIEWPOINTS.items() for word in words.split()}
KNOWN_VIEWPOINTS = tuple(_VIEWPOINTS)
"""The viewpoints that the rest of the project understands."""

_TIME = r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*(?:Z|UTC|[+-]\d{2}:?\d{2})?)?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/:.])(\d{{1,2}})\2(\d{{1,2}}){_TIME}", re.IGNORECASE)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})")
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_TIME}", re.IGNORECASE)
_DAY_NAMED = re.compile(rf"(\d{{1,2}})[-. ]+([A-Za-z]{{3,9}})[-., ]+(\d{{4}}){_TIME}", re.IGNORECASE)
_NAMED_DAY = re.compile(rf"([A-Za-z]{{3,9}})[-. ]+(\d{{1,2}})(?:st|nd|rd|th)?,?[- ]+(\d{{4}}){_TIME}", re.IGNORECASE)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def text_or_none(value: object) -> str | None:
    """Return the value as stripped text, or None where it means "not known"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value).strip()
    return None if text.lower() in UNKNOWN else text


def normalise_viewpoint(value: object) -> tuple[str | None, bool]:
    """Return (viewpoint, understood).

    "Top", "up", "aerial", "dorsal" … become "top", "L" and "R" become "left" and "right"; not known becomes None. A
    word that is not understood is kept in lower case, with ``understood`` False.
    """
    text = text_or_none(value)
    if text is None:
        return None, True
    word = re.sub(r"[\s-]+", "_", text.lower())
    return _VIEWPOINT_OF.get(word, text.lower()), word in _VIEWPOINT_OF


@lru_cache(maxsize=65536)
def parse_date(text: str) -> tuple[dt.date, dt.datetime | None]:
    """Read a date, with the time of day if there is one.

    Understood: ISO 8601 (2017-08-07, 2017-08-07T20:38:36), year first with other separators (2017/08/07, EXIF's
    2017:08:07 20:38:36), 20170807, month by name (7 Aug 2017, August 7, 2017), day.month.year with dots, and
    day/month/year or month/day/year where only one reading is possible. A time zone is read and dropped: the day is
    the one that stands in the table.

    Returns:
        (date, timestamp); timestamp is None where no time of day is given.

    Raises:
        ValueError: no date, an impossible one, or one that can be read in two ways.
    """
    text = text.strip()
    for pattern, order in ((_YEAR_FIRST, "y-md"), (_DAY_NAMED, "dmy"), (_NAMED_DAY, "mdy"), (_COMPACT, "ymd")):
        match = pattern.fullmatch(text)
        if match:
            groups = list(match.groups())
            if order == "y-md":
                del groups[1]
                order = "ymd"
            named = dict(zip(order, groups[:3], strict=True))
            return _build(text, named["y"], named["m"], named["d"], groups[3:])
    match = _YEAR_LAST.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a date; write it as YYYY-MM-DD")
    first, separator, second, year, *time = match.groups()
    if separator == ".":
        return _build(text, year, second, first, time)
    if int(first) <= 12 and int(second) <= 12 and int(first) != int(second):
        raise ValueError(f"'{text}' can be read as day/month or as month/day; write it as YYYY-MM-DD")
    day, month = (first, second) if int(second) <= 12 else (second, first)
    return _build(text, year, month, day, time)


def _build(text: str, year: str, month: str, day: str, time: list[str | None]) -> tuple[dt.date, dt.datetime | None]:
    try:
        number = int(month) if month.isdigit() else 1 + _MONTHS.index(month.lower()[:3])
        date = dt.date(int(year), number, int(day))
        if not time or time[0] is None:
            return date, None
        hour, minute, second = (int(part or 0) for part in time)
        return date, dt.datetime(date.year, date.month, date.day, hour, minute, second)
    except ValueError:
        raise ValueError(f"'{text}' is no day of the calendar or no time of day; write it as YYYY-MM-DD") from None


def parse_size(value: object) -> int | None:
    """Read a width or height in pixels (None where not known).

    Raises:
        ValueError: not a whole number above 0.
    """
    text = text_or_none(value)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number of pixels") from None
    if not math.isfinite(number) or number != int(number) or number <= 0:
        raise ValueError(f"'{text}' is not a whole number of pixels above 0")
    return int(number)


def parse_box(values: list[object] | tuple[object, ...], size: tuple[int, int] | None) -> tuple[int, int, int, int]:
    """Turn x, y, width, height (pixels, fractions allowed) into the smallest whole-pixel box that covers it.

    Args:
        values: the four numbers, or their spellings.
        size: (width, height) of the photograph, to which the box is clipped; None if not known (then it is only
            clipped at the left and upper edge).

    Raises:
        ValueError: not four numbers, or nothing of the box lies on the photograph.
    """
    try:
        x, y, width, height = (float(str(v)) for v in values)
    except (TypeError, ValueError):
        raise ValueError(f"{list(values)} is not a box; give x, y, width, height in pixels") from None
    if not all(math.isfinite(v) for v in (x, y, width, height)) or width <= 0 or height <= 0:
        raise ValueError(f"box {list(values)} has no area; give x, y, width, height in pixels")
    left, top = max(0, math.floor(x)), max(0, math.floor(y))
    right, bottom = math.ceil(x + width), math.ceil(y + height)
    if size is not None:
        right, bottom = min(right, size[0]), min(bottom, size[1])
    if right <= left or bottom <= top:
        raise ValueError(f"box {list(values)} lies outside the photograph")
    return left, top, right - left, bottom - top


def inside(root: Path, path: str, allow_outside: bool = False) -> Path:
    """Return the absolute path of a photograph named in a table that lies in ``root``.

    The test goes by the path as it is written (``..`` resolved, backslashes read as separators); links that the owner
    of the catalogue placed inside it are followed as usual.

    Raises:
        ValueError: the path leads out of ``root`` and ``allow_outside`` is False.
    """
    text = path.strip().replace("\\", "/")
    if "\0" in text:
        raise ValueError("the path holds a zero byte")
    base = os.path.abspath(root)  # noqa: PTH100 - Path.resolve() would follow links; only the text counts here
    full = os.path.normpath(os.path.join(base, text))  # noqa: PTH118
    drive = re.match(r"[A-Za-z]:/", text) is not None and os.name != "nt"
    if not allow_outside and (drive or not (full == base or full.startswith(base.rstrip("/\\") + os.sep))):
        raise ValueError(f"'{path}' leads out of the catalogue's folder {base}")
    return Path(full)
