"""Training of mark descriptors on a catalogue: held-out animals stay out, and only pairs that agree become teachers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.commands.main import main
from engine.training.pair_mining import candidate_pairs
from engine.training.skin_training import _accepted
from features.skin.descriptors import SkinSettings
from features.training.data import split_half, teaching_rows
from features.training.skin_settings import SkinTrainSettings


def test_candidates_are_pairs_of_one_individual_and_impostors_never_are() -> None:
    table = pd.DataFrame({"individual_id": list("aaaabbc"), "encounter_id": list("1122121")})
    pairs = candidate_pairs(table, SkinTrainSettings(impostors=30))
    who, when = table["individual_id"], table["encounter_id"]
    for first, second, kind in pairs:
        assert (who[first] == who[second]) == (kind != "impostor")
        if kind != "impostor":
            assert (when[first] == when[second]) == (kind == "same encounter")
    assert sum(kind == "impostor" for *_, kind in pairs) == 30
    assert candidate_pairs(table.iloc[:4], SkinTrainSettings()) == [
        p for p in candidate_pairs(table.iloc[:4], SkinTrainSettings()) if p[2] != "impostor"
    ]


def test_the_two_flanks_are_no_pair_and_a_view_that_is_not_known_may_be_any() -> None:
    views = ["left", "right", "left", None]
    table = pd.DataFrame({"individual_id": list("aaaa"), "encounter_id": [None] * 4, "viewpoint": views})
    drawn = {(first, second) for first, second, _ in candidate_pairs(table, SkinTrainSettings(same_encounter=9))}
    assert drawn == {(0, 2), (0, 3), (1, 3), (2, 3)}
    chosen = [teaching_rows(table, "none", which).index.tolist() for which in ("top", "all")]
    assert chosen == [[3], [0, 1, 2, 3]]


def test_a_pair_is_accepted_only_above_nearly_all_impostors() -> None:
    drawn = [(0, 1, "same encounter"), (0, 2, "other encounter")] + [(0, 3, "impostor")] * 100
    scores = np.r_[50.0, 5.0, np.arange(100) / 10.0]
    places = [(np.zeros((3, 2), np.float32),) * 2] * len(drawn)
    mined = _accepted(drawn, scores, places, 0.01)
    assert [(p.first, p.second) for p in mined.pairs] == [(0, 1)]
    assert mined.accepted == {"same encounter": 1, "other encounter": 0}
    assert mined.tried == {"same encounter": 1, "other encounter": 1}


@pytest.mark.slow
def test_the_command_trains_a_network_that_the_engine_takes(
    made_up_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["input_size=[64,128]", "real_steps=2", "real_animals=2", "animals=3", "anchors=16"]
    options += ["impostors=20", "held_out=none"]
    command = ["train-marks", str(made_up_dir), "--output", str(tmp_path), "--steps", "3"]
    assert main([*command, *(f"--set={option}" for option in options)]) == 0
    said = capsys.readouterr()
    assert "marks.safetensors" in said.out
    assert "made-up 3/3" in said.err
    from features.photo import canonical_frame, read_photo
    from features.skin.descriptors import SkinExtractor

    photo = read_photo(Catalog.read(made_up_dir).table["path"].iloc[0])
    found = SkinExtractor(SkinSettings(model=str(tmp_path))).extract(photo, canonical_frame(photo.size, "top"))
    assert found.descriptors.shape == (len(found), 64)


def test_held_out_individuals_are_not_read(made_up_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.training import skin_training
    from features.training import skin_photos

    seen: list[str] = []

    class Stop(Exception):
        pass

    def read(table: pd.DataFrame, *_: object) -> None:
        seen.extend(table["individual_id"])
        raise Stop

    monkeypatch.setattr(skin_photos.SkinPhotos, "read", read)
    table = Catalog.read(made_up_dir).table
    with pytest.raises(Stop):
        skin_training.train_mark_descriptors(table, tmp_path)
    assert seen
    assert all(split_half(name) == 0 for name in seen)
    assert any(split_half(name) == 1 for name in table["individual_id"].dropna())
