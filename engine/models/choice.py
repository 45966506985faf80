"""Which model suits a catalogue, where nobody names one.

The belugas' model knows one species from above, head up; on anything else its global networks and its ranker mislead
(``python -m bench species``). So it is taken for catalogues that show what it was made on: no other species is named,
and most photographs are taken from above. Where a table says nothing of the view, the shape of the photograph does: a
whale that lies head up fills a picture far taller than wide. Of the belugas' tops nearly all are, of their flanks none,
and of other animals' few: ``python -m bench choice`` measures it for several bounds, and the one taken is where they
differ most. Every other catalogue gets the general model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.models.library import DEFAULT_MODEL, load_model
from features.photo import PhotoError, image_size

GENERIC_MODEL = "generic"
#: Photographs that are looked at where the table does not say the view.
_SAMPLE = 64
#: Height over width from which a photograph shows a whale head up. A fin fills pictures a little taller than wide.
TALL = 1.5
#: Share of such photographs from which on a catalogue is one of belugas from above.
ENOUGH = 0.5


@dataclass(frozen=True)
class ModelChoice:
    """A model's name, and why it was chosen, in words that follow "because"."""

    name: str
    reason: str


def choose_model(catalog: Catalog) -> ModelChoice:
    """Choose between the models that ship; no photograph is decoded.

    Args:
        catalog: what will be searched.
    """
    table = catalog.table
    known = set(load_model(DEFAULT_MODEL).animals.get("species", ()))
    species = table["species"].dropna().map(lambda name: str(name).replace("_", " ").casefold())
    others = species[~species.isin(known)]
    if len(others) > len(species) / 2:
        return ModelChoice(GENERIC_MODEL, f"the catalogue shows {others.value_counts().index[0]!r}")
    share = _share_from_above(table)
    if share >= ENOUGH:
        return ModelChoice(DEFAULT_MODEL, f"{share:.0%} of the photographs show an animal from above, head up")
    return ModelChoice(GENERIC_MODEL, f"{share:.0%} of the photographs show an animal from above, head up")


def _share_from_above(table: pd.DataFrame) -> float:
    """Return the share of the photographs that are taken from above, or are tall where the view is not known."""
    views = table["viewpoint"]
    known, unknown = views[views.notna()], table[views.isna()]
    rows = np.unique(np.linspace(0, len(unknown) - 1, min(_SAMPLE, len(unknown))).astype(int))
    tall = [shape for row in rows if (shape := _is_tall(unknown.iloc[row])) is not None]
    from_above = float((known == "top").sum()) + len(unknown) * (float(np.mean(tall)) if tall else 0.0)
    return from_above / max(len(table), 1)


def _is_tall(row: pd.Series) -> bool | None:
    """Say whether the animal's picture is far taller than wide, None where the file cannot be read."""
    box = row["box"]
    try:
        width, height = box[2:] if isinstance(box, tuple | list) else image_size(row["path"])
    except PhotoError:  # said when it is described
        return None
    return height >= TALL * width
