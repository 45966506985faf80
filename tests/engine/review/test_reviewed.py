"""A catalogue after its decisions: new photographs are in it, with all that is known of them, under today's names."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from engine.catalogue.catalog import COLUMNS, Catalog
from engine.commands.training import _with_decisions
from engine.review.decision_table import ReviewFile
from engine.review.decisions import Decision, ReviewError
from engine.review.reviewed import record_of, reviewed_catalog


@pytest.fixture
def new() -> Catalog:
    """Two photographs with everything that a catalogue can know, and with next to nothing."""
    whole = {
        "image_id": "n1",
        "path": "/new/n1.jpg",
        "viewpoint": "top",
        "timestamp": pd.Timestamp("2020-05-06 07:08:09"),
        "encounter_id": "e9",
        "width": 20,
        "height": 60,
        "box": (1, 2, 20, 60),
        "species": "beluga",
        "photo_size": (100, 200),
        "utc_offset": -480.0,
    }
    return Catalog(pd.DataFrame([whole, {"image_id": "n2", "path": "/new/n2.jpg"}]), Path("/new"))


def test_new_photographs_come_back_with_all_that_is_known_of_them(tmp_path: Path, new: Catalog) -> None:
    old = Catalog(pd.DataFrame({"image_id": ["a"], "path": ["/a.jpg"], "individual_id": ["A"]}), Path("/"))
    with ReviewFile(tmp_path / "r") as review:
        review.add_photographs((row["image_id"], record_of(row)) for row in new.table.to_dict("records"))
        review.append([Decision("same", "Ada", ("n1", "a"))])
    reviewed, state = reviewed_catalog(old, tmp_path / "r")
    assert reviewed.ids == ["a", "n1", "n2"]
    assert reviewed.table["individual_id"].tolist() == ["A", "A", None]
    assert state.individuals() == {"A": ["a", "n1"]}
    kept = [name for name in COLUMNS if name != "individual_id"]
    pd.testing.assert_frame_equal(reviewed.subset(["n1", "n2"]).table[kept], new.table[kept])


def test_a_ranker_learns_from_todays_names(tmp_path: Path, new: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    old = Catalog(pd.DataFrame({"image_id": ["a"], "path": ["/a.jpg"], "individual_id": ["A"]}), Path("/"))
    with ReviewFile(tmp_path / "r") as review:
        review.add_photographs((row["image_id"], record_of(row)) for row in new.table.to_dict("records"))
        review.append([Decision("same", "Ada", ("n1", "a")), Decision("different", "Ada", ("n2", "a"))])
    assert _with_decisions(old, None) == (old, None)
    taught, labels = _with_decisions(old, tmp_path / "r")
    assert taught.table["individual_id"].tolist() == ["A", "A", "no name yet, like n2"]
    assert labels is not None and labels.asked == ("n2",)
    said = capsys.readouterr().err
    assert "1 photographs are named otherwise" in said
    assert "1 pairs were said to be the same animal and 1 to be different ones" in said
    with pytest.raises(ReviewError, match="no such file"):
        _with_decisions(old, tmp_path / "nothing")


def test_without_a_decision_the_catalogue_is_as_it_was(tmp_path: Path, made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    reviewed, state = reviewed_catalog(catalog, tmp_path / "r")
    pd.testing.assert_frame_equal(reviewed.table, catalog.table)
    assert state.last == 0 and state.contradictions() == []
