"""Photographs that were never taken: described ones, jittered, to make a small catalogue a large one.

A distractor's global vector lies between those of two photographs, three to seven parts in ten of one, plus noise of a
third of its length, at unit length again. Each of its keypoints is one of half a million made ones, and such a one is
the sum of three real photographs' keypoints at random, at unit length: it is as alike to each of them (a cosine of
0.58) as the nearest keypoints of different animals are (0.53 at the median for the best five of a pair; those of one
animal have 0.72). So a distractor resembles the catalogue's animals as other animals of the species do; its keypoints
agree by chance with those of a query rather more than a real impostor's. The words and signs that the index keeps are
those of its descriptors, and the first so many also have these in the files of descriptors. It has no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from engine.matching.code_files import CodeFiles
from engine.matching.exhaustive import Codes, quantise
from engine.retrieval.vectors import VectorFiles
from engine.retrieval.vocabulary import Bits, Vocabulary, Words
from engine.retrieval.word_index import WordIndex
from features.records import FloatArray
from features.store.segments import Digests

#: Least share of one of a vector's two origins, and the length of its noise.
_SHARE, _NOISE = 0.3, 0.33
#: Made keypoints that distractors have theirs from, and real ones that each is a sum of.
_MADE, _SUMMED = 500_000, 3
#: Photographs of one piece of work, a segment of its own; keypoints whose words are looked for at once.
_CHUNK, _AT_ONCE = 50_000, 2000


def digests_of(start: int, stop: int) -> Digests:
    """Return the (n, 2) digests of photographs by their numbers: spread as real ones are."""
    with np.errstate(over="ignore"):
        mixed = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(31))) * np.uint64(0xC2B2AE3D27D4EB4F)
    return np.stack([mixed, ~mixed], 1)


@dataclass(frozen=True, eq=False)
class LargeFiles:
    """What :mod:`engine.search.large` keeps beside a store, in a folder of its own."""

    vectors: VectorFiles
    words: WordIndex
    codes: CodeFiles


@dataclass(frozen=True, eq=False)
class Origins:
    """The described photographs that distractors come from.

    Attributes:
        vectors: (n, D) float32. codes: of each one's keypoints, (k, D) int8.
        seed: of every choice.
        full: photographs, real ones among them, whose descriptors are kept too.
        digests: of photographs from one number up to another, by which the files know them.
    """

    vectors: FloatArray
    codes: Sequence[Codes]
    seed: int
    full: int
    digests: Callable[[int, int], Digests] = digests_of

    def __len__(self) -> int:
        return len(self.vectors)

    def grow(self, files: LargeFiles, start: int, stop: int) -> None:
        """Add the photographs from one number up to another: the first are the real ones, the others distractors."""
        vocabulary = files.words.vocabulary
        assert vocabulary is not None
        while start < stop:
            borders = (bound for bound in (len(self), self.full) if bound > start)
            last = min(stop, start + _CHUNK, *borders)
            digests = self.digests(start, last)
            if start < len(self):
                files.vectors.add(digests, self.vectors[start:last])
                files.words.add(digests, self.codes[start:last])
                files.codes.add(digests, self.codes[start:last])
            else:
                rng = np.random.default_rng((self.seed, start))
                files.vectors.add(digests, self._jittered(rng, np.arange(start, last)))
                counts = np.diff(self._starts)[np.arange(start, last) % len(self)]
                chosen = rng.integers(_MADE, size=int(counts.sum()), dtype=np.int32)
                words, bits = self._words(vocabulary)
                photo = np.repeat(np.arange(last - start, dtype=np.uint32), counts)
                files.words.add_entries(digests, words[chosen], photo, bits[chosen])
                if start < self.full:
                    parts = np.split(chosen, np.cumsum(counts)[:-1])
                    for first in range(0, len(parts), 4096):
                        codes = [self._made[part] for part in parts[first : first + 4096]]
                        files.codes.add(digests[first : first + 4096], codes)
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

    @cached_property
    def _made(self) -> Codes:
        """The (M, D) made keypoints."""
        real = np.concatenate([codes for codes in self.codes if len(codes)])
        rng, found = np.random.default_rng((self.seed, 1)), np.empty((_MADE, real.shape[1]), np.int8)
        for start in range(0, _MADE, _CHUNK):
            chosen = rng.integers(len(real), size=(_SUMMED, min(_CHUNK, _MADE - start)))
            total = real[chosen].astype(np.float32).sum(axis=0)
            total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-6)
            found[start : start + len(total)] = quantise(total)
        return found

    def _words(self, vocabulary: Vocabulary) -> tuple[Words, Bits]:
        """Return the (M,) words of the made keypoints, and the (M, B) signs beside them."""
        if "_known" not in self.__dict__:
            parts = [vocabulary.nearest(self._made[k : k + _AT_ONCE]) for k in range(0, _MADE, _AT_ONCE)]
            self.__dict__["_known"] = tuple(np.concatenate([part[side] for part in parts]) for side in (0, 1))
        known: tuple[Words, Bits] = self.__dict__["_known"]
        return known
