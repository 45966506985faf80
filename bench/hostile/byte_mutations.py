"""What happens to the bytes of any document: other encodings and damage."""

from __future__ import annotations

import random
from collections.abc import Callable

from bench.hostile.table_documents import Document

Mutation = Callable[[Document, random.Random], None]


def other_encoding(document: Document, chance: random.Random) -> None:
    choices = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
    document.encoding = chance.choice(choices if document.data is None else ["utf-8-sig", "utf-16"])


def noise(document: Document, chance: random.Random) -> None:
    seed = chance.randrange(2**32)

    def damaged(data: bytes) -> bytes:
        dice = random.Random(seed)
        changed = bytearray(data)
        for _ in range(dice.choice([1, 1, 3, 20])):
            place = dice.randrange(len(changed) + 1)
            kind = dice.randrange(4)
            if kind == 0:
                changed[place:] = b""
            elif kind == 1:
                changed[place:place] = dice.choice([b"\0", b'"', b"\n", b",", b"\xff\xfe", b"\x80", b"\xed\xa0\x80"])
            elif kind == 2:
                del changed[place : place + dice.choice([1, 1, 40])]
            elif place < len(changed):
                changed[place] ^= 1 << dice.randrange(8)
        return bytes(changed)

    document.damage.append(damaged)
    document.open_ended = True
