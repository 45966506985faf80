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
from engine.search.candidates import Candidates
from engine.search.neighbours import Neighbours
from reranker.likeness import COSINE_COLUMNS, LOCAL_COLUMNS, MATCHED_COLUMNS, NEIGHBOUR_COLUMNS, SECONDS_COLUMNS

#: Columns of a catalogue's table and what they are called here, followed by 0 (query) or 1 (candidate).
_CATALOG_COLUMNS = {
    "individual_id": "individual",
    "encounter_id": "encounter",
    "date": "date",
    "viewpoint": "viewpoint",
    "path": "path",
}


def pair_table(
    queries: CatalogIndex,
    database: CatalogIndex,
    candidates: Candidates,
    neighbours: Neighbours | None,
    true_matches: npt.NDArray[np.float64],
    own_encounter_allowed: bool,
) -> pd.DataFrame:
    """Return the raw pair table.

    Args:
        queries, database: what the candidates' rows mean.
        candidates: with the measurements of all matchers.
        neighbours: every candidate beside its list's leading ones; None leaves these columns out.
        true_matches: (Q,) numbers of matches that could be found, NaN if not known.
        own_encounter_allowed: whether photographs of a query's own encounter were candidates.
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
    if neighbours is not None:
        columns |= _neighbour_columns(neighbours, database)
    for matcher, records in candidates.measured.items():
        columns |= measured_columns(matcher, records)
    columns |= _photograph_columns(0, queries, candidates.query) | _photograph_columns(1, database, candidates.row)
    own_encounter = np.zeros(len(candidates), bool)
    for row, part in zip(queries.catalog.table.to_dict("records"), lists, strict=True):
        own_encounter[part] = same_encounter(row, database.catalog.keys)[candidates.row[part]]
    columns |= {"same_encounter": own_encounter, "own_encounter_allowed": own_encounter_allowed}
    return pd.DataFrame({**columns, "n_true": true_matches[candidates.query]})


def _photograph_columns(side: int, index: CatalogIndex, rows: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """Return what is known of the photographs of one side; sizes are (width, height) in pixels."""
    table = index.catalog.table
    columns = {f"{name}{side}": table[source].to_numpy()[rows] for source, name in _CATALOG_COLUMNS.items()}
    width, height, _, body_share, sharpness = index.numbers[rows].T
    columns |= {f"width{side}": width.astype(np.int64), f"height{side}": height.astype(np.int64)}
    return {**columns, f"body_share{side}": body_share, f"sharpness{side}": sharpness}


def _neighbour_columns(neighbours: Neighbours, database: CatalogIndex) -> dict[str, Any]:
    """Return the columns of :mod:`reranker.likeness`: every candidate beside the leading ones of its list."""
    ids = np.array([*database.catalog.table["image_id"], None], object)  # row -1, "none", is the None at the end
    columns: dict[str, Any] = {}
    # However many are named: pandas would call a column of names by another type than one with none.
    columns |= {name: pd.Series(ids[neighbours.row[:, k]], dtype=object) for k, name in enumerate(NEIGHBOUR_COLUMNS)}
    numbers: list[tuple[tuple[str, ...], npt.NDArray[np.floating]]] = [
        (COSINE_COLUMNS, neighbours.cosine_znorm),
        (LOCAL_COLUMNS, neighbours.local_znorm),
        (SECONDS_COLUMNS, neighbours.seconds),
        *((MATCHED_COLUMNS[name], values) for name, values in neighbours.matched.items()),
    ]
    for names, values in numbers:
        columns |= {name: values[:, k] for k, name in enumerate(names)}
    return columns
