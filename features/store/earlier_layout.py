"""Stores of earlier versions, which kept one file an entry: read as they are, converted when a store is compacted.

An entry's file is named by its key's digest. It holds a magic, the digest, a CRC-32 and the arrays in safetensors'
format. Before that, entries had no checksums; those are computed anew.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

_MAGIC = b"scarmatch entry\n"
_DIGEST = 32
_HEAD = len(_MAGIC) + _DIGEST + 4
_HEX = frozenset("0123456789abcdef")

#: Words for what is wrong with a file.
UNCHECKED = "were written by an earlier version, without checksums: they"
DAMAGED = "are damaged (their checksums differ): they"


def has_entry_files(root: Path) -> bool:
    """Say whether a store holds folders of the earlier layout."""
    try:
        names = [path.name for path in root.iterdir()]
    except OSError:
        return False
    return any(len(name) == 2 and set(name) <= _HEX for name in names)


def entry_path(root: Path, digest: bytes) -> Path:
    """Return the file of a key's digest."""
    name = digest.hex()
    return root / name[:2] / f"{name[2:40]}.safetensors"


def entry_paths(root: Path) -> Iterator[Path]:
    """Yield the files of all entries, in the order of their names."""
    if root.is_dir():
        yield from sorted(root.glob("[0-9a-f][0-9a-f]/*.safetensors"))


def read_entry(path: Path, digest: bytes | None = None) -> tuple[bytes, bytes] | str | None:
    """Return digest and arrays of a file; what is wrong with it in words; or None where there is none.

    Args:
        path: the file.
        digest: whose it should be; None takes it as the file's name and content agree.

    Raises:
        OSError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    owner, payload = data[len(_MAGIC) : len(_MAGIC) + _DIGEST], data[_HEAD:]
    expected = digest if digest is not None else owner
    crc = zlib.crc32(payload, zlib.crc32(expected)).to_bytes(4, "big")
    named = f"{path.parent.name}{path.stem}"
    if data[:_HEAD] == _MAGIC + expected + crc and expected.hex().startswith(named):
        return expected, payload
    return UNCHECKED if data[8:9] == b"{" and not data.startswith(_MAGIC) else DAMAGED


def remove(path: Path) -> None:
    """Remove an entry's file, and its folder if it was the last one there."""
    with contextlib.suppress(OSError):
        path.unlink()
        path.parent.rmdir()
