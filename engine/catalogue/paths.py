"""What a path in a table means, which files of a folder are photographs, and when two paths are one file."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from engine.catalogue.problems import CatalogError, Problems
from features.photo_formats import is_photo, why_left_out

PHOTO_FOLDERS = ("images", "train_images", "photos", "photographs")
"""Folders beside a table in which its photographs may lie, in the order in which they are looked at."""


def written_path(text: str) -> str:
    """Return a path as a table writes it, with Windows' separators turned into plain ones."""
    return text.strip().replace("\\", "/")


def stem_of(text: str) -> str:
    """Return a path's last part without its ending, whichever system's separators it has."""
    # As PurePosixPath has it, which takes ten times as long.
    written = written_path(text)
    name = written.rpartition("/")[2]
    if name in ("", "."):
        name = next((part for part in reversed(written.split("/")) if part not in ("", ".")), "")
    dot = name.rfind(".")
    return name[:dot] if 0 < dot < len(name) - 1 else name


def inside(root: Path, path: str, allow_outside: bool = False) -> Path:
    """Return the absolute path of a photograph named in a table that lies in ``root``.

    The test goes by the path as it is written (``..`` resolved, backslashes read as separators); links that the owner
    of the catalogue placed inside it are followed as usual.

    Raises:
        ValueError: the path leads out of ``root`` and ``allow_outside`` is False, or no file can be called so.
    """
    text = written_path(path)
    if "\0" in text:
        raise ValueError("the path holds a zero byte")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise ValueError(f"{path!a} is not a path: it holds half a character") from None
    base = os.path.abspath(root)  # noqa: PTH100 - Path.resolve() would follow links; only the text counts here
    full = os.path.normpath(os.path.join(base, text))  # noqa: PTH118
    drive = re.match(r"[A-Za-z]:/", text) is not None and os.name != "nt"
    if not allow_outside and (drive or not (full == base or full.startswith(base.rstrip("/\\") + os.sep))):
        raise ValueError(f"'{path}' leads out of the catalogue's folder {base}")
    return Path(full)


def exists(path: Path) -> bool:
    """Return whether something is there; False for what no file can be called (too long, a zero byte)."""
    return os.path.exists(path)  # noqa: PTH110 - Path.exists() raises for names that are too long


def photo_folder(root: Path, names: Iterable[str], allowed: Sequence[str] = PHOTO_FOLDERS) -> Path:
    """Return the folder that a table's relative paths start from: the first in which any of its photographs lies.

    Args:
        root: the table's folder, which is looked at first and is the answer where no photograph is found at all.
        names: the paths as they are written.
        allowed: sub-folders that count.
    """
    places = [root, *(root / name for name in allowed if (root / name).is_dir())]
    if len(places) == 1:
        return root
    for name in names:
        text = written_path(name)
        if not text or "\0" in text:
            continue
        for place in places:
            if exists(place / text):
                return place
    return root


class NameFinder:
    """Finds files whose names differ from the ones in a table only in how Unicode writes them.

    Folders are listed once and remembered, so one finder serves one reading.
    """

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def other_spelling(self, path: Path, root: Path) -> tuple[Path, bool] | None:
        """Return (file, certain): the one existing file that ``path`` probably means, None if there is none or several.

        It is certain where only the Unicode form of the name differs, and a guess where its case does too.

        Args:
            path: an absolute path at which nothing lies.
            root: the part of it that is taken as it stands.
        """
        if not path.is_relative_to(root):
            return None
        place, certain = root, True
        for part in path.relative_to(root).parts:
            if exists(place / part):
                place = place / part
                continue
            wanted = _same_letters(part)
            alike = self._list(place).get(wanted.casefold(), [])
            same = [name for name in alike if _same_letters(name) == wanted]
            if len(same or alike) != 1:
                return None
            certain &= bool(same)
            place = place / (same or alike)[0]
        return place, certain

    def _list(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            names: dict[str, list[str]] = {}
            try:
                entries = [entry.name for entry in folder.iterdir()]
            except OSError:
                entries = []
            for name in entries:
                names.setdefault(_same_letters(name).casefold(), []).append(name)
            self._listed[folder] = names
        return self._listed[folder]


def photos_in(folder: Path, problems: Problems | None = None) -> list[Path]:
    """Return the photographs right in a folder, sorted; none if there is no such folder.

    Args:
        folder: the folder.
        problems: where it is noted how many files look like photographs and are left out, which, and why.
    """
    if not folder.is_dir():
        return []
    children = sorted(child for child in folder.iterdir() if child.is_file())
    if problems is not None:
        note_left_out(children, folder, problems)
    return [child for child in children if is_photo(child) and not _unreadable_name(child)]


def note_left_out(files: Iterable[Path], folder: Path, problems: Problems) -> None:
    """Warn of the files that look like photographs and cannot be read here, with counts, names and the way out."""
    reasons: dict[str, list[str]] = {}
    for file in files:
        reason = why_left_out(file)
        if is_photo(file) and _unreadable_name(file):
            reason = "the name is no valid UTF-8: rename the file"
        if reason is not None:
            reasons.setdefault(reason, []).append(ascii(file.name) if _unreadable_name(file) else file.name)
    for reason, names in reasons.items():
        some = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        count = "1 photograph is" if len(names) == 1 else f"{len(names):,} photographs are"
        problems.warning(f"{count} left out ({some})", file=folder, hint=reason)


def photo_files(paths: Iterable[Path | str]) -> list[Path]:
    """Return the photographs that files and folders name, each once, in the order given.

    A folder stands for the photographs right in it; those that cannot be read here are named in the log.

    Raises:
        CatalogError: no photograph is named, or a file does not exist.
    """
    ledger = Problems()
    files: dict[str, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            found = photos_in(path, ledger)
        elif path.is_file():
            found = [path]
        else:
            raise CatalogError(f"{path}: no such photograph")
        for file in found:
            files.setdefault(real_path(file), file)
    ledger.log()
    if not files:
        raise CatalogError("no photographs given; name at least one file, or a folder that holds some")
    return list(files.values())


def real_path(path: str | Path) -> str:
    """Return a file's one true path: absolute, without ``..``, links followed; equal for two paths of one file."""
    return os.path.realpath(path)


def _same_letters(name: str) -> str:
    """Return a name in the form that all Unicode spellings of it share (accents, kinds of spaces)."""
    return re.sub(r"\s", " ", unicodedata.normalize("NFC", name))


def _unreadable_name(path: Path) -> bool:
    """Return whether a file's name holds bytes that are no UTF-8 (Python keeps them as lone surrogates)."""
    return any("\ud800" <= character <= "\udfff" for character in path.name)
