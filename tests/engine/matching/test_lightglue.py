"""LightGlue's options and fingerprint."""

from __future__ import annotations

import pytest

from engine.matching.lightglue import LightGlueMatcher, LightGlueSettings
from scarmatch.settings import SettingsError


def test_fingerprints_follow_settings_and_weights() -> None:
    prints = {
        LightGlueMatcher("xfeat").fingerprint(),
        LightGlueMatcher("xfeat", LightGlueSettings(threshold=0.3)).fingerprint(),
        LightGlueMatcher("disk").fingerprint(),
    }
    assert len(prints) == 3


@pytest.mark.parametrize("options", [{"precision": "int8"}, {"max_keypoints": 0}, {"batch_keypoints": 1}])
def test_bad_options_are_refused(options: dict) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        LightGlueSettings(**options)


def test_keypoints_without_weights_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"'sift'.*aliked"):
        LightGlueMatcher("sift")
