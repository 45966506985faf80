"""Descriptions that are kept together are those of the store's records, and no record is read for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.retrieval.vectors import VectorFiles
from engine.search.matcher import MatcherSettings
from features.describe import Describer, content_key
from features.described_files import VECTORS, DescribedFiles, short
from features.known_files import KnownFiles
from features.records import Description, Failure, PhotoRef
from features.store import FeatureStore
from features.store.feature_store import digests_of

Look = Callable[[], list[Description | Failure | None]]


@pytest.fixture
def refs(tmp_path: Path) -> list[PhotoRef]:
    found = []
    for number in range(6):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(b"photograph %d" % number)
        found.append(PhotoRef(f"p{number}", path, "top"))
    return found


@pytest.fixture
def describer(refs: list[PhotoRef], tmp_path: Path, small_settings: MatcherSettings) -> Describer:
    """The first five are described, as far as the store knows."""
    store = FeatureStore(tmp_path / "store")
    found = Describer(small_settings.describe, store)
    rng = np.random.default_rng(0)
    for ref in refs[:5]:
        vector, summary, *others = found.store_keys(content_key(ref))
        store.put(vector, {"vector": rng.standard_normal(12).astype(np.float32)})
        store.put(summary, {"summary": np.array([40, 30, 9, rng.random(), rng.random()])})
        for other in others:
            store.put(other, {"any": np.zeros(1)})
    return found


def looked_up(describer: Describer, refs: list[PhotoRef], root: Path) -> list[Description | Failure | None]:
    """What opening a catalogue knows: those kept together, and the others by their records."""
    assert describer.store is not None
    files = KnownFiles(describer.store, root)
    keys = [content_key(ref, files.digest(ref.path)) for ref in refs]
    described = DescribedFiles(describer.store.root, describer)
    here, found = described.find([ref.image_id for ref in refs], keys, describer.store)
    rest = iter(describer.lookup_many([ref for ref, own in zip(refs, here, strict=True) if not own], files))
    return [found[row] if own else next(rest) for row, own in enumerate(here)]


def test_they_are_those_of_the_records(
    describer: Describer, refs: list[PhotoRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = describer.store
    assert store is not None
    read: list[str] = []
    get = store.get
    monkeypatch.setattr(store, "get", lambda key: read.append(key.split(":")[0]) or get(key))
    before = looked_up(describer, refs, tmp_path)
    assert read.count("global") == 5 and before[5] is None
    own = [item for item in before if isinstance(item, Description)]
    for part in (own[:3], own[3:4]):
        vectors = VectorFiles(store.root / VECTORS / short(describer.global_fingerprint()))
        vectors.add(digests_of([item.key for item in part]), np.stack([item.vector for item in part]))
        DescribedFiles(store.root, describer).add(part)
    read.clear()
    after = looked_up(describer, refs, tmp_path)
    assert read.count("global") == 1, "of the one that is not kept together"
    assert after[5] is None
    for one, other in zip(before[:5], after[:5], strict=True):
        assert isinstance(one, Description) and isinstance(other, Description)
        np.testing.assert_array_equal(one.vector, other.vector)
        assert (one.image_id, one.key, one.numbers) == (other.image_id, other.key, other.numbers)
    store.remove(describer.store_keys(own[1].key)[3])
    assert [item is None for item in looked_up(describer, refs, tmp_path)] == [False, True, *[False] * 3, True]
