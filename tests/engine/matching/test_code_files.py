"""Quantised descriptors beside the store are given back to the bit, grow, and are left where they are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.matching import code_files
from engine.matching.code_files import CodeFiles
from engine.matching.exhaustive import Codes
from features.store.segments import take_out_damaged

DIGESTS = np.random.default_rng(0).integers(0, 2**64, (9, 2), np.uint64)


@pytest.fixture
def codes() -> list[Codes]:
    rng = np.random.default_rng(1)
    return [rng.integers(-127, 128, (count, 8)).astype(np.int8) for count in (3, 5, 1, 4, 2, 6, 3, 2, 1)]


def assert_same(found: list[Codes | None], expected: list[Codes]) -> None:
    for own, other in zip(found, expected, strict=True):
        assert own is not None
        np.testing.assert_array_equal(own, other)


def test_codes_come_back_to_the_bit_in_any_order(tmp_path: Path, codes: list[Codes], monkeypatch) -> None:
    monkeypatch.setattr(code_files, "_MOST", 6)
    files = CodeFiles.of(tmp_path, "made")
    for start, stop in ((0, 1), (1, 3), (3, 8)):
        files.add(DIGESTS[start:stop], codes[start:stop])
    assert [len(segment) for segment in files.segments] == [3, 5]
    order = [7, 0, 3, 3]
    assert_same(files.take(DIGESTS[order]), [codes[k] for k in order])
    assert files.missing(DIGESTS).tolist() == [False] * 8 + [True]
    assert files.take(DIGESTS[8:]) == [None]


def test_what_others_add_is_seen(tmp_path: Path, codes: list[Codes]) -> None:
    reader = CodeFiles.of(tmp_path, "made")
    assert reader.take(DIGESTS[:1]) == [None]
    CodeFiles.of(tmp_path, "made").add(DIGESTS[:2], codes[:2])
    assert_same(reader.take(DIGESTS[:2]), codes[:2])
    assert CodeFiles.of(tmp_path, "another").take(DIGESTS[:1]) == [None]


def test_photographs_without_keypoints_are_no_gap(tmp_path: Path, codes: list[Codes]) -> None:
    files = CodeFiles.of(tmp_path, "made")
    files.add(DIGESTS[:1], [np.zeros((0, 1), np.int8)])
    files.add(DIGESTS[1:3], [codes[1], np.zeros((0, 8), np.int8)])
    found = files.take(DIGESTS[:3])
    assert [len(part) for part in found if part is not None] == [0, 5, 0]


def test_a_damaged_photograph_is_named_and_left_to_the_store(tmp_path: Path, codes: list[Codes], caplog) -> None:
    CodeFiles.of(tmp_path, "made").add(DIGESTS[:3], codes[:3])
    (path,) = tmp_path.glob("keypoints/*/*/codes.npy")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # of the third
    path.write_bytes(data)
    files = CodeFiles.of(tmp_path, "made")
    assert_same(files.take(DIGESTS[:2]), codes[:2])
    assert files.take(DIGESTS[[2, 2]]) == [None, None]
    (message,) = caplog.messages
    assert "are damaged" in message and "scarmatch store verify" in message
    assert take_out_damaged(files.folder) == [path]
    assert CodeFiles.of(tmp_path, "made").missing(DIGESTS[:3]).all()
