"""Measurements of pairs that were made before, in one SQLite file in the store.

The file is a cache: a run goes on without it when it is locked, read-only or on a full disk, and begins a new one when
it is damaged. Every record carries a checksum that its key goes into, so that what is read is what was kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from features.records import BoolArray

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

#: Pairs asked for in one query of the database, which limits the number of its parameters.
_KEYS_PER_QUERY = 500

#: Seconds between two transactions: what a killed run may lose. One for each task took a seventh of the main process's
#: time.
_WRITE_EVERY = 1.0

#: Seconds to wait for another run that writes; it needs milliseconds.
_PATIENCE = 10.0

_TABLE = "CREATE TABLE IF NOT EXISTS pair (key BLOB PRIMARY KEY, numbers BLOB) WITHOUT ROWID"


class PairCache:
    """Measurements of pairs in one SQLite file; used by the main process only, safe to share between runs.

    Args:
        path: the file; None keeps nothing.
        fingerprint: everything that could change the measurements (settings, weights, code).
        record: type of a pair's record. Its names and their order are part of every key, so that a record is never
            read as another one.
    """

    def __init__(self, path: Path | None, fingerprint: str, record: np.dtype) -> None:
        self._path = path
        self._record = record
        self._print = f"{fingerprint}-{record.descr}"
        self._writes = True
        self._unwritten: list[tuple[bytes, bytes]] = []
        self._written = time.monotonic()
        self._db: sqlite3.Connection | None = None
        if path is not None:
            self._guarded(lambda: None)

    def _key(self, query: str, candidate: str) -> bytes:
        return hashlib.blake2b(f"{self._print}|{query}|{candidate}".encode(), digest_size=16).digest()

    def get(self, query: str, candidates: Sequence[str]) -> tuple[npt.NDArray[Any], BoolArray]:
        """Return the (n,) records of a query's pairs, and the mask of those that were measured before.

        The others hold zeros: they were never measured, or are damaged.
        """
        self._write()
        keys = [self._key(query, candidate) for candidate in candidates]
        stored = self._guarded(lambda: self._select(keys)) or {}
        found = [self._record_of(key, stored.get(key)) for key in keys]
        nothing = bytes(self._record.itemsize)
        known = np.array([data is not None for data in found], bool)
        return np.frombuffer(bytearray(b"".join(data or nothing for data in found)), self._record), known

    def put(self, query: str, candidates: Sequence[str], records: npt.NDArray[Any]) -> None:
        """Keep the records of a query's pairs: within a second, and when the file is closed."""
        if not self._writes:
            return
        for candidate, record in zip(candidates, records, strict=True):
            key, data = self._key(query, candidate), record.tobytes()
            self._unwritten.append((key, data + _checksum(key, data)))
        if time.monotonic() - self._written >= _WRITE_EVERY:
            self._write()

    def _write(self) -> None:
        """Write what waits, at once or not at all: a page of the file holds pairs of many queries."""
        rows, self._unwritten = sorted(self._unwritten), []
        if rows and self._writes:
            self._guarded(lambda: self._insert(rows), writing=True)
        self._written = time.monotonic()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._write()
        self._let_go()

    def _let_go(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        self._path = None

    def _record_of(self, key: bytes, blob: object) -> bytes | None:
        size = self._record.itemsize
        if not isinstance(blob, bytes) or len(blob) != size + 4 or blob[size:] != _checksum(key, blob[:size]):
            return None
        return blob[:size]

    def _select(self, keys: Sequence[bytes]) -> dict[bytes, object]:
        assert self._db is not None
        stored: dict[bytes, object] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            part = keys[start : start + _KEYS_PER_QUERY]
            places = ",".join("?" * len(part))
            stored.update(self._db.execute(f"SELECT key, numbers FROM pair WHERE key IN ({places})", part))
        return stored

    def _insert(self, rows: Sequence[tuple[bytes, bytes]]) -> None:
        assert self._db is not None
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR REPLACE INTO pair VALUES (?, ?)", rows)
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _guarded(self, work: Callable[[], Answer], writing: bool = False) -> Answer | None:
        """Do something with the database, opened if need be; None, and a word, where it cannot be used.

        A damaged file is replaced once. A second fault, or any other trouble, ends the use of the file in this run, or
        only its writing where the trouble came with that (a full disk can still be read).
        """
        if self._path is None:
            return None
        for attempt in (0, 1):
            try:
                if self._db is None:
                    self._db = self._open(self._path)
                return work()
            except (sqlite3.Error, OSError) as error:
                damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
                if damaged and attempt == 0 and self._writes and self._remove(self._path):
                    logger.warning("%s is damaged (%s): its pairs are measured anew", self._path, error)
                    continue
                if writing and not damaged and self._db is not None:
                    self._writes = False
                    logger.warning("%s cannot be written (%s): what this run measures is not kept", self._path, error)
                    return None
                logger.warning("%s cannot be used (%s): this run goes on without it", self._path, error)
                self._let_go()
                return None
        return None

    def _open(self, path: Path) -> sqlite3.Connection:
        """Open the file for reading and writing, or for reading alone where it is read-only."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with _closed_on_error(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as db:
                # Two runs may share the file: a writer waits for the other instead of failing.
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=NORMAL")
                db.execute(_TABLE)
            return db
        except sqlite3.OperationalError as error:
            if "readonly" not in str(error) and "read-only" not in str(error):
                raise
        self._writes = False
        logger.warning("%s is read-only: what this run measures is not kept", path)
        # Nobody writes to what nobody can write to, so that no lock is needed (and none could be made).
        where = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with _closed_on_error(sqlite3.connect(where, uri=True, isolation_level=None)) as db:
            db.execute("SELECT key, numbers FROM pair LIMIT 1").fetchall()
        return db

    def _remove(self, path: Path) -> bool:
        """Remove a damaged file, with what SQLite keeps beside it; say whether it is gone."""
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None
        with contextlib.suppress(OSError):
            for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
                file.unlink(missing_ok=True)
        return not path.exists()


@contextlib.contextmanager
def _closed_on_error(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield db
    except BaseException:
        db.close()
        raise


def _checksum(key: bytes, data: bytes) -> bytes:
    """Return the CRC-32 of a record under its key."""
    return zlib.crc32(data, zlib.crc32(key)).to_bytes(4, "big")
