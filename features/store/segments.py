"""Arrays about photographs in folders that are written once: what the large search reads, through memory maps.

A segment tells of some photographs: a folder of arrays whose ``digests`` say whom. It is written under another name and
renamed when it is whole, so that a killed writer leaves nothing, and several writers do not wait for each other. New
photographs are a further segment; small ones are joined, so that their number grows with the logarithm of the
catalogue and each photograph is copied that often at most. All of it can be made again from the store.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import time
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Digests = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]

#: Names the arrays of a segment, their bytes and checksums; the last file that is written.
_CONTENTS = "segment.json"
#: Half-written segments older than this many seconds are nobody's.
_ABANDONED = 24 * 3600.0
#: A segment is joined with those before it while it has at least this share of their photographs.
_JOIN_SHARE = 0.5
#: Photographs of one segment at most: they are joined in memory, about 1 GB of vectors.
MOST = 100_000


@dataclass(frozen=True, eq=False)
class Segment:
    """Arrays about some photographs.

    Attributes:
        path: its folder.
        arrays: by name; ``digests`` is (n, 2) uint64.
    """

    path: Path
    arrays: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.arrays["digests"])

    @cached_property
    def digests(self) -> Digests:
        """(n, 2) of the photographs' keys, in memory."""
        return np.array(self.arrays["digests"], np.uint64)

    def release(self, *names: str) -> None:
        """Let the system take the pages of these arrays out of the process; they are mapped again when they are read.

        They stay in the system's memory of files where there is room. Without it a search of a large catalogue would
        hold all that it ever looked at.
        """
        for name in names:
            pages = getattr(self.arrays[name], "_mmap", None)
            if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
                pages.madvise(mmap.MADV_DONTNEED)


def write_segment(folder: Path, arrays: Mapping[str, Array]) -> Path:
    """Write a segment at once or not at all; return its folder.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
    partial = folder / f".{name}.tmp"
    partial.mkdir()
    try:
        contents = {}
        for part, array in arrays.items():
            whole = np.ascontiguousarray(array)
            np.save(partial / f"{part}.npy", whole)
            contents[part] = {"bytes": (partial / f"{part}.npy").stat().st_size, "crc32": _crc(whole)}
        (partial / _CONTENTS).write_text(json.dumps(contents))
        partial.replace(folder / name)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder / name


def read_segments(folder: Path) -> list[Segment]:
    """Return the segments of a folder, the oldest first, their arrays mapped; one that is not whole is no segment."""
    found = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for entry in sorted(os.scandir(folder), key=lambda item: item.name):
            path = folder / entry.name
            if entry.name.startswith("."):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > _ABANDONED:
                        shutil.rmtree(path, ignore_errors=True)
                continue
            segment = _read(path)
            if segment is not None:
                found.append(segment)
    return found


def _read(path: Path) -> Segment | None:
    try:
        contents = json.loads((path / _CONTENTS).read_text())
        arrays = {}
        for part, expected in contents.items():
            file = path / f"{part}.npy"
            if file.stat().st_size != expected["bytes"]:
                return None
            arrays[part] = np.load(file, mmap_mode="r", allow_pickle=False)
        return Segment(path, arrays) if "digests" in arrays else None
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None


def take_out_damaged(folder: Path) -> list[Path]:
    """Read all segments of a folder; take those out whose bytes are not as they were written, and return the files.

    What goes is made again from the store when it is needed.
    """
    found: list[Path] = []
    names: list[str] = []
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    for path in (folder / name for name in names):
        segment = _read(path)
        wrong = [path / _CONTENTS] if segment is None else _wrong_files(segment)
        if wrong:
            found += wrong
            shutil.rmtree(path, ignore_errors=True)
    return found


def _wrong_files(segment: Segment) -> list[Path]:
    contents = json.loads((segment.path / _CONTENTS).read_text())
    return [
        segment.path / f"{part}.npy" for part, array in segment.arrays.items() if _crc(array) != contents[part]["crc32"]
    ]


def rows_joined(segments: Sequence[Segment]) -> dict[str, Array]:
    """Return the arrays of one segment that holds the rows of several, for arrays of a row for each photograph."""
    return {name: np.concatenate([segment.arrays[name] for segment in segments]) for name in segments[0].arrays}


def append(
    folder: Path,
    arrays: Mapping[str, Array],
    joined: Callable[[Sequence[Segment]], Mapping[str, Array]] = rows_joined,
    most: int = MOST,
) -> list[Segment]:
    """Write a further segment, make one of the last ones if they are small, and return all of the folder.

    Args:
        folder: of the segments.
        arrays: of the new one.
        joined: makes the arrays of one segment of those of several.
        most: photographs of a joined segment at most.

    Raises:
        OSError: the folder cannot be written.
    """
    write_segment(folder, arrays)
    segments = read_segments(folder)
    count = to_join([len(segment) for segment in segments], most)
    if count <= 1:
        return segments
    old = segments[-count:]
    write_segment(folder, joined(old))
    remove(old)
    return read_segments(folder)


def to_join(lengths: Sequence[int], most: int = MOST) -> int:
    """Return how many of the last segments, by their numbers of photographs, are to become one; 0 or 1 for none.

    The one has at most ``most`` photographs.
    """
    count, total = 0, 0
    for length in reversed(lengths):
        if count and (total < _JOIN_SHARE * length or total + length > most):
            break
        count, total = count + 1, total + length
    return count


def remove(segments: Sequence[Segment]) -> None:
    """Take segments away that were joined; a process that has them mapped keeps what it has (not on Windows)."""
    for segment in segments:
        # Without its contents it is no segment: a removal that is cut short leaves nothing that is read twice.
        with contextlib.suppress(OSError):
            (segment.path / _CONTENTS).unlink()
            shutil.rmtree(segment.path)


class Places:
    """Where photographs lie among segments; one that several writers added lies in the oldest that has it.

    Args:
        segments: the oldest first.
    """

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._digests = np.concatenate([np.zeros((0, 2), np.uint64), *(segment.digests for segment in segments)])
        self._starts = np.cumsum([0, *map(len, segments)])

    @cached_property
    def _order(self) -> Rows:
        return in_order(self._digests[:, 0])

    @cached_property
    def _sorted(self) -> npt.NDArray[np.uint64]:
        return self._digests[self._order, 0]

    def find(self, wanted: Digests) -> tuple[Rows, Rows]:
        """Return in which segment each of (N, 2) photographs lies, -1 for none, and in which of its rows."""
        if not len(self._digests):
            return np.full(len(wanted), -1, np.int64), np.zeros(len(wanted), np.int64)
        if len(wanted) > 1 and np.array_equal(self._digests[: len(wanted)], wanted) and _distinct(wanted[:, 0]):
            # A catalogue whose photographs were added in its own order, as most were.
            found = np.arange(len(wanted))
            number = np.searchsorted(self._starts, found, side="right") - 1
            return number, found - self._starts[number]
        # In their order, so that neighbours in memory are looked for one after the other.
        order = np.argsort(wanted[:, 0])
        places = np.empty(len(wanted), np.int64)
        places[order] = np.searchsorted(self._sorted, wanted[order, 0])
        found = self._order[np.minimum(places, len(self._digests) - 1)]
        # Sixty-four bits hardly ever collide, and the other half says so where they do.
        known = (self._digests[found] == wanted).all(1)
        number = np.searchsorted(self._starts, found, side="right") - 1
        place = np.where(known, found - self._starts[number], 0)
        return np.where(known, number, -1), place


def _distinct(numbers: npt.NDArray[np.uint64]) -> bool:
    rising = np.sort(numbers)
    return bool((rising[1:] != rising[:-1]).all())


def in_order(numbers: npt.NDArray[np.uint64]) -> Rows:
    """Return the stable order of numbers: what ``np.argsort(kind="stable")`` returns, in a third of the time."""
    order: Rows = np.argsort(numbers)
    rising = numbers[order]
    if (rising[1:] == rising[:-1]).any():
        order = np.argsort(numbers, kind="stable")
    return order


def by_digest(digests: Digests) -> Rows:
    """Return the rows of (N, 2) digests in the order of these, equal ones in their own order."""
    order = in_order(digests[:, 0])
    rising = digests[order, 0]
    if (rising[1:] == rising[:-1]).any():
        order = np.lexsort((digests[:, 1], digests[:, 0]))
    return order


def placed(segments: Sequence[Segment], digests: Digests) -> tuple[Rows, Rows]:
    """Return :meth:`Places.find` of (N, 2) photographs, once."""
    return Places(segments).find(digests)


def for_each(function: Callable[[int], None], segments: Sequence[Segment], threads: int) -> None:
    """Call a function with the number of every segment, in so many threads; each has its own photographs."""
    if threads <= 1 or len(segments) <= 1:
        for number in range(len(segments)):
            function(number)
        return
    with ThreadPoolExecutor(min(threads, len(segments))) as pool:
        list(pool.map(function, range(len(segments))))


def _crc(array: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
