"""The metric of keypoints: it learns what lasts from pairs that agree, and matching takes what the command writes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.commands.main import main
from engine.geometry.verification import VerificationSettings
from engine.matching.mutual_nn import mutual_neighbours
from engine.search.matcher import Matcher
from engine.training.keypoint_training import agreeing_pairs, same_places, train_keypoint_metric
from features.keypoints.metric import KeypointMetric
from features.records import Frame, LocalFeatures
from features.training.keypoint_metric import KeypointTrainSettings, SamePlaces, dual_softmax_loss, fit_metric
from scarmatch.settings import SettingsError

FRAME = Frame((200, 600))
DIM, LASTING = 32, 12


def skin(animal: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Where an animal's keypoints lie, and what lasts of their descriptors."""
    rng = np.random.default_rng(animal)
    return rng.uniform((20, 20), (179, 579), (count, 2)), rng.normal(size=(count, LASTING))


def photograph(animal: int, shot: int, shift: tuple[float, float] = (0, 0)) -> LocalFeatures:
    """An animal's keypoints, described by what lasts and, louder, by what the light of the day makes of it."""
    rng = np.random.default_rng([animal, shot])
    places, lasting = skin(animal)
    light = 1.5 * rng.normal(size=(len(places), DIM - LASTING))
    descriptors = np.concatenate([lasting, light], 1)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    ones = np.ones(len(places), np.float32)
    xy = (places + shift).astype(np.float32)
    return LocalFeatures(xy, ones, descriptors.astype(np.float16), ones, ones, FRAME, "aliked")


def taught(animals: range) -> list[SamePlaces]:
    pairs = []
    for animal in animals:
        first, second = photograph(animal, 0), photograph(animal, 1)
        every = np.arange(len(first))
        pairs.append(SamePlaces(first.descriptors, second.descriptors, np.stack([every, every], 1)))
    return pairs


def found(matrix: np.ndarray | None, animal: int) -> float:
    """Share of an animal's keypoints that find themselves in another photograph."""
    views = [np.array(photograph(animal, shot).descriptors, np.float32) for shot in (0, 1)]
    if matrix is not None:
        metric = KeypointMetric(matrix, "aliked", {})
        views = [metric.apply(view) for view in views]
    neighbours = mutual_neighbours(*views)
    return float((neighbours.rows == neighbours.columns).sum() / len(views[0]))


def test_what_lasts_is_learned_and_serves_other_animals() -> None:
    settings = KeypointTrainSettings(epochs=12, rate=0.02)
    losses: list[float] = []
    matrix, per_epoch = fit_metric(taught(range(40)), settings, lambda record: losses.append(record["loss"]))
    assert found(matrix, 99) > found(None, 99) + 0.3
    assert per_epoch[-1] < 0.6 * per_epoch[0]
    assert losses
    again, _ = fit_metric(taught(range(40)), settings)
    np.testing.assert_array_equal(matrix, again)
    with pytest.raises(SettingsError, match="nothing to learn"):
        fit_metric([], settings)


def test_the_loss_by_hand() -> None:
    import torch

    pair = SamePlaces(np.eye(2), np.eye(2), np.array([[0, 0]]))
    loss = dual_softmax_loss(pair, torch.eye(2), torch.tensor(0.0))
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-1)))


def test_keypoints_that_lie_on_one_another_are_one_place() -> None:
    first, second = photograph(1, 0), photograph(1, 1, (7, -4))
    model = np.array([[1, 0, 7], [0, 1, -4], [0, 0, 1]], float)
    settings = KeypointTrainSettings(tolerance=0.002)
    every = same_places(first, second, model, settings)
    np.testing.assert_array_equal(every.indices[:, 0], every.indices[:, 1])
    assert len(every.indices) > 0.9 * len(first)
    assert len(same_places(first, second, np.eye(3), settings).indices) < 0.2 * len(first)
    nobody = dataclasses.replace(first, **{name: getattr(first, name)[:0] for name in ("xy", "descriptors")})
    assert len(same_places(nobody, second, model, settings).indices) == 0


def test_pairs_of_one_individual_that_agree_are_accepted() -> None:
    views = [photograph(animal, shot, (3 * shot, 5)) for animal in range(12) for shot in range(3)]
    table = pd.DataFrame(
        {"individual_id": np.repeat([f"w{k}" for k in range(12)], 3), "encounter_id": ["a", "a", "b"] * 12}
    )
    settings = KeypointTrainSettings(impostors=60, false_rate=0.02)
    checks = VerificationSettings(threads=1)
    metric = KeypointMetric(np.eye(DIM, LASTING, dtype=np.float32), "aliked", {})
    sure = agreeing_pairs(views, table, metric, checks, settings)
    assert sure.accepted == sure.tried == {"same encounter": 12, "other encounter": 24}
    assert all(a // 3 == b // 3 for a, b in sure.pairs)
    shift = sure.models[0][:2, 2]
    np.testing.assert_allclose(shift, (3, 0), atol=1)
    poor = agreeing_pairs(views, table, None, checks, settings)
    assert poor.threshold <= sure.threshold or sum(poor.accepted.values()) < sum(sure.accepted.values())


@pytest.mark.parametrize(
    "options",
    [{"held_out": "third"}, {"rounds": 0}, {"false_rate": 1.0}, {"tolerance": 0.0}, {"rate": 0.0}, {"fewest": 0}],
)
def test_bad_options_are_refused(options: dict) -> None:
    with pytest.raises(SettingsError):
        KeypointTrainSettings(**options)


def test_the_command_writes_a_metric_that_matching_takes(
    made_up_dir: Path, shared_store: Path, small_settings, quick_options, tmp_path: Path, capsys
) -> None:
    options = [option for option in quick_options if not option.startswith("--ranker")]
    few = ["epochs=1", "impostors=40", "false_rate=0.3", "fewest=4"]
    arguments = ["train-keypoints", str(made_up_dir), f"--output={tmp_path}", f"--store={shared_store}", "--everybody"]
    arguments += ["--rounds=1", *options, *(f"--train-set={item}" for item in few)]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    path = tmp_path / "keypoints.safetensors"
    assert f"mutual_nn.metric={path}" in shown.out
    assert "pairing" in shown.err
    metric = KeypointMetric.load(path)
    assert metric.keypoints == "aliked"
    assert metric.about["rounds"][0]["taught"] > 0
    catalog = Catalog.read(made_up_dir)
    plain, trained = (
        Matcher(small_settings.with_option("mutual_nn.metric", name), shared_store, ranker="fusion", workers=1)
        for name in ("none", str(path))
    )
    index = plain.index(catalog.subset(catalog.ids[:3]))
    pairs = [(index.catalog.ids[0], index.catalog.ids[1])]
    one, other = (matcher.compare(pairs, index)["mutual_nn_confidence_sum"].item() for matcher in (plain, trained))
    assert one != other
    with pytest.raises(SettingsError, match="nothing to learn"):
        train_keypoint_metric(catalog.subset(catalog.ids[:1]), plain, tmp_path, KeypointTrainSettings(held_out="none"))
