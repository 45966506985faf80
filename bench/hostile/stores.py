"""Hostile stores: shards, their indexes, entries of earlier versions and the file of pairs, with flipped bits, cut,
swapped, of other stores and other versions."""

from __future__ import annotations

import random
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from bench.hostile.batches import Judge, run_in_batches
from bench.hostile.damage import damaged
from bench.hostile.outcome import Outcome
from engine.matching.pair_cache import PairCache
from features.store import FeatureStore
from features.store.earlier_layout import entry_path
from features.store.record import key_digest

KEYS = tuple(f"local:{number}" for number in range(6))
#: Of these, as many are kept in files of the earlier layout.
EARLIER = 2
RECORD = np.dtype([("matches", np.float32), ("inliers", np.float32), ("residual", np.float32)])
CANDIDATES = tuple(f"c{number}" for number in range(12))


@dataclass(frozen=True, eq=False)
class Sound:
    """What a store holds: arrays by key, and records of pairs; and the bytes of its files."""

    arrays: dict[str, dict[str, npt.NDArray]]
    records: npt.NDArray
    files: dict[Path, bytes]


def run(count: int, seed: int, folder: Path) -> Outcome:
    """Read ``count`` damaged stores; *silent* is an answer that is neither what was kept nor "not known"."""
    return run_in_batches("stores", count, seed, folder)


def prepare(folder: Path) -> Sound:
    """Fill a store."""
    shutil.rmtree(folder / "store", ignore_errors=True)
    rng = np.random.default_rng(0)
    arrays: dict[str, dict[str, npt.NDArray]] = {
        key: {"xy": rng.random((40, 2), np.float32), "descriptors": rng.random((40, 16), np.float32).astype(np.float16)}
        for key in KEYS
    }
    for part in (KEYS[:2], KEYS[2:-EARLIER]):
        store = FeatureStore(folder / "store")
        for key in part:
            store.put(key, arrays[key])
        if part == KEYS[:2]:
            first = store  # it goes on writing its shard, so that the other has one of its own
    store.close()
    first.close()
    for key in KEYS[-EARLIER:]:
        write_earlier_entry(folder / "store", key, arrays[key])
    records = np.array([(n, n / 2, n / 7) for n in range(len(CANDIDATES))], RECORD)
    cache = _pairs(folder)
    cache.put("query", CANDIDATES, records)
    cache.close()
    files = {path.relative_to(folder): path.read_bytes() for path in (folder / "store").rglob("*") if path.is_file()}
    return Sound(arrays, records, files)


def make(sound: Sound, chance: random.Random, folder: Path) -> tuple[str, Judge]:
    """Put a sound store there, and damage a file or two of it."""
    shutil.rmtree(folder / "store")
    for name, data in sound.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    done = []
    for _ in range(chance.choice((1, 1, 2))):
        name = chance.choice(sorted(sound.files))
        change = chance.choice((_damage, _damage, _damage, _swap, _replace_by_folder, _remove, _earlier_version))
        done.append(f"{name.name}: {change(folder / name, sound, chance, folder)}")
    return " + ".join(done), lambda: _judge(sound, folder)


def _judge(sound: Sound, folder: Path) -> str | None:
    store = FeatureStore(folder / "store")
    for key, arrays in sound.arrays.items():
        known = store.has(key)
        found = store.get(key)
        if known != (found is not None):
            return f"{key} is said to be there and is not, or the other way round"
        if found is not None and not _equal(found, arrays):
            return f"{key} has other arrays"
        if found is None:
            store.put(key, arrays)
            if not _equal(store.get(key) or {}, arrays):
                return f"{key} was not kept anew"
    store.close()
    again = FeatureStore(folder / "store")
    for key, arrays in sound.arrays.items():
        if not _equal(again.get(key) or {}, arrays):
            return f"{key} was not there when the store was opened again"
    again.close()
    for _ in range(2):
        cache = _pairs(folder)
        records, measured = cache.get("query", CANDIDATES)
        for number in np.flatnonzero(measured).tolist():
            if records[number] != sound.records[number]:
                return f"the pair with {CANDIDATES[number]} has other numbers"
        cache.put("query", CANDIDATES, sound.records)
        cache.close()
    return None


def write_earlier_entry(root: Path, key: str, arrays: dict[str, npt.NDArray]) -> Path:
    """Write an entry as stores of earlier versions kept them, one file each; return the file."""
    digest, payload = key_digest(key), save(arrays)
    path = entry_path(root, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    crc = zlib.crc32(payload, zlib.crc32(digest)).to_bytes(4, "big")
    path.write_bytes(b"scarmatch entry\n" + digest + crc + payload)
    return path


def _pairs(folder: Path) -> PairCache:
    return PairCache(folder / "store" / "pairs.sqlite", "fingerprint", RECORD)


def _equal(found: dict[str, npt.NDArray], arrays: dict[str, npt.NDArray]) -> bool:
    return found.keys() == arrays.keys() and all(
        found[name].dtype == values.dtype and np.array_equal(found[name], values) for name, values in arrays.items()
    )


def _damage(path: Path, sound: Sound, chance: random.Random, folder: Path) -> str:
    if not path.is_file():
        return "nothing left"
    name, data = damaged(path.read_bytes() or b"\0", chance)
    path.write_bytes(data)
    return name


def _swap(path: Path, sound: Sound, chance: random.Random, folder: Path) -> str:
    other = chance.choice(sorted(sound.files))
    if path.is_file():
        path.write_bytes(sound.files[other])
    return f"is {other.name}"


def _replace_by_folder(path: Path, sound: Sound, chance: random.Random, folder: Path) -> str:
    path.unlink(missing_ok=True) if not path.is_dir() else None
    path.mkdir(exist_ok=True)
    return "is a folder"


def _remove(path: Path, sound: Sound, chance: random.Random, folder: Path) -> str:
    if path.is_file():
        path.unlink()
    return "is gone"


def _earlier_version(path: Path, sound: Sound, chance: random.Random, folder: Path) -> str:
    if path.is_file():
        path.write_bytes(save(sound.arrays[chance.choice(KEYS)]))
    return "is of an earlier version"
