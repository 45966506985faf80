"""The indexed search of a large catalogue against the exhaustive one of the same, on catalogues made by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from engine.catalogue.catalog import CandidateFilter
from engine.catalogue.index import CatalogIndex
from engine.matching import pair_pool
from engine.matching.exhaustive import Codes, DescriptorTable, mutual_nn_scores, quantise
from engine.search import large
from engine.search.candidates import ShortlistSettings
from engine.search.coverage import coverage
from engine.search.pipeline import search
from features.store.errors import StoreError
from tests.engine.search.made_index import MadePool, made_index

COUNT = 60
SETTINGS = ShortlistSettings(size=8, expansion=4, rescore=1)


class MadeDescriber:
    """Knows what its records would be called."""

    def global_fingerprint(self) -> str:
        return "made"

    def store_keys(self, key: str) -> list[str]:
        return [f"global:{key}", f"local:{key}"]

    def rotated_keys(self, key: str) -> tuple[str, ...]:
        return (key,)


class KeypointPool(MadePool):
    """Scores made keypoints as worker processes score those of photographs; notes whom it scored."""

    def __init__(self, codes: Sequence[Codes], store: Path) -> None:
        super().__init__({("p0", "p30"): 300.0})
        self._codes, self.store, self.scored = codes, store, 0
        self.__dict__["worker"] = SimpleNamespace(describer=MadeDescriber())

    def codes(self, keys: Sequence[str]) -> list[Codes]:
        return [self._codes[int(key.split(":")[0][1:])] for key in keys]

    def codes_fingerprint(self) -> str:
        return "made"

    def score_keys(self, tasks: Sequence[tuple[str, Sequence[str]]]) -> list[npt.NDArray[np.float32]]:
        self.scored += sum(len(keys) for _, keys in tasks)
        return [mutual_nn_scores(self.codes([key])[0], DescriptorTable.of(self.codes(keys))) for key, keys in tasks]

    def score(
        self,
        queries: Sequence[str],
        database: Sequence[str],
        allowed: Callable[[int], npt.NDArray[np.bool_]],
        progress: object = None,
    ) -> list[npt.NDArray[np.float32]]:
        table = DescriptorTable.of(self.codes(database))
        return [mutual_nn_scores(self.codes([key])[0], table, allowed(k)) for k, key in enumerate(queries)]

    def score_rows(
        self, tasks: Sequence[tuple[str, npt.NDArray[np.int64]]], database: Sequence[str]
    ) -> list[npt.NDArray[np.float32]]:
        return self.score_keys([(key, [database[row] for row in rows]) for key, rows in tasks])


@pytest.fixture(scope="module")
def index() -> CatalogIndex:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((COUNT, 48))
    vectors[30:40] += 2 * vectors[:10]
    views = ["top", "top", None, "left", "top", "right"] * (COUNT // 6)
    found = made_index(vectors, individual_id=[None] * COUNT, encounter_id=[None] * COUNT, viewpoint=views)
    found.catalog.table["date"] = np.datetime64("NaT")
    return found


@pytest.fixture(scope="module")
def codes() -> list[Codes]:
    rng = np.random.default_rng(1)
    raw = rng.standard_normal((COUNT, 30, 32))
    raw[40:50, :15] = raw[:10, :15] + 0.3 * rng.standard_normal((10, 15, 32))
    raw /= np.linalg.norm(raw, axis=2, keepdims=True)
    return [quantise(part.astype(np.float32)) for part in raw]


@pytest.fixture
def ask(index: CatalogIndex, codes: list[Codes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def asked(exhaustive_up_to: int, queries: Sequence[str] = ("p0", "p2", "p4"), rules=CandidateFilter(), **options):  # noqa: B008
        monkeypatch.setattr(pair_pool, "EXHAUSTIVE_UP_TO", exhaustive_up_to)
        pool = KeypointPool(codes, tmp_path / "store")
        return search(index.subset(list(queries)), index, rules, SETTINGS, pool, **options), pool

    return asked


def assert_alike(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The same table: to the bit, but for cosines, which are summed in another order, and what is made of means."""
    means = [name for name in expected if "znorm" in name]
    cosines = [name for name in expected if name in ("cosine", "requery_score")]
    assert cosines and means
    same = [name for name in expected if name not in (*means, *cosines)]
    pd.testing.assert_frame_equal(found[same], expected[same], check_exact=True)
    pd.testing.assert_frame_equal(found[cosines], expected[cosines], rtol=1e-6, atol=1e-7)
    pd.testing.assert_frame_equal(found[means], expected[means], rtol=2e-3, atol=2e-3)


def test_where_all_are_chosen_the_answer_is_the_exhaustive_one(ask, index: CatalogIndex, caplog) -> None:
    rules = CandidateFilter(exclude_ids=("p31", "p7"))
    options = {"rules": rules, "include": ["p5", "p7"], "with_neighbours": True}
    with caplog.at_level(logging.WARNING):
        expected, _ = ask(COUNT, **options)
        assert not caplog.messages
        found, _ = ask(COUNT - 1, **options)
    assert_alike(found, expected)
    assert {"p40", "p42", "p44"} <= set(found["candidate_id"]), "photographs that share keypoints with a query"
    assert caplog.messages == [
        "60 photographs are more than the 59 whose keypoints are all compared: an index chooses candidates "
        "(docs/scale.md says what it misses)"
    ]


def test_few_are_chosen_by_cosine_and_by_words_and_the_best_are_found(ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "BY_COSINE", 8)
    monkeypatch.setattr(large, "BY_WORDS", 8)
    monkeypatch.setattr(large, "LOCAL_SAMPLE", 10)
    found, pool = ask(10, ["p0", "p4"], with_neighbours=False)
    lists = found.groupby("query_id")["candidate_id"].agg(set)
    assert {"p30", "p40"} <= lists["p0"] and {"p34", "p44"} <= lists["p4"]
    assert pool.scored <= 2 * (8 + 8 + 10 + SETTINGS.expansion)
    alone, _ = ask(10, ["p4"], with_neighbours=False)
    together = found[found["query_id"] == "p4"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, together, check_exact=True)


def test_what_is_new_is_added_and_nothing_is_made_anew(
    ask, index: CatalogIndex, codes: list[Codes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_pool, "EXHAUSTIVE_UP_TO", 10)
    pool, asked = KeypointPool(codes, tmp_path / "store"), []
    monkeypatch.setattr(pool, "codes", lambda keys: asked.extend(keys) or KeypointPool.codes(pool, keys))
    large.LargeIndex.of(index.take(range(50)), pool)
    vocabulary = (next((tmp_path / "store" / "words").iterdir()) / "vocabulary.npz").read_bytes()
    asked.clear()
    large.LargeIndex.of(index, pool)
    assert [key.split(":")[0] for key in asked] == [f"p{k}" for k in range(50, 60)]
    assert (next((tmp_path / "store" / "words").iterdir()) / "vocabulary.npz").read_bytes() == vocabulary
    asked.clear()
    large.LargeIndex.of(index, pool)
    assert not asked


def test_files_are_opened_once_for_each_kind_of_descriptors(
    index: CatalogIndex, codes: list[Codes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, pool = index.take(range(50)), KeypointPool(codes, tmp_path / "store")
    first = large.LargeIndex.opened(database, pool)
    assert large.LargeIndex.opened(database, KeypointPool(codes, tmp_path / "store")) is first
    assert large.LargeIndex.opened(database, KeypointPool(codes, tmp_path / "another")) is not first
    assert large.LargeIndex.opened(index.take(range(50)), pool) is not first
    monkeypatch.setattr(KeypointPool, "codes_fingerprint", lambda self: "other descriptors")
    assert large.LargeIndex.opened(database, pool) is not first


def test_counts_say_that_an_index_chose(ask, index: CatalogIndex) -> None:
    raw, _ = ask(10, ["p0"])
    text = str(coverage(index.subset(["p0"]), index, CandidateFilter(), raw))
    assert "by an index of keypoints" in text


def test_a_store_that_cannot_be_written_is_one_line(index: CatalogIndex, codes: list[Codes], tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match="give another --store"):
        large.LargeIndex.of(index, KeypointPool(codes, tmp_path / "store"))


def test_damage_beside_the_store_is_named_and_made_again(
    index: CatalogIndex, codes: list[Codes], tmp_path: Path
) -> None:
    pool = KeypointPool(codes, tmp_path / "store")
    large.LargeIndex.of(index, pool)
    assert large.take_out_damaged_indexes(pool.store) == []
    for name in (
        "described/*/*/numbers.npy",
        "keypoints/*/*/codes.npy",
        "vectors/*/*/codes.npy",
        "words/*/*/*/signs.npy",
    ):
        (path,) = pool.store.glob(name)
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    found = large.take_out_damaged_indexes(pool.store)
    assert [name.rsplit("/", 1)[1] for name in found] == ["numbers.npy", "codes.npy", "codes.npy", "signs.npy"]
    again = large.LargeIndex.of(index, pool)
    assert len(again.vectors) == COUNT and again.words.votes(codes[0], np.ones(COUNT, bool))[0] > 0
