"""Columns of a text table read at once: what they say, and which cells need a second look.

A table of a hundred thousand rows has few viewpoints and individuals, days that are all written alike, and paths that
are plain names of files. What is plain by these rules is read here, a column at a time, and means what the functions
for single values say (:mod:`engine.catalogue.fields`, ``dates``, ``paths``); all else is left to them, row by row.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engine.catalogue.fields import UNKNOWN, likeness
from features.records import BoolArray

T = TypeVar("T")

_SECOND = "datetime64[s]"
#: Lengths of a day and of a moment as ISO 8601 writes them, to the second and without a zone.
_DAY, _MOMENT = 10, 19
#: Places of their digits, and of the signs between them.
_DIGITS = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)
_SIGNS = {4: "-", 7: "-", 13: ":", 16: ":"}


def stripped(cells: Sequence[str]) -> tuple[list[str], BoolArray]:
    """Return cells without the space around them, and the mask of those that are printable and not empty."""
    texts = list(map(str.strip, cells))
    plain = np.ones(len(texts), bool) if all(texts) else np.fromiter(map(bool, texts), bool, len(texts))
    if not "".join(texts).isprintable():
        plain &= np.fromiter(map(str.isprintable, texts), bool, len(texts))
    return texts, plain


def once(texts: Sequence[str]) -> BoolArray:
    """Return the mask of the texts that occur only once."""
    if len(set(texts)) == len(texts):
        return np.ones(len(texts), bool)
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    return np.array([counts[text] == 1 for text in texts], bool)


def by_spelling(cells: Sequence[str], read: Callable[[str], tuple[T, bool]]) -> tuple[list[T], BoolArray]:
    """Read every spelling of a column once.

    Args:
        cells: of the column.
        read: returns what a spelling means, and whether nothing has to be said of it.

    Returns:
        What every cell means, and the mask of the cells of which nothing has to be said.
    """
    meaning: dict[str, T] = {}
    doubtful = set()
    for text in set(cells):
        meaning[text], plain = read(text)
        if not plain:
            doubtful.add(text)
    values = list(map(meaning.__getitem__, cells))
    return values, ~np.array([text in doubtful for text in cells], bool) if doubtful else np.ones(len(cells), bool)


def plain_name(text: str) -> bool:
    """Say whether a name means itself, but for space around it and "not known".

    It holds no letter that Unicode writes in several ways, no run of spaces, and is no number with a fraction or an
    exponent.
    """
    return text.isascii() and text.isprintable() and not ("." in text or "+" in text or "  " in text)


def named(text: str) -> str | None:
    """Return what a :func:`plain_name` means."""
    name = text.strip()
    return None if name.lower() in UNKNOWN else name


def plain_names(cells: Sequence[str]) -> list[str | None] | None:
    """Return what cells mean that are all a :func:`plain_name`; None where one is not."""
    if not plain_name("".join(cells)):
        return None
    texts = list(map(str.strip, cells))
    words = set(texts)
    if UNKNOWN.isdisjoint(map(str.lower, words)):
        return list(texts)
    unknown = {text for text in words if text.lower() in UNKNOWN}
    return [None if text in unknown else text for text in texts]


@dataclass(frozen=True, eq=False)
class Times:
    """A column of days or moments.

    Attributes:
        given: (N,) bool, the cells that are not empty.
        plain: (N,) bool, the cells that hold a day or a moment of the calendar, written as ISO 8601 does.
        day: (N,) datetime64[D], NaT where the cell is not plain.
        moment: (N,) datetime64[s], NaT where no time of day is given.
    """

    given: BoolArray
    plain: BoolArray
    day: npt.NDArray[np.datetime64]
    moment: npt.NDArray[np.datetime64]


def read_times(cells: Sequence[str]) -> Times:
    """Read days (2017-08-07) and moments (2017-08-07 20:38:36, or with T)."""
    lengths = np.fromiter(map(len, cells), np.int64, len(cells))
    signs = np.array(cells, f"<U{_MOMENT}").reshape(-1, 1).view("<u4").reshape(len(cells), _MOMENT)
    timed = lengths == _MOMENT
    plain = timed | (lengths == _DAY)
    for place, sign in _SIGNS.items():
        plain &= (signs[:, place] == ord(sign)) | (~timed if place >= _DAY else False)
    plain &= ~timed | (signs[:, _DAY] == ord(" ")) | (signs[:, _DAY] == ord("T"))
    digits = np.stack([signs[:, place] - np.uint32(ord("0")) for place in _DIGITS])
    plain &= (digits[:8] <= 9).all(0) & (~timed | (digits[8:] <= 9).all(0))
    whole = np.where(plain, digits, 0).astype(np.int64)
    year = whole[0] * 1000 + whole[1] * 100 + whole[2] * 10 + whole[3]
    month, day, hour, minute, second = (10 * whole[place] + whole[place + 1] for place in (4, 6, 8, 10, 12))
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1)
    plain &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (days.astype("datetime64[M]") == months)
    timed &= plain
    plain &= ~timed | ((hour < 24) & (minute < 60) & (second < 60))
    seconds = days.astype(_SECOND) + (hour * 3600 + minute * 60 + second)
    nothing = np.datetime64("NaT")
    return Times(lengths > 0, plain, np.where(plain, days, nothing), np.where(plain & timed, seconds, nothing))


def plain_paths(texts: Sequence[str]) -> BoolArray:
    """Return the mask of the printable paths that are put behind a folder as they stand.

    They are relative, without ``.``, ``..``, empty parts, backslashes or a Windows drive, and a file may be called so.
    """
    if os.name == "nt":
        return np.zeros(len(texts), bool)
    joined = "\n".join(texts)
    # Quick way out: hardly any path has these.
    if not any(sign in joined for sign in ("\\", "//", "/.", ":/")) and _encodable(joined):
        return np.array([text[:1] not in ("", "/", ".") and text[-1:] != "/" for text in texts], bool)
    return np.array([_is_plain(text) for text in texts], bool)


def _is_plain(text: str) -> bool:
    parts = text.split("/")
    return (
        "\\" not in text and ":/" not in text and "" not in parts and "." not in parts and ".." not in parts
    ) and _encodable(text)


def _encodable(text: str) -> bool:
    return text.isascii() or sys.getfilesystemencoding() == "utf-8"


def files_there(folder: str, paths: Sequence[str]) -> BoolArray:
    """Return the mask of the plain paths at which something certainly lies, from a folder on.

    Every folder is listed once. A link may lead nowhere, so that it does not count: whoever asks looks for itself.
    """
    names: set[str] = set()
    for parent in {path.rpartition("/")[0] for path in paths}:
        start = f"{parent}/" if parent else ""
        try:
            with os.scandir(os.path.join(folder, parent)) as entries:  # noqa: PTH118 - a Path would take longer
                names.update(start + entry.name for entry in entries if not entry.is_symlink())
        except (OSError, ValueError):
            continue
    if names.issuperset(paths):
        return np.ones(len(paths), bool)
    return np.fromiter(map(names.__contains__, paths), bool, len(paths))


def almost_the_same(names: Sequence[str]) -> list[list[str]]:
    """Return the groups of different names that have the same :func:`likeness`, in the order given."""
    coarse = _coarse(names)
    if len(set(coarse)) == len(names):
        return []
    groups: dict[str, list[str]] = {}
    counts = Counter(coarse)
    for name, key in zip(names, coarse, strict=True):
        if counts[key] > 1:
            groups.setdefault(likeness(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _coarse(names: Sequence[str]) -> list[str]:
    """Return for each name a text that all names of its :func:`likeness` share, and few others."""
    texts = [name if name.isascii() else likeness(name) for name in names]
    joined = "\n".join(texts)
    if joined.count("\n") != len(texts) - 1 or not joined.isascii():
        return [likeness(name) for name in names]
    signs = np.frombuffer(joined.lower().encode("ascii"), np.uint8)
    digit = (signs >= ord("0")) & (signs <= ord("9"))
    zero = signs == ord("0")
    # The last sign up to here that is no zero: where it is no digit, zeros behind it lead a number.
    last = np.maximum.accumulate(np.where(zero, -1, np.arange(len(signs))))
    leading = zero & ((last < 0) | ~digit[last]) & np.append(digit[1:], False)
    gone = leading | np.isin(signs, np.frombuffer(b" \t\r\v\f\x1c\x1d\x1e\x1f_-", np.uint8))
    return signs[~gone].tobytes().decode("ascii").split("\n")
