"""A content-addressed cache of descriptions on disk; deleting it changes nothing but time.

Arrays are known by ``sha256(file bytes) + fingerprint``: a new model, new settings or a changed photograph can never be
served an old description. They lie in a few large files, the shards, which only grow (:mod:`features.store.shard`);
every process writes one of its own, so that processes and machines share a folder without waiting for each other, and a
killed one loses at most the record that it was writing.

Disks err, and folders are copied, merged and restored from backups. So every record carries its key and checksums: a
flipped bit, a cut-off file and a record under another's key all count as missing, and what is missing is computed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from features.store.earlier_layout import entry_path, entry_paths, has_entry_files, read_entry
from features.store.entries import alive
from features.store.errors import StoreError
from features.store.record import key_digest
from features.store.shard import SHARD_SUFFIX, Shard, index_path
from features.store.shard_writer import ShardWriter

logger = logging.getLogger(__name__)

#: Folder of a store that holds its shards.
SHARDS = "shards"
#: Damaged records that are told of by name; thousands of them are one further line.
_NAMED = 5


@dataclass(frozen=True)
class StoreSize:
    """How much a store holds: number of entries and bytes."""

    entries: int
    bytes: int


class _Place(NamedTuple):
    shard: Shard
    offset: int
    length: int


class FeatureStore:
    """Arrays by key in a folder.

    Args:
        root: the folder; made when the first entry is written.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._warned: set[str] = set()
        self._damaged = 0
        self._shards: dict[Path, Shard] = {}
        self._writer: ShardWriter | None = None
        self._entry_files: bool | None = None
        self._lock = threading.RLock()
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"the store {self.root} is a file; give a folder with --store")

    def __reduce__(self) -> tuple[type[FeatureStore], tuple[Path]]:
        # Another process opens the folder for itself, and writes a shard of its own.
        return type(self), (self.root,)

    def has(self, key: str) -> bool:
        """Say whether a key has an entry that is whole: what :meth:`get` would not refuse."""
        return self._payload(key) is not None

    def get(self, key: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays of a key; None where there are none, or where they are not what was put in.

        A damaged entry is told of once, and taken out where the folder lets itself be written.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        payload = self._payload(key)
        if payload is None:
            return None
        try:
            return load(payload)
        except (
            SafetensorError,
            ValueError,
            KeyError,
        ) as error:  # whole, but of a safetensors that this one cannot read
            self._warn(f"entries of the store {self.root} cannot be read ({error}) and are computed anew")
            return None

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the arrays of a key at once or not at all.

        A key stands for one content: where two processes write it, any of the two is given back.

        Raises:
            StoreError: the folder cannot be written (full disk, no permission).
        """
        from safetensors.numpy import save

        payload = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        try:
            with self._lock:
                writer = self._writable_shard()
                writer.append(key_digest(key), key.encode(), payload)
        except OSError as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(
                f"cannot write into the store {self.root}: {error}; choose another with --store"
            ) from error

    def remove(self, key: str) -> bool:
        """Take a key's entry out; say whether there was one.

        Raises:
            StoreError: the folder cannot be written.
        """
        digest, found = key_digest(key), False
        with self._lock:
            try:
                for place in self._places(digest):
                    place.shard.take_out(place.offset, digest)
                    found = True
                path = entry_path(self.root, digest)
                found = found or path.is_file()
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"cannot change the store {self.root}: {error}") from error
        return found

    def contains(self, digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Say of many keys at once which the shards have, by their indexes alone: nothing is read or checked.

        Args:
            digests: (N, 2) :func:`digests_of`.

        Returns:
            (N,) bool; False also for what lies in files of the earlier layout.
        """
        known = np.zeros(len(digests), bool)
        with self._lock:
            self._refresh()
            for shard in self._shards.values():
                known |= shard.table.contains(digests)
        return known

    def close(self) -> None:
        """Close the files; the store opens them again where it is used again."""
        with self._lock:
            for shard in self._shards.values():
                shard.close()
            self._shards = {}
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def size(self) -> StoreSize:
        """Count entries and the bytes of their files."""
        with self._lock:
            self._refresh()
            halves = [np.zeros(0, np.uint64)]
            for shard in self._shards.values():
                entries = shard.table.entries
                halves.append(entries["digest0"][alive(entries)])
            total = sum(shard.size for shard in self._shards.values())
            files = list(entry_paths(self.root)) if self.has_entry_files() else []
        distinct = {f"{int(half).to_bytes(8, 'little').hex()}" for half in np.unique(np.concatenate(halves))}
        distinct.update(f"{path.parent.name}{path.stem}"[:16] for path in files)
        return StoreSize(len(distinct), total + sum(path.stat().st_size for path in files))

    def shards(self) -> list[Shard]:
        """Return all shards, opened, in the order of their names."""
        with self._lock:
            self._refresh()
            return list(self._shards.values())

    def state(self) -> str:
        """Return what changes whenever a record is added or taken out."""
        with self._lock:
            self._refresh()
            names = [f"{path.name}:{shard.size}:{_changed(path)}" for path, shard in self._shards.items()]
        return hashlib.blake2b("\n".join(names).encode(), digest_size=16).hexdigest()

    def _payload(self, key: str) -> bytes | None:
        """Return the checked bytes of a key's arrays."""
        digest = key_digest(key)
        with self._lock:
            places, damaged = self._places(digest), []
            for look_again in (True, False):
                for place in places:
                    payload = self._read(place, digest)
                    if payload is not None:
                        return payload
                    if not place.shard.is_dead(place.offset):
                        damaged.append(place)
                if look_again and self._refresh():
                    places = [place for place in self._places(digest) if place not in places]
                else:
                    break
            if damaged:
                self._tell_damage(key, damaged)
                for place in damaged:
                    with contextlib.suppress(OSError):  # a folder that is read-only
                        place.shard.take_out(place.offset, digest)
            return self._from_entry_file(digest) if self.has_entry_files() else None

    def _read(self, place: _Place, digest: bytes) -> bytes | None:
        try:
            found = place.shard.read(place.offset, place.length)
        except OSError as error:
            self._warn(f"entries of the store {self.root} cannot be read ({error}) and are computed anew")
            return None
        return found[2] if found is not None and found[0] == digest else None

    def _from_entry_file(self, digest: bytes) -> bytes | None:
        """Return the arrays' bytes from a store of the earlier layout."""
        path = entry_path(self.root, digest)
        try:
            found = read_entry(path, digest)
        except OSError as error:
            self._warn(f"entries of the store {self.root} cannot be read ({error}) and are computed anew")
            return None
        if isinstance(found, str):
            self._warn(f"entries of the store {self.root} {found} are computed anew")
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return None if found is None else found[1]

    def has_entry_files(self) -> bool:
        """Say whether entries of the earlier layout lie here too."""
        if self._entry_files is None:
            self._entry_files = has_entry_files(self.root)
            if self._entry_files:
                logger.info(
                    "the store %s has entries in files of their own, which are read; `scarmatch store compact` "
                    "makes few large files of them",
                    self.root,
                )
        return self._entry_files

    def _places(self, digest: bytes) -> list[_Place]:
        """Return where a key's records lie, as far as is known, the latest shard first."""
        if not self._shards:
            self._refresh()
        return [
            _Place(shard, offset, length)
            for shard in reversed(self._shards.values())
            for offset, length in shard.table.find(digest)
        ]

    def _refresh(self) -> bool:
        """Look for new shards, and for what others were given; say whether there is anything new."""
        try:
            with os.scandir(self.root / SHARDS) as items:
                paths = sorted(Path(item.path) for item in items if item.name.endswith(SHARD_SUFFIX))
        except (FileNotFoundError, NotADirectoryError):
            paths = []
        except OSError as error:
            self._warn(f"entries of the store {self.root} cannot be read ({error}) and are computed anew")
            paths = []
        changed = False
        for path in set(self._shards) - set(paths):
            # Compacted away, or cleared: what it held is elsewhere now, or gone.
            self._shards.pop(path).close()
            changed = True
        for path in paths:
            try:
                if path in self._shards:
                    changed |= self._shards[path].refresh()
                else:
                    self._shards[path] = Shard(path)
                    changed = True
            except OSError as error:
                if not isinstance(error, FileNotFoundError):
                    self._warn(
                        f"{path.name} in the store {self.root} cannot be read ({error}): what it holds is computed anew"
                    )
                continue
            for text in self._shards[path].damage:
                self._warn(f"the store {self.root}: {text} (`scarmatch store verify` says more)")
        return changed

    def _writable_shard(self) -> ShardWriter:
        if self._writer is not None and self._writer.full:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._writer = ShardWriter(self.root / SHARDS)
        return self._writer

    def _tell_damage(self, key: str, places: Iterable[_Place]) -> None:
        """Name a damaged record; of many, the first few."""
        self._damaged += 1
        if self._damaged <= _NAMED:
            where = ", ".join(f"{place.shard.path.name}, byte {place.offset:,}" for place in places)
            self._warn(f"the store {self.root}: the record {key} is damaged ({where}) and is computed anew")
        elif self._damaged == _NAMED + 1:
            self._warn(f"the store {self.root}: further records are damaged; they are computed anew")

    def _warn(self, text: str) -> None:
        """Say something once per store, process and kind of trouble: a folder may hold thousands of such entries."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s", text)


def digests_of(keys: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return the (N, 2) digests of keys, as two numbers each."""
    whole = np.frombuffer(b"".join(map(key_digest, keys)), "<u8").reshape(-1, 4)
    return np.array(whole[:, :2], np.uint64)


def _changed(shard: Path) -> int:
    """Return when a shard's index last changed, which marks of records taken out do."""
    with contextlib.suppress(OSError):
        return index_path(shard).stat().st_mtime_ns
    return 0


def default_store(near: str | os.PathLike[str]) -> Path:
    """Return the store's folder for a catalogue: ``SCARMATCH_STORE`` if set, otherwise the user's cache folder.

    The catalogue itself may be read-only, so nothing is written beside it.
    """
    if os.environ.get("SCARMATCH_STORE"):
        return Path(os.environ["SCARMATCH_STORE"])
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = Path(near).resolve()
    return base / "scarmatch" / f"{name.name}-{hashlib.sha256(str(name).encode()).hexdigest()[:10]}"
