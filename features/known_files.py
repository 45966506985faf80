"""Digests of files that were read before and have not changed since, so that a catalogue opens without reading it all.

A file counts as unchanged while its path, size, times of modification and of status change, and its number on the disk
are what they were. Nothing but its owner's will sets the time of a status change back, so whoever replaces, edits or
touches a file is noticed. A file that was changed a moment before it was read is not remembered: it could change again
within the same tick of the clock (Git's index has the same rule).
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.photo import photo_digest
from features.store import FeatureStore, StoreError

#: Seconds that a file must have been left alone to be remembered: the coarsest clock of file systems is FAT's, 2 s.
_SETTLED = 2.0

_Stat = tuple[int, int, int, int, int]


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
        self._known = self._read()
        self._seen: dict[str, tuple[_Stat, bytes]] = {}
        self._changed = False

    def digest(self, path: Path) -> str:
        """Return the hex SHA-256 of a file's bytes, remembered or read now.

        Raises:
            PhotoError: as :func:`features.photo.photo_digest`.
        """
        name = str(path)
        stat = _stat_of(path)
        known = self._known.get(name)
        if known is not None and stat is not None and known[0] == stat:
            self._seen[name] = known
            return known[1].hex()
        read_at = time.time()
        found = photo_digest(path)
        # Only what was the same before and after it was read, and has been for a while.
        if stat is not None and stat == _stat_of(path) and max(stat[1:3]) / 1e9 < read_at - _SETTLED:
            self._seen[name] = stat, bytes.fromhex(found)
            self._changed = True
        return found

    def save(self) -> None:
        """Keep what was learned, and forget files that nobody asked about; a store may be read-only."""
        if not self._changed and len(self._seen) == len(self._known):
            return
        names = [name.encode(errors="surrogateescape") for name in self._seen]
        arrays: dict[str, npt.NDArray[Any]] = {
            "names": np.frombuffer(b"\0".join(names), np.uint8),
            "stats": np.array([stat for stat, _ in self._seen.values()], np.int64).reshape(-1, 5),
            "digests": np.frombuffer(b"".join(digest for _, digest in self._seen.values()), np.uint8),
        }
        try:
            self._store.remove(self.key)
            self._store.put(self.key, arrays)
        except StoreError:
            return
        self._known, self._changed = dict(self._seen), False

    def _read(self) -> dict[str, tuple[_Stat, bytes]]:
        arrays = self._store.get(self.key)
        if arrays is None or not len(arrays["stats"]):
            return {}
        names = arrays["names"].tobytes().split(b"\0")
        digests: npt.NDArray[np.uint8] = arrays["digests"].reshape(-1, 32)
        if not len(names) == len(digests) == len(arrays["stats"]):
            return {}
        rows = zip(names, arrays["stats"].tolist(), digests, strict=True)
        return {
            name.decode(errors="surrogateescape"): ((a, b, c, d, e), digest.tobytes())
            for name, (a, b, c, d, e), digest in rows
        }


def _stat_of(path: Path) -> _Stat | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    # Numbers of files reach 64 bits without a sign on some systems.
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, _signed(found.st_ino), _signed(found.st_dev)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number
