"""Ablation, search and reliability on a made-up table of pairs: grouping, what may be seen, what the logs keep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import ablation, reliability, tuning
from bench.held_out import settings_for
from bench.machine import read_result
from bench.pair_file import read_pairs, write_pairs
from bench.recipes import PROTOCOLS, Questions, out_of_fold, per_query, prepare
from engine.catalogue.catalog import CatalogError
from reranker.feature_registry import FEATURE_NAMES, GROUPS
from reranker.metrics import expected_calibration_error
from reranker.ranker import Ranker, RankerSettings

QUICK = RankerSettings(kind="lambdamart", n_trees=12, patience=0, min_data_in_leaf=5, learning_rate=0.2)


def made_pairs(whales: int = 12, photographs: int = 4, candidates: int = 14, seed: int = 0) -> pd.DataFrame:
    """Return a raw table in which the cosine helps a little, inliers much, and near copies share a day."""
    rng = np.random.default_rng(seed)
    day = pd.Timestamp("2018-06-01")
    photos = [
        {"id": f"w{w:02d}-{k}", "who": f"w{w:02d}", "date": day + pd.Timedelta(days=5 * w + 300 * (k // 2))}
        for w in range(whales)
        for k in range(photographs)
    ]
    rows = []
    for q in photos:
        own = [c for c in photos if c["who"] == q["who"] and c["id"] != q["id"]]
        rest = [c for c in photos if c["who"] != q["who"]]
        for c in own + [rest[i] for i in rng.permutation(len(rest))[: candidates - len(own)]]:
            same = c["who"] == q["who"]
            near = same and c["date"] == q["date"]
            inliers = int(rng.poisson(4 + 6 * same + 20 * near))
            rows.append(
                {
                    "query_id": f"top: all years|{q['id']}",
                    "candidate_id": c["id"],
                    "task": "top: all years",
                    "cosine": rng.normal(0.2 + 0.2 * same + 0.3 * near, 0.15),
                    "requery_score": rng.normal(0.2 * same, 0.2),
                    "lightglue_matches": inliers + 5,
                    "lightglue_matches_50": inliers,
                    "lightglue_confidence_sum": inliers * 0.7,
                    "lightglue_inliers": inliers,
                    "lightglue_plausibility": rng.uniform(0.5, 1.0),
                    "lightglue_model_kind": "similarity" if inliers > 3 else "none",
                    "date0": q["date"],
                    "date1": c["date"] if rng.random() < 0.95 else pd.NaT,
                    "individual0": q["who"],
                    "individual1": c["who"] if rng.random() < 0.97 else None,
                    "same_encounter": near,
                    "n_true": float(len(own)),
                    "n_true_other_encounter": float(len(own) - 1),
                    "path0": "/somewhere/secret.jpg",
                }
            )
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    return made_pairs()


@pytest.fixture(scope="module")
def questions(raw: pd.DataFrame) -> Questions:
    return prepare(raw, folds=3)


def test_pairs_come_back_from_their_file_as_they_were(raw: pd.DataFrame, tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.npz", raw, {"queries": 3})
    again, about = read_pairs(tmp_path / "pairs.npz")
    assert about == {"queries": 3}
    assert "path0" not in again
    for name in again:
        left, right = raw[name], again[name]
        assert left.isna().equals(right.isna()), name
        assert (left.dropna().to_numpy() == right.dropna().to_numpy()).all(), name
    assert b"secret" not in (tmp_path / "pairs.npz").read_bytes()
    (tmp_path / "other.npz").write_bytes(b"nothing")
    with pytest.raises(CatalogError, match="gathered anew"):
        read_pairs(tmp_path / "other.npz")


def test_other_days_and_years_are_protocols_of_their_own(questions: Questions) -> None:
    assert set(questions.tables) == set(PROTOCOLS)
    day = questions.tables["other_day"].raw
    assert (day["date0"] != day["date1"]).all() and "n_true" not in day
    assert sum(questions.tables["all"].same) > sum(questions.tables["other_encounter"].same) > 0


def test_nobody_is_scored_by_a_ranker_that_saw_it(questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []
    fit = Ranker.fit.__func__  # type: ignore[attr-defined]

    def spy(cls, features, labels, groups, individuals, *rest, **more):
        base = questions.tables["all"]
        rows = base.features.index.get_indexer(features.index)
        seen.append(set(individuals) | (set(base.individual1[rows]) - {""}))
        return fit(cls, features, labels, groups, individuals, *rest, **more)

    monkeypatch.setattr(Ranker, "fit", classmethod(spy))
    scores = out_of_fold(questions, QUICK)
    assert len(seen) == questions.folds
    for fold, names in enumerate(seen):
        held_out = {name for name, number in questions.fold_of.items() if number == fold}
        assert held_out and names.isdisjoint(held_out)
    assert not np.isnan(scores["all"]).any()


def test_hidden_features_cannot_matter(questions: Questions, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Ranker.fit.__func__  # type: ignore[attr-defined]

    def spy(cls, features, *rest, **more):
        assert features[everything_but].isna().all(axis=None) and features["cosine"].notna().all()
        return fit(cls, features, *rest, **more)

    monkeypatch.setattr(Ranker, "fit", classmethod(spy))
    everything_but = [name for name in FEATURE_NAMES if name != "cosine"]
    scores = out_of_fold(questions, QUICK, everything_but)["all"]
    table = questions.tables["all"]
    for fold in range(questions.folds):
        rows = np.array([questions.fold_of[name] == fold for name in table.individual0])
        cosine, found = table.features["cosine"].to_numpy()[rows], scores[rows]
        assert (np.diff(found[np.argsort(cosine)]) >= -1e-9).all(), "a score of the cosine alone, rising with it"


def test_what_a_query_earns_is_the_challenges_average_precision() -> None:
    raw = made_pairs(whales=5, photographs=3, candidates=8)
    table = prepare(raw, folds=2).tables["all"]
    perfect = per_query(table, table.same.astype(float))
    kept = table.known & table.same
    listed = table.raw.loc[kept].groupby("query_id").size().reindex(perfect["query_id"])
    assert perfect["ap"].tolist() == pytest.approx((listed / 2).fillna(0).tolist()), "of two matches"
    worst = per_query(table, -table.same.astype(float))
    assert (worst["ap"] < perfect["ap"])[perfect["ap"] > 0].all()


def test_ablation_compares_the_same_queries(questions: Questions) -> None:
    figures = ablation.run(questions, QUICK, tell=lambda line: None)
    records = pd.DataFrame(figures["recipes"])
    counts = records.groupby(["protocol", "part"])["queries"].nunique()
    assert (counts == 1).all()
    assert set(records["recipe"]) == set(ablation.recipes())
    full = records[records["recipe"] == ablation.ALL]
    assert all(value["mean"] == 0 for value in full["difference"])
    mean = {(r["recipe"], r["protocol"]): r["map20"]["mean"] for r in figures["recipes"] if r["part"] == "every"}
    assert mean["lightglue alone", "all"] > mean["marks alone", "all"], "the marks say nothing in this table"
    assert mean[ablation.ALL, "all"] > mean["global alone", "all"] > mean["marks alone", "all"] + 0.1, "ties are blind"
    text = ablation.render(figures)
    assert "What the date adds: all matches" in text
    assert text.count("\n| ") == len(ablation.recipes())
    json.dumps(figures)


def test_every_group_is_left_out_once_and_alone_once() -> None:
    hidden = ablation.recipes()
    for group in GROUPS:
        without, alone = set(hidden[f"without {group}"]), set(hidden[f"{group} alone"])
        assert without and alone and not without & alone
        assert without | alone == set(FEATURE_NAMES)
    assert set(ablation.DATE_FEATURES) < set(FEATURE_NAMES)


def test_a_search_is_seeded_kept_and_goes_on(
    questions: Questions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    first = tuning.run(questions, 3, seed=1, log=log, base=QUICK, tell=lambda line: None)
    assert first["trials"][0]["changes"] == {}
    assert len(log.read_text().splitlines()) == 3
    calls: list[int] = []
    monkeypatch.setattr(tuning, "out_of_fold", lambda *a, **k: calls.append(1) or out_of_fold(*a, **k))
    again = tuning.run(questions, 4, seed=1, log=log, base=QUICK, tell=lambda line: None)
    assert len(calls) == 1, "three trials came from the log"
    assert again["trials"][:3] == first["trials"]
    best = max(again["trials"], key=lambda t: t["objective"])
    assert best["trial"] == again["best"]
    assert {r["protocol"] for r in again["on_other_whales"]} == set(PROTOCOLS)
    assert "the default" in tuning.render(again)
    json.dumps(again)


def test_the_error_is_the_usual_one_and_the_plot_can_be_drawn(questions: Questions) -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=600)
    same, who = rng.uniform(size=600) < p, np.array([f"w{i % 30}" for i in range(600)])
    found = reliability.reliability(p, same, who)
    assert found["error"]["mean"] == pytest.approx(expected_calibration_error(p, same))
    assert found["error"]["low"] <= found["error"]["high"] < 0.2
    assert sum(found["bins"]["count"]) == 600
    assert np.all(np.array(found["bins"]["low"]) <= np.array(found["bins"]["observed"]))
    off = reliability.reliability(np.sqrt(p), same, who)
    assert off["error"]["mean"] > 2 * found["error"]["mean"]
    records = reliability.run(questions, QUICK)
    assert {(r["protocol"], r["scope"]) for r in records} == {(p, s) for p in PROTOCOLS for s in reliability.SCOPES}
    picture = reliability.draw_plot(records)
    assert picture.shape[1] > 3 * picture.shape[0]
    assert (picture == np.array(reliability._BLUE)).all(axis=2).sum() > 200, "the curves are there"
    assert "Expected calibration error" in reliability.render({"reliability": records})


@pytest.mark.parametrize("bench", [ablation, tuning, reliability])
def test_a_measurement_runs_from_its_file_of_pairs(
    bench, raw: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.machine.RESULTS", tmp_path)
    monkeypatch.setattr("reranker.ranker.RankerSettings.tree_parameters", lambda self: {"min_data_in_leaf": 5})
    monkeypatch.setattr(ablation, "recipes", lambda: {ablation.ALL: (), ablation.NO_DATE: ablation.DATE_FEATURES})
    pairs, plot = tmp_path / "pairs.npz", ["--plot", str(tmp_path / "plot.png")] if bench is reliability else []
    trials = ["--trials", "2"] if bench is tuning else []
    arguments = ["nowhere", f"--pairs={pairs}", f"--store={tmp_path}", "--folds=2", "--result=found", *plot, *trials]
    about = {"individuals": "held-out", "queries": 160, "seed": 0, "settings": settings_for("held-out").fingerprint()}
    write_pairs(pairs, raw, about)
    assert bench.main(arguments) == 0
    assert capsys.readouterr().out.startswith("| ")
    found = read_result(tmp_path / "found.json")
    assert bench.render(found["figures"]).startswith("| "), "a table can be made of what was written"
    assert not plot or (tmp_path / "plot.png").stat().st_size > 3000
    with pytest.raises(CatalogError, match="other queries"):
        bench.main([*arguments, "--queries=10"])


def test_an_empty_bench_is_said() -> None:
    with pytest.raises(CatalogError, match="at least 4"):
        prepare(made_pairs(whales=2))
