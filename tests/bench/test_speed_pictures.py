"""Pictures are drawn many a second, the page of many queries is one file, and the README's pictures stay small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.pictures import draw_layers, save_small
from bench.speed import pictures
from engine.report.explain import heat_maps
from engine.report.pair_layers import LAYERS
from scarmatch import Catalog, Matcher


@pytest.fixture(scope="module")
def matcher(small_settings, shared_store: Path) -> Matcher:
    return Matcher(small_settings, shared_store, ranker="fusion", workers=1)


@pytest.fixture(scope="module")
def index(matcher: Matcher, made_up_dir: Path):
    return matcher.index(Catalog.read(made_up_dir).take(range(4)))


def test_every_layer_is_timed_and_the_page_is_one_file(matcher, index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "open_seconds", lambda page: None)
    figures = pictures.measure(index, matcher, pairs=2, queries=4)
    rates = figures["pictures_per_second"]
    assert set(LAYERS) < set(rates)
    assert min(rates.values()) > 0
    page = figures["page"]
    assert (page["files"], page["queries"], page["pairs_with_layers"]) == (1, 4, 12)
    assert "1 file" in pictures.render(figures)


def test_a_stamp_tells_photographs_apart_and_leaves_the_original() -> None:
    rgb = np.full((60, 40, 3), 90, np.uint8)
    marked = [pictures.stamp(rgb, number) for number in (1, 2, 300)]
    assert (rgb == 90).all()
    assert len({one.tobytes() for one in marked}) == 3


def test_the_readmes_pictures_fit(matcher, index, tmp_path: Path) -> None:
    evidence = heat_maps(matcher)(matcher.evidence(index.catalog.ids[0], index.catalog.ids[1], index, index))
    shown = draw_layers(evidence, 120)
    assert shown.ndim == 3 and min(shown.shape[:2]) > 240
    noise = np.random.default_rng(0).integers(0, 255, (500, 500, 3), dtype=np.uint8)
    file = save_small(tmp_path / "new" / "noise.png", noise)
    assert file.stat().st_size < 300_000
    assert Image.open(save_small(tmp_path / "plain.png", shown[:50, :50])).mode == "RGB"
