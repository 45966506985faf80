"""What one worker measures is what its matchers and the verification say, each with its own features and options."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from engine.geometry.verification import VerificationSettings, verify_many
from engine.matching import pair_worker
from engine.matching.dense import SkinMatcher, skin_verification
from engine.matching.mutual_nn import MutualNNMatcher
from engine.matching.pair_worker import PairSettings, PairTask, PairWorker
from engine.records import Verification
from features.records import Frame, LocalFeatures
from features.skin.descriptors import KIND

SIZE = (192, 512)


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

    def local_fingerprint(self) -> str:
        return "local"

    def skin_fingerprint(self) -> str:
        return "skin"


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


def test_nothing_is_laid_over_without_a_placement(worker: PairWorker) -> None:
    (pair,) = worker.match("skin", TASK)
    lost = dataclasses.replace(pair, verification=dataclasses.replace(pair.verification, ok=False))
    assert np.isnan(worker._aligned(lost).similarity)


def test_each_matcher_s_measurements_have_their_own_fingerprint(worker: PairWorker, monkeypatch) -> None:
    prints = {name: worker.fingerprint(name) for name in worker.matchers}
    assert set(prints) == {"skin", "mutual_nn", "lightglue"}
    changed = PairWorker(PairSettings(skin_verification=skin_verification().replace(seed=1)), Path("/nowhere"))
    assert {name for name, text in prints.items() if changed.fingerprint(name) != text} == {"skin"}
    changed = PairWorker(PairSettings(verification=VerificationSettings(seed=1)), Path("/nowhere"))
    assert {name for name, text in prints.items() if changed.fingerprint(name) != text} == {"mutual_nn", "lightglue"}
    assert len(set(prints.values())) == 3


def test_keypoints_without_lightglue_are_shown_by_mutual_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_worker, "Describer", MadeDescriber)
    settings = PairSettings().with_option("describe.keypoints.kind", "sift")
    assert PairWorker(settings, Path("/nowhere")).best_matcher == "mutual_nn"
    assert PairWorker(PairSettings(), Path("/nowhere")).best_matcher == "lightglue"
