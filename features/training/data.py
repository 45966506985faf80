"""Photographs ready for training: decoded once, head up, a little larger than the network's input, in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.network_input import network_picture, prepared_size
from features.records import ByteArray


def split_half(individual_id: str, seed: int = 0) -> int:
    """0 or 1: the half an individual belongs to, from a hash of its name, the same on every machine.

    Half 0 trains descriptors, half 1 is held out: it measures them, and everything that is built on honest descriptors
    (ranker, calibration) learns from it.
    """
    return int(hashlib.sha256(f"split-{seed}:{individual_id}".encode()).hexdigest(), 16) % 2


def fold_of(individual_id: str, folds: int, seed: int = 0) -> int:
    """0 .. folds - 1: the fold of an individual, grouped by individual, from a hash of its name."""
    return int(hashlib.sha256(f"fold-{seed}:{individual_id}".encode()).hexdigest(), 16) % folds


def box_of(value: Any) -> tuple[int, int, int, int] | None:
    """The box of a catalogue row; None where the cell is empty, however pandas writes that."""
    if not isinstance(value, tuple | list):
        return None
    x, y, width, height = value
    return int(x), int(y), int(width), int(height)


def canonical_input(row: pd.Series, size: tuple[int, int], kind: str = "colour") -> ByteArray:
    """Read one photograph of a catalogue as a network is shown it (:func:`features.network_input.network_picture`).

    Raises:
        PhotoError: the file cannot be read.
    """
    from features.photo import canonical_frame, read_photo

    photo = read_photo(row["path"], box_of(row.get("box")))
    return network_picture(photo, canonical_frame(photo.size, row["viewpoint"]), size, kind)


@dataclass(frozen=True, eq=False)
class PhotoCache:
    """Photographs in memory.

    Attributes:
        table: (N rows) the catalogue rows, RangeIndex, in the order of ``images``.
        images: (N, H, W, 3) uint8.
        skipped: image ids that could not be read, with the reason.
    """

    table: pd.DataFrame
    images: npt.NDArray[np.uint8]
    skipped: dict[str, str]

    @classmethod
    def read(
        cls,
        table: pd.DataFrame,
        input_size: tuple[int, int],
        read: Callable[[pd.Series, tuple[int, int]], ByteArray] = canonical_input,
        progress: Callable[[int, int], None] | None = None,
    ) -> PhotoCache:
        """Decode all photographs of a table once; one that cannot be read is left out and named in ``skipped``."""
        size = prepared_size(input_size)
        images = np.empty((len(table), size[1], size[0], 3), np.uint8)
        skipped: dict[str, str] = {}
        kept: list[int] = []
        for i, (_, row) in enumerate(table.iterrows()):
            try:
                images[len(kept)] = read(row, size)
                kept.append(i)
            except (OSError, ValueError) as error:
                skipped[str(row["image_id"])] = str(error)
            if progress is not None:
                progress(i + 1, len(table))
        return cls(table.iloc[kept].reset_index(drop=True), images[: len(kept)], skipped)

    def subset(self, rows: npt.NDArray[np.integer]) -> PhotoCache:
        """The photographs of some rows (copies)."""
        return PhotoCache(self.table.iloc[rows].reset_index(drop=True), self.images[rows], {})


def class_labels(individual_ids: pd.Series, minimum: int) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Class number of every photograph, and the classes' names.

    The number is -1 for unknown individuals and those with fewer than ``minimum`` photographs.
    """
    counts = individual_ids.value_counts()
    names = sorted(str(name) for name, n in counts.items() if n >= minimum)
    number = {name: i for i, name in enumerate(names)}
    labels = [number.get(str(value), -1) if pd.notna(value) else -1 for value in individual_ids]
    return np.array(labels, np.int64), names
