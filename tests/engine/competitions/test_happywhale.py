"""Happywhale end to end: photographs and a catalogue in, five predictions a row out, by either head."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog, CatalogError
from engine.commands.main import main
from engine.competitions.happywhale import check_happywhale, read_happywhale_submission
from engine.competitions.identification import identify_photographs, read_test_photographs
from engine.models.bundle import Model, registered_part, write_model
from engine.models.decision import Decision
from engine.search.individuals import NEW_INDIVIDUAL
from engine.search.matcher import Matcher
from scarmatch.settings import SettingsError


@pytest.fixture(scope="module")
def world(made_up_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Happywhale's layout: train.csv and train_images of five whales, test_images with a sixth that is not in it."""
    folder = tmp_path_factory.mktemp("happywhale")
    table = Catalog.read(made_up_dir).table
    top = table[table["viewpoint"] == "top"]
    new = top["individual_id"].value_counts().index[-1]
    first = top.drop_duplicates("individual_id")["image_id"]
    test = top[top["image_id"].isin(first)]
    train = top[~top["image_id"].isin(first) & (top["individual_id"] != new)]
    for name, part in (("train_images", train), ("test_images", test)):
        (folder / name).mkdir()
        for path in part["path"]:
            shutil.copy(path, folder / name)
    files = [Path(path).name for path in train["path"]]
    listing = pd.DataFrame({"image": files, "species": "beluga", "individual_id": train["individual_id"]})
    listing.to_csv(folder / "train.csv", index=False)
    truth = pd.DataFrame({"image": [Path(p).name for p in test["path"]], "individual_id": test["individual_id"]})
    truth.loc[truth["individual_id"] == new, "individual_id"] = NEW_INDIVIDUAL
    truth.to_csv(folder / "answers.csv", index=False)
    (folder / "test_images" / "broken.jpg").write_bytes(b"no photograph")
    return folder


@pytest.mark.parametrize("head", ["ranker", "knn"])
def test_a_submission_in_one_command(
    world: Path,
    shared_store: Path,
    tmp_path: Path,
    head: str,
    capsys: pytest.CaptureFixture[str],
    quick_options: list[str],
) -> None:
    output, details = tmp_path / "submission.csv", tmp_path / "details.csv"
    arguments = ["identify", str(world / "test_images"), f"--catalog={world / 'train.csv'}", f"--output={output}"]
    assert main([*arguments, f"--details={details}", f"--head={head}", f"--store={shared_store}", *quick_options]) == 0
    assert "broken.jpg" in capsys.readouterr().err
    images = [path.name for path in (world / "test_images").iterdir()]
    known = pd.read_csv(world / "train.csv")["individual_id"].unique()
    assert check_happywhale(output, images, known) == []
    predictions = read_happywhale_submission(output)
    assert all(len(row) == 5 for row in predictions.values()), "five predictions a row, filled up where need be"
    assert predictions["broken.jpg"][0] == NEW_INDIVIDUAL
    table = pd.read_csv(details)
    assert set(table["image"]) == set(images) - {"broken.jpg"}
    if head == "ranker":
        best = table[table["rank"] == 1]
        assert best["probability"].between(0, 1).all()
        assert all(predictions[row.image][0] == row.individual_id for row in best.itertuples())
        # The quick settings still find more than a blind order of the five known whales would.
        truth = pd.read_csv(world / "answers.csv").set_index("image")["individual_id"]
        found = [predictions[name].index(who) < 3 for name, who in truth.items() if who in predictions[name]]
        assert sum(found) >= 3


def test_the_model_s_bounds_decide_and_options_replace_them(
    world: Path, shared_store: Path, tmp_path: Path, quick_options: list[str]
) -> None:
    parts = (registered_part("global", "efficientnet_lite0"), registered_part("skin", "beluga-marks"))
    everybody_is_new = Decision(max_distance=-1.0)
    model = Model("strict", tmp_path / "strict", "", "Apache-2.0", "0.1.0", parts, decision=everybody_is_new)
    write_model(model, {}, "# a card\n")
    output = tmp_path / "submission.csv"
    arguments = ["identify", str(world / "test_images"), f"--catalog={world / 'train.csv'}", f"--output={output}"]
    arguments += ["--head=knn", f"--model={model.folder}", f"--store={shared_store}", *quick_options]
    assert main(arguments) == 0
    assert {row[0] for row in read_happywhale_submission(output).values()} == {NEW_INDIVIDUAL}
    assert main([*arguments, "--max-distance=2.5", "--min-confidence=-2"]) == 0
    found = read_happywhale_submission(output)
    assert [name for name, row in found.items() if row[0] == NEW_INDIVIDUAL] == ["broken.jpg"]


def test_labels_give_a_score_and_encounters_one_answer(made_up_dir: Path, small_settings, shared_store: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    table = catalog.table
    encounter = table["encounter_id"].value_counts().index[0]
    asked = catalog.subset(table.loc[table["encounter_id"] == encounter, "image_id"])
    assert len(asked) > 1
    rest = catalog.subset(table.loc[table["encounter_id"] != encounter, "image_id"])
    matcher = Matcher(small_settings, shared_store, ranker="fusion", workers=1)
    run = identify_photographs(asked, rest, matcher, by_encounter=True)
    assert len({tuple(row) for row in run.predictions.values()}) == 1
    assert run.score is not None and 0 <= run.score <= 1
    alone = identify_photographs(asked, rest, matcher)
    assert alone.individuals["query_id"].nunique() == len(asked)
    with pytest.raises(SettingsError, match="k-NN"):
        identify_photographs(asked, rest, matcher, by_encounter=True, head="knn")


def test_an_id_that_the_catalogue_has_too_is_another_photograph(made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    assert read_test_photographs(made_up_dir, catalog).ids == [f"test:{name}" for name in catalog.ids]


def test_names_that_cannot_be_written_are_refused_before_any_work(tmp_path: Path, made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    spaced = Catalog(catalog.table.assign(individual_id="big white"), catalog.root)
    with pytest.raises(CatalogError, match="big white"):
        identify_photographs(catalog, spaced, Matcher(store=tmp_path))
    with pytest.raises(CatalogError, match="nobody"):
        identify_photographs(catalog, Catalog(catalog.table.assign(individual_id=None), catalog.root), Matcher())
