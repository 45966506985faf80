"""The whole way on a few real photographs (skipped where they are absent)."""

from __future__ import annotations

from pathlib import Path

import pytest

from scarmatch import Catalog, Matcher, check_catalog

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def some_whales(real_catalog_dir: Path) -> Catalog:
    """Eight whales with two photographs of one encounter each."""
    catalog = Catalog.read(real_catalog_dir)
    table = catalog.table[catalog.table["viewpoint"] == "top"]
    twice = table[table.groupby("encounter_id")["image_id"].transform("size") >= 2]
    first = twice.drop_duplicates("individual_id").head(8)["encounter_id"]
    chosen = twice[twice["encounter_id"].isin(first)].groupby("encounter_id").head(2)
    return catalog.subset(chosen["image_id"].tolist())


def test_the_catalogue_is_sound(real_catalog_dir: Path) -> None:
    report = check_catalog(real_catalog_dir, decode=False)
    assert report.ok
    assert report.summary is not None
    assert report.summary.photographs == 3880


def test_near_copies_are_found_with_a_probability(some_whales: Catalog, tmp_path: Path) -> None:
    settings = Matcher().settings
    for name, value in {"describe.keypoints.max_keypoints": "256", "shortlist.size": "8"}.items():
        settings = settings.with_option(name, value)
    matcher = Matcher(settings, tmp_path, workers=1)
    index = matcher.index(some_whales)
    assert len(index) == 16
    assert not index.failures
    best = matcher.match(index, index, top=1)
    truth = some_whales.table.set_index("image_id")["individual_id"]
    assert (best["individual_id"].to_numpy() == truth[best["query_id"]].to_numpy()).mean() >= 0.6
    assert best["probability"].between(0, 1).all()
