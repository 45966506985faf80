"""Which photographs of a large catalogue have keypoints like a query's: an inverted file that only grows.

Every keypoint of the catalogue is an entry in the list of its word: its photograph, and the signs of what the word
leaves of its descriptor. A query's keypoint looks through the lists of its nearest words; an entry counts by the
square of the agreement of signs, the best one of each photograph alone (Tolias, Avrithis and Jegou, IJCV 2016;
Jegou, Douze and Schmid, CVPR 2009, on entries of one photograph that repeat each other). All votes are whole numbers:
a photograph's vote depends on it, the query and the words, whatever else lies in the files and in which order.

Votes choose who is scored as the exhaustive search would (:mod:`engine.matching.exhaustive`); they are no scores.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from engine.matching.exhaustive import Codes
from engine.retrieval.vocabulary import Bits, Vocabulary, Words
from features.records import BoolArray
from features.store.segments import Digests, Rows, Segment, append, for_each, placed, read_segments

Votes = npt.NDArray[np.int32]

#: Words of a query's keypoint whose lists are looked through.
ASSIGNED = 32
#: Agreement of signs, from -1 to 1, below which an entry does not count; chance is 0.
_THRESHOLD = 0.1
_POWER = 2
#: A vote of full agreement.
_FULL = 10_000
#: Keypoints of a query whose lists are looked through before their pages leave the process.
_AT_ONCE = 32
#: Photographs whose words the centres are learned from, and that one segment takes at once.
_SAMPLE, _SEGMENT = 1024, 8192


class WordIndex:
    """The inverted file of photographs by their digests, in a folder beside the store.

    Args:
        folder: where vocabulary and segments lie, or will.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vocabulary = Vocabulary.load(folder)
        # Without its words an index says nothing.
        self.segments: list[Segment] = []
        if self.vocabulary is not None:
            self.segments = read_segments(self.folder / self.vocabulary.digest())

    def missing(self, digests: Digests) -> BoolArray:
        """Return the (N,) mask of the photographs that no segment has."""
        return placed(self.segments, digests)[0] < 0

    def learn(self, photographs: Sequence[Codes]) -> Vocabulary:
        """Learn the words, once for the life of the index.

        Raises:
            ValueError: there are no keypoints to learn from.
            OSError: the folder cannot be written.
        """
        self.vocabulary = Vocabulary.learned(photographs)
        self.vocabulary.save(self.folder)
        for old in self.folder.iterdir():  # of words that were lost
            if old.is_dir() and old.name != self.vocabulary.digest():
                shutil.rmtree(old, ignore_errors=True)
        return self.vocabulary

    def add(self, digests: Digests, photographs: Sequence[Codes]) -> None:
        """Write further photographs' keypoints, (n, D) codes each, and join small segments.

        Raises:
            ValueError: no words were learned.
            OSError: the folder cannot be written.
        """
        vocabulary = self.vocabulary
        if vocabulary is None:
            raise ValueError("learn the words of an index before photographs are added")
        if not len(digests):
            return
        filled = [codes if len(codes) else np.zeros((0, vocabulary.numbers), np.int8) for codes in photographs]
        found = [vocabulary.nearest(codes) for codes in filled]
        photo = np.repeat(np.arange(len(filled), dtype=np.uint32), [len(codes) for codes in filled])
        words, bits = (np.concatenate([part[side] for part in found]) for side in (0, 1))
        self.add_entries(digests, words, photo, bits)

    def add_entries(self, digests: Digests, words: Words, photo: npt.NDArray[np.uint32], bits: Bits) -> None:
        """Write further photographs by their keypoints' words; see :meth:`add`.

        Args:
            digests: (n, 2) of the photographs.
            words, photo, bits: (P,) word, (P,) row of the photograph and (P, B) signs of each keypoint.
        """
        vocabulary = self.vocabulary
        if vocabulary is None:
            raise ValueError("learn the words of an index before photographs are added")
        arrays = _by_words(vocabulary, digests, words, photo, bits)
        self.segments = append(self.folder / vocabulary.digest(), arrays, partial(_joined, vocabulary))

    def view(self, digests: Digests) -> WordView:
        """Return the photographs of a catalogue, in its order; those that are missing get no votes."""
        return WordView(self, digests)


def _by_words(
    vocabulary: Vocabulary, digests: Digests, words: Words, photo: npt.NDArray[np.uint32], bits: Bits
) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a segment: entries sorted by word."""
    starts = np.zeros(vocabulary.words + 1, np.int64)
    np.cumsum(np.bincount(words, minlength=vocabulary.words), out=starts[1:])
    order = _by_word(words, starts[:-1].copy())
    signs = np.ascontiguousarray(bits[order].T)
    return {"digests": digests, "starts": starts, "photo": photo[order], "signs": signs}


def _joined(vocabulary: Vocabulary, segments: Sequence[Segment]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of one segment of several."""
    every = np.arange(vocabulary.words, dtype=np.int32)
    words = np.concatenate([np.repeat(every, np.diff(segment.arrays["starts"])) for segment in segments])
    before = np.cumsum([0, *map(len, segments)])
    photo = [segment.arrays["photo"] + np.uint32(start) for segment, start in zip(segments, before, strict=False)]
    digests = np.concatenate([segment.digests for segment in segments])
    bits = np.concatenate([segment.arrays["signs"].T for segment in segments])
    return _by_words(vocabulary, digests, words, np.concatenate(photo), bits)


class WordView:
    """The index of a catalogue's photographs, in its order.

    Args:
        index: the whole.
        digests: (N, 2) of the photographs.
    """

    def __init__(self, index: WordIndex, digests: Digests) -> None:
        self._vocabulary, self._segments = index.vocabulary, index.segments
        number, place = placed(self._segments, digests)
        #: The first row of each row's photograph: a catalogue may have one twice.
        self._first = np.arange(len(digests))
        self._rows: list[Rows] = []
        for current, segment in enumerate(self._segments):
            here = np.flatnonzero(number == current)[::-1]
            rows = np.full(len(segment), -1, np.int64)
            rows[place[here]] = here
            self._first[here] = rows[place[here]]
            self._rows.append(rows)

    def votes(self, codes: Codes, allowed: BoolArray, threads: int = 1) -> Votes:
        """Return the (N,) votes of a query's keypoints for the photographs.

        Args:
            codes: (n, D) of the query's keypoints.
            allowed: (N,) bool; the others are not looked at and get 0.
            threads: that look through segments; no vote depends on them.
        """
        votes = np.zeros(len(self._first), np.int32)
        if self._vocabulary is None or not len(codes):
            return votes
        asked = np.zeros(len(votes) + 1, bool)  # the last is nobody's
        asked[self._first[allowed]] = True
        words, bits = self._vocabulary.several(codes, ASSIGNED)
        worth, seen, best = _worth(codes.shape[1]), np.full(len(votes), -1, np.int32), np.zeros(len(votes), np.int32)

        def look(number: int) -> None:
            rows, segment = self._rows[number], self._segments[number]
            arrays, places = segment.arrays, np.where(asked[rows], rows, -1)
            lists = arrays["starts"], arrays["photo"], arrays["signs"]
            for first in range(0, len(words), _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                _vote(*lists, words[part], bits[part], first, places, worth, seen, best, votes)
                # Pages around each list are mapped with it, and would be most of the segment in the end.
                segment.release("photo", "signs")

        for_each(look, self._segments, threads)
        return np.where(allowed, votes[self._first], 0).astype(np.int32)


@numba.njit(cache=True, nogil=True)
def _by_word(words: Words, next_place: Rows) -> Rows:  # pragma: no cover - compiled
    """Return the stable order of entries by word; ``next_place`` is where each word's entries begin."""
    order = np.empty(len(words), np.int64)
    for entry in range(len(words)):
        order[next_place[words[entry]]] = entry
        next_place[words[entry]] += 1
    return order


def _worth(numbers: int) -> Votes:
    """Return what an entry counts by the number of its signs that differ."""
    agreement = 1 - 2 * np.arange(numbers + 1) / numbers
    return np.where(agreement > _THRESHOLD, np.rint(_FULL * np.abs(agreement) ** _POWER), 0).astype(np.int32)


@intrinsic
def _ones(typingctx: Any, value: Any) -> Any:
    """Return how many bits of a number are set."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return types.uint64(types.uint64), write


@numba.njit(cache=True, nogil=True)
def _vote(
    starts: Rows,
    photo: npt.NDArray[np.uint32],
    entries: Bits,
    words: Words,
    signs: Bits,
    first: int,
    rows: Rows,
    worth: Votes,
    seen: Votes,
    best: Votes,
    votes: Votes,
) -> None:  # pragma: no cover - compiled
    """Add to each photograph's votes the best entry of each of a query's keypoints.

    ``rows`` says which row of the catalogue a photograph of the segment is, -1 for none; ``seen`` and ``best`` are the
    keypoint that looked at a row last, counted from ``first``, and its best entry there. ``entries`` are (B, P): a row
    for each 64 signs.
    """
    most, longest = 0, 0
    for count in range(len(worth)):
        if worth[count]:
            most = count
    for word in range(len(starts) - 1):
        longest = max(longest, starts[word + 1] - starts[word])
    different = np.empty(longest, np.uint16)
    for i in range(words.shape[0]):
        for a in range(words.shape[1]):
            start, stop = starts[words[i, a]], starts[words[i, a] + 1]
            # A loop that the compiler turns into vector instructions; few entries are left for the next.
            for part in range(entries.shape[0]):
                own, column = signs[i, a, part], entries[part, start:stop]
                if part == 0:
                    for k in range(stop - start):
                        different[k] = np.uint16(_ones(column[k] ^ own))
                else:
                    for k in range(stop - start):
                        different[k] += np.uint16(_ones(column[k] ^ own))
            for k in range(stop - start):
                if different[k] > most:
                    continue
                row = rows[photo[start + k]]
                if row < 0:
                    continue
                value = worth[different[k]]
                if seen[row] != first + i:
                    seen[row], best[row] = first + i, value
                    votes[row] += value
                elif value > best[row]:
                    votes[row] += value - best[row]
                    best[row] = value
