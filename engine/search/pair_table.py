"""Everything that is known of the candidates in one table, one row per (query, candidate).

The raw pair table is what the ranker's features are made of (:mod:`reranker.pair_features`): candidates, the
measurements of all matchers (``{matcher}_{measurement}``), and what the catalogues know of either photograph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import same_encounter
from engine.catalogue.index import CatalogIndex
from engine.matching.measurements import columns as measured_columns
from engine.search.candidates import Candidates, nearest_in_list
from reranker.neighbour_rescoring import COSINE_COLUMNS, NEIGHBOUR_COLUMNS, NEIGHBOURS

#: Columns of a catalogue's table and what they are called here, followed by 0 (query) or 1 (candidate).
_CATALOG_COLUMNS = {
    "individual_id": "individual",
    "encounter_id": "encounter",
    "date": "date",
    "viewpoint": "viewpoint",
    "path": "path",
}


def pair_table(
    queries: CatalogIndex, database: CatalogIndex, candidates: Candidates, true_matches: npt.NDArray[np.float64]
) -> pd.DataFrame:
    """Return the raw pair table.

    Args:
        queries, database: what the candidates' rows mean.
        candidates: with the measurements of all matchers.
        true_matches: (Q,) numbers of matches that could be found, NaN if not known.
    """
    columns: dict[str, Any] = {
        "query_id": queries.catalog.table["image_id"].to_numpy(object)[candidates.query],
        "candidate_id": database.catalog.table["image_id"].to_numpy(object)[candidates.row],
        "cosine": candidates.cosine,
        "requery_score": candidates.requery,
        "local_score": candidates.local,
        "cosine_znorm": candidates.cosine_znorm,
        "local_znorm": candidates.local_znorm,
    }
    lists = list(candidates.lists(len(queries)))
    columns |= _neighbour_columns(lists, candidates, database, columns["candidate_id"])
    for matcher, records in candidates.measured.items():
        columns |= measured_columns(matcher, records)
    columns |= _photograph_columns(0, queries, candidates.query) | _photograph_columns(1, database, candidates.row)
    own_encounter = np.zeros(len(candidates), bool)
    for row, part in zip(queries.catalog.table.to_dict("records"), lists, strict=True):
        own_encounter[part] = same_encounter(row, database.catalog.keys)[candidates.row[part]]
    return pd.DataFrame({**columns, "same_encounter": own_encounter, "n_true": true_matches[candidates.query]})


def _photograph_columns(side: int, index: CatalogIndex, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """Return what is known of the photographs of one side; sizes are (width, height) in pixels."""
    table, descriptions = index.catalog.table, index.descriptions
    columns = {f"{name}{side}": table[source].to_numpy()[rows] for source, name in _CATALOG_COLUMNS.items()}
    sizes = np.array([item.size for item in descriptions]).reshape(-1, 2)
    columns |= {f"width{side}": sizes[rows, 0], f"height{side}": sizes[rows, 1]}
    for name in ("body_share", "sharpness"):
        columns[f"{name}{side}"] = np.array([getattr(item, name) for item in descriptions], float)[rows]
    return columns


def _neighbour_columns(
    lists: list[slice], candidates: Candidates, database: CatalogIndex, ids: npt.NDArray[Any]
) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of :mod:`reranker.neighbour_rescoring`: each candidate's most similar others of its list."""
    names = np.full((len(candidates), NEIGHBOURS), None, object)
    cosines = np.full((len(candidates), NEIGHBOURS), np.nan, np.float32)
    for part in lists:
        positions, cosines[part] = nearest_in_list(database.vectors[candidates.row[part]], NEIGHBOURS)
        names[part] = np.array([*ids[part], None], object)[positions]  # position -1, "no other", is the None at the end
    columns = {name: names[:, k] for k, name in enumerate(NEIGHBOUR_COLUMNS)}
    return columns | {name: cosines[:, k] for k, name in enumerate(COSINE_COLUMNS)}
