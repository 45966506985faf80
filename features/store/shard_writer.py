"""Appending records to a shard that nobody else writes.

Every writer has a shard of its own, so that processes and machines need not wait for each other. It goes on with one
that an earlier writer of the same machine left whole (the system's lock says that it ended), so that a hundred runs do
not leave a hundred shards; shards of other machines are never touched, because locks over a network are not to be
relied on.
"""

from __future__ import annotations

import contextlib
import os
import platform
import uuid
from hashlib import blake2b
from pathlib import Path

from features.store.entries import ENTRY, LONGEST_RECORD, Entries, make_entry
from features.store.errors import StoreError
from features.store.positional import lock, open_file, write_at
from features.store.record import ALIGNMENT, pack_record
from features.store.shard import SHARD_MAGIC, SHARD_SUFFIX, Shard, index_path

#: A shard that has reached this is left, and another begun: files that can be copied, and compacted one at a time.
SHARD_BYTES = 1 << 30


def machine() -> str:
    """Return 8 hex digits that stand for this machine in the names of its shards."""
    return blake2b(platform.node().encode(), digest_size=4).hexdigest()


class ShardWriter:
    """The only writer of one shard.

    Args:
        folder: where shards lie; made if need be.

    Attributes:
        path: the shard.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._index_size = 0
        if name is not None or not self._adopt(folder):
            self.path = folder / (name or f"{machine()}-{uuid.uuid4().hex[:16]}{SHARD_SUFFIX}")
            self._handle = open_file(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            lock(self._handle)
            write_at(self._handle, SHARD_MAGIC, 0)
            self.size = ALIGNMENT
        self._index = open_file(index_path(self.path), os.O_RDWR | os.O_CREAT)

    def _adopt(self, folder: Path) -> bool:
        """Go on with a shard of this machine that has no writer any more and is whole."""
        for path in sorted(folder.glob(f"{machine()}-*{SHARD_SUFFIX}")):
            try:
                if path.stat().st_size >= SHARD_BYTES:
                    continue
                handle = open_file(path, os.O_RDWR)
            except OSError:
                continue
            if lock(handle):
                with contextlib.suppress(OSError):
                    if self._is_whole(path, handle):
                        self.path, self._handle = path, handle
                        return True
            os.close(handle)
        return False

    def _is_whole(self, path: Path, handle: int) -> bool:
        """Say whether a shard ends with a record and its index has them all; set where both end."""
        shard = Shard(path)
        shard.close()
        self.size, self._index_size = shard.size, shard.rows * ENTRY.itemsize
        with contextlib.suppress(FileNotFoundError):
            indexed = index_path(path).stat().st_size == self._index_size
            return indexed and not shard.damage and shard.covered == shard.size and os.fstat(handle).st_nlink == 1
        return False

    @property
    def full(self) -> bool:
        """Whether the next record belongs into another shard: this one is large enough, or was deleted."""
        return self.size >= SHARD_BYTES or os.fstat(self._handle).st_nlink == 0

    def append(self, digest: bytes, key: bytes, payload: bytes) -> tuple[int, int]:
        """Write a record, whole or not at all; return its offset and length.

        Raises:
            OSError: it cannot be written (full disk).
            StoreError: the payload is longer than a record may be.
        """
        data = pack_record(digest, key, payload)
        if len(data) >= LONGEST_RECORD:
            raise StoreError(f"a record of {len(data):,} bytes is too long for a store")
        offset = self.size
        entry = make_entry(digest, offset, len(data))
        try:
            write_at(self._handle, data, offset)
            write_at(self._index, entry.tobytes(), self._index_size)
        except BaseException:
            with contextlib.suppress(OSError):
                os.truncate(self._handle, offset)
                os.truncate(self._index, self._index_size)
            raise
        self.size += len(data)
        self._index_size += ENTRY.itemsize
        return offset, len(data)

    def seal(self, entries: Entries) -> None:
        """Replace the index by these entries, wait until both files are on the disk, and close them."""
        partial = self.path.with_suffix(".index.tmp")
        with partial.open("wb") as stream:
            stream.write(entries.tobytes())
            stream.flush()
            os.fsync(stream.fileno())
        os.fsync(self._handle)
        self.close()
        partial.replace(index_path(self.path))

    def close(self) -> None:
        """Close the files; the shard is free for the next writer."""
        for handle in (self._handle, self._index):
            os.close(handle)
        self._handle = self._index = -1

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            self.close()
