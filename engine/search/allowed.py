"""Which candidates every query may have, and how many of them truly match it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engine.catalogue.catalog import CandidateFilter
from engine.catalogue.index import CatalogIndex
from engine.matching.lru_cache import LruCache

#: Bytes of masks that are kept: every stage of a search asks for them, and one takes long in a large catalogue.
_KEPT = 1 << 26


class AllowedCandidates:
    """A candidate filter applied to queries and a database.

    Args:
        queries, database: described photographs.
        candidate_filter: the rules; a copy of the query itself never is its candidate.
    """

    def __init__(self, queries: CatalogIndex, database: CatalogIndex, candidate_filter: CandidateFilter) -> None:
        self._queries, self._database, self._filter = queries, database, candidate_filter
        self._for_every_query, _ = candidate_filter.apply(database.catalog.table)
        self._rows = queries.catalog.table.to_dict("records")
        self._individuals = database.catalog.table["individual_id"].to_numpy(object)
        self._masks = LruCache(self._packed, max(1, 8 * _KEPT // (len(database) + 1)))

    def mask(self, query: int) -> npt.NDArray[np.bool_]:
        """Return the (N,) mask of the database rows that a query may have as candidates."""
        return np.unpackbits(self._masks(query), count=len(self._for_every_query)).astype(bool)

    def _packed(self, query: int) -> npt.NDArray[np.uint8]:
        copies = self._database.contents == self._queries.contents[query]
        own = self._filter.mask_for(self._rows[query], self._database.catalog, same_content=copies)
        return np.packbits(self._for_every_query & own)

    def true_matches(self) -> npt.NDArray[np.float64]:
        """Return the (Q,) numbers of allowed candidates of the query's individual, NaN where that is not known."""
        counts = np.full(len(self._rows), np.nan)
        for query, row in enumerate(self._rows):
            if row["individual_id"] is not None:
                counts[query] = (self.mask(query) & (self._individuals == row["individual_id"])).sum()
        return counts
