"""JSON from strangers: read whole, or refused with the line."""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.catalogue.problems import Problems


def read_json(file: Path, problems: Problems) -> Any:
    """Return what a JSON file holds, None (and an error in the ledger) if it cannot be read.

    A name that occurs twice in one object is an error: everything before it would be lost without a word.
    """
    try:
        return json.loads(file.read_bytes(), object_pairs_hook=_object)
    except (OSError, ValueError) as error:
        line = getattr(error, "lineno", None)
        problems.error(f"is no readable JSON: {getattr(error, 'msg', error)}", file=file, line=line)
    except RecursionError:
        problems.error("is no readable JSON: lists and objects are nested too deeply", file=file)
    return None


def holds_words(file: Path, words: Sequence[str]) -> bool:
    """Return whether a file holds all of the words in double quotes, without reading it into memory.

    The whole file is searched: a long list may stand between them.
    """
    try:
        if not file.is_file() or not file.stat().st_size:
            return False
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
                codec = "utf-16-le" if data[:1] == b"\xff" else "utf-16-be"
                return all(data.find(f'"{word}"'.encode(codec)) >= 0 for word in words)
            return all(data.find(f'"{word}"'.encode()) >= 0 for word in words)
    except OSError:
        return False


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!a} occurs twice in one object")
    return entries
