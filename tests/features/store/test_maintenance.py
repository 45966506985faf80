"""Compacting, verifying and pruning change what is kept on disk, never what a key gives back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.hostile.stores import write_earlier_entry
from features.store import FeatureStore, StoreError, maintenance, shard_writer
from features.store.feature_store import SHARDS, digests_of
from features.store.maintenance import UNNAMED, compact_store, count_unwanted, store_contents, verify_store


def arrays_of(number: int) -> dict[str, np.ndarray]:
    return {"a": np.full(100 + number, number, np.float32)}


def fill(root: Path, keys: list[str], writers: int = 3) -> None:
    """Write keys by several writers at once, the first half of them twice."""
    stores = [FeatureStore(root) for _ in range(writers)]
    for number, key in enumerate(keys):
        stores[number % writers].put(key, arrays_of(number))
        if number < len(keys) // 2:
            stores[(number + 1) % writers].put(key, arrays_of(number))
    for store in stores:
        store.close()


def assert_holds(root: Path, keys: list[str], without: frozenset[int] = frozenset()) -> None:
    store = FeatureStore(root)
    for number, key in enumerate(keys):
        found = store.get(key)
        assert (found is None) == (number in without), key
        if found is not None:
            np.testing.assert_array_equal(found["a"], arrays_of(number)["a"])


@pytest.fixture
def keys() -> list[str]:
    return [f"{kind}:{number}" for number in range(10) for kind in ("global", "local")]


def test_compacting_leaves_one_shard_and_every_record_once(tmp_path: Path, keys: list[str]) -> None:
    fill(tmp_path, keys)
    said = []
    done = compact_store(FeatureStore(tmp_path), progress=lambda a, b: said.append((a, b)))
    assert (done.kept, done.dropped, done.shards_before, done.shards) == (20, 10, 3, 1)
    assert done.bytes < done.bytes_before
    assert not done.damaged and not done.busy
    assert said == sorted(said) and said[-1][0] == said[-1][1]
    assert_holds(tmp_path, keys)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    entries = FeatureStore(tmp_path).shards()[0].table.entries
    assert len(entries) == 20
    again = compact_store(FeatureStore(tmp_path))
    assert (again.kept, again.dropped, again.shards) == (20, 0, 1)


def test_what_is_compacted_can_be_added_to(tmp_path: Path, keys: list[str]) -> None:
    fill(tmp_path, keys)
    compact_store(FeatureStore(tmp_path))
    for number in range(3):
        store = FeatureStore(tmp_path)
        store.put(f"new:{number}", {"a": np.ones(number)})
        store.close()
    store = FeatureStore(tmp_path)
    assert all(store.has(f"new:{number}") for number in range(3))
    assert_holds(tmp_path, keys)
    assert len(store.shards()) == 1 and not store.shards()[0].damage


def test_large_sound_shards_stay_as_they_are(tmp_path: Path, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (shard_writer, maintenance):
        monkeypatch.setattr(module, "SHARD_BYTES", 4000)
    fill(tmp_path, keys, writers=1)
    compact_store(FeatureStore(tmp_path))
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / SHARDS).glob("*.shard")}
    assert len(before) > 2
    store = FeatureStore(tmp_path)
    store.put("new", {})
    store.close()
    compact_store(FeatureStore(tmp_path))
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / SHARDS).glob("*.shard")}
    large = {path.name for path in (tmp_path / SHARDS).glob("*.shard") if path.stat().st_size >= 2000}
    assert len(large & set(before)) >= len(before) - 1
    assert all(after[name] == before[name] for name in large & set(before) if before[name] == after[name])
    assert_holds(tmp_path, keys)


def test_stores_of_files_are_converted(tmp_path: Path, keys: list[str]) -> None:
    fill(tmp_path, keys[:8])
    for number, key in enumerate(keys):
        write_earlier_entry(tmp_path, key, arrays_of(number))
    bad = write_earlier_entry(tmp_path, "bad", {"a": np.ones(3)})
    bad.write_bytes(bad.read_bytes()[:-1])
    assert FeatureStore(tmp_path).size().entries == 21
    done = compact_store(FeatureStore(tmp_path))
    assert (done.converted, done.kept) == (12, 20)
    assert done.damaged == [str(bad)]
    assert [path.name for path in tmp_path.iterdir()] == [SHARDS]
    assert_holds(tmp_path, keys)
    assert store_contents(FeatureStore(tmp_path)).kinds[UNNAMED][0] == 12
    assert verify_store(FeatureStore(tmp_path)).ok


def test_a_compaction_that_dies_loses_nothing(tmp_path: Path, keys: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, keys)
    append, count = shard_writer.ShardWriter.append, [0]

    def die(self: shard_writer.ShardWriter, digest: bytes, key: bytes, payload: bytes) -> tuple[int, int]:
        count[0] += 1
        if count[0] == 12:
            raise OSError(28, "No space left on device")
        return append(self, digest, key, payload)

    monkeypatch.setattr(shard_writer.ShardWriter, "append", die)
    with pytest.raises(StoreError, match="No space left"):
        compact_store(FeatureStore(tmp_path))
    assert_holds(tmp_path, keys)
    monkeypatch.setattr(shard_writer.ShardWriter, "append", append)
    done = compact_store(FeatureStore(tmp_path))
    assert (done.kept, done.shards) == (20, 1)
    assert_holds(tmp_path, keys)


def test_a_shard_that_is_being_written_is_left_alone_and_named(tmp_path: Path, keys: list[str]) -> None:
    fill(tmp_path, keys)
    writer = FeatureStore(tmp_path)
    writer.put("mine", {})
    done = compact_store(FeatureStore(tmp_path))
    assert len(done.busy) == 1
    writer.put("mine too", {})
    store = FeatureStore(tmp_path)
    assert store.has("mine") and store.has("mine too")
    assert_holds(tmp_path, keys)


def test_readers_go_on_while_a_store_is_compacted(tmp_path: Path, keys: list[str], caplog) -> None:
    fill(tmp_path, keys)
    reader = FeatureStore(tmp_path)
    assert reader.has(keys[0])
    compact_store(FeatureStore(tmp_path))
    assert all(reader.has(key) for key in keys)
    assert not caplog.messages


def test_verifying_names_every_damaged_record(tmp_path: Path, keys: list[str]) -> None:
    fill(tmp_path, keys, writers=1)
    assert verify_store(FeatureStore(tmp_path)).ok
    (path,) = (tmp_path / SHARDS).glob("*.shard")
    data = bytearray(path.read_bytes())
    for key in (keys[15], keys[18]):  # those that are there once
        data[data.index(f"{key}".encode()) + 150] ^= 4
    path.write_bytes(data)
    check = verify_store(FeatureStore(tmp_path))
    assert [name.partition(" ")[0] for name in check.damaged] == [keys[15], keys[18]]
    assert not check.ok
    assert all(path.name in name for name in check.damaged)
    assert_holds(tmp_path, keys, frozenset({15, 18}))
    again = verify_store(FeatureStore(tmp_path))
    assert again.ok and again.records == check.records - 2
    done = compact_store(FeatureStore(tmp_path))
    assert done.kept == 18 and not done.damaged


def test_a_record_under_anothers_key_is_damage(tmp_path: Path) -> None:
    writer = shard_writer.ShardWriter(tmp_path / SHARDS)
    writer.append(bytes(range(32)), b"local:1", b"")
    writer.close()
    assert [name.partition(" ")[0] for name in verify_store(FeatureStore(tmp_path)).damaged] == ["local:1"]


def test_a_lost_index_is_made_anew(tmp_path: Path, keys: list[str]) -> None:
    fill(tmp_path, keys)
    for path in (tmp_path / SHARDS).glob("*.index"):
        path.write_bytes(path.read_bytes()[:64] + b"x" * 32 + path.read_bytes()[96:])
    assert_holds(tmp_path, keys)
    assert not verify_store(FeatureStore(tmp_path)).ok
    compact_store(FeatureStore(tmp_path))
    assert verify_store(FeatureStore(tmp_path)).ok
    assert_holds(tmp_path, keys)


def test_pruning_drops_what_is_not_wanted(tmp_path: Path, keys: list[str]) -> None:
    fill(tmp_path, keys)
    write_earlier_entry(tmp_path, "old", {"a": np.ones(3)})
    wanted = [key for key in keys if key.startswith("local")]
    digests = digests_of(wanted)
    count, size = count_unwanted(FeatureStore(tmp_path), digests)
    assert count >= 11 and size > 0
    done = compact_store(FeatureStore(tmp_path), digests)
    assert done.kept == 10
    assert_holds(tmp_path, keys, frozenset(range(0, 20, 2)))
    assert not FeatureStore(tmp_path).has("old")
    assert count_unwanted(FeatureStore(tmp_path), digests) == (0, 0)


def test_contents_are_counted_by_kind(tmp_path: Path, keys: list[str]) -> None:
    fill(tmp_path, keys)
    (tmp_path / "pairs.sqlite").write_bytes(bytes(100))
    FeatureStore(tmp_path).remove(keys[-1])
    found = store_contents(FeatureStore(tmp_path))
    assert {kind: count for kind, (count, _) in found.kinds.items()} == {"global": 10, "local": 9}
    assert found.shards[0] == 3
    assert found.dead[0] == 11
    assert found.others == {"pairs.sqlite": 100}
    kept = sum(size for _, size in found.kinds.values())
    assert kept + found.dead[1] + 3 * 64 == found.shards[1]
