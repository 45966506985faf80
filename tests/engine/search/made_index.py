"""A described catalogue made by hand: no photograph is read, no network runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.matching.measurements import MatcherName, record_type
from engine.matching.pair_pool import PairPool
from engine.matching.pair_worker import PairTask
from features.records import Description


def made_index(vectors: npt.NDArray[np.floating], **columns: Sequence[object]) -> CatalogIndex:
    """Return the index of photographs with these descriptors; ``columns`` of the catalogue's table.

    Photograph k is called ``p<k>`` and is 100 + k pixels wide, 300 + k tall; its body covers 0.5 + k / 100 of it, its
    sharpness is 2 + k / 100.
    """
    vectors = np.asarray(vectors, np.float32)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names = [f"p{k}" for k in range(len(vectors))]
    table = pd.DataFrame({"image_id": names, "path": [f"/nowhere/{name}.jpg" for name in names], **columns})
    descriptions = [
        Description(name, f"{name}:top", (100 + k, 300 + k), vector, 9, 0.5 + k / 100, 2 + k / 100)
        for k, (name, vector) in enumerate(zip(names, vectors, strict=True))
    ]
    return CatalogIndex(Catalog(table, Path("/nowhere")), tuple(descriptions))


class MadePool(PairPool):
    """Measures pairs by a table of inliers instead of photographs; notes what was asked of it.

    Args:
        inliers: (query's name, candidate's name) -> inliers; 0 where it is not named.
        local: the same of local scores.
    """

    def __init__(
        self, inliers: Mapping[tuple[str, str], float], local: Mapping[tuple[str, str], float] | None = None
    ) -> None:
        self._inliers, self._local = inliers, local or {}
        self.threads = 2
        self.asked: dict[str, list[tuple[str, str]]] = {}
        self.scored: list[list[tuple[str, list[int]]]] = []

    def score(
        self,
        queries: Sequence[str],
        database: Sequence[str],
        allowed: Callable[[int], npt.NDArray[np.bool_]],
        progress: object = None,
    ) -> list[npt.NDArray[np.float32]]:
        """Return the local scores of the table, NaN where not allowed."""
        names = [key.split(":")[0] for key in database]
        rows = [[self._local.get((key.split(":")[0], name), 0.0) for name in names] for key in queries]
        return [np.where(allowed(k), row, np.nan).astype(np.float32) for k, row in enumerate(rows)]

    def score_rows(
        self, tasks: Sequence[tuple[str, npt.NDArray[np.int64]]], database: Sequence[str]
    ) -> list[npt.NDArray[np.float32]]:
        """Return the local scores of the table."""
        names = [key.split(":")[0] for key in database]
        self.scored.append([(key.split(":")[0], rows.tolist()) for key, rows in tasks])
        scored = ([self._local.get((key.split(":")[0], names[row]), 0.0) for row in rows] for key, rows in tasks)
        return [np.array(row, np.float32) for row in scored]

    def measure(self, matcher: MatcherName, tasks: Sequence[PairTask], progress: object = None) -> list[npt.NDArray]:
        """Return records whose inliers are those of the table, all plausible, and twice as many for LightGlue."""
        found = []
        for task in tasks:
            records = np.zeros(len(task.candidates), record_type(matcher))
            pairs = [(task.query.split(":")[0], key.split(":")[0]) for key in task.candidates]
            self.asked.setdefault(matcher, []).extend(pairs)
            records["inliers"] = [self._inliers.get(pair, 0) * (2 if matcher == "lightglue" else 1) for pair in pairs]
            records["plausibility"], records["inlier_ratio"] = 1, records["inliers"] / 500
            found.append(records)
        return found
