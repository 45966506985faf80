"""From photographs to answers: whole, in parts, with any number of workers, and with what users get wrong."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.search.matcher import ANSWER_COLUMNS
from reranker.likeness import MATCHED_COLUMNS
from reranker.ranker import Ranker
from scarmatch import CandidateFilter, Catalog, Matcher, MatcherSettings
from scarmatch.settings import SettingsError

TOP = CandidateFilter(viewpoints=("top",))


@pytest.fixture(scope="module")
def matcher(small_settings: MatcherSettings, shared_store: Path) -> Matcher:
    return Matcher(small_settings, shared_store, ranker="fusion", workers=1)


@pytest.fixture(scope="module")
def index(matcher: Matcher, made_up_dir: Path):
    return matcher.index(made_up_dir)


def some_queries(index, count: int = 4):
    table = index.catalog.table
    return index.subset(table[table["viewpoint"] == "top"]["image_id"].tolist()[:count])


def test_answers_are_complete_and_ordered(matcher, index) -> None:
    queries = some_queries(index)
    answers = matcher.match(queries, index, top=5)
    assert list(answers.columns) == list(ANSWER_COLUMNS)
    assert answers["query_id"].drop_duplicates().tolist() == queries.catalog.ids
    for query_id, rows in answers.groupby("query_id", sort=False):
        assert rows["rank"].tolist() == [1, 2, 3, 4, 5]
        assert query_id not in set(rows["image_id"])
        probabilities = rows["probability"].to_numpy()
        assert (np.diff(probabilities) < 0).all()
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
    row = answers.iloc[0]
    known = index.catalog.row(row["image_id"])
    assert (row["individual_id"], row["date"]) == (known["individual_id"], known["date"])


def test_a_true_match_of_the_same_encounter_comes_first(matcher, index) -> None:
    table = index.catalog.table
    twice = table[table["viewpoint"].eq("top") & table.groupby("encounter_id")["image_id"].transform("size").gt(1)]
    queries = index.subset(twice["image_id"].tolist()[:6])
    best = matcher.match(queries, index, top=1)
    truth = queries.catalog.table.set_index("image_id")["individual_id"]
    assert (best["individual_id"].to_numpy() == truth[best["query_id"]].to_numpy()).mean() >= 0.8


def test_a_query_stands_alone(matcher, small_settings, index, tmp_path) -> None:
    """Other queries, and numbers kept from other runs, change nothing."""
    queries = some_queries(index)
    together = matcher.pairs(queries, index)
    fresh = Matcher(small_settings, tmp_path / "store", ranker="fusion", workers=1)
    fresh_index = fresh.index(index.catalog)
    for query_id in queries.catalog.ids[:2]:
        alone = fresh.pairs(fresh_index.subset([query_id]), fresh_index)
        expected = together[together["query_id"] == query_id].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone.reset_index(drop=True), expected)


def test_one_and_two_workers_agree(small_settings, index, tmp_path) -> None:
    catalog = index.catalog.subset(index.catalog.ids[:10])
    tables = []
    for workers in (1, 2):
        other = Matcher(small_settings, tmp_path / str(workers), ranker="fusion", workers=workers)
        described = other.index(catalog)
        tables.append(other.pairs(described.subset(catalog.ids[:3]), described))
    pd.testing.assert_frame_equal(tables[0], tables[1])


def test_numbers_kept_equal_numbers_computed(matcher, small_settings, shared_store, index, monkeypatch) -> None:
    queries = some_queries(index, 2)
    first = matcher.pairs(queries, index)
    again = Matcher(small_settings, shared_store, ranker="fusion", workers=1)

    def fail(*args: object) -> None:
        raise AssertionError("a pair that the store knows was computed again")

    monkeypatch.setattr("engine.matching.pair_worker.PairWorker.match", fail)
    pd.testing.assert_frame_equal(first, again.pairs(queries, index))


def test_other_settings_get_other_numbers(matcher, small_settings, shared_store, index) -> None:
    queries = some_queries(index, 1)
    changed = small_settings.with_option("verification.threshold", "0.05")
    other = Matcher(changed, shared_store, ranker="fusion", workers=1).pairs(queries, index)
    assert not other["lightglue_inliers"].equals(matcher.pairs(queries, index)["lightglue_inliers"])


def test_filters_reach_the_candidates(matcher, index) -> None:
    queries = some_queries(index, 3)
    rules = CandidateFilter(viewpoints=("top",), until="2017-12-31", exclude_encounter=True)
    answers = matcher.match(queries, index, rules)
    assert not answers.empty
    assert (answers["viewpoint"] == "top").all()
    assert (answers["date"] <= pd.Timestamp("2017-12-31")).all()
    own = queries.catalog.table.set_index("image_id")["encounter_id"]
    assert (answers["encounter_id"].to_numpy() != own[answers["query_id"]].to_numpy()).all()


def test_a_copy_under_another_name_is_no_candidate(matcher, index, tmp_path) -> None:
    source = Path(index.catalog.row(index.catalog.ids[0])["path"])
    copy = tmp_path / "renamed.jpg"
    shutil.copy(source, copy)
    answers = matcher.match([copy], index)
    assert index.catalog.ids[0] not in set(answers["image_id"])


def test_no_candidates_is_an_empty_answer(matcher, index) -> None:
    nobody = CandidateFilter(since="2100-01-01")
    answers = matcher.match(some_queries(index, 2), index, nobody)
    assert answers.empty
    assert list(answers.columns) == list(ANSWER_COLUMNS)


def test_one_bad_photograph_stops_nothing(small_settings, made_up_dir, tmp_path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    photos = sorted((made_up_dir / "images").glob("*.jpg"))[:3]
    for photo in photos:
        shutil.copy(photo, folder)
    (folder / "broken.jpg").write_bytes(photos[0].read_bytes()[:200])
    (folder / "text.jpg").write_text("no picture")
    found = Matcher(small_settings, tmp_path / "store", ranker="fusion", workers=1).index(Catalog.from_photos([folder]))
    assert len(found) == 3
    assert {failure.image_id for failure in found.failures} == {"broken", "text"}
    assert all(failure.reason for failure in found.failures)


def test_a_stopped_index_goes_on(small_settings, made_up_dir, tmp_path, monkeypatch) -> None:
    catalog = Catalog.read(made_up_dir)
    catalog = catalog.subset(catalog.ids[:10])
    store = tmp_path / "store"
    matcher = Matcher(small_settings, store, workers=1)
    progress: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        progress.append((done, total))
        if done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        matcher.index(catalog, stop)
    from features.describe import Describer

    described: list[str] = []
    read = Describer.read

    def watch(self, ref):
        described.append(ref.image_id)
        return read(self, ref)

    monkeypatch.setattr(Describer, "read", watch)
    found = Matcher(small_settings, store, workers=1).index(catalog)
    assert len(found) == 10
    assert sorted(described) == sorted(catalog.ids[8:])


def test_evidence_of_a_pair_agrees_with_its_numbers(matcher, index) -> None:
    queries = some_queries(index, 1)
    answers = matcher.match(queries, index, top=1)
    row = answers.iloc[0]
    found = matcher.evidence(row["query_id"], row["image_id"], queries, index)
    assert found.verification.n_inliers == row["lightglue_inliers"]
    assert len(found.correspondences) == row["lightglue_matches"]
    assert found.photo0.size == found.features0.frame.size


def test_wrong_options_are_named(small_settings) -> None:
    with pytest.raises(SettingsError, match="keypoint type"):
        small_settings.with_option("describe.keypoints.kind", "orb")
    with pytest.raises(SettingsError, match="known options"):
        small_settings.with_option("describe.keypoint.kind", "sift")


def test_only_the_best_of_a_list_are_rescored_whatever_is_known(matcher, small_settings, index) -> None:
    """LightGlue's measurements that the store happens to hold do not leak into an answer that did not ask."""
    queries = some_queries(index)
    plain = small_settings.with_option("shortlist.expansion", "0")
    store = matcher.store_for(index.catalog)
    every = Matcher(plain, store, ranker="fusion", workers=1).pairs(queries, index, TOP)
    assert every["lightglue_inliers"].notna().all()
    settings = plain.with_option("shortlist.rescore", "2")
    few = Matcher(settings, store, ranker="fusion", workers=1)
    raw = few.pairs(queries, index, TOP)
    looked = raw["lightglue_inliers"].notna()
    assert (looked.groupby(raw["query_id"]).sum() == 2).all()
    pd.testing.assert_frame_equal(raw[looked], every[looked], check_dtype=False)
    assert raw["skin_inliers"].notna().all()
    assert raw.loc[~looked, "lightglue_model_kind"].isna().all()
    answers = few.rank(raw)
    seen = answers["lightglue_inliers"].notna()
    assert (seen.groupby(answers["query_id"]).sum() == 2).all(), "unknown, not zero, where LightGlue did not match"
    assert (answers["lightglue_inliers"] >= 0)[seen].all()
    assert len(answers) == len(raw)


def test_a_back_from_above_is_not_matched_with_a_flank(matcher, index) -> None:
    raw = matcher.pairs(some_queries(index), index)
    apart = raw["viewpoint1"].isin(["left", "right"])
    assert 0 < apart.sum() < len(raw)
    assert raw.loc[apart, ["skin_inliers", "lightglue_inliers"]].isna().all(axis=None)
    assert np.isfinite(raw["cosine"]).all()


def test_a_list_is_expanded_by_what_resembles_its_matches(matcher, small_settings, index) -> None:
    """Short lists: the rest of a whale's photographs comes in through the one that matches, and is matched too."""
    queries, size = some_queries(index, 8), 2
    settings = small_settings.with_option("shortlist.size", str(size)).with_option("shortlist.expansion", "3")
    settings = settings.with_option("shortlist.rescore", "4")
    other = Matcher(settings, matcher.store_for(index.catalog), ranker="fusion", workers=1)
    raw = other.pairs(queries, index, TOP, neighbours=True)
    place = raw.groupby("query_id", sort=False).cumcount()
    assert (raw.groupby("query_id").size() == size + 3).all()
    assert raw[["skin_inliers", "mutual_nn_inliers"]].notna().all(axis=None)
    looked = raw["lightglue_inliers"].notna()
    assert (looked.groupby(raw["query_id"]).sum() == 4).all()
    assert looked[place >= size].any()
    assert not raw.duplicated(["query_id", "candidate_id"]).any()
    vectors = dict(zip(index.catalog.ids, index.vectors, strict=True))
    for row in raw.to_dict("records"):
        assert row["cosine"] == pytest.approx(float(vectors[row["query_id"]] @ vectors[row["candidate_id"]]), abs=1e-5)
    for _, rows in raw.groupby("query_id"):
        some = rows[rows["neighbour0"].notna()]
        cosines = [float(vectors[r["candidate_id"]] @ vectors[r["neighbour0"]]) for r in some.to_dict("records")]
        order = np.argsort(cosines)
        assert (np.diff(some["neighbour0_cosine_znorm"].to_numpy()[order]) >= -1e-5).all(), "alike by cosine"
    seen = raw[raw["neighbour1_inlier_ratio"].notna()].head(12)
    assert len(seen) == 12
    compared = other.compare(list(zip(seen["neighbour1"], seen["candidate_id"], strict=True)), index)
    for name in MATCHED_COLUMNS:
        expected = compared[f"mutual_nn_{name}"].to_numpy(np.float32)
        expected = np.nan_to_num(expected) if name == "inlier_ratio" else expected
        np.testing.assert_array_equal(seen[f"neighbour1_{name}"].to_numpy(np.float32), expected, err_msg=name)


def test_candidates_are_compared_with_one_another_for_a_ranker_that_asks(matcher, small_settings, index) -> None:
    shipped = Ranker.load(Matcher().model.path("ranker"))
    store = matcher.store_for(index.catalog)
    for rescoring in (shipped.rescoring, None):
        ranker = dataclasses.replace(shipped, keypoint_kind="", descriptor="", rescoring=rescoring)
        raw = Matcher(small_settings, store, ranker=ranker, workers=1).pairs(some_queries(index, 1), index, TOP)
        assert ("neighbour0" in raw) == (rescoring is not None)
        if rescoring is not None:
            assert raw["neighbour0_inlier_ratio"].notna().any()
            older = dataclasses.replace(rescoring, likeness=dataclasses.replace(rescoring.likeness, matched=None))
            unread = dataclasses.replace(ranker, rescoring=older)
            raw = Matcher(small_settings, store, ranker=unread, workers=1).pairs(some_queries(index, 1), index, TOP)
            assert raw["neighbour0"].notna().any() and raw["neighbour0_inlier_ratio"].isna().all()
    assert "neighbour0" not in matcher.pairs(some_queries(index, 1), index, TOP)


def test_queries_described_in_a_store_of_their_own_are_matched(
    small_settings: MatcherSettings, made_up_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a store, every catalogue has its own; the queries' features must be where the database's are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photographs = sorted((made_up_dir / "images").iterdir())
    for name, photograph in zip(("new.jpg", "database/old.jpg"), photographs[:2], strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(photograph, tmp_path / name)
    matcher = Matcher(small_settings, ranker="fusion", workers=1)
    queries = matcher.index(Catalog.from_photos([tmp_path / "new.jpg"]))
    database = matcher.index(Catalog.from_photos([tmp_path / "database"]))
    assert queries.store != database.store
    assert matcher.match(queries, database)["image_id"].tolist() == ["old"]
    assert len(matcher.compare([("new", "old")], queries, database)) == 1
    evidence = matcher.evidence("new", "old", queries, database)
    assert len(evidence.features0) and len(evidence.features1)
    elsewhere = matcher.index(database.catalog, store=tmp_path / "elsewhere")
    assert len(matcher.evidence("new", "old", queries, elsewhere).features1)


def test_a_record_that_is_found_damaged_in_the_search_is_computed_anew(
    made_up_dir: Path, small_settings: MatcherSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = Catalog.read(made_up_dir).take(range(4))
    matcher = Matcher(small_settings, tmp_path / "whole", ranker="fusion", workers=1)
    whole = matcher.match(matcher.index(catalog).subset(catalog.ids[:1]), matcher.index(catalog))
    store = tmp_path / "damaged"
    matcher = Matcher(small_settings, store, ranker="fusion", workers=1)
    index = matcher.index(catalog)
    (shard,) = (store / "shards").glob("*.shard")
    data = bytearray(shard.read_bytes())
    for kind, number in (("skin", 1), ("local", 2)):
        place = data.index(f"{kind}:{index.descriptions[number].key}".encode())
        data[place + 1000] ^= 1
    shard.write_bytes(data)
    again = Matcher(small_settings, store, ranker="fusion", workers=1)
    index = again.index(catalog)
    pd.testing.assert_frame_equal(again.match(index.subset(catalog.ids[:1]), index), whole, check_exact=True)
    assert sum("is damaged" in line for line in caplog.messages) == 2
