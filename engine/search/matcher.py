"""The API of the search: describe a catalogue, match queries against it, rank what was found."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import CandidateFilter, Catalog, FilterReport
from engine.catalogue.index import CatalogIndex, Progress, describe_catalog
from engine.catalogue.queries import query_catalog
from engine.cluster.cluster import Cluster
from engine.matching.measurements import MATCHERS, columns, unmeasured
from engine.matching.pair_pool import PairPool
from engine.matching.pair_worker import PairSettings, PairTask
from engine.models.bundle import Model
from engine.models.choice import choose_model
from engine.models.library import DEFAULT_MODEL, load_model
from engine.records import Correspondences, Verification
from engine.search import pipeline
from engine.search.candidates import ShortlistSettings
from engine.search.pair_evidence import PairEvidence, Prefetched, read_pair_evidence
from engine.workers import default_workers
from features.global_descriptor.descriptor import same_descriptor
from features.store import LostEntryError, default_store
from reranker.explanation import Explanation, explain_pairs
from reranker.individual_model import IndividualModel
from reranker.local_evidence import LocalEvidence
from reranker.ranker import Ranker, RankerError
from reranker.ranking import rank_pairs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MatcherSettings(PairSettings):
    """Options of the whole engine: those of a pair's measurements, and of the lists of candidates.

    Attributes:
        shortlist: how many candidates a query has, and how they are found.
    """

    shortlist: ShortlistSettings = field(default_factory=ShortlistSettings)


class Matcher:
    """Finds the same individual again.

    Args:
        settings: options of the stages; what the model decides takes the place of defaults.
        store: folder that keeps descriptions and pair numbers; None takes the user's cache folder, one per catalogue.
        ranker: a trained ranker, a path to one, None for the model's where it fits (WildFusion's rule otherwise),
            or "fusion" for that rule, which needs no training.
        workers: processes; None takes one per core. Answers do not depend on it.
        device: "cpu", "cuda" or None to choose.
        model: what is particular to the animals, by name (``scarmatch models`` lists them) or by the folder that
            ``scarmatch train`` wrote. A matcher is made before it sees a catalogue, and serves several, so that none of
            them can choose for it; :meth:`for_catalog` chooses as the command line does.
        cluster: who works instead of processes of this program: the address of a dask scheduler
            ("tcp://host:8786"), "local:N" for a cluster of its own with N processes, or a
            :class:`engine.cluster.cluster.Cluster`; None for none. Answers do not depend on it. The store and the
            photographs lie where all workers see them.

    Raises:
        ModelError: there is no such model, or one of its files is missing or damaged.
        ClusterError: the cluster cannot be used.
        VersionError: a worker of it would give other answers.

    Example:
        >>> matcher = Matcher()                                                     # doctest: +SKIP
        >>> answers = matcher.match(["new.jpg"], Catalog.read("catalogue/"))        # doctest: +SKIP
    """

    def __init__(
        self,
        settings: MatcherSettings | None = None,
        store: str | Path | None = None,
        ranker: Ranker | str | Path | None = None,
        workers: int | None = None,
        device: str | None = None,
        model: str | Path | Model = DEFAULT_MODEL,
        cluster: str | Cluster | None = None,
    ) -> None:
        self.model = load_model(model)
        self.settings = self.model.applied(settings or MatcherSettings())
        self.workers = workers if workers is not None else default_workers()
        self.device = device
        self._store = Path(store) if store is not None else None
        if self._store is not None and cluster is not None:
            self._store = self._store.absolute()  # workers have folders of their own
        self._cluster_address = cluster if isinstance(cluster, str) else None
        self._cluster = Cluster(cluster) if isinstance(cluster, str) else cluster
        self._ranker_choice = ranker
        self._pool: PairPool | None = None

    @classmethod
    def for_catalog(
        cls, catalog: Catalog | str | Path, settings: MatcherSettings | None = None, **options: Any
    ) -> Self:
        """Return a matcher with the model that suits a catalogue (:func:`engine.models.choice.choose_model`).

        Args:
            catalog: what will be searched, or its folder or file.
            settings, options: as for the class.
        """
        plain = catalog if isinstance(catalog, Catalog) else Catalog.read(catalog)
        return cls(settings, **options, model=choose_model(plain).name)

    def store_for(self, catalog: Catalog) -> Path:
        """Return the store's folder for a catalogue."""
        return self._store if self._store is not None else default_store(catalog.root)

    def index(
        self, catalog: Catalog | str | Path, progress: Progress | None = None, store: Path | None = None
    ) -> CatalogIndex:
        """Describe every photograph of a catalogue once; see :func:`engine.catalogue.index.describe_catalog`."""
        catalog = catalog if isinstance(catalog, Catalog) else Catalog.read(catalog)
        where = store if store is not None else self.store_for(catalog)
        if self.cluster is not None:
            self.cluster.check_folder(catalog.root)
            self.cluster.check_folder(where, written=True)
        workforce = self.cluster or self.workers
        return describe_catalog(catalog, self.settings.describe, where, workforce, progress, self.device)

    @property
    def cluster(self) -> Cluster | None:
        """The cluster that works, None where processes of this program do."""
        if self._cluster is None and self._cluster_address is not None:  # closed, and used again
            self._cluster = Cluster(self._cluster_address)
        return self._cluster

    def match(
        self,
        queries: CatalogIndex | Catalog | Sequence[str | Path],
        catalog: CatalogIndex | Catalog | str | Path,
        candidates: CandidateFilter | None = None,
        top: int = 20,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        """Answer queries: the photographs of a catalogue that most probably show the same individual.

        Args:
            queries: photographs (paths), a catalogue of them, or an index.
            catalog: the catalogue to search, or its folder or file, or its index.
            candidates: which candidates a query may have; the query itself never is one.
            top: at most so many answers a query.
            progress: called with (done, total) of whatever is at work.

        Returns:
            One row per (query, candidate), queries in the order given and best candidates first: query_id, rank,
            image_id, individual_id, probability (of the same individual, strictly decreasing within a query and
            comparable between queries), score, cosine, lightglue_matches and lightglue_inliers (<NA> where it did not
            re-score, see ``shortlist.rescore``), mutual_nn_inliers (mutual nearest neighbours that agree in one
            placement; <NA> between a flank and a back), date, viewpoint, encounter_id, date_gap_days, path, query_path,
            query_date, query_viewpoint. A query without candidates has no rows.

        Raises:
            CatalogError: a catalogue or query cannot be read at all.
        """
        raw = self.pairs(queries, catalog, candidates, progress)
        return self.rank(raw, top)

    def pairs(
        self,
        queries: CatalogIndex | Catalog | Sequence[str | Path],
        catalog: CatalogIndex | Catalog | str | Path,
        candidates: CandidateFilter | None = None,
        progress: Progress | None = None,
        include: Sequence[str] = (),
        neighbours: bool | None = None,
    ) -> pd.DataFrame:
        """Return the raw pair table of the queries' candidates: all evidence, not yet ranked.

        One row per (query, candidate); see :data:`engine.matching.measurements.MEASUREMENTS` for the columns
        ``{matcher}_{measurement}``. Pairs of a lateral view and one from above are not matched, and LightGlue re-scores
        the best ``shortlist.rescore`` of a list: what was not matched is NaN. ``n_true`` holds how many allowed
        candidates in all the catalogue show the query's individual, and ``same_encounter`` says what
        ``exclude_encounter`` would have left out. The photographs of the catalogue whose ids ``include`` names are in
        every list, whether the search finds them or not.

        ``neighbours`` compares the candidates of a list with one another and matches the most promising
        ``shortlist.neighbour_pairs`` of these pairs, which takes up to half of a search: True where a ranker will be
        fitted on the table, None (default) as far as the ranker in use asks for it. Without it the columns of
        :mod:`reranker.likeness` are missing.
        """
        database = catalog if isinstance(catalog, CatalogIndex) else self.index(catalog, progress)
        store = self._store_of(database)
        described = self._as_index(queries, database, progress)
        rules, pool, shortlist = candidates or CandidateFilter(), self.pair_pool(store), self.settings.shortlist
        rescoring = self.ranker.rescoring if self.ranker is not None else None
        wanted = neighbours if neighbours is not None else rescoring is not None
        if neighbours is None and rescoring is not None and rescoring.likeness.matched is None:
            shortlist = shortlist.replace(neighbour_pairs=0)  # this ranker would not read what is found
        asked = (described, database, rules, shortlist, pool, progress, include, self.first_stage, wanted)
        try:
            return pipeline.search(*asked)
        except LostEntryError:
            # A record was found damaged when it was used: whatever else is damaged is found and computed anew, once.
            for index in (described, database):
                self._describe_again(index, store)
            return pipeline.search(*asked)

    def _describe_again(self, index: CatalogIndex, store: Path) -> None:
        """Read every record of an index's photographs, and compute anew what the store lost."""
        workforce, settings = self.cluster or self.workers, self.settings.describe
        describe_catalog(index.catalog, settings, store, workforce, None, self.device, verify=True)

    def compare(
        self,
        pairs: Sequence[tuple[str, str]],
        queries: CatalogIndex,
        catalog: CatalogIndex | None = None,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        """Match and verify pairs given by their ids, whatever their similarity.

        Args:
            pairs: (image id in ``queries``, image id in ``catalog``).
            queries: where the first of each pair lies.
            catalog: where the second lies; None if both lie in ``queries``.
            progress: called with (pairs done, pairs in all).

        Returns:
            One row per pair in the order given: image_id0, image_id1 and the columns ``{matcher}_{measurement}`` of
            :data:`engine.matching.measurements.MEASUREMENTS`, by every matcher.

        Raises:
            KeyError: an id is not in its catalogue.
        """
        database = catalog if catalog is not None else queries
        queries = self._as_index(queries, database, progress)
        places: dict[str, list[int]] = {}
        for place, (query, _) in enumerate(pairs):
            places.setdefault(query, []).append(place)
        tasks = []
        for query, own in places.items():
            rows = [database.catalog.position(pairs[place][1]) for place in own]
            candidates = tuple(database.descriptions[row].key for row in rows)
            tasks.append(PairTask(queries.descriptions[queries.catalog.position(query)].key, candidates))
        pool = self.pair_pool(self._store_of(database))
        table: dict[str, Any] = {"image_id0": [first for first, _ in pairs], "image_id1": [other for _, other in pairs]}
        for matcher in MATCHERS:
            records = unmeasured(matcher, len(pairs))
            for own, measured in zip(places.values(), pool.measure(matcher, tasks, progress), strict=True):
                records[own] = measured
            table |= columns(matcher, records)
        return pd.DataFrame(table)

    def filter_report(self, catalog: CatalogIndex | Catalog, candidates: CandidateFilter | None) -> FilterReport:
        """Return the counts of the candidate filter's rules that hold for every query."""
        plain = catalog.catalog if isinstance(catalog, CatalogIndex) else catalog
        return (candidates or CandidateFilter()).apply(plain.table)[1]

    def rank(self, raw: pd.DataFrame, top: int = 20) -> pd.DataFrame:
        """Turn a raw pair table into answers (the columns of :meth:`match`)."""
        if raw.empty:
            return pd.DataFrame(columns=list(ANSWER_COLUMNS))
        order = {query: position for position, query in enumerate(raw["query_id"].unique())}
        table = rank_pairs(raw, self.ranker, top).sort_values("query_id", key=lambda ids: ids.map(order), kind="stable")
        renamed = table.reset_index(drop=True).rename(columns=_ANSWER_NAMES)
        renamed["date_gap_days"] = (renamed["date"] - renamed["query_date"]).abs().dt.days
        for name in ("lightglue_matches", "lightglue_inliers", "mutual_nn_inliers"):
            # Unknown, not zero, where nothing was matched: LightGlue re-scores the best of a list, and a flank is never
            # matched with a back.
            renamed[name] = renamed[name].astype("Int64")
        return renamed[list(ANSWER_COLUMNS)]

    def explain(self, raw: pd.DataFrame, wanted: npt.ArrayLike | None = None) -> Explanation:
        """Say what every feature added to the scores of a raw pair table (see :mod:`reranker.explanation`).

        Args:
            raw: whole lists, as :meth:`pairs` returns them.
            wanted: (rows,) True for the rows to explain; all if None.
        """
        return explain_pairs(raw, self.ranker, wanted)

    @cached_property
    def first_stage(self) -> LocalEvidence:
        """What the first stage's measurements are worth on the model's animals."""
        path = self.model.path("first_stage_evidence")
        return LocalEvidence.load(path) if path is not None else LocalEvidence.shipped_first_stage()

    @cached_property
    def ranker(self) -> Ranker | None:
        """The trained ranker in use, None where WildFusion's rule serves."""
        choice = self._ranker_choice
        if choice == "fusion":
            return None
        kind = self.settings.describe.keypoints.kind
        if choice is None:
            own = self.model.path("ranker")
            if own is None:
                return None
            ranker, descriptor = Ranker.load(own), self.settings.describe.descriptor.model
            if ranker.keypoint_kind == kind and same_descriptor(ranker.descriptor, descriptor):
                return ranker
            # Its numbers mean something else: a rough probability is better than a wrong one.
            logger.info(
                "the ranker of %r is for %s keypoints and the descriptor %r, not for %s, %r: using WildFusion's rule",
                *(self.model.name, ranker.keypoint_kind, ranker.descriptor, kind, descriptor),
            )
            return None
        ranker = choice if isinstance(choice, Ranker) else Ranker.load(choice)
        if ranker.keypoint_kind and ranker.keypoint_kind != kind:
            raise RankerError(
                f"the ranker was trained on {ranker.keypoint_kind!r} keypoints, the settings ask for {kind!r}: "
                "train another with `scarmatch train-ranker`, or use ranker='fusion'"
            )
        if ranker.descriptor and not same_descriptor(ranker.descriptor, self.settings.describe.descriptor.model):
            logger.warning(
                "the ranker was trained on the descriptor %r, not %r: its probabilities may be off",
                ranker.descriptor,
                self.settings.describe.descriptor.model,
            )
        return ranker

    @property
    def individual_model(self) -> IndividualModel | None:
        """What the ranker in use has learned of an individual's photographs together, None where it has not."""
        return self.ranker.individuals if self.ranker is not None else None

    def evidence(
        self,
        query_id: str,
        image_id: str,
        queries: CatalogIndex,
        catalog: CatalogIndex,
        prefetched: Prefetched | None = None,
    ) -> PairEvidence:
        """Return everything that a picture of one pair can show.

        Args:
            query_id, image_id: the photographs, in ``queries`` and ``catalog``.
            prefetched: what :meth:`prefetch` returned; other pairs are matched now, in this process.

        Raises:
            KeyError: one of the two ids is not in its catalogue.
        """
        pool = self.pair_pool(self._store_of(catalog))
        return read_pair_evidence(query_id, image_id, self._as_index(queries, catalog), catalog, pool, prefetched)

    def prefetch(self, pairs: Sequence[tuple[str, str]], queries: CatalogIndex, catalog: CatalogIndex) -> Prefetched:
        """Match pairs that will be shown, in the worker processes; :meth:`evidence` takes what is returned.

        Whatever cannot be matched is left out, and for :meth:`evidence` to report; with one process nothing would be
        gained, and nothing is done.

        Args:
            pairs: (image id in ``queries``, image id in ``catalog``); ids that are not there are passed over.
            queries, catalog: as for :meth:`evidence`.
        """
        matched: dict[tuple[str, str], tuple[str, Correspondences, Verification]] = {}
        if self.cluster is None and self.workers <= 1:
            return matched
        queries = self._as_index(queries, catalog)
        candidates: dict[str, list[str]] = {}
        for query, image in dict.fromkeys(pairs):
            if query in queries.catalog and image in catalog.catalog:
                key = queries.descriptions[queries.catalog.position(query)].key
                candidates.setdefault(key, []).append(catalog.descriptions[catalog.catalog.position(image)].key)
        tasks = [PairTask(query, tuple(keys)) for query, keys in candidates.items()]
        try:
            for task, results in self.pair_pool(self._store_of(catalog)).match(tasks):
                matched.update({(task.query, key): one for key, one in zip(task.candidates, results, strict=True)})
        except KeyError as error:
            logger.warning("the store lost the description of %s: index the catalogue again", error)
        return matched

    def pair_pool(self, store: Path) -> PairPool:
        """Return what measures pairs described in a store; its processes stay until another store is used."""
        if self._pool is None or self._pool.store != store:
            self._close_pool()
            if self.cluster is not None:
                self.cluster.check_folder(store, written=True)
            self._pool = PairPool(self.settings, store, self.cluster or self.workers, self.device)
        return self._pool

    def close(self) -> None:
        """End the worker processes, or leave the cluster (they end by themselves with the program)."""
        self._close_pool()
        if self._cluster is not None and self._cluster_address is not None:
            self._cluster.close()
            self._cluster = None

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _as_index(
        self,
        queries: CatalogIndex | Catalog | Sequence[str | Path],
        database: CatalogIndex,
        progress: Progress | None = None,
    ) -> CatalogIndex:
        """Return the queries' index with their features in the database's store, where pairs are matched."""
        store = self._store_of(database)
        if isinstance(queries, CatalogIndex):
            if queries.store in (store, None):
                return queries
            queries = queries.catalog
        if isinstance(queries, Catalog):
            return self.index(queries, progress, store)
        photos = [queries] if isinstance(queries, str | Path) else list(queries)
        return self.index(query_catalog(photos, database.catalog), progress, store)

    def _store_of(self, index: CatalogIndex) -> Path:
        return index.store if index.store is not None else self.store_for(index.catalog)

    def describe_settings(self) -> dict[str, Any]:
        """Return what the run is made with, for reports and results."""
        ranker = self.ranker
        return {
            **self.settings.to_dict(),
            "model": self.model.name,
            "ranker": {"kind": ranker.kind if ranker is not None else "WildFusion baseline"},
        }


ANSWER_COLUMNS = (
    "query_id",
    "rank",
    "image_id",
    "individual_id",
    "probability",
    "score",
    "cosine",
    "lightglue_matches",
    "lightglue_inliers",
    "mutual_nn_inliers",
    "date",
    "viewpoint",
    "encounter_id",
    "date_gap_days",
    "path",
    "query_path",
    "query_date",
    "query_viewpoint",
)

_ANSWER_NAMES = {
    "candidate_id": "image_id",
    "individual1": "individual_id",
    "encounter1": "encounter_id",
    "date1": "date",
    "viewpoint1": "viewpoint",
    "path1": "path",
    "path0": "query_path",
    "date0": "query_date",
    "viewpoint0": "query_viewpoint",
}
