"""The evidence of one pair: correspondences, verification, and the numbers that the ranker reads.

There are three looks at a pair (:class:`Look`). The quick ones, at the skin by mark descriptors and at the keypoints by
nearest neighbours, do hundreds of pairs a second and see every pair of a list; LightGlue, which costs thirty times as
much, may be kept to the pairs that the quick ones find worth it.

Work goes by query: one task is one query and its candidates, so that its result depends on nothing else. Numbers of
pairs that were computed before are kept in one SQLite file in the store, keyed by the content of both photographs and
by everything that could change them.
"""

from __future__ import annotations

import enum
import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.geometry.verification import VerificationSettings, verify_many
from engine.matching.dense import Aligned, MarkMatcher, MarkMatchingSettings
from engine.matching.lru_cache import Recent
from engine.matching.matchers import MatchingSettings, PairMatcher, make_matcher
from engine.matching.mutual_nn import NearestMatcher, NearestSettings
from engine.records import Correspondences, Verification
from features.describe import Describer, DescribeSettings
from features.records import LocalFeatures
from features.store import FeatureStore

#: Bumped whenever the same settings would give other numbers.
CODE_VERSION = 2

MODEL_KINDS = ("none", "similarity", "affine", "homography")


class Look(enum.StrEnum):
    """The ways to look at a pair, the cheapest first."""

    SKIN = "skin"
    KEYPOINTS = "keypoints"
    LIGHTGLUE = "lightglue"


#: Every candidate of a list gets these.
QUICK_LOOKS = (Look.SKIN, Look.KEYPOINTS)

#: The numbers of LightGlue's look, in the order in which they are kept (names as in the ranker's raw table).
PAIR_NUMBERS = (
    "n_keypoints0",
    "n_keypoints1",
    "n_matches",
    "n_matches_50",
    "n_matches_80",
    "confidence_sum",
    "match_similarity",
    "model_ok",
    "model_kind",
    "n_inliers",
    "inlier_ratio",
    "inlier_confidence_sum",
    "residual",
    "spread_along",
    "spread_across",
    "scale",
    "rotation",
    "shear",
    "position_gap",
    "mark_share",
    "plausibility",
    "geometry_score",
)

#: The numbers of the look at the skin.
MARK_NUMBERS = (
    "marks_places0",
    "marks_places1",
    "marks_matches",
    "marks_similarity",
    "marks_inliers",
    "marks_inlier_ratio",
    "marks_inlier_similarity",
    "marks_residual",
    "marks_spread_along",
    "marks_position_gap",
    "marks_plausibility",
    "marks_aligned",
    "marks_overlap",
    "marks_aligned_left",
    "marks_aligned_right",
    "marks_inliers_left",
    "marks_inliers_right",
)

#: The numbers of the quick look at the keypoints: all neighbours verified, and the sure ones by themselves.
NEAREST_NUMBERS = (
    "nearest_matches",
    "nearest_sharpness",
    "nearest_similarity",
    "nearest_inliers",
    "nearest_inlier_ratio",
    "nearest_inlier_sharpness",
    "nearest_residual",
    "nearest_spread_along",
    "nearest_position_gap",
    "nearest_plausibility",
    "nearest_mark_share",
    "nearest_sure",
    "nearest_sure_inliers",
    "nearest_sure_inlier_ratio",
    "nearest_sure_inlier_sharpness",
    "nearest_sure_spread_along",
    "nearest_sure_position_gap",
    "nearest_sure_plausibility",
)

NUMBERS: Mapping[Look, tuple[str, ...]] = MappingProxyType(
    {Look.SKIN: MARK_NUMBERS, Look.KEYPOINTS: NEAREST_NUMBERS, Look.LIGHTGLUE: PAIR_NUMBERS}
)

#: Both views of a pair with their correspondences and what verification says of them.
Compared = tuple[LocalFeatures, LocalFeatures, Correspondences, Verification]


@dataclass(frozen=True)
class PairTask:
    """One query and the candidates to compare it with, by content key."""

    query: str
    candidates: tuple[str, ...]


class PairWorker:
    """What one process needs to turn pairs of photographs into numbers: networks, store, a small memory of features."""

    #: Local features kept in memory (each about 0.14 MB at 512 keypoints).
    KEEP = 128

    def __init__(
        self,
        describe: DescribeSettings,
        matching: MatchingSettings,
        verification: VerificationSettings,
        store: Path,
        device: str | None = None,
        marks: MarkMatchingSettings | None = None,
        mark_verification: VerificationSettings | None = None,
        nearest: NearestSettings | None = None,
    ) -> None:
        self.describer = Describer(describe, FeatureStore(store), device)
        self.matcher: PairMatcher = make_matcher(describe.keypoints.kind, matching, device)
        self.mark_matcher = MarkMatcher(marks)
        self.nearest_matcher = NearestMatcher(describe.keypoints.kind, nearest)
        # One thread: the processes already share the cores, and the answer does not depend on it.
        self.verification = verification.replace(threads=1)
        self.mark_verification = (mark_verification or default_mark_verification()).replace(threads=1)
        #: Local features, or mark descriptors, of a described photograph by its key (KeyError if the store lost them).
        self.features = Recent(self.describer.local, self.KEEP)
        self.marks = Recent(self.describer.skin, self.KEEP)

    def compare(self, task: PairTask, look: Look = Look.LIGHTGLUE) -> list[Compared]:
        """Match and verify a query against its candidates, in the order given."""
        if look is Look.SKIN:
            return _look(task, self.marks, self.mark_matcher, self.mark_verification)
        matcher = self.matcher if look is Look.LIGHTGLUE else self.nearest_matcher
        return _look(task, self.features, matcher, self.verification)

    def numbers(self, task: PairTask, look: Look) -> list[list[float]]:
        """Return the numbers (:data:`NUMBERS`) of a query and its candidates, in the order given."""
        compared = self.compare(task, look)
        if look is Look.SKIN:
            aligned = self.mark_matcher.aligned
            return [mark_numbers(a, b, m, v, aligned(a, b, v.model) if v.ok else Aligned()) for a, b, m, v in compared]
        if look is Look.LIGHTGLUE:
            return [pair_numbers(*item) for item in compared]
        pairs = [(a, b) for a, b, _, _ in compared]
        sure = [self.nearest_matcher.sure(found) for _, _, found, _ in compared]
        again = _verified(task, pairs, sure, self.verification)
        return [nearest_numbers(*item, s, v) for item, s, v in zip(compared, sure, again, strict=True)]

    def fingerprint(self, look: Look) -> str:
        """Return what changes whenever the numbers of a look could."""
        if look is Look.SKIN:
            described, checks = self.describer.skin_fingerprint(), self.mark_verification
            return "-".join((described, self.mark_matcher.fingerprint(), checks.fingerprint()))
        matcher = self.matcher if look is Look.LIGHTGLUE else self.nearest_matcher
        return "-".join((self.describer.local_fingerprint(), matcher.fingerprint(), self.verification.fingerprint()))


def _look(
    task: PairTask, features_of: Callable[[str], LocalFeatures], matcher: PairMatcher, checks: VerificationSettings
) -> list[Compared]:
    """Match and verify the pairs of a task, whichever features are compared."""
    query = features_of(task.query)
    pairs = [(query, features_of(key)) for key in task.candidates]
    matches = matcher.match(pairs)
    checked = _verified(task, pairs, matches, checks)
    return [(a, b, m, v) for (a, b), m, v in zip(pairs, matches, checked, strict=True)]


def _verified(
    task: PairTask,
    pairs: Sequence[tuple[LocalFeatures, LocalFeatures]],
    matches: Sequence[Correspondences],
    checks: VerificationSettings,
) -> list[Verification]:
    asked = zip(pairs, matches, task.candidates, strict=True)
    return verify_many([(a, b, found, (task.query, key)) for (a, b), found, key in asked], checks)


def look_task(worker: PairWorker, task: tuple[Look, PairTask]) -> npt.NDArray[np.float32]:
    """Return the (candidates, numbers) float32 table of one look at a task's pairs; runs in a worker process."""
    look, pairs = task
    rows = worker.numbers(pairs, look)
    return np.array(rows, np.float32).reshape(len(rows), len(NUMBERS[look]))


def match_task(worker: PairWorker, task: PairTask) -> list[tuple[Correspondences, Verification]]:
    """Return LightGlue's matches and their verification of a task's pairs; runs in a worker process."""
    return [(matches, check) for _, _, matches, check in worker.compare(task)]


def pair_numbers(
    features0: LocalFeatures, features1: LocalFeatures, matches: Correspondences, check: Verification
) -> list[float]:
    """Return the numbers of LightGlue's look at one pair in the order of :data:`PAIR_NUMBERS`."""
    confidence = matches.confidence
    return [
        float(len(features0)),
        float(len(features1)),
        float(len(matches)),
        float((confidence > 0.5).sum()),
        float((confidence > 0.8).sum()),
        float(confidence.sum()),
        matches.similarity,
        float(check.ok),
        float(MODEL_KINDS.index(check.kind)),
        float(check.n_inliers),
        check.inlier_ratio,
        check.confidence_sum,
        check.residual,
        check.spread_along,
        check.spread_across,
        check.scale,
        check.rotation,
        check.shear,
        check.position_gap,
        check.mark_share,
        check.plausibility,
        check.score,
    ]


def mark_numbers(
    features0: LocalFeatures,
    features1: LocalFeatures,
    matches: Correspondences,
    check: Verification,
    aligned: Aligned,
) -> list[float]:
    """Return the numbers of the look at the skin of one pair in the order of :data:`MARK_NUMBERS`."""
    across = features0.on_body[matches.indices[check.inliers, 0], 1]
    return [
        float(len(features0)),
        float(len(features1)),
        float(len(matches)),
        matches.similarity,
        float(check.n_inliers),
        check.inlier_ratio,
        check.confidence_sum,
        check.residual,
        check.spread_along,
        check.position_gap,
        check.plausibility,
        aligned.similarity,
        aligned.overlap,
        aligned.left,
        aligned.right,
        float((across < 0).sum()),
        float((across > 0).sum()),
    ]


def nearest_numbers(
    features0: LocalFeatures,
    features1: LocalFeatures,
    matches: Correspondences,
    check: Verification,
    sure: Correspondences,
    sure_check: Verification,
) -> list[float]:
    """Return the numbers of one pair's quick look at the keypoints in the order of :data:`NEAREST_NUMBERS`."""
    return [
        float(len(matches)),
        float(matches.confidence.sum()),
        matches.similarity,
        float(check.n_inliers),
        check.inlier_ratio,
        check.confidence_sum,
        check.residual,
        check.spread_along,
        check.position_gap,
        check.plausibility,
        check.mark_share,
        float(len(sure)),
        float(sure_check.n_inliers),
        sure_check.inlier_ratio,
        sure_check.confidence_sum,
        sure_check.spread_along,
        sure_check.position_gap,
        sure_check.plausibility,
    ]


def default_mark_verification() -> VerificationSettings:
    """Return the verification of the look at the skin: grids never lie exactly alike, and bodies are about as large."""
    return VerificationSettings(
        kinds=("similarity", "affine"), threshold=0.02, max_scale=1.6, max_rotation=25.0, plausible_scale=1.3
    )


class PairCache:
    """Numbers of pairs in one SQLite file; used by the main process only, safe to share between runs.

    Args:
        path: the file; None keeps nothing.
        fingerprint: everything that could change the numbers (settings, weights, code).
        columns: how many numbers a pair has.
    """

    def __init__(self, path: Path | None, fingerprint: str, columns: int = len(PAIR_NUMBERS)) -> None:
        self._columns = columns
        self._print = f"{fingerprint}-{CODE_VERSION}-{columns}"
        self._db: sqlite3.Connection | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two runs may share the file: a writer waits for the other instead of failing.
            self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS pair (key BLOB PRIMARY KEY, numbers BLOB) WITHOUT ROWID")

    def _key(self, query: str, candidate: str) -> bytes:
        return hashlib.blake2b(f"{self._print}|{query}|{candidate}".encode(), digest_size=16).digest()

    def get(self, query: str, candidates: Sequence[str]) -> list[npt.NDArray[np.float32] | None]:
        """Return the numbers of a query's pairs, None where they were never computed."""
        if self._db is None or not candidates:
            return [None] * len(candidates)
        keys = [self._key(query, candidate) for candidate in candidates]
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), 500):
            part = keys[start : start + 500]
            marks = ",".join("?" * len(part))
            found.update(self._db.execute(f"SELECT key, numbers FROM pair WHERE key IN ({marks})", part))
        size = 4 * self._columns
        return [np.frombuffer(found[key], np.float32) if len(found.get(key, b"")) == size else None for key in keys]

    def put(self, query: str, candidates: Sequence[str], numbers: npt.NDArray[np.float32]) -> None:
        """Keep the numbers of a query's pairs, at once or not at all."""
        if self._db is None:
            return
        rows = [(self._key(query, key), row.tobytes()) for key, row in zip(candidates, numbers, strict=True)]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany("INSERT OR REPLACE INTO pair VALUES (?, ?)", rows)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None


def look_columns(look: Look, rows: Iterable[npt.NDArray[np.float32]]) -> dict[str, npt.NDArray]:
    """Turn rows of a look's numbers into named columns of the raw table; NaN (None for a name) where nobody looked."""
    names = NUMBERS[look]
    table = np.array(list(rows), np.float32).reshape(-1, len(names))
    columns: dict[str, npt.NDArray] = {name: table[:, index] for index, name in enumerate(names)}
    if "model_kind" in columns:
        codes = columns["model_kind"]
        known = ~np.isnan(codes)
        kinds = np.array([*MODEL_KINDS, None], object)
        columns["model_kind"] = kinds[np.where(known, codes, len(MODEL_KINDS)).astype(int)]
    return columns


def worth_a_second_look(cosine: npt.ArrayLike, evidence: npt.ArrayLike, size: int) -> npt.NDArray[np.bool_]:
    """Say which candidates of one list LightGlue should see: the best by cosine and by the quick looks together.

    The two orders are joined by the reciprocals of their ranks (Cormack, Clarke and Buettcher, SIGIR 2009), which needs
    no common scale.

    Args:
        cosine: (K,) similarity of the global descriptors.
        evidence: (K,) what the quick looks say, larger is better; NaN where nobody looked.
        size: how many; 0 or less takes all.

    Returns:
        (K,) bool.
    """
    orders = [pd.Series(np.asarray(values, float)) for values in (cosine, evidence)]
    count = len(orders[0])
    if size <= 0 or size >= count:
        return np.ones(count, bool)
    # Equal values share their mean rank: the order of rows is no evidence.
    ranks = [order.rank(ascending=False, na_option="bottom").to_numpy() for order in orders]
    fused = sum((1.0 / (2.0 + rank) for rank in ranks), np.zeros(count))
    chosen = np.zeros(count, bool)
    chosen[np.lexsort((np.arange(count), -fused))[:size]] = True
    return chosen
