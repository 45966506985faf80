"""The file of a review: one append-only table of decisions, and beside it what was asked and what the engine answered.

SQLite with a write-ahead log. A decision is acknowledged when it is on the disk (``synchronous=FULL``): neither a
``kill -9`` nor a power cut loses it. What was written goes on into the main file at once, so that a copy of that one
file holds every decision; :meth:`ReviewFile.copy_to` makes one that is whole whatever is being written.

One connection writes and another reads, so that whoever asks never waits for a disk that somebody else writes to.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from engine.review.decisions import Decision, ReviewError
from scarmatch import __version__

#: Layout of the file; a file of another layout is refused.
LAYOUT = 1
#: Marks the file as a review's ("scrv" as a number), so that another program's database is never written to.
_APPLICATION = 0x73637276

_TABLES = """
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, at TEXT NOT NULL, who TEXT NOT NULL, kind TEXT NOT NULL,
    images TEXT NOT NULL, name TEXT NOT NULL, individual TEXT NOT NULL, target INTEGER NOT NULL,
    confidence TEXT NOT NULL, probability REAL, shown TEXT NOT NULL, version TEXT NOT NULL
);
CREATE TRIGGER decisions_stay BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are never changed'); END;
CREATE TRIGGER decisions_last BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'decisions are never deleted'); END;
CREATE TABLE photographs (image_id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE answers (query_id TEXT PRIMARY KEY, made_with TEXT NOT NULL, at TEXT NOT NULL, record TEXT NOT NULL);
"""


class ReviewFile:
    """A review's file, opened; a context manager. Several processes may have one file open.

    One thread may write while another reads; whoever reads from several threads must see to it that one at a time does.

    Args:
        path: the file; it is made where there is none.

    Raises:
        ReviewError: the file is no review's, of another layout, damaged, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        _refuse_others(self.path)
        try:
            self._base = self._connection()
            self._lock = threading.Lock()
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=FULL")
            self._base.execute("PRAGMA wal_autocheckpoint=1")
            self._prepare()
            self._reading = self._connection()
            self._reading.execute("PRAGMA query_only=ON")
        except sqlite3.DatabaseError as error:
            raise ReviewError(f"{self.path} cannot be used as a review's file: {error}; name another") from error

    def _connection(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=30.0)

    def _prepare(self) -> None:
        with self._writing():
            (application,) = self._base.execute("PRAGMA application_id").fetchone()
            (layout,) = self._base.execute("PRAGMA user_version").fetchone()
            (tables,) = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if application == _APPLICATION and layout == LAYOUT:
                return
            if tables or application:
                kind = f"layout {layout}" if application == _APPLICATION else "another program's database"
                raise ReviewError(f"{self.path} is {kind}; this version reads reviews of layout {LAYOUT}: name another")
            for statement in _TABLES.split(";\n"):
                # A trigger's text ends in "END", with a semicolon of its own inside.
                if statement.strip():
                    self._base.execute(statement)
            self._base.execute(f"PRAGMA application_id={_APPLICATION}")
            self._base.execute(f"PRAGMA user_version={LAYOUT}")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def append(self, decisions: Iterable[Decision]) -> list[Decision]:
        """Write decisions, all or none, and return them as they are in the table.

        One whose ``key`` is in the table already is not written again: the row that is there is returned.
        """
        written = []
        with self._writing():
            for decision in decisions:
                row = self._base.execute("SELECT * FROM decisions WHERE key=?", (decision.key or None,)).fetchone()
                written.append(_decision(row) if row else self._insert(decision))
        return written

    def _insert(self, decision: Decision) -> Decision:
        at = decision.at or dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        stored = decision.replace(at=at, version=decision.version or __version__)
        values = (
            stored.key or None,
            at,
            stored.who,
            stored.kind,
            json.dumps(stored.images),
            stored.name,
            stored.individual,
            stored.target,
            stored.confidence,
            stored.probability,
            json.dumps(dict(stored.shown)),
            stored.version,
        )
        marks = ",".join("?" * (len(values) + 1))
        number = self._base.execute(f"INSERT INTO decisions VALUES ({marks})", (None, *values)).lastrowid
        assert number is not None
        return stored.replace(number=number)

    def decisions(self, after: int = 0) -> list[Decision]:
        """Return the decisions of the rows after a number, in order."""
        rows = self._reading.execute("SELECT * FROM decisions WHERE number>? ORDER BY number", (after,))
        return [_decision(row) for row in rows]

    def last(self) -> int:
        """Return the number of the last row, 0 if there is none."""
        (number,) = self._reading.execute("SELECT coalesce(max(number), 0) FROM decisions").fetchone()
        return int(number)

    # --- what was asked, and the answers ------------------------------------------------------------------------------

    def add_photographs(self, records: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Keep what is known of photographs that are no part of the catalogue: (image id, plain values); anew if given.

        They are what the replay of decisions speaks of, so the file alone tells where they lie.
        """
        with self._writing():
            rows = [(json.dumps(image_id), json.dumps(record)) for image_id, record in records]
            self._base.executemany("INSERT OR REPLACE INTO photographs VALUES (?,?)", rows)

    def photographs(self) -> dict[str, dict[str, Any]]:
        """Return what is known of the photographs that are no part of the catalogue, by image id, in order."""
        rows = self._reading.execute("SELECT image_id, record FROM photographs ORDER BY rowid")
        return {json.loads(image_id): json.loads(record) for image_id, record in rows}

    def add_answer(self, query_id: str, made_with: str, record: Any) -> None:
        """Keep the engine's answer to one photograph, in place of an earlier one.

        Args:
            query_id: the photograph.
            made_with: what the answer depends on; another text means that it must be asked again.
            record: plain values.
        """
        at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        with self._writing():
            row = (json.dumps(query_id), made_with, at, json.dumps(record))
            self._base.execute("INSERT OR REPLACE INTO answers VALUES (?,?,?,?)", row)

    def answered(self, made_with: str | None = None) -> set[str]:
        """Return the photographs that have an answer; only those made with ``made_with`` if it is given."""
        rows = self._reading.execute("SELECT query_id, made_with FROM answers")
        return {json.loads(query_id) for query_id, made in rows if made_with in (None, made)}

    def answers(self, query_ids: Sequence[str]) -> dict[str, Any]:
        """Return the answers to photographs; those without one are left out."""
        found = {}
        for query_id in query_ids:
            asked = "SELECT record FROM answers WHERE query_id=?"
            row = self._reading.execute(asked, (json.dumps(query_id),)).fetchone()
            if row is not None:
                found[query_id] = json.loads(row[0])
        return found

    # --- the file -----------------------------------------------------------------------------------------------------

    def copy_to(self, path: Path | str) -> None:
        """Write a copy that is whole, whoever writes meanwhile.

        Raises:
            ReviewError: the copy cannot be written.
        """
        try:
            with contextlib.closing(sqlite3.connect(path)) as copy:
                self._reading.backup(copy)
        except sqlite3.Error as error:
            raise ReviewError(f"{path}: the copy of the review cannot be written: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._reading.close()
        with self._lock:
            self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _refuse_others(path: Path) -> None:
    """Refuse what is no database: SQLite would take a short file for an empty one."""
    try:
        head = path.read_bytes()[:16] if path.stat().st_size < 100 else b""
    except FileNotFoundError:
        return
    if head:
        raise ReviewError(f"{path} is no review's file; name another")


def _decision(row: tuple[Any, ...]) -> Decision:
    number, key, at, who, kind, images, name, individual, target, confidence, probability, shown, version = row
    return Decision(
        kind=kind,
        who=who,
        images=tuple(json.loads(images)),
        name=name,
        individual=individual,
        target=target,
        confidence=confidence,
        probability=probability,
        shown=json.loads(shown),
        version=version,
        key=key or "",
        at=at,
        number=number,
    )
