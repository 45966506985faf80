"""Peers: the same questions for all, the rules of each on cases that can be worked out by hand, and one small run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.matching_time import MatchingTime
from bench.measurements.peers import judge
from bench.out_of_fold import OutOfFold
from bench.peers.cosine import answer_by_cosine
from bench.peers.hotspotter import HotSpotter, HotSpotterSettings, Search, Sift, describe, spatial_inliers
from bench.peers.knn import NearestNeighbours
from bench.peers.own import OwnEngine
from bench.peers.questions import Answers, Question, Sheet, questions_of
from bench.peers.wildfusion import WildFusion
from bench.protocols import select
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def matcher(small_settings, shared_store: Path) -> Matcher:
    return Matcher(small_settings, shared_store, ranker="fusion", workers=1)


@pytest.fixture(scope="module")
def index(made_up_dir: Path, matcher: Matcher) -> CatalogIndex:
    catalog = Catalog.read(made_up_dir)
    return matcher.index(catalog.subset(select(catalog, ("top",))))


@pytest.fixture(scope="module")
def sheet(index: CatalogIndex) -> Sheet:
    return Sheet(index, questions_of(index.catalog, 5, 0))


def test_questions_leave_out_what_their_rule_says(sheet: Sheet) -> None:
    table = sheet.catalog.table
    assert {q.rule for q in sheet.questions} == {"all", "other_encounter", "other_year"}
    for q in sheet.questions:
        row, offered = table.iloc[q.query], table[q.allowed]
        assert not q.allowed[q.query]
        assert q.relevant.sum() == (offered["individual_id"] == row["individual_id"]).sum() > 0
        if q.rule == "all":
            assert len(offered) == len(table) - 1
        else:
            assert row["encounter_id"] not in set(offered["encounter_id"])
        if q.rule == "other_year":
            assert row["date"].year not in set(offered["date"].dt.year)


def test_what_is_not_offered_or_not_answered_earns_nothing(sheet: Sheet) -> None:
    question = next(q for q in sheet.questions if q.rule == "all")
    one = Sheet(sheet.index, (question,))
    perfect = np.where(question.relevant, 1.0, 0.0)
    perfect[question.query] = 9.0
    assert judge(one, {"x": Answers([perfect], 0, 0)})[0].map20.mean == 1.0
    (nothing,) = judge(one, {"x": Answers([np.full(len(perfect), -np.inf)], 0, 0)})
    assert nothing.map20.mean == nothing.top1.mean == 0.0


def test_differences_are_against_the_engine(sheet: Sheet) -> None:
    good = Answers([q.relevant.astype(float) for q in sheet.questions], 0, 0)
    bad = Answers([-q.relevant.astype(float) for q in sheet.questions], 0, 0)
    records = judge(sheet, {OwnEngine.name: good, "theirs": bad})
    assert {r.rule for r in records} == {"all", "other_encounter", "other_year"}
    for r in records:
        if r.peer == "theirs":
            assert r.difference is not None and r.difference.mean < 0
        else:
            assert r.map20.mean == 1.0 and r.difference is None


def test_cosine_scores_every_photograph(sheet: Sheet) -> None:
    answers = answer_by_cosine(sheet, sheet.index.vectors, 0.5)
    query = sheet.questions[0].query
    assert answers.scores[0][query] == pytest.approx(1.0, abs=1e-5)
    assert answers.scores[0] == pytest.approx(sheet.index.vectors @ sheet.index.vectors[query])


# --- k-NN -------------------------------------------------------------------------------------------------------------


class FakeIndex:
    """Vectors without photographs."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors.astype(np.float32)


class FakeSheet:
    def __init__(self, vectors: np.ndarray, names: list[str]) -> None:
        self.index = FakeIndex(vectors)
        self.individuals = np.array(names)


def test_the_majority_comes_before_the_nearest() -> None:
    angles = np.radians([0, 5, 10, 11, 89])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    sheet = FakeSheet(vectors, ["q", "near", "many", "many", "far"])
    allowed = np.array([False, True, True, True, True])
    question = Question(0, "all", allowed, allowed)
    scores, is_new = NearestNeighbours._vote(None, sheet, question)  # type: ignore[arg-type]
    assert np.argsort(-scores)[:4].tolist() == [2, 3, 1, 4]
    assert not is_new


def test_a_distant_nearest_photograph_means_new() -> None:
    angles = np.radians([0, 75])  # cosine 0.26: distance 0.74
    sheet = FakeSheet(np.stack([np.cos(angles), np.sin(angles)], 1), ["q", "far"])
    question = Question(0, "all", np.array([False, True]), np.array([False, True]))
    assert NearestNeighbours._vote(None, sheet, question)[1]  # type: ignore[arg-type]


# --- HotSpotter -------------------------------------------------------------------------------------------------------


def features(count: int, seed: int) -> Sift:
    rng = np.random.default_rng(seed)
    descriptors = rng.random((count, 128)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    xy = rng.uniform(20, 400, (count, 2)).astype(np.float32)
    return Sift(xy, rng.uniform(3, 12, count).astype(np.float32), rng.uniform(0, 6, count).astype(np.float32),
                descriptors, 636.0)  # fmt: skip


def moved(one: Sift, scale: float, degrees: float, shift: tuple[float, float]) -> Sift:
    turn = np.radians(degrees)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    xy = one.xy @ matrix.T + np.array(shift)
    return Sift(xy.astype(np.float32), one.size * scale, one.turn + turn, one.descriptors, one.diagonal)


def test_spatial_check_keeps_a_similarity_and_drops_the_rest() -> None:
    query = features(12, 1)
    candidate = moved(query, 1.3, 25.0, (30.0, -12.0))
    rows = np.arange(12)
    wrong = rows.copy()
    wrong[[2, 7]] = [7, 2]
    found = spatial_inliers(query, rows, candidate, wrong, HotSpotterSettings())
    assert found.tolist() == [row not in (2, 7) for row in rows]
    beyond = Sift(candidate.xy, candidate.size.copy(), candidate.turn.copy(), candidate.descriptors, 636.0)
    beyond.size[3] *= 2.2
    beyond.turn[5] += np.radians(100)
    found = spatial_inliers(query, rows, beyond, rows, HotSpotterSettings())
    assert found.tolist() == [row not in (3, 5) for row in rows]


def test_search_finds_the_verified_copy_and_never_what_is_not_allowed() -> None:
    query = features(40, 2)
    same = moved(query, 0.9, 10.0, (5.0, 5.0))
    scattered = Sift(features(40, 9).xy, query.size, query.turn, query.descriptors + np.float32(1e-3), 636.0)
    others = [features(40, seed) for seed in range(20, 26)]
    search = Search([query, same, scattered, *others], HotSpotterSettings())
    allowed = np.arange(9) != 0
    scores = search.ask(Question(0, "all", allowed, allowed))
    assert scores[allowed].max() == scores[1]
    assert scores[1] > 1.0 > scores[2], "equal descriptors without a common geometry are not verified"
    allowed = np.arange(9) > 1
    scores = search.ask(Question(0, "other_encounter", allowed, allowed))
    assert scores.max() <= 1.0, "nothing but the copy has a geometry in common"


def test_keypoints_lie_on_the_photograph_and_repeat(index: CatalogIndex) -> None:
    catalog = index.catalog.take([0, 1])
    settings = HotSpotterSettings(max_keypoints=60)
    first, second = describe(catalog, settings), describe(catalog, settings)
    for one, again in zip(first, second, strict=True):
        assert 10 < len(one) <= 60
        assert np.allclose(np.linalg.norm(one.descriptors, axis=1), 1.0, atol=1e-4)
        assert np.array_equal(one.xy, again.xy)
        assert one.xy.min() >= 0
        assert one.xy.max() < one.diagonal


def test_an_unreadable_photograph_has_no_keypoints(index: CatalogIndex, tmp_path: Path) -> None:
    table = index.catalog.table.iloc[:2].assign(path=[str(tmp_path / "gone.jpg"), index.catalog.table["path"].iloc[1]])
    found = describe(Catalog(table, tmp_path), HotSpotterSettings(max_keypoints=60))
    assert [len(one) > 0 for one in found] == [False, True]
    search = Search(found, HotSpotterSettings())
    everything = np.ones(2, bool)
    assert not search.ask(Question(0, "all", everything, everything)).any()


def test_hotspotter_answers_the_same_twice(index: CatalogIndex) -> None:
    part = index.take(range(8))
    sheet = Sheet(part, questions_of(part.catalog, 3, 0))
    peer = HotSpotter(HotSpotterSettings(max_keypoints=60))
    first, second = peer.answer(sheet), peer.answer(sheet)
    assert all(np.array_equal(a, b) for a, b in zip(first.scores, second.scores, strict=True))


# --- the whole --------------------------------------------------------------------------------------------------------


def test_wildfusion_matches_shortlists_only_and_rises_with_both(sheet: Sheet, matcher: Matcher) -> None:
    peer = WildFusion(matcher, MatchingTime(0.1, 0.001, 0.01))
    answers = peer.answer(sheet)
    size = matcher.settings.shortlist.size
    for question, scores in zip(sheet.questions, answers.scores, strict=True):
        listed = scores > -np.inf
        assert listed.sum() == min(size, question.allowed.sum())
        assert not listed[~question.allowed].any()
        assert ((scores[listed] > 0) & (scores[listed] < 1)).all()
    assert 0 < answers.seconds_query <= size * 0.01


def test_the_engine_answers_the_same_questions(sheet: Sheet, matcher: Matcher) -> None:
    answers = OwnEngine(OutOfFold(matcher, ("fusion",)), MatchingTime(0.1, 0.001, 0.01)).answer(sheet)
    for question, scores in zip(sheet.questions, answers.scores, strict=True):
        listed = scores > -np.inf
        assert listed.any()
        assert not listed[~question.allowed].any(), question.rule
    assert judge(sheet, {"x": answers})[0].map20.mean > 0.2
