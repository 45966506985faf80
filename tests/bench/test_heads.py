"""The package's EfficientNet-Lite0 as timm calls its tensors, and the figures of one way to name animals."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.measurements.heads import _way, lite_of_timm
from engine.search.individuals import NEW_INDIVIDUAL
from features.global_descriptor.lite_trunk import LiteTrunk
from features.global_descriptor.timm_trunk import TimmTrunk, import_timm
from features.weights import weight_file
from scarmatch.settings import SettingsError


def test_timm_s_network_gives_the_numbers_of_the_package_s(tmp_path: Path) -> None:
    try:
        import_timm()
    except SettingsError as error:
        pytest.skip(str(error))
    ours, theirs = LiteTrunk().eval(), TimmTrunk("tf_efficientnet_lite0", lite_of_timm(tmp_path)).eval()
    ours.load_imagenet(weight_file("efficientnet_lite0"))
    with torch.inference_mode():
        pictures = torch.rand(1, 3, 224, 224)
        torch.testing.assert_close(ours(pictures)[0], theirs(pictures)[0])


def test_known_and_new_animals_are_counted_apart() -> None:
    truth = {"1": "a", "2": "b", "3": NEW_INDIVIDUAL, "4": NEW_INDIVIDUAL}
    named = {"1": ["a", "b"], "2": ["a", "b"], "3": [NEW_INDIVIDUAL], "4": ["a", "b", "c", NEW_INDIVIDUAL]}
    way = _way("by hand", named, truth)
    assert way.map5[0] == pytest.approx((1 + 0.5 + 1 + 0.25) / 4)
    assert (way.known_first, way.new_first) == (0.5, 0.5)
