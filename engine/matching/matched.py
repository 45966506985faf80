"""Pairs that were matched and verified: one of them with its features, or a query's whole list in arrays.

A list is what is measured: its matches lie one pair after the other, so that no record is made for a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.geometry.verification import VerificationSettings, verify_list
from engine.geometry.verified_pairs import VerifiedPairs
from engine.records import Correspondences, Verification
from features.records import BoolArray, FloatArray, LocalFeatures

Integers = npt.NDArray[np.int64]
#: What a list of tentative matches holds of each match.
_OF_MATCHES = ("indices", "confidence", "points0", "points1", "marks")


class Prepared(Protocol):
    """A photograph ready to be compared: its length is how many places of it are."""

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def keypoints(self) -> int: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class AlignedSkin:
    """How alike the skin is once one animal is laid on the other.

    Attributes:
        similarity: mean cosine over the places of view 0 that fall on the other body, NaN if none does.
        overlap: their share of all places of view 0.
        left, right: the same mean over the left and the right flank alone, NaN where fewer than
            :data:`engine.matching.dense.FEWEST` places fall on the other body: light falls on one flank only, and it
            changes sides between photographs.
    """

    similarity: float = float("nan")
    overlap: float = 0.0
    left: float = float("nan")
    right: float = float("nan")


@dataclass(frozen=True, eq=False)
class MatchedPair:
    """Two photographs, what a matcher found between them, and what the verification says of it.

    Attributes:
        features0, features1: query and candidate.
        matches: tentative matches.
        verification: of these matches.
        distinctive: of the mutual nearest neighbours, those that pass the ratio test with a verification of their own;
            None for other matchers.
        aligned: of the skin, how alike it is once one animal is laid on the other; None for other matchers.
    """

    features0: LocalFeatures
    features1: LocalFeatures
    matches: Correspondences
    verification: Verification
    distinctive: MatchedPair | None = None
    aligned: AlignedSkin | None = None


@dataclass(frozen=True, eq=False)
class TentativeList:
    """The tentative matches of a query with P candidates, M in all, pair by pair and each pair's best first.

    Attributes:
        offsets: (P + 1,) int64, pair k owns the matches ``offsets[k]`` to ``offsets[k + 1]``.
        indices: (M, 2) int32, indices into the keypoints of view 0 and view 1.
        confidence: (M,) float32 in [0, 1].
        similarity: (P,) float64, of each pair as the matcher defines it, NaN without matches.
        points0, points1: (M, 2) float32 canonical pixels.
        marks: (M,) float32, the lesser of the mark strengths under both keypoints.
        sizes0, sizes1: (P, 2) canonical (width, height) in pixels.
        keypoints0, keypoints1: (P,) int64 numbers of keypoints, matched or not.
        across0: (M,) float32 places across the body of view 0 (the left flank is negative); None where nobody asks.
    """

    offsets: Integers
    indices: npt.NDArray[np.int32]
    confidence: FloatArray
    similarity: npt.NDArray[np.float64]
    points0: FloatArray
    points1: FloatArray
    marks: FloatArray
    sizes0: Integers
    sizes1: Integers
    keypoints0: Integers
    keypoints1: Integers
    across0: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.similarity)

    @classmethod
    def with_room(cls, query: Prepared, candidates: Sequence[Prepared], across: bool = False) -> TentativeList:
        """Return the list of a query's candidates with room for all matches that there could be, and none yet.

        Whoever fills it sets ``offsets`` and ``similarity``, pair by pair; ``across`` makes room for :attr:`across0`.
        """
        most, count = sum(min(len(query), len(candidate)) for candidate in candidates), len(candidates)
        return cls(
            offsets=np.zeros(count + 1, np.int64),
            indices=np.empty((most, 2), np.int32),
            confidence=np.empty(most, np.float32),
            similarity=np.full(count, np.nan),
            points0=np.empty((most, 2), np.float32),
            points1=np.empty((most, 2), np.float32),
            marks=np.empty(most, np.float32),
            sizes0=np.array([query.size] * count, np.int64).reshape(-1, 2),
            sizes1=np.array([candidate.size for candidate in candidates], np.int64).reshape(-1, 2),
            keypoints0=np.full(count, query.keypoints, np.int64),
            keypoints1=np.array([candidate.keypoints for candidate in candidates], np.int64),
            across0=np.empty(most, np.float32) if across else None,
        )

    def filled(self) -> TentativeList:
        """Return the list without the room that was not needed."""
        part = slice(int(self.offsets[-1]))
        across = self.across0[part] if self.across0 is not None else None
        return replace(self, **{name: getattr(self, name)[part] for name in _OF_MATCHES}, across0=across)

    def pair(self, number: int) -> Correspondences:
        """Return the matches of one pair."""
        part = slice(*self.offsets[number : number + 2].tolist())
        return Correspondences(self.indices[part], self.confidence[part], float(self.similarity[number]))

    def where(self, kept: BoolArray) -> TentativeList:
        """Return the list with some of its (M,) matches; similarities stay those of all."""
        offsets = np.concatenate([[0], np.cumsum(kept)])[self.offsets]
        across = self.across0[kept] if self.across0 is not None else None
        parts = {name: getattr(self, name)[kept] for name in _OF_MATCHES}
        return replace(self, offsets=offsets, **parts, across0=across)

    def verify(self, keys: Sequence[tuple[str, str]], settings: VerificationSettings) -> VerifiedPairs:
        """Verify every pair, known by (query id, candidate id)."""
        return verify_list(
            self.points0,
            self.points1,
            self.confidence,
            self.marks,
            self.offsets,
            self.sizes0,
            self.sizes1,
            keys,
            settings,
        )


@dataclass(frozen=True, eq=False)
class MatchedList:
    """A query's P pairs, matched and verified, as they are measured.

    Attributes:
        keypoints0, keypoints1: (P,) int64 numbers of keypoints.
        offsets: (P + 1,) int64, pair k owns the matches ``offsets[k]`` to ``offsets[k + 1]``.
        confidence: (M,) float32.
        similarity: (P,) float64.
        verified: their verification.
        across0: (M,) float32 places of the matches across the body of view 0 (the left flank is negative); None where
            nobody asks.
        distinctive: see :class:`MatchedPair`.
        aligned: of every pair, see :class:`MatchedPair`; None for other matchers.
        correlation: (P, K) float32, of mutual nearest neighbours, how far the skin bears their placement out
            (:mod:`engine.matching.block_correlation`); None for other matchers, and where no skin was compared.
    """

    keypoints0: Integers
    keypoints1: Integers
    offsets: Integers
    confidence: FloatArray
    similarity: npt.NDArray[np.float64]
    verified: VerifiedPairs
    across0: FloatArray | None = None
    distinctive: MatchedList | None = None
    aligned: Sequence[AlignedSkin] | None = None
    correlation: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.similarity)

    @classmethod
    def of_list(cls, tentative: TentativeList, verified: VerifiedPairs) -> MatchedList:
        """Join the matches of a list and their verification."""
        return cls(
            tentative.keypoints0,
            tentative.keypoints1,
            tentative.offsets,
            tentative.confidence,
            tentative.similarity,
            verified,
            tentative.across0,
        )

    @classmethod
    def of(cls, pairs: Sequence[MatchedPair]) -> MatchedList:
        """Put pairs side by side."""
        empty = np.zeros(0, np.float32)
        distinctive = [pair.distinctive for pair in pairs if pair.distinctive is not None]
        aligned = [pair.aligned or AlignedSkin() for pair in pairs]
        across = [pair.features0.on_body[pair.matches.indices[:, 0], 1] for pair in pairs]
        return cls(
            np.array([len(pair.features0) for pair in pairs], np.int64),
            np.array([len(pair.features1) for pair in pairs], np.int64),
            np.cumsum([0, *(len(pair.matches) for pair in pairs)], dtype=np.int64),
            np.concatenate([empty, *(pair.matches.confidence for pair in pairs)]),
            np.array([pair.matches.similarity for pair in pairs], np.float64),
            VerifiedPairs.of([pair.verification for pair in pairs]),
            np.concatenate([empty, *across]),
            cls.of(distinctive) if distinctive and len(distinctive) == len(pairs) else None,
            aligned,
        )

    def confidence_sums(self) -> npt.NDArray[np.float64]:
        """Return the (P,) sums of the matches' confidences."""
        bounds = self.offsets.tolist()
        return np.array([self.confidence[a:b].sum() for a, b in pairwise(bounds)], np.float64)

    def count(self, chosen: BoolArray) -> Integers:
        """Return how many of each pair's matches are chosen, of (M,) bool."""
        return np.diff(np.concatenate([[0], np.cumsum(chosen)])[self.offsets])
