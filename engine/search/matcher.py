"""The story: describe, shortlist, match, verify, rank.

The one module that joins photographs, pairs and the ranker. Each query's answer depends on that query and the catalogue
alone, whatever other queries are asked and however many processes work.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import CandidateFilter, Catalog, FilterReport
from engine.catalogue.index import CatalogIndex, Progress, describe_catalog, refs_of
from engine.catalogue.queries import query_catalog
from engine.geometry.verification import VerificationSettings
from engine.matching.dense import MarkMatchingSettings
from engine.matching.evidence import (
    NUMBERS,
    QUICK_LOOKS,
    Look,
    PairCache,
    PairTask,
    PairWorker,
    default_mark_verification,
    look_columns,
    look_task,
    match_task,
    worth_a_second_look,
)
from engine.matching.matchers import MatchingSettings
from engine.matching.mutual_nn import NearestSettings
from engine.search.candidates import Shortlist, ShortlistSettings, expansion, shortlist
from engine.search.pair_table import Allowed, comparable, raw_table, vectors_of
from engine.workers import TaskPool, default_workers, single_thread
from features.describe import DescribeSettings
from features.store import default_store
from scarmatch.settings import Settings

if TYPE_CHECKING:
    from engine.records import Correspondences, Verification
    from engine.report.visualize import PairEvidence
    from reranker.explanation import Explanation
    from reranker.ranker import Ranker

logger = logging.getLogger(__name__)

#: For each look the (candidates, numbers) table of every list.
Tables = dict[Look, list[npt.NDArray[np.float32]]]
#: For every list the (candidates,) log-odds by the quick looks alone; NaN where nobody looked.
Evidence = list[npt.NDArray[np.float64]]

#: Share of a list's candidates that are right, roughly: local evidence is for even odds.
_PRIOR = 0.1
#: Pairs per task: large enough to fill batches, small enough that progress moves and a stop loses little.
_TASK_PAIRS = 200


@dataclass(frozen=True)
class MatcherSettings(Settings):
    """Options of the whole engine, one group per stage.

    Attributes:
        describe: one photograph: global descriptor, keypoints, regions.
        shortlist: how many candidates the local matchers see, and how they are found.
        marks: the quick look at the skin of every pair, by mark descriptors.
        mark_verification: its geometric consistency.
        nearest: the quick look at the keypoints of every pair, by nearest neighbours.
        matching: the second look, by keypoints and LightGlue.
        verification: the geometric consistency of keypoints.
    """

    describe: DescribeSettings = field(default_factory=DescribeSettings)
    shortlist: ShortlistSettings = field(default_factory=ShortlistSettings)
    marks: MarkMatchingSettings = field(default_factory=MarkMatchingSettings)
    mark_verification: VerificationSettings = field(default_factory=default_mark_verification)
    nearest: NearestSettings = field(default_factory=NearestSettings)
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    verification: VerificationSettings = field(default_factory=VerificationSettings)


class Matcher:
    """Finds the same individual again.

    Args:
        settings: options of the stages.
        store: folder that keeps descriptions and pair numbers; None takes the user's cache folder, one per catalogue.
        ranker: a trained ranker, a path to one, None for the shipped one where it fits (plain fusion otherwise), or
            "fusion" for the plain fusion of global and local evidence.
        workers: processes; None takes one per core. Answers do not depend on it.
        device: "cpu", "cuda" or None to choose.

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
    ) -> None:
        self.settings = settings or MatcherSettings()
        self.workers = workers if workers is not None else default_workers()
        self.device = device
        self._store = Path(store) if store is not None else None
        self._ranker_choice = ranker
        self._worker: tuple[Path, PairWorker] | None = None
        self._pool: tuple[Path, TaskPool] | None = None
        self._foreseen: dict[tuple[Path, str, str], tuple[Correspondences, Verification]] = {}

    def store_for(self, catalog: Catalog) -> Path:
        """Return the store's folder for a catalogue."""
        return self._store if self._store is not None else default_store(catalog.root)

    def index(
        self, catalog: Catalog | str | Path, progress: Progress | None = None, store: Path | None = None
    ) -> CatalogIndex:
        """Describe every photograph of a catalogue once; see :func:`engine.catalogue.index.describe_catalog`."""
        catalog = catalog if isinstance(catalog, Catalog) else Catalog.read(catalog)
        where = store if store is not None else self.store_for(catalog)
        return describe_catalog(catalog, self.settings.describe, where, self.workers, progress, self.device)

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
            comparable between queries), score, cosine, n_matches and n_inliers (LightGlue's; <NA> where it did not
            look, see ``shortlist.second_look``), nearest_inliers (keypoints that are each other's nearest and agree in
            one placement; <NA> between a flank and a back), date, viewpoint, encounter_id, date_gap_days, path,
            query_path, query_date, query_viewpoint. A query without candidates has no rows.

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
    ) -> pd.DataFrame:
        """Return the raw pair table of the queries' shortlists: all evidence, not yet ranked.

        One row per (query, candidate); see :data:`engine.matching.evidence.NUMBERS` and the ranker's documentation for
        the columns. Pairs of a lateral view and one from above are not looked at
        (:func:`engine.search.pair_table.comparable`), and LightGlue sees the best ``shortlist.second_look`` of a list:
        what nobody looked for is NaN. ``n_true`` holds how many allowed candidates in all the catalogue show the
        query's individual, and ``same_encounter`` says what ``exclude_encounter`` would have left out.
        """
        database = catalog if isinstance(catalog, CatalogIndex) else self.index(catalog, progress)
        store = self.store_for(database.catalog)
        asked = self._as_index(queries, database, store, progress)
        allowed = Allowed(asked, database, candidates or CandidateFilter())
        lists = shortlist(asked.vectors, vectors_of(asked, database), allowed.mask, self.settings.shortlist)
        looked = self._quick_looks(asked, database, lists, store, progress)
        evidence = _quick_evidence(looked)
        added = self._expansion(asked, database, lists, evidence, allowed)
        more = self._quick_looks(asked, database, added, store, progress)
        lists = [found.followed_by(others) for found, others in zip(lists, added, strict=True)]
        evidence = [np.concatenate(both) for both in zip(evidence, _quick_evidence(more), strict=True)]
        for look, tables in looked.items():
            looked[look] = [np.concatenate(both) for both in zip(tables, more[look], strict=True)]
        wanted = self._second_looks(lists, evidence)
        looked[Look.LIGHTGLUE] = self._compare(Look.LIGHTGLUE, asked, database, lists, store, progress, wanted)
        return raw_table(asked, database, lists, looked, allowed.truth)

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
            One row per pair in the order given: image_id0, image_id1 and the columns of
            :data:`engine.matching.evidence.NUMBERS`. Every pair gets every look.

        Raises:
            KeyError: an id is not in its catalogue.
        """
        database = catalog if catalog is not None else queries
        asked = list(dict.fromkeys(first for first, _ in pairs))
        positions: dict[str, list[int]] = {name: [] for name in asked}
        for position, (first, _) in enumerate(pairs):
            positions[first].append(position)
        lists = []
        for name in asked:
            rows = np.array([database.catalog.position(pairs[p][1]) for p in positions[name]], np.int64)
            nothing = np.zeros(len(rows), np.float32)
            lists.append(Shortlist(rows, nothing, nothing, nothing))
        store = self.store_for(database.catalog)
        ids = {"image_id0": [first for first, _ in pairs], "image_id1": [second for _, second in pairs]}
        columns: dict[str, Any] = {**ids}
        for look in Look:
            tables = self._compare(look, queries.subset(asked), database, lists, store, progress)
            rows_of: list[npt.NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(pairs)
            for name, table in zip(asked, tables, strict=True):
                for position, row in zip(positions[name], table, strict=True):
                    rows_of[position] = row
            columns.update(look_columns(look, rows_of))
        return pd.DataFrame(columns)

    def filter_report(self, catalog: CatalogIndex | Catalog, candidates: CandidateFilter | None) -> FilterReport:
        """Return the counts of the candidate filter's rules that hold for every query."""
        plain = catalog.catalog if isinstance(catalog, CatalogIndex) else catalog
        return (candidates or CandidateFilter()).apply(plain.table)[1]

    def rank(self, raw: pd.DataFrame, top: int = 20) -> pd.DataFrame:
        """Turn a raw pair table into answers (the columns of :meth:`match`)."""
        from reranker.ranking import rank_pairs

        if raw.empty:
            return pd.DataFrame(columns=list(ANSWER_COLUMNS))
        asked = {query: position for position, query in enumerate(raw["query_id"].unique())}
        table = rank_pairs(raw, self.ranker, top).sort_values("query_id", key=lambda ids: ids.map(asked), kind="stable")
        renamed = table.reset_index(drop=True).rename(columns=_ANSWER_NAMES)
        renamed["date_gap_days"] = (renamed["date"] - renamed["query_date"]).abs().dt.days
        for name in ("n_matches", "n_inliers", "nearest_inliers"):
            # Unknown, not zero, where nobody looked: LightGlue sees the best of a list, and nobody a flank and a back.
            renamed[name] = renamed[name].astype("Int64")
        return renamed[list(ANSWER_COLUMNS)]

    def explain(self, raw: pd.DataFrame, wanted: npt.ArrayLike | None = None) -> Explanation:
        """Say what every feature added to the scores of a raw pair table (see :mod:`reranker.explanation`).

        Args:
            raw: whole lists, as :meth:`pairs` returns them.
            wanted: (rows,) True for the rows to explain; all if None.
        """
        from reranker.explanation import explain_pairs

        return explain_pairs(raw, self.ranker, wanted)

    @cached_property
    def ranker(self) -> Ranker | None:
        """The trained ranker in use, None where the plain fusion serves."""
        choice = self._ranker_choice
        if choice == "fusion":
            return None
        from reranker.ranker import Ranker, RankerError

        kind = self.settings.describe.keypoints.kind
        if choice is None:
            shipped = shipped_ranker(kind)
            if shipped is None:
                return None
            ranker = Ranker.load(shipped)
            model = self.settings.describe.descriptor.model
            if ranker.descriptor == model:
                return ranker
            # Its cosines mean something else: a rough probability is better than a wrong one.
            logger.info("no ranker ships for the descriptor %r: using the plain fusion", model)
            return None
        ranker = choice if isinstance(choice, Ranker) else Ranker.load(choice)
        if ranker.keypoint_kind and ranker.keypoint_kind != kind:
            raise RankerError(
                f"the ranker was trained on {ranker.keypoint_kind!r} keypoints, the settings ask for {kind!r}: "
                "train another with `scarmatch train-ranker`, or use ranker='fusion'"
            )
        if ranker.descriptor and ranker.descriptor != self.settings.describe.descriptor.model:
            logger.warning(
                "the ranker was trained on the descriptor %r, not %r: its probabilities may be off",
                ranker.descriptor,
                self.settings.describe.descriptor.model,
            )
        return ranker

    def evidence(self, query_id: str, image_id: str, queries: CatalogIndex, catalog: CatalogIndex) -> PairEvidence:
        """Return everything that a picture of one pair can show; its matches are computed afresh, or were by `foresee`.

        Raises:
            KeyError: one of the two ids is not in its catalogue.
        """
        from engine.report.visualize import PairEvidence, SkinPlaces, caption

        worker_store = self.store_for(catalog.catalog)
        worker = self.worker(worker_store)
        sides = []
        for index, name in ((queries, query_id), (catalog, image_id)):
            row = index.catalog.position(name)
            ref = refs_of(index.catalog.take([row]))[0]
            photo, frame = worker.describer.read(ref)
            info = index.catalog.table.iloc[row]
            date = info["date"].date() if pd.notna(info["date"]) else None
            words = caption(ref.path.name, info["individual_id"], date, info["viewpoint"])
            sides.append((index.descriptions[row].key, photo, worker.describer.regions(photo, frame), words))
        foreseen = self._foreseen.pop((worker_store, sides[0][0], sides[1][0]), None)
        if foreseen is not None:
            features0, features1 = worker.features(sides[0][0]), worker.features(sides[1][0])
            matches, check = foreseen
        else:
            with single_thread():
                features0, features1, matches, check = worker.compare(PairTask(sides[0][0], (sides[1][0],)))[0]
        with single_thread():
            skin0, skin1, alike, placed = worker.compare(PairTask(sides[0][0], (sides[1][0],)), Look.SKIN)[0]
        rows = np.flatnonzero(placed.inliers)  # best first, as matches are
        return PairEvidence(
            photo0=sides[0][1],
            photo1=sides[1][1],
            features0=features0,
            features1=features1,
            regions0=sides[0][2],
            regions1=sides[1][2],
            correspondences=matches,
            verification=check,
            caption0=sides[0][3],
            caption1=sides[1][3],
            skin=SkinPlaces(
                skin0.canonical_xy[alike.indices[rows, 0]],
                skin1.canonical_xy[alike.indices[rows, 1]],
                alike.confidence[rows],
            ),
        )

    def foresee(self, pairs: Sequence[tuple[str, str]], queries: CatalogIndex, catalog: CatalogIndex) -> None:
        """Match pairs that will be shown, in the worker processes, so that :meth:`evidence` finds them done.

        Each is handed out once. Whatever cannot be matched is left for :meth:`evidence` to report; with one process
        nothing is gained, and nothing done.

        Args:
            pairs: (image id in ``queries``, image id in ``catalog``); ids that are not there are passed over.
            queries, catalog: as for :meth:`evidence`.
        """
        self._foreseen.clear()
        if self.workers <= 1:
            return
        store = self.store_for(catalog.catalog)
        wanted: dict[str, list[str]] = {}
        for query, image in dict.fromkeys(pairs):
            if query in queries.catalog and image in catalog.catalog:
                key = queries.descriptions[queries.catalog.position(query)].key
                wanted.setdefault(key, []).append(catalog.descriptions[catalog.catalog.position(image)].key)
        tasks = [PairTask(query, tuple(keys)) for query, keys in wanted.items()]
        try:
            for number, found in self._pool_for(store).run(match_task, tasks):
                task = tasks[number]
                for key, answer in zip(task.candidates, found, strict=True):
                    self._foreseen[store, task.query, key] = answer
        except KeyError as error:
            logger.warning("the store lost the description of %s: index the catalogue again", error)

    def worker(self, store: Path) -> PairWorker:
        """Return what compares pairs in this process (the worker processes have their own)."""
        if self._worker is None or self._worker[0] != store:
            self._worker = (store, self._make_worker(store)())
        return self._worker[1]

    def _pool_for(self, store: Path) -> TaskPool:
        """Return the worker processes, which stay until another store is used or the matcher goes."""
        if self._pool is None or self._pool[0] != store:
            self.close()
            self._pool = (store, TaskPool(self._make_worker(store), self.workers))
        return self._pool[1]

    def close(self) -> None:
        """End the worker processes (they end by themselves with the program)."""
        if self._pool is not None:
            self._pool[1].close()
            self._pool = None

    def _make_worker(self, store: Path) -> partial[PairWorker]:
        s = self.settings
        return partial(
            PairWorker,
            s.describe,
            s.matching,
            s.verification,
            store,
            self.device,
            marks=s.marks,
            mark_verification=s.mark_verification,
            nearest=s.nearest,
        )

    def _as_index(
        self,
        queries: CatalogIndex | Catalog | Sequence[str | Path],
        database: CatalogIndex,
        store: Path,
        progress: Progress | None,
    ) -> CatalogIndex:
        if isinstance(queries, CatalogIndex):
            return queries
        if isinstance(queries, Catalog):
            return self.index(queries, progress, store)
        photos = [queries] if isinstance(queries, str | Path) else list(queries)
        return self.index(query_catalog(photos, database.catalog), progress, store)

    def _quick_looks(
        self,
        queries: CatalogIndex,
        database: CatalogIndex,
        lists: Sequence[Shortlist],
        store: Path,
        progress: Progress | None,
    ) -> Tables:
        """Return the tables of the quick looks at every candidate that shows the same skin as its query."""
        same_skin = comparable(queries, database, lists)
        return {look: self._compare(look, queries, database, lists, store, progress, same_skin) for look in QUICK_LOOKS}

    def _second_looks(self, lists: Sequence[Shortlist], evidence: Evidence) -> list[npt.NDArray[np.bool_]]:
        """Return for every list the (K,) mask of candidates that LightGlue should see."""
        wanted = []
        for found, said in zip(lists, evidence, strict=True):
            mask = ~np.isnan(said)
            mask[mask] = worth_a_second_look(found.cosine[mask], said[mask], self.settings.shortlist.second_look)
            wanted.append(mask)
        return wanted

    def _expansion(
        self,
        queries: CatalogIndex,
        database: CatalogIndex,
        lists: Sequence[Shortlist],
        evidence: Evidence,
        allowed: Allowed,
    ) -> list[Shortlist]:
        """Return for every list what resembles those of its candidates that match by the quick looks."""
        from reranker.calibration import log_odds, sigmoid

        vectors, added = vectors_of(queries, database), []
        for query, (found, said) in enumerate(zip(lists, evidence, strict=True)):
            # Whoever nobody looked at leads nowhere.
            probability = np.nan_to_num(sigmoid(said + log_odds(_PRIOR)))
            asked, mask = queries.vectors[query], allowed.mask(query)
            added.append(expansion(found, probability, asked, vectors, mask, self.settings.shortlist))
        return added

    def _compare(
        self,
        look: Look,
        queries: CatalogIndex,
        database: CatalogIndex,
        lists: Sequence[Shortlist],
        store: Path,
        progress: Progress | None,
        wanted: Sequence[npt.NDArray[np.bool_]] | None = None,
    ) -> list[npt.NDArray[np.float32]]:
        """Return the (candidates, numbers) table of every query; pairs that the store knows are not computed again.

        Args:
            wanted: for each query the (candidates,) mask of those to compare, NaN elsewhere; None compares all.
        """
        columns = len(NUMBERS[look])
        cache = PairCache(store / "pairs.sqlite", self.worker(store).fingerprint(look), columns)
        try:
            known: list[list[npt.NDArray[np.float32] | None]] = []
            tasks: list[tuple[Look, PairTask]] = []
            places: list[tuple[int, list[int]]] = []
            for query, found in enumerate(lists):
                keys = [database.descriptions[row].key for row in found.indices]
                asked = np.arange(len(keys)) if wanted is None else np.flatnonzero(wanted[query])
                # Nothing else is looked up: what happens to be known must not change an answer that did not ask for it.
                known.append([np.full(columns, np.nan, np.float32)] * len(keys))
                stored = cache.get(queries.descriptions[query].key, [keys[place] for place in asked])
                for place, numbers in zip(asked.tolist(), stored, strict=True):
                    known[-1][place] = numbers
                open_places = [place for place, numbers in enumerate(known[-1]) if numbers is None]
                for start in range(0, len(open_places), _TASK_PAIRS):
                    part = open_places[start : start + _TASK_PAIRS]
                    candidates = tuple(keys[place] for place in part)
                    tasks.append((look, PairTask(queries.descriptions[query].key, candidates)))
                    places.append((query, part))
            total = sum(map(len, lists))
            done = total - sum(len(task.candidates) for _, task in tasks)
            for number, table in self._pool_for(store).run(look_task, tasks):
                task = tasks[number][1]
                cache.put(task.query, task.candidates, table)
                query, part = places[number]
                for place, numbers in zip(part, table, strict=True):
                    known[query][place] = numbers
                done += len(part)
                if progress is not None:
                    progress(done, total)
        finally:
            cache.close()
        return [np.array(rows, np.float32).reshape(len(rows), columns) for rows in known]

    def describe_settings(self) -> dict[str, Any]:
        """Return what the run is made with, for reports and results."""
        ranker = self.ranker
        return {
            **self.settings.to_dict(),
            "ranker": {"kind": ranker.kind if ranker is not None else "plain fusion"},
        }


def _quick_evidence(looked: Tables) -> Evidence:
    """Weigh what the quick looks found."""
    from reranker.local_evidence import LocalEvidence

    weights, found = LocalEvidence.shipped_quick(), []
    for tables in zip(*(looked[look] for look in QUICK_LOOKS), strict=True):
        columns: dict[str, npt.NDArray] = {}
        for look, table in zip(QUICK_LOOKS, tables, strict=True):
            columns |= look_columns(look, table)
        nobody = np.all([np.isnan(table).all(axis=1) for table in tables], axis=0)
        found.append(np.where(nobody, np.nan, weights.score(pd.DataFrame(columns))))
    return found


ANSWER_COLUMNS = (
    "query_id",
    "rank",
    "image_id",
    "individual_id",
    "probability",
    "score",
    "cosine",
    "n_matches",
    "n_inliers",
    "nearest_inliers",
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


def shipped_ranker(keypoint_kind: str) -> Path | None:
    """Return the ranker that ships with the package for a kind of keypoints, None if there is none."""
    import reranker

    path = Path(reranker.__file__).parent / "models" / f"ranker-{keypoint_kind}.json"
    return path if path.is_file() else None
