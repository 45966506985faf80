"""What may be compared with what, and everything that is known of the pairs in one table.

The raw pair table has one row per (query, candidate): shortlist, all looks, and what the catalogues know of either
photograph. It is what the ranker's features are made of (:mod:`reranker.pair_features`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import CandidateFilter, same_encounter
from engine.catalogue.index import CatalogIndex
from engine.matching.evidence import Look, look_columns
from engine.search.candidates import Shortlist, resembling
from features.records import FloatArray
from reranker.support import COSINE_COLUMNS, NEIGHBOUR_COLUMNS, NEIGHBOURS

_CATALOG_NAMES = {
    "individual_id": "individual",
    "encounter_id": "encounter",
    "date": "date",
    "viewpoint": "viewpoint",
    "path": "path",
}


class Allowed:
    """Which candidates every query may have, and how many of them truly match it."""

    def __init__(self, queries: CatalogIndex, database: CatalogIndex, candidates: CandidateFilter) -> None:
        self._queries, self._database, self._candidates = queries, database, candidates
        self._static, _ = candidates.apply(database.catalog.table)
        self._rows = queries.catalog.table.to_dict("records")
        self._individuals = database.catalog.table["individual_id"].to_numpy(object)
        #: For each query whose mask was asked for, the number of its matches (None if its individual is unknown).
        self.truth: list[int | None] = [None] * len(self._rows)

    def mask(self, query: int) -> npt.NDArray[np.bool_]:
        """Return the (N,) mask of a query's candidates."""
        row, database = self._rows[query], self._database
        copies = database.contents == self._queries.contents[query]
        mask = self._static & self._candidates.mask_for(row, database.catalog, same_content=copies)
        if row["individual_id"] is not None:
            self.truth[query] = int((mask & (self._individuals == row["individual_id"])).sum())
        return mask


def comparable(
    queries: CatalogIndex, database: CatalogIndex, lists: Sequence[Shortlist]
) -> list[npt.NDArray[np.bool_]]:
    """Return for every list the (K,) mask of candidates that show the same skin as the query.

    A flank seen from the side and a back seen from above share next to none: keypoints and marks that agree there are
    outline, light and chance (measured: 3 % of true pairs found at 1 % false ones), so nobody looks at them.
    """
    from reranker.pair_features import viewpoint_pair

    asked, views = (index.catalog.table["viewpoint"].to_numpy(object) for index in (queries, database))
    return [
        np.array([viewpoint_pair(view or "", views[row] or "") != "lateral_top" for row in found.indices], bool)
        for view, found in zip(asked, lists, strict=True)
    ]


def vectors_of(queries: CatalogIndex, database: CatalogIndex) -> FloatArray:
    """Return the database's descriptors, an empty one's in the queries' width."""
    return database.vectors if len(database) else np.zeros((0, queries.vectors.shape[1]), np.float32)


def raw_table(
    queries: CatalogIndex,
    database: CatalogIndex,
    lists: Sequence[Shortlist],
    looked: Mapping[Look, Sequence[npt.NDArray[np.float32]]],
    truth: Sequence[int | None],
) -> pd.DataFrame:
    """Join shortlists, pair numbers and what the catalogues know into the raw pair table.

    Args:
        looked: for each look the (candidates, numbers) table of every list.
        truth: see :class:`Allowed`.
    """
    query_rows = np.repeat(np.arange(len(lists)), [len(found) for found in lists])
    database_rows = np.concatenate([found.indices for found in lists]) if lists else np.zeros(0, np.int64)
    columns: dict[str, Any] = {
        "query_id": queries.catalog.table["image_id"].to_numpy(object)[query_rows],
        "candidate_id": database.catalog.table["image_id"].to_numpy(object)[database_rows],
    }
    for name, part in (("cosine", "cosine"), ("requery_score", "requery")):
        columns[name] = np.concatenate([getattr(f, part) for f in lists]) if lists else np.zeros(0, np.float32)
    columns.update(_neighbour_columns(lists, database, columns["candidate_id"]))
    for look, tables in looked.items():
        columns.update(look_columns(look, (row for table in tables for row in table)))
    for side, index, rows in ((0, queries, query_rows), (1, database, database_rows)):
        table = index.catalog.table
        for source, name in _CATALOG_NAMES.items():
            columns[f"{name}{side}"] = table[source].to_numpy()[rows]
        kept = index.descriptions
        columns[f"width{side}"] = _gather([item.size[0] for item in kept], rows)
        columns[f"height{side}"] = _gather([item.size[1] for item in kept], rows)
        columns[f"body_share{side}"] = _gather([item.body_share for item in kept], rows)
        columns[f"sharpness{side}"] = _gather([item.sharpness for item in kept], rows)
    near = [
        same_encounter(row, database.catalog.keys)[found.indices]
        for row, found in zip(queries.catalog.table.to_dict("records"), lists, strict=True)
    ]
    columns["same_encounter"] = np.concatenate(near) if near else np.zeros(0, bool)
    columns["n_true"] = np.array([np.nan if value is None else value for value in truth], float)[query_rows]
    return pd.DataFrame(columns)


def _neighbour_columns(
    lists: Sequence[Shortlist], database: CatalogIndex, candidates: npt.NDArray
) -> dict[str, npt.NDArray]:
    """Return the columns of :mod:`reranker.support`: each candidate's most similar others of its list."""
    starts = np.cumsum([0, *(len(found) for found in lists)])
    found = [resembling(database.vectors[one.indices], NEIGHBOURS) for one in lists]
    nothing = (np.zeros((0, NEIGHBOURS), np.int64), np.zeros((0, NEIGHBOURS), np.float32))
    positions = np.concatenate(
        [nothing[0], *(np.where(p < 0, p, p + s) for (p, _), s in zip(found, starts, strict=False))]
    )
    cosines = np.concatenate([nothing[1], *(cosine for _, cosine in found)])
    named = np.concatenate([candidates, np.array([None], object)])[positions]
    columns = {name: named[:, k] for k, name in enumerate(NEIGHBOUR_COLUMNS)}
    return columns | {name: cosines[:, k] for k, name in enumerate(COSINE_COLUMNS)}


def _gather(values: Iterable[float], rows: npt.NDArray[np.int_]) -> npt.NDArray:
    return np.array(list(values))[rows] if len(rows) else np.zeros(0)
