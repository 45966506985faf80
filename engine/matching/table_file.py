"""A catalogue's quantised descriptors as two files that every process maps instead of reading."""

from __future__ import annotations

import contextlib
import zlib
from pathlib import Path

import numpy as np

from engine.matching.exhaustive import DescriptorTable

#: Tables of other catalogues, or of this one as it was, that are left beside a new one.
_KEPT = 3


def write_table(folder: Path, name: str, table: DescriptorTable) -> None:
    """Write a table under a name, at once or not at all; the oldest of more than a few go.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(folder.glob("*.offsets.npy"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[_KEPT:]:
        # Another process may still have them mapped; on Windows they then stay until next time.
        with contextlib.suppress(OSError):
            old.unlink()
            old.with_name(old.name.replace(".offsets.npy", ".codes.npy")).unlink()
    checksum = np.array([zlib.crc32(table.codes.data)], np.int64)
    # The offsets come last: a table without them was never finished.
    for part, array in (("codes", table.codes), ("offsets", np.concatenate([checksum, table.offsets]))):
        partial = folder / f".{name}.{part}.tmp"
        with partial.open("wb") as stream:
            np.save(stream, array)
        partial.replace(folder / f"{name}.{part}.npy")


def read_table(folder: Path, name: str) -> DescriptorTable | None:
    """Return the table of a name, its codes mapped; None where there is none, or where it is damaged."""
    try:
        head = np.load(folder / f"{name}.offsets.npy", allow_pickle=False)
        codes = np.load(folder / f"{name}.codes.npy", mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    checksum, offsets = head[:1], head[1:]
    fits = codes.ndim == 2 and codes.dtype == np.int8 and len(offsets) and offsets[-1] == len(codes)
    if not fits or (np.diff(offsets) < 0).any() or zlib.crc32(codes.data) != checksum[0]:
        return None
    return DescriptorTable(codes, offsets)
