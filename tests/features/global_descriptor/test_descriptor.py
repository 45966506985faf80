"""Global descriptor: what goes into the network, what comes out, and that runtimes agree."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.global_descriptor.descriptor import (
    GlobalDescriptor,
    GlobalSettings,
    default_model,
    find_model,
    find_models,
    fingerprint_of,
    prepare,
    shipped_models,
    unit_rows,
)
from features.global_descriptor.network_input import fill_missing, resize
from features.hardware import torch_has_no_gpu
from features.model_header import ModelFileError
from features.records import Frame, Photo, Regions
from scarmatch.settings import SettingsError

SMALL = (64, 96)


def photo(width: int = 60, height: int = 150, seed: int = 0) -> Photo:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 10 + 1, width // 10 + 1, 3), dtype=np.uint8)
    rgb = resize(coarse, (width, height))
    return Photo(rgb=rgb, valid=np.ones((height, width), bool), sha256=str(seed))


def tiny_model(path: Path, seed: int = 0, half: bool = False) -> Path:
    """A random, untrained embedder on the basic network, written as a trained model is."""
    import torch

    from features.global_descriptor.network_input import IMAGENET_MEAN, IMAGENET_STD
    from features.global_descriptor.networks import BasicTrunk, Embedder
    from features.model_file import save_embedder

    torch.manual_seed(seed)
    header = {
        "backbone": "basic_cnn",
        "embedding": 24,
        "input_size": list(SMALL),
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
    }
    save_embedder(path, Embedder(BasicTrunk(), 24), header, half=half)
    return path


def test_missing_pixels_take_the_mean_of_the_valid_ones() -> None:
    rgb = np.full((4, 4, 3), 255, np.uint8)
    rgb[:2] = [10, 20, 30]
    rgb[1] = [30, 40, 50]
    valid = np.zeros((4, 4), bool)
    valid[:2] = True
    filled = fill_missing(rgb, valid)
    assert (filled[2:] == [20, 30, 40]).all()
    assert (filled[:2] == rgb[:2]).all()
    assert rgb[3, 3, 0] == 255, "the photograph itself must not change"
    assert fill_missing(rgb, np.zeros((4, 4), bool)).max() < 100, "without valid pixels: water, not white"


def test_input_is_turned_head_up_and_width_is_not_height() -> None:
    """A left view (head at the left) needs one clockwise quarter turn: its left end comes up."""
    rgb = np.zeros((20, 100, 3), np.uint8)
    rgb[:, :50] = 255
    wide = Photo(rgb=rgb, valid=np.ones((20, 100), bool), sha256="x")
    ready = prepare(wide, Frame((100, 20), 3), (32, 64), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert ready.shape == (3, 64, 32)
    assert ready[:, :30].min() == 1.0
    assert ready[:, 34:].max() == 0.0


def test_colours_are_normalised_by_mean_and_deviation() -> None:
    grey = Photo(rgb=np.full((40, 40, 3), 51, np.uint8), valid=np.ones((40, 40), bool), sha256="x")
    ready = prepare(grey, Frame((40, 40)), (32, 32), (0.1, 0.2, 0.3), (0.5, 0.25, 0.1))
    np.testing.assert_allclose(ready[:, 0, 0], [0.2, 0.0, -1.0], atol=1e-6)


def test_shrinking_averages_all_pixels() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert abs(resize(stripes, (16, 16)).astype(int) - 100).max() <= 1


def test_unit_rows() -> None:
    np.testing.assert_allclose(unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)), [[0.6, 0.8], [0.0, 0.0]])


def test_vectors_have_length_one_and_the_stated_dimension(tmp_path: Path) -> None:
    settings = GlobalSettings(model=str(tiny_model(tmp_path / "a.safetensors")), precision="fp32")
    descriptor = GlobalDescriptor(settings, device="cpu")
    photos = [photo(60, 150, s) for s in range(3)] + [photo(200, 50, 3)]
    frames = [Frame(p.size) for p in photos]
    vectors = descriptor.describe(photos, frames)
    assert vectors.shape == (4, descriptor.dim) == (4, 48)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert descriptor.describe([], []).shape == (0, 48)
    with pytest.raises(ValueError, match="4 photographs, but 1 frames"):
        descriptor.describe(photos, frames[:1])


def test_a_vector_does_not_depend_on_its_company(tmp_path: Path) -> None:
    settings = GlobalSettings(model=str(tiny_model(tmp_path / "a.safetensors")), precision="fp32", batch=2)
    descriptor = GlobalDescriptor(settings, device="cpu")
    photos = [photo(seed=s) for s in range(5)]
    together = descriptor.describe(photos, [Frame(p.size) for p in photos])
    alone = np.concatenate([descriptor.describe([p], [Frame(p.size)]) for p in photos])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_each_photograph_keeps_its_own_frame_and_regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = GlobalSettings(model=str(tiny_model(tmp_path / "m.safetensors")), batch=2)
    descriptor = GlobalDescriptor(settings, "cpu")
    photos = [photo(seed=number) for number in range(5)]
    frames = [Frame(p.size, number % 4) for number, p in enumerate(photos)]
    regions = [Regions(np.zeros((1, 1)), np.zeros((1, 1)), number / 10, 1.0) for number in range(5)]
    asked: list[tuple] = []

    def noted(*batch: list) -> np.ndarray:
        asked.extend(zip(*batch, strict=True))
        return np.zeros((len(batch[0]), descriptor.dim), np.float32)

    monkeypatch.setattr(descriptor, "_describe_batch", noted)
    assert descriptor.describe(photos, frames, regions).shape == (5, descriptor.dim)
    assert [tuple(map(id, each)) for each in asked] == [
        tuple(map(id, each)) for each in zip(photos, frames, regions, strict=True)
    ]


def test_the_mirrored_half_is_the_plain_half_of_the_mirrored_photograph(tmp_path: Path) -> None:
    model = str(tiny_model(tmp_path / "a.safetensors"))
    both = GlobalDescriptor(GlobalSettings(model=model, precision="fp32"), device="cpu")
    plain = GlobalDescriptor(GlobalSettings(model=model, precision="fp32", mirror=False), device="cpu")
    here = photo(*SMALL)
    flipped = Photo(rgb=np.ascontiguousarray(here.rgb[:, ::-1]), valid=here.valid, sha256="m")
    vector = both.describe([here], [Frame(here.size)])[0]
    halves = plain.describe([here, flipped], [Frame(here.size)] * 2)
    assert np.abs(halves[0] - halves[1]).max() > 1e-3
    np.testing.assert_allclose(vector, np.concatenate(halves) / np.sqrt(2), atol=1e-5)


def test_several_models_are_concatenated(tmp_path: Path) -> None:
    names = [str(tiny_model(tmp_path / f"{s}.safetensors", seed=s)) for s in (0, 1)]
    one, two, both = (
        GlobalDescriptor(GlobalSettings(model=m, precision="fp32"), device="cpu") for m in (*names, ",".join(names))
    )
    here = photo()
    parts = [d.describe([here], [Frame(here.size)])[0] for d in (one, two)]
    np.testing.assert_allclose(
        both.describe([here], [Frame(here.size)])[0], np.concatenate(parts) / np.sqrt(2), atol=1e-5
    )


def test_half_precision_weights_change_little(tmp_path: Path) -> None:
    full, half = tiny_model(tmp_path / "f.safetensors"), tiny_model(tmp_path / "h.safetensors", half=True)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    here = photo()
    first, second = (
        GlobalDescriptor(GlobalSettings(model=str(m), precision="fp32"), device="cpu").describe(
            [here], [Frame(here.size)]
        )[0]
        for m in (full, half)
    )
    assert first @ second > 0.9999


def test_fingerprint_follows_numbers_only(tmp_path: Path) -> None:
    base = GlobalSettings(model=str(tiny_model(tmp_path / "a.safetensors")), precision="fp32")
    print_of = lambda s: GlobalDescriptor(s, device="cpu").fingerprint()  # noqa: E731
    same = print_of(base)
    assert print_of(base) == same
    assert print_of(base.replace(batch=3)) == same, "the batch changes time alone"
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(Path(base.model).read_bytes())
    assert print_of(base.replace(model=str(copy))) == same, "where the weights lie does not matter"
    others = [base.replace(mirror=False), base.replace(input_size=(96, 96)), base.replace(precision="bf16")]
    others.append(base.replace(model=str(tiny_model(tmp_path / "b.safetensors", seed=1))))
    assert len({same, *(print_of(s) for s in others)}) == 5


@pytest.mark.parametrize("model", ["beluga", "efficientnet_lite0", "own", "efficientnet_lite1,own"])
@pytest.mark.parametrize("options", [{}, {"precision": "fp32"}, {"input_size": (64, 96)}, {"mirror": False}])
def test_what_is_known_of_a_descriptor_before_it_is_loaded(
    model: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = str(tiny_model(tmp_path / "a.safetensors"))
    settings = GlobalSettings(model=model.replace("own", own), **options)
    with monkeypatch.context() as patched:
        patched.setattr(GlobalDescriptor, "_load", lambda *_: pytest.fail("a network was loaded"))
        early = [fingerprint_of(settings, device) for device in ("cpu", *([None] if torch_has_no_gpu() else []))]
    assert set(early) == {GlobalDescriptor(settings, "cpu").fingerprint()}


def test_a_file_that_is_no_descriptor_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        fingerprint_of(GlobalSettings(model=str(path)), "cpu")


def test_imagenet_network_in_bfloat16_agrees_with_float32() -> None:
    from features.global_descriptor.runtime import COSINE_TOLERANCE

    photos = [photo(seed=s) for s in range(3)]
    frames = [Frame(p.size) for p in photos]
    base = GlobalSettings(model="efficientnet_lite0", input_size=(64, 96), mirror=False)
    full, half = (GlobalDescriptor(base.replace(precision=p), "cpu").describe(photos, frames) for p in ("fp32", "bf16"))
    assert (full * half).sum(axis=1).min() > 1 - COSINE_TOLERANCE
    assert full.shape == (3, 1280)
    assert not np.array_equal(full, half)


def test_folding_batch_norms_changes_nothing() -> None:
    import torch

    from features.global_descriptor.descriptor import load_network
    from features.global_descriptor.runtime import fold_norms

    network, _ = load_network(find_model("efficientnet_lite0"), None)
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = network(x), fold_norms(network)(x)
        again = network(x)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-4)
    assert torch.equal(before, again), "the network given must stay as it was"
    assert not any(type(m).__name__ == "BatchNorm2d" for m in fold_norms(network).modules())


def test_inside_padding_gives_the_published_network() -> None:
    """Our trunk against the package's own network, with its weights, at a tall and a wide input."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    from features.global_descriptor.lite_trunk import LiteTrunk
    from features.weights import weight_file

    path = weight_file("efficientnet_lite0")
    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(torch.load(path, weights_only=True))
    theirs.eval()
    ours = LiteTrunk("efficientnet_lite0").eval()
    ours.load_imagenet(path)
    for shape in ((1, 3, 96, 64), (1, 3, 64, 160)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            torch.testing.assert_close(ours(x)[1], theirs.extract_features(x), rtol=1e-4, atol=1e-4)


def test_small_inputs_stay_in_float32(tmp_path: Path) -> None:
    settings = GlobalSettings(model=str(tiny_model(tmp_path / "a.safetensors")))
    assert GlobalDescriptor(settings, "cpu").precisions == ["fp32"]


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="the extra 'openvino' is not installed")
def test_openvino_agrees_with_torch(tmp_path: Path) -> None:
    base = GlobalSettings(model=str(tiny_model(tmp_path / "a.safetensors")), precision="fp32", batch=2)
    photos = [photo(seed=s) for s in range(3)]
    frames = [Frame(p.size) for p in photos]
    torch_vectors = GlobalDescriptor(base, "cpu").describe(photos, frames)
    openvino_vectors = GlobalDescriptor(base.replace(runtime="openvino"), "cpu").describe(photos, frames)
    np.testing.assert_allclose(openvino_vectors, torch_vectors, atol=1e-4)


def test_generalised_mean_by_hand() -> None:
    import torch

    from features.global_descriptor.networks import GeneralisedMean

    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 2.0]]]])
    expected = [[((1 + 8 + 27 + 64) / 4) ** (1 / 3), (8 / 4) ** (1 / 3)]]
    torch.testing.assert_close(GeneralisedMean(3.0)(x), torch.tensor(expected), rtol=1e-5, atol=1e-5)
    half = GeneralisedMean(3.0)(x.bfloat16())
    assert half.dtype == torch.float32, "the power is taken in float32"


def test_unknown_models_and_options_are_named() -> None:
    with pytest.raises(SettingsError, match=r"no descriptor is called 'belugga'.*efficientnet_lite0"):
        find_model("belugga")
    with pytest.raises(SettingsError, match="nothing is downloaded"):
        find_model("timm:resnet50")
    with pytest.raises(SettingsError, match="runtime must be one of torch, openvino"):
        GlobalSettings(runtime="onnx")
    with pytest.raises(SettingsError, match="input_size must be"):
        GlobalSettings(input_size=(8, 8))
    with pytest.raises(SettingsError, match="did you mean 'mirror'"):
        GlobalSettings.from_dict({"miror": True})


def test_other_files_are_no_models(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from features.model_file import ModelFileError, load_embedder

    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"not a model")
    with pytest.raises(ModelFileError, match=r"junk\.safetensors cannot be read"):
        load_embedder(junk)
    save_file({"a": np.zeros(3, np.float32)}, junk)
    with pytest.raises(ModelFileError, match="not one of scarmatch's"):
        load_embedder(junk)


def test_settings_can_be_read_without_torch() -> None:
    code = (
        "import sys, features.global_descriptor.descriptor as g; g.GlobalSettings(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not shipped_models(), reason="no trained model is shipped")
def test_the_shipped_model_is_the_default_and_small() -> None:
    assert default_model() == "beluga"
    for path in shipped_models().values():
        assert path.stat().st_size < 15e6
        assert path.with_suffix(".md").is_file(), "a shipped model needs its card"
    descriptor = GlobalDescriptor(GlobalSettings(), "cpu")
    here = photo(150, 430)
    vector = descriptor.describe([here], [Frame(here.size)])
    assert vector.shape == (1, descriptor.dim) == (1, 1024 * len(find_models("beluga")))
    assert np.isfinite(vector).all()
