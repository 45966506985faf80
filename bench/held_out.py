"""Whom measurements are made on, and the weights that never saw them.

What ships was trained on every individual of the public photographs, or on one half of them: measured on those, it
would only show how well it remembers. Its twins in ``bench/models`` were trained on one half (``python -m
bench.train_models``), and stand in for it wherever the other is measured on. Either half has its twins, so that every
individual can be asked: each half against itself, and their answers together. By how much what saw twice as many
animals is better than its twins, no photograph here can tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.catalogue.catalog import Catalog, CatalogError
from engine.commands.options import with_overrides
from engine.search.candidates import ShortlistSettings
from engine.search.matcher import MatcherSettings
from features.global_descriptor.descriptor import ALIASES
from features.keypoints.metric import AUTO, DEFAULTS, NONE
from features.training.data import split_half

HELD_OUT = "held-out"
OTHER_HALF = "other-half"
BOTH_HALVES = "both-halves"
EVERYBODY = "all"
INDIVIDUALS = (HELD_OUT, OTHER_HALF, BOTH_HALVES, EVERYBODY)
HELP = (
    "whom to measure on: the held-out half, by parts trained on the other (default), the other half, by parts trained "
    "on the held-out one, both in turn, or all, with what ships"
)
#: Who is measured -> the half of :func:`features.training.data.split_half`; each is a catalogue of its own.
HALVES = {HELD_OUT: 1, OTHER_HALF: 0}

_SOURCE = (
    "the public training photographs of 'Where's Whale-do?' (DrivenData / BOEM / NOAA Fisheries MML / "
    "Wild Me, 2022); figures from the training set do not compare with the challenge's leaderboard"
)
SOURCES = {
    HELD_OUT: f"held-out half of {_SOURCE}",
    OTHER_HALF: f"the other half of {_SOURCE}",
    BOTH_HALVES: f"both halves, each by parts that the other taught, of {_SOURCE}",
}

MODELS = Path(__file__).parent / "models"
#: Who is measured -> a shipped model that saw them -> its twin, trained on the other half.
TWINS: Mapping[str, Mapping[str, str]] = {
    HELD_OUT: {
        "beluga-skin": "beluga-skin-half",
        "beluga-keypoints": "beluga-keypoints-half",
    },
    OTHER_HALF: {
        "beluga-lite0": "beluga-lite0-other-half",
        "beluga-skin": "beluga-skin-other-half",
        "beluga-marks": "beluga-marks-other-half",
        "beluga-keypoints": "beluga-keypoints-other-half",
    },
}


def individuals_of(catalog: Catalog, which: str) -> list[str]:
    """Return the individuals measured on, sorted: one of :data:`INDIVIDUALS`."""
    names = sorted(str(name) for name in catalog.table["individual_id"].dropna().unique())
    return [name for name in names if HALVES.get(which) in (None, split_half(name))]


def measured_part(catalog: Catalog, which: str) -> Catalog:
    """Return the photographs of the individuals measured on: one of :data:`INDIVIDUALS`.

    Raises:
        CatalogError: nobody is left.
    """
    table = catalog.table
    chosen = table["image_id"][table["individual_id"].isin(individuals_of(catalog, which))].tolist()
    if not chosen:
        raise CatalogError(f"{catalog.root}: no labelled photograph of a {which} individual; try --individuals all")
    return catalog.subset(chosen)


def settings_for(which: str, overrides: Sequence[str] = ()) -> MatcherSettings:
    """Return the engine's settings for a measurement: twins stand for the shipped models that saw the individuals.

    Times of day are not looked at: whoever is asked in the challenge is given days alone, and a figure that leans on
    the clocks of one expedition says little of another (``--set shortlist.trust_times=true`` measures with them).

    Args:
        which: one of :data:`INDIVIDUALS`; for both halves together, what ships.
        overrides: texts of ``--set STAGE.OPTION=VALUE``.

    Raises:
        SettingsError: an override names no option or value.
    """
    settings = with_overrides(MatcherSettings(shortlist=ShortlistSettings(trust_times=False)), overrides)
    if which not in HALVES:
        return settings
    describe, mutual_nn = settings.describe, settings.mutual_nn
    descriptor = describe.descriptor.replace(model=unseeing(describe.descriptor.model, which))
    skin = describe.skin.replace(model=unseeing(describe.skin.model, which))
    if mutual_nn.metric == AUTO:
        shipped = DEFAULTS.get(describe.keypoints.kind, NONE)
        mutual_nn = mutual_nn.replace(metric=unseeing(shipped, which))
    return settings.replace(describe=describe.replace(descriptor=descriptor, skin=skin), mutual_nn=mutual_nn)


def unseeing(models: str, which: str) -> str:
    """Return a comma-separated list of models with those that saw the individuals measured on replaced by twins."""
    twins = TWINS.get(which, {})
    parts = [part.strip() for part in models.split(",")]
    names = [name for part in parts for name in ALIASES.get(part, (part,))]
    if not twins.keys() & set(names):
        return models
    return ",".join(_twin_file(twins[name]) if name in twins else name for name in names)


def shipped_name(models: str) -> str:
    """Return what ships instead of these models: the inverse of :func:`unseeing`, with aliases where they fit."""
    twins = {_twin_file(twin): name for half in TWINS.values() for name, twin in half.items()}
    names = tuple(twins.get(name, name) for name in models.split(","))
    return next((alias for alias, parts in ALIASES.items() if parts == names), ",".join(names))


def _twin_file(name: str) -> str:
    """Path of a twin's weights, relative to the working folder where that is shorter to read."""
    path = MODELS / f"{name}.safetensors"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
