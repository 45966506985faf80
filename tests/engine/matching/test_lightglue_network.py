"""The rewritten LightGlue gives what the published one gives, alone, in batches, padded and in half precision."""

from __future__ import annotations

import pytest
import torch

from engine.matching.lightglue import fast_dtype
from engine.matching.lightglue_network import LightGlueNetwork, normalise_state_dict
from features.weights import weight_file

SIZE = (200, 576)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return torch.load(weight_file("lightglue-aliked"), map_location="cpu", weights_only=True)


@pytest.fixture(scope="module")
def network(state: dict[str, torch.Tensor]) -> LightGlueNetwork:
    return LightGlueNetwork(state, heads=4, dtype=torch.float32)


def cloud(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    xy = torch.rand(count, 2, generator=generator) * torch.tensor([SIZE[0] - 1.0, SIZE[1] - 1.0])
    descriptors = torch.randn(count, 128, generator=generator)
    return xy, torch.nn.functional.normalize(descriptors, dim=1)


def moved(xy: torch.Tensor, descriptors: torch.Tensor, keep: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A second view: a part of the keypoints, shuffled, moved a little, described a little differently."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(xy), generator=generator)[:keep]
    noise = 0.03 * torch.randn(keep, 128, generator=generator)
    return xy[rows] * 0.97 + 2.0, torch.nn.functional.normalize(descriptors[rows] + noise, dim=1)


def pair(network: LightGlueNetwork, count: int, keep: int, seed: int):
    xy, descriptors = cloud(count, seed)
    return network.prepare(xy, descriptors, SIZE), network.prepare(*moved(xy, descriptors, keep, seed + 1), SIZE)


def test_equals_the_published_network(state, network) -> None:
    from kornia.feature import LightGlue

    reference = LightGlue(None, input_dim=128, flash=False, width_confidence=-1, depth_confidence=-1).eval()
    missing, unexpected = reference.load_state_dict(normalise_state_dict(state), strict=False)
    assert set(missing) <= {"confidence_thresholds"}
    assert not unexpected
    xy0, d0 = cloud(90, 1)
    xy1, d1 = moved(xy0, d0, 70, 2)
    size = torch.tensor([SIZE])
    with torch.inference_mode():
        expected = reference(
            {
                "image0": {"keypoints": xy0[None], "descriptors": d0[None], "image_size": size},
                "image1": {"keypoints": xy1[None], "descriptors": d1[None], "image_size": size},
            }
        )
    prepared = [(network.prepare(xy0, d0, SIZE), network.prepare(xy1, d1, SIZE))]
    found = network.match(prepared)[0]
    assert len(found.indices) > 50
    assert torch.equal(found.indices, expected["matches"][0])
    torch.testing.assert_close(found.confidence, expected["scores"][0], atol=1e-4, rtol=0)


def test_a_batch_equals_its_singles_in_order(network) -> None:
    pairs = [
        pair(network, count, keep, seed) for count, keep, seed in ((80, 60, 1), (30, 10, 5), (64, 64, 9), (1, 1, 13))
    ]
    together = network.match(pairs)
    for one, found in zip(pairs, together, strict=True):
        alone = network.match([one])[0]
        assert torch.equal(alone.indices, found.indices)
        torch.testing.assert_close(alone.confidence, found.confidence, atol=2e-5, rtol=0)


def test_bfloat16_keeps_the_matches(state, network) -> None:
    half = LightGlueNetwork(state, heads=4, dtype=torch.bfloat16)
    kept = total = 0
    for seed in (1, 5, 9):
        exact = network.match([pair(network, 100, 80, seed)])[0]
        rough = half.match([pair(half, 100, 80, seed)])[0]
        exact_set, rough_set = ({tuple(row) for row in found.indices.tolist()} for found in (exact, rough))
        kept += len(exact_set & rough_set)
        total += len(exact_set)
    assert kept >= 0.98 * total


def test_swapped_sides_swap_the_matches(network) -> None:
    first, second = pair(network, 80, 60, 1)
    forward = network.match([(first, second)])[0]
    backward = network.match([(second, first)])[0]
    pairs = {tuple(row) for row in forward.indices.tolist()}
    swapped = {tuple(row[::-1]) for row in backward.indices.tolist()}
    assert len(pairs & swapped) >= 0.9 * len(pairs)


def test_nothing_to_match(network) -> None:
    assert network.match([]) == []


def test_lighterglue_weights_fit() -> None:
    state = torch.load(weight_file("lighterglue-xfeat"), map_location="cpu", weights_only=True)
    network = LightGlueNetwork(state, heads=1, dtype=torch.float32)
    assert (network.n_layers, network.dim, network.input_dim) == (6, 96, 64)
    from kornia.feature import LightGlue

    shape = {"input_dim": 64, "descriptor_dim": 96, "n_layers": 6, "num_heads": 1}
    reference = LightGlue(None, **shape, flash=False, width_confidence=-1, depth_confidence=-1, filter_threshold=0.0)
    reference.load_state_dict(normalise_state_dict(state), strict=False)
    generator = torch.Generator().manual_seed(0)
    xy = torch.rand(50, 2, generator=generator) * 190.0
    descriptors = torch.nn.functional.normalize(torch.randn(50, 64, generator=generator), dim=1)
    view = {"keypoints": xy[None], "descriptors": descriptors[None], "image_size": torch.tensor([SIZE])}
    with torch.inference_mode():
        expected = reference.eval()({"image0": view, "image1": view})
    side = network.prepare(xy, descriptors, SIZE)
    found = network.match([(side, side)], threshold=0.0)[0]
    assert torch.equal(found.indices, expected["matches"][0])
    torch.testing.assert_close(found.confidence, expected["scores"][0], atol=1e-4, rtol=1e-3)


def test_a_switch_of_another_library_changes_nothing(state) -> None:
    half = LightGlueNetwork(state, heads=4, dtype=torch.bfloat16)
    before = half.match([pair(half, 100, 80, 1)], threshold=0.0)[0]
    enabled = torch.backends.cuda.flash_sdp_enabled()
    try:
        torch.backends.cuda.enable_flash_sdp(False)
        after = half.match([pair(half, 100, 80, 1)], threshold=0.0)[0]
    finally:
        torch.backends.cuda.enable_flash_sdp(enabled)
    assert torch.equal(before.indices, after.indices)
    assert torch.equal(before.confidence, after.confidence)


@pytest.mark.parametrize(("amx", "bf16", "wanted"), [(True, True, "bfloat16"), (False, True, "float32")])
def test_bfloat16_is_chosen_only_where_it_is_faster(monkeypatch, amx: bool, bf16: bool, wanted: str) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert fast_dtype("cpu") is getattr(torch, wanted)
    assert fast_dtype("cuda") is torch.float16
