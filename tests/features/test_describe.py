"""One photograph's description: what it is known by, what the store saves, and what a bad file does."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.body_frame import find_body_frame
from features.describe import Describer, content_key
from features.photo import PhotoError
from features.records import Description, Failure, PhotoRef
from features.skin.picture import flattened_skin
from features.store import FeatureStore
from scarmatch.settings import SettingsError


@pytest.fixture
def ref(made_up_dir: Path) -> PhotoRef:
    return PhotoRef("a", sorted((made_up_dir / "images").glob("*.jpg"))[0], "top")


def test_known_by_content_never_by_name(ref: PhotoRef, tmp_path: Path) -> None:
    copy = tmp_path / "other.jpg"
    shutil.copy(ref.path, copy)
    key = content_key(ref)
    assert content_key(PhotoRef("b", copy, "top")) == key
    assert content_key(replace(ref, viewpoint="left")) != key
    assert content_key(replace(ref, box=(0, 0, 40, 40))) != key
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert content_key(PhotoRef("b", copy, "top")) != key


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"gone\.jpg"):
        content_key(PhotoRef("a", tmp_path / "gone.jpg"))


def test_describes_once_and_remembers(small_settings, ref: PhotoRef, tmp_path: Path, monkeypatch) -> None:
    describer = Describer(small_settings.describe, FeatureStore(tmp_path))
    first = next(iter(describer.describe([ref])))
    assert isinstance(first, Description)
    np.testing.assert_allclose(np.linalg.norm(first.vector), 1.0, atol=1e-5)
    features = describer.local(first.key)
    assert len(features) == first.n_keypoints > 0
    assert features.frame.size == first.size

    def fail(self: Describer, item: PhotoRef) -> None:
        raise AssertionError("a photograph that the store knows was read again")

    monkeypatch.setattr(Describer, "read", fail)
    again = next(iter(Describer(small_settings.describe, FeatureStore(tmp_path)).describe([ref])))
    np.testing.assert_array_equal(again.vector, first.vector)
    assert (again.n_keypoints, again.size, again.sharpness) == (first.n_keypoints, first.size, first.sharpness)


def test_a_photograph_is_described_in_every_rotation(
    small_settings, ref: PhotoRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upright = Describer(small_settings.describe, FeatureStore(tmp_path))
    once = next(iter(upright.describe([ref])))
    assert isinstance(once, Description) and upright.rotated_keys(once.key) == (once.key,)
    settings = small_settings.describe.replace(rotations=8)
    describer = Describer(settings, FeatureStore(tmp_path))
    assert describer.lookup(ref) is None, "what was described upright alone is not described"
    (described,) = describer.describe([ref])
    assert isinstance(described, Description) and described.key == once.key
    keys = describer.rotated_keys(described.key)
    assert len(set(keys)) == 8 and keys[0] == described.key
    assert describer.rotated_keys(keys[3]) == (keys[3],)
    photo, frame = describer.read(ref)
    for number, key in enumerate(keys):
        turned = frame.rotated(45.0 * number)
        features = describer.local(key)
        assert features.frame == turned
        found = describer.extractor.extract(photo, turned, describer.regions(photo, turned))
        np.testing.assert_array_equal(features.xy, found.xy)
        assert describer.skin(key).frame == turned and len(describer.skin(key)) > 50
        # The same animal, whichever way the picture lies: the middle of its keypoints stays.
        middles = features.xy.mean(axis=0), describer.local(keys[0]).xy.mean(axis=0)
        np.testing.assert_allclose(*middles, atol=0.1 * max(photo.size))
    monkeypatch.setattr(Describer, "read", None)
    assert Describer(settings, FeatureStore(tmp_path)).lookup(ref) is not None
    with pytest.raises(SettingsError, match="rotations=0"):
        settings.replace(rotations=0)


@pytest.mark.parametrize("lateral", [False, True])
def test_the_store_gives_back_what_was_found(small_settings, made_up_dir: Path, tmp_path: Path, lateral: bool) -> None:
    table = pd.read_csv(made_up_dir / "metadata.csv")
    row = table[(table["viewpoint"] != "top") == lateral].iloc[0]
    viewpoint = str(row["viewpoint"])
    ref = PhotoRef("a", made_up_dir / str(row["path"]), viewpoint)
    describer = Describer(small_settings.describe, FeatureStore(tmp_path))
    description = next(iter(describer.describe([ref])))
    assert isinstance(description, Description)
    photo, frame = describer.read(ref)
    regions = describer.regions(photo, frame)
    assert photo.size[0] != photo.size[1], "a square photograph would hide swapped sides"
    assert description.size == photo.size
    assert (description.body_share, description.sharpness) == (regions.body_share, regions.sharpness)
    body = find_body_frame(regions, frame, viewpoint)
    for stored, found in (
        (describer.local(description.key), describer.extractor.extract(photo, frame, regions)),
        (describer.skin(description.key), describer.skin_extractor.extract(photo, frame, regions)),
    ):
        assert (stored.frame, stored.kind) == (frame, found.kind)
        for array in ("xy", "scores", "descriptors", "marks", "body"):
            np.testing.assert_array_equal(getattr(stored, array), getattr(found, array), array)
        assert stored.body_xy is not None
        np.testing.assert_allclose(stored.body_xy, body.to_body(found.canonical_xy), atol=1e-4)
    np.testing.assert_array_equal(describer.picture(description.key), flattened_skin(photo, frame, regions))


@pytest.mark.parametrize(
    "part", ["_global_key", "_summary_key", "_local_key", "_skin_key", "_picture_key", "_body_key"]
)
def test_a_photograph_is_known_only_while_all_of_its_parts_are(
    small_settings, ref: PhotoRef, tmp_path: Path, part: str
) -> None:
    store = FeatureStore(tmp_path)
    describer = Describer(small_settings.describe, store)
    description = next(iter(describer.describe([ref])))
    assert isinstance(description, Description)
    assert describer.lookup(ref) is not None
    assert store.remove(getattr(describer, part)(description.key))
    assert describer.lookup(ref) is None


def test_a_vector_does_not_depend_on_its_company(small_settings, made_up_dir: Path) -> None:
    paths = sorted((made_up_dir / "images").glob("*.jpg"))[:3]
    refs = [PhotoRef(path.stem, path, "top") for path in paths]
    describer = Describer(small_settings.describe, None)
    together = list(describer.describe(refs))
    for ref, found in zip(refs, together, strict=True):
        alone = next(iter(describer.describe([ref])))
        np.testing.assert_array_equal(alone.vector, found.vector)


def test_bad_files_are_failures_in_their_place(small_settings, ref: PhotoRef, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    refs = [PhotoRef("gone", tmp_path / "gone.jpg"), ref, PhotoRef("text", tmp_path / "text.jpg")]
    found = list(Describer(small_settings.describe, FeatureStore(tmp_path / "store")).describe(refs))
    assert [type(item) for item in found] == [Failure, Description, Failure]
    assert all("jpg" in item.reason for item in found if isinstance(item, Failure))


def test_local_features_that_the_store_lost_are_a_key_error(small_settings, tmp_path: Path) -> None:
    describer = Describer(small_settings.describe, FeatureStore(tmp_path))
    for part in (describer.local, describer.picture, describer.body_frame):
        with pytest.raises(KeyError):
            part("nothing")
