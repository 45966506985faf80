"""Model files that are damaged, of another kind, or a stranger's: refused in one line before native code sees them."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from features import weights
from features.global_descriptor.classifier import TrainedHead
from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings
from features.global_descriptor.networks import build_trunk
from features.global_descriptor.timm_trunk import import_timm
from features.keypoints.metric import KeypointMetric
from features.model_file import ModelFileError, read_tensors, write_tensors
from features.skin.network import load_skin_network
from reranker.local_evidence import LocalEvidence
from reranker.ranker import Ranker, RankerError
from reranker.tree_text import checked_trees
from scarmatch import manifest
from scarmatch.errors import ScarmatchError
from scarmatch.sealed_json import SEAL, read_sealed

SHIPPED_RANKER = manifest.ROOT / "reranker" / "models" / "ranker-aliked.json"


def shipped(kind: str) -> Path:
    return next(manifest.ROOT / m.package / m.path for m in manifest.model_files() if m.own and kind in m.path)


# What ships


def test_the_manifest_lists_what_ships_as_it_is() -> None:
    listed = {manifest.ROOT / model.package / model.path for model in manifest.model_files() if model.own}
    there = {
        path
        for package in manifest.OWN_PACKAGES
        for path in (manifest.ROOT / package / "models").rglob("*")
        if path.suffix in (".safetensors", ".json")
    }
    assert listed == there
    assert manifest.renewed() == manifest.model_files(), "run `python -m scarmatch.manifest`"


@pytest.mark.parametrize("model", [model for model in manifest.model_files() if model.own], ids=lambda m: m.path)
def test_each_file_that_ships_is_compared_when_it_is_loaded(
    model: manifest.ModelFile, tmp_path: Path, monkeypatch
) -> None:
    copy = tmp_path / model.package / model.path
    copy.parent.mkdir(parents=True)
    data = bytearray((manifest.ROOT / model.package / model.path).read_bytes())
    data[len(data) // 2] ^= 4
    copy.write_bytes(data)
    monkeypatch.setattr(manifest, "ROOT", tmp_path)
    manifest._shipped.cache_clear()
    try:
        with pytest.raises(weights.WeightsError, match="reinstall scarmatch"):
            if model.path.endswith("ranker-aliked.json"):
                Ranker.load(copy)
            elif model.path.endswith(".json"):
                LocalEvidence.load(copy)
            elif "keypoints" in model.path:
                KeypointMetric.load(copy)
            else:
                read_tensors(copy)
    finally:
        manifest._shipped.cache_clear()


def test_a_file_that_changes_while_the_program_runs_is_hashed_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = manifest.file_sha256(path)
    path.write_bytes(b"another")
    assert manifest.file_sha256(path) != first


# Rankers


@pytest.fixture(scope="module")
def tree_text() -> tuple[str, list[str]]:
    member = next(part for part in read_sealed(SHIPPED_RANKER)["members"] if part["type"] == "tree")
    return member["text"], member["names"]


def test_checked_trees_predict_and_explain_the_same(tree_text) -> None:
    import lightgbm

    text, names = tree_text
    rows = np.random.default_rng(0).normal(size=(50, len(names)))
    plain, checked = (lightgbm.Booster(model_str=one) for one in (text, checked_trees(text, names)))
    for options in ({"raw_score": True}, {"pred_contrib": True}):
        np.testing.assert_array_equal(plain.predict(rows, **options), checked.predict(rows, **options))


TREE_FAULTS = {
    "a child that does not exist": ("left_child=1 ", "left_child=99 "),
    "a circle": ("left_child=1 ", "left_child=0 "),
    "a feature that does not exist": ("split_feature=", "split_feature=9999 "),
    "a leaf too few": ("leaf_value=", "leaf_value=\nleft="),
    "more leaves than there are": ("num_leaves=7", "num_leaves=70000"),
    "trees of another size": ("tree_sizes=", "tree_sizes=1 "),
    "more classes": ("num_class=1", "num_class=1000000"),
    "a number that is none": ("threshold=", "threshold=nan "),
    "linear leaves": ("is_linear=0", "is_linear=1"),
    "a linked category": ("num_cat=0", "num_cat=3"),
    "another objective": ("objective=lambdarank", "objective=none"),
    "fewer features": ("max_feature_idx={last}", "max_feature_idx=3"),
}


@pytest.mark.parametrize("fault", TREE_FAULTS)
def test_unsound_trees_never_reach_native_code(tree_text, fault: str) -> None:
    text, names = tree_text
    old, new = TREE_FAULTS[fault]
    old = old.replace("{last}", str(len(names) - 1))
    assert old in text
    with pytest.raises(ValueError, match=r"tree|head"):
        checked_trees(text.replace(old, new, 1), names)


def test_a_ranker_that_was_changed_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "ranker.json"
    Ranker.load(SHIPPED_RANKER).save(path)
    assert Ranker.load(path).importance().equals(Ranker.load(SHIPPED_RANKER).importance())
    data = json.loads(path.read_text())
    assert SEAL in data
    data["members"][0]["offset_of_line"] += 1e-9
    path.write_text(json.dumps(data))
    with pytest.raises(RankerError, match="its hash differs"):
        Ranker.load(path)
    del data[SEAL]  # as an earlier version wrote it: taken, once its parts are sound
    path.write_text(json.dumps(data))
    assert Ranker.load(path).kind == Ranker.load(SHIPPED_RANKER).kind


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{" * 100_000, "nothing", '{"format": "scarmatch-ranker", "version": 1e999}', "\x00" * 64, '{"a": NaN}'],
)
def test_what_is_no_ranker_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ranker.json"
    path.write_text(text)
    for load in (Ranker.load, LocalEvidence.load):
        with pytest.raises(ScarmatchError, match=r"ranker\.json"):
            load(path)


# Any model option given any file


def test_wrong_files_for_every_model_option_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no tensors")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    save_file({"a": torch.zeros(3)}, tmp_path / "other.safetensors")
    write_tensors(tmp_path / "listed.safetensors", {"a": torch.zeros(3)}, {"kind": "embedder", "format": 1})
    wrong = [
        *sorted(tmp_path.glob("*.safetensors")),
        shipped("keypoints/"),
        shipped("marks/"),
        SHIPPED_RANKER,
        tmp_path,
    ]
    wrong += [shipped("beluga-lite0")]
    loaders = {
        "embedder": lambda path: GlobalDescriptor(GlobalSettings(model=str(path))),
        "mark descriptors": load_skin_network,
        "keypoint metric": KeypointMetric.load,
        "ranker": Ranker.load,
        "local evidence": LocalEvidence.load,
        "trained head": TrainedHead,
        "timm": lambda path: GlobalDescriptor(GlobalSettings(model=f"timm:resnet18@{path}")),
    }
    right = {("embedder", shipped("beluga-lite0")), ("mark descriptors", shipped("marks/"))}
    right |= {("keypoint metric", shipped("keypoints/")), ("ranker", SHIPPED_RANKER)}
    for name, load in loaders.items():
        for path in wrong:
            if (name, path) in right:
                continue
            with pytest.raises(ScarmatchError) as caught:
                load(path)
            assert path.name in str(caught.value), (name, path)


def test_a_flipped_bit_in_a_trained_model_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    matrix = torch.rand(40, 20)
    write_tensors(path, {"matrix": matrix}, {"kind": "any", "format": 1})
    whole, noticed = path.read_bytes(), 0
    for bit in range(0, 8 * len(whole), 83):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            tensors, header = read_tensors(path)
        except ModelFileError:
            noticed += 1
            continue
        # Only the checksum's own name can change without a difference.
        assert torch.equal(tensors["matrix"], matrix) and header == {"kind": "any", "format": 1}
    assert noticed > 300


def test_a_model_of_an_earlier_version_without_a_checksum_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(2)}, path, metadata={"scarmatch": json.dumps({"kind": "any"})})
    tensors, header = read_tensors(path)
    assert tensors["a"].tolist() == [1.0, 1.0]
    assert header == {"kind": "any"}


@pytest.mark.parametrize(
    "change",
    [
        {"embedding": 10**9},
        {"input_size": [10**6, 10**6]},
        {"backbone": 3},
        {"mean": None},
        {"input": "smell"},
        {"std": ["a"] * 3},
    ],
)
def test_headers_that_do_not_fit_their_tensors_are_one_line(tmp_path: Path, change: dict[str, object]) -> None:
    tensors, header = read_tensors(shipped("beluga-lite0"))
    path = tmp_path / "own.safetensors"
    write_tensors(path, tensors, {**header, **change})
    with pytest.raises(ScarmatchError, match=r"own\.safetensors|backbone"):
        GlobalDescriptor(GlobalSettings(model=str(path)))


# Checkpoints for timm


@pytest.fixture
def timm():
    try:
        return import_timm()
    except ScarmatchError as error:
        pytest.skip(str(error))


class Harmful:
    """Runs a command when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


def test_a_checkpoint_never_runs_code(timm, tmp_path: Path) -> None:
    for name, save in {
        "torch.pth": torch.save,
        "plain.pth": lambda thing, path: path.write_bytes(pickle.dumps(thing)),
    }.items():
        save({"state_dict": Harmful(tmp_path / "harm")}, tmp_path / name)
        with pytest.raises(ScarmatchError, match=name):
            build_trunk("resnet18", (64, 128), weights=tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_a_checkpoint_must_hold_all_tensors_of_the_network(timm, tmp_path: Path) -> None:
    state = timm.create_model("resnet18").state_dict()
    path = tmp_path / "weights.pth"
    torch.save({"model": {f"module.{name}": value for name, value in state.items()}}, path)
    trunk = build_trunk("resnet18", (64, 128), weights=path)
    assert torch.equal(trunk.net.state_dict()["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    for wrong in (
        {"something": torch.rand(3)},
        {name: value for name, value in state.items() if name != "layer2.0.conv1.weight"},
        timm.create_model("resnet10t").state_dict(),
        {name: value * float("nan") if value.is_floating_point() else value for name, value in state.items()},
    ):
        torch.save(wrong, path)
        with pytest.raises(ScarmatchError, match=r"weights\.pth"):
            build_trunk("resnet18", (64, 128), weights=path)
