"""Whom measurements are made on, and that no weights in use saw them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.context import Context
from bench.held_out import (
    BOTH_HALVES,
    EVERYBODY,
    HALVES,
    HELD_OUT,
    MODELS,
    OTHER_HALF,
    TWINS,
    individuals_of,
    measured_part,
    settings_for,
    shipped_name,
    unseeing,
)
from engine.catalogue.catalog import Catalog, CatalogError
from features.global_descriptor.descriptor import ALIASES, shipped_models
from features.keypoints.metric import shipped_metrics
from features.model_file import read_header
from features.skin.descriptors import shipped_skin_models
from features.training.data import split_half
from scarmatch.errors import ScarmatchError


@pytest.fixture(scope="module")
def catalog(made_up_dir: Path) -> Catalog:
    return Catalog.read(made_up_dir)


def test_the_held_out_are_those_of_half_one(catalog: Catalog) -> None:
    held_out, everyone = individuals_of(catalog, HELD_OUT), individuals_of(catalog, EVERYBODY)
    assert 0 < len(held_out) < len(everyone) == catalog.table["individual_id"].nunique()
    assert all(split_half(name) == 1 for name in held_out)


def test_the_measured_part_holds_their_photographs_alone(catalog: Catalog) -> None:
    part = measured_part(catalog, HELD_OUT)
    assert set(part.table["individual_id"]) == set(individuals_of(catalog, HELD_OUT))
    assert len(measured_part(catalog, EVERYBODY)) == len(catalog)
    other = [str(name) for name in catalog.table["individual_id"] if split_half(str(name)) == 0]
    rows = catalog.table["individual_id"].isin(other)
    with pytest.raises(CatalogError, match="--individuals all"):
        measured_part(catalog.subset(catalog.table["image_id"][rows].tolist()), HELD_OUT)


def test_the_halves_share_nobody_and_are_everybody(catalog: Catalog) -> None:
    held_out, other = (set(individuals_of(catalog, half)) for half in (HELD_OUT, OTHER_HALF))
    assert held_out and other and not held_out & other
    assert held_out | other == set(individuals_of(catalog, BOTH_HALVES)) == set(individuals_of(catalog, EVERYBODY))


@pytest.mark.parametrize("half", HALVES)
def test_on_a_half_no_network_is_used_that_saw_it(half: str) -> None:
    settings = settings_for(half)
    describe, metric = settings.describe, settings.mutual_nn.metric
    used = {Path(name).stem for name in [*describe.descriptor.model.split(","), describe.skin.model, metric]}
    assert not used & TWINS[half].keys()
    assert used >= set(TWINS[half].values())


def test_on_everybody_what_ships_is_used() -> None:
    assert settings_for(EVERYBODY).describe.descriptor.model == "beluga"
    assert settings_for(EVERYBODY).mutual_nn.metric == "auto"


def test_both_halves_are_asked_each_against_itself(context_of: Callable[..., Context], catalog: Catalog) -> None:
    context = context_of("accuracy", "--individuals=both-halves")
    raw = context.labelled_pairs(6)
    context.close()
    halves = {half: set(individuals_of(catalog, half)) for half in HALVES}
    for half in halves.values():
        assert set(raw.loc[raw["individual0"].isin(half), "individual1"].dropna()) <= half
    assert {name in halves[HELD_OUT] for name in raw["individual0"]} == {True, False}
    with pytest.raises(ScarmatchError, match="--individuals held-out or other-half"):
        _ = context.catalog


def test_other_keypoints_have_no_twin_of_a_metric() -> None:
    assert settings_for(HELD_OUT, ["describe.keypoints.kind=sift"]).mutual_nn.metric == "none"
    assert settings_for(HELD_OUT, ["mutual_nn.metric=none"]).mutual_nn.metric == "none"


def test_other_options_are_kept_and_other_models_left_alone() -> None:
    overrides = ["describe.descriptor.model=efficientnet_lite0", "shortlist.size=7"]
    settings = settings_for(HELD_OUT, overrides)
    assert settings.describe.descriptor.model == "efficientnet_lite0"
    assert settings.shortlist.size == 7


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("models", ["beluga", "beluga-skin", "beluga-lite0", "beluga-skin,efficientnet_lite0"])
def test_names_go_there_and_back(models: str, half: str) -> None:
    assert shipped_name(unseeing(models, half)) == models


@pytest.mark.parametrize("half", HALVES)
def test_every_twin_is_there_and_knows_one_half(half: str) -> None:
    shipped = shipped_models() | shipped_skin_models() | shipped_metrics()
    for name, twin in TWINS[half].items():
        ours, theirs = (_about(path) for path in (MODELS / f"{twin}.safetensors", shipped[name]))
        assert 0 < ours["individuals"] < theirs["individuals"]
    assert set(ALIASES["beluga"]) & TWINS[half].keys()


def test_twins_of_what_saw_everybody_say_that_half_was_held_out() -> None:
    shipped = shipped_models() | shipped_skin_models() | shipped_metrics()
    for name, twin in TWINS[HELD_OUT].items():
        for path, held_out in ((MODELS / f"{twin}.safetensors", "half"), (shipped[name], "none")):
            header = read_header(path)
            assert header.get("settings", header["training"].get("settings"))["held_out"] == held_out


def test_figures_of_both_halves_count_both(context_of: Callable[..., Context], catalog: Catalog) -> None:
    context = context_of("crossvalidated", "--individuals=both-halves")
    counts = context.photographs, context.individuals
    context.close()
    labelled = catalog.table["individual_id"].dropna()
    assert counts == (len(labelled), labelled.nunique())


def _about(path: Path) -> dict[str, Any]:
    about: dict[str, Any] = read_header(path)["training"]
    return about
