"""Spoilt photographs: what each way takes away, and that queries stay who they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.degradations import DEGRADATIONS, Change, named, tighten, turn
from bench.measurements.robustness import spoilt
from engine.catalogue.catalog import Catalog, CatalogError
from features.photo import read_photo


def by_name(name: str) -> Change:
    return named([name])[0].change


def test_every_way_changes_pixels_and_none_depends_on_chance(made_up_dir: Path) -> None:
    rgb = read_photo(Catalog.read(made_up_dir).table["path"].iloc[0]).rgb
    before = rgb.copy()
    assert len({one.name for one in DEGRADATIONS}) == len(DEGRADATIONS) == 20
    for one in DEGRADATIONS:
        changed = one.change(rgb)
        assert changed.dtype == np.uint8, one.name
        assert changed.shape != rgb.shape or (changed != rgb).any(), one.name
        assert np.array_equal(changed, one.change(rgb)), one.name
    assert np.array_equal(rgb, before)


def test_what_each_way_takes() -> None:
    """On a tall picture, so that rows and columns cannot be confused."""
    rgb = np.random.default_rng(0).integers(40, 200, (300, 100, 3)).astype(np.uint8)
    assert by_name("dark-60")(rgb).mean() == pytest.approx(0.6 * rgb.mean(), abs=0.5)
    assert by_name("blur-2")(rgb).std() < by_name("blur-1")(rgb).std() < by_name("blur-0.5")(rgb).std() < rgb.std()
    assert by_name("both-1-60")(rgb).mean() == pytest.approx(0.6 * rgb.mean(), abs=1.0)
    assert by_name("small-25")(rgb).shape == (75, 25, 3)
    assert np.array_equal(by_name("front-half")(rgb), rgb[:150])
    assert np.array_equal(by_name("rear-half")(rgb), rgb[150:])
    shifted = by_name("crop-shifted")(rgb)
    assert np.array_equal(shifted[:270, :90], rgb[30:, 10:])
    assert np.array_equal(tighten(rgb, 0.1), rgb[30:270, 10:90])
    white = (by_name("white-corners")(rgb) == 255).all(axis=2)
    assert white.mean() == pytest.approx(4 * 0.25 * 0.25 / 2, rel=0.05)
    assert white[0, 0]
    assert white[-1, -1]
    assert not white[150].any()
    error = {q: np.abs(by_name(f"jpeg-{q}")(rgb).astype(int) - rgb).mean() for q in (50, 20)}
    assert 0 < error[50] < error[20]


def test_a_turn_is_clockwise_and_keeps_everything() -> None:
    rgb = np.full((200, 60, 3), 50, np.uint8)
    rgb[2:8, 28:32] = 250  # the head
    turned = turn(rgb, 20.0)
    assert turned.shape[0] > 200
    assert turned.shape[1] > 60
    y, x = (values.mean() for values in np.nonzero(turned[..., 0] > 150))
    assert x > turned.shape[1] / 2 + 20, "the head goes to the right"
    assert y < 30
    area = (turned[..., 0].astype(float) - 50).sum() / (rgb[..., 0].astype(float) - 50).sum()
    assert area == pytest.approx(1.0, abs=0.05)


def test_unknown_ways_are_refused_with_the_known_ones() -> None:
    with pytest.raises(CatalogError, match=r"'blurr'.*blur-0\.5"):
        named(["blurr"])
    assert [one.name for one in named(["jpeg-20", "blur-1"])] == ["blur-1", "jpeg-20"], "in the table's order"


def test_spoilt_queries_stay_who_they_are(made_up_dir: Path, tmp_path: Path) -> None:
    whole = Catalog.read(made_up_dir).take(range(3))
    poor = spoilt(whole, named(["front-half"])[0], tmp_path)
    for column in ("image_id", "individual_id", "encounter_id", "date", "viewpoint"):
        assert poor.table[column].tolist() == whole.table[column].tolist()
    for before, after in zip(whole.table["path"], poor.table["path"], strict=True):
        rgb = read_photo(before).rgb
        np.testing.assert_array_equal(read_photo(after).rgb, rgb[: len(rgb) // 2])
