"""The ten scenarios end to end: cut, ranked without labels, scored officially, and the published test set as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.context import Context
from bench.measurements.scenarios import WINNERS, ScenariosFigures, full, rules_named, run
from bench.out_of_fold import OutOfFold
from bench.results import new_result
from bench.scenarios.cutting import choose_scenarios
from bench.scenarios.question_sheet import QuestionSheet, cut, take_published
from engine.catalogue.catalog import Catalog, CatalogError
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS
from engine.competitions.scenarios import read_scenarios
from engine.competitions.submission import read_submission
from engine.competitions.submission_check import check_submission

RULES = rules_named([1, 5, 10])


@pytest.fixture(scope="module")
def context(context_of: Callable[..., Context]) -> Context:
    return context_of("scenarios", "--ranker=fusion")


@pytest.fixture(scope="module")
def catalog(context: Context) -> Catalog:
    return context.catalog


@pytest.fixture(scope="module")
def sheet(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> QuestionSheet:
    return cut(catalog, tmp_path_factory.mktemp("cut"), RULES, max_queries=3)


@pytest.fixture(scope="module")
def figures(sheet: QuestionSheet, context: Context) -> ScenariosFigures:
    return run(sheet, context)


def test_rank_sees_no_label(sheet: QuestionSheet) -> None:
    columns = list(pd.read_csv(sheet.folder / "metadata.csv").columns)
    assert columns == ["image_id", "path", "height", "width", "viewpoint", "date"]
    assert Catalog.read(sheet.folder).table["individual_id"].isna().all()
    assert not list(sheet.folder.rglob("*answers*"))


def test_a_scenario_is_drawn_alike_alone_and_among_all(catalog: Catalog) -> None:
    among = {s.scenario_id: s for s in choose_scenarios(catalog, scale=0.005, seed=2)[0]}
    for rule in CHALLENGE_SCENARIOS[:2]:
        (alone,), _ = choose_scenarios(catalog, [rule], scale=0.005, seed=2)
        assert alone.database == among[rule.scenario_id].database
        assert alone.queries.equals(among[rule.scenario_id].queries)


def test_sizes_follow_what_is_there(catalog: Catalog) -> None:
    rule = CHALLENGE_SCENARIOS[0]
    (whole,), _ = choose_scenarios(catalog, [rule])
    (fitted,), _ = choose_scenarios(catalog, [rule], in_proportion=True)
    (few,), _ = choose_scenarios(catalog, [rule], max_queries=2)
    assert len(whole) == len(whole.database)  # every photograph has a match and the rule asks for 1183
    assert len(fitted) == np.ceil(rule.n_queries * len(whole.database) / rule.n_database)
    assert len(few) == 2
    assert few.database == fitted.database == whole.database
    with pytest.raises(ValueError, match="max_queries"):
        choose_scenarios(catalog, [rule], max_queries=0)


def test_the_submission_is_valid_and_its_score_is_the_official_one(
    sheet: QuestionSheet, figures: ScenariosFigures, tmp_path: Path
) -> None:
    from engine.commands.main import main as command_line

    file = sheet.folder.with_name("submission.csv")
    scenarios = read_scenarios(sheet.folder)
    assert not [p for p in check_submission(read_submission(file), scenarios) if p.severity == "error"]
    answers = tmp_path / "answers.csv"
    sheet.answers.to_csv(answers, index=False)
    assert command_line(["score", str(file), str(answers)]) == 0
    weights, means = zip(*((s.queries, s.official.mean) for s in figures.scenarios), strict=True)
    assert figures.overall.mean == pytest.approx(np.average(means, weights=weights))
    for s in figures.scenarios:
        assert s.official.mean == pytest.approx(s.all.map20.mean)


def test_what_the_store_knows_is_not_computed_again(
    sheet: QuestionSheet, figures: ScenariosFigures, context: Context
) -> None:
    again = run(sheet, context)
    stages = {stage.name: stage for stage in again.stages}
    assert stages["describing"].computed == stages["matching"].computed == 0
    assert stages["describing"].items == len(sheet.labelled)
    # Shortlists of six, where there are so many, and up to twenty more that resemble their matches.
    asked, most = (sum(len(s) * min(size, len(s.database)) for s in sheet.scenarios) for size in (6, 26))
    assert asked < stages["matching"].items == stages["ranking"].items <= most
    assert again.scenarios == figures.scenarios


@pytest.mark.parametrize("kind", ["csv", "catalogue", "file names"])
def test_a_published_folder_is_asked_as_it_is(
    kind: str, sheet: QuestionSheet, figures: ScenariosFigures, context: Context, tmp_path: Path
) -> None:
    """The cut folder, given back as if it were the published test set, has the same official score."""
    answers = tmp_path / "answers.csv"
    sheet.answers[["query_id", "database_image_id"]].to_csv(answers, index=False)
    labels = answers if kind == "csv" else sheet.labelled.root
    if kind == "file names":  # another catalogue of the same files, with ids of its own
        table = sheet.labelled.table.assign(image_id=[f"annotation-{n}" for n in range(len(sheet.labelled))])
        columns = {"path": "path", "image_id": "image_id", "individual_id": "whale_id"}
        names = [*columns, "encounter_id", "timestamp"]
        (labels := tmp_path / "other").mkdir()
        (labels / "images").symlink_to(sheet.labelled.root / "images")
        renamed = table[names].rename(columns=columns)
        renamed["path"] = [f"images/{Path(path).name}" for path in renamed["path"]]
        renamed.to_csv(labels / "metadata.csv", index=False)
    taken = take_published(sheet.folder, tmp_path / "work", CHALLENGE_SCENARIOS, labels)
    assert not taken.published  # the sizes are not the challenge's
    assert set(taken.left_out) == {f"scenario{n:02d}" for n in (2, 3, 4, 6, 7, 8, 9)}
    scored = run(taken, context)
    assert [s.official.mean for s in scored.scenarios] == [s.official.mean for s in figures.scenarios]
    if kind != "csv":
        assert scored.scenarios == figures.scenarios
    else:  # photographs joined by matches are one individual
        truth = sheet.labelled.table.set_index("image_id")["individual_id"]
        joined = taken.labelled.table.set_index("image_id")["individual_id"]
        pairs = sheet.scenarios[0].queries["query_image_id"]
        assert truth[pairs].nunique() == joined[pairs].nunique()


def test_the_winners_stand_beside_a_published_score(figures: ScenariosFigures) -> None:
    import dataclasses

    published = dataclasses.replace(figures, published=True)
    text = full(new_result("scenarios", published, {}, {}))
    assert all(f"{value:.4f}" in text for value in WINNERS.values())
    assert "not comparable" not in text


def test_a_published_folder_without_labels_is_refused(sheet: QuestionSheet, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="--answers"):
        take_published(sheet.folder, tmp_path / "work", CHALLENGE_SCENARIOS, None)
    stranger = tmp_path / "other.csv"
    stranger.write_text("query_id,database_image_id\nnobody,nothing\n")
    with pytest.raises(CatalogError, match="none of its queries"):
        take_published(sheet.folder, tmp_path / "work", CHALLENGE_SCENARIOS, stranger)


def test_several_rankers_that_agree_answer_as_one(
    sheet: QuestionSheet, figures: ScenariosFigures, context_of: Callable[..., Context]
) -> None:
    whales = sorted(set(sheet.labelled.table["individual_id"]))
    folds = {name: number % 2 for number, name in enumerate(whales)}
    context = context_of("scenarios", "--ranker=fusion")
    context.rankers = OutOfFold(context.matcher, ("fusion", "fusion"), folds)
    assert run(sheet, context).scenarios == figures.scenarios


def test_what_cannot_be_asked_is_said(measured: Callable[..., Any], sheet: QuestionSheet, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no scenario 11"):
        measured("scenarios", "--only=11")
    with pytest.raises(CatalogError, match="query_scenarios"):
        measured("scenarios", "--answers=x.csv")
