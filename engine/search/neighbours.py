"""Which photographs of a list lead it, and how alike they and the list's other photographs are.

Neighbour re-scoring (:mod:`reranker.neighbour_rescoring`) asks whether a candidate shows the animal of another one that
matches the query. That is a question about two photographs of the catalogue, and costs a comparison of each candidate
with each of the others: so only the list's leading candidates by the first stage are others, and all are compared by
cosine and local score alone. Both are Z-normalised by the leader's scores with photographs of the catalogue at large,
nearly all of which show other animals: a sample of those that the query may have, the same for every query and order of
rows. The pairs by which a candidate may gain most are then matched by their keypoints, verified and compared by their
skin, as query and candidate are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.catalogue.index import CatalogIndex, Progress
from engine.matching.measurements import MUTUAL_NN
from engine.matching.pair_pool import PairPool
from engine.matching.pair_worker import PairTask
from engine.search.allowed import AllowedCandidates
from engine.search.candidates import Candidates, ShortlistSettings
from engine.search.same_skin import comparable_by_view
from features.records import BoolArray, FloatArray
from reranker.likeness import MATCHED_COLUMNS, NEIGHBOURS, Likeness, features_of

#: Photographs that a leader's local scores are compared with, and its cosines, which cost next to nothing.
LOCAL_SAMPLE = 64
_COSINE_SAMPLE = 1024
#: Queries whose comparisons are in memory together, 25 KB each: what leads several of their lists is scored once.
_BLOCK = 1024
#: What says whom to match: the fitted likeness chooses no better than these round numbers (bench/NOTES.md).
_BEFORE_MATCHING = Likeness({"cosine": 0.5, "local_log": 2.0}, -5.0)

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Every candidate beside its list's leading candidates.

    Attributes:
        row: (R, NEIGHBOURS) int64 rows of the database, best leader first; -1 where there is none, or where it is the
            candidate itself.
        cosine_znorm, local_znorm: (R, NEIGHBOURS) float32 standard deviations above the leader's scores with
            photographs of the catalogue at large; NaN where the two cannot be compared.
        seconds: (R, NEIGHBOURS) float64 time between the two; NaN where either is not known.
        matched: by name of :data:`reranker.likeness.MATCHED_COLUMNS` the (R, NEIGHBOURS) float32 measurements of the
            pairs that were matched. The ``inlier_ratio`` is 0 where no placement was found, and NaN where the two were
            not matched.
    """

    row: Rows
    cosine_znorm: FloatArray
    local_znorm: FloatArray
    seconds: npt.NDArray[np.float64]
    matched: Mapping[str, FloatArray]


def find_neighbours(
    candidates: Candidates,
    queries: CatalogIndex,
    database: CatalogIndex,
    allowed: AllowedCandidates,
    pool: PairPool,
    settings: ShortlistSettings,
    known: Mapping[str, FloatArray] | None = None,
    progress: Progress | None = None,
) -> Neighbours:
    """Compare every candidate with the leading candidates of its list.

    Args:
        candidates: with the first stage's evidence.
        queries, database: what their rows mean.
        allowed: which photographs each query may have.
        pool: scores photographs of the database.
        settings: whether flanks are compared and times of day looked at, and how many pairs of a list, those by which a
            candidate may gain most, are matched.
        known: by content key the (N,) local scores of the database with a photograph, NaN where there is none: what the
            search of a query has found is not computed again where the query leads another's list.
        progress: called with (pairs matched, pairs in all).
    """
    shape = (len(candidates), NEIGHBOURS)
    found = Neighbours(
        np.full(shape, -1, np.int64),
        np.full(shape, np.nan, np.float32),
        np.full(shape, np.nan, np.float32),
        np.full(shape, np.nan),
        {name: np.full(shape, np.nan, np.float32) for name in MATCHED_COLUMNS},
    )
    lists = list(candidates.lists(len(queries)))
    keys = database.keys
    views = database.catalog.table["viewpoint"].to_numpy(object)
    comparable = comparable_by_view(views, views, settings.flanks_apart)
    times = _times(database) if settings.trust_times else np.full(len(database), np.nan)
    shuffled = database.by_content
    for start in range(0, len(lists), _BLOCK):
        asked: list[tuple[tuple[slice, int], BoolArray]] = []
        compared: list[tuple[int, Rows]] = []
        for query in range(start, min(start + _BLOCK, len(lists))):
            rows, leaders = candidates.row[lists[query]], _leaders(candidates, lists[query])
            mask = allowed.mask(query)
            sample = shuffled[mask[shuffled]][: 4 * _COSINE_SAMPLE]
            # One more than asked for: no leader is its own impostor.
            drawn, own = sample[: _COSINE_SAMPLE + 1], database.vectors_of(np.array(leaders, np.int64)).T
            near, far = database.vectors_of(rows) @ own, database.vectors_of(drawn) @ own
            for place, leader in enumerate(leaders):
                here, others, skin = (lists[query], place), rows != leader, comparable[views[leader]]
                impostors = sample[sample != leader]
                cosine = _above(near[:, place], far[drawn != leader, place][:_COSINE_SAMPLE])
                found.row[here] = np.where(others, leader, -1)
                found.cosine_znorm[here] = np.where(others, cosine, np.nan)
                found.seconds[here] = np.where(others, np.abs(times[rows] - times[leader]), np.nan)
                scorable = others & skin[rows]
                asked.append((here, scorable))
                compared.append((leader, np.concatenate([rows[scorable], impostors[skin[impostors]][:LOCAL_SAMPLE]])))
        for (here, scorable), scores in zip(asked, _local_scores(compared, keys, pool, known or {}), strict=True):
            column = np.full(len(scorable), np.nan, np.float32)
            column[scorable] = _above(scores[: scorable.sum()], scores[scorable.sum() :])
            found.local_znorm[here] = column
        if settings.neighbour_pairs:
            chosen = np.zeros(shape, bool)
            for here, scorable in asked:
                chosen[here] = scorable
            for part in lists[start : start + _BLOCK]:
                chosen[part] = _promising(found, candidates, part, chosen[part], settings)
            _match(found, chosen, candidates.row, keys, pool, progress)
    return found


def _promising(
    found: Neighbours, candidates: Candidates, part: slice, comparable: BoolArray, settings: ShortlistSettings
) -> BoolArray:
    """Return the (candidates, NEIGHBOURS) mask of the comparable pairs by which a candidate of a list may gain most.

    That is the probability that the leader shows the query's animal, times that of its showing the candidate's: each
    as far as it is known before the two are matched.
    """
    rows, probability = candidates.row[part], candidates.probability[part]
    # A leader is its own neighbour nowhere, so that the column's largest row is the leader's; -1 is nobody's row.
    leads = np.array([probability[rows == leader].sum() for leader in found.row[part].max(axis=0, initial=-1)])
    cosine, local = (values[part].astype(np.float64) for values in (found.cosine_znorm, found.local_znorm))
    features = features_of(settings.cosine_weight * cosine, local, np.zeros_like(comparable), found.seconds[part])
    gain = np.where(comparable, leads * _BEFORE_MATCHING.probability(features), -1.0).ravel()
    best = np.argsort(-gain, kind="stable")[: settings.neighbour_pairs]
    chosen = np.zeros(gain.size, bool)
    chosen[best[gain[best] >= 0]] = True
    return chosen.reshape(comparable.shape)


def _match(
    found: Neighbours,
    chosen: BoolArray,
    rows: Rows,
    keys: Sequence[str],
    pool: PairPool,
    progress: Progress | None,
) -> None:
    """Match the chosen pairs, each once, and write down what was found."""
    if not chosen.any():
        return
    leaders = found.row[chosen]
    others = np.broadcast_to(rows[:, None], chosen.shape)[chosen]
    pairs, where = np.unique(np.stack([leaders, others], axis=1), axis=0, return_inverse=True)
    names, starts = np.unique(pairs[:, 0], return_index=True)
    parts = np.split(pairs[:, 1], starts[1:])
    tasks = [PairTask(keys[name], tuple(keys[row] for row in part)) for name, part in zip(names, parts, strict=True)]
    records = np.concatenate(pool.measure(MUTUAL_NN, tasks, progress))[where.ravel()]
    for name, values in found.matched.items():
        measured = records[name].astype(np.float32)
        values[chosen] = np.nan_to_num(measured) if name == "inlier_ratio" else measured


def _leaders(candidates: Candidates, part: slice) -> list[int]:
    """Return the rows of a list's leading candidates by evidence, best first; one that was not matched leads nobody."""
    evidence, rows = candidates.evidence[part], candidates.row[part]
    matched = np.flatnonzero(~np.isnan(evidence))
    return [int(row) for row in rows[matched[np.lexsort((rows[matched], -evidence[matched]))[:NEIGHBOURS]]]]


def _local_scores(
    compared: Sequence[tuple[int, Rows]], keys: Sequence[str], pool: PairPool, known: Mapping[str, FloatArray]
) -> Iterator[FloatArray]:
    """Yield the local scores of (leader, (n,) rows), each pair scored once at most.

    One photograph leads many lists of a batch, and the lists of one encounter hold much the same photographs.
    """
    rows_of: dict[int, list[Rows]] = {}
    for leader, rows in compared:
        rows_of.setdefault(leader, []).append(rows)
    every = {leader: np.unique(np.concatenate(parts)) for leader, parts in rows_of.items()}
    unknown = np.full(len(keys), np.nan, np.float32)
    scores = {leader: known.get(keys[leader], unknown)[rows] for leader, rows in every.items()}
    missing = {leader: np.isnan(own) for leader, own in scores.items() if np.isnan(own).any()}
    tasks = [(keys[leader], every[leader][mask]) for leader, mask in missing.items()]
    for (leader, mask), computed in zip(missing.items(), pool.score_rows(tasks, keys), strict=True):
        scores[leader][mask] = computed
    for leader, rows in compared:
        yield scores[leader][np.searchsorted(every[leader], rows)]


def _above(scores: FloatArray, sample: FloatArray) -> FloatArray:
    """Return how far scores lie above a sample's mean, in its standard deviations; NaN where it has none."""
    known = sample.astype(np.float64)
    spread = known.std() if len(known) > 1 else 0.0
    if not spread:
        return np.full(len(scores), np.nan, np.float32)
    return ((scores - known.mean()) / spread).astype(np.float32)


def _times(index: CatalogIndex) -> npt.NDArray[np.float64]:
    """Return the (N,) seconds at which photographs were taken, NaN where only the day is known, or nothing."""
    table = index.catalog.table
    if "timestamp" not in table:
        return np.full(len(table), np.nan)
    stamps = table["timestamp"].to_numpy(dtype="datetime64[ns]", na_value=np.datetime64("NaT"))
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e9)
