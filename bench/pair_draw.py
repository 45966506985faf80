"""Pairs of photographs drawn by seed: true pairs of several kinds, and impostors that are as hard as they come."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import Catalog

TRUE_KINDS = ("same encounter", "other encounter, same year", "other year", "lateral and top")
IMPOSTOR_KINDS = ("any two", "same day", "same second", "two, lateral and top")
#: Views that differ are as hard for impostors, so each is compared with its like.
MIXED_KINDS = ("lateral and top", "two, lateral and top")
PARTS = ("tuning", "test", "all")


@dataclass(frozen=True)
class DrawnPair:
    """One pair: two image ids, its kind, and the individual of the first."""

    image_id0: str
    image_id1: str
    kind: str
    individual: str

    @property
    def same(self) -> bool:
        """Whether both show the same individual."""
        return self.kind in TRUE_KINDS


def part_of(individual: str) -> str:
    """Return "tuning" or "test", from a hash of the individual's name."""
    return PARTS[int(hashlib.sha256(f"pairs:{individual}".encode()).hexdigest(), 16) % 2]


def draw_pairs(catalog: Catalog, count: int, part: str = "test", seed: int = 0) -> list[DrawnPair]:
    """Draw up to ``count`` pairs of each kind (twice as many of any two whales), individuals in turn.

    Args:
        catalog: labelled, with dates and encounters.
        count: pairs of a kind.
        part: which whales: "tuning", "test" or "all".
        seed: of the draw.
    """
    table = catalog.table[catalog.table["individual_id"].notna()]
    if part != "all":
        table = table[table["individual_id"].map(part_of) == part]
    rng = np.random.default_rng(seed)
    table = table.iloc[rng.permutation(len(table))].reset_index(drop=True)
    year = table["date"].dt.year
    individual, encounter, view = (
        table[name].to_numpy(object) for name in ("individual_id", "encounter_id", "viewpoint")
    )
    top = view == "top"
    same_year = year.to_numpy()[:, None] == year.to_numpy()[None, :]
    same_encounter = (encounter[:, None] == encounter[None, :]) & (encounter != None)[:, None]  # noqa: E711
    both_top, mixed = top[:, None] & top[None, :], top[:, None] != top[None, :]
    same = individual[:, None] == individual[None, :]
    np.fill_diagonal(same_encounter, False)
    day = table["date"].to_numpy()[:, None] == table["date"].to_numpy()[None, :]
    second = table["timestamp"].to_numpy()[:, None] == table["timestamp"].to_numpy()[None, :]
    masks = {
        "same encounter": same & same_encounter & both_top,
        "other encounter, same year": same & ~same_encounter & same_year & both_top & ~np.eye(len(table), dtype=bool),
        "other year": same & ~same_year & both_top,
        "lateral and top": same & mixed,
        "any two": ~same & both_top,
        "same day": ~same & both_top & day,
        "same second": ~same & both_top & second,
        "two, lateral and top": ~same & mixed,
    }
    pairs = []
    for kind, mask in masks.items():
        wanted = 2 * count if kind == "any two" else count
        pairs += [
            DrawnPair(table["image_id"][i], table["image_id"][j], kind, individual[i])
            for i, j in _in_turn(mask, individual, wanted, rng)
        ]
    return pairs


def _in_turn(
    mask: npt.NDArray[np.bool_], individual: npt.NDArray[np.object_], count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Choose pairs so that every individual has its turn before one has a second; no pair twice, in either order."""
    chosen: list[tuple[int, int]] = []
    taken: set[tuple[int, int]] = set()
    rows = np.flatnonzero(mask.any(1))
    turns = pd.Series(individual[rows]).groupby(individual[rows]).cumcount().to_numpy()
    for i in rows[np.argsort(turns, kind="stable")]:
        j = int(rng.choice(np.flatnonzero(mask[i])))
        key = (min(int(i), j), max(int(i), j))
        if key not in taken:
            taken.add(key)
            chosen.append((int(i), j))
        if len(chosen) == count:
            break
    return chosen
