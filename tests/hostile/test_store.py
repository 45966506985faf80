"""The store is a cache that is never trusted: whatever is not what was put in counts as missing, and is said once."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from engine.matching import pair_cache as pair_cache_module
from engine.matching.pair_cache import PairCache
from features.describe import Describer
from features.records import Description, PhotoRef
from features.store import FeatureStore, LostEntryError

ARRAYS = {"vector": np.arange(64, dtype=np.float32), "count": np.array([3], np.int64)}


def test_any_flipped_bit_of_an_entry_is_noticed(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put("key", ARRAYS)
    path = store.path("key")
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):  # every byte, and every bit of a byte in turn
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert store.get("key") is None, bit
        path.write_bytes(changed)
        assert not store.has("key"), bit
    path.write_bytes(whole)
    np.testing.assert_array_equal(store.get("key")["vector"], ARRAYS["vector"])


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"", lambda data: data * 2]
)
def test_an_entry_of_another_length_is_noticed(tmp_path: Path, change) -> None:
    store = FeatureStore(tmp_path)
    store.put("key", ARRAYS)
    path = store.path("key")
    path.write_bytes(change(path.read_bytes()))
    assert store.get("key") is None


def test_entries_under_each_others_names_are_noticed(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for key in ("one", "two"):
        store.put(key, ARRAYS)
    shutil.copy(store.path("one"), store.path("two"))
    assert store.has("one")
    assert store.get("two") is None


def test_an_entry_of_an_earlier_version_is_computed_anew_and_said_once(tmp_path: Path, caplog) -> None:
    from safetensors.numpy import save

    store = FeatureStore(tmp_path)
    for key in ("one", "two"):
        store.path(key).parent.mkdir(exist_ok=True)
        store.path(key).write_bytes(save(ARRAYS))
    with caplog.at_level(logging.WARNING):
        assert store.get("one") is None
        assert store.get("two") is None
    assert [record.message.count("earlier version") for record in caplog.records] == [1]


def test_an_entry_that_cannot_be_read_counts_as_missing(tmp_path: Path, caplog) -> None:
    store = FeatureStore(tmp_path)
    store.path("key").mkdir(parents=True)
    assert store.get("key") is None
    assert "cannot be read" in caplog.text


@pytest.fixture
def described(small_settings, made_up_dir: Path, tmp_path: Path) -> tuple[Describer, PhotoRef, Description]:
    ref = PhotoRef("a", sorted((made_up_dir / "images").glob("*.jpg"))[0], "top")
    describer = Describer(small_settings.describe, FeatureStore(tmp_path / "store"))
    found = next(iter(describer.describe([ref])))
    assert isinstance(found, Description)
    return describer, ref, found


def test_each_entry_of_a_photograph_is_computed_anew_when_damaged(described) -> None:
    describer, ref, found = described
    features, marks = describer.local(found.key), describer.skin(found.key)
    files = sorted(describer.store.root.glob("??/*.safetensors"))
    assert len(files) == 5
    for file in files:
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 16
        file.write_bytes(data)
        assert describer.lookup(ref) is None
        again = next(iter(describer.describe([ref])))
        np.testing.assert_array_equal(again.vector, found.vector)
        np.testing.assert_array_equal(describer.local(found.key).descriptors, features.descriptors)
        np.testing.assert_array_equal(describer.local(found.key).body_xy, features.body_xy)
        np.testing.assert_array_equal(describer.skin(found.key).descriptors, marks.descriptors)


def test_a_store_that_is_cleared_under_a_run_is_one_line(described) -> None:
    describer, _, found = described
    shutil.rmtree(describer.store.root)
    with pytest.raises(LostEntryError, match="run the same command again"):
        describer.local(found.key)


# The cache of pairs

RECORD = np.dtype([("score", np.float32), ("inliers", np.float32)])
RECORDS = np.array([(1.5, 3.0), (2.5, 4.0)], RECORD)


def pair_cache(path: Path) -> PairCache:
    return PairCache(path, "fingerprint", RECORD)


def kept(path: Path) -> list[float | None]:
    cache = pair_cache(path)
    found = [None if record is None else float(record["score"][0]) for record in cache.get("q", ["a", "b"])]
    cache.close()
    return found


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    cache = pair_cache(tmp_path / "pairs.sqlite")
    cache.put("q", ["a", "b"], RECORDS)
    cache.close()
    assert kept(tmp_path / "pairs.sqlite") == [1.5, 2.5]
    return tmp_path / "pairs.sqlite"


def test_a_flipped_bit_in_the_pairs_never_changes_a_number(pairs_file: Path) -> None:
    whole = pairs_file.read_bytes()
    rng = np.random.default_rng(0)
    for bit in [*range(0, 800, 13), *rng.integers(0, 8 * len(whole), 60).tolist()]:
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        pairs_file.write_bytes(changed)
        assert all(value in (None, right) for value, right in zip(kept(pairs_file), [1.5, 2.5], strict=True)), bit
        cache = pair_cache(pairs_file)
        cache.put("q", ["a", "b"], RECORDS)
        cache.close()


@pytest.mark.parametrize("junk", [b"", b"no database at all" * 100, b"SQLite format 3\x00" + bytes(200)])
def test_a_damaged_file_of_pairs_is_replaced_and_said(pairs_file: Path, junk: bytes, caplog) -> None:
    pairs_file.write_bytes(junk)
    cache = pair_cache(pairs_file)
    assert cache.get("q", ["a"]) == [None]
    cache.put("q", ["a", "b"], RECORDS)
    cache.close()
    assert kept(pairs_file) == [1.5, 2.5]
    assert caplog.text.count("is damaged") == (1 if junk else 0)


def test_a_locked_file_of_pairs_is_done_without(pairs_file: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(pair_cache_module, "_PATIENCE", 0.1)
    other = sqlite3.connect(pairs_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cache = pair_cache(pairs_file)
    cache.put("q", ["c"], RECORDS[:1])
    cache.put("q", ["d"], RECORDS[:1])
    assert cache.get("q", ["a"])[0]["score"] == 1.5
    assert [record.message.count("is locked") for record in caplog.records] == [1]
    cache.close()
    other.execute("ROLLBACK")
    other.close()
    assert kept(pairs_file) == [1.5, 2.5]


def test_a_full_disk_is_said_once_and_what_was_kept_stays(pairs_file: Path, caplog) -> None:
    cache = pair_cache(pairs_file)
    cache._db.execute("PRAGMA max_page_count=2")
    many = np.repeat(RECORDS[:1], 2000)
    for query in ("x", "y"):
        cache.put(query, [str(number) for number in range(2000)], many)
    assert cache.get("q", ["a"])[0]["score"] == 1.5
    assert [record.message.count("disk is full") for record in caplog.records] == [1]
    assert kept(pairs_file) == [1.5, 2.5]


def test_a_read_only_file_of_pairs_is_read(pairs_file: Path, caplog, monkeypatch) -> None:
    connect = sqlite3.connect

    class ReadOnly(sqlite3.Connection):
        def execute(self, sql: str, *rest):
            if not sql.startswith("SELECT"):
                raise sqlite3.OperationalError("attempt to write a readonly database")  # as SQLite does, except to root
            return super().execute(sql, *rest)

    monkeypatch.setattr(sqlite3, "connect", lambda *given, **options: connect(*given, **options, factory=ReadOnly))
    cache = pair_cache(pairs_file)
    assert cache.get("q", ["a"])[0]["score"] == 1.5
    cache.put("q", ["c"], RECORDS[:1])
    assert cache.get("q", ["a"])[0]["score"] == 1.5
    cache.close()
    assert [record.message.count("read-only") for record in caplog.records] == [1]


def test_a_folder_in_place_of_the_file_of_pairs_is_done_without(tmp_path: Path, caplog) -> None:
    (tmp_path / "pairs.sqlite").mkdir()
    cache = pair_cache(tmp_path / "pairs.sqlite")
    assert cache.get("q", ["a"]) == [None]
    cache.put("q", ["a", "b"], RECORDS)
    assert caplog.text.count("goes on without it") == 1
