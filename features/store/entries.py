"""Where the records of a shard lie: an array of small entries, kept beside the shard and searched by key.

An entry holds 16 of a key's 32 digest bytes (the record holds them all), offset and length of its record, and a check
of its own. A list of them is written in the order of the records while a shard grows, and sorted by key when it is
compacted; either is read as one array, without a line of Python an entry.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

Entries = npt.NDArray[np.void]

ENTRY = np.dtype(
    [("digest0", "<u8"), ("digest1", "<u8"), ("offset", "<u8"), ("length", "<u4"), ("check", "<u4")], align=False
)
#: Lowest bit of a length, which is a multiple of 64: the record was taken out.
DEAD = 1
#: Records are shorter than this, so that a length fits.
LONGEST_RECORD = 1 << 32

_FACTORS = tuple(
    np.uint64(factor) for factor in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)
)


def make_entry(digest: bytes, offset: int, length: int) -> Entries:
    """Return the (1,) entry of a record."""
    entry = np.zeros(1, ENTRY)
    entry["digest0"], entry["digest1"] = digest_halves(digest)
    entry["offset"], entry["length"] = offset, length
    entry["check"] = checks(entry)
    return entry


def digest_halves(digest: bytes) -> tuple[int, int]:
    """Return the first 16 bytes of a key's digest as two numbers."""
    first, second = struct.unpack_from("<QQ", digest)
    return int(first), int(second)


def checks(entries: Entries) -> npt.NDArray[np.uint32]:
    """Return what the ``check`` of (N,) entries has to be: every bit of an entry changes it."""
    with np.errstate(over="ignore"):
        mixed = np.zeros(len(entries), np.uint64)
        for name, factor in zip(("digest0", "digest1", "offset", "length"), _FACTORS, strict=True):
            mixed += entries[name].astype(np.uint64) * factor
        mixed ^= mixed >> np.uint64(29)
        mixed *= _FACTORS[0]
    return (mixed >> np.uint64(32)).astype(np.uint32)


def sound(entries: Entries) -> bool:
    """Say whether all entries are as they were written."""
    return bool((entries["check"] == checks(entries)).all())


def ends(entries: Entries) -> npt.NDArray[np.int64]:
    """Return the (N,) byte behind each entry's record."""
    return (entries["offset"].astype(np.int64) + lengths(entries)).astype(np.int64)


def lengths(entries: Entries) -> npt.NDArray[np.int64]:
    """Return the (N,) lengths in bytes, of dead records too."""
    return (entries["length"] & ~np.uint32(DEAD)).astype(np.int64)


def alive(entries: Entries) -> npt.NDArray[np.bool_]:
    """Return the (N,) mask of the records that were not taken out."""
    return (entries["length"] & np.uint32(DEAD)) == 0


def sorted_entries(entries: Entries) -> Entries:
    """Return entries in the order of their keys, those of one key in the order of their offsets."""
    order = np.argsort(entries["digest0"])
    keys = entries["digest0"][order]
    if (keys[1:] == keys[:-1]).any():
        # Few keys have several records; sorting by both takes four times as long.
        again = np.flatnonzero(np.isin(keys, keys[1:][keys[1:] == keys[:-1]]))
        several = order[again]
        order[again] = several[np.lexsort((entries["offset"][several], entries["digest0"][several]))]
    return entries[order]


class EntryTable:
    """Entries of one shard, searched by key, that may grow: a large sorted array, and a small dictionary behind it."""

    #: Entries that are kept unsorted: sorting costs more than looking them up.
    RECENT = 4096

    def __init__(self) -> None:
        self._sorted: Entries = np.zeros(0, ENTRY)
        self._keys: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._others: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._alive: npt.NDArray[np.bool_] = np.zeros(0, bool)
        self._recent: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._unsorted: list[Entries] = []

    def add(self, entries: Entries) -> None:
        """Take entries in, later ones than those that are there."""
        self._unsorted.append(entries)
        if sum(map(len, self._unsorted)) > self.RECENT:
            self._sort()
            return
        for entry in entries.tolist():
            self._recent.setdefault(entry[:2], []).append(entry[2:4])

    def _sort(self) -> None:
        if not self._unsorted:
            return
        entries = np.concatenate([self._sorted, *self._unsorted])
        keys = entries["digest0"]
        self._sorted = entries if (keys[1:] >= keys[:-1]).all() else sorted_entries(entries)
        # Columns of their own: searching a column of records would copy it each time.
        self._keys, self._others = (np.ascontiguousarray(self._sorted[name]) for name in ("digest0", "digest1"))
        self._alive = alive(self._sorted)
        self._recent, self._unsorted = {}, []

    @property
    def entries(self) -> Entries:
        """(N,) all entries in the order of their keys, dead ones too."""
        self._sort()
        return self._sorted

    def find(self, digest: bytes) -> list[tuple[int, int]]:
        """Return (offset, length) of every record of a key that was not taken out, the latest first."""
        halves = digest_halves(digest)
        found = []
        start = int(np.searchsorted(self._keys, np.uint64(halves[0])))
        while start < len(self._keys) and int(self._keys[start]) == halves[0]:
            entry = self._sorted[start]
            if int(entry["digest1"]) == halves[1]:
                found.append((int(entry["offset"]), int(entry["length"])))
            start += 1
        found += self._recent.get(halves, [])
        return [(offset, length) for offset, length in reversed(found) if not length & DEAD]

    def take_out(self, digest: bytes, offset: int) -> None:
        """Forget a record."""
        entries = self.entries
        first, _ = digest_halves(digest)
        rows = (entries["digest0"] == first) & (entries["offset"] == offset)
        changed = entries.copy()
        changed["length"][rows] |= DEAD
        self._sorted, self._alive = changed, alive(changed)

    def contains(self, digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Say of (N, 2) digests, as two numbers each, which have a record here that was not taken out."""
        self._sort()
        # In their order, so that neighbours in the table are looked for one after the other.
        order = np.argsort(digests[:, 0])
        wanted, others = digests[order, 0], digests[order, 1]
        found = np.zeros(len(digests), bool)
        places = np.searchsorted(self._keys, wanted)
        active = np.flatnonzero(places < len(self._keys))
        while len(active):
            rows = places[active]
            same = self._keys[rows] == wanted[active]
            found[active[same & (self._others[rows] == others[active]) & self._alive[rows]]] = True
            # The first of a key's entries may be another's with the same half, or may have been taken out.
            active = active[same & ~found[active]]
            places[active] += 1
            active = active[places[active] < len(self._keys)]
        known = np.empty(len(digests), bool)
        known[order] = found
        return known
