"""Backbones of timm by name: maps, weights from a file, training. Skipped where timm is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings
from features.global_descriptor.networks import build_trunk
from features.global_descriptor.timm_trunk import import_timm
from features.photo import canonical_frame, read_photo
from features.training.loop import train_descriptor
from features.training.settings import RANDOM, TrainSettings
from features.training.steps import model_header, new_embedder, seconds_shown
from scarmatch.settings import SettingsError


@pytest.fixture(autouse=True)
def timm() -> None:
    try:
        import_timm()
    except SettingsError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ["resnet50", "tf_efficientnet_b3", "swin_tiny_patch4_window7_224", "convnext_atto"])
def test_the_last_two_maps_are_channels_first_whatever_the_backbone(name: str) -> None:
    trunk = build_trunk(name, (64, 128)).eval()
    with torch.inference_mode():
        maps = trunk(torch.zeros(2, 3, 128, 64))
    assert [tuple(one.shape) for one in maps] == [(2, trunk.channels[0], 8, 4), (2, trunk.channels[1], 4, 2)]


def test_unknown_backbones_are_named() -> None:
    with pytest.raises(SettingsError, match="resnet51"):
        build_trunk("resnet51")
    with pytest.raises(SettingsError, match="frozen_blocks"):
        build_trunk("resnet50", frozen_blocks=2)


def test_weights_come_from_a_file(tmp_path: Path, made_up_dir: Path) -> None:
    from engine.catalogue.catalog import Catalog

    row = Catalog.read(made_up_dir).table.iloc[0]
    torch.manual_seed(3)
    source = import_timm().create_model("resnet18")
    weights = tmp_path / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in source.state_dict().items()}, weights)
    photo = read_photo(row["path"])
    frame = canonical_frame(photo.size, row["viewpoint"])
    settings = GlobalSettings(model=f"timm:resnet18@{weights}", input_size=(64, 128))
    vectors = [GlobalDescriptor.from_settings(settings).describe([photo], [frame])[0] for _ in range(2)]
    assert vectors[0].shape == vectors[1].shape
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-5)


def test_a_training_starts_with_the_weights_of_a_file(tmp_path: Path) -> None:
    torch.manual_seed(3)
    source = import_timm().create_model("resnet18")
    weights = tmp_path / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in source.state_dict().items()}, weights)
    named = TrainSettings.recipe("colour", f"resnet18@{weights}")
    fresh = TrainSettings.recipe("colour", "resnet18")
    first = source.state_dict()["conv1.weight"]
    assert new_embedder(named).trunk.net["conv1"].weight.equal(first)
    assert not new_embedder(fresh).trunk.net["conv1"].weight.equal(first)
    header = model_header(named, {})
    assert header["backbone"] == header["settings"]["backbone"] == "resnet18", "not where the file lay"
    assert header["start"].startswith("weights.safetensors (SHA-256 ") and str(tmp_path) not in str(header)
    assert fresh.start == RANDOM and TrainSettings().start == "ImageNet"
    assert seconds_shown(fresh.replace(input_size=(32, 64)), 2) > 0


def test_a_backbone_of_timm_is_trained_and_used(tmp_path: Path, made_up_dir: Path) -> None:
    from engine.catalogue.catalog import Catalog

    table = Catalog.read(made_up_dir).table
    settings = TrainSettings(
        backbone="swin_tiny_patch4_window7_224",
        input_size=(32, 64),
        small_epochs=0,
        embedding=16,
        epochs=1,
        batch=8,
        held_out="none",
        views="all",
        frozen_blocks=0,
    )
    report = train_descriptor(table.iloc[:24], tmp_path, settings)
    assert report.finished
    described = GlobalDescriptor.from_settings(GlobalSettings(model=str(report.model), mirror=False))
    photo = read_photo(table["path"].iloc[0])
    vector = described.describe([photo], [canonical_frame(photo.size, table["viewpoint"].iloc[0])])[0]
    assert vector.shape == (16,) and np.isfinite(vector).all()
