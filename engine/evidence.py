"""The evidence of one pair: correspondences, verification, and the numbers that the ranker reads.

There are two looks at a pair. The quick one compares mark descriptors, hundreds of pairs a second, and sees every pair
of a shortlist; the second one, keypoints and LightGlue, may be kept to the pairs that the quick one finds worth it.

Work goes by query: one task is one query and its candidates, so that its result depends on nothing else. Numbers of
pairs that were computed before are kept in one SQLite file in the store, keyed by the content of both photographs and
by everything that could change them.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.mark_matching import Aligned, MarkMatcher, MarkMatchingSettings, aligned_similarity
from engine.matching import MatchingSettings, PairMatcher, make_matcher
from engine.records import Correspondences, Verification
from engine.verification import VerificationSettings, verify_many
from features.describe import Describer, DescribeSettings
from features.records import LocalFeatures
from features.store import FeatureStore

#: Bumped whenever the same settings would give other numbers.
CODE_VERSION = 2

MODEL_KINDS = ("none", "similarity", "affine", "homography")

#: The numbers of a pair, in the order in which they are kept (names as in the ranker's raw table).
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

#: The numbers of a pair's quick look, in the order in which they are kept.
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
    KEEP = 256

    def __init__(
        self,
        describe: DescribeSettings,
        matching: MatchingSettings,
        verification: VerificationSettings,
        store: Path,
        device: str | None = None,
        marks: MarkMatchingSettings | None = None,
        mark_verification: VerificationSettings | None = None,
    ) -> None:
        self.describer = Describer(describe, FeatureStore(store), device)
        self.matcher: PairMatcher = make_matcher(describe.keypoints.kind, matching, device)
        self.mark_matcher: PairMatcher = MarkMatcher(marks)
        # One thread: the processes already share the cores, and the answer does not depend on it.
        self.verification = verification.replace(threads=1)
        self.mark_verification = (mark_verification or default_mark_verification()).replace(threads=1)
        self._features: OrderedDict[str, LocalFeatures] = OrderedDict()
        self._marks: OrderedDict[str, LocalFeatures] = OrderedDict()

    def features(self, key: str) -> LocalFeatures:
        """Return the local features of a described photograph (KeyError if the store lost them)."""
        return self._kept(self._features, key, self.describer.local)

    def marks(self, key: str) -> LocalFeatures:
        """Return the mark descriptors of a described photograph (KeyError if the store lost them)."""
        return self._kept(self._marks, key, self.describer.marks)

    def _kept(
        self, memory: OrderedDict[str, LocalFeatures], key: str, read: Callable[[str], LocalFeatures]
    ) -> LocalFeatures:
        if key in memory:
            memory.move_to_end(key)
            return memory[key]
        found = memory[key] = read(key)
        if len(memory) > self.KEEP:
            memory.popitem(last=False)
        return found

    def compare(self, task: PairTask) -> list[Compared]:
        """Match and verify a query against its candidates by keypoints, in the order given."""
        return _look(task, self.features, self.matcher, self.verification)

    def compare_marks(self, task: PairTask) -> list[Compared]:
        """Take the quick look at a query and its candidates, in the order given."""
        return _look(task, self.marks, self.mark_matcher, self.mark_verification)


def _look(
    task: PairTask, features_of: Callable[[str], LocalFeatures], matcher: PairMatcher, checks: VerificationSettings
) -> list[Compared]:
    """Match and verify the pairs of a task, whichever features are compared."""
    query = features_of(task.query)
    pairs = [(query, features_of(key)) for key in task.candidates]
    matches = matcher.match(pairs)
    checked = verify_many(
        [(a, b, m, (task.query, key)) for (a, b), m, key in zip(pairs, matches, task.candidates, strict=True)], checks
    )
    return [(a, b, m, v) for (a, b), m, v in zip(pairs, matches, checked, strict=True)]


def compare_task(worker: PairWorker, task: PairTask) -> npt.NDArray[np.float32]:
    """Return the (candidates, numbers) float32 table of a task; runs in a worker process."""
    rows = [pair_numbers(*item) for item in worker.compare(task)]
    return np.array(rows, np.float32).reshape(len(rows), len(PAIR_NUMBERS))


def marks_task(worker: PairWorker, task: PairTask) -> npt.NDArray[np.float32]:
    """Return the (candidates, numbers) float32 table of the quick look; runs in a worker process."""
    rows = [mark_numbers(*item) for item in worker.compare_marks(task)]
    return np.array(rows, np.float32).reshape(len(rows), len(MARK_NUMBERS))


def match_task(worker: PairWorker, task: PairTask) -> list[tuple[Correspondences, Verification]]:
    """Return matches and verification of a task's pairs; runs in a worker process."""
    return [(matches, check) for _, _, matches, check in worker.compare(task)]


def pair_numbers(
    features0: LocalFeatures, features1: LocalFeatures, matches: Correspondences, check: Verification
) -> list[float]:
    """Return the numbers of one pair in the order of :data:`PAIR_NUMBERS`."""
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
    features0: LocalFeatures, features1: LocalFeatures, matches: Correspondences, check: Verification
) -> list[float]:
    """Return the numbers of one pair's quick look in the order of :data:`MARK_NUMBERS`."""
    aligned = aligned_similarity(features0, features1, check.model) if check.ok else Aligned()
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


def default_mark_verification() -> VerificationSettings:
    """Return the verification of the quick look: grids never lie exactly alike, and bodies are about as large."""
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


def number_columns(rows: Iterable[npt.NDArray[np.float32]]) -> Mapping[str, npt.NDArray]:
    """Turn rows of the second look's numbers into named columns of the raw pair table; NaN where nobody looked."""
    table = np.array(list(rows), np.float32).reshape(-1, len(PAIR_NUMBERS))
    columns: dict[str, npt.NDArray] = {name: table[:, index] for index, name in enumerate(PAIR_NUMBERS)}
    looked = ~np.isnan(columns["model_kind"])
    numbers = np.where(looked, columns["model_kind"], 0).astype(int)
    columns["model_kind"] = np.array(
        [
            MODEL_KINDS[number] if known else None
            for number, known in zip(numbers.tolist(), looked.tolist(), strict=True)
        ],
        object,
    )
    return columns


def mark_columns(rows: Iterable[npt.NDArray[np.float32]]) -> Mapping[str, npt.NDArray]:
    """Turn rows of the quick look's numbers into named columns of the raw pair table."""
    table = np.array(list(rows), np.float32).reshape(-1, len(MARK_NUMBERS))
    return {name: table[:, index] for index, name in enumerate(MARK_NUMBERS)}


def worth_a_second_look(cosine: npt.ArrayLike, numbers: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.bool_]:
    """Say which candidates of one list LightGlue should see: the best by cosine and quick look together.

    The two orders are joined by the reciprocals of their ranks (Cormack, Clarke and Buettcher, SIGIR 2009), which needs
    no common scale.

    Args:
        cosine: (K,) similarity of the global descriptors.
        numbers: (K, numbers) of the quick look.
        size: how many; 0 or less takes all.

    Returns:
        (K,) bool.
    """
    count = len(numbers)
    if size <= 0 or size >= count:
        return np.ones(count, bool)
    agreement = numbers[:, MARK_NUMBERS.index("marks_inliers")] * numbers[:, MARK_NUMBERS.index("marks_plausibility")]
    # Equal values share their mean rank: the order of rows is no evidence.
    ranks = [pd.Series(np.asarray(values, float)).rank(ascending=False).to_numpy() for values in (cosine, agreement)]
    fused = sum((1.0 / (2.0 + rank) for rank in ranks), np.zeros(count))
    chosen = np.zeros(count, bool)
    chosen[np.lexsort((np.arange(count), -fused))[:size]] = True
    return chosen
