"""One file of records, which only grows, and the index beside it; how both are read.

A shard has one writer, for its whole life or one after another; it is read by anybody, while it grows too. Records are
read by position and copied out, and not through a memory map: a map of a file that somebody cuts ends the process that
touches it, without a word.

The index (:mod:`features.store.entries`) is derived from the records. It is followed where it fits the shard without a
gap; where it does not, the shard's record headers are walked, past damage to the next record that is sound.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from features.store.entries import DEAD, ENTRY, Entries, EntryTable, checks, digest_halves, ends, make_entry, sound
from features.store.positional import open_file, read_at, write_at
from features.store.record import (
    ALIGNMENT,
    DEAD_MAGIC,
    HEADER_SIZE,
    MAGIC,
    RecordHeader,
    read_header,
    unpack_record,
)

SHARD_SUFFIX = ".shard"
INDEX_SUFFIX = ".index"
#: What a shard begins with.
SHARD_MAGIC = b"scarmatch shard, layout 1\n".ljust(ALIGNMENT, b"\0")
#: Bytes looked through at once for the next sound record.
_SEARCH_BLOCK = 1 << 20


def index_path(shard: Path) -> Path:
    """Return the file of a shard's index."""
    return shard.with_suffix(INDEX_SUFFIX)


class Shard:
    """A shard that is read.

    Args:
        path: the file.

    Attributes:
        table: where its records lie; :meth:`refresh` adds to it.
        covered: byte behind the last record that is known.
        rows: entries that are known, in the order in which the index has them.
        damage: what is wrong with shard or index, in words.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.table = EntryTable()
        self.covered, self.rows = ALIGNMENT, 0
        self.damage: list[str] = []
        self._handle = open_file(path, os.O_RDONLY)
        self.size = 0
        if read_at(self._handle, ALIGNMENT, 0) not in (SHARD_MAGIC, b""):
            self.damage.append(f"{path.name} does not begin as a shard of this version does")
        self.refresh()

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.close()

    def refresh(self) -> bool:
        """Read what was appended since the last look; say whether there is anything."""
        if os.fstat(self._handle).st_size == self.size:
            return False
        # The index first: a record is written before its entry, so that a shard that grows meanwhile has all of them.
        fresh = self._indexed(self.rows)
        size = os.fstat(self._handle).st_size
        if size < self.covered:
            self.damage.append(f"{self.path.name} was cut to {size:,} bytes")
            self._forget()
            fresh = self._indexed(self.rows)
        if fresh is None or not self._fits(fresh, size):
            self.damage.append(f"{index_path(self.path).name} does not fit its shard, whose records are looked for")
            self._forget()
            fresh = np.zeros(0, ENTRY)
        self._add(fresh)
        walked = [
            make_entry(header.digest, offset, header.length | (DEAD if header.dead else 0))
            for offset, header in self.walk(self.covered, size)
        ]
        self._add(np.concatenate([np.zeros(0, ENTRY), *walked]))
        self.size = size
        return True

    def _add(self, entries: Entries) -> None:
        self.table.add(entries)
        self.rows += len(entries)
        self.covered = int(ends(entries).max(initial=self.covered))

    def _forget(self) -> None:
        self.table, self.covered, self.rows = EntryTable(), ALIGNMENT, 0

    def _indexed(self, start: int) -> Entries | None:
        """Return the index's entries from a row on; None where they are not as they were written."""
        try:
            with index_path(self.path).open("rb") as stream:
                stream.seek(start * ENTRY.itemsize)
                data = stream.read()
        except FileNotFoundError:
            return np.zeros(0, ENTRY)
        except OSError:
            return None
        found = np.frombuffer(data[: len(data) // ENTRY.itemsize * ENTRY.itemsize], ENTRY)
        return found if sound(found) else None

    def _fits(self, fresh: Entries, size: int) -> bool:
        """Say whether entries follow what is known, and each other, without a gap, and are those of this file."""
        if not len(fresh):
            return True
        order = np.argsort(fresh["offset"], kind="stable")
        starts, stops = fresh["offset"].astype(np.int64)[order], ends(fresh)[order]
        if starts[0] != self.covered or (starts[1:] != stops[:-1]).any() or stops[-1] > size:
            return False
        return all(self._is_of(fresh[order[place]]) for place in (0, -1))

    def _is_of(self, entry: np.void) -> bool:
        """Say whether an entry's record begins here; one that was found damaged cannot tell, and may."""
        header = read_header(read_at(self._handle, HEADER_SIZE, int(entry["offset"])))
        if header is None:
            return bool(entry["length"] & DEAD)
        return digest_halves(header.digest) == (entry["digest0"], entry["digest1"])

    def walk(self, start: int, size: int) -> Iterator[tuple[int, RecordHeader]]:
        """Yield (offset, header) of the records from an offset on, dead ones too; say where there is none.

        An incomplete last record, which a writer was killed at, is passed over without a word.
        """
        offset = start
        while offset < size:
            data = read_at(self._handle, HEADER_SIZE, offset)
            header = read_header(data)
            if header is not None and offset + header.length <= size:
                yield offset, header
                offset += header.length
                continue
            following = self._next_record(offset + ALIGNMENT, size)
            torn = following == size and (header is not None or len(data) < HEADER_SIZE)
            if not torn and any(read_at(self._handle, min(following - offset, _SEARCH_BLOCK), offset)):
                self.damage.append(f"{following - offset:,} bytes of {self.path.name} from byte {offset:,} are damaged")
            offset = following

    def _next_record(self, start: int, size: int) -> int:
        """Return the offset of the first sound record from an offset on; the size where there is none."""
        while start < size:
            block = read_at(self._handle, _SEARCH_BLOCK + HEADER_SIZE, start)
            place = min((p for p in (block.find(MAGIC), block.find(DEAD_MAGIC)) if p >= 0), default=-1)
            if place < 0 or place >= _SEARCH_BLOCK:
                start += _SEARCH_BLOCK
                continue
            header = read_header(block[place : place + HEADER_SIZE])
            if header is not None and start + place + header.length <= size:
                return start + place
            start += place + 1
        return size

    def read(self, offset: int, length: int) -> tuple[bytes, bytes, bytes] | None:
        """Return digest, key and payload of a record; None where it is not as it was written.

        Raises:
            OSError: the disk cannot read it.
        """
        return unpack_record(read_at(self._handle, length, offset))

    def is_dead(self, offset: int) -> bool:
        """Say whether a record was taken out since it was found."""
        return read_at(self._handle, len(DEAD_MAGIC), offset) == DEAD_MAGIC

    def key_at(self, offset: int) -> str:
        """Return a record's key for a message or a count; empty where it has none that can be read."""
        data = read_at(self._handle, HEADER_SIZE + 1024, offset)
        header = read_header(data)
        return "" if header is None else data[HEADER_SIZE : HEADER_SIZE + header.key].decode(errors="replace")

    def take_out(self, offset: int, digest: bytes) -> None:
        """Take a record out of shard and index, so that it is looked for and told of no more.

        Raises:
            OSError: the folder cannot be written.
        """
        self.table.take_out(digest, offset)
        handle = open_file(self.path, os.O_RDWR)
        try:
            if read_header(read_at(handle, HEADER_SIZE, offset)) is not None:  # otherwise no walk finds it
                write_at(handle, DEAD_MAGIC, offset)
        finally:
            os.close(handle)
        with contextlib.suppress(FileNotFoundError):
            handle = open_file(index_path(self.path), os.O_RDWR)
            try:
                size = os.fstat(handle).st_size // ENTRY.itemsize * ENTRY.itemsize
                entries = np.frombuffer(read_at(handle, size, 0), ENTRY)
                first, _ = digest_halves(digest)
                for row in np.flatnonzero((entries["digest0"] == first) & (entries["offset"] == offset)):
                    entry = entries[row : row + 1].copy()
                    entry["length"] |= DEAD
                    entry["check"] = checks(entry)
                    write_at(handle, entry.tobytes(), int(row) * ENTRY.itemsize)
            finally:
                os.close(handle)
