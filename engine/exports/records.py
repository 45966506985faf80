"""What every export takes and gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from scarmatch.errors import ScarmatchError
from scarmatch.settings import Settings, SettingsError

if TYPE_CHECKING:
    from engine.catalogue.catalog import Catalog


class ExportError(ScarmatchError, ValueError):
    """A catalogue cannot be written in a form, or names cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class ExportSettings(Settings):
    """Options of :func:`engine.exports.formats.export_catalog`; each format reads those that its text names.

    Attributes:
        photos: how photographs get into folders: "link" (symbolic links, no disk space) or "copy".
        species: two-part scientific name of animals whose species the catalogue does not give as one (Wildbook).
        location: Wildbook's location id of all encounters; it must be one that the Wildbook knows.
        submitter: Wildbook's user name of who imports.
        sheet: "xlsx" (needs the extra ``scarmatch[excel]``) or "csv".
        occasions: what a capture occasion is: "day", "week" (ISO, from Monday), "month", "year", or "breaks".
        breaks: first days of own occasions, rising; each lasts until the next, and the last one is only an end.
        sides: viewpoints whose photographs count as captures, () for all.
        empty_occasions: keep occasions in which no photograph at all was taken (of whatever animal, of those sides).
        relative_to: the folder that a table's or COCO file's paths start from; "" for the one that the file lies in.

    Raises:
        SettingsError: a value is none of these.
    """

    photos: Literal["link", "copy"] = "link"
    species: str = ""
    location: str = ""
    submitter: str = ""
    sheet: Literal["xlsx", "csv"] = "xlsx"
    occasions: Literal["day", "week", "month", "year", "breaks"] = "year"
    breaks: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    empty_occasions: bool = False
    relative_to: str = ""

    def __post_init__(self) -> None:
        choices = {
            "photos": ("link", "copy"),
            "sheet": ("xlsx", "csv"),
            "occasions": ("day", "week", "month", "year", "breaks"),
        }
        for name, values in choices.items():
            if getattr(self, name) not in values:
                raise SettingsError(f"{name} must be one of {', '.join(values)}, not {getattr(self, name)!r}")
        for name in ("breaks", "sides"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))


@dataclass(frozen=True)
class Written:
    """What an export wrote.

    Attributes:
        files: files and folders, the one to open first.
        notes: what was left out, renamed or guessed, with the way out; one line each.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


Writer: TypeAlias = "Callable[[Catalog, Path, ExportSettings], Written]"
"""Writes a catalogue to a path; an error leaves nothing half-written behind under the path's own name."""


def few(names: Iterable[object], most: int = 5) -> str:
    """Return the first of some names, and how many more there are.

    >>> few(["a", "b", "c"], 2)
    "'a', 'b' and 1 more"
    """
    every = [f"'{name}'" for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def photographs(count: int) -> str:
    """Return a number of photographs in words.

    >>> photographs(1), photographs(1200)
    ('1 photograph', '1,200 photographs')
    """
    return f"{count:,} photograph{'' if count == 1 else 's'}"
