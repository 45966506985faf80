"""Animals that lie in the picture at any angle are found where a query is compared in several rotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.demo.species import SpeciesSettings, make_species
from engine.report.pair_picture import draw_pair
from engine.search.matcher import Matcher, MatcherSettings


@pytest.fixture(scope="module")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Photographs of three animals, and a copy of the first that lies across."""
    folder, drawn = tmp_path_factory.mktemp("turned"), tmp_path_factory.mktemp("drawn")
    make_species(drawn, SpeciesSettings("spots", individuals=3, photographs=1))
    for number, path in enumerate(sorted(drawn.rglob("*.jpg"))):
        with Image.open(path) as photo:
            photo.save(folder / f"{number}.png")
            if number == 0:
                photo.rotate(125, Image.Resampling.BICUBIC, expand=True, fillcolor="white").save(folder / "across.png")
    return Catalog.read(folder)


def _asked(settings: MatcherSettings, catalog: Catalog, store: Path, workers: int = 1) -> tuple[Matcher, CatalogIndex]:
    matcher = Matcher(settings, store, ranker="fusion", workers=workers)
    return matcher, matcher.index(catalog)


def _pairs(matcher: Matcher, index: CatalogIndex) -> pd.DataFrame:
    return matcher.pairs(index.subset(["across"]), index).set_index("candidate_id")


def test_the_best_rotation_of_a_query_is_compared(
    small_settings: MatcherSettings, turned: Catalog, tmp_path: Path
) -> None:
    upright = _pairs(*_asked(small_settings, turned, tmp_path))
    several = small_settings.with_option("describe.rotations", "8")
    matcher, index = _asked(several, turned, tmp_path)
    found = _pairs(matcher, index)
    for column in ("mutual_nn_inliers", "skin_inliers", "local_score"):
        assert found.loc["0", column] > 2 * max(upright.loc["0", column], found.drop("0")[column].max()), column
    assert found.loc["0", "mutual_nn_rotation"] == pytest.approx(-10, abs=4), "225 of 235 degrees"
    # The same from the store, and with several processes.
    again = _asked(several, turned, tmp_path / "fresh", workers=2)
    pd.testing.assert_frame_equal(_pairs(*again), found)
    pd.testing.assert_frame_equal(_pairs(*_asked(several, turned, tmp_path)), found)
    for one in (matcher, again[0]):
        one.close()


def test_a_pair_is_shown_as_it_was_compared(small_settings: MatcherSettings, turned: Catalog, tmp_path: Path) -> None:
    several = small_settings.with_option("describe.rotations", "8")
    matcher, index = _asked(several, turned, tmp_path, workers=2)
    evidence = matcher.evidence("across", "0", index, index)
    frame = evidence.features0.frame
    assert 90 * frame.quarter_turns + frame.degrees == 225, "125 + 225 is ten short of upright"
    # Keypoints and skin of one picture: the placement of the keypoints explains the skin.
    skin = evidence.skin
    assert evidence.verification.ok and skin is not None and len(skin) > 20
    laid = np.c_[skin.xy0, np.ones(len(skin))] @ evidence.verification.model.T
    gap = np.linalg.norm(laid[:, :2] / laid[:, 2:] - skin.xy1, axis=1)
    assert np.median(gap) < 0.06 * max(evidence.features1.frame.canonical_size)
    assert draw_pair(evidence).ndim == 3
    prefetched = matcher.prefetch([("across", "0")], index, index)
    shown = matcher.evidence("across", "0", index, index, prefetched)
    np.testing.assert_array_equal(shown.features0.xy, evidence.features0.xy)
    np.testing.assert_array_equal(shown.correspondences.indices, evidence.correspondences.indices)
    matcher.close()
