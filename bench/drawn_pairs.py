"""Pairs of photographs drawn by seed: true pairs of several kinds, and impostors that are as hard as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.context import Context
from engine.catalogue.catalog import Catalog, same_encounter
from engine.catalogue.index import CatalogIndex

TRUE_KINDS = ("same encounter", "other encounter, same year", "other year", "lateral and top")
IMPOSTOR_KINDS = ("any two", "same day", "same second", "two, lateral and top")
#: Views that differ are as hard for impostors, so each is compared with its like.
MIXED_KINDS = ("lateral and top", "two, lateral and top")
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class DrawnPair:
    """One pair: two image ids, its kind, and the individual of the first."""

    image_id0: str
    image_id1: str
    kind: str
    individual: str


@dataclass(frozen=True, eq=False)
class DrawnPairs:
    """Pairs with their measurements.

    Attributes:
        pairs: in the order of the table.
        index: their photographs.
        numbers: one row per pair (:meth:`scarmatch.Matcher.compare`).
    """

    pairs: tuple[DrawnPair, ...]
    index: CatalogIndex
    numbers: pd.DataFrame

    @property
    def kinds(self) -> npt.NDArray[np.str_]:
        """(pairs,) kinds."""
        return np.array([pair.kind for pair in self.pairs])

    @property
    def same(self) -> Mask:
        """(pairs,) true pairs."""
        return np.isin(self.kinds, TRUE_KINDS)

    @property
    def mixed(self) -> Mask:
        """(pairs,) pairs of a lateral view and one from above."""
        return np.isin(self.kinds, MIXED_KINDS)

    @property
    def individuals(self) -> npt.NDArray[np.str_]:
        """(pairs,) individual of the first photograph."""
        return np.array([pair.individual for pair in self.pairs])


def measured_pairs(context: Context, count: int) -> DrawnPairs:
    """Draw pairs of the individuals measured on and match each by every matcher."""
    drawn = draw_pairs(context.catalog, count, context.seed)
    index = index_of(drawn, context)
    pairs = tuple(pair for pair in drawn if pair.image_id0 in index.catalog and pair.image_id1 in index.catalog)
    context.say(f"matching {len(pairs):,} pairs")
    named = [(pair.image_id0, pair.image_id1) for pair in pairs]
    return DrawnPairs(pairs, index, context.matcher.compare(named, index, progress=context.progress("pairs")))


def index_of(pairs: Sequence[DrawnPair], context: Context) -> CatalogIndex:
    """Describe the photographs of pairs."""
    names = list(dict.fromkeys(name for pair in pairs for name in (pair.image_id0, pair.image_id1)))
    context.say(f"describing {len(names):,} photographs")
    return context.matcher.index(context.catalog.subset(names), context.progress("photographs"))


def draw_pairs(catalog: Catalog, count: int, seed: int = 0) -> list[DrawnPair]:
    """Draw up to ``count`` pairs of each kind (twice as many of any two individuals), individuals in turn.

    Args:
        catalog: labelled, with dates and encounters.
        count: pairs of a kind.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(catalog.table["individual_id"].notna())
    catalog = catalog.take(rows[rng.permutation(len(rows))])
    names, individual = catalog.ids, catalog.keys.individual_id
    pairs = []
    for kind, mask in _masks(catalog).items():
        wanted = 2 * count if kind == "any two" else count
        pairs += [
            DrawnPair(names[i], names[j], kind, individual[i]) for i, j in _in_turn(mask, individual, wanted, rng)
        ]
    return pairs


def _masks(catalog: Catalog) -> dict[str, Mask]:
    """Return for each kind which of the (N, N) pairs of photographs are of it."""
    table, keys = catalog.table, catalog.keys
    top = (table["viewpoint"] == "top").to_numpy()
    both_top, mixed = top[:, None] & top[None, :], top[:, None] != top[None, :]
    same = keys.individual_id[:, None] == keys.individual_id[None, :]
    encounter = np.array([same_encounter(row, keys) for row in table.to_dict("records")], bool)
    year, day = table["date"].dt.year.to_numpy(), keys.date
    same_year, same_day = year[:, None] == year[None, :], day[:, None] == day[None, :]
    second = keys.timestamp[:, None] == keys.timestamp[None, :]
    other = ~np.eye(len(table), dtype=bool)
    return {
        "same encounter": same & encounter & both_top & other,
        "other encounter, same year": same & ~encounter & same_year & both_top & other,
        "other year": same & ~same_year & both_top,
        "lateral and top": same & mixed,
        "any two": ~same & both_top,
        "same day": ~same & both_top & same_day,
        "same second": ~same & both_top & second,
        "two, lateral and top": ~same & mixed,
    }


def _in_turn(
    mask: Mask, individual: npt.NDArray[np.object_], count: int, rng: np.random.Generator
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
