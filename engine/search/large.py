"""The candidates of queries in a catalogue that is too large to score every photograph by its keypoints.

The exhaustive search (:mod:`engine.search.candidates`) compares a query's keypoints with those of all photographs,
which takes a fifth of a millisecond each. Here two files choose whom to compare: the coded global descriptors give the
best by cosine, exactly (:mod:`engine.retrieval.vectors`), and the words of keypoints give the best by votes
(:mod:`engine.retrieval.word_index`). Both choices are scored as the exhaustive search scores them, and lists are made
by the same sum. Means and deviations are of all allowed photographs for the cosine (of its codes), and of a sample of
them for the local score, the same for every query and order of rows.

A list is that of the exhaustive search but for photographs that neither file chose, and for the last digits of the
Z-normalised scores. It depends on its query, the catalogue and the words of the index alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from engine.catalogue.index import CatalogIndex, Progress
from engine.matching.code_files import KEYPOINTS, CodeFiles
from engine.matching.exhaustive import Codes
from engine.matching.pair_pool import PairPool
from engine.retrieval.vectors import Nearest, VectorFiles, VectorView
from engine.retrieval.word_index import WordIndex, WordView
from engine.search.candidates import Allowed, Candidates, best_rows, requery_of, stacked, znorm
from features.described_files import DESCRIBED, VECTORS, DescribedFiles, short
from features.records import BoolArray, FloatArray
from features.store.errors import StoreError
from features.store.segments import Digests, by_digest, take_out_damaged

logger = logging.getLogger(__name__)

#: Folder of the store.
WORDS = "words"
#: The best by cosine and by votes that are scored by their keypoints: a list holds 200 of them.
BY_COSINE, BY_WORDS = 300, 700
#: Photographs whose local scores tell what an impostor's is.
LOCAL_SAMPLE = 512
#: Photographs that are indexed together, and that the words are learned from.
_CHUNK, _VOCABULARY_SAMPLE = 8192, 1024

Rows = npt.NDArray[np.int64]

#: What is open of a catalogue's files, by store and kind of descriptors: a query alone must not pay for a million
#: digests.
_OPENED: WeakKeyDictionary[CatalogIndex, dict[tuple[Path, str, str], LargeIndex]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class LargeIndex:
    """What lies beside the store of a catalogue's photographs, in the catalogue's order.

    Attributes:
        vectors: their global descriptors. words: their keypoints.
        sampled: (N,) rows in the order of their contents, from which samples are taken.
        threads: that look through the files.
    """

    vectors: VectorView
    words: WordView
    sampled: Rows
    threads: int = 1

    @classmethod
    def opened(cls, database: CatalogIndex, pool: PairPool, progress: Progress | None = None) -> LargeIndex:
        """Return :meth:`of`, which is asked once for every catalogue and store.

        Raises:
            StoreError: the store cannot be written.
        """
        known = _OPENED.setdefault(database, {})
        # Another matcher of the same photographs may compare other descriptors.
        key = (pool.store, pool.codes_fingerprint(), pool.worker.describer.global_fingerprint())
        if key not in known:
            known[key] = cls.of(database, pool, progress)
        return known[key]

    @classmethod
    def of(cls, database: CatalogIndex, pool: PairPool, progress: Progress | None = None) -> LargeIndex:
        """Open the files, and add the photographs that they lack.

        Raises:
            StoreError: the store cannot be written.
        """
        keys, digests = database.keys, database.digests
        sampled = by_digest(digests)
        try:
            files = VectorFiles(pool.store / VECTORS / short(pool.worker.describer.global_fingerprint()))
            missing = np.flatnonzero(files.missing(digests))
            for start in range(0, len(missing), _CHUNK):
                rows = missing[start : start + _CHUNK]
                files.add(digests[rows], database.vectors_of(rows))
            described = DescribedFiles(pool.store, pool.worker.describer)
            lacking = np.flatnonzero(described.missing(digests))
            for start in range(0, len(lacking), _CHUNK):
                described.add([database.descriptions[row] for row in lacking[start : start + _CHUNK]])
            words = _indexed(keys, digests, sampled, pool, progress)
        except OSError as error:
            raise StoreError(
                f"the index of a large catalogue cannot be written into {pool.store} ({error}): give another --store"
            ) from error
        return cls(files.view(digests), words.view(digests), sampled, pool.threads)

    def chosen(
        self, query: FloatArray, codes: Sequence[Codes], allowed: BoolArray, comparable: BoolArray
    ) -> tuple[Nearest, Rows]:
        """Return the best photographs by cosine, and the rows of these and of the best by votes, rising.

        Args:
            query: (D,) float32 global descriptor.
            codes: (n, D) of the query's keypoints, one for each rotation in which it is described.
            allowed, comparable: (N,) bool, which photographs it may have, and which show its skin.
        """
        near = self.vectors.nearest(query, BY_COSINE, allowed, self.threads)
        every = [self.words.votes(one, allowed & comparable, self.threads) for one in codes]
        votes = np.maximum.reduce(every)
        return near, np.union1d(near.rows, best_rows(votes.astype(np.float64), votes > 0, BY_WORDS))


def take_out_damaged_indexes(store: Path) -> list[str]:
    """Read the indexes of large catalogues beside a store; take out, and name, what is not as it was written."""
    folders = [folder for name in (DESCRIBED, KEYPOINTS, VECTORS) for folder in sorted((store / name).glob("*"))]
    folders += sorted((store / WORDS).glob("*/*"))
    found = [path for folder in folders if folder.is_dir() for path in take_out_damaged(folder)]
    return [path.relative_to(store).as_posix() for path in found]


def _indexed(
    keys: Sequence[str], digests: Digests, sampled: Rows, pool: PairPool, progress: Progress | None
) -> WordIndex:
    """Add photographs to the files of their keypoints, and to those of the keypoints' words."""
    fingerprint = pool.codes_fingerprint()
    files, words = CodeFiles.of(pool.store, fingerprint), WordIndex(pool.store / WORDS / short(fingerprint))
    if words.vocabulary is None:
        words.learn(pool.codes([keys[row] for row in sampled[:_VOCABULARY_SAMPLE]]))
    lacks_codes, lacks_words = files.missing(digests), words.missing(digests)
    missing = np.flatnonzero(lacks_codes | lacks_words)
    for start in range(0, len(missing), _CHUNK):
        rows = missing[start : start + _CHUNK]
        codes = pool.codes([keys[row] for row in rows])
        for target, lacks in ((files, lacks_codes), (words, lacks_words)):
            places = np.flatnonzero(lacks[rows])
            target.add(digests[rows[places]], [codes[place] for place in places])
        if progress is not None:
            progress(start + len(rows), len(missing))
    return words


@dataclass(frozen=True, eq=False)
class _Chosen:
    """What one query knows of the catalogue before anything is matched.

    Attributes:
        rows: (n,) chosen photographs. local: (n,) float32 their local scores, NaN where the skin cannot be compared.
        helpers: the best two by cosine.
        cosine, spread: mean and deviation of the cosines of all allowed.
        local_mean, local_spread: of the local scores of the sample.
    """

    rows: Rows
    local: FloatArray
    helpers: Rows
    cosine: float
    spread: float
    local_mean: float
    local_spread: float


class LargeRetrieval:
    """The indexed search, in place of :class:`engine.search.candidates.Retrieval`.

    Args:
        queries, database: described photographs.
        index: of the database.
        allowed: which candidates a query may have.
        comparable: which of the database show a query's skin.
        pool: scores pairs.
        cosine_weight: of the cosine beside the local score.
        named: rows of the database that get a local score whether they are chosen or not.
    """

    def __init__(
        self,
        queries: CatalogIndex,
        database: CatalogIndex,
        index: LargeIndex,
        allowed: Allowed,
        comparable: Allowed,
        pool: PairPool,
        cosine_weight: float,
        named: Rows,
    ) -> None:
        self.queries = queries.vectors
        self._keys = [part.keys for part in (queries, database)]
        self._index, self._allowed, self._comparable = index, allowed, comparable
        self._pool, self._weight, self._named = pool, cosine_weight, named
        self._chosen = self._choose()

    def _choose(self) -> list[_Chosen]:
        found, asked = [], []
        rotated = [self._pool.worker.describer.rotated_keys(key) for key in self._keys[0]]
        together = iter(self._pool.codes([key for keys in rotated for key in keys]))
        codes = [[next(together) for _ in keys] for keys in rotated]
        for number, query in enumerate(self.queries):
            allowed, comparable = self._allowed(number), self._comparable(number)
            near, rows = self._index.chosen(query, codes[number], allowed, comparable)
            rows = np.union1d(rows, self._named)
            sample = self._index.sampled[(allowed & comparable)[self._index.sampled]][:LOCAL_SAMPLE]
            known = comparable[rows]
            asked.append((self._keys[0][number], [self._keys[1][row] for row in [*rows[known], *sample]]))
            found.append((rows, known, near))
        chosen = []
        for (rows, known, near), scores in zip(found, self._pool.score_keys(asked), strict=True):
            local = np.full(len(rows), np.nan, np.float32)
            local[known] = scores[: known.sum()]
            sample_scores = scores[known.sum() :].astype(np.float64)
            mean, spread = (sample_scores.mean(), sample_scores.std()) if len(sample_scores) else (0.0, 0.0)
            chosen.append(_Chosen(rows, local, near.rows[:2], near.mean, near.spread, float(mean), float(spread)))
        return chosen

    def best(self, size: int) -> Candidates:
        """Return the best allowed of every query's chosen photographs by cosine and local score together."""
        lists = []
        for number, chosen in enumerate(self._chosen):
            scored = self.listed(number, chosen.rows)
            fused = self._weight * scored.cosine_znorm + np.nan_to_num(scored.local_znorm)
            best = best_rows(fused, self._allowed(number)[chosen.rows], size or len(chosen.rows))
            lists.append(scored.taken(best))
        return stacked(lists)

    def allowed(self, query: int) -> BoolArray:
        """Return the (N,) mask of the photographs that a query may have."""
        return np.array(self._allowed(query))

    def likes(self, leaders: Rows, weights: FloatArray, outside: BoolArray, size: int) -> Rows:
        """Return the best rows ``outside`` by the largest of their weighted cosines with leaders, at most ``size``."""
        # A row's best leader has it among its own best.
        vectors = self._index.vectors
        own = vectors.take(leaders)
        rows = np.unique(
            np.concatenate([vectors.nearest(vector, size, outside, self._index.threads).rows for vector in own])
        )
        worth = np.stack([scores * w for scores, w in zip(vectors.products(own, rows), weights, strict=True)]).max(
            axis=0
        )
        return rows[best_rows(worth, worth > 0, size)]

    def listed(self, query: int, rows: Rows) -> Candidates:
        """Return the list of a query that holds these rows."""
        chosen, vectors = self._chosen[query], self._index.vectors
        cosine, *others = vectors.products([self.queries[query], *vectors.take(chosen.helpers)], rows)
        local = self._local(query, rows)
        return Candidates(
            query=np.full(len(rows), query, np.int64),
            row=rows,
            cosine=cosine,
            requery=requery_of(cosine, others),
            local=local,
            cosine_znorm=znorm(cosine, chosen.cosine, chosen.spread),
            local_znorm=znorm(local, chosen.local_mean, chosen.local_spread),
        )

    def _local(self, query: int, rows: Rows) -> FloatArray:
        """Return local scores, of photographs that were not chosen too."""
        chosen, found = self._chosen[query], np.full(len(rows), np.nan, np.float32)
        place = np.minimum(np.searchsorted(chosen.rows, rows), max(len(chosen.rows) - 1, 0))
        known = chosen.rows[place] == rows if len(chosen.rows) else np.zeros(len(rows), bool)
        found[known] = chosen.local[place[known]]
        fresh = np.flatnonzero(~known & self._comparable(query)[rows])
        if len(fresh):
            asked = [(self._keys[0][query], [self._keys[1][row] for row in rows[fresh]])]
            found[fresh] = self._pool.score_keys(asked)[0]
        return found
