"""What the whole engine is worth on labelled photographs, beside its own parts, on individuals that no part ever saw.

::

    python -m bench.accuracy CATALOG [--store DIR] [--queries 200] [--save-ranker FILE] [--result accuracy]

Individuals are those of the held-out half, described by weights that never saw them (:mod:`bench.held_out`;
``--individuals all`` for a catalogue that no weights were trained on). They are both queries and database. Queries are
drawn so that every individual has its turn before the busiest have a second one. The ranker that scores an individual
was fitted without it (five folds). Each task comes under two rules: all matches count, or the query's own encounter is
left out of the database.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.held_out import (
    HELD_OUT,
    HELP,
    INDIVIDUALS,
    SOURCE,
    measured_part,
    settings_for,
    shipped_name,
)
from bench.machine import write_result
from bench.pairs import plain_score
from bench.progress import Say, say
from bench.protocols import (
    Protocol,
    across_years,
    all_against_all,
    evaluate_similarity,
    lateral_to_top,
    top_to_lateral,
    within_years,
)
from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher
from engine.training.ranker_training import choose_queries, in_turn, labelled_pairs, train_on_pairs
from reranker.metrics import average_precision, bootstrap_by_group, paired_bootstrap
from reranker.training import TrainingSettings

#: Methods of the table: name -> column of the out-of-fold scores.
METHODS = {
    "cosine": "cosine",
    "local matching alone": "log_plausible_inliers",
    "plain fusion": "wildfusion_baseline",
    "calibrated mean (WildFusion rule)": "calibrated_mean",
    "logistic ranker": "logistic",
    "LightGBM ranker": "lambdamart",
    "ranker (blend) without the support of its list": "blend_alone",
    "ranker (blend)": "blend",
}
RULES = ("all", "other_encounter")


@dataclass(frozen=True)
class Task:
    """One question: a name, who is asked, and where the answer is sought (image ids)."""

    name: str
    queries: tuple[str, ...]
    database: tuple[str, ...]


def tasks_of(catalog: Catalog, n_queries: int, seed: int) -> list[Task]:
    """Return the tasks: all top views, each year, later against earlier years, both ways between views.

    Years and views are asked with a third of the queries that all top views together get.
    """
    tasks = []
    plain: list[Protocol] = [
        all_against_all(catalog),
        *within_years(catalog),
        *across_years(catalog),
        lateral_to_top(catalog),
        top_to_lateral(catalog),
    ]
    for number, protocol in enumerate(plain):
        if not protocol.queries or not protocol.database:
            continue
        known = set(catalog.subset(protocol.database).table["individual_id"])
        asked = catalog.subset([i for i in protocol.queries if catalog.row(i)["individual_id"] in known])
        count = n_queries if number == 0 else max(1, n_queries // 3)
        chosen = choose_queries(asked, count, seed) if number == 0 else in_turn(asked.table, count, seed)
        queries = sorted(chosen, key=catalog.position)
        tasks.append(Task(protocol.name, tuple(queries), tuple(protocol.database)))
    return tasks


def gather(tasks: Sequence[Task], index: CatalogIndex, matcher: Matcher, say: Say) -> tuple[pd.DataFrame, float]:
    """Return the raw pair tables of all tasks in one (query ids prefixed by the task) and the seconds that it took."""
    started = time.perf_counter()
    tables = []
    for task in tasks:
        say(f"{task.name}: {len(task.queries)} queries against {len(task.database)}")
        raw = labelled_pairs(index.subset(list(task.queries)), index.subset(list(task.database)), matcher)
        tables.append(raw.assign(task=task.name, query_id=task.name + "|" + raw["query_id"].astype(str)))
    return pd.concat(tables, ignore_index=True), time.perf_counter() - started


def figures_of(scores: dict[str, pd.DataFrame], raw: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one record per task, rule and method: mAP@20 and top-1 with 95 % intervals over individuals."""
    truth = {
        "all": raw.groupby("query_id")["n_true"].first(),
        "other_encounter": raw.groupby("query_id")["n_true_other_encounter"].first(),
    }
    records = []
    for rule in RULES:
        frame = scores[rule]
        frame = frame.assign(task=frame["query_id"].str.split("|", n=1).str[0])
        for task, rows in frame.groupby("task", sort=False):
            total = truth[rule].reindex(rows["query_id"].unique())
            asked = total[total > 0]
            if asked.empty:
                continue
            per_method = {name: _per_query(rows, column, asked) for name, column in METHODS.items() if column in rows}
            who = rows.groupby("query_id")["individual0"].first().reindex(asked.index).to_numpy(str)
            for name, values in per_method.items():
                record: dict[str, Any] = {"task": task, "rule": rule, "method": name, "queries": len(asked)}
                record["individuals"] = len(set(who))
                record["map20"] = bootstrap_by_group(values["ap"].to_numpy(), who)._asdict()
                record["top1"] = bootstrap_by_group(values["top1"].to_numpy(float), who)._asdict()
                gain = paired_bootstrap(values["ap"].to_numpy(), per_method["cosine"]["ap"].to_numpy(), who)
                record["gain_over_cosine"] = gain._asdict()
                records.append(record)
    return records


def _per_query(rows: pd.DataFrame, column: str, asked: pd.Series) -> pd.DataFrame:
    ordered = rows.sort_values(["query_id", column, "candidate_id"], ascending=[True, False, True], kind="stable")
    hits = {str(name): part["same"].to_numpy(bool) for name, part in ordered.groupby("query_id")}
    empty = np.zeros(0, bool)
    values = [
        (average_precision(hits.get(name, empty)[:20], int(count)), bool(hits.get(name, empty)[:1].any()))
        for name, count in zip(asked.index.astype(str), asked, strict=True)
    ]
    return pd.DataFrame(values, columns=["ap", "top1"], index=asked.index)


def shortlist_recall(tasks: Sequence[Task], index: CatalogIndex) -> list[dict[str, Any]]:
    """Return, per task and rule, the share of queries with a match among the first 20, 50 and 100 by cosine."""
    records = []
    for task in tasks:
        for rule in RULES:
            protocol = Protocol(task.name, task.queries, task.database).with_rule(rule)  # type: ignore[arg-type]
            ids = index.catalog.ids
            found = evaluate_similarity(index.vectors, ids, protocol, index.catalog).summary((20, 50, 100))
            records.append({"task": task.name, "rule": rule, **found["recall"], "queries": found["queries"]})
    return records


def run(
    catalog: Catalog,
    matcher: Matcher,
    which: str = "held-out",
    n_queries: int = 200,
    seed: int = 0,
    save_ranker: Path | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """Measure everything and return the figures as JSON-ready values."""
    catalog = measured_part(catalog, which)
    individuals = catalog.table["individual_id"].nunique()
    say(f"{len(catalog):,} photographs of {individuals} individuals ({which})")
    started = time.perf_counter()
    index = matcher.index(catalog)
    seconds_index = time.perf_counter() - started
    tasks = tasks_of(index.catalog, n_queries, seed)
    raw, seconds_pairs = gather(tasks, index, matcher, say)
    say(f"{len(raw):,} pairs in {seconds_pairs:.0f} s; training the ranker")
    started = time.perf_counter()
    trained = train_on_pairs(raw.drop(columns=["task"]), matcher, TrainingSettings(seed=seed))
    seconds_train = time.perf_counter() - started
    scores = {rule: _join_local(frame, raw) for rule, frame in trained.scores.items() if rule in RULES}
    if save_ranker is not None:
        # It will be asked about what ships, whose twins it was trained on.
        model = shipped_name(matcher.settings.describe.descriptor.model)
        trained.ranker.with_origin(trained.ranker.keypoint_kind, model, {}).save(save_ranker)
    return {
        "individuals": individuals,
        "photographs": len(index),
        "pairs": len(raw),
        "seconds": {"index": seconds_index, "pairs": seconds_pairs, "training": seconds_train},
        "ranker": {name: trained.report[name] for name in ("kind", "reason", "calibration_error", "training_queries")},
        "accuracy": figures_of(scores, raw),
        "recall": shortlist_recall(tasks, index),
    }


def _join_local(frame: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    """Add the score of local matching alone: both looks at the skin added up, nothing fitted."""
    keys = raw[["query_id", "candidate_id"]].assign(log_plausible_inliers=plain_score(raw))
    return frame.merge(keys, on=["query_id", "candidate_id"], how="left", validate="one_to_one")


def render(figures: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    recall = {(r["task"], r["rule"]): r for r in figures["recall"]}
    lines = [
        "| task | matches | queries | method | mAP@20 | top-1 | gain over cosine |",
        "|---|---|---|---|---|---|---|",
    ]
    last = None
    for r in figures["accuracy"]:
        head = (r["task"], r["rule"])
        names = [r["task"], r["rule"].replace("_", " "), str(r["queries"])] if head != last else ["", "", ""]
        last = head
        cells = [*names, r["method"], *(_interval(r[name]) for name in ("map20", "top1", "gain_over_cosine"))]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| task | matches | recall at 20 | at 50 | at 100 |", "|---|---|---|---|---|"]
    for (task, rule), r in recall.items():
        lines.append(f"| {task} | {rule.replace('_', ' ')} | {r['20']:.2f} | {r['50']:.2f} | {r['100']:.2f} |")
    seconds = figures["seconds"]
    lines += [
        "",
        f"{figures['photographs']:,} photographs of {figures['individuals']} individuals; {figures['pairs']:,} pairs "
        f"in {seconds['pairs']:.0f} s; ranker: {figures['ranker']['kind']}",
    ]
    return "\n".join(lines)


def _interval(value: dict[str, float]) -> str:
    return f"{value['mean']:.3f} ({value['low']:.3f}–{value['high']:.3f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__.split("\n", 1)[0])
    parser.add_argument("catalog", type=Path, help="labelled catalogue")
    parser.add_argument("--store", type=Path, help="store's folder")
    parser.add_argument("--queries", type=int, default=200, help="queries of the first task (200); others get a third")
    parser.add_argument("--individuals", choices=INDIVIDUALS, default=HELD_OUT, help=HELP)
    parser.add_argument("--descriptor", help="global descriptor (default: the shipped one)")
    parser.add_argument("--set", action="append", default=[], metavar="STAGE.OPTION=VALUE", dest="overrides")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-ranker", type=Path, metavar="FILE", help="keep the ranker trained on all queries")
    parser.add_argument("--result", metavar="NAME", help="write bench/results/NAME.json")
    options = parser.parse_args(arguments)
    model = [f"describe.descriptor.model={options.descriptor}"] if options.descriptor else []
    settings = settings_for(options.individuals, [*model, *options.overrides])
    matcher = Matcher(settings, options.store, ranker="fusion", workers=options.workers)
    catalog = Catalog.read(options.catalog)

    figures = run(catalog, matcher, options.individuals, options.queries, options.seed, options.save_ranker, say)
    print(render(figures))
    if options.result:
        protocol = {
            "source": SOURCE,
            "individuals": options.individuals,
            "queries": options.queries,
            "seed": options.seed,
        }
        write_result(options.result, figures, settings.to_dict(), protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
