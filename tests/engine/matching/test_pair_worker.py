"""What one worker measures is what its matchers and the verification say, each with its own features and options."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from engine.geometry.verification import VerificationSettings, verify_many
from engine.matching import pair_worker
from engine.matching.dense import SkinMatcher, skin_verification
from engine.matching.measurements import MatcherName
from engine.matching.mutual_nn import MutualNNMatcher
from engine.matching.pair_worker import PairSettings, PairTask, PairWorker
from engine.records import Verification
from features.records import ByteArray, Frame, LocalFeatures
from features.skin.descriptors import KIND
from features.skin.picture import SIZE as PICTURE

SIZE = (192, 512)
WIDTH, HEIGHT = PICTURE


def view(kind: str, dimension: int, noise: int, shift: float) -> LocalFeatures:
    """The same 80 places, moved by ``shift`` pixels along the body; noise makes half of their descriptors ambiguous."""
    rng = np.random.default_rng(3)
    xy = (rng.random((80, 2)) * (150, 420) + 20).astype(np.float32)
    descriptors = rng.standard_normal((80, dimension)).astype(np.float32)
    descriptors[40:] += 1.2 * np.random.default_rng(noise).standard_normal((40, dimension)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    ones = np.ones(80, np.float32)
    return LocalFeatures(xy + np.float32([0, shift]), ones, descriptors, ones, ones, Frame(SIZE), kind)


class MadeDescriber:
    """Gives the features of "q" and "c" without a photograph."""

    def __init__(self, *arguments: object) -> None:
        pass

    def local(self, key: str) -> LocalFeatures:
        return view("aliked", 128, 1 if key == "q" else 2, 0 if key == "q" else 6)

    def skin(self, key: str) -> LocalFeatures:
        return view(KIND, 64, 1 if key == "q" else 2, 0 if key == "q" else 6)

    def picture(self, key: str) -> ByteArray:
        """The same skin of noise, moved as the places are."""
        rows = np.random.default_rng(5).integers(1, 256, (HEIGHT + 24, WIDTH, 3)).astype(np.uint8)
        # 6 of 512 canonical pixels are 3.1 of the picture's.
        return rows[3:][:HEIGHT] if key == "q" else rows[:HEIGHT]

    def picture_fingerprint(self) -> str:
        return "picture"

    def local_fingerprint(self) -> str:
        return "local"

    def skin_fingerprint(self) -> str:
        return "skin"

    def rotated_keys(self, key: str) -> tuple[str, ...]:
        return (key,)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> PairWorker:
    monkeypatch.setattr(pair_worker, "Describer", MadeDescriber)
    return PairWorker(PairSettings(), Path("/nowhere"))


TASK = PairTask("q", ("c",))


def test_distinctive_matches_are_verified_by_themselves(worker: PairWorker) -> None:
    (record,) = worker.measure("mutual_nn", TASK)
    first, second = MadeDescriber().local("q"), MadeDescriber().local("c")
    matcher = MutualNNMatcher("aliked")
    (matches,) = matcher.match([(first, second)])
    distinctive = matcher.passes_ratio_test(matches)
    assert 30 < len(distinctive) < len(matches)
    settings = VerificationSettings(threads=1)
    every, few = (verify_many([(first, second, m, ("q", "c"))], settings)[0] for m in (matches, distinctive))
    assert (record["matches"], record["inliers"]) == (len(matches), every.n_inliers)
    assert (record["distinctive_matches"], record["distinctive_inliers"]) == (len(distinctive), few.n_inliers)
    assert record["distinctive_inlier_ratio"] == pytest.approx(few.inlier_ratio)
    assert few.n_inliers != every.n_inliers
    assert record["keypoints0"] == record["keypoints1"] == 80


def test_the_placement_of_keypoints_is_verified_by_the_skin_of_both(worker: PairWorker, monkeypatch) -> None:
    (record,) = worker.measure("mutual_nn", TASK)
    assert record["overlap"] > 0.9 and record["agreeing_fine"] == record["blocks"] > 100
    assert record["correlation_fine"] > 0.8 and record["drift_fine"] == 0
    monkeypatch.setattr(MadeDescriber, "picture", lambda self, key: np.full((HEIGHT, WIDTH, 3), 128, np.uint8))
    (plain,) = PairWorker(PairSettings(), Path("/nowhere")).measure("mutual_nn", TASK)
    assert plain["agreeing_fine"] == 0 and plain["blocks"] == record["blocks"]
    nowhere = PairSettings(verification=VerificationSettings(min_inliers=1000))
    (unplaced,) = PairWorker(nowhere, Path("/nowhere")).measure("mutual_nn", TASK)
    assert not unplaced["model_found"] and np.isnan(unplaced["overlap"])


def test_skin_is_matched_verified_and_laid_over_by_its_own_options(worker: PairWorker) -> None:
    (record,) = worker.measure("skin", TASK)
    first, second = MadeDescriber().skin("q"), MadeDescriber().skin("c")
    (matches,) = SkinMatcher().match([(first, second)])
    (check,) = verify_many([(first, second, matches, ("q", "c"))], skin_verification().replace(threads=1))
    assert check.ok and record["inliers"] == check.n_inliers
    aligned = SkinMatcher().aligned(first, second, check.model)
    assert record["aligned_similarity"] == pytest.approx(aligned.similarity)
    assert record["overlap"] == pytest.approx(aligned.overlap)


def test_a_pair_is_verified_under_both_names_by_the_options_of_its_matcher(worker: PairWorker, monkeypatch) -> None:
    asked: list[tuple[tuple[str, str], VerificationSettings]] = []

    def noted(pairs: list, settings: VerificationSettings) -> list[Verification]:
        asked.extend((key, settings) for *_, key in pairs)
        return verify_many(pairs, settings)

    monkeypatch.setattr(pair_worker, "verify_many", noted)
    worker.match("skin", PairTask("q", ("c", "q")))
    worker.match("mutual_nn", TASK)
    skin, keypoints = skin_verification().replace(threads=1), VerificationSettings(threads=1)
    assert asked == [(("q", "c"), skin), (("q", "q"), skin), (("q", "c"), keypoints)]


def test_nothing_is_laid_over_without_a_placement(worker: PairWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    strict = PairSettings(skin_verification=skin_verification().replace(min_inliers=1000))
    (record,) = PairWorker(strict, Path("/nowhere")).measure("skin", TASK)
    assert record["matches"] > 0 and not record["model_found"]
    assert np.isnan(record["aligned_similarity"]) and record["overlap"] == 0


def test_each_matcher_s_measurements_have_their_own_fingerprint(worker: PairWorker, monkeypatch) -> None:
    prints = {name: worker.fingerprint(name) for name in worker.matchers}
    assert set(prints) == {"skin", "mutual_nn", "lightglue"}
    changed = PairWorker(PairSettings(skin_verification=skin_verification().replace(seed=1)), Path("/nowhere"))
    assert {name for name, text in prints.items() if changed.fingerprint(name) != text} == {"skin"}
    changed = PairWorker(PairSettings(verification=VerificationSettings(seed=1)), Path("/nowhere"))
    assert {name for name, text in prints.items() if changed.fingerprint(name) != text} == {"mutual_nn", "lightglue"}
    turned = PairWorker(PairSettings().with_option("describe.rotations", "2"), Path("/nowhere"))
    assert not {turned.fingerprint(name) for name in prints} & set(prints.values())
    assert len(set(prints.values())) == 3
    codes = worker.codes_fingerprint()
    monkeypatch.setattr(MadeDescriber, "picture_fingerprint", lambda self: "another")
    assert {name for name, text in prints.items() if worker.fingerprint(name) != text} == {"mutual_nn"}
    assert worker.codes_fingerprint() == codes, "what is scored exhaustively knows no skin"


def test_keypoints_without_lightglue_are_shown_by_mutual_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_worker, "Describer", MadeDescriber)
    settings = PairSettings().with_option("describe.keypoints.kind", "sift")
    assert PairWorker(settings, Path("/nowhere")).best_matcher == "mutual_nn"
    assert PairWorker(PairSettings(), Path("/nowhere")).best_matcher == "lightglue"


class SevenPhotographs(MadeDescriber):
    """Photographs of very different numbers of keypoints; "v0" has none."""

    COUNTS = (0, 1, 3, 17, 40, 64, 80)

    def made(self, key: str, kind: str, dimension: int) -> LocalFeatures:
        number = int(key[1:])
        whole, count = view(kind, dimension, number, 3.0 * number), self.COUNTS[number]
        names = ("xy", "scores", "descriptors", "marks", "body")
        return dataclasses.replace(whole, **{name: getattr(whole, name)[:count] for name in names})

    def local(self, key: str) -> LocalFeatures:
        return self.made(key, "aliked", 128)

    def skin(self, key: str) -> LocalFeatures:
        return self.made(key, KIND, 64)


@pytest.mark.parametrize("matcher", ["mutual_nn", "skin"])
def test_a_list_is_measured_as_its_pairs_are_one_by_one(matcher: MatcherName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_worker, "Describer", SevenPhotographs)
    worker, keys = PairWorker(PairSettings(), Path("/nowhere")), tuple(f"v{number}" for number in range(7))
    for query in keys:
        together, backwards = (worker.measure(matcher, PairTask(query, order)) for order in (keys, keys[::-1]))
        alone = [PairWorker(PairSettings(), Path("/nowhere")).measure(matcher, PairTask(query, (key,))) for key in keys]
        assert together.tobytes() == np.concatenate(alone).tobytes() == backwards[::-1].tobytes()
        matched = [one.pair for one in worker.match(matcher, PairTask(query, keys))]
        for record, pair in zip(together, matched, strict=True):
            assert record["matches"] == len(pair.matches)
            assert record["inliers"] == pair.verification.n_inliers
            assert record["model_found"] == pair.verification.ok
            np.testing.assert_array_equal(record["residual"], np.float32(pair.verification.residual))
            np.testing.assert_array_equal(record["similarity"], np.float32(pair.matches.similarity))
            assert record["confidence_sum"] == pair.matches.confidence.sum()
    assert (worker.measure(matcher, PairTask("v6", keys))["inliers"] > 0).sum() >= 3


def test_measuring_no_candidates_gives_no_records(worker: PairWorker) -> None:
    assert all(len(worker.measure(matcher, PairTask("q", ()))) == 0 for matcher in ("mutual_nn", "skin"))
