"""Training of the global descriptor: losses against arithmetic by hand, augmentation, sampling, exact resume."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from features.global_descriptor.networks import Embedder, build_trunk
from features.model_file import load_embedder, read_header, save_embedder
from features.training.augmentation import AugmentationSettings, augment, fill_corner, none_at_all, relight, submerge
from features.training.checkpoint import CheckpointError
from features.training.data import PhotoCache, class_labels, fold_of, split_half
from features.training.degrade import degrade
from features.training.evaluation import evaluate_descriptors, evaluate_similarity
from features.training.loop import train_descriptor
from features.training.losses import MarginHead, add_angular_margin, margins_by_class_size
from features.training.sampling import epoch_order, same_day_classes
from features.training.schedule import learning_rate
from features.training.settings import RECIPES, TrainSettings
from features.training.steps import embed, model_header, new_embedder, update_average
from features.training.teaching_photos import held_out_rows, read_cache
from features.training.whitening import fold_whitening, whitening_matrix, within_class_covariance
from scarmatch.settings import SettingsError

# --- losses -----------------------------------------------------------------------------------------------------------


def test_margins_by_class_size() -> None:
    margins = margins_by_class_size(torch.tensor([1, 256, 10]))
    expected = [0.55, 0.5 * 256**-0.125 + 0.05, 0.5 * 10**-0.125 + 0.05]
    np.testing.assert_allclose(margins.numpy(), expected, rtol=1e-6)
    assert margins[1].item() == pytest.approx(0.3)


def test_angular_margin_is_the_cosine_of_the_sum() -> None:
    angles = torch.tensor([0.1, 1.0, 2.0])
    np.testing.assert_allclose(
        add_angular_margin(angles.cos(), torch.tensor(0.4)).numpy(), np.cos([0.5, 1.4, 2.4]), atol=1e-5
    )


def test_angular_margin_keeps_falling_behind_its_turn() -> None:
    """cos(theta + m) would rise again past theta = pi - m; the loss must not reward that."""
    cosine = torch.linspace(-0.999, 0.999, 200)
    assert (add_angular_margin(cosine, torch.tensor(0.5)).diff() > 0).all()


def test_easy_margin_spares_negative_cosines() -> None:
    out = add_angular_margin(torch.tensor([-0.3, 0.3]), torch.tensor(0.2), easy=True)
    np.testing.assert_allclose(out.numpy(), [-0.3, math.cos(math.acos(0.3) + 0.2)], atol=1e-5)


def test_arcface_loss_by_hand() -> None:
    """Two classes with centres along x and y, one sample at 30 degrees of class 0, scale 4, margin 0.2."""
    head = MarginHead("arcface", 2, torch.tensor([3, 3]), scale=4.0, margin=0.2)
    with torch.no_grad():
        head.centres.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.5]]))
    angle = math.pi / 6
    loss, cosine = head(torch.tensor([[3 * math.cos(angle), 3 * math.sin(angle)]]), torch.tensor([0]))
    true, other = 4 * math.cos(angle + 0.2), 4 * math.sin(angle)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(other - true)), abs=1e-5)
    np.testing.assert_allclose(cosine.numpy(), [[math.cos(angle), math.sin(angle)]], atol=1e-6)


def test_the_nearest_subcentre_speaks_for_the_class() -> None:
    head = MarginHead("subcenter_arcface", 2, torch.tensor([4, 4]), subcentres=2)
    with torch.no_grad():
        head.centres.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
    cosine = head.cosines(torch.tensor([[-2.0, 0.0], [0.0, 3.0]]))
    np.testing.assert_allclose(cosine.detach().numpy(), [[1.0, 0.0], [0.0, 1.0]], atol=1e-6)


def test_elastic_margins_scatter_around_the_fixed_one() -> None:
    torch.manual_seed(0)
    head = MarginHead("elastic_arcface", 8, torch.full((5,), 3), elastic_deviation=0.1)
    x, y = torch.randn(6, 8), torch.tensor([0, 1, 2, 3, 4, 0])
    assert head(x, y)[0].item() != head(x, y)[0].item()
    head.elastic_deviation = 0.0
    plain = MarginHead("arcface", 8, torch.full((5,), 3))
    plain.load_state_dict(head.state_dict())
    torch.testing.assert_close(head(x, y)[0], plain(x, y)[0])


def test_unknown_loss_is_named() -> None:
    with pytest.raises(SettingsError, match="no loss 'cosface'"):
        MarginHead("cosface", 4, torch.tensor([2, 2]))
    with pytest.raises(SettingsError, match="known losses"):
        TrainSettings(loss="triplet")


# --- schedule, sampling, split ----------------------------------------------------------------------------------------


def test_learning_rate_warms_up_holds_and_decays() -> None:
    rate = [learning_rate(e, 20, 1.0, warm_up=2, hold=4, final_share=0.01) for e in (0, 1, 2, 5.9, 6, 13, 20)]
    np.testing.assert_allclose(rate, [0.1, 0.55, 1.0, 1.0, 1.0, 0.1, 0.01], rtol=1e-6)


def test_a_short_training_still_decays() -> None:
    assert learning_rate(2, 2, 1.0, warm_up=2, hold=8, final_share=0.1) == pytest.approx(0.1)


def test_sampling_by_the_power_of_class_size() -> None:
    labels = np.repeat([0, 1, 2], [64, 16, 1])
    shares = {}
    for power in (0.0, 0.5, 1.0):
        orders = [epoch_order(labels, power, seed=3, epoch=e) for e in range(40)]
        assert all(len(order) == len(labels) for order in orders)
        shares[power] = np.bincount(labels[np.concatenate(orders)]) / (40 * len(labels))
    np.testing.assert_allclose(shares[1.0], np.array([64, 16, 1]) / 81, atol=1e-9)
    np.testing.assert_allclose(shares[0.5], np.array([8, 4, 1]) / 13, atol=0.02)
    np.testing.assert_allclose(shares[0.0], np.ones(3) / 3, atol=0.02)
    assert sorted(epoch_order(labels, 1.0, 3, 0)) == list(range(81)), "natural sampling shows every photograph once"


def test_sampling_is_reproducible_and_changes_with_the_epoch() -> None:
    labels = np.repeat([0, 1], [30, 10])
    assert (epoch_order(labels, 0.5, 1, 2) == epoch_order(labels, 0.5, 1, 2)).all()
    assert (epoch_order(labels, 0.5, 1, 2) != epoch_order(labels, 0.5, 1, 3)).any()


def test_halves_and_folds_come_from_the_name_alone() -> None:
    """Written down once: if these change, every honest figure of the project is void."""
    assert [split_half(f"whale{i:03d}") for i in range(8)] == EXPECTED_HALVES
    assert {fold_of(f"whale{i:03d}", 5) for i in range(100)} == {0, 1, 2, 3, 4}
    assert 0.4 < np.mean([split_half(str(i)) for i in range(1000)]) < 0.6


EXPECTED_HALVES = [0, 1, 1, 0, 0, 1, 0, 1]


def test_rare_and_unknown_individuals_have_no_class() -> None:
    labels, names = class_labels(pd.Series(["b", "a", None, "b", "c", "c"]), minimum=2)
    assert names == ["b", "c"]
    assert labels.tolist() == [0, -1, -1, 0, 1, 1]


# --- augmentation -----------------------------------------------------------------------------------------------------


def picture(width: int = 48, height: int = 128) -> np.ndarray:
    rng = np.random.default_rng(5)
    return np.repeat(np.repeat(rng.integers(60, 200, (height // 8, width // 8, 3), dtype=np.uint8), 8, 0), 8, 1)


def test_augmentation_is_bounded_reproducible_and_of_the_right_size() -> None:
    image = picture()
    for seed in range(30):
        out = augment(image, (36, 96), AugmentationSettings(), np.random.default_rng(seed))
        assert out.shape == (96, 36, 3)
        assert out.dtype == np.float32
        assert 0.0 <= out.min() <= out.max() <= 1.0
        again = augment(image, (36, 96), AugmentationSettings(), np.random.default_rng(seed))
        assert np.array_equal(out, again)


def test_strength_zero_only_resizes_and_mirror_only_flips() -> None:
    image = picture()
    off = AugmentationSettings(strength=0.0)
    plain = augment(image, (48, 128), off, np.random.default_rng(0))
    np.testing.assert_allclose(plain, image / 255.0, atol=1e-6)
    mirrored = augment(image, (48, 128), off, np.random.default_rng(0), mirror=True)
    np.testing.assert_allclose(mirrored, image[:, ::-1] / 255.0, atol=1e-6)
    assert none_at_all(AugmentationSettings()).rotation == 0.0


def test_relighting_moves_the_flanks_apart() -> None:
    """A step between the flanks, smooth along the body: the ratio of both sides changes, their texture does not."""
    flat = np.full((60, 40, 3), 0.4, np.float32)
    out = relight(flat, np.random.default_rng(1), 0.5)
    left, right = out[:, :8].mean(), out[:, -8:].mean()
    assert abs(math.log(left / right)) > 0.1
    assert left * right == pytest.approx(0.16, rel=0.02)


def test_submerging_hides_one_end() -> None:
    image = picture().astype(np.float32) / 255
    changed = np.abs(submerge(image, np.random.default_rng(2)) - image).mean(axis=(1, 2))
    ends = sorted([changed[:6].mean(), changed[-6:].mean()])
    assert ends[0] < 0.02 < 0.1 < ends[1]


def test_corners_are_cut_off_at_the_edges_only() -> None:
    image = picture().astype(np.float32) / 255
    original = image.copy()
    out = fill_corner(image.copy(), np.random.default_rng(0))
    changed = np.abs(out - original).max(axis=2) > 0
    assert changed.any()
    assert not changed[40:-40, 20:-20].any()


# --- evaluation -------------------------------------------------------------------------------------------------------


def small_table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "individual_id": ["a", "a", "a", "b", "b", None],
            "encounter_id": ["a1", "a1", "a2", "b1", None, None],
            "date": pd.to_datetime(
                ["2017-08-01", "2017-08-01", "2018-08-01", "2018-08-01", "2019-08-01", "2019-08-01"]
            ),
        }
    )


def test_average_precision_by_hand() -> None:
    similarity = np.zeros((6, 6))
    similarity[0] = [9, 0.9, 0.5, 0.8, 0.1, 0.7]  # order of the others: 1 (match), 3, 5, 2 (match), 4
    scores = evaluate_similarity(similarity, small_table(), "all")
    assert scores.queries.tolist() == [0, 1, 2, 3, 4]
    assert scores.average_precision[0] == pytest.approx((1 / 1 + 2 / 4) / 2)
    assert scores.top1[0] == 1.0
    other = evaluate_similarity(similarity, small_table(), "other_encounter")
    assert other.queries.tolist() == [0, 1, 2, 3, 4]
    assert other.average_precision[0] == pytest.approx(1 / 3), "the photograph of the same encounter is gone"
    assert other.top1[0] == 0.0


def test_later_years_see_earlier_ones_only() -> None:
    table = small_table()
    scores = evaluate_similarity(np.zeros((6, 6)), table, "later_year")
    assert scores.queries.tolist() == [2, 4]
    assert scores.candidates == pytest.approx((2 + 4) / 2)


def test_scores_without_queries() -> None:
    table = small_table().iloc[[0, 3]].reset_index(drop=True)
    for score in evaluate_descriptors(np.eye(2, dtype=np.float32), table).values():
        assert score.summary()["queries"] == 0
        assert math.isnan(score.summary()["mAP@20"])


# --- the loop ---------------------------------------------------------------------------------------------------------


def tiny_cache(individuals: int = 12, each: int = 4) -> PhotoCache:
    rng = np.random.default_rng(0)
    images, rows = [], []
    for i in range(individuals):
        pattern = rng.integers(0, 255, (8, 4, 3))
        for k in range(each):
            noisy = np.clip(pattern + rng.normal(0, 12, pattern.shape), 0, 255).astype(np.uint8)
            images.append(np.repeat(np.repeat(noisy, 11, 0), 11, 1)[:85, :43])
            date = pd.Timestamp(2017 + k // 2, 8, 1)
            rows.append((f"p{i}-{k}", f"animal{i}", "top", date, f"e{i}-{k // 2}"))
    table = pd.DataFrame(rows, columns=["image_id", "individual_id", "viewpoint", "date", "encounter_id"])
    return PhotoCache(table, np.stack(images), {})


def tiny_settings(**changes: object) -> TrainSettings:
    base = TrainSettings(
        backbone="basic_cnn",
        input_size=(32, 64),
        small_size=(32, 32),
        small_epochs=1,
        embedding=16,
        epochs=4,
        batch=8,
        rate=5e-3,
        backbone_rate=1.0,
        validate_every=2,
        hold=1.0,
    )
    return base.replace(**changes)


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    cache, settings = tiny_cache(), tiny_settings()
    whole = train_descriptor(cache.table, tmp_path / "whole", settings, cache=cache)
    first = train_descriptor(cache.table, tmp_path / "parts", settings, cache=cache, stop_after=2)
    assert not first.finished
    torch.manual_seed(999)  # whatever else happened in between
    second = train_descriptor(cache.table, tmp_path / "parts", settings, resume=True, cache=cache)
    assert whole.finished
    assert second.finished
    for name in ("model.safetensors", "checkpoint.safetensors"):
        expected, got = tensors_of(tmp_path / "whole" / name), tensors_of(tmp_path / "parts" / name)
        assert expected.keys() == got.keys()
        for key in expected:
            assert torch.equal(expected[key], got[key]), f"{name}: {key}"
    logs = [[json.loads(line) for line in (tmp_path / d / "log.jsonl").open()] for d in ("whole", "parts")]
    for log in logs:
        for record in log:
            del record["seconds"]
    assert logs[0] == logs[1]
    assert [r["size"] for r in logs[0]] == [[32, 32], [32, 64], [32, 64], [32, 64]]
    assert [("validation" in r) for r in logs[0]] == [False, True, False, True]


def test_threads_change_nothing(tmp_path: Path) -> None:
    cache, settings = tiny_cache(), tiny_settings(epochs=1)
    for workers in (0, 3):
        train_descriptor(cache.table, tmp_path / str(workers), settings, cache=cache, workers=workers)
    expected, got = (tensors_of(tmp_path / w / "model.safetensors") for w in ("0", "3"))
    assert all(torch.equal(expected[key], got[key]) for key in expected)


def test_training_stops_early_when_validation_no_longer_improves(tmp_path: Path) -> None:
    cache = tiny_cache()
    stuck = tiny_settings(epochs=8, small_epochs=8, rate=0.0, ema=0.0, validate_every=1, patience=2)
    report = train_descriptor(cache.table, tmp_path, stuck, cache=cache)
    assert report.finished
    scores = [record["validation"]["other_encounter"]["mAP@20"] for record in report.history]
    assert len(scores) < 8
    assert max(scores[-2:]) <= max(scores[:-2])


def test_training_learns_to_tell_unseen_individuals(tmp_path: Path) -> None:
    cache = tiny_cache()
    report = train_descriptor(cache.table, tmp_path, tiny_settings(epochs=10, validate_every=10), cache=cache)
    assert report.history[-1]["loss"] < 0.7 * report.history[0]["loss"]
    assert report.history[-1]["validation"]["other_encounter"]["mAP@20"] > 0.8
    from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings

    assert GlobalDescriptor(GlobalSettings(model=str(tmp_path)), "cpu").dim == 32, "a training's folder is a model"


def test_resuming_with_other_settings_is_refused(tmp_path: Path) -> None:
    cache = tiny_cache()
    train_descriptor(cache.table, tmp_path, tiny_settings(epochs=1), cache=cache)
    with pytest.raises(CheckpointError, match="belongs to another training"):
        train_descriptor(cache.table, tmp_path, tiny_settings(epochs=2), resume=True, cache=cache)


def test_held_out_individuals_are_never_trained_on() -> None:
    table = tiny_cache().table
    rows = held_out_rows(table, TrainSettings())
    assert set(table.loc[rows, "individual_id"].map(split_half)) == {1}
    assert set(table.loc[~rows, "individual_id"].map(split_half)) == {0}
    fold = held_out_rows(table, TrainSettings(held_out="fold", fold=2, folds=3))
    assert set(table.loc[fold, "individual_id"].map(lambda v: fold_of(v, 3))) == {2}
    assert not held_out_rows(table, TrainSettings(held_out="none")).any()


def test_too_few_individuals_are_refused(tmp_path: Path) -> None:
    cache = tiny_cache(individuals=1)
    with pytest.raises(SettingsError, match="at least 2 are needed"):
        train_descriptor(cache.table, tmp_path, tiny_settings(held_out="none"), cache=cache)


def test_the_running_average_by_hand() -> None:
    model, average = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        model.weight.fill_(3.0)
    model.num_batches_tracked.fill_(7)
    update_average(average, model, decay=0.75)
    np.testing.assert_allclose(average.weight.detach().numpy(), [1.5, 1.5])
    assert average.num_batches_tracked.item() == 7


def test_within_class_covariance_by_hand() -> None:
    """Two animals that scatter along x only, and a third seen once, which says nothing."""
    vectors = np.array([[0.0, 0.0], [2.0, 0.0], [5.0, 7.0], [9.0, 7.0], [50.0, 50.0]])
    covariance = within_class_covariance(vectors, ["a", "a", "b", "b", "c"])
    np.testing.assert_allclose(covariance, [[(2 + 8) / 2, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="at least two photographs"):
        within_class_covariance(vectors, list("abcde"))


def test_whitening_is_the_inverse_square_root() -> None:
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    covariance = basis @ np.diag([1.0, 2.0, 4.0, 9.0]) @ basis.T
    matrix = whitening_matrix(covariance, 0.0)
    np.testing.assert_allclose(matrix @ covariance @ matrix, np.eye(4), atol=1e-9)
    shrunk = whitening_matrix(np.diag([2.0, 0.0]), 1.0)
    np.testing.assert_allclose(shrunk, np.diag([1 / math.sqrt(3), 1.0]), atol=1e-9)


def test_folded_whitening_is_the_same_map() -> None:
    from features.global_descriptor.networks import BasicTrunk, Embedder

    torch.manual_seed(0)
    model = Embedder(BasicTrunk(), 6)
    model.train()
    for _ in range(3):
        model(torch.randn(8, 3, 64, 64))
    model.eval()
    x = torch.randn(5, 3, 64, 64)
    rng = np.random.default_rng(0)
    mean, matrix = rng.normal(size=6), rng.normal(size=(6, 6))
    with torch.no_grad():
        before = model(x).numpy()
        fold_whitening(model, mean, matrix)
        np.testing.assert_allclose(model(x).numpy(), (before - mean) @ matrix.T, rtol=1e-3, atol=1e-3)


def test_frozen_blocks_keep_their_weights_and_statistics() -> None:
    from features.global_descriptor.lite_trunk import LiteTrunk

    trunk = LiteTrunk("efficientnet_lite0", frozen_blocks=3).train()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    out = trunk(torch.randn(4, 3, 64, 32, generator=torch.Generator().manual_seed(0)))
    (out[0].mean() + out[1].mean()).backward()
    moved = {name for name, value in trunk.state_dict().items() if not torch.equal(value, before[name])}
    assert moved, "the statistics of the trained blocks move"
    assert not any(name.startswith(("stem", "blocks.0.", "blocks.1.", "blocks.2.")) for name in moved)
    gradients = {name for name, p in trunk.named_parameters() if p.grad is not None}
    assert not any(name.startswith(("stem", "blocks.2.")) for name in gradients)
    assert any(name.startswith("blocks.3.") for name in gradients)


def test_a_photograph_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "good.png"), np.full((60, 30, 3), 90, np.uint8))
    (tmp_path / "bad.png").write_bytes(b"junk")
    rows = [(n, str(tmp_path / f"{n}.png"), "a", "top", None) for n in ("bad", "good")]
    table = pd.DataFrame(rows, columns=["image_id", "path", "individual_id", "viewpoint", "box"])
    cache = PhotoCache.read(table, (24, 48))
    assert cache.images.shape == (1, 64, 32, 3)
    assert cache.table["image_id"].tolist() == ["good"]
    assert "bad" in cache.skipped


# --- marks instead of light -------------------------------------------------------------------------------------------


def test_classes_of_a_day_are_those_photographed_on_it() -> None:
    dates = pd.Series(pd.to_datetime(["2018-07-01 10:00", "2018-07-01 18:00", "2018-07-02 09:00", None]))
    days, seen = same_day_classes(dates, np.array([0, 2, 1, 1]), 3)
    assert days[0] == days[1] != days[2]
    assert seen[days[0]].tolist() == [True, False, True]
    assert seen[days[2]].tolist() == [False, True, False]
    assert seen[days[3]].all(), "without a date everybody could have been there"


def test_only_company_competes_in_its_share_of_the_loss() -> None:
    torch.manual_seed(0)
    head = MarginHead("arcface", 4, torch.tensor([3, 3, 3]))
    embeddings, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    alone = torch.nn.functional.one_hot(labels, 3).bool()
    everyone = torch.ones(5, 3, dtype=torch.bool)
    plain = head(embeddings, labels)[0]
    assert torch.allclose(head(embeddings, labels, everyone, 0.4)[0], plain)
    assert torch.allclose(head(embeddings, labels, alone, 0.4)[0], 0.6 * plain), "who is alone cannot be mistaken"


def test_without_an_epoch_the_projection_is_the_whitening_alone(tmp_path: Path) -> None:
    cache = tiny_cache()
    settings = tiny_settings(epochs=0, small_epochs=0, embedding=24)
    files = [train_descriptor(cache.table, tmp_path / n, settings, cache=cache).model for n in ("a", "b")]
    first, second = (tensors_of(path) for path in files)
    assert all(torch.equal(first[key], second[key]) for key in first)
    untouched = new_embedder(settings).state_dict()
    model, _ = load_embedder(files[0])
    held_out = np.array([split_half(str(name)) == 1 for name in cache.table["individual_id"]])
    table = cache.table[held_out].reset_index(drop=True)
    scores = evaluate_descriptors(embed(model, cache.images[held_out], (32, 64)), table)
    assert scores["other_encounter"].summary()["mAP@20"] > 0.8
    assert untouched.keys() == first.keys()


def test_encounters_can_be_balanced_and_views_left_out(tmp_path: Path) -> None:
    cache = tiny_cache()
    cache.table.loc[cache.table["image_id"].str.endswith("-3"), "viewpoint"] = "left"
    report = train_descriptor(
        cache.table,
        tmp_path,
        tiny_settings(epochs=1, views="top", sampling_groups="encounter", same_day=0.5),
        cache=cache,
    )
    header = read_header(report.model)
    trained = sum(split_half(f"animal{i}") == 0 for i in range(12))
    assert header["training"]["photographs"] == 3 * trained, "the lateral of each animal is left out"
    for wrong in ({"views": "side"}, {"sampling_groups": "day"}, {"same_day": 2.0}, {"input": "grey"}, {"epochs": -1}):
        with pytest.raises(SettingsError):
            tiny_settings(**wrong)


@pytest.mark.parametrize("stages", ["late", "middle", "strips"])
def test_the_stages_of_a_lite_network_survive_their_file(tmp_path: Path, stages: str) -> None:
    settings = TrainSettings(stages=stages, embedding=16, input_size=(48, 96), input="flattened")
    torch.manual_seed(0)
    model = new_embedder(settings).eval()
    save_embedder(tmp_path / "m.safetensors", model, model_header(settings, {}))
    again, header = load_embedder(tmp_path / "m.safetensors")
    picture = torch.rand(2, 3, 96, 48)
    with torch.no_grad():
        assert torch.equal(model(picture), again(picture))
    assert header["input"] == "flattened"
    assert (model.norm.num_features, len(model.pools)) == {
        "late": (112 + 1280, 2),
        "strips": (2 * 112 * 5 + 1280, 2),
        "middle": (2 * (40 + 80 + 112), 3),
    }[stages]


def test_a_strip_knows_where_along_the_body_a_mark_lies() -> None:
    trunk = build_trunk("efficientnet_lite0", (48, 96), stages="strips")
    model = Embedder(trunk, 8)
    maps = (torch.zeros(1, 112, 8, 3), torch.zeros(1, 1280, 4, 2))
    head, tail = maps[0].clone(), maps[0].clone()
    head[:, 0, 0], tail[:, 0, 7] = -2.0, -2.0
    first, second = (model.pooled((one, maps[1])).detach() for one in (head, tail))
    assert torch.allclose(first[:, :224], second[:, :224]), "the whole body cannot tell them apart"
    assert not torch.allclose(first, second), "its strips can, and by the negative side"


# --- worse copies -----------------------------------------------------------------------------------------------------


def test_worse_copies_keep_the_animal_and_lose_detail() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (200, 80, 3)).astype(np.uint8)
    coarse = cv2.GaussianBlur(picture, (0, 0), 6)
    copies = [degrade(picture, np.random.default_rng(seed)) for seed in range(20)]
    assert all(copy.shape == picture.shape and copy.dtype == np.uint8 for copy in copies)
    assert np.mean([copy.std() < 0.8 * picture.std() for copy in copies]) > 0.4, "fine noise goes"
    assert all(np.abs(cv2.GaussianBlur(copy, (0, 0), 6).astype(int) - coarse).mean() < 8 for copy in copies), (
        "what is coarse stays"
    )
    assert np.array_equal(copies[3], degrade(picture, np.random.default_rng(3)))


def test_copies_take_turns_with_their_photograph(tmp_path: Path, made_up_dir: Path) -> None:
    from engine.catalogue.catalog import Catalog

    table = Catalog.read(made_up_dir).table
    settings = tiny_settings(epochs=1, worse_copies=2, input="flattened", held_out="none", views="all")
    cache = read_cache(table, settings)
    assert [len(copies) for copies in cache.copies] == [2] * len(cache.table)
    changed = [not np.array_equal(copies[0], image) for copies, image in zip(cache.copies, cache.images, strict=True)]
    assert np.mean(changed) > 0.6, "now and then the tosses leave a copy as it was"
    again = read_cache(table, settings)
    assert all(np.array_equal(a, b) for a, b in zip(cache.copies, again.copies, strict=True))
    with_copies = train_descriptor(table, tmp_path / "a", settings, cache=cache)
    without = train_descriptor(table, tmp_path / "b", settings, cache=PhotoCache(cache.table, cache.images, {}))
    first, second = (tensors_of(report.model) for report in (with_copies, without))
    assert any(not torch.equal(first[key], second[key]) for key in first)


def test_recipes_fit_any_backbone() -> None:
    assert tuple(RECIPES) == ("skin", "colour")
    skin = TrainSettings.recipe("skin")
    assert (skin.input, skin.stages, skin.mirror_classes, skin.augmentation.strength) == (
        "flattened",
        "strips",
        False,
        0.7,
    )
    assert TrainSettings.recipe("colour") == TrainSettings()
    other = TrainSettings.recipe("skin", "basic_cnn")
    assert (other.backbone, other.input, other.stages, other.frozen_blocks) == ("basic_cnn", "flattened", "late", 0)
    with pytest.raises(SettingsError, match="no recipe 'fur'; known recipes: skin, colour"):
        TrainSettings.recipe("fur")
