"""Error analysis: its measures on drawn photographs, its groups and confusions by hand, and its page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.accuracy import Task
from bench.error_causes import CAUSES, by_cause, light_of, likely_causes
from bench.errors import (
    OUTCOMES,
    REPOSITORY,
    Asked,
    ErrorOptions,
    ask,
    confusion,
    main,
    matches_by_rank,
    render,
    run,
    true_matches,
    worst_queries,
)
from bench.out_of_fold import OutOfFold
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher


@pytest.fixture(scope="module")
def index(made_up_dir: Path, judges: OutOfFold) -> CatalogIndex:
    return judges.matcher.index(Catalog.read(made_up_dir))


@pytest.fixture(scope="module")
def asked(index: CatalogIndex, judges: OutOfFold) -> Asked:
    tops = tuple(index.catalog.table["image_id"][index.catalog.table["viewpoint"] == "top"])
    return ask(Task("top: all years", tops[:8], tops), index, judges)


@pytest.fixture(scope="module")
def drawn(
    index: CatalogIndex, small_settings, shared_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    output = tmp_path_factory.mktemp("errors")
    # With all that it knows the engine makes no mistake on this catalogue: hardly any keypoint is sure enough here.
    poor = small_settings.with_option("mutual_nn.max_ratio", "0.01").with_option("shortlist.rescore", "1")
    judges = OutOfFold(Matcher(poor, shared_store, "fusion", 1), ("fusion",))
    figures = run(index, judges, shared_store, ErrorOptions(output, queries=9, worst=2), lambda line: None)
    return figures, output


def test_light_by_hand() -> None:
    """A body 6 pixels wide, its left half at 50 and its right half at 150, on water that does not count."""
    rgb = np.full((10, 12, 3), 255, np.uint8)
    rgb[:, 3:6], rgb[:, 6:9] = 50, 150
    body = np.zeros((10, 12), np.float32)
    body[1:9, 3:9] = 1
    light = light_of(rgb, body, True)
    assert light.brightness == pytest.approx(100)
    assert light.side == pytest.approx(0.5)
    assert light_of(rgb[:, ::-1], body[:, ::-1], True).side == pytest.approx(-0.5)
    assert np.isnan(light_of(rgb, body, False).side)
    assert np.isnan(light_of(rgb, np.zeros_like(body), True).brightness)


def table_of(n: int) -> pd.DataFrame:
    """Queries whose average precision rises with resolution; nothing else differs but noise."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({cause.column: rng.random(n) for cause in CAUSES}, index=[f"q{i}" for i in range(n)])
    table["length"] = np.arange(n) + 100.0
    table["ap20"] = np.linspace(0, 1, n)
    table["top1"] = table["ap20"] > 0.5
    table["individual_id"] = [f"w{i // 2}" for i in range(n)]
    return table.assign(causes=pd.Series(likely_causes(table), index=table.index, dtype=object))


def test_likely_causes_are_the_worst_fifths() -> None:
    table = table_of(50)
    low = [i for i, causes in enumerate(table["causes"]) if "low resolution" in causes]
    assert low == list(range(10))
    far = table["causes"].apply(lambda c: "long ago" in c).to_numpy()  # much of it is bad
    assert table["days"][far].min() >= table["days"][~far].max()
    table["marks"] = 3.0  # everybody alike: no cause
    assert not any("few marks" in causes for causes in likely_causes(table))


def test_groups_by_cause_by_hand() -> None:
    records = {record["bad"]: record for record in by_cause(table_of(60))}
    low = records["low resolution"]
    assert low["correlation"] == pytest.approx(1.0)
    thirds = low["thirds"]
    assert [thirds[name]["queries"] for name in ("worst", "middle", "best")] == [20, 20, 20]
    assert (thirds["worst"]["least"], thirds["worst"]["most"]) == (100.0, 119.0)
    assert thirds["worst"]["map20"]["mean"] == pytest.approx(np.linspace(0, 1, 60)[:20].mean())
    assert low["share_of_failures"] == pytest.approx(12 / 30)
    assert low["share_of_all"] == pytest.approx(12 / 60)
    assert abs(records["long ago"]["correlation"]) < 0.5


def test_lists_of_one_worth_have_no_correlation() -> None:
    records = by_cause(table_of(30).assign(ap20=0.0))
    assert records
    assert all(record["correlation"] is None for record in records)
    figures = {"questions": [], "causes": records, "confusion": [], "failures": 1, "failures_without_cause": 0}
    assert "| – |" in render(figures)


def test_nothing_to_ask_is_said(index: CatalogIndex, judges: OutOfFold, shared_store: Path, tmp_path: Path) -> None:
    table = index.catalog.table
    one_each = index.subset(table[table["viewpoint"] == "top"].groupby("encounter_id")["image_id"].first().tolist())
    first = one_each.catalog.table.groupby("individual_id")["encounter_id"].transform("first")
    lonely = one_each.catalog.table["image_id"][one_each.catalog.table["encounter_id"] == first].tolist()
    pairs = table["image_id"][table["encounter_id"].isin(index.catalog.subset(lonely).table["encounter_id"])].tolist()
    with pytest.raises(ValueError, match="two encounters"):
        run(index.subset(pairs), judges, shared_store, ErrorOptions(tmp_path / "out"), lambda line: None)


def test_the_surest_wrong_answers_come_first() -> None:
    table = table_of(10).assign(probability=np.linspace(0.9, 0.1, 10))
    table["ap20"] = [0.0, 0.2, 0.0, 0.0, 0.1, 1, 1, 1, 1, 1]
    assert worst_queries(table, 4).index.tolist() == ["q0", "q2", "q3", "q4"]
    assert not set(worst_queries(table, 99).index) & {"q5", "q6", "q7", "q8", "q9"}  # the right ones


def test_confusion_by_hand() -> None:
    """a is taken for b twice and b for a once; c for a once; d is right."""
    told = {
        "q1": ("a", "b", 0.9),
        "q2": ("a", "b", 0.4),
        "q3": ("b", "a", 0.6),
        "q4": ("c", "a", 0.99),
        "q5": ("d",) * 2,
    }
    rows = [(q, f"{q}-1", spec[1], spec[2] if len(spec) > 2 else 0.5) for q, spec in told.items()]
    answers = pd.DataFrame(rows, columns=["query_id", "image_id", "individual_id", "probability"]).assign(rank=1)
    queries = pd.DataFrame({"individual_id": [spec[0] for spec in told.values()]}, index=list(told))
    found = confusion(Asked(Task("t", (), ()), answers, queries))
    assert [record["individuals"] for record in found] == [["a", "b"], ["a", "c"]]
    assert found[0]["queries"] == 3
    assert found[0]["both_directions"]
    assert found[0]["surest"] == {"query": "q1", "candidate": "q1-1", "probability": pytest.approx(0.9)}
    assert not found[1]["both_directions"]


def test_matches_are_of_another_encounter(asked: Asked, index: CatalogIndex) -> None:
    table = index.catalog.table.set_index("image_id")
    for query in asked.queries.index:
        matches = true_matches(query, asked, index)
        assert len(matches) == asked.queries.loc[query, "n_relevant"] > 0
        assert set(table.loc[matches, "individual_id"]) == {table.loc[query, "individual_id"]}
        assert table.loc[query, "encounter_id"] not in set(table.loc[matches, "encounter_id"])
        assert sorted(matches_by_rank(query, asked, index)) == sorted(matches)
        first = asked.queries.loc[query, "first_rank"]
        if not np.isnan(first):
            rows = asked.answers[asked.answers["query_id"] == query].set_index("rank")
            assert rows.loc[int(first), "image_id"] == matches_by_rank(query, asked, index)[0]


def test_outcomes_add_up(drawn: tuple[dict[str, Any], Path]) -> None:
    figures, _ = drawn
    assert {r["question"] for r in figures["questions"]} >= {"top: all years", "lateral -> top"}
    for record in figures["questions"]:
        assert list(record["outcomes"]) == list(OUTCOMES)
        assert sum(record["outcomes"].values()) == record["queries"]
        assert record["outcomes"]["first"] == pytest.approx(record["top1"]["mean"] * record["queries"])
    first = figures["questions"][0]
    assert figures["failures"] == first["queries"] - first["outcomes"]["first"]
    json.dumps(figures)
    text = render(figures)
    assert "longer side" in text
    assert "taken for each other" in text


def test_the_page_shows_what_it_names(drawn: tuple[dict[str, Any], Path]) -> None:
    figures, output = drawn
    page = (output / "index.html").read_text(encoding="utf-8")
    pictures = re.findall(r'src="([^"]+)"', page)
    assert pictures
    assert all((output / name).stat().st_size > 1000 for name in pictures)
    assert len(figures["worst"]) <= 2
    for record in figures["worst"]:
        assert record["query"] in page


def test_names_are_escaped(index: CatalogIndex, judges: OutOfFold, tmp_path: Path) -> None:
    from bench.error_page import draw_page
    from features.describe import Describer

    record = {"query": index.catalog.ids[0], "match": None, "individual": "<b>&", "guess": None, "probability": 0.0}
    record |= {"first_rank": None, "ap20": 0.0, "causes": [], "measures": "<script>"}
    figures = {"worst": [record], "confusion": [], "asked": 1, "failures": 1}
    none = pd.DataFrame({"query_id": [], "image_id": [], "rank": [], "probability": []})
    describer = Describer(judges.matcher.settings.describe)
    page = draw_page(figures, none, index, judges.matcher, describer, tmp_path / "out").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;" in page


def test_real_photographs_stay_out_of_the_repository(made_up_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="out of the repository"):
        ErrorOptions(REPOSITORY / "bench" / "results" / "pages")
    with pytest.raises(SystemExit):
        main([str(made_up_dir), "--output", str(REPOSITORY / "x")])
    assert "out of the repository" in capsys.readouterr().err
