"""The shortlist: exact cosine top-k, in chunks, with exclusions and an optional re-query through the database.

A whale's photographs of one encounter resemble each other more than the query resembles them, so a list by similarity
to the query holds some of them at best. Once the local matchers have said which of the list are right,
:func:`expansion` fetches what resembles those (query expansion through verified matches: Chum et al., "Total Recall",
ICCV 2007).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.records import FloatArray
from scarmatch.settings import Settings, SettingsError

#: Query rows per chunk times database rows stays below this, so memory does not grow with queries x catalogue.
_CHUNK_CELLS = 4_000_000
#: Candidates of a list whose likes are fetched.
_LEADERS = 8


@dataclass(frozen=True)
class ShortlistSettings(Settings):
    """Options of the shortlist.

    Attributes:
        size: candidates per query that the local matchers see, at least quickly.
        second_look: so many candidates, the best by cosine and the quick looks together, are looked at again by
            LightGlue, which costs far more; 0 looks at all.
        expansion: so many further candidates are added after the quick looks, because they resemble one that matches by
            its marks, and get the quick looks too.
        requery: ask again with the query's two best candidates (the winners' rule), see :func:`requery_scores`.
        requery_weights: weights of the query, its best and its second best candidate.
        requery_power: power applied to each similarity before they are added.
    """

    size: int = 50
    second_look: int = 1
    expansion: int = 20
    requery: bool = False
    requery_weights: tuple[float, float, float] = (0.4, 0.4, 0.2)
    requery_power: float = 7.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise SettingsError(f"size={self.size}: a shortlist needs at least one candidate")
        if self.second_look < 0:
            raise SettingsError(f"second_look={self.second_look}: give a number of candidates, or 0 for all of them")
        if self.expansion < 0:
            raise SettingsError(f"expansion={self.expansion}: give a number of candidates, or 0 for none")

    @property
    def share_looked_at_twice(self) -> float:
        """Share of a full list and its expansion that LightGlue sees, in (0, 1]."""
        return self.second_looks(self.longest) / self.longest

    @property
    def longest(self) -> int:
        """Candidates of a full list and its expansion."""
        return self.size + self.expansion

    def second_looks(self, listed: int) -> int:
        """Return how many of so many listed candidates LightGlue sees."""
        return min(self.second_look or listed, listed)


@dataclass(frozen=True, eq=False)
class Shortlist:
    """The candidates of one query, best first.

    Attributes:
        indices: (K,) int64 rows of the database.
        cosine: (K,) float32 cosine similarity of query and candidate.
        scores: (K,) float32 what the list is sorted by (the cosine, or the re-query score).
        requery: (K,) float32 re-query score (evidence for the ranker, whatever the list is sorted by).
    """

    indices: npt.NDArray[np.int64]
    cosine: FloatArray
    scores: FloatArray
    requery: FloatArray

    def __len__(self) -> int:
        return len(self.indices)

    def followed_by(self, other: Shortlist) -> Shortlist:
        """Return this list with another one's candidates behind its own."""
        pairs = ((getattr(self, part), getattr(other, part)) for part in ("indices", "cosine", "scores", "requery"))
        return Shortlist(*(np.concatenate(both) for both in pairs))


def shortlist(
    queries: FloatArray,
    database: FloatArray,
    allowed: Callable[[int], npt.NDArray[np.bool_]],
    settings: ShortlistSettings | None = None,
) -> list[Shortlist]:
    """Return the most similar allowed database rows of every query.

    Args:
        queries: (Q, D) L2-normalised.
        database: (N, D) L2-normalised.
        allowed: gives, for a query's index, the (N,) mask of candidates that it may have.
        settings: options.

    Returns:
        One list per query; it is shorter than ``settings.size`` where fewer candidates are allowed. Equal scores are
        ordered by row. Each query's list depends on that query and the database only.
    """
    settings = settings or ShortlistSettings()
    found: list[Shortlist] = []
    rows = max(1, _CHUNK_CELLS // max(1, len(database)))
    for start in range(0, len(queries), rows):
        # One product per query: a matrix product's last bits depend on how many rows share it, and an answer may not
        # depend on the other queries.
        for index in range(start, min(start + rows, len(queries))):
            cosine = database @ queries[index]
            mask = allowed(index)
            again = requery_scores(cosine, database, mask, settings)
            scores = again if settings.requery else cosine
            chosen = _best(scores, mask, settings.size)
            parts = (array[chosen].astype(np.float32) for array in (cosine, scores, again))
            found.append(Shortlist(chosen, *parts))
    return found


def resembling(vectors: FloatArray, count: int) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Return each candidate's most similar other candidates of one list.

    Args:
        vectors: (K, D) L2-normalised.
        count: how many of each.

    Returns:
        (K, count) int64 positions in the list, best first, and (K, count) float32 cosines; -1 and NaN where the list
        has fewer others. Ties are ordered by position.
    """
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -np.inf)
    found = min(count, max(len(vectors) - 1, 0))
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :found]
    positions = np.full((len(vectors), count), -1, np.int64)
    cosines = np.full((len(vectors), count), np.nan, np.float32)
    positions[:, :found] = order
    cosines[:, :found] = np.take_along_axis(cosine, order, axis=1)
    return positions, cosines


def expansion(
    found: Shortlist,
    probability: npt.NDArray[np.floating],
    query: FloatArray,
    database: FloatArray,
    mask: npt.NDArray[np.bool_],
    settings: ShortlistSettings,
) -> Shortlist:
    """Return what resembles the candidates that match, best first, up to ``settings.expansion`` rows outside the list.

    A row is worth the largest product of a candidate's probability and its similarity to that candidate.

    Args:
        found: the list.
        probability: (K,) that each candidate of the list is right, by its marks alone.
        query: (D,) L2-normalised.
        database: (N, D) L2-normalised.
        mask: (N,) which rows are allowed.
        settings: options.
    """
    outside = mask.copy()
    outside[found.indices] = False
    if not settings.expansion or not len(found) or not outside.any():
        nothing = np.zeros(0, np.float32)
        return Shortlist(np.zeros(0, np.int64), nothing, nothing, nothing)
    # The others could add nothing: all similarities are of one size, and these are the largest probabilities.
    leaders = np.lexsort((found.indices, -probability))[:_LEADERS]
    worth = (database[found.indices[leaders]] @ database.T) * probability[leaders, None].astype(np.float32)
    best = worth.max(axis=0)
    added = _best(best, outside & (best > 0), settings.expansion)
    cosine = database @ query
    again = requery_scores(cosine, database, mask, settings)
    scores = again if settings.requery else cosine
    return Shortlist(added, *(part[added].astype(np.float32) for part in (cosine, scores, again)))


def requery_scores(
    cosine: FloatArray, database: FloatArray, mask: npt.NDArray[np.bool_], settings: ShortlistSettings
) -> FloatArray:
    """Score the database by the query and by its two best allowed photographs, each similarity to a power.

    The first place of "Where's Whale-do?" found that a query's best matches, asked again, bring photographs that the
    query alone misses: ``0.4 s(q)^7 + 0.4 s(best)^7 + 0.2 s(second)^7``. Negative similarities count as zero.

    Args:
        cosine: (N,) similarity of the query to every database row.
        database: (N, D) L2-normalised.
        mask: (N,) which rows are allowed.
        settings: weights and power.

    Returns:
        (N,) float32 scores.
    """
    weights, power = settings.requery_weights, settings.requery_power
    helpers = _best(cosine, mask, 2)
    total = weights[0] * np.maximum(cosine, 0.0) ** power
    for weight, helper in zip(weights[1:], helpers, strict=False):
        total = total + weight * np.maximum(database @ database[helper], 0.0) ** power
    return np.asarray(total, np.float32)


def _best(scores: FloatArray, mask: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.int64]:
    """Return the rows of the best allowed scores, best first, ties by row."""
    rows = np.flatnonzero(mask)
    if len(rows) > size:
        part = np.argpartition(-scores[rows], size - 1)
        # Everything as good as the last kept one takes part in the sort, so that ties are broken by row.
        limit = scores[rows[part[size - 1]]]
        rows = rows[scores[rows] >= limit]
    order = np.lexsort((rows, -scores[rows]))[:size]
    return rows[order].astype(np.int64)
