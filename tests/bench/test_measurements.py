"""Every measurement runs on a tiny made-up catalogue, its figures survive JSON, and its tables show them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import measurements
from bench.command import run
from bench.measurements.accuracy import headline
from bench.questions import ANY
from bench.results import Result, read_result, write_result
from scarmatch.metrics import Interval

#: Name -> options that keep it quick.
QUICKLY = {
    "accuracy": ["--queries=12", "--folds=2", "--photographs=6"],
    "effort": ["--ranker=fusion", "--queries=3", "--timed=2"],
    "scenarios": ["--ranker=fusion", "--queries=2", "--only=1", "--only=5"],
    "beyond": ["--ranker=fusion", "--queries=3"],
    "crossvalidated": ["--queries=12", "--folds=2"],
    "peers": ["--ranker=fusion", "--queries=2"],
    "robustness": ["--ranker=fusion", "--queries=2", "--only=small-50"],
    "reliability": ["--queries=12", "--folds=2", "--kind=logistic"],
    "individuals": ["--queries=12", "--folds=2", "--encounters=3", "--photographs=6"],
    "new_individual": ["--ranker=fusion", "--queries=9"],
    "errors": ["--ranker=fusion", "--queries=6"],
    "ablation": ["--queries=12", "--folds=2"],
    "descriptor": ["--model=efficientnet_lite0"],
    "pairs": ["--count=8"],
    "stages": ["--photographs=4", "--queries=1"],
    "end_to_end": ["--fraction=0.002", "--growth-queries=1"],
    "pictures": ["--pairs=2", "--queries=3"],
    "matcher": ["--pairs=2", "--keypoints", "32", "--rounds=1"],
    "first_stage": ["--count=8"],
    "species": ["--species=spots", "--animals=4", "--photographs=4", "--no-training", "--workers=1"],
    "any_angle": ["--species=spots", "--animals=4", "--photographs=4", "--workers=1"],
    "heads": ["--animals=4", "--photographs=4", "--new=2", "--workers=1"],
    "parts": ["--part=keypoints", "--animals=4", "--asked=4", "--photographs=4", "--workers=1"],
    "choice": [],
    "generality": ["--queries=12", "--training-queries=12"],
    "review": ["--queries=12"],
    "review_server": ["--clients=2", "--decisions=20", "--questions=5", "--rounds=2", "--kills=1"],
    "verification": ["--pairs=12", "--rounds=1", "--time-limit=0.01"],
    "gpu": [
        "--photographs=4",
        "--set=describe.descriptor.model=efficientnet_lite0",
        "--set=describe.keypoints.max_keypoints=64",
        "--set=describe.keypoints.long_side=256",
    ],
    "scale": ["--queries=3", "--sizes=1100", "--sizes=1500", "--full=1200", "--efficiency"],
    "cold_start": ["--sizes=40", "--rounds=1"],
    "kernels": ["--pairs=2", "--rounds=1"],
}


def intervals(value: Any) -> Iterator[Interval]:
    """Yield every interval of nested figures."""
    if isinstance(value, Interval):
        yield value
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from intervals(getattr(value, field.name))
    elif isinstance(value, dict | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from intervals(item)


@pytest.fixture(scope="module")
def results(measured: Callable[..., Result[Any]]) -> Callable[[str], Result[Any]]:
    """Runs each measurement once."""
    kept: dict[str, Result[Any]] = {}

    def result(name: str) -> Result[Any]:
        if name not in kept:
            options = QUICKLY[name]
            kept[name] = run(name, options) if not measurements.load(name).catalog else measured(name, *options)
        return kept[name]

    return result


def test_every_measurement_is_tried() -> None:
    assert set(QUICKLY) == set(measurements.NAMES)


@pytest.mark.parametrize("name", measurements.NAMES)
def test_it_runs_and_its_figures_survive(name: str, results: Callable[[str], Result[Any]], tmp_path: Path) -> None:
    measurement, result = measurements.load(name), results(name)
    assert isinstance(result.figures, measurement.figures)
    read = read_result(write_result(result, tmp_path), measurement.figures)
    assert read.figures.to_json() == result.figures.to_json() == json.loads(json.dumps(result.figures.to_json()))
    for value in intervals(result.figures):
        assert not value.low > value.mean + 1e-9
        assert not value.high < value.mean - 1e-9
    assert read.protocol["seed"] == 0
    assert "seed" in read.protocol and "store" not in read.protocol
    assert measurement.full(read) == measurement.full(result)
    assert "nan" not in measurement.full(read)
    if measurement.short is not None:
        assert measurement.short(read).strip()
    if measurement.plot is not None:
        pytest.importorskip("matplotlib")
        measurement.plot(read.figures, tmp_path / "plot.png")
        assert (tmp_path / "plot.png").stat().st_size > 5_000


def test_accuracy_has_every_method_under_both_rules(results: Callable[[str], Result[Any]]) -> None:
    figures = results("accuracy").figures
    of_task: dict[tuple[str, str], set[str]] = {}
    for m in figures.methods:
        of_task.setdefault((m.task, m.rule), set()).add(m.method)
        if m.method == "cosine":
            assert m.gain_over_cosine == (0.0, 0.0, 0.0)
    assert {rule for _, rule in of_task} == {"all", "other_encounter"}
    assert len({frozenset(methods) for methods in of_task.values()}) == 1


def test_photographs_drawn_at_random_stand_beside_whales_in_turn(results: Callable[[str], Result[Any]]) -> None:
    figures = results("accuracy").figures
    asked = {m.rule: m.queries for m in figures.methods if m.task == ANY}
    assert asked["all"] == 6 and 0 < asked["other_encounter"] <= 6
    assert [(r.rule, r.queries) for r in figures.recall if r.task == ANY] == list(asked.items())
    short = measurements.load("accuracy").short
    assert short is not None
    for text in (short(results("accuracy")), headline(results("accuracy"), "a command")):
        assert text.count(f"| {ANY}") == 2, "under both rules"
    alone = {(one.rule, one.questions) for one in results("individuals").figures.questions if one.asked == ANY}
    assert alone == set(asked.items())


def test_scenarios_score_officially(results: Callable[[str], Result[Any]]) -> None:
    figures = results("scenarios").figures
    assert [s.scenario for s in figures.scenarios] == ["scenario01", "scenario05"]
    for s in figures.scenarios:
        assert s.official.mean == pytest.approx(s.all.map20.mean), "two ways to the same score"
    assert [stage.name for stage in figures.stages] == ["describing", "matching", "ranking"]
    assert "not comparable" in measurements.load("scenarios").full(results("scenarios"))


def test_rates_follow_from_seconds(results: Callable[[str], Result[Any]]) -> None:
    f = results("stages").figures
    assert f.photographs == 4
    assert f.pairs_per_second == pytest.approx(f.pairs / f.seconds_pairs)
    assert f.seconds_pairs == pytest.approx(
        f.pairs / f.first_stage_pairs_per_second + f.lightglue_pairs / f.lightglue_pairs_per_second, rel=0.01
    )
    assert f.seconds_index_again < f.seconds_index


def test_the_product_reckons_with_the_rates_that_were_measured(tmp_path: Path) -> None:
    from bench.measurements.stages import StagesFigures, keep_rates
    from bench.results import RESULTS
    from engine.competitions.running_time import read_rates

    keep_rates(read_result(RESULTS / "stages.json", StagesFigures), tmp_path / "rates.json")
    assert read_rates(tmp_path / "rates.json") == read_rates()


def test_extrapolation_is_in_proportion(results: Callable[[str], Result[Any]]) -> None:
    f = results("end_to_end").figures
    first, extrapolated = f.runs["from nothing"], f.extrapolation["from nothing"]
    by_stage = {stage.name: stage.seconds for stage in first.stages}
    ratio = f.whole.photographs / f.measured.photographs
    assert extrapolated["describing"] == pytest.approx(by_stage["describing"] * ratio)
    assert extrapolated["matching"] == pytest.approx(by_stage["matching"] * f.whole.pairs / f.measured.pairs)
    assert sum(v for k, v in extrapolated.items() if k != "seconds") == pytest.approx(extrapolated["seconds"])
    known = {stage.name: stage for stage in f.runs["everything known"].stages}
    assert known["describing"].computed == known["matching"].computed == 0
    forgotten = {stage.name: stage for stage in f.runs["photographs known"].stages}
    assert forgotten["describing"].computed == 0 < forgotten["matching"].computed


def test_kornia_agrees_with_ours_at_full_depth(results: Callable[[str], Result[Any]]) -> None:
    rows = {row.name: row for row in results("matcher").figures.keypoints["32"].rows}
    kornia = next(row for name, row in rows.items() if name.startswith("kornia, full depth, batch 16"))
    assert kornia.recall is None or kornia.recall > 0.9


def test_a_server_loses_no_decision_that_it_acknowledged(results: Callable[[str], Result[Any]]) -> None:
    server = results("review_server").figures
    assert server.decisions == 4 and server.pages == 4
    assert server.lost == server.lost_in_kills == 0
    assert server.acknowledged >= 1
