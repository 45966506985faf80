"""Digests of files that were read before and have not changed since, so that a catalogue opens without reading it all.

A file counts as unchanged while its path, size, times of modification and of status change, and its number on the disk
are what they were. Nothing but its owner's will sets the time of a status change back, so whoever replaces, edits or
touches a file is noticed. A file that was changed a moment before it was read is not remembered: it could change again
within the same tick of the clock (Git's index has the same rule).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.photo import PhotoError, photo_digest
from features.records import BoolArray
from features.store import FeatureStore, StoreError

#: Seconds that a file must have been left alone to be remembered: the coarsest clock of file systems is FAT's, 2 s.
_SETTLED = 2.0

_Stat = tuple[int, ...]
#: What stands for a file that cannot be looked at: none has fewer bytes than none.
_NOT_THERE: _Stat = (-1, -1, -1, -1, -1)
#: Letters of a digest.
_HEX = 64


class KnownFiles:
    """The digests of a folder's files, remembered in a store.

    Args:
        store: where they are kept.
        root: the folder; each has a memory of its own.

    Attributes:
        key: under which the store has them.
    """

    def __init__(self, store: FeatureStore, root: Path) -> None:
        self._store = store
        self.key = f"files:{hashlib.sha256(str(root.absolute()).encode(errors='surrogateescape')).hexdigest()}"
        self._names, self._stats, self._digests = self._read()
        self._seen: BoolArray = np.zeros(len(self._names), bool)
        #: What was read now, of files that were not remembered as they are: for this run, and to be remembered.
        self._now: dict[str, tuple[_Stat, bytes]] = {}
        self._fresh: dict[str, tuple[_Stat, bytes]] = {}

    def __len__(self) -> int:
        return len(self._names)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self._names)}

    def digest(self, path: Path) -> str:
        """Return the hex SHA-256 of a file's bytes, remembered or read now.

        Raises:
            PhotoError: as :func:`features.photo.photo_digest`.
        """
        (found,) = self.digests([str(path)])
        if isinstance(found, PhotoError):
            raise found
        return found

    def digests(self, paths: Sequence[str]) -> list[str | PhotoError]:
        """Return :meth:`digest` of many files, or the error of one that cannot be read."""
        stats = _stats_of(paths)
        rows = self._rows_of(paths)
        same = rows >= 0
        same[same] = (self._stats[rows[same]] == stats[same]).all(axis=1)
        self._seen[rows[same]] = True
        if same.all():
            written = self._digests[rows].tobytes().hex()
            return [written[start : start + _HEX] for start in range(0, len(written), _HEX)]
        found: list[str | PhotoError] = []
        for path, row, known, stat in zip(paths, rows.tolist(), same.tolist(), stats.tolist(), strict=True):
            try:
                found.append(self._digests[row].tobytes().hex() if known else self._digest_now(path, tuple(stat)))
            except PhotoError as error:
                found.append(error)
        return found

    def _digest_now(self, path: str, stat: _Stat) -> str:
        if path in self._now and self._now[path][0] == stat:
            return self._now[path][1].hex()
        read_at = time.time()
        found = photo_digest(Path(path))
        self._now[path] = stat, bytes.fromhex(found)
        # Only what was the same before and after it was read, and has been for a while.
        unchanged = stat != _NOT_THERE and stat == tuple(_stats_of([path])[0].tolist())
        if unchanged and max(stat[1:3]) / 1e9 < read_at - _SETTLED:
            self._fresh[path] = self._now[path]
        return found

    def _rows_of(self, paths: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return where each file is remembered, -1 where it is not."""
        if len(paths) == len(self._names) and list(paths) == self._names:
            return np.arange(len(paths))
        return np.array([self._rows.get(path, -1) for path in paths], np.int64)

    def save(self) -> None:
        """Keep what was learned; a store may be read-only.

        Files that nobody asked about stay remembered, as a part of a catalogue may be opened alone; those of them that
        are gone are forgotten when most others were looked at.
        """
        forgotten = self._forgotten()
        if not self._fresh and not forgotten.any():
            return
        kept = ~forgotten
        kept[[self._rows[name] for name in self._fresh if name in self._rows]] = False
        rows = np.flatnonzero(kept)
        names = [self._names[row] for row in rows.tolist()] + list(self._fresh)
        stats = np.array([stat for stat, _ in self._fresh.values()], np.int64).reshape(-1, 5)
        digests = np.frombuffer(b"".join(digest for _, digest in self._fresh.values()), np.uint8).reshape(-1, 32)
        stats, digests = np.concatenate([self._stats[rows], stats]), np.concatenate([self._digests[rows], digests])
        arrays: dict[str, npt.NDArray[Any]] = {
            "names": np.frombuffer("\0".join(names).encode(errors="surrogateescape"), np.uint8),
            "stats": stats,
            "digests": digests.reshape(-1),
        }
        try:
            self._store.remove(self.key)
            self._store.put(self.key, arrays)
        except StoreError:
            return
        self._names, self._stats, self._digests = names, stats, digests
        self._seen = np.append(self._seen[rows], np.ones(len(self._fresh), bool))
        self._fresh = {}
        self.__dict__.pop("_rows", None)

    def _forgotten(self) -> BoolArray:
        """Return the mask of the remembered files that are gone."""
        unseen = np.flatnonzero(~self._seen)
        gone = np.zeros(len(self._names), bool)
        if len(unseen) <= self._seen.sum() + len(self._fresh):
            gone[unseen] = (_stats_of([self._names[row] for row in unseen.tolist()]) == _NOT_THERE).all(axis=1)
        return gone

    def _read(self) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        nothing: tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.uint8]]
        nothing = [], np.zeros((0, 5), np.int64), np.zeros((0, 32), np.uint8)
        arrays = self._store.get(self.key)
        if arrays is None or not len(arrays["stats"]):
            return nothing
        names = arrays["names"].tobytes().decode(errors="surrogateescape").split("\0")
        digests: npt.NDArray[np.uint8] = arrays["digests"].reshape(-1, 32)
        return (names, arrays["stats"], digests) if len(names) == len(digests) == len(arrays["stats"]) else nothing


def _stats_of(paths: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the (N, 5) sizes, times of modification and of status change, numbers and devices of files."""
    found: list[int] = []
    for path in paths:
        try:
            stat = os.stat(path)  # noqa: PTH116 - a Path for each of a hundred thousand takes as long again
        except (OSError, ValueError):
            found += _NOT_THERE
        else:
            found += (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
    try:
        return np.fromiter(found, np.int64, len(found)).reshape(-1, 5)
    except OverflowError:  # numbers of files reach 64 bits without a sign on some systems
        return np.fromiter(map(_signed, found), np.int64, len(found)).reshape(-1, 5)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
