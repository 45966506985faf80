"""Whom measurements are made on, and the weights that never saw them.

What ships was trained on every individual of the public photographs: measured on them, it would only show how well it
remembers. Its twins in ``bench/models`` were trained by the same commands on one half of the individuals, and stand in
for it wherever the other, held-out half is measured on. What ships can be no worse than they are by having seen
twice as many animals; by how much it is better, no photograph here can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.catalogue.catalog import Catalog, CatalogError
from engine.commands.options import with_overrides
from engine.search.candidates import ShortlistSettings
from engine.search.matcher import MatcherSettings
from features.global_descriptor.descriptor import ALIASES
from features.keypoints.metric import AUTO, DEFAULTS, NONE
from features.training.data import split_half

HELD_OUT = "held-out"
EVERYBODY = "all"
INDIVIDUALS = (HELD_OUT, EVERYBODY)
HELP = "whom to measure on: the half that the weights in use were not trained on (default), or all, with what ships"

SOURCE = (
    "held-out half of the public training photographs of 'Where's Whale-do?' (DrivenData / BOEM / NOAA Fisheries MML / "
    "Wild Me, 2022); figures from the training set do not compare with the challenge's leaderboard"
)

MODELS = Path(__file__).parent / "models"
#: A shipped model that saw every individual -> its twin, trained on one half of them.
TWINS = {
    "beluga-skin": "beluga-skin-half",
    "beluga-keypoints": "beluga-keypoints-half",
}


def individuals_of(catalog: Catalog, which: str) -> list[str]:
    """Return the individuals measured on, sorted: the "held-out" half, or "all"."""
    names = sorted(str(name) for name in catalog.table["individual_id"].dropna().unique())
    return [name for name in names if which == EVERYBODY or split_half(name) == 1]


def measured_part(catalog: Catalog, which: str) -> Catalog:
    """Return the photographs of the individuals measured on: the "held-out" half, or "all".

    Raises:
        CatalogError: nobody is left.
    """
    table = catalog.table
    chosen = table["image_id"][table["individual_id"].isin(individuals_of(catalog, which))].tolist()
    if not chosen:
        raise CatalogError(f"{catalog.root}: no labelled photograph of a {which} individual; try --individuals all")
    return catalog.subset(chosen)


def settings_for(which: str, overrides: Sequence[str] = ()) -> MatcherSettings:
    """Return the engine's settings for a measurement: shipped networks stand for their twins on held-out individuals.

    Times of day are not looked at: whoever is asked in the challenge is given days alone, and a figure that leans on
    the clocks of one expedition says little of another (``--set shortlist.trust_times=true`` measures with them).

    Args:
        which: "held-out" or "all".
        overrides: texts of ``--set STAGE.OPTION=VALUE``.

    Raises:
        SettingsError: an override names no option or value.
    """
    settings = with_overrides(MatcherSettings(shortlist=ShortlistSettings(trust_times=False)), overrides)
    if which != HELD_OUT:
        return settings
    describe, mutual_nn = settings.describe, settings.mutual_nn
    descriptor = describe.descriptor.replace(model=unseeing(describe.descriptor.model))
    skin = describe.skin.replace(model=unseeing(describe.skin.model))
    if mutual_nn.metric == AUTO:
        shipped = DEFAULTS.get(describe.keypoints.kind, NONE)
        mutual_nn = mutual_nn.replace(metric=unseeing(shipped))
    return settings.replace(describe=describe.replace(descriptor=descriptor, skin=skin), mutual_nn=mutual_nn)


def unseeing(models: str) -> str:
    """Return a comma-separated list of networks with those that saw every individual replaced by their twins."""
    parts = [part.strip() for part in models.split(",")]
    names = [name for part in parts for name in ALIASES.get(part, (part,))]
    if not TWINS.keys() & set(names):
        return models
    return ",".join(_twin_file(TWINS[name]) if name in TWINS else name for name in names)


def shipped_name(models: str) -> str:
    """Return what ships instead of these networks: the inverse of :func:`unseeing`, with aliases where they fit."""
    twins = {_twin_file(twin): name for name, twin in TWINS.items()}
    names = tuple(twins.get(name, name) for name in models.split(","))
    return next((alias for alias, parts in ALIASES.items() if parts == names), ",".join(names))


def _twin_file(name: str) -> str:
    """Path of a twin's weights, relative to the working folder where that is shorter to read."""
    path = MODELS / f"{name}.safetensors"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
