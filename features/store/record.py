"""One record of a shard: whose it is, how long it is, checksums, and the arrays in safetensors' format.

::

    magic 8 | digest of the key 32 | payload's length 8 | key's length 4 | body's CRC 4 | header's CRC 4 | zeros 4
    key in UTF-8 | payload | zeros up to a multiple of 64

The body's CRC-32 goes over digest, key and payload. CRC-32 finds every burst of up to 32 flipped bits and misses one in
four thousand million of any other damage, at a quarter of the time of a cryptographic hash; disks err, but they do not
forge. The header has a CRC of its own, so that a length can be trusted before anything is read by it, and a record can
be stepped over without reading it.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass

#: Records and shard headers begin at multiples of it.
ALIGNMENT = 64

MAGIC = b"\x93scmrec\n"
#: A record that was found damaged, or is not wanted any more: skipped without a word.
DEAD_MAGIC = b"\x93scmdel\n"

_HEADER = struct.Struct("<8s32sQIII4x")
HEADER_SIZE = _HEADER.size
#: A key is text of a few hundred letters; a longer one is damage.
_LONGEST_KEY = 1 << 16

#: Part of every key's digest: an incompatible layout of the arrays gets its own records.
LAYOUT = 1


@dataclass(frozen=True)
class RecordHeader:
    """What a record says of itself.

    Attributes:
        digest: 32 bytes that stand for the key.
        payload: length of the payload in bytes.
        key: length of the key in bytes.
        body_crc: CRC-32 of digest, key and payload.
        dead: it was taken out.
    """

    digest: bytes
    payload: int
    key: int
    body_crc: int
    dead: bool = False

    @property
    def length(self) -> int:
        """Length of the whole record in bytes, with its header and padding."""
        return padded(HEADER_SIZE + self.key + self.payload)


def padded(size: int) -> int:
    """Return a size rounded up to the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def key_digest(key: str) -> bytes:
    """Return the 32 bytes that stand for a key."""
    return hashlib.sha256(f"{LAYOUT}:{key}".encode()).digest()


def pack_record(digest: bytes, key: bytes, payload: bytes) -> bytes:
    """Return a record's bytes; the key may be empty where only its digest is known."""
    body_crc = zlib.crc32(payload, zlib.crc32(key, zlib.crc32(digest)))
    fields = (digest, len(payload), len(key), body_crc)
    header = _HEADER.pack(MAGIC, *fields, _header_crc(*fields))
    body = HEADER_SIZE + len(key) + len(payload)
    return b"".join((header, key, payload, bytes(padded(body) - body)))


def read_header(data: bytes) -> RecordHeader | None:
    """Return what a record's first bytes say, None if they are no sound header."""
    if len(data) < HEADER_SIZE:
        return None
    magic, digest, payload, key, body_crc, crc = _HEADER.unpack_from(data)
    if magic not in (MAGIC, DEAD_MAGIC) or crc != _header_crc(digest, payload, key, body_crc) or key > _LONGEST_KEY:
        return None
    if any(data[HEADER_SIZE - 4 : HEADER_SIZE]):
        return None
    return RecordHeader(digest, payload, key, body_crc, magic == DEAD_MAGIC)


def unpack_record(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return digest, key and payload of a whole record's bytes; None where anything is not as it was written."""
    header = read_header(data)
    if header is None or header.dead or header.length != len(data):
        return None
    end = HEADER_SIZE + header.key
    key, payload = data[HEADER_SIZE:end], data[end : end + header.payload]
    if any(data[end + header.payload :]):
        return None
    if zlib.crc32(payload, zlib.crc32(key, zlib.crc32(header.digest))) != header.body_crc:
        return None
    return header.digest, key, payload


def _header_crc(digest: bytes, payload: int, key: int, body_crc: int) -> int:
    return zlib.crc32(struct.pack("<32sQII", digest, payload, key, body_crc))
