"""Photographs ready for training: decoded once, head up, a little larger than the network's input, in memory."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.global_descriptor.network_input import network_picture, prepared_size
from features.photo import canonical_frame, read_photo
from features.regions import find_regions
from features.training.degrade import degrade


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


def canonical_input(
    row: pd.Series, size: tuple[int, int], copies: int, rng: np.random.Generator, kind: str = "colour"
) -> npt.NDArray[np.uint8]:
    """Read one photograph of a catalogue as a network is shown it
    (:func:`features.global_descriptor.network_input.network_picture`).

    Args:
        row: of the catalogue's table, perhaps with a column ``more_boxes``: further boxes of the photograph.
        size: (width, height).
        copies: so many worse copies of the photograph beside it (:func:`features.training.degrade.degrade`).
        rng: draws what is done to them.
        kind: of input.

    Returns:
        (1 + copies + further boxes, height, width, 3) uint8, the photograph in the catalogue's own box first.

    Raises:
        PhotoError: the file cannot be read.
    """
    more = row.get("more_boxes")
    pictures = []
    for number, box in enumerate((box_of(row.get("box")), *(more if isinstance(more, tuple) else ()))):
        photo = read_photo(row["path"], box)
        frame = canonical_frame(photo.size, row["viewpoint"])
        # The body is where it is, however poor a copy: found once.
        regions = find_regions(photo, frame) if kind != "colour" else None
        pictures.append(network_picture(photo, frame, size, kind, regions))
        for _ in range(0 if number else copies):
            worse = dataclasses.replace(photo, rgb=degrade(photo.rgb, rng))
            pictures.append(network_picture(worse, frame, size, kind, regions))
    return np.stack(pictures)


#: (row, size, copies, generator) -> (at least 1 + copies, height, width, 3) uint8.
Reader = Callable[[pd.Series, tuple[int, int], int, np.random.Generator], npt.NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class PhotoCache:
    """Photographs in memory.

    Attributes:
        table: (N rows) the catalogue rows, RangeIndex, in the order of ``images``.
        images: (N, H, W, 3) uint8.
        skipped: image ids that could not be read, with the reason.
        copies: for each photograph (C, H, W, 3) uint8 other pictures of it (C may differ): worse copies, and what its
            further boxes hold; empty where there are none.
    """

    table: pd.DataFrame
    images: npt.NDArray[np.uint8]
    skipped: dict[str, str]
    copies: tuple[npt.NDArray[np.uint8], ...] = ()

    @classmethod
    def read(
        cls,
        table: pd.DataFrame,
        input_size: tuple[int, int],
        read: Reader = canonical_input,
        progress: Callable[[int, int], None] | None = None,
        copies: Sequence[int] | None = None,
        seed: int = 0,
    ) -> PhotoCache:
        """Decode all photographs of a table once; one that cannot be read is left out and named in ``skipped``.

        Args:
            table: a catalogue's table.
            input_size: (width, height) of the network's input.
            read: reads one photograph; in colour by default.
            progress: called with (done, total).
            copies: number of worse copies for each row.
            seed: of what is done to the copies.
        """
        size = prepared_size(input_size)
        images = np.empty((len(table), size[1], size[0], 3), np.uint8)
        worse: list[npt.NDArray[np.uint8]] = []
        skipped: dict[str, str] = {}
        kept: list[int] = []
        for i, (_, row) in enumerate(table.iterrows()):
            try:
                pictures = read(row, size, copies[i] if copies is not None else 0, np.random.default_rng([seed, i]))
                images[len(kept)] = pictures[0]
                worse.append(pictures[1:])
                kept.append(i)
            except (OSError, ValueError) as error:
                skipped[str(row["image_id"])] = str(error)
            if progress is not None:
                progress(i + 1, len(table))
        every = tuple(worse) if copies is not None else ()
        return cls(table.iloc[kept].reset_index(drop=True), images[: len(kept)], skipped, every)

    def subset(self, rows: npt.NDArray[np.integer]) -> PhotoCache:
        """The photographs of some rows (copies)."""
        chosen = tuple(self.copies[int(row)] for row in rows) if self.copies else ()
        return PhotoCache(self.table.iloc[rows].reset_index(drop=True), self.images[rows], {}, chosen)


def from_above(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """True for the photographs of a table taken from above, and for those whose viewpoint is not known."""
    return (table["viewpoint"].isna() | (table["viewpoint"] == "top")).to_numpy(bool)


def teaching_rows(table: pd.DataFrame, held_out: str, views: str = "top") -> pd.DataFrame:
    """Return the rows of a catalogue's table that local descriptors learn from: labelled, of the wanted views.

    Args:
        held_out: "half" leaves out the half 1 of :func:`split_half`, "none" nobody.
        views: "top" for photographs from above and of unknown views, "all" for every view.
    """
    labelled = table[table["individual_id"].notna()]
    rows = labelled if views == "all" else labelled[from_above(labelled)]
    return rows[[split_half(str(name)) == 0 for name in rows["individual_id"]]] if held_out == "half" else rows


def class_labels(individual_ids: pd.Series, minimum: int) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Class number of every photograph, and the classes' names.

    The number is -1 for unknown individuals and those with fewer than ``minimum`` photographs.
    """
    counts = individual_ids.value_counts()
    names = sorted(str(name) for name, n in counts.items() if n >= minimum)
    number = {name: i for i, name in enumerate(names)}
    labels = [number.get(str(value), -1) if pd.notna(value) else -1 for value in individual_ids]
    return np.array(labels, np.int64), names
