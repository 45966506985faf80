"""Measurements of pairs that were made before, in one SQLite file in the store."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

#: Pairs asked for in one query of the database, which limits the number of its parameters.
_KEYS_PER_QUERY = 500


class PairCache:
    """Measurements of pairs in one SQLite file; used by the main process only, safe to share between runs.

    Args:
        path: the file; None keeps nothing.
        fingerprint: everything that could change the measurements (settings, weights, code).
        record: type of a pair's record. Its names and their order are part of every key, so that a record is never
            read as another one.
    """

    def __init__(self, path: Path | None, fingerprint: str, record: np.dtype) -> None:
        self._record = record
        self._print = f"{fingerprint}-{record.descr}"
        self._db: sqlite3.Connection | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two runs may share the file: a writer waits for the other instead of failing.
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS pair (key BLOB PRIMARY KEY, numbers BLOB) WITHOUT ROWID")

    def _key(self, query: str, candidate: str) -> bytes:
        return hashlib.blake2b(f"{self._print}|{query}|{candidate}".encode(), digest_size=16).digest()

    def get(self, query: str, candidates: Sequence[str]) -> list[npt.NDArray | None]:
        """Return the (1,) record of each of a query's pairs, None where it was never measured."""
        if self._db is None or not candidates:
            return [None] * len(candidates)
        keys = [self._key(query, candidate) for candidate in candidates]
        stored: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            part = keys[start : start + _KEYS_PER_QUERY]
            places = ",".join("?" * len(part))
            stored.update(self._db.execute(f"SELECT key, numbers FROM pair WHERE key IN ({places})", part))
        size = self._record.itemsize
        blobs = [stored.get(key, b"") for key in keys]
        return [np.frombuffer(blob, self._record) if len(blob) == size else None for blob in blobs]

    def put(self, query: str, candidates: Sequence[str], records: npt.NDArray) -> None:
        """Keep the records of a query's pairs, at once or not at all."""
        if self._db is None:
            return
        rows = [(self._key(query, key), row.tobytes()) for key, row in zip(candidates, records, strict=True)]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR REPLACE INTO pair VALUES (?, ?)", rows)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None
