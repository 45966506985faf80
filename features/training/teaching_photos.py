"""Which photographs of a catalogue train the global descriptor, and which validate it."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.training.data import PhotoCache, canonical_input, fold_of, from_above, split_half
from features.training.settings import TrainSettings


def read_cache(catalog_table: pd.DataFrame, settings: TrainSettings) -> PhotoCache:
    """Read the photographs that training and validation need, with worse copies and further boxes of those to train on.

    A column ``more_boxes`` of the table holds a tuple of (x, y, width, height) for each photograph that has any.
    """
    table = catalog_table[catalog_table["individual_id"].notna()]
    if settings.views == "top":
        table = table[from_above(table)]
    trains = ~held_out_rows(table, settings)
    copies = [settings.worse_copies if one else 0 for one in trains]
    if "more_boxes" in table.columns:
        table = table.assign(more_boxes=table["more_boxes"].where(trains, None))
    read = functools.partial(canonical_input, kind=settings.input)
    return PhotoCache.read(table, settings.input_size, read, copies=copies, seed=settings.seed)


def held_out_rows(table: pd.DataFrame, settings: TrainSettings) -> npt.NDArray[np.bool_]:
    """True for the photographs of held-out individuals (and, where some are held out, of unknown ones)."""
    if settings.held_out == "none":
        return np.zeros(len(table), bool)
    if settings.held_out == "half":
        return np.array([pd.isna(v) or split_half(str(v)) == 1 for v in table["individual_id"]], bool)
    individuals = table["individual_id"]
    return np.array([pd.isna(v) or fold_of(str(v), settings.folds, 0) == settings.fold for v in individuals], bool)
