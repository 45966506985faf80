"""A model's folder: read whole, refused by file and reason where it is not what was written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.catalogue.catalog import Catalog
from engine.commands.main import main
from engine.models.bundle import (
    FILE_NAME,
    Model,
    ModelError,
    Part,
    carried,
    file_part,
    registered_part,
    write_model,
)
from engine.models.decision import Decision
from engine.models.library import FOLDER_VARIABLE, load_model, model_folders
from engine.search.individuals import rank_individuals
from engine.search.matcher import Matcher, MatcherSettings
from features import known_files
from features.keypoints.metric import KeypointMetric
from features.store import FeatureStore
from reranker.local_evidence import FIRST_STAGE_TERMS, LocalEvidence
from scarmatch.errors import ScarmatchError
from scarmatch.sealed_json import read_sealed, write_sealed

FIRST_STAGE = tuple(FIRST_STAGE_TERMS)


def made_model(folder: Path, scale: float = 1.0, **changes: Any) -> Model:
    """Write a small model: another metric and other weights, the rest as it ships."""
    metric, evidence = folder.parent / "metric.safetensors", folder.parent / "evidence.json"
    KeypointMetric(np.float32(scale) * np.eye(128, dtype=np.float32), "aliked", {}).save(metric)
    LocalEvidence(np.ones(len(FIRST_STAGE)), -1.0, {}, FIRST_STAGE).save(evidence)
    parts = (
        registered_part("global", "efficientnet_lite0"),
        registered_part("skin", "beluga-marks"),
        file_part("keypoint_metric", "metric.safetensors", "Apache-2.0", "a test"),
        file_part("first_stage_evidence", "evidence.json", "Apache-2.0", "a test"),
    )
    settings = {"verification.max_rotation": 180.0, "skin_verification.kinds": ("similarity",)}
    model = Model(folder.name, folder, "A test's.", "Apache-2.0", "0.1.0", parts, settings, {"species": ("zebra",)})
    return write_model(
        replace(model, **changes), {"metric.safetensors": metric, "evidence.json": evidence}, "# a card\n"
    )


def test_what_ships_is_what_the_engine_does_by_default() -> None:
    matcher = Matcher()
    assert matcher.model.name == "beluga"
    assert matcher.settings == MatcherSettings()
    assert matcher.ranker is not None
    shipped = LocalEvidence.shipped_first_stage()
    assert np.array_equal(matcher.first_stage.weights, shipped.weights)
    for _, folder in model_folders():
        assert Model.read(folder).parts


def test_a_model_comes_back_as_it_was_written_wherever_its_folder_goes(tmp_path: Path) -> None:
    written = made_model(tmp_path / "zebra")
    assert load_model(tmp_path / "zebra") == written
    assert load_model(str(tmp_path / "zebra" / FILE_NAME)) == written
    moved = Model.read((tmp_path / "zebra").rename(tmp_path / "moved"))
    assert moved.parts == written.parts
    settings = moved.applied(MatcherSettings())
    assert settings.describe.descriptor.model == "efficientnet_lite0"
    assert settings.mutual_nn.metric == str(tmp_path / "moved" / "metric.safetensors")
    assert settings.verification.max_rotation == 180.0
    assert settings.skin_verification.kinds == ("similarity",)
    assert moved.removed_from(settings) == MatcherSettings()


def test_what_identify_was_tuned_to_travels_and_older_models_have_the_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = Decision(neighbours=9, max_distance=0.4, min_confidence=0.6, new_odds=2.0, classifier_weight=0.25)
    assert made_model(tmp_path / "zebra", decision=tuned).decision == tuned
    assert main(["models", str(tmp_path / "zebra")]) == 0
    assert "identify: max_distance = 0.4" in capsys.readouterr().out
    assert load_model(Path(__file__).parent / "older-model").decision == Decision()


def test_what_the_caller_decides_is_left_to_the_caller(tmp_path: Path) -> None:
    model = made_model(tmp_path / "zebra")
    named = MatcherSettings().with_option("verification.max_rotation", "90.0")
    assert model.applied(named).verification.max_rotation == 90.0
    default = model.ignoring(["verification.max_rotation"]).applied(MatcherSettings())
    assert default.verification.max_rotation == MatcherSettings().verification.max_rotation
    assert default.describe.descriptor.model == "efficientnet_lite0"


def test_options_beside_the_parts_are_the_model_s_and_the_caller_s(tmp_path: Path) -> None:
    model = made_model(tmp_path / "zebra")
    chosen = model.applied(MatcherSettings().with_option("describe.keypoints.max_keypoints", "99"))
    expected = {**model.settings, "describe.keypoints.max_keypoints": 99}
    found = model.options_beside(chosen)
    assert {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()} == expected
    default = model.ignoring(["verification.max_rotation"])
    assert "verification.max_rotation" not in default.options_beside(default.applied(MatcherSettings()))


def test_the_weights_and_the_ranker_in_use_are_the_model_s(tmp_path: Path) -> None:
    matcher = Matcher(model=made_model(tmp_path / "zebra"))
    assert matcher.ranker is None  # it has none, and the belugas' would mislead
    assert np.array_equal(matcher.first_stage.weights, np.ones(len(FIRST_STAGE)))
    assert matcher.describe_settings()["model"] == "zebra"


def test_the_store_s_keys_follow_from_the_parts_and_not_from_their_place(tmp_path: Path) -> None:
    def key(model: Model | str) -> str:
        return (
            Matcher(store=tmp_path / "store", model=model).pair_pool(tmp_path / "store").worker.fingerprint("mutual_nn")
        )

    first = key(made_model(tmp_path / "a" / "zebra"))
    assert key(made_model(tmp_path / "b" / "zebra")) == first
    assert key(made_model(tmp_path / "c" / "zebra", scale=2.0)) != first
    assert key("beluga") != first


def rewritten(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        data = read_sealed(folder / FILE_NAME)
        change(data)
        write_sealed(folder / FILE_NAME, data)

    return damage


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def outside(folder: Path) -> None:
    (folder / "metric.safetensors").rename(folder.parent / "elsewhere")
    (folder / "metric.safetensors").symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: flip(folder / "metric.safetensors"), "metric.safetensors is damaged (SHA-256 "),
        (
            lambda folder: (folder / "evidence.json").unlink(),
            "evidence.json: this part of the model 'zebra' is missing",
        ),
        (lambda folder: (folder / FILE_NAME).write_text("{"), "model.json: cannot be read as a model"),
        (lambda folder: flip(folder / FILE_NAME), "model.json: cannot be read as a model"),
        (lambda folder: (folder / FILE_NAME).unlink(), "holds no model.json"),
        (outside, "a link that leads out of the model's folder"),
        (rewritten(lambda data: data.update(format="other")), "not a model of scarmatch's"),
        (rewritten(lambda data: data.update(version=3, made_with="9.9")), "made by a newer scarmatch (9.9; format 3"),
        (rewritten(lambda data: data.update(version=0)), "which no scarmatch ever wrote"),
        (rewritten(lambda data: data.update(more=1)), "its values are not those of a model: more"),
        (rewritten(lambda data: data["decision"].update(neighbours=0)), "neighbours=0 must be at least 1"),
        (rewritten(lambda data: data.pop("decision")), "its values are not those of a model: decision"),
        (rewritten(lambda data: data["parts"][2].update(file="../x")), "lies outside the folder"),
        (rewritten(lambda data: data["parts"][2].update(role="brain")), "no part has the role 'brain'"),
        (rewritten(lambda data: data["parts"].append(data["parts"][1])), "more than 1 part(s) of the role 'skin'"),
        (rewritten(lambda data: data["parts"][0].update(sha256="0" * 64)), "made with another 'efficientnet_lite0'"),
        (
            rewritten(lambda data: data["parts"][0].update(registered="gone")),
            "no part is called 'gone' in this version",
        ),
    ],
)
def test_a_damaged_or_foreign_model_is_refused_by_file_and_reason(
    tmp_path: Path, damage: Callable[[Path], object], words: str
) -> None:
    folder = made_model(tmp_path / "zebra").folder
    damage(folder)
    with pytest.raises(ScarmatchError) as refused:
        load_model(folder)
    assert words in str(refused.value)
    assert str(folder) in str(refused.value)


def test_options_of_another_version_are_refused_with_the_way_out(tmp_path: Path) -> None:
    model = made_model(tmp_path / "zebra", settings={"verification.bending": True}, made_with="0.0.9")
    with pytest.raises(ModelError, match=r"bending.*made with scarmatch 0\.0\.9.*train it again"):
        model.applied(MatcherSettings())


def test_the_general_model_has_learned_nothing_from_belugas() -> None:
    # torch
    from features.skin.network import imagenet_skin_network, load_skin_network

    model = load_model("generic")
    assert [part.registered for part in model.parts if part.registered] == ["efficientnet_lite0"]
    options = model.options()
    assert options["mutual_nn.metric"] == "none" and "beluga" not in str(options["describe.skin.model"])
    shipped, _ = load_skin_network(Path(options["describe.skin.model"]))
    for name, weights in imagenet_skin_network().state_dict().items():
        assert torch.equal(shipped.state_dict()[name], weights.half().to(weights.dtype)), name
    ranker = Matcher(model=model).ranker
    assert ranker is not None and ranker.individuals is not None
    assert not [name for name in ranker.feature_names if name.startswith(("cosine", "date", "lightglue_i"))]


def test_a_model_of_an_older_version_still_answers(made_up_dir: Path, shared_store: Path) -> None:
    # As scarmatch 0.1.0 wrote it, before rankers knew individuals: format version 1.
    model = load_model(Path(__file__).parent / "older-model")
    settings = MatcherSettings()
    for name, value in {"describe.keypoints.max_keypoints": "128", "describe.keypoints.long_side": "384"}.items():
        settings = settings.with_option(name, value)
    matcher = Matcher(settings, shared_store, workers=1, model=model)
    assert matcher.settings.shortlist.flanks_apart and matcher.settings.shortlist.cosine_weight == 0
    assert matcher.ranker is not None and matcher.individual_model is None
    catalog = Catalog.read(made_up_dir)
    index = matcher.index(catalog.subset(catalog.ids[:3]))
    answers = matcher.match(index, index)
    assert len(answers) == 6 and answers["probability"].between(0, 1).all()
    assert len(rank_individuals(answers, model=matcher.individual_model)) == len(
        answers.drop_duplicates(["query_id", "individual_id"])
    )


def test_a_model_made_of_another_takes_the_program_s_own_parts_along() -> None:
    ours, published = registered_part("skin", "beluga-marks"), registered_part("global", "efficientnet_lite0")
    taken = carried(ours)
    assert (taken.file, taken.registered, taken.sha256) == ("beluga-marks.safetensors", "", ours.sha256)
    assert carried(published) == published and carried(taken) == taken


def test_a_stopped_writing_leaves_no_model(tmp_path: Path) -> None:
    model = made_model(tmp_path / "zebra")
    lost = replace(model, parts=(*model.parts, Part("local_evidence", "gone.json", "", 0, "", "Apache-2.0", "x")))
    with pytest.raises(OSError, match="gone"):
        write_model(lost, {"gone.json": tmp_path / "gone.json"}, "")
    with pytest.raises(ModelError, match="training has not ended"):
        load_model(model.folder)


def test_models_are_listed_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_model(tmp_path / "zebra")
    flip(made_model(tmp_path / "hurt").folder / "evidence.json")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [name for name, _ in model_folders()]
    assert any(line.startswith("hurt") and "evidence.json is damaged" in line for line in lines)
    assert main(["models", "zebra", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)[0]
    assert told["animals"] == {"species": ["zebra"]}
    assert told["bytes"] > 18e6
    assert main(["models", "zebra"]) == 0
    assert "verification.max_rotation = 180.0" in capsys.readouterr().out
    assert main(["models", "okapi"]) == 1
    assert "no model is called 'okapi'" in capsys.readouterr().err


def test_one_option_names_all(
    made_up_dir: Path, tmp_path: Path, quick_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Photographs made a moment ago would be remembered by the second look only, as one more entry.
    monkeypatch.setattr(known_files, "_SETTLED", -60.0)
    aside = ("--set=describe.descriptor.model", "--ranker")
    quick = [option for option in quick_options if not option.startswith(aside)]
    model, store = made_model(tmp_path / "zebra"), tmp_path / "store"
    assert main(["index", str(made_up_dir), f"--store={store}", f"--model={model.folder}", *quick]) == 0
    settings = MatcherSettings().with_option("describe.descriptor.mirror", "false")
    settings = settings.with_option("describe.keypoints.max_keypoints", "128")
    settings = settings.with_option("describe.keypoints.long_side", "384")
    described = FeatureStore(store).size().entries
    matcher = Matcher(settings, store, workers=1, model=model)
    matcher.index(made_up_dir)
    assert FeatureStore(store).size().entries == described  # the same keys: nothing is described again
