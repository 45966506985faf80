"""A model from a labelled catalogue: the plan, the folds, the folder, the page; a stopped run goes on."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog, CatalogError
from engine.commands.main import main
from engine.competitions.happywhale import read_happywhale_submission
from engine.demo.species import SpeciesSettings, make_species
from engine.models.decision import Decision
from engine.models.library import load_model
from engine.search.matcher import Matcher, MatcherSettings
from engine.training import fold_parts, model_training
from engine.training import plan as plan_module
from engine.training.fold_parts import FoldSettings
from engine.training.model_training import train_model
from engine.training.plan import PARTS, ModelTrainSettings, Plan, make_plan
from features.global_descriptor.classifier import TrainedHead
from features.global_descriptor.timm_trunk import import_timm
from features.model_file import read_header
from features.training.settings import TrainSettings
from features.training.skin_settings import SkinTrainSettings
from scarmatch.settings import SettingsError

#: Few keypoints on small pictures.
QUICK = {"describe.keypoints.max_keypoints": "96", "describe.keypoints.long_side": "224", "shortlist.rescore": "0"}


def labelled(individuals: int, photographs: int, known: int | None = None) -> Catalog:
    """A catalogue of so many individuals with so many photographs each; nobody looks at the files."""
    rows = [(f"a{i}-{k}", f"a{i}") for i in range(individuals) for k in range(photographs)]
    table = pd.DataFrame(rows, columns=["image_id", "individual_id"])
    table["path"] = "/nowhere/" + table["image_id"]
    return Catalog(table, Path("/nowhere"))


def test_a_small_catalogue_gets_metric_and_ranker_and_is_told_why_no_more() -> None:
    plan = make_plan(labelled(10, 2), ModelTrainSettings(PARTS), 1, 19)
    assert plan.parts == ("keypoints",)
    reasons = {step.name.split(",")[0]: step.skipped for step in plan.steps}
    assert reasons["dense skin network"] == (
        "needs 20 individuals with two photographs and 100 photographs of them; there are 10 and 20"
    )
    assert not reasons["metric of keypoints"]
    assert plan.queries == 20
    assert "skipped: needs 40 individuals" in plan.render()
    with pytest.raises(CatalogError, match=r"3 individual\(s\) have two photographs; a training needs 4"):
        make_plan(labelled(3, 5), ModelTrainSettings(), 1, 9)


def test_rotations_are_reckoned_with() -> None:
    upright, turned = (
        make_plan(labelled(10, 2), ModelTrainSettings(("ranker",)), 1, 19, rotations=count) for count in (1, 4)
    )
    for one, several in zip(upright.steps, turned.steps, strict=True):
        times = 4 if one.name.startswith(("describe", "ask")) else 1
        assert several.expected == pytest.approx(times * one.expected), one.name


def test_networks_get_what_the_budget_leaves_or_nothing() -> None:
    catalog = labelled(60, 6)
    short = make_plan(catalog, ModelTrainSettings(PARTS, 1800), 2, 220)
    assert "skin" not in short.parts and "of the budget are left" in short.steps[2].skipped
    longer, longest = (make_plan(catalog, ModelTrainSettings(PARTS, hours * 3600), 2, 220) for hours in (2, 30))
    assert 150 <= longer.skin_steps < longest.skin_steps == 500
    assert longest.epochs == 20 and longest.parts == ("keypoints", "skin", "descriptor")
    assert longest.seconds < 30 * 3600
    none = make_plan(catalog, ModelTrainSettings(parts=("ranker",), budget=30 * 3600), 2, 220)
    assert none.parts == () and none.steps[1].skipped == "not asked for"
    with pytest.raises(SettingsError, match="no part is called 'brain'"):
        ModelTrainSettings(parts=("brain",))


def test_networks_are_left_to_those_who_ask_or_have_many_animals() -> None:
    small, large = labelled(40, 5), labelled(250, 4)
    plan = make_plan(small, ModelTrainSettings(), 2, 200)
    assert plan.parts == ("keypoints",) and plan.seconds < 1800
    told = "rarely worth its time below 250 individuals; --parts all trains it"
    assert [step.skipped for step in plan.steps[1:4]] == ["", told, told]
    assert make_plan(small, ModelTrainSettings(PARTS, 8 * 3600), 2, 200).parts == ("keypoints", "skin", "descriptor")
    assert make_plan(large, ModelTrainSettings(budget=60 * 3600), 2, 220).parts == ("keypoints", "skin", "descriptor")


def test_whoever_names_a_network_gets_it_and_its_own_times() -> None:
    small, named = labelled(40, 5), ModelTrainSettings(backbone="resnet50")
    assert make_plan(small, named, 2, 200).parts == ("keypoints", "descriptor")
    fast, slow = (make_plan(small, named, 2, 200, shown) for shown in (0.1, 0.4))
    assert fast.epochs == 20 > slow.epochs >= 6
    assert "of the budget are left" in make_plan(small, named, 2, 200, 3.0).steps[3].skipped
    assert make_plan(small, ModelTrainSettings(backbone="resnet50", epochs=3), 2, 200).epochs == 3
    with pytest.raises(SettingsError, match="'resnet50' is of the descriptor, which is none of the parts"):
        ModelTrainSettings(("keypoints",), backbone="resnet50")


def test_a_large_catalogue_asks_no_more_than_the_time_allows_and_everybody_in_turn() -> None:
    plan = make_plan(labelled(400, 10), ModelTrainSettings(budget=7200), 1, 220)
    assert 800 <= plan.queries < 4000


def quick_matcher(model: str, store: Path) -> Matcher:
    settings = load_model(model).applied(MatcherSettings())
    for name, value in QUICK.items():
        settings = settings.with_option(name, value)
    return Matcher(settings, store, workers=1, model=model)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Photographs in folders by individual: no date, no view, no encounter."""
    settings = SpeciesSettings(species="spots", part="train", individuals=4, photographs=4, views=False)
    return Catalog.read(make_species(tmp_path_factory.mktemp("spots"), settings))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def test_a_fold_s_parts_never_see_its_individuals_and_a_stopped_run_goes_on(
    catalog: Catalog, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[set[str]] = []

    def train(some: Catalog, matcher: Matcher, folder: Path, settings: Any, progress: Any) -> None:
        if len(taught) == 2:
            monkeypatch.setitem(fold_parts._TRAIN, "keypoints", resumed)
            raise KeyboardInterrupt
        resumed(some, matcher, folder, settings, progress)

    def resumed(some: Catalog, matcher: Matcher, folder: Path, settings: Any, progress: Any) -> None:
        from features.keypoints.metric import KeypointMetric

        taught.append(set(some.table["individual_id"]))
        matrix = np.eye(128, dtype=np.float32) + 0.01 * len(taught)
        KeypointMetric(matrix, "aliked", {}).save(folder / "keypoints" / "keypoints.safetensors")

    monkeypatch.setitem(fold_parts._TRAIN, "keypoints", train)
    settings, output = ModelTrainSettings(), tmp_path / "model"
    with pytest.raises(KeyboardInterrupt):
        train_model(catalog, quick_matcher("generic", store), output, settings)
    assert len(taught) == 2
    said: list[str] = []
    trained = train_model(catalog, quick_matcher("generic", store), output, settings, said.append)
    everybody = set(catalog.table["individual_id"])
    # Two folds and one for all: the first two were there already.
    assert len(taught) == 3 and taught[2] == everybody
    assert taught[0] | taught[1] == everybody and not taught[0] & taught[1]
    assert said[0].startswith("plan: about ")
    assert [line for line in said if line.startswith("keypoints")] == [
        "keypoints, fold 1 of 2",
        "keypoints, fold 2 of 2",
        "keypoints, all",
    ]
    assert set(trained.card.methods) == {"generic", model_training.OWN_RANKER, model_training.OWN_PARTS}
    assert trained.model == load_model(output)
    assert trained.matcher.ranker is not None
    assert trained.model.settings["describe.keypoints.max_keypoints"] == 96
    again = Matcher(store=store, workers=1, model=output)
    assert again.settings == trained.matcher.settings
    assert again.ranker is not None
    assert {step.name for step in trained.card.steps if step.skipped} == {
        "dense skin network, per fold and for all",
        "global descriptor, per fold and for all",
    }


def tiny_networks(plan: Plan, settings: ModelTrainSettings) -> FoldSettings:
    """Networks that learn next to nothing, from two animals and quickly."""
    shared = {"held_out": "none", "views": "all"}
    skin = {"input_size": (64, 128), "steps": 2, "real_steps": 1, "animals": 2, "real_animals": 1, "anchors": 16}
    size = {"input_size": (32, 64), "small_size": (32, 64), "embedding": 16, "batch": 4, "epochs": 1}
    descriptor = TrainSettings.recipe("colour", "basic_cnn")
    return FoldSettings(SkinTrainSettings(**skin, impostors=20, **shared), descriptor.replace(**size, **shared))


def test_networks_are_trained_per_fold_and_go_into_the_model_with_their_head(
    catalog: Catalog, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_training, "recipe_of", tiny_networks)
    monkeypatch.setattr(plan_module, "_SKIN_NEEDS", (2, 8))
    monkeypatch.setattr(plan_module, "_DESCRIPTOR_NEEDS", (2, 8))
    monkeypatch.setattr(model_training, "_choose", lambda *_: model_training.OWN_PARTS)
    settings = ModelTrainSettings(parts=("skin", "descriptor", "ranker"), budget=90 * 3600)
    trained = train_model(catalog, quick_matcher("generic", store), tmp_path / "model", settings)
    assert not [step.name for step in trained.card.steps if step.skipped and "metric" not in step.name]
    roles = {part.role: part.file for part in trained.model.parts}
    assert roles["skin"] == "skin.safetensors" and roles["global"] == "descriptor.safetensors"
    again = Matcher(store=store, workers=1, model=tmp_path / "model")
    # What was trained is in use, the ranker is the one that was fitted with it, and the descriptor chooses too.
    assert again.settings.describe.skin.model == str(tmp_path / "model" / "skin.safetensors")
    assert again.settings.describe.descriptor.model == str(tmp_path / "model" / "descriptor.safetensors")
    assert again.ranker is not None and again.settings.shortlist.cosine_weight == 1.0
    head = again.model.classifier
    assert head is not None and set(TrainedHead(head).names) == set(catalog.table["individual_id"])
    answers = again.match([str(catalog.table["path"].iloc[0])], trained.index, top=3)
    assert len(answers) == 3 and answers["probability"].between(0, 1).all()


def test_a_backbone_of_timm_is_trained_kept_in_a_model_loaded_and_asked(
    catalog: Catalog, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        import_timm()
    except SettingsError as error:
        pytest.skip(str(error))

    def tiny(plan: Plan, settings: ModelTrainSettings) -> FoldSettings:
        recipe = tiny_networks(plan, settings)
        small = {"input_size": (64, 64), "small_size": (64, 64)}
        return dataclasses.replace(recipe, descriptor=recipe.descriptor.replace(backbone=settings.backbone, **small))

    monkeypatch.setattr(model_training, "recipe_of", tiny)
    monkeypatch.setattr(plan_module, "_DESCRIPTOR_NEEDS", (2, 8))
    monkeypatch.setattr(model_training, "_choose", lambda *_: model_training.OWN_PARTS)
    settings = ModelTrainSettings(("descriptor", "ranker"), 90 * 3600, "resnet18")
    trained = train_model(catalog, quick_matcher("generic", store), tmp_path / "model", settings)
    moved = (tmp_path / "model").rename(tmp_path / "elsewhere")
    model = load_model(moved)
    assert model.classifier is not None and model.decision == trained.model.decision != Decision()
    network = model.path("global")
    assert network is not None and read_header(network)["backbone"] == "resnet18"
    # Both heads answer for animals that it was trained on, by the command that its owner's friends would give.
    asked, output = tmp_path / "asked", tmp_path / "answers.csv"
    asked.mkdir()
    for path in catalog.table["path"].iloc[::4]:
        shutil.copy(path, asked)
    command = ["identify", str(asked), f"--catalog={catalog.root}", f"--output={output}", f"--model={moved}"]
    for head in ("knn", "ranker"):
        assert main([*command, f"--head={head}", f"--store={store}", "--workers=1"]) == 0
        found = read_happywhale_submission(output)
        assert len(found) == 4 and all(len(row) == 5 for row in found.values())


def test_a_backbone_that_nobody_knows_is_refused_before_anything_is_computed(
    catalog: Catalog, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        import_timm()
    except SettingsError as error:
        pytest.skip(str(error))
    base = quick_matcher("generic", store)
    monkeypatch.setattr(base, "index", lambda *_: pytest.fail("photographs were described first"))
    with pytest.raises(SettingsError, match="resnet51"):
        train_model(catalog, base, tmp_path / "model", ModelTrainSettings(backbone="resnet51"))
    with pytest.raises(SettingsError, match="NAME@WEIGHTS, with WEIGHTS a file that exists"):
        train_model(catalog, base, tmp_path / "model", ModelTrainSettings(backbone="resnet18@nowhere.pth"))
    with pytest.raises(SettingsError, match="a file of weights goes with a backbone of timm"):
        TrainSettings(backbone=f"efficientnet_lite0@{__file__}")


def test_a_part_that_the_photographs_teach_nothing_is_named_with_the_reason(
    catalog: Catalog, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any) -> None:
        raise SettingsError("too dark")

    monkeypatch.setitem(fold_parts._TRAIN, "keypoints", nothing)
    said: list[str] = []
    train_model(catalog, quick_matcher("generic", store), tmp_path / "model", ModelTrainSettings(), said.append)
    assert [line for line in said if "too dark" in line] == [
        "keypoints, fold 1 of 2: left out: too dark",
        "keypoints, fold 2 of 2: left out: too dark",
        "keypoints, all: left out: too dark",
    ]


def test_the_simplest_way_that_no_other_beats_is_chosen() -> None:
    def figures(**values: float) -> dict[str, Any]:
        one = model_training.MethodFigures(9, 3, (0, 0, 0), 0, 0, 0, 0, 0, 0)
        return {name.replace("_", " "): dataclasses.replace(one, map20=(v, v, v)) for name, v in values.items()}

    choose = model_training._choose
    assert choose(figures(generic=0.5, own_ranker=0.5, own_parts_and_ranker=0.502)) == "own ranker"
    assert choose(figures(generic=0.5, own_ranker=0.5, own_parts_and_ranker=0.506)) == "own parts and ranker"
    assert choose(figures(generic=0.6, own_ranker=0.5, own_parts_and_ranker=0.55)) == "generic"
    # Whoever named a network wants it for its heads: it goes in unless it loses.
    assert choose(figures(generic=0.5, own_ranker=0.5, own_parts_and_ranker=0.496), True) == "own parts and ranker"
    assert choose(figures(generic=0.5, own_ranker=0.5, own_parts_and_ranker=0.494), True) == "own ranker"


@pytest.mark.slow
def test_the_command_makes_a_model_a_page_and_leaves_nothing_else(
    catalog: Catalog, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mine"
    options = [f"--set={name}={value}" for name, value in QUICK.items()]
    command = ["train", str(catalog.root), f"--output={output}", f"--store={store}", "--workers=1", "--json", *options]
    assert main([*command, "--parts=ranker", "--budget=30m"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((output / "report" / "report.json").read_text())
    assert not (output / "work").exists()
    page = (output / "report" / "index.html").read_text()
    assert told["verdict"].split(":")[0] in page and "skipped: not asked for" in page
    for one in told["worst"]:
        assert one["query_id"] in page
    for name in ("answer", "right"):
        for file in (output / "report").glob(f"worst-*-{name}.jpg"):
            assert f'src="{file.name}"' in page
    photograph = str(catalog.table["path"].iloc[0])
    assert main(["match", photograph, f"--catalog={catalog.root}", f"--store={store}", f"--model={output}"]) == 0
    assert "spots-train-" in capsys.readouterr().out


def test_what_names_a_part_is_refused(catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", str(catalog.root), f"--output={tmp_path / 'm'}"]
    assert main([*command, "--set=mutual_nn.metric=none"]) == 1
    assert "--set mutual_nn.metric names a part" in capsys.readouterr().err
    for wrong in ("--budget=soon", "--parts=brain", "--parts=", "--budget=0h"):
        with pytest.raises(SystemExit, match="2"):
            main([*command, wrong])
