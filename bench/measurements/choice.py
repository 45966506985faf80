"""Which model is chosen where a catalogue names no view: how far the shape of a photograph tells belugas from above.

Of every kind of photograph (belugas from above, belugas from the side, and the made-up species, each cut to its
animal) the views are taken away. The table holds the share of each kind that is so many times as tall as wide, and the
model that the rule takes for a catalogue of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.results import Result
from engine.catalogue.catalog import Catalog
from engine.demo.species import SPECIES, SpeciesSettings, make_species
from engine.models.choice import ENOUGH, TALL, choose_model
from features.photo import image_size

#: Height over width from which a photograph counts as tall.
BOUNDS = (1.0, 1.1, 1.25, 1.5, 2.0)
#: Animals of a made-up species, and photographs of each.
_DRAWN = (6, 6)


@dataclass(frozen=True)
class Kind:
    """One kind of photographs: what should be chosen, what is, and the share that is tall by each of BOUNDS."""

    name: str
    photographs: int
    belongs: str
    chosen: str
    tall: tuple[float, ...]


@dataclass(frozen=True)
class ChoiceFigures(Figures):
    """Everything this measurement finds; ``bound`` and ``enough`` are those of the rule."""

    bound: float
    enough: float
    kinds: tuple[Kind, ...]


def measure(context: Context) -> ChoiceFigures:
    """Look at the shape of every photograph."""
    with tempfile.TemporaryDirectory() as temporary:
        kinds = [_kind(*one) for one in _catalogues(context, Path(temporary))]
    return ChoiceFigures(TALL, ENOUGH, tuple(kinds))


def _catalogues(context: Context, folder: Path) -> Iterator[tuple[str, str, Catalog]]:
    """Yield (name, model that it should get, catalogue) of every kind."""
    table = context.whole_catalog.table
    for name, views, belongs in (("from above", ("top",), "beluga"), ("from the side", ("left", "right"), "generic")):
        of_kind = table.loc[table["viewpoint"].isin(views), "image_id"].tolist()
        if of_kind:
            yield f"belugas {name}", belongs, context.whole_catalog.subset(of_kind)
    animals, photographs = _DRAWN
    for species in SPECIES:
        settings = SpeciesSettings(species=species, individuals=animals, photographs=photographs, seed=context.seed)
        yield species, "generic", Catalog.read(make_species(folder / species, settings))


def _kind(name: str, belongs: str, catalog: Catalog) -> Kind:
    nameless = Catalog(catalog.table.assign(viewpoint=pd.Series(None, catalog.table.index, object)), catalog.root)
    ratios = []
    for box, path in zip(catalog.table["box"], catalog.table["path"], strict=True):
        width, height = box[2:] if isinstance(box, tuple | list) else image_size(path)
        ratios.append(height / width)
    shares = tuple(float(np.mean(np.array(ratios) >= bound)) for bound in BOUNDS)
    return Kind(name, len(catalog), belongs, choose_model(nameless).name, shares)


def full(result: Result[ChoiceFigures]) -> str:
    """Return the table."""
    f = result.figures
    heads = ["photographs", "", *(f"{bound:g}" for bound in BOUNDS), "chosen", "right"]
    rows = [
        [
            k.name,
            f"{k.photographs:,}",
            *(f"{s:.2f}" for s in k.tall),
            k.chosen,
            "yes" if k.chosen == k.belongs else "no",
        ]
        for k in f.kinds
    ]
    words = f"The rule counts photographs from {f.bound:g} on, and takes `beluga` where {f.enough:.0%} of them do."
    return f"{markdown.table(heads, rows)}\n\n{words}"


MEASUREMENT = Measurement(
    title="Choice of the model", figures=ChoiceFigures, measure=measure, full=full, individuals="all"
)
