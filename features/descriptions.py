"""The descriptions of many photographs as columns: one record is made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from features.records import Description, FloatArray

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class KeptVectors:
    """Vectors that lie in several matrices, most of them mapped files.

    Attributes:
        matrices: (n, D) float32 each.
        matrix, row: (N,) where each photograph's vector lies.
    """

    matrices: Sequence[FloatArray]
    matrix: Rows
    row: Rows

    def one(self, place: int) -> FloatArray:
        """Return a photograph's (D,) vector as it lies."""
        vector: FloatArray = self.matrices[self.matrix[place]][self.row[place]]
        return vector

    def take(self, places: Rows) -> FloatArray:
        """Return the (n, D) vectors of some photographs, copied."""
        size = self.matrices[0].shape[1] if len(self.matrices) else 0
        found = np.empty((len(places), size), np.float32)
        for number, matrix in enumerate(self.matrices):
            here = np.flatnonzero(self.matrix[places] == number)
            rows = self.row[places[here]]
            order = np.argsort(rows, kind="stable")  # as they lie on the disk
            found[here[order]] = matrix[rows[order]]
        return found

    def of(self, places: Rows) -> KeptVectors:
        """Return those of some photographs, not copied."""
        return KeptVectors(self.matrices, self.matrix[places], self.row[places])


@dataclass(frozen=True, eq=False)
class Descriptions(Sequence[Description]):
    """What is kept of photographs in memory while a catalogue is searched (:class:`features.records.Description`).

    Attributes:
        ids: names in the catalogue.
        keys: content keys.
        digests: (N, 2) uint64 of the keys (:func:`features.store.feature_store.digests_of`).
        numbers: (N, 5) float64 (:attr:`features.records.Description.numbers`).
        vectors: global descriptors.
    """

    ids: Sequence[str]
    keys: Sequence[str]
    digests: npt.NDArray[np.uint64]
    numbers: npt.NDArray[np.float64]
    vectors: KeptVectors

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, place: int) -> Description: ...

    @overload
    def __getitem__(self, place: slice) -> Descriptions: ...

    def __getitem__(self, place: int | slice) -> Description | Descriptions:
        if isinstance(place, slice):
            return self.take(np.arange(len(self))[place])
        row = range(len(self))[place]  # IndexError where there is none, and Sequence's iteration ends
        width, height, count, body_share, sharpness = self.numbers[row].tolist()
        size = int(width), int(height)
        return Description(
            self.ids[row], self.keys[row], size, self.vectors.one(row), int(count), body_share, sharpness
        )

    def take(self, rows: Rows) -> Descriptions:
        """Return the descriptions at these rows, in the order given."""
        ids, keys = ([column[row] for row in rows.tolist()] for column in (self.ids, self.keys))
        return Descriptions(ids, keys, self.digests[rows], self.numbers[rows], self.vectors.of(rows))
