"""The README's pictures: every layer has its cell, and files stay small."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from bench.document_pictures import _MOST_BYTES, _SHOWN, _grid, draw_layers, save_small
from engine.records import Correspondences, Verification
from engine.report import drawing
from engine.report.pair_layers import LAYERS
from engine.search.pair_evidence import PairEvidence, SkinPlaces
from features.records import Frame, LocalFeatures, Photo, Regions


def evidence() -> PairEvidence:
    rng = np.random.default_rng(0)
    size, views = (60, 180), []
    for _ in range(2):
        rgb = rng.integers(60, 120, (180, 60, 3)).astype(np.uint8)
        xy, ones = rng.uniform(5, 55, (8, 2)).astype(np.float32), np.ones(8, np.float32)
        features = LocalFeatures(xy, ones, np.zeros((8, 4), np.float16), ones, ones, Frame(size), "sift")
        full = np.ones((180, 60), np.float32)
        views.append((Photo(rgb, full > 0, "0"), features, Regions(full, full, 1.0, 1.0), full))
    (p0, f0, r0, h0), (p1, f1, r1, h1) = views
    matches = Correspondences(np.stack([np.arange(8)] * 2, 1).astype(np.int32), np.ones(8, np.float32), 0.5)
    check = replace(Verification.none(8), ok=True, kind="similarity", inliers=np.ones(8, bool), n_inliers=8)
    skin = SkinPlaces(f0.xy, f1.xy, np.ones(8, np.float32))
    return PairEvidence(p0, p1, f0, f1, r0, r1, matches, check, heat0=h0, heat1=h1, skin=skin)


def test_every_layer_has_a_cell_of_its_own() -> None:
    named = {layer for layers, _ in _SHOWN for layer in layers}
    # The first of the README's pictures shows the others.
    assert named == set(LAYERS) - {"photographs", "matches", "inliers"}
    whole, blind = (
        draw_layers(evidence(), 120),
        draw_layers(replace(evidence(), skin=None, heat0=None, heat1=None), 120),
    )
    assert whole.shape == blind.shape
    assert (whole != blind).any()


def test_cells_stand_side_by_side_in_order_and_the_rest_is_ground() -> None:
    cells = [np.full((10 + n, 20, 3), 40 * n, np.uint8) for n in range(1, 6)]
    canvas = _grid(cells)
    assert canvas.shape == (2 * 15, 3 * 20, 3)
    for number, cell in enumerate(cells):
        y, x = number // 3 * 15, number % 3 * 20
        assert (canvas[y : y + len(cell), x : x + 20] == cell).all()
    assert (canvas[15:, 40:] == drawing.BACKGROUND).all()


def test_a_large_picture_is_written_with_fewer_colours(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    plain = save_small(tmp_path / "plain.png", np.full((20, 30, 3), 7, np.uint8))
    assert (np.asarray(Image.open(plain).convert("RGB")) == 7).all()
    noisy = save_small(tmp_path / "noisy.png", rng.integers(0, 255, (420, 420, 3)).astype(np.uint8))
    assert noisy.stat().st_size < _MOST_BYTES
    assert Image.open(noisy).mode == "P"
