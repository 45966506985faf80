"""Damage to the bytes of a file, whatever it holds: what disks, broken copies and editors do."""

from __future__ import annotations

import random
from collections.abc import Callable


def flip(data: bytes, chance: random.Random) -> bytes:
    """Flip one to eight bits."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(changed))
        changed[place] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(data: bytes, chance: random.Random) -> bytes:
    """Keep a beginning."""
    return data[: chance.randrange(len(data))]


def drop(data: bytes, chance: random.Random) -> bytes:
    """Leave out a part of the middle."""
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randrange(1, 64) :]


def insert(data: bytes, chance: random.Random) -> bytes:
    """Put random bytes into the middle."""
    start = chance.randrange(len(data))
    return data[:start] + chance.randbytes(chance.randrange(1, 32)) + data[start:]


def blank(data: bytes, chance: random.Random) -> bytes:
    """Overwrite a part with zeros, as a disk that lost a sector does."""
    start = chance.randrange(len(data))
    length = min(chance.choice((1, 16, 512)), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def repeat(data: bytes, chance: random.Random) -> bytes:
    """Write a part twice."""
    start = chance.randrange(len(data))
    part = data[start : start + chance.randrange(1, 512)]
    return data[:start] + part + part + data[start + len(part) :]


def extreme(data: bytes, chance: random.Random) -> bytes:
    """Overwrite four bytes with a very large or negative number, near the beginning more often than not."""
    start = chance.randrange(min(len(data), chance.choice((64, 512, len(data)))))
    value = chance.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80"))
    return data[:start] + value + data[start + 4 :]


def junk(data: bytes, chance: random.Random) -> bytes:
    """Replace everything."""
    return chance.randbytes(chance.randrange(0, 2048))


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip, cut, drop, insert, blank, repeat, extreme, junk)


def damaged(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Return what was done, and the damaged bytes."""
    damage = chance.choice(DAMAGES)
    return damage.__name__, damage(data, chance)
