"""The ten scenarios end to end: cut, ranked without labels, scored officially, and the published test set as it is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.out_of_fold import OutOfFold, fit_out_of_fold
from bench.scenario_cutting import choose_scenarios
from bench.scenarios.asking import QuestionSheet, cut, take_published
from bench.scenarios.command import main
from bench.scenarios.measuring import Ledger
from bench.scenarios.running import WINNERS, render, rules_named, run
from engine.catalogue.catalog import Catalog, CatalogError
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS
from engine.competitions.scenarios import read_scenarios
from engine.competitions.submission import read_submission
from engine.competitions.submission_check import check_submission

RULES = rules_named([1, 5, 10])
QUICK = {
    "describe.descriptor.model": "efficientnet_lite0",
    "describe.descriptor.mirror": "false",
    "describe.keypoints.max_keypoints": "128",
    "describe.keypoints.long_side": "384",
    "shortlist.size": "6",
}


@pytest.fixture(scope="module")
def catalog(made_up_dir: Path) -> Catalog:
    return Catalog.read(made_up_dir)


@pytest.fixture(scope="module")
def sheet(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> QuestionSheet:
    return cut(catalog, tmp_path_factory.mktemp("cut"), RULES, max_queries=4)


@pytest.fixture(scope="module")
def figures(sheet: QuestionSheet, judges: OutOfFold, shared_store: Path) -> dict[str, Any]:
    return run(sheet, judges, shared_store, lambda line: None)


def test_every_script_names_its_own_rule() -> None:
    for number, rule in enumerate(CHALLENGE_SCENARIOS, 1):
        module = import_module(f"bench.scenarios.scenario{number:02d}")
        assert rule.scenario_id == module.RULE.scenario_id == f"scenario{number:02d}"


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
    sheet: QuestionSheet, figures: dict[str, Any], tmp_path: Path
) -> None:
    from engine.commands.main import main as command_line

    file = sheet.folder.with_name("submission.csv")
    scenarios = read_scenarios(sheet.folder)
    assert not [p for p in check_submission(read_submission(file), scenarios) if p.severity == "error"]
    answers = tmp_path / "answers.csv"
    sheet.answers.to_csv(answers, index=False)
    assert command_line(["score", str(file), str(answers)]) == 0
    weights = [record["queries"] for record in figures["scenarios"]]
    means = [record["official"]["mean"] for record in figures["scenarios"]]
    assert figures["overall"]["mean"] == pytest.approx(np.average(means, weights=weights))
    for record in figures["scenarios"]:
        assert record["official"]["mean"] == pytest.approx(record["all"]["map20"]["mean"])


def test_what_the_challenge_leaves_out_is_there(figures: dict[str, Any], sheet: QuestionSheet) -> None:
    assert [record["scenario"] for record in figures["scenarios"]] == ["scenario01", "scenario05", "scenario10"]
    for record in figures["scenarios"]:
        assert 0 <= record["official"]["low"] <= record["official"]["mean"] <= record["official"]["high"] <= 1
        assert set(record["all"]["recall"]) == {"20", "50", "100"}
    first = figures["scenarios"][0]
    assert first["other_encounter"]["queries"] <= first["queries"]
    stages = {stage["name"]: stage for stage in figures["stages"]}
    looks = {"matching by skin", "matching by mutual_nn", "matching by lightglue"}
    assert set(stages) == {"describing", *looks, "matching", "ranking"}
    # A back from above and a flank are not compared.
    quick = {stages[look]["items"] for look in looks - {"matching by lightglue"}}
    assert len(quick) == 1
    assert 0 < quick.pop() <= stages["matching"]["items"]
    assert stages["matching"]["computed"] == sum(stages[look]["computed"] for look in looks)
    assert stages["describing"]["items"] == len(sheet.labelled)
    # Shortlists of six, where there are so many, and up to twenty more that resemble their matches.
    asked, most = (sum(len(s) * min(size, len(s.database)) for s in sheet.scenarios) for size in (6, 26))
    assert asked < stages["matching"]["items"] == stages["ranking"]["items"] <= most
    assert all(stage["seconds"] > 0 and stage["peak_mib"] > 50 for stage in stages.values())
    json.dumps(figures)
    text = render(figures)
    assert "not comparable" in text
    assert str(WINNERS["1st"]) not in text
    assert text.count("\n| ") >= len(RULES)


def test_the_store_s_pairs_are_not_computed_again(
    sheet: QuestionSheet, figures: dict[str, Any], judges: OutOfFold, shared_store: Path
) -> None:
    again = run(sheet, judges, shared_store, lambda line: None)
    stages = {stage["name"]: stage for stage in again["stages"]}
    assert stages["describing"]["computed"] == stages["matching"]["computed"] == 0
    assert again["scenarios"] == figures["scenarios"]


@pytest.mark.parametrize("kind", ["csv", "catalogue", "file names"])
def test_a_published_folder_is_asked_as_it_is(
    kind: str, sheet: QuestionSheet, figures: dict[str, Any], judges: OutOfFold, tmp_path: Path, shared_store: Path
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
    scored = run(taken, judges, shared_store, lambda line: None)
    assert [r["official"]["mean"] for r in scored["scenarios"]] == [r["official"]["mean"] for r in figures["scenarios"]]
    if kind != "csv":
        assert scored["scenarios"] == figures["scenarios"]
    else:  # photographs joined by matches are one individual
        truth = sheet.labelled.table.set_index("image_id")["individual_id"]
        joined = taken.labelled.table.set_index("image_id")["individual_id"]
        pairs = sheet.scenarios[0].queries["query_image_id"]
        assert truth[pairs].nunique() == joined[pairs].nunique()


def test_the_winners_stand_beside_a_published_score(figures: dict[str, Any]) -> None:
    text = render({**figures, "winners": WINNERS})
    assert all(f"{value:.4f}" in text for value in (0.4954, 0.4953, 0.4910, 0.4871, 0.4443))
    assert "not comparable" not in text


def test_a_published_folder_without_labels_is_refused(sheet: QuestionSheet, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="--answers"):
        take_published(sheet.folder, tmp_path / "work", CHALLENGE_SCENARIOS, None)
    stranger = tmp_path / "other.csv"
    stranger.write_text("query_id,database_image_id\nnobody,nothing\n")
    with pytest.raises(CatalogError, match="none of its queries"):
        take_published(sheet.folder, tmp_path / "work", CHALLENGE_SCENARIOS, stranger)


def test_rankers_never_saw_the_whale_that_they_judge(monkeypatch: pytest.MonkeyPatch, judges: OutOfFold) -> None:
    """Each fold's training table names nobody of the fold, keeps its lists whole, and judges that fold alone."""
    whales = [f"w{n}" for n in range(6)]
    rows = [(f"q-{a}", f"c-{b}-{k}", a, b) for a in whales for b in whales for k in range(2)]
    raw = pd.DataFrame(rows, columns=["query_id", "candidate_id", "individual0", "individual1"])
    seen: list[pd.DataFrame] = []

    class Trained:
        ranker = "fusion"

    def train(table: pd.DataFrame, *rest: Any) -> Trained:
        seen.append(table)
        return Trained()

    monkeypatch.setattr("bench.out_of_fold.train_on_pairs", train)
    fitted = fit_out_of_fold(raw, judges.matcher, folds=3, seed=1)
    assert sorted(np.bincount(list(fitted.fold_of.values()))) == [2, 2, 2]
    for fold, table in enumerate(seen):
        held_out = {name for name, number in fitted.fold_of.items() if number == fold}
        assert not held_out & (set(table["individual0"]) | set(table["individual1"].dropna()))
        assert (table.groupby("query_id").size() == 12).all()
    assert fitted.folds_of(["w0", "nobody", None]).tolist() == [fitted.fold_of["w0"], 0, 0]


def test_results_say_how_they_were_measured(
    made_up_dir: Path, shared_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.machine import read_result

    monkeypatch.setattr("bench.machine.RESULTS", tmp_path)
    options = [str(made_up_dir), "--store", str(shared_store), "--individuals", "all", "--ranker", "fusion"]
    options += [part for name, value in QUICK.items() for part in ("--set", f"{name}={value}")]
    options += ["--workers", "1", "--queries", "2", "--only", "1", "--result", "scenarios"]
    assert main(arguments=options) == 0
    result = read_result(tmp_path / "scenarios.json")
    assert result["protocol"]["ranker"] == "fusion"
    assert result["protocol"]["queries"] == 2
    assert "held-out" not in result["protocol"]["source"]
    assert "1: top, all years" in render(result["figures"])


def test_each_query_is_ranked_by_its_own_fold(monkeypatch: pytest.MonkeyPatch, judges: OutOfFold) -> None:
    class Named:
        def __init__(self, settings: Any, ranker: Any, **rest: Any) -> None:
            self.ranker = ranker

        def rank(self, raw: pd.DataFrame, top: int) -> pd.DataFrame:
            return raw.assign(by=self.ranker)

    monkeypatch.setattr("bench.out_of_fold.Matcher", Named)
    raw = pd.DataFrame({"query_id": ["q2", "q1", "q3"], "individual0": ["b", "a", "stranger"]})
    answers = OutOfFold(judges.matcher, ("zero", "one"), {"a": 0, "b": 1}).rank(raw)
    assert answers["query_id"].tolist() == ["q2", "q1", "q3"]
    assert answers["by"].tolist() == ["one", "zero", "zero"]


def test_several_rankers_that_agree_answer_as_one(
    sheet: QuestionSheet, figures: dict[str, Any], judges: OutOfFold, shared_store: Path
) -> None:
    whales = sorted(set(sheet.labelled.table["individual_id"]))
    folds = {name: number % 2 for number, name in enumerate(whales)}
    both = OutOfFold(judges.matcher, ("fusion", "fusion"), folds)
    assert run(sheet, both, shared_store, lambda line: None)["scenarios"] == figures["scenarios"]


def test_a_ledger_adds_up_what_a_stage_took() -> None:
    ledger = Ledger()
    for items in (3, 4):
        with ledger.stage("matching") as stage:
            stage.items, stage.computed = items, 1
    (kept,) = ledger.to_list()
    assert (kept["items"], kept["computed"]) == (7, 2)


def test_a_stage_inside_another_keeps_its_own_time() -> None:
    ledger = Ledger()
    with ledger.stage("outer"), ledger.stage("inner"):
        time.sleep(0.05)
    inner, outer = ledger.to_list()
    assert (inner["name"], outer["name"]) == ("inner", "outer")
    assert inner["seconds"] >= 0.05
    assert outer["seconds"] < 0.02


def test_the_command_runs_one_script_and_says_what_it_cannot(
    made_up_dir: Path, shared_store: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = [str(made_up_dir), "--store", str(shared_store), "--individuals", "all", "--ranker", "fusion"]
    options += [part for name, value in QUICK.items() for part in ("--set", f"{name}={value}")]
    work = tmp_path / "kept"
    assert main((CHALLENGE_SCENARIOS[1],), [*options, "--workers", "1", "--queries", "2", "--work", str(work)]) == 0
    assert "2: top, first year" in capsys.readouterr().out
    assert (work / "submission.csv").is_file()
    assert (work / "data" / "query_scenarios.csv").is_file()
    assert main((CHALLENGE_SCENARIOS[1],), [*options, "--work", str(work)]) == 1
    assert "is not empty" in capsys.readouterr().err
    for wrong in (["--only", "11"], ["--answers", "x.csv"]):
        with pytest.raises(SystemExit):
            main(arguments=[*options, *wrong])
    with pytest.raises(SystemExit):
        main(arguments=[str(work / "data"), "--queries", "2"])
    assert "as it is" in capsys.readouterr().err


def test_the_package_is_a_command() -> None:
    for module in ("bench.scenarios", "bench.scenarios.scenario07"):
        done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True)
        assert ("--only" in done.stdout) == (module == "bench.scenarios")
