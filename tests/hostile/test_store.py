"""The store is a cache that is never trusted: whatever is not what was put in counts as missing, and is said once."""

from __future__ import annotations

import logging
import re
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from bench.hostile.stores import write_earlier_entry
from engine.matching import pair_cache as pair_cache_module
from engine.matching.pair_cache import PairCache
from features.describe import Describer
from features.records import Description, PhotoRef
from features.store import FeatureStore, LostEntryError
from features.store.earlier_layout import entry_path
from features.store.feature_store import SHARDS
from features.store.record import key_digest

ARRAYS = {"vector": np.arange(64, dtype=np.float32), "count": np.array([3], np.int64)}
OTHER = {"vector": np.ones(8, np.float32)}
#: What a shard begins with, before its first record.
SHARD_HEAD = 64


def filled(root: Path) -> Path:
    """Put two entries into a store; return its one shard."""
    store = FeatureStore(root)
    store.put("key", ARRAYS)
    store.put("other", OTHER)
    store.close()
    (shard,) = (root / SHARDS).glob("*.shard")
    return shard


def holds(root: Path, key: str, arrays: dict[str, np.ndarray]) -> bool:
    """Say whether a store has a key, and fail if what it gives back is anything else."""
    found, known = FeatureStore(root).get(key), FeatureStore(root).has(key)
    assert known == (found is not None)
    if found is not None:
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
    return known


def restore(root: Path, files: dict[Path, bytes]) -> None:
    shutil.rmtree(root)
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def test_any_flipped_bit_of_a_shard_costs_its_record_alone(tmp_path: Path) -> None:
    shard = filled(tmp_path / "store")
    files = {path: path.read_bytes() for path in shard.parent.iterdir()}
    whole = files[shard]
    second = whole.index(b"other") - 64
    for bit in range(0, 8 * len(whole), 11):  # every bit of a byte in turn
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        shard.write_bytes(changed)
        assert holds(tmp_path / "store", "key", ARRAYS) == (not SHARD_HEAD <= bit // 8 < second), bit
        assert holds(tmp_path / "store", "other", OTHER) == (bit // 8 < second), bit
        restore(tmp_path / "store", files)


def test_any_flipped_bit_of_an_index_costs_nothing(tmp_path: Path) -> None:
    shard = filled(tmp_path / "store")
    index = shard.with_suffix(".index")
    whole = index.read_bytes()
    for bit in range(0, 8 * len(whole), 3):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        index.write_bytes(changed)
        assert holds(tmp_path / "store", "key", ARRAYS), bit
        assert holds(tmp_path / "store", "other", OTHER), bit


@pytest.mark.parametrize("name", ["shard", "index"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data + bytes(640),
        lambda data: b"",
        lambda data: data * 2,
        lambda data: data[:70] + data[77:],
        lambda data: data[:70] + bytes(9) + data[70:],
    ],
)
def test_a_file_of_another_length_never_gives_anything_else(tmp_path: Path, name: str, change) -> None:
    path = filled(tmp_path / "store").with_suffix(f".{name}")
    path.write_bytes(change(path.read_bytes()))
    known = [holds(tmp_path / "store", key, arrays) for key, arrays in (("key", ARRAYS), ("other", OTHER))]
    if name == "index":
        assert known == [True, True]
    store = FeatureStore(tmp_path / "store")
    for key, arrays in (("key", ARRAYS), ("other", OTHER)):
        if not store.has(key):
            store.put(key, arrays)
        assert holds(tmp_path / "store", key, arrays)


def test_indexes_under_each_others_names_are_noticed(tmp_path: Path, caplog) -> None:
    first, second = FeatureStore(tmp_path), FeatureStore(tmp_path)
    first.put("one", ARRAYS)
    second.put("two", OTHER)
    one, two = sorted((tmp_path / SHARDS).glob("*.index"))
    shutil.copy(one, two)
    assert holds(tmp_path, "one", ARRAYS)
    assert holds(tmp_path, "two", OTHER)
    assert "does not fit its shard" in caplog.text


def test_a_shard_that_was_copied_over_another_never_gives_anything_else(tmp_path: Path) -> None:
    first, second = FeatureStore(tmp_path), FeatureStore(tmp_path)
    first.put("one", ARRAYS)
    second.put("two", OTHER)
    one, two = sorted((tmp_path / SHARDS).glob("*.shard"))
    shutil.copy(one, two)
    assert [holds(tmp_path, "one", ARRAYS), holds(tmp_path, "two", OTHER)].count(True) == 1


def test_an_entry_of_the_earlier_layout_is_checked_like_any_other(tmp_path: Path, caplog) -> None:
    path = write_earlier_entry(tmp_path, "key", ARRAYS)
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        assert FeatureStore(tmp_path).get("key") is None, bit
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
    path.write_bytes(whole)
    assert FeatureStore(tmp_path).has("key")
    other = entry_path(tmp_path, key_digest("two"))
    other.parent.mkdir()
    shutil.copy(path, other)
    assert FeatureStore(tmp_path).get("two") is None
    assert "are damaged" in caplog.text


def test_an_entry_of_an_earlier_version_is_computed_anew_and_said_once(tmp_path: Path, caplog) -> None:
    from safetensors.numpy import save

    for key in ("one", "two"):
        path = entry_path(tmp_path, key_digest(key))
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(save(ARRAYS))
    store = FeatureStore(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert store.get("one") is None
        assert store.get("two") is None
    assert [record.message.count("earlier version") for record in caplog.records] == [1]


@pytest.mark.parametrize("where", ["shards/aa.shard", "entry"])
def test_a_folder_in_place_of_a_file_counts_as_missing(tmp_path: Path, caplog, where: str) -> None:
    path = entry_path(tmp_path, key_digest("key")) if where == "entry" else tmp_path / where
    path.mkdir(parents=True)
    store = FeatureStore(tmp_path)
    assert store.get("key") is None
    assert "cannot be read" in caplog.text
    store.put("key", ARRAYS)
    assert holds(tmp_path, "key", ARRAYS)


@pytest.fixture
def described(small_settings, made_up_dir: Path, tmp_path: Path) -> tuple[Describer, PhotoRef, Description]:
    ref = PhotoRef("a", sorted((made_up_dir / "images").glob("*.jpg"))[0], "top")
    describer = Describer(small_settings.describe, FeatureStore(tmp_path / "store"))
    found = next(iter(describer.describe([ref])))
    assert isinstance(found, Description)
    return describer, ref, found


def test_each_entry_of_a_photograph_is_computed_anew_when_damaged(described, small_settings) -> None:
    describer, ref, found = described
    features, marks = describer.local(found.key), describer.skin(found.key)
    picture = np.array(describer.picture(found.key))
    root = describer.store.root
    keys = describer.store_keys(found.key)
    assert len(keys) == 6
    for key in keys:
        (shard,) = (root / SHARDS).glob("*.shard")
        data = bytearray(shard.read_bytes())
        for place in re.finditer(re.escape(key.encode()), data):
            data[place.end() + 20] ^= 16
        shard.write_bytes(data)
        assert describer.lookup(ref) is None
        again = next(iter(describer.describe([ref])))
        np.testing.assert_array_equal(again.vector, found.vector)
        np.testing.assert_array_equal(describer.local(found.key).descriptors, features.descriptors)
        np.testing.assert_array_equal(describer.local(found.key).body_xy, features.body_xy)
        np.testing.assert_array_equal(describer.skin(found.key).descriptors, marks.descriptors)
        np.testing.assert_array_equal(describer.picture(found.key), picture)


def test_a_store_that_is_cleared_under_a_run_is_one_line(described, small_settings) -> None:
    describer, _, found = described
    shutil.rmtree(describer.store.root)
    with pytest.raises(LostEntryError, match="run the same command again"):
        Describer(small_settings.describe, FeatureStore(describer.store.root)).local(found.key)


# The cache of pairs

RECORD = np.dtype([("score", np.float32), ("inliers", np.float32)])
RECORDS = np.array([(1.5, 3.0), (2.5, 4.0)], RECORD)


def pair_cache(path: Path) -> PairCache:
    return PairCache(path, "fingerprint", RECORD)


def scores(cache: PairCache, *candidates: str) -> list[float | None]:
    records, known = cache.get("q", candidates)
    return [float(record["score"]) if here else None for record, here in zip(records, known, strict=True)]


def kept(path: Path) -> list[float | None]:
    cache = pair_cache(path)
    found = scores(cache, "a", "b")
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
    assert scores(cache, "a") == [None]
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
    assert scores(cache, "a") == [1.5]
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
    assert scores(cache, "a") == [1.5]
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
    assert scores(cache, "a") == [1.5]
    cache.put("q", ["c"], RECORDS[:1])
    assert scores(cache, "a") == [1.5]
    cache.close()
    assert [record.message.count("read-only") for record in caplog.records] == [1]


def test_a_folder_in_place_of_the_file_of_pairs_is_done_without(tmp_path: Path, caplog) -> None:
    (tmp_path / "pairs.sqlite").mkdir()
    cache = pair_cache(tmp_path / "pairs.sqlite")
    assert scores(cache, "a") == [None]
    cache.put("q", ["a", "b"], RECORDS)
    assert caplog.text.count("goes on without it") == 1
