"""Pairs of photographs matched, verified and measured, as one process does it.

Work goes by query: one task is one query and its candidates, so that its result depends on nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from engine.geometry.verification import VerificationSettings, verify_many
from engine.matching import block_correlation, exhaustive
from engine.matching.base import FeaturePair, PairMatcher
from engine.matching.code_files import CodeFiles
from engine.matching.dense import PreparedSkin, SkinMatcher, SkinMatchingSettings, skin_verification
from engine.matching.exhaustive import Codes, DescriptorTable, mutual_nn_scores
from engine.matching.lightglue import LIGHTGLUE_WEIGHTS, LightGlueMatcher, LightGlueSettings
from engine.matching.lru_cache import LruCache
from engine.matching.matched import AlignedSkin, MatchedList, MatchedPair
from engine.matching.measurements import LIGHTGLUE, MUTUAL_NN, SKIN, MatcherName, measure
from engine.matching.mutual_nn import MutualNNMatcher, MutualNNSettings, PreparedKeypoints
from engine.matching.table_file import read_table
from engine.records import Correspondences, Verification
from engine.workers import single_thread, without_torch
from features.describe import Describer, DescribeSettings
from features.hardware import surely_the_processor
from features.records import FloatArray
from features.store import FeatureStore
from features.store.feature_store import digests_of
from scarmatch.errors import ScarmatchError
from scarmatch.settings import Settings

PreparedT = TypeVar("PreparedT", PreparedSkin, PreparedKeypoints)

#: Bumped whenever the same settings would give other measurements of the same matches.
CODE_VERSION = 3


@dataclass(frozen=True)
class PairSettings(Settings):
    """Options of everything that a pair's measurements depend on.

    Attributes:
        describe: one photograph: global descriptor, keypoints, regions.
        skin: matching of dense skin descriptors, for every candidate.
        skin_verification: geometric consistency of those matches.
        mutual_nn: matching of keypoints by mutual nearest neighbours, for every candidate.
        lightglue: matching of keypoints by LightGlue, for the best candidates.
        verification: geometric consistency of matched keypoints.
    """

    describe: DescribeSettings = field(default_factory=DescribeSettings)
    skin: SkinMatchingSettings = field(default_factory=SkinMatchingSettings)
    skin_verification: VerificationSettings = field(default_factory=skin_verification)
    mutual_nn: MutualNNSettings = field(default_factory=MutualNNSettings)
    lightglue: LightGlueSettings = field(default_factory=LightGlueSettings)
    verification: VerificationSettings = field(default_factory=VerificationSettings)


class LostTableError(ScarmatchError, OSError):
    """The quantised descriptors of a catalogue went while a run used them."""


def _open_table(place: tuple[Path, str]) -> DescriptorTable:
    table = read_table(*place)
    if table is None:
        raise LostTableError(f"the descriptors in {place[0]} went while the run used them: run the same command again")
    return table


@dataclass(frozen=True)
class PairTask:
    """One query and the candidates to compare it with, by content key."""

    query: str
    candidates: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class BestMatch:
    """A matched pair, and the query's key in the rotation in which it was matched."""

    query: str
    pair: MatchedPair


class PairWorker:
    """What one process needs to measure pairs of photographs: networks, store, a small memory of features.

    Attributes:
        describer: describes photographs, and reads their descriptions from the store.
        matchers: by name; LightGlue is missing where it has no weights for the kind of keypoints.
        keypoints, skin: local features, or dense skin descriptors, of a described photograph by its key (KeyError if
            the store lost them).
    """

    #: Local features kept in memory (each about 0.14 MB at 512 keypoints).
    KEEP = 128
    #: Photographs prepared for a matcher of the first stage (0.4 MB each): preparing one takes as long as matching
    #: it, so that the pairs of many queries are measured in blocks of candidates that are all kept. As many flattened
    #: skins are (100 KB each).
    KEEP_PREPARED = 512
    #: Photographs whose quantised descriptors are kept (32 KB each): what all queries of a large catalogue are compared
    #: with is read once.
    KEEP_CODES = 1024

    def __init__(self, settings: PairSettings, store: Path, device: str | None = None) -> None:
        kind = settings.describe.keypoints.kind
        self.describer = Describer(settings.describe, FeatureStore(store), device)
        self._skin_matcher = SkinMatcher(settings.skin)
        self._mutual_nn = MutualNNMatcher(kind, settings.mutual_nn)
        self.matchers: dict[MatcherName, PairMatcher] = {SKIN: self._skin_matcher, MUTUAL_NN: self._mutual_nn}
        if kind in LIGHTGLUE_WEIGHTS:
            self.matchers[LIGHTGLUE] = LightGlueMatcher(kind, settings.lightglue, device)
        # One thread: the processes already share the cores, and the answer does not depend on it.
        self._verification = settings.verification.replace(threads=1)
        self._skin_verification = settings.skin_verification.replace(threads=1)
        self.keypoints = LruCache(self.describer.local, self.KEEP)
        self.skin = LruCache(self.describer.skin, self.KEEP)
        # One memory for both: the queries are gone through for one matcher, then for the other.
        self._prepared = LruCache(self._prepare, self.KEEP_PREPARED)
        self._pictures = LruCache(self._picture, self.KEEP_PREPARED)
        self.kept_codes = LruCache(self.codes, self.KEEP_CODES)
        self.tables = LruCache(_open_table, 1)
        self._device, self._store, self._rotations = device, store, settings.describe.rotations

    @cached_property
    def product_device(self) -> str | None:
        """The graphics card that multiplies descriptors of whole catalogues; None for this processor."""
        if surely_the_processor(self._device):
            return None
        # torch
        from features.global_descriptor.runtime import choose_device

        device = choose_device(self._device)
        return None if device.type == "cpu" else str(device)

    @property
    def best_matcher(self) -> MatcherName:
        """The matcher of keypoints for pairs that are shown."""
        return LIGHTGLUE if LIGHTGLUE in self.matchers else MUTUAL_NN

    def match(self, matcher: MatcherName, task: PairTask) -> list[BestMatch]:
        """Match and verify a query against its candidates, in the order given, each in the query's best rotation."""
        found = [self._match(matcher, one) for one in self._rotated(task)]
        return [
            max(several, key=lambda one: one.pair.verification.confidence_sum) for several in zip(*found, strict=True)
        ]

    def _match(self, matcher: MatcherName, task: PairTask) -> list[BestMatch]:
        features = self.skin if matcher == SKIN else self.keypoints
        query = features(task.query)
        pairs = [(query, features(key)) for key in task.candidates]
        verified = self._verified(matcher, task, pairs, self.matchers[matcher].match(pairs))
        return [BestMatch(task.query, pair) for pair in verified]

    def _rotated(self, task: PairTask) -> list[PairTask]:
        """Return a task for every rotation in which its query is described, upright first."""
        return [PairTask(key, task.candidates) for key in self.describer.rotated_keys(task.query)]

    def measure(self, matcher: MatcherName, task: PairTask) -> npt.NDArray[Any]:
        """Match, verify and measure a query's pairs: (candidates,) records, in the order given.

        Each pair's are those of the rotation of the query in which most of it agrees in one placement.
        """
        found = np.stack([self._measure(matcher, one) for one in self._rotated(task)])
        best = found["inlier_confidence_sum"].argmax(axis=0)  # 0 where no placement was found, never unknown
        return found[best, np.arange(len(task.candidates))]

    def _measure(self, matcher: MatcherName, task: PairTask) -> npt.NDArray[Any]:
        if matcher == MUTUAL_NN:
            return measure(matcher, self._matched_keypoints(task))
        if matcher == SKIN:
            return measure(matcher, self._matched_skin(task))
        return measure(matcher, MatchedList.of([one.pair for one in self._match(matcher, task)]))

    def _matched_keypoints(self, task: PairTask) -> MatchedList:
        """Match a query's keypoints with its candidates', and verify all matches, and the distinctive ones once more.

        The placement that all of them agree in is verified by the skin.
        """
        query, candidates = self._prepared_of(task, PreparedKeypoints)
        keys = [(task.query, key) for key in task.candidates]
        tentative = self._mutual_nn.match_list(query, candidates)
        distinctive = tentative.where(self._mutual_nn.distinctive(tentative.confidence))
        every, few = (
            MatchedList.of_list(part, part.verify(keys, self._verification)) for part in (tentative, distinctive)
        )
        correlation = block_correlation.correlations(
            self._pictures(task.query),
            [self._pictures(key) for key in task.candidates],
            every.verified.models,
            every.verified.found,
            query.size,
            [candidate.size for candidate in candidates],
        )
        return dataclasses.replace(every, distinctive=few, correlation=correlation)

    def _matched_skin(self, task: PairTask) -> MatchedList:
        """Match a query's skin with its candidates', verify the matches, and lay each animal on the other."""
        query, candidates = self._prepared_of(task, PreparedSkin)
        tentative = self._skin_matcher.match_list(query, candidates)
        verified = tentative.verify([(task.query, key) for key in task.candidates], self._skin_verification)
        aligned = [
            self._skin_matcher.aligned_prepared(query, candidate, model) if found else AlignedSkin()
            for candidate, model, found in zip(candidates, verified.models, verified.found, strict=True)
        ]
        return dataclasses.replace(MatchedList.of_list(tentative, verified), aligned=aligned)

    def _picture(self, key: str) -> block_correlation.PackedSkin:
        return block_correlation.prepared(self.describer.picture(key))

    def _prepared_of(self, task: PairTask, kind: type[PreparedT]) -> tuple[PreparedT, list[PreparedT]]:
        """Return a task's query and candidates, ready to be compared."""
        query = cast(PreparedT, self._prepared((kind, task.query)))
        return query, [cast(PreparedT, self._prepared((kind, key))) for key in task.candidates]

    def _prepare(self, item: tuple[type[Any], str]) -> PreparedSkin | PreparedKeypoints:
        kind, key = item
        if kind is PreparedSkin:
            return PreparedSkin.of(self.describer.skin(key))
        return self._mutual_nn.prepare(self.describer.local(key))

    @cached_property
    def code_files(self) -> CodeFiles:
        """The quantised descriptors that are kept beside the store, of large catalogues alone."""
        return CodeFiles.of(self._store, self.codes_fingerprint())

    def codes(self, key: str) -> Codes:
        """Return the quantised descriptors of a described photograph (LostEntryError if the store lost it)."""
        (kept,) = self.code_files.take(digests_of([key]))
        if kept is not None:
            return kept
        with single_thread():
            return self._mutual_nn.codes(self.describer.local(key, on_body=False))

    def keep_codes(self, keys: Sequence[str]) -> None:
        """Read what lies in files of these photographs' quantised descriptors at once."""

        def read(fresh: list[str]) -> list[Codes]:
            kept = self.code_files.take(digests_of(fresh))
            return [self.codes(key) if own is None else own for key, own in zip(fresh, kept, strict=True)]

        self.kept_codes.keep(keys, read)

    def codes_fingerprint(self) -> str:
        """Return what changes whenever quantised descriptors could."""
        return f"{self._matching_fingerprint(MUTUAL_NN)}-{exhaustive.CODE_VERSION}"

    def fingerprint(self, matcher: MatcherName) -> str:
        """Return what changes whenever a matcher's measurements could."""
        matched = self._matching_fingerprint(matcher)
        if matcher != MUTUAL_NN:
            return matched
        return f"{matched}-{self.describer.picture_fingerprint()}-{block_correlation.CODE_VERSION}"

    def _matching_fingerprint(self, matcher: MatcherName) -> str:
        """Return what changes whenever a matcher's matches or their verification could."""
        skin = matcher == SKIN
        described = self.describer.skin_fingerprint() if skin else self.describer.local_fingerprint()
        verification = self._skin_verification if skin else self._verification
        matching = self.matchers[matcher].fingerprint()
        further = (f"{self._rotations} rotations",) if self._rotations > 1 else ()
        return "-".join((matcher, described, matching, verification.fingerprint(), str(CODE_VERSION), *further))

    def _verified(
        self, matcher: MatcherName, task: PairTask, pairs: Sequence[FeaturePair], matches: Sequence[Correspondences]
    ) -> list[MatchedPair]:
        settings = self._skin_verification if matcher == SKIN else self._verification
        keyed = zip(pairs, matches, task.candidates, strict=True)
        verified = verify_many([(a, b, m, (task.query, key)) for (a, b), m, key in keyed], settings)
        return [MatchedPair(a, b, m, v) for (a, b), m, v in zip(pairs, matches, verified, strict=True)]


def codes_task(worker: PairWorker, keys: tuple[str, ...]) -> list[Codes]:
    """Return the quantised descriptors of described photographs; runs in a worker process."""
    return [worker.codes(key) for key in keys]


@dataclass(frozen=True, eq=False)
class ScoreTask:
    """A query, by content key, and the photographs of a table to score: bits of their mask."""

    query: str
    folder: Path
    table: str
    allowed: npt.NDArray[np.uint8]


@without_torch
def score_task(worker: PairWorker, task: ScoreTask) -> FloatArray:
    """Return the (N,) local scores of a query, NaN where not allowed; runs in a worker process.

    Raises:
        LostTableError: the table's files went or were damaged since they were written.
    """
    table = worker.tables((task.folder, task.table))
    allowed = np.unpackbits(task.allowed, count=len(table)).astype(bool)
    codes, device = worker.codes(task.query), worker.product_device
    with single_thread(with_torch=exhaustive.needs_torch(int(allowed.sum()), device)):
        return mutual_nn_scores(codes, table, allowed, device)


@dataclass(frozen=True, eq=False)
class RowsTask:
    """A photograph, by content key, and the (n,) int64 rows of a table to score against it."""

    query: str
    folder: Path
    table: str
    rows: npt.NDArray[np.int64]


def score_rows_task(worker: PairWorker, task: RowsTask) -> FloatArray:
    """Return the (n,) local scores of the rows; runs in a worker process.

    Raises:
        LostTableError: the table's files went or were damaged since they were written.
    """
    # Side by side, because products of scattered photographs are made one by one.
    table = worker.tables((task.folder, task.table)).take(task.rows)
    return mutual_nn_scores(worker.kept_codes(task.query), table, None, worker.product_device)


def asked_of(worker: PairWorker, task: PairTask) -> tuple[Codes, DescriptorTable]:
    """Return the quantised descriptors of a task's query and of its candidates, as a local score takes them."""
    worker.keep_codes([task.query, *task.candidates])
    return worker.kept_codes(task.query), DescriptorTable.of([worker.kept_codes(key) for key in task.candidates])


def score_keys_task(worker: PairWorker, task: PairTask) -> FloatArray:
    """Return the (candidates,) local scores of a task's pairs; runs in a worker process."""
    if not task.candidates:
        return np.zeros(0, np.float32)
    return mutual_nn_scores(*asked_of(worker, task), None, worker.product_device)


def measure_task(worker: PairWorker, task: tuple[MatcherName, PairTask]) -> npt.NDArray[Any]:
    """Return the (candidates,) records of a task's pairs; runs in a worker process."""
    matcher, pairs = task
    return worker.measure(matcher, pairs)


def match_task(worker: PairWorker, task: PairTask) -> list[tuple[str, Correspondences, Verification]]:
    """Return the best matcher's matches of a task's pairs; runs in a worker process.

    Each comes with the query's key in the rotation in which it was matched, and with its verification.
    """
    found = worker.match(worker.best_matcher, task)
    return [(one.query, one.pair.matches, one.pair.verification) for one in found]
