"""A content-addressed cache of descriptions on disk; deleting it changes nothing but time.

One file per photograph and fingerprint, named by ``sha256(file bytes) + fingerprint``: a new model, new settings or a
changed photograph can never be served an old description. Files appear by atomic rename, so that a killed process
leaves no half-written entry and two processes can share a folder: whoever comes second overwrites with the same
content.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scarmatch.errors import ScarmatchError

#: Part of every file name: an incompatible layout gets its own files.
LAYOUT = 1


class StoreError(ScarmatchError, OSError):
    """The store's folder cannot be used; the message names it and the way out."""


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
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"the store {self.root} is a file; give a folder with --store")

    def path(self, key: str) -> Path:
        """Return the file of a key (which need not exist)."""
        digest = hashlib.sha256(f"{LAYOUT}:{key}".encode()).hexdigest()
        return self.root / digest[:2] / f"{digest[2:40]}.safetensors"

    def has(self, key: str) -> bool:
        """Say whether an entry exists (it may still turn out to be damaged)."""
        return self.path(key).is_file()

    def get(self, key: str) -> dict[str, npt.NDArray] | None:
        """Return the arrays of a key; None where there are none or the file is damaged (it is then removed)."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self.path(key)
        try:
            return load(path.read_bytes())
        except FileNotFoundError:
            return None
        except (SafetensorError, ValueError):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return None

    def put(self, key: str, arrays: Mapping[str, npt.NDArray]) -> None:
        """Write the arrays of a key at once or not at all.

        Raises:
            StoreError: the folder cannot be written (full disk, no permission).
        """
        from safetensors.numpy import save

        path = self.path(key)
        data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(data)
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
