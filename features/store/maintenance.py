"""What is done to a store on request: its sizes told, every record verified, its shards compacted, the unwanted pruned.

All of it works beside readers, and beside writers too: a shard that is being written is left alone, and named.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.store.earlier_layout import entry_paths, read_entry, remove
from features.store.entries import Entries, alive, lengths
from features.store.errors import StoreError
from features.store.feature_store import SHARDS, FeatureStore
from features.store.positional import lock, open_file
from features.store.record import key_digest
from features.store.shard import Shard, index_path
from features.store.shard_writer import SHARD_BYTES, ShardWriter, machine

#: Called with (bytes done, bytes in all).
Progress = Callable[[int, int], None]

#: Kind of a record whose key is not known, because an earlier version kept the key's digest alone.
UNNAMED = "of an earlier version"


@dataclass(frozen=True)
class StoreContents:
    """What a store holds.

    Attributes:
        kinds: kind of record (what stands before the first colon of its key) -> (records, bytes).
        shards: number of shards, and their bytes.
        dead: records that were taken out or are there twice, and their bytes, which compacting frees.
        entry_files: entries of the earlier layout, and their bytes.
        others: whatever else lies there (measured pairs, quantised descriptors) -> bytes.
    """

    kinds: dict[str, tuple[int, int]]
    shards: tuple[int, int]
    dead: tuple[int, int]
    entry_files: tuple[int, int]
    others: dict[str, int]


@dataclass(frozen=True)
class StoreCheck:
    """What :func:`verify_store` found.

    Attributes:
        records: how many were read, files of the earlier layout among them.
        damaged: the names of those that are not what was written: key, shard and byte, or the file.
        troubles: what is wrong with shards and indexes, in words.
    """

    records: int
    damaged: tuple[str, ...]
    troubles: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is as it was written."""
        return not self.damaged and not self.troubles


@dataclass
class Compaction:
    """What :func:`compact_store` did.

    Attributes:
        kept, dropped: records that are there now, and copies and unwanted ones that are not any more.
        converted: entries of the earlier layout that are records now.
        shards, shards_before: number of shards.
        bytes, bytes_before: of all files of records.
        damaged: names of records that were not what was written; they are gone, and computed anew when they are needed.
        busy: names of shards that somebody writes; they were left as they are.
    """

    kept: int = 0
    dropped: int = 0
    converted: int = 0
    shards: int = 0
    shards_before: int = 0
    bytes: int = 0
    bytes_before: int = 0
    damaged: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)


def store_contents(store: FeatureStore) -> StoreContents:
    """Count what a store holds; nothing is read but the head of every record."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    shards = store.shards()
    wanted = _first_of_each([shard.table.entries for shard in shards])
    for shard, keep in zip(shards, wanted, strict=True):
        for entry in shard.table.entries[keep].tolist():
            kind = _kind(shard.key_at(entry[2]))
            counts[kind] += 1
            sizes[kind] += entry[3]
    live = sum(sizes.values())
    total = sum(shard.size for shard in shards)
    records = sum(len(shard.table.entries) for shard in shards)
    files = [path.stat().st_size for path in entry_paths(store.root)]
    return StoreContents(
        kinds={kind: (counts[kind], sizes[kind]) for kind in sorted(counts)},
        shards=(len(shards), total),
        dead=(records - sum(counts.values()), max(total - live - 64 * len(shards), 0)),
        entry_files=(len(files), sum(files)),
        others=_others(store.root),
    )


def verify_store(store: FeatureStore, progress: Progress | None = None) -> StoreCheck:
    """Read every record and compare its checksums; damaged ones are named, and taken out where the folder allows it."""
    shards = store.shards()
    files = list(entry_paths(store.root))
    total = sum(shard.size for shard in shards) + len(files)
    damaged, records, done = [], len(files), 0
    for shard in shards:
        entries = np.sort(shard.table.entries[alive(shard.table.entries)], order="offset")
        records += len(entries)
        for entry in entries.tolist():
            name = _damage_of(shard, entry[2], entry[3])
            if name is not None:
                damaged.append(name)
                with contextlib.suppress(OSError):
                    shard.take_out(entry[2], entry[0].to_bytes(8, "little") + entry[1].to_bytes(8, "little"))
            done += entry[3]
            _report(progress, done, total)
    for file in files:
        try:
            found = read_entry(file)
        except OSError as error:
            found = str(error)
        if not isinstance(found, tuple):
            damaged.append(str(file))
            with contextlib.suppress(OSError):
                file.unlink()
        done += 1
        _report(progress, done, total)
    troubles = tuple(text for shard in shards for text in shard.damage)
    return StoreCheck(records, tuple(damaged), troubles)


def count_unwanted(store: FeatureStore, keep: npt.NDArray[np.uint64]) -> tuple[int, int]:
    """Return how many records, and bytes, :func:`compact_store` would drop because ``keep`` lacks them."""
    count = size = 0
    for shard in store.shards():
        entries = shard.table.entries
        gone = alive(entries) & ~_among(entries, keep)
        count, size = count + int(gone.sum()), size + int(lengths(entries)[gone].sum())
    for file in entry_paths(store.root):
        found = read_entry(file)
        if isinstance(found, tuple) and not _digest_among(found[0], keep):
            count, size = count + 1, size + file.stat().st_size
    return count, size


def compact_store(
    store: FeatureStore, keep: npt.NDArray[np.uint64] | None = None, progress: Progress | None = None
) -> Compaction:
    """Write what is alive of all shards into as few as need be, and entries of the earlier layout with it.

    Shards that are large, sound and without anything to drop stay as they are. A compaction that is killed leaves some
    records twice, which the next one drops.

    Args:
        store: the store.
        keep: (N, 2) digests of the records to keep (:func:`features.store.feature_store.digests_of`); None keeps all.
        progress: called with (bytes done, bytes in all).

    Raises:
        StoreError: the folder cannot be written; nothing is lost.
    """
    store.close()
    done = Compaction()
    with contextlib.ExitStack() as stack:
        shards = store.shards()
        done.shards_before, done.bytes_before = len(shards), sum(shard.size for shard in shards)
        try:
            free = []
            for shard in shards:
                handle = open_file(shard.path, os.O_RDWR)
                stack.callback(os.close, handle)
                if lock(handle):
                    free.append(shard)
                else:
                    done.busy.append(shard.path.name)
            files = list(entry_paths(store.root))
            done.bytes_before += sum(path.stat().st_size for path in files)
            _Compactor(store, free, files, keep, done, progress).run()
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"cannot compact the store {store.root}: {error}") from error
    store.close()
    after = store.shards()
    done.shards, done.bytes = len(after), sum(shard.size for shard in after)
    return done


class _Compactor:
    """The work of one compaction: shards and files that are read, and the shard that is written."""

    def __init__(
        self,
        store: FeatureStore,
        shards: list[Shard],
        files: list[Path],
        keep: npt.NDArray[np.uint64] | None,
        done: Compaction,
        progress: Progress | None,
    ) -> None:
        self._folder = store.root / SHARDS
        self._files, self._keep, self._done, self._progress = files, keep, done, progress
        wanted = _first_of_each([shard.table.entries for shard in shards])
        if keep is not None:
            parts = zip(shards, wanted, strict=True)
            wanted = [mask & _among(shard.table.entries, keep) for shard, mask in parts]
        self._work = list(zip(shards, wanted, strict=True))
        # Only files of the earlier layout are compared with what the shards have.
        tables = [shard.table.entries[mask] for shard, mask in self._work] if files else []
        self._known = {row.tobytes() for table in tables for row in _digests(table)}
        self._out: ShardWriter | None = None
        self._consumed: list[Path] = []

    def run(self) -> None:
        """Rewrite what is worth it, convert the files, and remove what was replaced."""
        rewritten = [(shard, mask) for shard, mask in self._work if not self._stays(shard, mask)]
        if len(rewritten) == 1 and not self._files and rewritten[0][1].all() and not rewritten[0][0].damage:
            rewritten = []  # one small shard that is whole: nothing would be gained
        for shard, mask in self._work:
            alive_before = int(alive(shard.table.entries).sum())
            self._done.kept += int(mask.sum())
            self._done.dropped += alive_before - int(mask.sum())
        total = sum(int(lengths(shard.table.entries[mask]).sum()) for shard, mask in rewritten) + sum(
            path.stat().st_size for path in self._files
        )
        read = 0
        for shard, mask in rewritten:
            for entry in np.sort(shard.table.entries[mask], order="offset").tolist():
                found = shard.read(entry[2], entry[3])
                if found is None:
                    self._done.damaged.append(_name(shard, entry[2]))
                    self._done.kept -= 1
                else:
                    self._append(*found)
                read += entry[3]
                _report(self._progress, read, total)
            self._consumed += [shard.path, index_path(shard.path)]
        for file in self._files:
            read += file.stat().st_size
            self._convert(file)
            _report(self._progress, read, total)
        self._seal()

    def _stays(self, shard: Shard, mask: npt.NDArray[np.bool_]) -> bool:
        return shard.size >= SHARD_BYTES // 2 and bool(mask.all()) and not shard.damage

    def _convert(self, file: Path) -> None:
        found = read_entry(file)
        if not isinstance(found, tuple):
            self._done.damaged.append(str(file))
        elif found[0][:16] in self._known or (self._keep is not None and not _digest_among(found[0], self._keep)):
            self._done.dropped += 1
        else:
            self._append(found[0], b"", found[1])
            self._done.converted += 1
            self._done.kept += 1
        self._consumed.append(file)

    def _append(self, digest: bytes, key: bytes, payload: bytes) -> None:
        if self._out is not None and self._out.full:
            self._seal()
        if self._out is None:
            self._out = ShardWriter(self._folder, f"{machine()}-{os.urandom(8).hex()}.shard")
        self._out.append(digest, key, payload)

    def _seal(self) -> None:
        """Bring what was written to the disk, and then remove what it came from."""
        if self._out is not None:
            self._finish(self._out)
            self._out = None
        for path in self._consumed:
            remove(path) if path.suffix == ".safetensors" else path.unlink(missing_ok=True)
        self._consumed = []

    @staticmethod
    def _finish(out: ShardWriter) -> None:
        shard = Shard(out.path)
        out.seal(shard.table.entries)
        shard.close()


def _first_of_each(tables: list[Entries]) -> list[npt.NDArray[np.bool_]]:
    """Return, for every shard's entries, which are alive and the first of their key in all of them."""
    everything = np.concatenate([np.zeros((0, 2), np.uint64), *(_halves(table) for table in tables)])
    living = np.concatenate([np.zeros(0, bool), *(alive(table) for table in tables)])
    rows = np.flatnonzero(living)
    _, first = np.unique(everything[rows], axis=0, return_index=True)
    mask = np.zeros(len(everything), bool)
    mask[rows[first]] = True
    return np.split(mask, np.cumsum([len(table) for table in tables])[:-1]) if tables else []


def _halves(entries: Entries) -> npt.NDArray[np.uint64]:
    return np.stack([entries["digest0"], entries["digest1"]], 1)


def _digests(entries: Entries) -> npt.NDArray[np.uint8]:
    """Return the (N, 16) bytes of the entries' digests."""
    return np.ascontiguousarray(_halves(entries)).view(np.uint8).reshape(len(entries), 16)


def _among(entries: Entries, keep: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    kept = np.ascontiguousarray(keep).view(np.dtype("V16")).ravel()
    return np.isin(_digests(entries).view(np.dtype("V16")).ravel(), kept)


def _digest_among(digest: bytes, keep: npt.NDArray[np.uint64]) -> bool:
    return bool((keep == np.frombuffer(digest[:16], np.uint64)).all(axis=1).any())


def _damage_of(shard: Shard, offset: int, length: int) -> str | None:
    """Return the name of a record that is not what was written, None where it is."""
    try:
        found = shard.read(offset, length)
    except OSError:
        found = None
    key_is_right = found is not None and (not found[1] or key_digest(found[1].decode(errors="replace")) == found[0])
    return None if key_is_right else _name(shard, offset)


def _name(shard: Shard, offset: int) -> str:
    key = shard.key_at(offset)
    return f"{key or 'a record without a name'} ({shard.path.name}, byte {offset:,})"


def _kind(key: str) -> str:
    return key.partition(":")[0] if key else UNNAMED


def _others(root: Path) -> dict[str, int]:
    """Return the bytes of everything that is neither shard nor entry, by its place in the store."""
    found: dict[str, int] = {}
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path.name == SHARDS or (path.is_dir() and len(path.name) == 2):
            continue
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        found[path.name] = sum(file.stat().st_size for file in files)
    return found


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None and total:
        progress(min(done, total), total)
