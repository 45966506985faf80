"""Photographs that were never taken: described ones, jittered, to make a small catalogue a large one.

A distractor's global vector lies between those of two photographs, three to seven parts in ten of one, plus noise of a
third of its length, at unit length again. Its keypoints, as the word index keeps them, are those of photographs at
random: each goes to one of its four nearest words, and one sign in eight beside it is turned. So it resembles the
catalogue's animals as other animals of the species do, and none of them much. It has no pixels and no keypoints in the
store: where it is to be scored by keypoints, those of a real photograph stand in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
import numpy.typing as npt

from engine.matching.exhaustive import Codes
from engine.retrieval.segments import Digests
from engine.retrieval.vectors import VectorFiles
from engine.retrieval.vocabulary import Bits, Vocabulary, Words
from engine.retrieval.word_index import WordIndex
from features.records import FloatArray

#: Least share of one of a vector's two origins, and the length of its noise.
_SHARE, _NOISE = 0.3, 0.33
#: Nearest words of a keypoint that a jittered one may have.
_WORDS = 4
#: Photographs of one piece of work, a segment of its own.
_CHUNK = 100_000


@dataclass(frozen=True, eq=False)
class Origins:
    """The described photographs that distractors come from.

    Attributes:
        vectors: (n, D) float32. codes: of each one's keypoints, (k, D) int8.
        seed: of every choice.
    """

    vectors: FloatArray
    codes: Sequence[Codes]
    seed: int

    def __len__(self) -> int:
        return len(self.vectors)

    def grow(self, files: VectorFiles, words: WordIndex, start: int, stop: int) -> None:
        """Add the photographs from one number up to another: the first are the real ones, the others distractors."""
        vocabulary = words.vocabulary
        assert vocabulary is not None
        while start < stop:
            last = min(stop, start + _CHUNK)
            if start < len(self):
                last = min(last, len(self))
                files.add(digests_of(start, last), self.vectors[start:last])
                words.add(digests_of(start, last), self.codes[start:last])
            else:
                rng = np.random.default_rng((self.seed, start))
                files.add(digests_of(start, last), self._jittered(rng, np.arange(start, last)))
                words.add_entries(digests_of(start, last), *self._entries(vocabulary, start, last))
            start = last

    def _jittered(self, rng: np.random.Generator, numbers: npt.NDArray[np.int64]) -> FloatArray:
        found = self.vectors[numbers % len(self)]
        others, shares = rng.integers(len(self), size=len(found)), rng.uniform(_SHARE, 1 - _SHARE, len(found))
        noise = np.float32(_NOISE / np.sqrt(found.shape[1]))
        for row, share in enumerate(shares.astype(np.float32)):  # noise for all at once would double the memory
            found[row] = share * found[row] + (1 - share) * self.vectors[others[row]]
            found[row] /= np.linalg.norm(found[row])
            found[row] += noise * rng.standard_normal(found.shape[1], np.float32)
            found[row] /= np.linalg.norm(found[row])
        return found

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.cumsum([0, *map(len, self.codes)])

    def _entries(self, vocabulary: Vocabulary, start: int, stop: int) -> tuple[Words, npt.NDArray[np.uint32], Bits]:
        words, bits = self._near(vocabulary)
        counts = np.diff(self._starts)[np.arange(start, stop) % len(self)]
        total = int(counts.sum())
        found = np.empty(total, np.int32), np.empty(total, np.uint32), np.empty((total, bits.shape[2]), np.uint64)
        _jitter(self._starts, words, bits, start, stop, self.seed, *found)
        return found

    def _near(self, vocabulary: Vocabulary) -> tuple[Words, Bits]:
        """Return the (P, A) nearest words of all keypoints, and the (P, A, B) signs beside them."""
        if "_known" not in self.__dict__:
            parts = [vocabulary.several(codes, _WORDS) for codes in self.codes if len(codes)]
            self.__dict__["_known"] = tuple(np.concatenate([part[side] for part in parts]) for side in (0, 1))
        known: tuple[Words, Bits] = self.__dict__["_known"]
        return known


def digests_of(start: int, stop: int) -> Digests:
    """Return the (n, 2) digests of photographs by their numbers: spread as real ones are."""
    with np.errstate(over="ignore"):
        mixed = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xC2B2AE3D27D4EB4F)
    return np.stack([mixed, ~mixed], 1)


@numba.njit(cache=True, nogil=True)
def _jitter(
    starts: npt.NDArray[np.int64],
    words: Words,
    bits: Bits,
    first: int,
    last: int,
    seed: int,
    to_words: Words,
    to_photo: npt.NDArray[np.uint32],
    to_bits: Bits,
) -> None:  # pragma: no cover - compiled
    """Write the entries of the distractors from ``first`` to ``last``."""
    origins, place = len(starts) - 1, 0
    state = np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15) * np.uint64(first + 1)
    for number in range(first, last):
        origin = number % origins
        for _ in range(starts[origin], starts[origin + 1]):
            # Thirteen, seven, seventeen: Marsaglia's generator (2003).
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            entry = np.int64((state >> np.uint64(8)) % np.uint64(starts[origins]))
            choice = np.int64((state >> np.uint64(3)) % np.uint64(words.shape[1]))
            to_words[place], to_photo[place] = words[entry, choice], number - first
            for part in range(bits.shape[2]):
                turned = ~np.uint64(0)
                for _ in range(3):
                    state ^= state << np.uint64(13)
                    state ^= state >> np.uint64(7)
                    state ^= state << np.uint64(17)
                    turned &= state
                to_bits[place, part] = bits[entry, choice, part] ^ turned
            place += 1
