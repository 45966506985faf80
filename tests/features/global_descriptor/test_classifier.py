"""The head that a descriptor was trained with: written by the training, read back, and told apart from other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.commands.main import main
from engine.models.bundle import Model, file_part, registered_part, write_model
from features.global_descriptor.classifier import CENTRES, FOLDER, NETWORK, TrainedHead
from features.model_file import ModelFileError, read_tensors
from features.photo import canonical_frame, read_photo
from features.training.loop import train_descriptor
from features.training.settings import TrainSettings


@pytest.fixture(scope="module")
def trained(made_up_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows the made-up whales by heart."""
    settings = TrainSettings(
        backbone="basic_cnn",
        input_size=(32, 64),
        small_epochs=0,
        embedding=32,
        epochs=12,
        batch=16,
        rate=1e-2,
        backbone_rate=1.0,
        held_out="none",
        views="top",
        mirror_classes=True,
    )
    settings = settings.with_option("augmentation.strength", "0.1")
    folder = tmp_path_factory.mktemp("trained")
    train_descriptor(Catalog.read(made_up_dir).table, folder, settings)
    return folder


def test_it_knows_the_animals_that_it_was_trained_on(trained: Path, made_up_dir: Path) -> None:
    head = TrainedHead(trained)
    table = Catalog.read(made_up_dir).table
    table = table[(table["viewpoint"] == "top") & table["individual_id"].isin(head.names)]
    photos = [read_photo(path) for path in table["path"]]
    frames = [canonical_frame(photo.size, "top") for photo in photos]
    found = head.probabilities(photos, frames)
    assert found.shape == (len(table), len(head.names))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    right = np.array(head.names)[found.argmax(axis=1)] == table["individual_id"].to_numpy()
    assert right.mean() > 3 / len(head.names), "well above chance on what it was trained on"
    np.testing.assert_allclose(head.probabilities(photos[:3], frames[:3]), found[:3], atol=1e-4)
    assert head.probabilities([], []).shape == (0, len(head.names))


def test_the_mirrored_classes_stay_behind(trained: Path) -> None:
    tensors, header = read_tensors(trained / FOLDER / CENTRES)
    assert len(tensors["centres"]) == len(header["individuals"]) * header["subcentres"]


def test_identify_averages_it_in(
    trained: Path, made_up_dir: Path, shared_store: Path, tmp_path: Path, quick_options: list[str]
) -> None:
    catalog = Catalog.read(made_up_dir)
    one = catalog.table[catalog.table["viewpoint"] == "top"].iloc[0]
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "new.jpg").write_bytes(Path(one["path"]).read_bytes())
    tables = []
    for number, more in enumerate(
        ([], [f"--classifier={trained}"], [f"--classifier={trained}", "--classifier-weight=1"])
    ):
        details = tmp_path / f"{number}.csv"
        command = ["identify", str(tmp_path / "asked"), f"--catalog={made_up_dir}", f"--details={details}", *more]
        assert main([*command, f"--output={tmp_path / 'out.csv'}", f"--store={shared_store}", *quick_options]) == 0
        tables.append(pd.read_csv(details).set_index("individual_id")["probability"])
    without, half, alone = tables
    head = TrainedHead(trained)
    photo = read_photo(one["path"])
    said = dict(zip(head.names, head.probabilities([photo], [canonical_frame(photo.size, None)])[0], strict=True))
    left = 1 - without["new_individual"]
    for name in set(alone.index) & set(said):
        assert alone[name] == pytest.approx(left * said[name], abs=2e-3)
    for name in set(half.index) & set(without.index) & set(said):
        assert half[name] == pytest.approx(0.5 * without[name] + 0.5 * left * said[name], abs=2e-3)


def test_a_model_carries_it(
    trained: Path,
    made_up_dir: Path,
    shared_store: Path,
    tmp_path: Path,
    quick_options: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"global": "efficientnet_lite0", "skin": "beluga-marks", "keypoint_metric": "beluga-keypoints"}
    roles = {"classifier_network": NETWORK, "classifier_centres": CENTRES}
    files = {f"{FOLDER}/{name}": trained / FOLDER / name for name in roles.values()}
    parts = [registered_part(role, name) for role, name in names.items()]
    parts += [file_part(role, f"{FOLDER}/{name}", "Apache-2.0", "a test") for role, name in roles.items()]
    model = write_model(Model("m", tmp_path / "m", "", "Apache-2.0", "0.1.0", tuple(parts)), files, "")
    catalog = Catalog.read(made_up_dir)
    asked, strangers = tmp_path / "asked", tmp_path / "strangers" / "nobody"
    asked.mkdir()
    strangers.mkdir(parents=True)
    for folder, row in ((asked, 0), (strangers, 1)):
        (folder / "new.jpg").write_bytes(Path(catalog.table["path"].iloc[row]).read_bytes())
    told = []
    for more in ([f"--classifier={trained}"], [f"--model={model.folder}"]):
        details = tmp_path / "details.csv"
        command = ["identify", str(asked), f"--catalog={made_up_dir}", f"--details={details}", *more]
        assert main([*command, f"--output={tmp_path / 'out.csv'}", f"--store={shared_store}", *quick_options]) == 0
        told.append(details.read_text())
    assert told[0] == told[1]
    command = ["identify", str(asked), f"--catalog={strangers.parent}", f"--model={model.folder}", *quick_options]
    assert main([*command, f"--output={tmp_path / 'out.csv'}", f"--store={shared_store}"]) == 0
    assert "the trained head of the model 'm' knows none of these individuals" in capsys.readouterr().err


def test_other_files_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="train-descriptor"):
        TrainedHead(tmp_path)
    for name in (NETWORK, CENTRES):
        (tmp_path / name).write_bytes((trained / FOLDER / NETWORK).read_bytes())
    with pytest.raises(ModelFileError, match="of kind 'embedder'"):
        TrainedHead(tmp_path)
