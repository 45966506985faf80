"""Heat maps: arithmetic by hand, the descriptor's own cosine, and the right place on turned and mirrored pictures."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings
from features.global_descriptor.heatmap import HeatMapper, PooledView, _on_picture, similarity_heat
from features.global_descriptor.networks import PlainEmbedder
from features.photo import canonical_frame, photo_from_array


class Shown(nn.Module):
    """A trunk with two channels; only its channel count is read."""

    channels = (2, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def view(values: list[list[list[float]]], middle: bool = True) -> PooledView:
    last = torch.tensor([values])
    return PooledView((torch.ones(1, 2, 4, 4), last) if middle else (last,), PlainEmbedder(Shown(), power=1.0).eval())


def test_one_pair_by_hand() -> None:
    # Channel means: u = (1, 1) and v = (3, 4), so S = 7 / (5 sqrt 2).
    map0 = [[[2.5, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0.5, 2.5]]]
    map1 = [[[6.0, 2.0], [2.0, 2.0]], [[4.0, 4.0], [4.0, 4.0]]]
    heats0, heats1, cosine = similarity_heat(view(map0), view(map1))
    assert cosine == pytest.approx(7 / (5 * math.sqrt(2)), abs=1e-6)
    assert len(heats0) == 1, "the stage that is not pooled has no heat"
    # dS/du = (v/|v| - S u/|u|) / |u| = (-0.1, 0.1) / sqrt 2: only where channel 2 is above channel 1 in photograph 0.
    np.testing.assert_allclose(heats0[0], [[0, 0], [0, 0.1 * (2.5 - 0.5) / math.sqrt(2)]], atol=1e-6)
    # dS/dv = (u/|u| - S v/|v|) / |v| = (0.16, -0.12) / (5 sqrt 2), on (6, 4) and elsewhere (2, 4).
    np.testing.assert_allclose(heats1[0], [[(0.96 - 0.48) / (5 * math.sqrt(2)), 0], [0, 0]], atol=1e-6)
    back1, back0, again = similarity_heat(view(map1), view(map0))
    assert again == pytest.approx(cosine)
    np.testing.assert_allclose(back0[0], heats0[0])
    np.testing.assert_allclose(back1[0], heats1[0])


def test_heat_lands_where_its_cell_lies() -> None:
    stage = np.zeros((6, 3), np.float32)
    stage[1, 0] = 1.0
    for mirrored, x in ((False, 5), (True, 24)):
        heat = _on_picture([stage], mirrored, (30, 60))
        row, column = np.unravel_index(int(heat.argmax()), heat.shape)
        assert abs(column - x) <= 5
        assert abs(row - 14.5) <= 1.5
        assert heat.min() >= 0


def blob(shape: tuple[int, int], centre: tuple[int, int]) -> np.ndarray:
    """Dark water with one bright, striped patch around (x, y)."""
    rgb = np.full((*shape, 3), 60, np.uint8)
    x, y = centre
    rgb[y - 20 : y + 20, x - 14 : x + 14] = 200
    rgb[y - 20 : y + 20 : 6, x - 14 : x + 14] = 90
    return rgb


@pytest.fixture(scope="module")
def settings() -> GlobalSettings:
    return GlobalSettings(model="efficientnet_lite0", input_size=(96, 192), mirror=True, precision="fp32")


def test_similarity_is_the_descriptors_own(settings: GlobalSettings) -> None:
    mapper, descriptor = HeatMapper(settings, "cpu"), GlobalDescriptor(settings, "cpu")
    places = ((30, 40), (60, 150))
    photos = [photo_from_array(blob((200, 90), place)) for place in places]
    frames = [canonical_frame(photo.size, "top") for photo in photos]
    found = mapper.pair(photos[0], frames[0], photos[1], frames[1])
    vectors = descriptor.describe(photos, frames)
    assert found.similarity == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-4)
    for heat in (found.heat0, found.heat1):
        assert heat.shape == (200, 90) and heat.dtype == np.float32
        assert heat.min() >= 0 and heat.max() == 1.0
    swapped = mapper.pair(photos[1], frames[1], photos[0], frames[0])
    np.testing.assert_allclose(swapped.heat1, found.heat0, atol=1e-5)


def test_a_lateral_is_mapped_back_to_its_own_pixels(settings: GlobalSettings) -> None:
    upright = blob((200, 90), (30, 40))
    top = photo_from_array(upright)
    frame = canonical_frame((200, 90), "left")
    lying = photo_from_array(np.ascontiguousarray(np.rot90(upright, -frame.quarter_turns)))
    mapper = HeatMapper(settings, "cpu")
    mine = canonical_frame(top.size, "top")
    alone = mapper.pair(top, mine, top, mine).heat0
    turned = mapper.pair(lying, frame, lying, frame).heat0
    assert turned.shape == (90, 200)
    np.testing.assert_allclose(np.rot90(turned, frame.quarter_turns), alone, atol=1e-5)


def test_mirrored_photograph_has_the_mirrored_heat(settings: GlobalSettings) -> None:
    mapper = HeatMapper(settings, "cpu")
    first, second = photo_from_array(blob((200, 90), (30, 40))), photo_from_array(blob((200, 90), (60, 150)))
    frame = canonical_frame(first.size, "top")
    flipped = [photo_from_array(np.ascontiguousarray(photo.rgb[:, ::-1])) for photo in (first, second)]
    plain = mapper.pair(first, frame, second, frame)
    mirrored = mapper.pair(flipped[0], frame, flipped[1], frame)
    np.testing.assert_allclose(mirrored.heat0[:, ::-1], plain.heat0, atol=2e-3)
    assert mirrored.similarity == pytest.approx(plain.similarity, abs=1e-4)


def test_a_trained_model_has_two_stages(tmp_path: Path) -> None:
    """The shipped network pools two stages: both take part, and the maps of a photograph are computed once."""
    mapper = HeatMapper(GlobalSettings(precision="fp32"), "cpu")
    photo = photo_from_array(blob((200, 90), (30, 40)))
    frame = canonical_frame(photo.size, "top")
    views = mapper._views(photo, frame)
    assert mapper._views(photo, frame) is views
    heats, _, cosine = similarity_heat(views[0], mapper._views(photo_from_array(blob((200, 90), (60, 150))), frame)[0])
    assert len(heats) == 2
    assert heats[0].shape[0] > heats[1].shape[0]
    assert -1 <= cosine < 1
