"""Whom measurements are made on, and that no weights in use saw them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.held_out import (
    EVERYBODY,
    HELD_OUT,
    MODELS,
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


def test_on_held_out_individuals_no_network_is_used_that_saw_them() -> None:
    settings = settings_for(HELD_OUT)
    describe, metric = settings.describe, settings.mutual_nn.metric
    used = {Path(name).stem for name in [*describe.descriptor.model.split(","), describe.skin.model, metric]}
    assert not used & TWINS.keys()
    assert used >= set(TWINS.values())
    assert settings_for(EVERYBODY).describe.descriptor.model == "beluga"
    assert settings_for(EVERYBODY).mutual_nn.metric == "auto"


def test_other_keypoints_have_no_twin_of_a_metric() -> None:
    assert settings_for(HELD_OUT, ["describe.keypoints.kind=sift"]).mutual_nn.metric == "none"
    assert settings_for(HELD_OUT, ["mutual_nn.metric=none"]).mutual_nn.metric == "none"


def test_other_options_are_kept_and_other_models_left_alone() -> None:
    overrides = ["describe.descriptor.model=efficientnet_lite0", "shortlist.size=7"]
    settings = settings_for(HELD_OUT, overrides)
    assert settings.describe.descriptor.model == "efficientnet_lite0"
    assert settings.shortlist.size == 7


@pytest.mark.parametrize("models", ["beluga", "beluga-skin", "beluga-lite0", "beluga-skin,efficientnet_lite0"])
def test_names_go_there_and_back(models: str) -> None:
    assert shipped_name(unseeing(models)) == models


def test_every_twin_is_there_and_says_that_half_was_held_out() -> None:
    shipped = shipped_models() | shipped_skin_models() | shipped_metrics()
    for name, twin in TWINS.items():
        for path, held_out in ((MODELS / f"{twin}.safetensors", "half"), (shipped[name], "none")):
            header = read_header(path)
            assert header.get("settings", header["training"].get("settings"))["held_out"] == held_out
    assert set(ALIASES["beluga"]) & TWINS.keys()
