"""The store gives back what was put in, never a half-written or damaged entry."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from bench.hostile.stores import write_earlier_entry
from features.store import FeatureStore, StoreError, default_store, shard_writer
from features.store.entries import DEAD, EntryTable, make_entry, sorted_entries
from features.store.feature_store import SHARDS, digests_of
from features.store.shard import Shard

ROOT = Path(__file__).parents[3]
ONES = {"a": np.ones(1000, np.float32)}


def shard_files(root: Path) -> list[Path]:
    return sorted((root / SHARDS).glob("*.shard"))


def test_round_trip_keeps_types_and_values(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    arrays = {"a": np.arange(6, dtype=np.float16).reshape(2, 3), "empty": np.zeros((0, 2), np.float32)}
    assert store.get("key") is None
    store.put("key", arrays)
    for reader in (store, FeatureStore(tmp_path / "store")):
        found = reader.get("key")
        assert found is not None
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
        assert reader.get("other key") is None
        assert reader.size().entries == 1


def test_non_contiguous_arrays_are_stored_as_seen(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    view = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2].T
    store.put("key", {"a": view})
    np.testing.assert_array_equal(store.get("key")["a"], view)


def test_many_entries_are_few_files(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    for number in range(200):
        store.put(f"key{number}", {"a": np.full(3, number)})
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2
    assert all(store.get(f"key{number}")["a"][0] == number for number in range(200))


def test_damaged_entry_counts_as_missing_is_named_once_and_goes(tmp_path: Path, caplog) -> None:
    store = FeatureStore(tmp_path)
    for key in ("one", "two"):
        store.put(key, ONES)
    (path,) = shard_files(tmp_path)
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        assert FeatureStore(tmp_path).get("one") is None
        assert FeatureStore(tmp_path).get("one") is None
        assert FeatureStore(tmp_path).get("two") is not None
    assert [("the record one is damaged" in line, path.name in line) for line in caplog.messages] == [(True, True)]
    again = FeatureStore(tmp_path)
    again.put("one", ONES)
    np.testing.assert_array_equal(FeatureStore(tmp_path).get("one")["a"], ONES["a"])


def test_a_sound_copy_is_taken_where_another_is_damaged(tmp_path: Path, caplog) -> None:
    first, second = FeatureStore(tmp_path), FeatureStore(tmp_path)
    first.put("other", {})
    for store in (first, second):
        store.put("key", ONES)
    assert len(shard_files(tmp_path)) == 2
    for path in shard_files(tmp_path):
        whole = path.read_bytes()
        path.write_bytes(whole[:-600] + bytes(8) + whole[-592:])
        found = FeatureStore(tmp_path).get("key")
        np.testing.assert_array_equal(found["a"], ONES["a"])
        path.write_bytes(whole)
    assert not caplog.messages


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(tmp_path)
    store.put("whole", ONES)
    before = [path.read_bytes() for path in sorted((tmp_path / SHARDS).iterdir())]
    write = shard_writer.write_at

    def die(handle: int, data: bytes, offset: int) -> None:
        write(handle, data[: len(data) // 2], offset)
        raise KeyboardInterrupt

    def full(handle: int, data: bytes, offset: int) -> None:
        write(handle, data[: len(data) // 2], offset)
        raise OSError(28, "No space left on device")

    for failing, error in ((die, KeyboardInterrupt), (full, StoreError)):
        monkeypatch.setattr(shard_writer, "write_at", failing)
        with pytest.raises(error, match="choose another with --store" if error is StoreError else None):
            store.put("key", ONES)
        assert [path.read_bytes() for path in sorted((tmp_path / SHARDS).iterdir())] == before
    monkeypatch.setattr(shard_writer, "write_at", write)
    store.put("key", ONES)
    assert FeatureStore(tmp_path).size().entries == 2


#: Puts records until it is killed, and says after each that it is there.
WRITER = """
import sys
import numpy as np
from features.store import FeatureStore
store = FeatureStore(sys.argv[1])
for number in range(10_000):
    store.put(f"key{number}", {"a": np.full(50_000, number, np.float32)})
    print(number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_a_killed_writer_loses_at_most_the_record_in_hand(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as program:
        assert program.stdout is not None
        said = [int(program.stdout.readline()) for _ in range(40)]
        program.send_signal(signal.SIGKILL)
        said += [int(line) for line in program.stdout.read().split()]
    store = FeatureStore(tmp_path)
    for number in said:
        assert store.get(f"key{number}")["a"][0] == number
    assert len(said) <= store.size().entries <= len(said) + 1


@pytest.mark.parametrize("cut", [1, 40, 100, 3000])
def test_a_record_that_was_cut_off_is_lost_alone_and_without_a_word(tmp_path: Path, cut: int, caplog) -> None:
    store = FeatureStore(tmp_path)
    store.put("one", ONES)
    store.put("two", ONES)
    store.close()
    (path,) = shard_files(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    # As a killed writer leaves them: the index is written after the record.
    index = path.with_suffix(".index")
    index.write_bytes(index.read_bytes()[:32])
    again = FeatureStore(tmp_path)
    assert again.has("one")
    assert not again.has("two")
    assert not caplog.messages
    again.put("two", ONES)
    assert FeatureStore(tmp_path).has("two")
    assert len(shard_files(tmp_path)) == 2, "nobody writes behind half a record"


def test_two_writers_share_a_folder(tmp_path: Path) -> None:
    def write(seed: int) -> None:
        store = FeatureStore(tmp_path)
        for index in range(20):
            store.put(f"key{index}", {"a": np.full(100, index, np.float32)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    store = FeatureStore(tmp_path)
    assert store.size().entries == 20
    assert all(float(store.get(f"key{i}")["a"][0]) == i for i in range(20))


#: Puts small records, as fast as it can.
QUICK_WRITER = """
import sys
import numpy as np
from features.store import FeatureStore
store = FeatureStore(sys.argv[1])
for number in range(4000):
    store.put(f"{sys.argv[2]}{number}", {"a": np.full(8, number)})
"""


def test_a_shard_that_grows_while_it_is_read_is_not_called_damaged(tmp_path: Path, caplog) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", QUICK_WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, name], cwd=ROOT, env=environment) for name in "ab"]
    reader = FeatureStore(tmp_path)
    try:
        while any(writer.poll() is None for writer in writers):
            assert not reader.has("nobody's"), "looks at every shard anew"
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert all(reader.has(f"{name}{number}") for name in "ab" for number in range(4000))
    assert not caplog.messages


@pytest.mark.parametrize("before", [True, False])
def test_a_record_written_while_the_index_is_read_is_found_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool, caplog
) -> None:
    reader, writer = FeatureStore(tmp_path), FeatureStore(tmp_path)
    writer.put("first", ONES)
    assert reader.has("first")
    writer.put("second", ONES)
    read = Shard._indexed

    def slow(shard: Shard, start: int) -> object:
        monkeypatch.setattr(Shard, "_indexed", read)
        if before:
            writer.put("meanwhile", ONES)
        found = read(shard, start)
        if not before:
            writer.put("meanwhile", ONES)
        return found

    monkeypatch.setattr(Shard, "_indexed", slow)
    assert reader.has("second")
    monkeypatch.setattr(Shard, "_indexed", read)
    writer.put("last", ONES)
    assert reader.has("meanwhile") and reader.has("last") and reader.size().entries == 4
    assert not caplog.messages


def test_what_another_writes_is_seen_at_once(tmp_path: Path) -> None:
    reader, writer = FeatureStore(tmp_path), FeatureStore(tmp_path)
    for number in range(3):
        assert reader.get(f"key{number}") is None
        writer.put(f"key{number}", ONES)
        assert reader.get(f"key{number}") is not None


def test_a_writer_goes_on_with_a_shard_that_nobody_writes_any_more(tmp_path: Path) -> None:
    for number in range(5):
        store = FeatureStore(tmp_path)
        store.put(f"key{number}", ONES)
        store.close()
    assert len(shard_files(tmp_path)) == 1
    store = FeatureStore(tmp_path)
    assert all(store.has(f"key{number}") for number in range(5))


def test_shards_of_other_machines_are_read_and_never_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore(tmp_path)
    store.put("there", ONES)
    store.close()
    monkeypatch.setattr(shard_writer, "machine", lambda: "00000000")
    here = FeatureStore(tmp_path)
    here.put("here", ONES)
    assert here.has("there")
    assert len(shard_files(tmp_path)) == 2


def test_a_full_shard_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_writer, "SHARD_BYTES", 10_000)
    store = FeatureStore(tmp_path)
    for number in range(6):
        store.put(f"key{number}", ONES)
    assert len(shard_files(tmp_path)) == 2
    assert all(store.has(f"key{number}") for number in range(6))


def test_a_store_that_is_cleared_is_written_anew(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    store.put("one", ONES)
    shutil.rmtree(tmp_path / "store")
    store.put("two", ONES)
    assert FeatureStore(tmp_path / "store").size().entries == 1
    assert not store.has("one")


def test_many_keys_are_looked_for_at_once(tmp_path: Path) -> None:
    store, keys = FeatureStore(tmp_path), [f"key{number}" for number in range(20)]
    for key in keys[::2]:
        store.put(key, {})
    store.remove(keys[4])
    expected = [number % 2 == 0 and number != 4 for number in range(20)]
    for reader in (store, FeatureStore(tmp_path)):
        np.testing.assert_array_equal(reader.contains(digests_of(keys)), expected)
    assert not FeatureStore(tmp_path / "nothing").contains(digests_of(keys)).any()


def test_the_state_changes_with_what_is_there(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    states = [store.state()]
    for key in ("a", "b"):
        store.put(key, {})
        states.append(store.state())
    assert store.state() == states[-1]
    store.remove("a")
    assert len({*states, store.state()}) == 4


def test_an_entry_that_was_removed_is_gone_for_everybody(tmp_path: Path, caplog) -> None:
    store, other = FeatureStore(tmp_path), FeatureStore(tmp_path)
    store.put("key", ONES)
    assert other.has("key")
    assert store.remove("key")
    assert not store.remove("key")
    assert [reader.has("key") for reader in (store, other, FeatureStore(tmp_path))] == [False] * 3
    assert not caplog.messages
    store.put("key", ONES)
    assert all(reader.has("key") for reader in (store, other, FeatureStore(tmp_path)))


def test_a_store_travels_to_other_processes_as_its_folder(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.put("key", ONES)
    other = pickle.loads(pickle.dumps(store))
    assert other.root == store.root
    assert other.has("key")


def test_a_store_of_files_is_read(tmp_path: Path) -> None:
    write_earlier_entry(tmp_path, "old", ONES)
    store = FeatureStore(tmp_path)
    np.testing.assert_array_equal(store.get("old")["a"], ONES["a"])
    store.put("new", ONES)
    assert store.size().entries == 2
    assert store.remove("old")
    assert not store.has("old")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("x")
    with pytest.raises(StoreError, match="store"):
        FeatureStore(tmp_path / "store")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / SHARDS).write_text("x")
    with pytest.raises(StoreError, match="choose another with --store"):
        FeatureStore(tmp_path).put("key", ONES)
    assert FeatureStore(tmp_path).get("key") is None


def test_default_store_depends_on_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCARMATCH_STORE", raising=False)
    assert default_store(tmp_path / "a") != default_store(tmp_path / "b")
    monkeypatch.setenv("SCARMATCH_STORE", str(tmp_path / "mine"))
    assert default_store(tmp_path / "a") == tmp_path / "mine"


def test_entries_of_one_key_are_looked_through_in_their_order() -> None:
    rng = np.random.default_rng(0)
    halves = rng.integers(0, 12, (400, 2)).astype(np.uint64)  # many share one half, some both
    digests = [int(a).to_bytes(8, "little") + int(b).to_bytes(8, "little") + bytes(16) for a, b in halves]
    table, expected = EntryTable(), {}
    entries = [make_entry(digest, 64 * number, 64) for number, digest in enumerate(digests)]
    for start in (0, 150):
        table.add(np.concatenate(entries[start : start + 150]))
    dead = np.concatenate(entries[300:])
    dead["length"] |= DEAD
    table.add(dead)
    for number, digest in enumerate(digests[:300]):
        expected.setdefault(digest, []).insert(0, (64 * number, 64))
    assert sorted_entries(np.concatenate(entries[::-1])).tolist() == sorted(
        np.concatenate(entries).tolist(), key=lambda entry: (entry[0], entry[2])
    )
    asked = np.concatenate([halves, rng.integers(0, 14, (50, 2)).astype(np.uint64)])
    known = {tuple(row) for row in halves[:300].tolist()}
    for _ in range(2):  # looked up one by one, and sorted
        assert all(table.find(digest) == expected.get(digest, []) for digest in digests)
        assert table.contains(asked).tolist() == [tuple(row) in known for row in asked.tolist()]
    table.take_out(digests[0], 0)
    assert table.find(digests[0]) == [place for place in expected[digests[0]] if place[0]]
    assert table.contains(halves[:1])[0] == (len(expected[digests[0]]) > 1)
