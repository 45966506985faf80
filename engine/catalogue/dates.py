"""What a date means: days, months, years, times of day and zones as people and cameras write them."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from engine.catalogue.fields import text_or_none

DATE_FIELDS = ("date", "timestamp", "time", "year", "month", "day")
"""Fields that together say when a photograph was taken; see :func:`when_of`."""

_ZONE = r"(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)"
_CLOCK = rf"(\d{{1,2}}):(\d{{2}})(?::(\d{{2}})(?:[.,]\d+)?)?\s*(AM|PM)?\s*{_ZONE}?"
_TIME = rf"(?:(?:[T ]|,\s)\s*{_CLOCK})?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/:.])(\d{{1,2}})\2(\d{{1,2}}){_TIME}", re.IGNORECASE)
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[T _-]?(\d{2})(\d{2})(\d{2})()()(Z)?)?")
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_TIME}", re.IGNORECASE)
_DAY_NAMED = re.compile(rf"(\d{{1,2}})[-. ]+([A-Za-z]{{3,9}})[-., ]+(\d{{4}}){_TIME}", re.IGNORECASE)
_NAMED_DAY = re.compile(rf"([A-Za-z]{{3,9}})[-. ]+(\d{{1,2}})(?:st|nd|rd|th)?,?[- ]+(\d{{4}}){_TIME}", re.IGNORECASE)
_CLOCK_ONLY = re.compile(_CLOCK, re.IGNORECASE)
_YEAR = re.compile(r"(\d{4})(?:\.0+)?")
_MONTH = re.compile(r"(\d{4})[-/](\d{1,2})")
_MONTH_FIRST = re.compile(r"(\d{1,2})[-/.](\d{4})")
_NAMED_MONTH = re.compile(r"([A-Za-z]{3,9})[-., ]+(\d{4})")
_MONTHS = tuple(name.lower() for name in calendar.month_name[1:])
_ADVICE = "write it as YYYY-MM-DD"


@dataclass(frozen=True)
class When:
    """When a photograph was taken, as far as that is known.

    Attributes:
        earliest, latest: first and last day that it can have been; equal where the day is known.
        timestamp: date and time of day as written, None where no time is given.
        utc_offset: minutes by which that time is ahead of UTC, None where no zone is given.
    """

    earliest: dt.date
    latest: dt.date
    timestamp: dt.datetime | None = None
    utc_offset: int | None = None

    @property
    def date(self) -> dt.date | None:
        """The day, None where only a month or a year is known."""
        return self.earliest if self.earliest == self.latest else None


def parse_date(text: str) -> tuple[dt.date, dt.datetime | None]:
    """Read a day, with the time of day if there is one (see :func:`parse_when`; a zone is left out).

    Returns:
        (date, timestamp); timestamp is None where no time of day is given.

    Raises:
        ValueError: no date, an impossible one, one that can be read in two ways, or a year or month without a day.
    """
    when = parse_when(text)
    if when.date is None:
        raise ValueError(f"'{text}' is not a date but a longer time; {_ADVICE}")
    return when.date, when.timestamp


@lru_cache(maxsize=65536)
def parse_when(text: str) -> When:
    """Read a date, a month or a year.

    Understood: ISO 8601 (2017-08-07, 2017-08-07T20:38:36+02:00), year first with other separators (2017/08/07, EXIF's
    2017:08:07 20:38:36), 20170807, 20170807_203836, month by name (7 Aug 2017, August 7, 2017), day.month.year with
    dots, day/month/year or month/day/year where only one reading is possible; 2017-08 and Aug 2017; 2017. A time of day
    may carry AM or PM and a zone; the day is the one that is written.

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
            return _day(text, named["y"], named["m"], named["d"], groups[3:])
    match = _YEAR_LAST.fullmatch(text)
    if match is None:
        return _longer_time(text)
    first, separator, second, year, *time = match.groups()
    if separator == ".":
        return _day(text, year, second, first, time)
    if int(first) <= 12 and int(second) <= 12 and int(first) != int(second):
        raise ValueError(f"'{text}' can be read as day/month or as month/day; {_ADVICE}")
    day, month = (first, second) if int(second) <= 12 else (second, first)
    return _day(text, year, month, day, time)


def when_of(values: Mapping[str, object]) -> tuple[When | None, list[tuple[str, str]], list[tuple[str, str]]]:
    """Say when a photograph was taken from all fields that tell of it.

    Args:
        values: of the fields :data:`DATE_FIELDS`, those that are given: ``date`` and ``timestamp`` hold a date, with or
            without time; ``time`` a time of day (or a date and time); ``year``, ``month`` and ``day`` numbers (a month
            may be a word).

    Returns:
        (when, errors, warnings): each a list of (field, message). None where nothing is known or nothing can be read.
    """
    errors: list[tuple[str, str]] = []
    warnings: list[tuple[str, str]] = []
    moments: dict[str, When] = {}
    clock: tuple[dt.time, int | None] | None = None
    for name in ("date", "timestamp", "time"):
        try:
            text = text_or_none(values.get(name))
            if text is None:
                continue
            match = _CLOCK_ONLY.fullmatch(text) if name != "date" else None
            if match is not None:
                clock = _clock(text, list(match.groups()))
            else:
                moments[name] = parse_when(text)
        except ValueError as error:
            errors.append((name, str(error)))
    try:
        parts = _from_parts(values)
        if parts is not None:
            moments["year"] = parts
    except ValueError as error:
        errors.append(("year", str(error)))
    if not moments:
        if clock is not None and not errors:
            warnings.append(("time", "a time of day without a date tells nothing, and is left out"))
        return None, errors, warnings
    names = list(moments)
    best = min(names, key=lambda name: (moments[name].date is None, names.index(name)))
    for name in names:
        other = moments[name]
        if other.latest < moments[best].earliest or moments[best].latest < other.earliest:
            message = f"the date {_words(moments[best])} is not the day of the {name} {_words(other)}"
            warnings.append((best, message))
    when = moments[best]
    timed = next(
        (moments[name] for name in ("timestamp", "date", "time") if name in moments and moments[name].timestamp), None
    )
    if timed is not None:
        return When(when.earliest, when.latest, timed.timestamp, timed.utc_offset), errors, warnings
    if clock is not None and when.date is not None:
        return When(when.date, when.date, dt.datetime.combine(when.date, clock[0]), clock[1]), errors, warnings
    return when, errors, warnings


def _words(when: When) -> str:
    return str(when.earliest) if when.date else f"{when.earliest} to {when.latest}"


def _from_parts(values: Mapping[str, object]) -> When | None:
    """Read year, month and day of columns of their own; None where no year is given."""
    year, month, day = (text_or_none(values.get(name)) for name in ("year", "month", "day"))
    if year is None and month is None and day is None:
        return None
    text = "-".join(part for part in (year, month, day) if part is not None)
    if year is None or (day is not None and month is None):
        raise ValueError(f"'{text}' lacks its {'year' if year is None else 'month'}; {_ADVICE}")
    whole = [re.sub(r"\.0+$", "", part) for part in (year, month, day) if part is not None]
    if not re.fullmatch(r"\d{4}", whole[0]) or not all(re.fullmatch(r"\d{1,2}|[A-Za-z]{3,9}", p) for p in whole[1:]):
        raise ValueError(f"'{text}' is not a year, month and day; {_ADVICE}")
    if len(whole) == 3:
        return _day(text, whole[0], whole[1], whole[2], [])
    return _period(text, *whole)


def _day(text: str, year: str, month: str, day: str, time: list[str | None]) -> When:
    try:
        date = dt.date(int(year), _month_number(month), int(day))
        if not time or time[0] is None:
            return When(date, date)
        clock, offset = _clock(text, time)
        return When(date, date, dt.datetime.combine(date, clock), offset)
    except (ValueError, OverflowError):
        raise ValueError(f"'{text}' is no day of the calendar or no time of day; {_ADVICE}") from None


def _period(text: str, year: str, month: str | None = None) -> When:
    """Return the first and last day of a month or a year."""
    try:
        first, last = (1, 12) if month is None else (_month_number(month),) * 2
        end = calendar.monthrange(int(year), last)[1]
        return When(dt.date(int(year), first, 1), dt.date(int(year), last, end))
    except (ValueError, OverflowError, calendar.IllegalMonthError):
        raise ValueError(f"'{text}' is no month of the calendar; {_ADVICE}") from None


def _month_number(month: str) -> int:
    if month.isdigit():
        return int(month)
    word = month.lower()
    # three letters or more of the name, or "sept"; nothing that merely begins like a month ("marble")
    number = next((n for n, name in enumerate(_MONTHS, start=1) if name.startswith(word) and len(word) >= 3), None)
    if number is None:
        raise ValueError(f"'{month}' is no month")
    return number


def _clock(text: str, groups: list[str | None]) -> tuple[dt.time, int | None]:
    hour, minute, second = (int(part or 0) for part in groups[:3])
    half, zone = groups[3], groups[4]
    if half and not 1 <= hour <= 12:
        raise ValueError(f"'{text}' is no time of day")
    if half:
        hour = hour % 12 + (12 if half.upper() == "PM" else 0)
    try:
        clock = dt.time(hour, minute, second)
    except ValueError:
        raise ValueError(f"'{text}' is no time of day") from None
    return clock, _offset(zone)


def _offset(zone: str | None) -> int | None:
    if not zone:
        return None
    if zone[0] not in "+-":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[-2:] if len(zone) > 3 else 0)
    if minutes > 14 * 60:
        raise ValueError(f"'{zone}' is no time zone")
    return -minutes if zone[0] == "-" else minutes


def _longer_time(text: str) -> When:
    """Read a year or a month, or say what a number is that looks like none."""
    for pattern, order in ((_YEAR, (0,)), (_MONTH, (0, 1)), (_MONTH_FIRST, (1, 0)), (_NAMED_MONTH, (1, 0))):
        match = pattern.fullmatch(text)
        if match:
            return _period(text, *(match.groups()[position] for position in order))
    if re.fullmatch(r"\d{5}(?:\.\d+)?", text):
        day = dt.date(1899, 12, 30) + dt.timedelta(days=int(text[:5]))
        raise ValueError(f"'{text}' is Excel's number of a day, probably {day}; format the column as text: {_ADVICE}")
    if re.fullmatch(r"1\d{9}(?:\d{3})?(?:\.\d+)?", text):
        moment = dt.datetime.fromtimestamp(int(text[:10]), tz=dt.UTC)
        raise ValueError(f"'{text}' counts seconds since 1970, probably to {moment:%Y-%m-%d %H:%M:%S} UTC; {_ADVICE}")
    raise ValueError(f"'{text}' is not a date; {_ADVICE}")
