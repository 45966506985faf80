"""Tables of descriptors on disk: what is written is mapped back, and damage counts as missing."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from engine.matching.exhaustive import DescriptorTable
from engine.matching.table_file import read_table, write_table


@pytest.fixture
def table() -> DescriptorTable:
    rng = np.random.default_rng(0)
    sets = [rng.integers(-127, 128, (count, 16)).astype(np.int8) for count in (5, 0, 3)]
    return DescriptorTable.of(sets)


def test_a_table_comes_back_mapped(tmp_path: Path, table: DescriptorTable) -> None:
    write_table(tmp_path / "new", "one", table)
    back = read_table(tmp_path / "new", "one")
    assert back is not None and isinstance(back.codes, np.memmap)
    np.testing.assert_array_equal(back.codes, table.codes)
    assert back.offsets.tolist() == [0, 5, 5, 8] and len(back) == 3
    assert read_table(tmp_path / "new", "two") is None and read_table(tmp_path / "nowhere", "one") is None


@pytest.mark.parametrize("part", ["codes", "offsets"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_table_counts_as_missing(tmp_path: Path, table: DescriptorTable, part: str, damage: str) -> None:
    write_table(tmp_path, "one", table)
    path = tmp_path / f"one.{part}.npy"
    data = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        data[-3] ^= 0x10
        path.write_bytes({"flip": data, "cut": data[:-5], "empty": b""}[damage])
    assert read_table(tmp_path, "one") is None


def test_old_tables_go(tmp_path: Path, table: DescriptorTable) -> None:
    for number in range(6):
        write_table(tmp_path, f"t{number}", table)
        os.utime(tmp_path / f"t{number}.offsets.npy", (number, number))
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [f"t{number}.{part}.npy" for number in (2, 3, 4, 5) for part in ("codes", "offsets")]


def test_a_table_without_any_keypoint(tmp_path: Path) -> None:
    write_table(tmp_path, "none", DescriptorTable.of([np.zeros((0, 16), np.int8)] * 2))
    back = read_table(tmp_path, "none")
    assert back is not None and len(back) == 2 and len(back.codes) == 0
