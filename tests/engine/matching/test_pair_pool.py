"""Pairs go to the workers once, in parts, and come back to their own places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from engine.matching import pair_pool
from engine.matching.exhaustive import quantise
from engine.matching.measurements import MatcherName, record_type
from engine.matching.pair_pool import PairPool
from engine.matching.pair_worker import PairSettings, PairTask, PairWorker
from features.describe import Describer, DescribeSettings


class NumberedWorker:
    """Measures that the candidate called "c7" has 7 inliers."""

    done: list[tuple[str, int]]

    def __init__(self, settings: PairSettings, store: Path, device: str | None) -> None:
        self.matchers = {"skin": None, "mutual_nn": None}
        self.describer = Describer(settings.describe)

    def fingerprint(self, matcher: MatcherName) -> str:
        return f"print of {matcher}"

    def measure(self, matcher: MatcherName, task: PairTask) -> npt.NDArray:
        self.done.append((task.query, len(task.candidates)))
        records = np.zeros(len(task.candidates), record_type(matcher))
        records["inliers"] = [float(key[1:]) for key in task.candidates]
        return records


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    monkeypatch.setattr(pair_pool, "PairWorker", NumberedWorker)
    NumberedWorker.done = []
    return NumberedWorker.done


def numbered(numbers: range | list[int]) -> tuple[str, ...]:
    return tuple(f"c{number}" for number in numbers)


def test_every_record_comes_back_to_its_place(tmp_path: Path, done: list) -> None:
    pool = PairPool(PairSettings(), tmp_path)
    told: list[tuple[int, int]] = []
    first, nobody, second = pool.measure(
        "skin",
        [PairTask("q", numbered(range(450))), PairTask("r", ()), PairTask("s", numbered([9, 4]))],
        lambda *p: told.append(p),
    )
    assert first["inliers"].tolist() == list(range(450))
    assert second["inliers"].tolist() == [9, 4]
    assert len(nobody) == 0 and nobody.dtype == record_type("skin")
    assert done == [("q", 200), ("q", 200), ("s", 2), ("q", 50)]
    assert told == [(200, 452), (400, 452), (402, 452), (452, 452)]


def test_all_queries_see_a_block_of_candidates_before_the_next(
    tmp_path: Path, done: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker prepares each candidate of a block once, however many queries there are."""
    monkeypatch.setattr(pair_pool, "_BLOCK", 2)
    tasks = [PairTask("q", numbered([5, 2, 8])), PairTask("r", numbered([8, 5, 1]))]
    first, second = PairPool(PairSettings(), tmp_path).measure("skin", tasks)
    assert first["inliers"].tolist() == [5, 2, 8] and second["inliers"].tolist() == [8, 5, 1]
    # c5 and c2 are the first block, c8 and c1 the second.
    assert done == [("q", 2), ("r", 1), ("q", 1), ("r", 2)]


def test_a_block_and_some_queries_are_kept_in_memory() -> None:
    assert PairWorker.KEEP_PREPARED // 2 < pair_pool._BLOCK < PairWorker.KEEP_PREPARED


def test_what_is_known_is_not_measured_again(tmp_path: Path, done: list) -> None:
    PairPool(PairSettings(), tmp_path).measure("skin", [PairTask("q", numbered([5, 2, 8]))])
    done.clear()
    (again,) = PairPool(PairSettings(), tmp_path).measure("skin", [PairTask("q", numbered([8, 1, 2, 7]))])
    assert again["inliers"].tolist() == [8, 1, 2, 7]
    assert done == [("q", 2)]
    # Another query, or another matcher, is another pair.
    PairPool(PairSettings(), tmp_path).measure("skin", [PairTask("z", numbered([8]))])
    PairPool(PairSettings(), tmp_path).measure("mutual_nn", [PairTask("q", numbered([8]))])
    assert done == [("q", 2), ("z", 1), ("q", 1)]


def test_a_matcher_that_the_keypoints_do_not_have_measures_nothing(tmp_path: Path, done: list) -> None:
    (records,) = PairPool(PairSettings(), tmp_path).measure("lightglue", [PairTask("q", numbered([1, 2]))])
    assert len(records) == 2 and np.isnan(records["inliers"]).all()
    assert done == []


def test_scores_by_key_come_back_to_their_places(tmp_path: Path, done: list, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def score(worker: NumberedWorker, task: PairTask) -> npt.NDArray[np.float32]:
        asked.append(len(task.candidates))
        return np.array([float(key[1:]) + (1000 if task.query == "r" else 0) for key in task.candidates], np.float32)

    monkeypatch.setattr(pair_pool, "score_keys_task", score)
    monkeypatch.setattr(pair_pool, "_SCORED_HERE", 1)
    pool = PairPool(PairSettings(), tmp_path)
    first, nobody, second = pool.score_keys([("q", numbered(range(450))), ("s", ()), ("r", numbered([9, 4]))])
    assert first.tolist() == list(range(450)) and second.tolist() == [1009.0, 1004.0]
    assert len(nobody) == 0 and nobody.dtype == np.float32
    assert asked == [200, 200, 50, 2], "in parts, so that several processes share a query"
    monkeypatch.setattr(pair_pool, "EXHAUSTIVE_UP_TO", 5)
    (rows,) = pool.score_rows([("q", np.array([3, 0]))], numbered(range(6)))
    assert rows.tolist() == [3.0, 0.0], "without a table of a large catalogue"


def test_a_query_is_scored_in_the_best_of_its_rotations(
    tmp_path: Path, done: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each candidate lies at an angle of its own: the scores of the other rotations are lower."""

    def score(worker: NumberedWorker, task: PairTask) -> npt.NDArray[np.float32]:
        turn = 0 if ":" not in task.query else int(task.query.split()[-1]) // 90
        return np.array([100.0 if int(key[1:]) % 4 == turn else turn for key in task.candidates], np.float32)

    monkeypatch.setattr(pair_pool, "score_keys_task", score)
    monkeypatch.setattr(pair_pool, "_SCORED_HERE", 1)
    upright, every = (
        PairPool(PairSettings(describe=DescribeSettings(rotations=count)), tmp_path).score_keys(
            [("q", numbered(range(450))), ("r", ())]
        )
        for count in (1, 4)
    )
    assert upright[0].tolist() == [100.0 * (number % 4 == 0) for number in range(450)]
    assert every[0].tolist() == [100.0] * 450 and len(every[1]) == 0


def test_few_are_scored_in_threads_as_the_workers_would(
    tmp_path: Path, done: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    codes = [quantise(part / np.linalg.norm(part)) for part in rng.standard_normal((250, 6, 16), np.float32)]
    monkeypatch.setattr(NumberedWorker, "kept_codes", lambda self, key: codes[int(key[1:])], raising=False)
    monkeypatch.setattr(NumberedWorker, "keep_codes", lambda self, keys: None, raising=False)
    monkeypatch.setattr(NumberedWorker, "product_device", None, raising=False)
    tasks = [("c3", numbered(range(250))), ("c5", ()), ("c9", numbered([7]))]
    pool = PairPool(PairSettings(), tmp_path)
    pool.threads = 2
    here = pool.score_keys(tasks)
    monkeypatch.setattr(pair_pool, "_SCORED_HERE", 1)
    for found, expected in zip(here, pool.score_keys(tasks), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [len(part) for part in here] == [250, 0, 1] and here[0].argmax() == 3
