"""Spoilt photographs: what each way takes away, that queries stay who they are, and the figures, table and plot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.degradations import DEGRADATIONS, named, tighten, turn
from bench.out_of_fold import OutOfFold
from bench.protocols import select
from bench.robustness import CosineJudge, EngineJudge, draw_plot, main, render, run, spoilt
from engine.catalogue.catalog import Catalog
from engine.search.matcher import Matcher
from features.photo import read_photo

FEW = ["blur-2", "front-half"]


@pytest.fixture(scope="module")
def top(made_up_dir: Path) -> Catalog:
    catalog = Catalog.read(made_up_dir)
    return catalog.subset(select(catalog, ("top",)))


def by_name(name: str):
    return named([name])[0].change


def test_every_way_changes_pixels_and_none_depends_on_chance(top: Catalog) -> None:
    rgb = read_photo(top.table["path"].iloc[0]).rgb
    before = rgb.copy()
    assert len({one.name for one in DEGRADATIONS}) == len(DEGRADATIONS) == 20
    for one in DEGRADATIONS:
        changed = one.change(rgb)
        assert changed.dtype == np.uint8, one.name
        assert changed.shape != rgb.shape or (changed != rgb).any(), one.name
        assert np.array_equal(changed, one.change(rgb)), one.name
    assert np.array_equal(rgb, before)


def test_what_each_way_takes() -> None:
    """On a tall picture, so that rows and columns cannot be confused."""
    rgb = np.random.default_rng(0).integers(40, 200, (300, 100, 3)).astype(np.uint8)
    assert by_name("dark-60")(rgb).mean() == pytest.approx(0.6 * rgb.mean(), abs=0.5)
    assert by_name("blur-2")(rgb).std() < by_name("blur-1")(rgb).std() < by_name("blur-0.5")(rgb).std() < rgb.std()
    assert by_name("both-1-60")(rgb).mean() == pytest.approx(0.6 * rgb.mean(), abs=1.0)
    assert by_name("small-25")(rgb).shape == (75, 25, 3)
    assert np.array_equal(by_name("front-half")(rgb), rgb[:150])
    assert np.array_equal(by_name("rear-half")(rgb), rgb[150:])
    shifted = by_name("crop-shifted")(rgb)
    assert np.array_equal(shifted[:270, :90], rgb[30:, 10:])
    assert np.array_equal(tighten(rgb, 0.1), rgb[30:270, 10:90])
    white = (by_name("white-corners")(rgb) == 255).all(axis=2)
    assert white.mean() == pytest.approx(4 * 0.25 * 0.25 / 2, rel=0.05)
    assert white[0, 0]
    assert white[-1, -1]
    assert not white[150].any()
    error = {q: np.abs(by_name(f"jpeg-{q}")(rgb).astype(int) - rgb).mean() for q in (50, 20)}
    assert 0 < error[50] < error[20]


def test_a_turn_is_clockwise_and_keeps_everything() -> None:
    rgb = np.full((200, 60, 3), 50, np.uint8)
    rgb[2:8, 28:32] = 250  # the head
    turned = turn(rgb, 20.0)
    assert turned.shape[0] > 200
    assert turned.shape[1] > 60
    y, x = (values.mean() for values in np.nonzero(turned[..., 0] > 150))
    assert x > turned.shape[1] / 2 + 20, "the head goes to the right"
    assert y < 30
    area = (turned[..., 0].astype(float) - 50).sum() / (rgb[..., 0].astype(float) - 50).sum()
    assert area == pytest.approx(1.0, abs=0.05)


def test_unknown_ways_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'blurr'.*blur-0\.5"):
        named(["blurr"])
    with pytest.raises(SystemExit):
        main(["nowhere", "--only", "blurr"])


def test_spoilt_copies_keep_what_is_known_but_not_the_box(top: Catalog, tmp_path: Path) -> None:
    table = top.table.copy()
    table.at[0, "box"] = (2, 3, 20, 30)
    boxed = Catalog(table, top.root)
    copies = spoilt(boxed, named(["small-50"])[0], tmp_path)
    assert copies.ids == boxed.ids
    assert copies.table["individual_id"].tolist() == boxed.table["individual_id"].tolist()
    assert copies.table["encounter_id"].tolist() == boxed.table["encounter_id"].tolist()
    assert copies.table["box"].isna().all()
    assert read_photo(copies.table["path"].iloc[0]).size == (10, 15)
    assert set(copies.table["path"]).isdisjoint(boxed.table["path"])


def test_a_query_that_cannot_be_read_stays_in_the_table(top: Catalog, tmp_path: Path) -> None:
    table = top.table.copy()
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photograph")
    table.at[1, "path"] = str(bad)
    copies = spoilt(Catalog(table, top.root), named(["dark-50"])[0], tmp_path)
    assert len(copies) == len(top)
    assert copies.table["path"].iloc[1] == str(bad)


def test_cosine_needs_no_keypoints(
    top: Catalog, small_settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "features.keypoints.detectors.KeypointExtractor.extract", lambda *_: pytest.fail("keypoints computed")
    )
    judge = CosineJudge(small_settings.describe.descriptor, top)
    figures = run(judge, named(FEW), 6, 0, lambda line: None, tmp_path)
    records = {(r["degradation"], r["rule"]): r for r in figures["records"]}
    assert {r["scorer"] for r in figures["records"]} == {"cosine"}
    plain = records["none", "all"]
    assert plain["map20_change"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    for name in FEW:
        worse = records[name, "all"]
        assert worse["map20"]["mean"] - plain["map20"]["mean"] == pytest.approx(worse["map20_change"]["mean"])
    assert records["front-half", "all"]["map20"]["mean"] < plain["map20"]["mean"]
    assert not list(tmp_path.iterdir()), "copies are removed"


def test_the_engine_is_measured_beside_the_cosine(
    top: Catalog, small_settings, shared_store: Path, tmp_path: Path
) -> None:
    matcher = Matcher(small_settings, shared_store, ranker="fusion", workers=1)
    filters: list[bool] = []

    class Listening(OutOfFold):
        def answers(self, queries, database, candidates=None, top=20):
            filters.append(candidates.exclude_encounter)
            return super().answers(queries, database, candidates, top)

    judge = EngineJudge(matcher.index(top), Listening(matcher, ("fusion",)))
    asked: list = []

    def listening(queries: Catalog):
        asked.append(queries.ids)
        return judge(queries)

    listening.catalog = judge.catalog  # type: ignore[attr-defined]
    figures = run(listening, named(["blur-2"]), 3, 0, lambda line: None, tmp_path)  # type: ignore[arg-type]
    assert asked[0] == asked[1]
    assert filters == [False, True] * 2
    assert {r["scorer"] for r in figures["records"]} == {"cosine", "engine"}
    # Its own photograph in the catalogue, or the untouched one of a spoilt query, would be worth 1 on every query.
    assert all(r["map20"]["mean"] < 1 for r in figures["records"] if r["rule"] == "other_encounter")
    json.dumps(figures)
    text = render(figures)
    assert "Gaussian blur of 2 px" in text
    assert "whole engine" in text


def record(name: str, scorer: str, rule: str, change: float) -> dict:
    interval = {"mean": 0.5 + change, "low": 0.4, "high": 0.6}
    moved = {"mean": change, "low": change - 0.05, "high": change + 0.02}
    head = {"degradation": name, "group": "g", "label": name, "scorer": scorer, "rule": rule}
    return {**head, "queries": 60, "individuals": 50, "map20": interval, "map20_change": moved}


def test_plot_shows_every_change_at_its_place() -> None:
    rules = ("all", "other_encounter")
    records = [record("none", "cosine", rule, 0.0) for rule in rules]
    records += [record(n, "cosine", rule, c) for n, c in (("slight", -0.01), ("strong", -0.3)) for rule in rules]
    figures = {"records": records, "photographs": 9, "individuals": 3, "queries": 60}
    picture = draw_plot(figures)
    marks = (picture == (178, 98, 12)).all(axis=2)
    marks[:60] = False  # the legend
    columns = [np.flatnonzero(marks[top : top + 26].any(axis=0)).mean() for top in (92, 118)]
    assert columns[1] < columns[0] - 50, "the stronger loss lies further left"
    left, right = marks[:, : marks.shape[1] * 6 // 10], marks[:, marks.shape[1] * 6 // 10 :]
    assert left.any()
    assert right.any()
    assert "-0.300 (-0.350 … -0.280)" in render(figures)
