"""The store is a cache that is never trusted: whatever is not what was put in counts as missing, and is said once."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

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
