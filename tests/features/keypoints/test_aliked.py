"""The sparse ALIKED equals the published one to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kornia.feature.aliked.aliked import DeformableConv2d

from features.keypoints.aliked import CompiledDeformable, CompiledSelu, SparseAliked
from features.weights import weight_file


@pytest.mark.parametrize("shape", [(160, 96), (97, 131), (64, 200)])
def test_equals_the_dense_network(shape: tuple[int, int]) -> None:
    from kornia.feature import ALIKED

    def load() -> ALIKED:
        network = ALIKED("aliked-t16", max_num_keypoints=100, detection_threshold=-1)
        state = torch.load(weight_file("aliked-t16"), map_location="cpu", weights_only=True)
        network.load_state_dict(state, strict=False)
        return network.eval()

    rng = np.random.default_rng(0)
    blobs = torch.from_numpy(rng.random((1, 3, shape[0] // 8 + 1, shape[1] // 8 + 1), np.float32))
    image = torch.nn.functional.interpolate(blobs, shape, mode="bicubic").clamp(0, 1)
    with torch.inference_mode():
        expected = load()(image)[0]
    sparse = SparseAliked(load())
    points, scores, maps = sparse.detect(image, 100)
    descriptors = sparse.describe(maps, points)
    assert len(points) == len(expected.keypoints)
    distance, nearest = torch.cdist(expected.keypoints, points, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    same = distance < 0.01
    # The best 100 may differ in the last one or two, where scores agree to the last bits.
    assert same.float().mean() > 0.95
    torch.testing.assert_close(scores[nearest[same]], expected.keypoint_scores[same], atol=1e-4, rtol=0)
    torch.testing.assert_close(descriptors[nearest[same]], expected.descriptors[same], atol=1e-4, rtol=0)


def test_compiled_reading_equals_torch_s() -> None:
    from kornia.feature import ALIKED

    torch.manual_seed(0)
    sparse = SparseAliked(ALIKED("aliked-t16", max_num_keypoints=10, detection_threshold=-1))
    _, _, maps = sparse.detect(torch.rand(1, 3, 70, 101), 10)
    generator = torch.Generator().manual_seed(1)
    pixels = torch.stack([torch.randint(0, size, (60,), generator=generator) for size in (101, 70)], 1)
    torch.testing.assert_close(sparse._read(maps, pixels), sparse._read_by_torch(maps, pixels), atol=1e-5, rtol=0)
    # Between pixels, on them, and beyond the edges, where there is nothing.
    between = torch.cat([pixels + torch.rand(60, 2, generator=generator), pixels.float(), torch.tensor([[-3.5, 4.0]])])
    found, expected = sparse._read_between(maps, between), sparse._read_between_by_torch(maps, between)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found[-1] == 0).all()


def test_compiled_selu_equals_torch_s() -> None:
    values = torch.cat([torch.linspace(-120, 20, 5003), torch.tensor([0.0, -0.0, 1e-8, -1e-8])]).view(1, 1, -1)
    expected = torch.nn.functional.selu(values)
    torch.testing.assert_close(CompiledSelu()(values.clone()), expected, atol=3e-7, rtol=3e-7)
    strided = values.expand(2, 3, -1)[:, :, ::2].clone()[..., ::2]
    expected = torch.nn.functional.selu(strided.clone())
    torch.testing.assert_close(CompiledSelu()(strided), expected)


@pytest.mark.parametrize("size", [(7, 11), (1, 1)])
def test_compiled_deformable_convolution_equals_kornia_s(size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    plain = DeformableConv2d(5, 6, bias=True).eval()
    torch.nn.init.normal_(plain.offset_conv.weight, std=0.5)
    x = torch.randn(1, 5, *size)
    with torch.inference_mode():
        torch.testing.assert_close(CompiledDeformable(plain)(x), plain(x), atol=1e-5, rtol=1e-5)


def test_nothing_to_describe() -> None:
    from kornia.feature import ALIKED

    sparse = SparseAliked(ALIKED("aliked-t16", max_num_keypoints=10, detection_threshold=-1))
    _, _, maps = sparse.detect(torch.zeros(1, 3, 64, 64), 10)
    assert sparse.describe(maps, torch.zeros(0, 2)).shape == (0, 64)
