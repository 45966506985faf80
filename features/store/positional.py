"""Reading and writing at a position of a file, whatever the system, and a lock that ends with its owner."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl


def open_file(path: Path, flags: int) -> int:
    """Open a file for bytes; return its number (OSError where it cannot be)."""
    return os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)


def read_at(handle: int, length: int, offset: int) -> bytes:
    """Return the bytes at a position; fewer where the file ends."""
    if hasattr(os, "pread"):
        return os.pread(handle, length, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, length)


def write_at(handle: int, data: bytes, offset: int) -> None:
    """Write all bytes at a position.

    Raises:
        OSError: the disk is full or errs.
    """
    view = memoryview(data)
    while len(view):
        if hasattr(os, "pwrite"):
            written = os.pwrite(handle, view, offset)
        else:
            os.lseek(handle, offset, os.SEEK_SET)
            written = os.write(handle, view)
        view, offset = view[written:], offset + written


def lock(handle: int) -> bool:
    """Take a file for its only writer; False where another has it, or where the system has no such lock.

    The system takes the lock back when its owner ends, whatever ends it.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
