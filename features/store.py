"""A content-addressed cache of descriptions on disk; deleting it changes nothing but time.

One file per photograph and fingerprint, named by ``sha256(file bytes) + fingerprint``: a new model, new settings or a
changed photograph can never be served an old description. Files appear by atomic rename, so that a killed process
leaves no half-written entry and two processes can share a folder: whoever comes second overwrites with the same
content.

Disks err, and folders are copied, merged and restored from backups. So every entry begins with its key's digest and a
checksum: a flipped bit, a cut-off file and an entry under another's name all count as missing, and what is missing is
computed anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scarmatch.errors import ScarmatchError

logger = logging.getLogger(__name__)

#: Part of every file name: an incompatible layout gets its own files.
LAYOUT = 1

#: First bytes of an entry; behind them the digest of its key, a checksum, and then the arrays in safetensors' format.
_MAGIC = b"scarmatch entry\n"
_HEAD = len(_MAGIC) + 32 + 4


class StoreError(ScarmatchError, OSError):
    """The store's folder cannot be used; the message names it and the way out."""


class LostEntryError(ScarmatchError, KeyError):
    """The store no longer holds what it held when the run began (its folder was cleared, or the disk errs)."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return (
            f"the store lost its description of the photograph {self.key[:16]}… while the run used it: run the same "
            "command again, and it is described anew"
        )


@dataclass(frozen=True)
class StoreSize:
    """How much a store holds: number of entries and bytes."""

    entries: int
    bytes: int


class FeatureStore:
    """Arrays by key in a folder.

    Args:
        root: the folder; made when the first entry is written.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)
        self._warned: set[str] = set()
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"the store {self.root} is a file; give a folder with --store")

    def path(self, key: str) -> Path:
        """Return the file of a key (which need not exist)."""
        digest = _key_digest(key).hex()
        return self.root / digest[:2] / f"{digest[2:40]}.safetensors"

    def has(self, key: str) -> bool:
        """Say whether a key has an entry that is whole: what :meth:`get` would not refuse."""
        return self._payload(key) is not None

    def get(self, key: str) -> dict[str, npt.NDArray[Any]] | None:
        """Return the arrays of a key; None where there are none, or where they are not what was put in.

        A damaged entry is told of once, and removed where the folder lets itself be written.
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

    def _payload(self, key: str) -> bytes | None:
        """Return the checked bytes behind an entry's checksum."""
        path = self.path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"entries of the store {self.root} cannot be read ({error}) and are computed anew")
            return None
        payload = data[_HEAD:]
        if data[:_HEAD] == _head(key, payload):
            return payload
        if data[8:9] == b"{" and not data.startswith(_MAGIC):
            what = "were written by an earlier version, without checksums: they"
        else:
            what = "are damaged (their checksums differ): they"
        self._warn(f"entries of the store {self.root} {what} are computed anew")
        with contextlib.suppress(OSError):
            path.unlink()
        return None

    def _warn(self, text: str) -> None:
        """Say something once per store, process and kind of trouble: a folder may hold thousands of such entries."""
        if text not in self._warned:
            self._warned.add(text)
            logger.warning("%s", text)

    def put(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write the arrays of a key at once or not at all.

        Raises:
            StoreError: the folder cannot be written (full disk, no permission).
        """
        from safetensors.numpy import save

        path = self.path(key)
        payload = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.writelines((_head(key, payload), payload))
                Path(temporary).replace(path)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    Path(temporary).unlink()
                raise
        except OSError as error:
            raise StoreError(
                f"cannot write into the store {self.root}: {error}; choose another with --store"
            ) from error

    def size(self) -> StoreSize:
        """Count entries and bytes."""
        sizes = [path.stat().st_size for path in self.root.glob("??/*.safetensors")] if self.root.is_dir() else []
        return StoreSize(len(sizes), sum(sizes))


def default_store(near: str | os.PathLike[str]) -> Path:
    """Return the store's folder for a catalogue: ``SCARMATCH_STORE`` if set, otherwise the user's cache folder.

    The catalogue itself may be read-only, so nothing is written beside it.
    """
    if os.environ.get("SCARMATCH_STORE"):
        return Path(os.environ["SCARMATCH_STORE"])
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = Path(near).resolve()
    return base / "scarmatch" / f"{name.name}-{hashlib.sha256(str(name).encode()).hexdigest()[:10]}"


def _key_digest(key: str) -> bytes:
    """Return the 32 bytes that stand for a key, in an entry's file name and in its head."""
    return hashlib.sha256(f"{LAYOUT}:{key}".encode()).digest()


def _head(key: str, payload: bytes) -> bytes:
    """Return what an entry begins with: whose it is, and the CRC-32 of that and of its content.

    CRC-32 finds every burst of up to 32 flipped bits and misses one in four thousand million of any other damage, at a
    quarter of the time of a cryptographic hash; disks err, but they do not forge.
    """
    owner = _key_digest(key)
    return _MAGIC + owner + zlib.crc32(payload, zlib.crc32(owner)).to_bytes(4, "big")
