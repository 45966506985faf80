"""Single values as people write them in tables: names, viewpoints, sizes. Dates, boxes and paths have their own files.

Every function takes any value that a CSV cell or a JSON document can hold and returns a typed one, None for "not
known", or raises ``ValueError`` with a message that names the value; nothing else.
"""

from __future__ import annotations

import math
import re
import unicodedata

UNKNOWN = frozenset(
    (
        "",
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "<na>",
        "nan",
        "nat",
        "none",
        "null",
        "unknown",
        "unidentified",
        "not_specified",
        "not specified",
        "?",
        "-",
        "____",
    )
)
"""Spellings of "not known" (lower case); ``____`` is what Wildbook writes for an animal without a name."""

MAX_SIDE = 1_000_000
"""Pixels; no photograph is wider or taller."""

_VIEWPOINTS = {
    "top": "top up aerial dorsal above overhead drone",
    "left": "left l left_side lateral_left port",
    "right": "right r right_side lateral_right starboard",
}
_VIEWPOINT_OF = {word: view for view, words in _VIEWPOINTS.items() for word in words.split()}
KNOWN_VIEWPOINTS = tuple(_VIEWPOINTS)
"""The viewpoints that the rest of the project understands."""

_INVISIBLE = re.compile("[\u200b\u2060\ufeff]")  # zero-width spaces and a stray byte order mark
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_EXACT_FLOAT = 2**53
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+\d{2,}", re.IGNORECASE)


def text_of(value: object) -> str:
    """Return a cell or JSON value as stripped text, "" for None and NaN.

    Raises:
        ValueError: a list, an object or true/false; a number too large to be exact; or text that holds half a character
            (a lone surrogate) or a control character.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | dict | list | tuple | set):
        raise ValueError(f"{_short(value)} is no text or number")
    if isinstance(value, float) and value == int(value if math.isfinite(value) else 0):
        if abs(value) >= _EXACT_FLOAT:
            raise ValueError(f"{value!r} is too large a number to be told from its neighbours; write it as text")
        value = int(value)
    text = str(value)
    if not text.isprintable():  # quick way out: neither controls nor surrogates are printable
        for character in text:
            kind = unicodedata.category(character)
            if kind == "Cs" or (kind == "Cc" and character not in "\t\n\r\v\f\x85\x1c\x1d\x1e\x1f"):
                what = "half a character" if kind == "Cs" else "a control character"
                raise ValueError(f"{text!a} holds {what} (U+{ord(character):04X})")
    return text.strip()


def text_or_none(value: object) -> str | None:
    """Return the value as stripped text, or None where it means "not known".

    Raises:
        ValueError: see :func:`text_of`.
    """
    text = text_of(value)
    return None if text.lower() in UNKNOWN else text


def name_or_none(value: object) -> str | None:
    """Return the name or number of an animal, an encounter or a species in its one spelling, None where not known.

    Spellings that certainly mean the same become one: ``12.0`` is ``12`` (what a spreadsheet makes of a column with
    gaps), the forms in which Unicode writes one letter, runs of spaces, no-break ones too, invisible characters.

    Raises:
        ValueError: see :func:`text_of`.
    """
    text = text_or_none(value)
    if text is None:
        return None
    whole = _WHOLE.fullmatch(text)
    if whole is not None:
        return whole[1]
    if text.isascii() and "  " not in text and text.isprintable():
        return text
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split()) or None


def likeness(name: str) -> str:
    """Return what two names have in common that differ only in case, leading zeros, or the sign between their parts."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"\d+", lambda digits: digits[0].lstrip("0") or "0", re.sub(r"[\s_-]+", " ", folded)).strip()


def is_shortened_number(text: str) -> bool:
    """Return whether a spreadsheet has cut a long number to this (``1.23457E+11``): several become one."""
    return _SHORTENED.fullmatch(text) is not None


def normalise_viewpoint(value: object) -> tuple[str | None, bool]:
    """Return (viewpoint, understood).

    "Top", "up", "aerial", "dorsal" … become "top", "L" and "R" become "left" and "right"; not known becomes None. A
    word that is not understood is kept in lower case, with ``understood`` False.

    Raises:
        ValueError: see :func:`text_of`.
    """
    text = name_or_none(value)
    if text is None:
        return None, True
    word = re.sub(r"[\s-]+", "_", text.lower())
    return _VIEWPOINT_OF.get(word, text.lower()), word in _VIEWPOINT_OF


def parse_size(value: object) -> int | None:
    """Read a width or height in pixels (None where not known).

    Raises:
        ValueError: not a whole number from 1 to :data:`MAX_SIDE`.
    """
    text = text_or_none(value)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number of pixels") from None
    if not math.isfinite(number) or number != int(number) or not 0 < number <= MAX_SIDE:
        raise ValueError(f"'{text}' is not a whole number of pixels from 1 to {MAX_SIDE:,}")
    return int(number)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
