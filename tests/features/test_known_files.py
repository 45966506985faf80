"""A file that has not changed is not read again, and one that has always is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from features import known_files
from features.known_files import KnownFiles
from features.photo import PhotoError, photo_digest
from features.store import FeatureStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that were written a while ago, as far as their times tell."""
    for name in ("a.jpg", "b\xe9.jpg", "c\udcff.jpg"):
        path = tmp_path / "photographs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode(errors="surrogateescape") * 3)
    return tmp_path / "photographs"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read; the clock stands a minute later than the files'."""
    names: list[str] = []

    def digest(path: Path) -> str:
        names.append(path.name)
        return photo_digest(path)

    now = time.time
    monkeypatch.setattr(known_files, "photo_digest", digest)
    monkeypatch.setattr(known_files.time, "time", lambda: now() + 60)
    return names


def digests(folder: Path, root: Path) -> dict[str, str]:
    files = KnownFiles(FeatureStore(root), folder)
    found = {path.name: files.digest(path) for path in sorted(folder.iterdir())}
    files.save()
    assert found == {path.name: photo_digest(path) for path in folder.iterdir()}
    return found


def test_unchanged_files_are_read_once(folder: Path, tmp_path: Path, read: list[str]) -> None:
    first = digests(folder, tmp_path / "store")
    assert len(read) == 3
    assert digests(folder, tmp_path / "store") == first
    assert len(read) == 3
    size = FeatureStore(tmp_path / "store").size()
    digests(folder, tmp_path / "store")
    assert FeatureStore(tmp_path / "store").size() == size, "nothing is written where nothing was learned"


def test_a_file_that_was_edited_replaced_or_touched_is_read(folder: Path, tmp_path: Path, read: list[str]) -> None:
    digests(folder, tmp_path / "store")
    read.clear()
    path = folder / "a.jpg"
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)  # the same length, and the same time of modification
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    digests(folder, tmp_path / "store")
    assert read == ["a.jpg"]
    other = folder / "b\xe9.jpg"
    twin = other.with_name("d.jpg")
    twin.write_bytes(b"y" * other.stat().st_size)
    twin.replace(other)
    digests(folder, tmp_path / "store")
    assert read == ["a.jpg", "b\xe9.jpg"]


def test_a_file_that_was_just_written_is_not_remembered(folder: Path, tmp_path: Path, read, monkeypatch) -> None:
    monkeypatch.setattr(known_files.time, "time", lambda: (folder / "a.jpg").stat().st_mtime + 0.5)
    for _ in range(2):
        digests(folder, tmp_path / "store")
    assert len(read) == 6


def test_a_file_that_went_is_a_photo_error(folder: Path, tmp_path: Path, read: list[str]) -> None:
    digests(folder, tmp_path / "store")
    (folder / "a.jpg").unlink()
    with pytest.raises(PhotoError):
        KnownFiles(FeatureStore(tmp_path / "store"), folder).digest(folder / "a.jpg")
    digests(folder, tmp_path / "store")
    assert len(KnownFiles(FeatureStore(tmp_path / "store"), folder)) == 2


def test_folders_have_memories_of_their_own(folder: Path, tmp_path: Path, read: list[str]) -> None:
    store = FeatureStore(tmp_path / "store")
    digests(folder, store.root)
    assert len(KnownFiles(store, folder)) == 3
    assert not len(KnownFiles(store, tmp_path))


def test_a_store_that_cannot_be_written_remembers_nothing(folder: Path, tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "shards").write_text("x")
    assert len(digests(folder, tmp_path / "store")) == 3


def test_a_part_of_a_catalogue_that_is_opened_alone_makes_nobody_forget_the_rest(
    folder: Path, tmp_path: Path, read: list[str]
) -> None:
    digests(folder, tmp_path / "store")
    part = KnownFiles(FeatureStore(tmp_path / "store"), folder)
    part.digest(folder / "a.jpg")
    part.save()
    assert len(KnownFiles(FeatureStore(tmp_path / "store"), folder)) == 3
    (folder / "a.jpg").write_bytes(b"edited")
    part = KnownFiles(FeatureStore(tmp_path / "store"), folder)
    part.digest(folder / "a.jpg")
    part.save()
    read.clear()
    digests(folder, tmp_path / "store")
    assert read == [], "what was learned of a part is remembered with the rest"


def test_many_at_once_are_what_each_is_alone(folder: Path, tmp_path: Path, read: list[str]) -> None:
    digests(folder, tmp_path / "store")
    (folder / "c\udcff.jpg").write_bytes(b"edited")
    names = ["gone.jpg", "b\xe9.jpg", "c\udcff.jpg", "a.jpg"]
    read.clear()
    files = KnownFiles(FeatureStore(tmp_path / "store"), folder)
    gone, *found = files.digests([str(folder / name) for name in names])
    assert isinstance(gone, PhotoError)
    assert found == [photo_digest(folder / name) for name in names[1:]]
    assert read == ["gone.jpg", "c\udcff.jpg"]
    assert files.digests([str(folder / "c\udcff.jpg")]) == [found[1]]
    assert len(read) == 2, "what was read a moment ago is known"
