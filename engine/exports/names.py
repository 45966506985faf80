"""Names of individuals and photographs as other systems take them: of folders, of files, of animals in R."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

#: What no file may be called on Windows, whatever its ending.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
#: Bytes of a name; file systems allow 255, and an ending and a number may follow.
_LONGEST = 180


def folder_name(name: str) -> str:
    """Return what a folder may be called on every system: no separators, no dots at the ends, nothing reserved.

    >>> [folder_name(name) for name in ("Sedna", "a/b", "..", "Con", "x: 1?")]
    ['Sedna', 'a_b', '_', 'Con_', 'x_ 1_']
    """
    text = unicodedata.normalize("NFC", name)
    text = "".join("_" if letter in '<>:"/\\|?*' or not letter.isprintable() else letter for letter in text)
    text = text.strip(" .") or "_"
    while len(text.encode("utf-8", "replace")) > _LONGEST:
        text = text[:-1].rstrip(" .")
    return f"{text}_" if text.split(".")[0].lower() in _RESERVED else text


def plain_name(name: str) -> str:
    """Return a name of English letters, digits and single dots alone, as Wildbook's uploads and R's tables keep it.

    >>> [plain_name(name) for name in ("IMG_0001 (2)", "Zoë", "鯨", "a'b")]
    ['IMG.0001.2', 'Zoe', 'x', 'a.b']
    """
    ascii_text = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", ".", ascii_text)[:_LONGEST].strip(".") or "x"


def unique_names(names: Iterable[str], clean: Callable[[str], str], separator: str = "-") -> dict[str, str]:
    """Return name -> its cleaned form, all different even where case does not count; repetitions get -2, -3 …

    A name that is clean already keeps its form, wherever it stands among the others.
    """
    every = list(dict.fromkeys(names))
    taken: set[str] = set()
    result: dict[str, str] = {}
    for name in sorted(every, key=lambda name: clean(name) != name):
        base = text = clean(name)
        number = 1
        while text.casefold() in taken:
            number += 1
            text = f"{base}{separator}{number}"
        taken.add(text.casefold())
        result[name] = text
    return {name: result[name] for name in every}


def file_names(
    photos: Iterable[tuple[str, str]], clean: Callable[[str], str] = folder_name, separator: str = "-"
) -> dict[tuple[str, str], str]:
    """Return (folder, path of a photograph) -> its name there, all different even where case does not count."""
    taken: set[tuple[str, str]] = set()
    result: dict[tuple[str, str], str] = {}
    for folder, path in photos:
        if (folder, path) in result:
            continue
        stem, ending = clean(Path(path).stem), Path(path).suffix
        name, number = f"{stem}{ending}", 1
        while (folder, name.casefold()) in taken:
            number += 1
            name = f"{stem}{separator}{number}{ending}"
        taken.add((folder, name.casefold()))
        result[folder, path] = name
    return result


def renamed(names: dict[str, str], what: str) -> list[str]:
    """Return the notes that tell which names had to be changed."""
    changed = [f"'{name}' is '{text}'" for name, text in names.items() if name != text]
    if not changed:
        return []
    more = f" and {len(changed) - 10:,} more" if len(changed) > 10 else ""
    return [f"{len(changed):,} {what} had to be renamed: {', '.join(changed[:10])}{more}"]
