"""What a large catalogue needs of its described photographs when it is opened, without a record of the store each.

Vectors lie in :class:`engine.retrieval.vectors.VectorFiles`, mapped. Beside them lie the few numbers that descriptions
are made of, and the digests of all records of a photograph, so that the store's index can be asked for them without a
hash each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.describe import Describer
from features.descriptions import Descriptions, KeptVectors
from features.records import BoolArray, Description
from features.store.feature_store import FeatureStore, digests_of
from features.store.segments import Digests, Places, Segment, append, read_segments

#: Folders of the store.
VECTORS, DESCRIBED = "vectors", "described"


def short(fingerprint: str) -> str:
    """Return the name of a folder for what is known by a fingerprint."""
    return hashlib.blake2b(fingerprint.encode(), digest_size=8).hexdigest()


class DescribedFiles:
    """Numbers and vectors of photographs by the digests of their keys.

    Args:
        store: folder of the store.
        describer: by whose settings they are described.
    """

    def __init__(self, store: Path, describer: Describer) -> None:
        self._describer = describer
        self.folder = store / DESCRIBED / short("\n".join(describer.store_keys("")))
        self._vectors = store / VECTORS / short(describer.global_fingerprint())
        self._open(read_segments(self.folder))

    def _open(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._places = Places(segments)

    def __len__(self) -> int:
        return sum(map(len, self._segments))

    def missing(self, digests: Digests) -> BoolArray:
        """Return the (N,) mask of the photographs whose numbers are not here."""
        return self._places.find(digests)[0] < 0

    def find(self, ids: Sequence[str], keys: Sequence[str], store: FeatureStore) -> tuple[BoolArray, Descriptions]:
        """Return what is known of photographs, of which the store has every record by its index.

        Args:
            ids, keys: names in the catalogue, and content keys.
            store: whose records they are.

        Returns:
            The (N,) mask of the photographs of whom everything is here, and the descriptions of all: those of the
            others hold nothing.
        """
        digests = digests_of(keys)
        number, place = self._places.find(digests)
        vectors = read_segments(self._vectors)
        matrix, row = Places(vectors).find(digests)
        here = (number >= 0) & (matrix >= 0)
        numbers, records = (self._taken(name, number, place) for name in ("numbers", "records"))
        there = np.flatnonzero(here)
        if len(there):
            known = store.contains(records[there].reshape(-1, 2)).reshape(len(there), -1)
            here[there] = known.all(axis=1)
        exact = [np.asarray(segment.arrays["exact"]) for segment in vectors]
        return here, Descriptions(ids, keys, digests, numbers, KeptVectors(exact, matrix, row))

    def _taken(self, name: str, number: npt.NDArray[np.int64], place: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        if not self._segments:
            return np.zeros((len(number), 0, 2))  # of nobody
        like = self._segments[0].arrays[name]
        found = np.zeros((len(number), *like.shape[1:]), like.dtype)
        for current, segment in enumerate(self._segments):
            here = number == current
            found[here] = segment.arrays[name][place[here]]
        return found

    def add(self, descriptions: Sequence[Description]) -> None:
        """Keep the numbers of further photographs, and join small files.

        Raises:
            OSError: the folder cannot be written.
        """
        if not descriptions:
            return
        names = [name for item in descriptions for name in self._describer.store_keys(item.key)]
        arrays = {
            "digests": digests_of([item.key for item in descriptions]),
            "numbers": np.array([item.numbers for item in descriptions], np.float64),
            "records": digests_of(names).reshape(len(descriptions), -1, 2),
        }
        self._open(append(self.folder, arrays))
