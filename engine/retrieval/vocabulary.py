"""Words that the descriptors of keypoints are quantised to, and what is left of a descriptor then.

A word is a pair: each half of a descriptor goes to the nearest of 256 centres, so that 512 centres make 65,536 words
(the inverted multi-index: Babenko and Lempitsky, CVPR 2012). What is left, the descriptor less its centres, is kept by
the signs of its numbers (ASMK: Tolias, Avrithis and Jegou, IJCV 2016).

The words are learned from a sample of the catalogue that is indexed first, by the content of its photographs, and stay
with the index: what is added later is said in the same words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.matching.exhaustive import Codes
from features.records import FloatArray

Bits = npt.NDArray[np.uint64]
Words = npt.NDArray[np.int32]

#: Centres of each half.
CENTRES = 256
#: Descriptors that the centres are learned from.
_SAMPLE = 65_536
_ROUNDS = 12
#: Nearest centres of each half whose pairs are tried as a query's words.
_TRIED = 12
_FILE = "vocabulary.npz"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Centres of both halves of a descriptor.

    Attributes:
        centres: (2, C, D / 2) float32, in units of codes.
    """

    centres: FloatArray

    @property
    def words(self) -> int:
        """Number of words."""
        return self.centres.shape[1] ** 2

    @property
    def numbers(self) -> int:
        """Numbers of a descriptor."""
        return 2 * self.centres.shape[2]

    @classmethod
    def learned(cls, photographs: Sequence[Codes], seed: int = 0) -> Vocabulary:
        """Learn the centres by k-means from (n, D) codes of keypoints.

        Raises:
            ValueError: there is no keypoint, or descriptors have an odd number of numbers.
        """
        from sklearn.cluster import KMeans

        codes = np.concatenate([part for part in photographs if len(part)] or [np.zeros((0, 2), np.int8)])
        if not len(codes) or codes.shape[1] % 2:
            raise ValueError(f"no words can be learned from {codes.shape[0]} descriptors of {codes.shape[1]} numbers")
        rng = np.random.default_rng(seed)
        chosen = codes[np.sort(rng.permutation(len(codes))[:_SAMPLE])].astype(np.float32)
        half, centres = codes.shape[1] // 2, []
        for part in (chosen[:, :half], chosen[:, half:]):
            distinct = np.unique(part, axis=0)
            count = min(CENTRES, len(distinct))
            start = distinct[rng.permutation(len(distinct))[:count]]
            found = KMeans(count, init=start, n_init=1, max_iter=_ROUNDS, random_state=seed).fit(part)
            centres.append(found.cluster_centers_.astype(np.float32))
        fewest = min(map(len, centres))
        return cls(np.stack([part[:fewest] for part in centres]))

    def nearest(self, codes: Codes) -> tuple[Words, Bits]:
        """Return the (n,) words of a photograph's (n, D) codes, and the (n, B) signs of what is left."""
        words, bits = self.several(codes, 1)
        return words[:, 0], bits[:, 0]

    def several(self, codes: Codes, count: int) -> tuple[Words, Bits]:
        """Return the (n, A) nearest words of a photograph's codes, best first, and the (n, A, B) signs beside each."""
        halves = np.split(codes.astype(np.float32), 2, axis=1)
        tried = min(_TRIED if count > 1 else 1, self.centres.shape[1])
        near, place = [], []
        for half, centres in zip(halves, self.centres, strict=True):
            # Less the descriptor's own norm, which is the same for all.
            distance = (centres**2).sum(1) - 2 * (half @ centres.T)
            # The first of equals either way.
            order = distance.argmin(1)[:, None] if tried == 1 else np.argsort(distance, 1, kind="stable")[:, :tried]
            place.append(order)
            near.append(np.take_along_axis(distance, order, 1))
        both = (near[0][:, :, None] + near[1][:, None, :]).reshape(len(codes), tried * tried)
        best = np.argsort(both, axis=1, kind="stable")[:, :count]
        first, second = (
            np.take_along_axis(place[side], index, 1) for side, index in ((0, best // tried), (1, best % tried))
        )
        left = np.concatenate(
            [
                half[:, None] - centres[index]
                for half, centres, index in zip(halves, self.centres, (first, second), strict=True)
            ],
            2,
        )
        return (first * self.centres.shape[1] + second).astype(np.int32), signs(left)

    def digest(self) -> str:
        """Return what changes with the centres."""
        return hashlib.blake2b(np.ascontiguousarray(self.centres).tobytes(), digest_size=8).hexdigest()

    def save(self, folder: Path) -> None:
        """Keep the centres in a folder, at once or not at all.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{_FILE}.tmp"
        with partial.open("wb") as stream:
            np.savez(stream, centres=self.centres, digest=np.frombuffer(bytes.fromhex(self.digest()), np.uint8))
        partial.replace(folder / _FILE)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary | None:
        """Return a folder's centres; None where there are none, or where they are damaged."""
        import zipfile

        try:
            with np.load(folder / _FILE, allow_pickle=False) as parts:
                found, digest = cls(parts["centres"]), parts["digest"].tobytes().hex()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return found if found.digest() == digest else None


def signs(left: npt.NDArray[Any]) -> Bits:
    """Return the signs of (..., D) numbers as (..., ceil(D / 64)) words of 64 bits."""
    packed = np.packbits(left > 0, axis=-1)
    missing = -packed.shape[-1] % 8
    padded = np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, missing)])
    return np.ascontiguousarray(padded).view(np.uint64)
