"""Capture histories: which individual was photographed on which occasion, for mark-recapture.

An individual is captured on an occasion if a photograph that bears its name, of a side that counts, was taken within
it. An occasion in which no photograph of those sides was taken at all, of whatever animal, is no effort and is left
out unless it is asked for: a zero in it would say "was looked for and not seen".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.dates import parse_when
from engine.catalogue.fields import normalise_viewpoint
from engine.exports.records import ExportError, ExportSettings, photographs


@dataclass(frozen=True)
class Occasion:
    """One capture occasion: its name, its first and its last day."""

    name: str
    first: dt.date
    last: dt.date


@dataclass(frozen=True, eq=False)
class CaptureHistories:
    """Who was captured when.

    Attributes:
        occasions: in order of time.
        individuals: names, sorted; those that were captured at all.
        counts: (I, O) int64, photographs of an individual on an occasion.
        efforts: (O,) int64, photographs of the sides that count on an occasion, unnamed ones too.
        first_seen, last_seen: (I,) datetime64[D]: the first day that the first capture can have been on, and the last
            day that the last one can have been on (the same as the day itself where that is known).
        notes: what does not count, and why.
    """

    occasions: tuple[Occasion, ...]
    individuals: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    efforts: npt.NDArray[np.int64]
    first_seen: npt.NDArray[np.datetime64]
    last_seen: npt.NDArray[np.datetime64]
    notes: tuple[str, ...]

    def history(self, individual: int) -> str:
        """Return an individual's history, ``1`` for each occasion on which it was captured and ``0`` for others."""
        return "".join("1" if count else "0" for count in self.counts[individual])

    def intervals(self) -> list[float]:
        """Return the years between the first days of successive occasions, as models of survival take them."""
        starts = [occasion.first for occasion in self.occasions]
        return [round((later - earlier).days / 365.25, 4) for earlier, later in pairwise(starts)]


def capture_histories(catalog: Catalog, settings: ExportSettings | None = None) -> CaptureHistories:
    """Return the capture histories of a catalogue's named individuals.

    Args:
        catalog: with today's names.
        settings: ``occasions``, ``breaks``, ``sides``, ``empty_occasions`` are read.

    Raises:
        ExportError: no photograph has a date or a name, no side is known, or breaks are missing or do not rise.
    """
    settings = settings or ExportSettings()
    table, notes = _dated(catalog, settings)
    occasion_of = _breaks(settings.breaks) if settings.occasions == "breaks" else _period(settings.occasions)
    spans = [
        (occasion_of(first.date()), occasion_of(last.date()))
        for first, last in zip(table["earliest"], table["latest"], strict=True)
    ]
    vague = np.array([first != last for first, last in spans], bool)
    outside = np.array([first is None and last is None for first, last in spans], bool)
    if vague.any():
        notes.append(f"{photographs(int(vague.sum()))} left out: the date is too vague to tell the occasion")
    if outside.any():
        notes.append(f"{photographs(int(outside.sum()))} left out: before the first break or after the last")
    kept = ~vague & ~outside
    table, within = table[kept], [first for (first, _), keep in zip(spans, kept, strict=True) if keep]
    occasions = _occasions([one for one in within if one is not None], settings, occasion_of)
    return _count(table, [occasions.index(one) for one in within if one is not None], occasions, catalog, notes)


def _dated(catalog: Catalog, settings: ExportSettings) -> tuple[pd.DataFrame, list[str]]:
    """Return the photographs of the sides that count of which something of the date is known, and notes."""
    table, notes = catalog.table, []
    if settings.sides:
        sides = {normalise_viewpoint(side)[0] for side in settings.sides}
        seen = table["viewpoint"].isin(sides)
        if not seen.any():
            there = ", ".join(sorted(table["viewpoint"].dropna().unique())) or "none"
            raise ExportError(f"no photograph shows the side {', '.join(settings.sides)}; the catalogue has: {there}")
        notes.append(f"{photographs(int((~seen).sum()))} left out: of another side, or of an unknown one")
        table = table[seen]
    dated = table["earliest"].notna()
    if not dated.any():
        raise ExportError(
            f"{catalog.root}: no photograph has a date, and without dates there are no occasions; add a column 'date'"
        )
    if not dated.all():
        notes.append(f"{photographs(int((~dated).sum()))} left out: without a date")
    if not table.loc[dated, "individual_id"].notna().any():
        raise ExportError(
            f"{catalog.root}: no dated photograph has a name; name some first, or add their decisions (--decisions)"
        )
    return table[dated], notes


def _count(
    table: pd.DataFrame, numbers: Sequence[int], occasions: Sequence[Occasion], catalog: Catalog, notes: list[str]
) -> CaptureHistories:
    every = set(catalog.table["individual_id"].dropna())
    individuals = sorted(table["individual_id"].dropna().unique())
    place = {name: row for row, name in enumerate(individuals)}
    counts = np.zeros((len(individuals), len(occasions)), np.int64)
    efforts = np.bincount(np.asarray(numbers, np.int64), minlength=len(occasions)).astype(np.int64)
    first = np.full(len(individuals), np.datetime64("NaT"), "datetime64[D]")
    last = first.copy()
    rows = zip(table["individual_id"], table["earliest"], table["latest"], numbers, strict=True)
    for name, earliest, latest, number in rows:
        if name is not None:
            row = place[name]
            counts[row, number] += 1
            first[row] = np.fmin(first[row], np.datetime64(earliest, "D"))
            last[row] = np.fmax(last[row], np.datetime64(latest, "D"))
    unnamed = int(table["individual_id"].isna().sum())
    if unnamed:
        notes.append(f"{photographs(unnamed)} without a name: effort, but no capture")
    if len(every) > len(individuals):
        notes.append(f"{len(every) - len(individuals):,} of {len(every):,} individuals were captured on no occasion")
    if len(occasions) == 1:
        notes.append("there is one occasion alone: choose shorter ones for a history")
    return CaptureHistories(tuple(occasions), tuple(individuals), counts, efforts, first, last, tuple(notes))


def _occasions(
    found: Sequence[Occasion], settings: ExportSettings, occasion_of: Callable[[dt.date], Occasion | None]
) -> list[Occasion]:
    """Return the occasions, in order: those with photographs, or with the empty ones between (and of all breaks)."""
    occasions = sorted(set(found), key=lambda one: one.first)
    if not occasions:
        raise ExportError("no photograph can be given to an occasion; choose other occasions or breaks")
    if not settings.empty_occasions:
        return occasions
    if settings.occasions == "breaks":
        days = _break_days(settings.breaks)
        every = [occasion_of(day) for day in days[:-1]]
    else:
        every, day = [], occasions[0].first
        while day <= occasions[-1].last:
            every.append(occasion_of(day))
            day = every[-1].last + dt.timedelta(days=1) if every[-1] is not None else day
    return [one for one in every if one is not None]


def _period(unit: str) -> Callable[[dt.date], Occasion | None]:
    """Return the function from a day to its day, ISO week, month or year."""

    def occasion(day: dt.date) -> Occasion:
        if unit == "day":
            return Occasion(day.isoformat(), day, day)
        if unit == "week":
            monday = day - dt.timedelta(days=day.weekday())
            year, week, _ = day.isocalendar()
            return Occasion(f"{year}-W{week:02d}", monday, monday + dt.timedelta(days=6))
        if unit == "month":
            first = day.replace(day=1)
            following = (first + dt.timedelta(days=31)).replace(day=1)
            return Occasion(f"{day:%Y-%m}", first, following - dt.timedelta(days=1))
        return Occasion(f"{day:%Y}", dt.date(day.year, 1, 1), dt.date(day.year, 12, 31))

    return occasion


def _breaks(breaks: Sequence[str]) -> Callable[[dt.date], Occasion | None]:
    """Return the function from a day to the occasion between two breaks; None outside of them."""
    days = _break_days(breaks)
    occasions = [
        Occasion(f"{first} to {following - dt.timedelta(days=1)}", first, following - dt.timedelta(days=1))
        for first, following in pairwise(days)
    ]

    def occasion(day: dt.date) -> Occasion | None:
        return next((one for one in occasions if one.first <= day <= one.last), None)

    return occasion


def _break_days(breaks: Sequence[str]) -> list[dt.date]:
    try:
        days = [parse_when(text).earliest for text in breaks]
    except ValueError as error:
        raise ExportError(f"breaks: {error}") from None
    if len(days) < 2:
        raise ExportError("own occasions need two breaks or more: the first day of each, and the day after the last")
    if any(later <= earlier for earlier, later in pairwise(days)):
        raise ExportError(f"the breaks {', '.join(breaks)} do not rise; give them in order of time, each once")
    return days
