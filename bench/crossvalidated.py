"""The cross-validated table: mean, spread over folds of whales, and a test between any two configurations.

::

    python -m bench.crossvalidated CATALOG [--store DIR] [--queries 160] [--folds 5] [--result crossvalidated]

Configurations are the cosine of the global descriptors, local matching alone, the calibrated mean of both (the rule of
WildFusion, 2024) and the ranker by the shipped recipe. Whatever is fitted is fitted without the fold's whales, neither
as query nor as candidate. (The recipe's kind of model is chosen on the same out-of-fold scores, among three.)

Figures: mAP@20 of photographs; accuracy, macro-F1 and MAP@5 of individuals, an individual standing where its best
photograph stands. Mean, standard deviation and range are over the folds, the 95 % interval of the mean is Student's.
mAP@20 comes with the interval over whales too. Configurations are compared by Wilcoxon's signed-rank test on whales'
mean average precisions (the folds are too few: with five, no p can fall below 0.06), p after Holm's correction.

The pairs are those of ``bench.accuracy --queries 160``: with its store a minute, from nothing about 15 on two cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t as student
from scipy.stats import wilcoxon as signed_rank

from bench.accuracy import RULES, gather, tasks_of
from bench.held_out import measured_part
from bench.machine import write_result
from bench.out_of_fold import add_options, matcher_from, protocol_from
from bench.pairs import plain_score
from bench.progress import Say, say
from engine.catalogue.catalog import Catalog
from engine.search.matcher import Matcher
from engine.training.ranker_training import train_on_pairs
from reranker.metrics import average_precision, bootstrap_by_group, macro_f1, paired_bootstrap
from reranker.training import TrainingSettings

LOCAL = "plain_score"
FIGURES = {"map20": "mAP@20", "accuracy": "accuracy", "macro_f1": "macro-F1", "map5": "MAP@5"}
#: Questions of the table: (name, beginning and middle of the tasks' names, rule).
QUESTIONS = (
    ("top, all years", "top: all years", "", "all"),
    ("top, all years, other encounters", "top: all years", "", "other_encounter"),
    ("top, later years → earlier", "top: ", " -> ", "all"),
)
Floats = npt.NDArray[np.float64]


def run(catalog: Catalog, matcher: Matcher, queries: int, folds: int, seed: int, say: Say) -> dict[str, Any]:
    """Gather the pairs, fit out of fold and return JSON-ready figures."""
    index = matcher.index(catalog)
    raw, _ = gather(tasks_of(index.catalog, queries, seed), index, matcher, say)
    say(f"{len(raw):,} pairs; fitting in {folds} folds")
    trained = train_on_pairs(raw.drop(columns=["task"]), matcher, TrainingSettings(folds=folds, seed=seed))
    frames = {rule: with_candidates(trained.scores[rule], raw) for rule in RULES if rule in trained.scores}
    kind = str(trained.report["kind"])
    return {
        "photographs": len(index),
        "individuals": int(index.catalog.table["individual_id"].nunique()),
        "folds": int(trained.report["folds"]),
        "kind": kind,
        "pairs": len(raw),
        "questions": figures_of(frames, raw, configurations(kind)),
    }


def configurations(kind: str) -> dict[str, str]:
    """Return name -> column of scores; ``kind`` is the ranker's."""
    return {"cosine": "cosine", "local matching alone": LOCAL, "calibrated mean": "calibrated_mean", "ranker": kind}


def with_candidates(frame: pd.DataFrame, raw: pd.DataFrame) -> pd.DataFrame:
    """Add to out-of-fold scores the candidate's individual, and the score of local matching alone."""
    added = raw[["query_id", "candidate_id", "individual1"]].assign(**{LOCAL: plain_score(raw)})
    return frame.merge(added, on=["query_id", "candidate_id"], how="left", validate="one_to_one")


def figures_of(frames: dict[str, pd.DataFrame], raw: pd.DataFrame, methods: dict[str, str]) -> list[dict[str, Any]]:
    """Return one record per question with every configuration's figures and the tests between any two."""
    truth = {"all": "n_true", "other_encounter": "n_true_other_encounter"}
    records = []
    for name, start, middle, rule in QUESTIONS:
        if rule not in frames:
            continue
        frame = frames[rule]
        task = frame["query_id"].str.split("|", n=1).str[0]
        rows = frame[task.str.startswith(start) & task.str.contains(middle, regex=False)]
        counts = raw.groupby("query_id")[truth[rule]].first().reindex(rows["query_id"].unique())
        counts = counts[counts > 0]
        rows = rows[rows["query_id"].isin(counts.index)]
        if rows["fold"].nunique() < 2:
            continue
        judged = {method: per_query(rows, column, counts) for method, column in methods.items()}
        one = next(iter(judged.values()))
        records.append(
            {
                "question": name,
                "queries": len(one),
                "individuals": int(one["individual"].nunique()),
                "methods": {method: _summary(table) for method, table in judged.items()},
                "tests": tests_between(judged),
            }
        )
    return records


def per_query(rows: pd.DataFrame, column: str, counts: pd.Series) -> pd.DataFrame:
    """Judge the lists of one configuration.

    Args:
        rows: query_id, candidate_id, individual0, individual1, same, fold and the scores.
        column: of the scores; equal ones are ordered by candidate.
        counts: query_id -> matches in the database; these queries are judged, one without rows earns nothing.

    Returns:
        Indexed by query_id: individual, fold, guess (the individual of the first candidate), ap20, gain5.
    """
    ordered = rows.sort_values(["query_id", column, "candidate_id"], ascending=[True, False, True], kind="stable")
    records = {}
    for query, part in ordered.groupby("query_id", sort=False):
        who, candidates = str(part["individual0"].iloc[0]), part["individual1"].astype(str)
        names = list(dict.fromkeys(candidates))[:5]
        records[query] = {
            "individual": who,
            "fold": int(part["fold"].iloc[0]),
            "guess": names[0],
            "ap20": average_precision(part["same"].to_numpy(bool)[:20], int(counts[query])),
            "gain5": 1.0 / (names.index(who) + 1) if who in names else 0.0,
        }
    return pd.DataFrame.from_dict(records, orient="index")


def _summary(judged: pd.DataFrame) -> dict[str, Any]:
    """Return each figure's mean, spread and interval over folds, and mAP@20 with its interval over whales."""
    folds = [part for _, part in judged.groupby("fold")]
    values = {
        "map20": [float(part["ap20"].mean()) for part in folds],
        "accuracy": [float((part["guess"] == part["individual"]).mean()) for part in folds],
        "macro_f1": [macro_f1(part["individual"].to_numpy(), part["guess"].to_numpy()) for part in folds],
        "map5": [float(part["gain5"].mean()) for part in folds],
    }
    summary: dict[str, Any] = {name: over_folds(np.array(numbers)) for name, numbers in values.items()}
    whales = bootstrap_by_group(judged["ap20"].to_numpy(float), judged["individual"].to_numpy(str))
    return {**summary, "map20_over_whales": whales._asdict()}


def over_folds(values: Floats) -> dict[str, Any]:
    """Return mean, standard deviation (n - 1), Student's 95 % interval of the mean, and the range of (F,) values.

    Raises:
        ValueError: there are fewer than two folds.
    """
    if len(values) < 2:
        raise ValueError(f"{len(values)} fold: a spread needs at least two")
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = float(student.ppf(0.975, len(values) - 1)) * sd / len(values) ** 0.5
    return {
        "mean": mean,
        "sd": sd,
        "low": mean - half,
        "high": mean + half,
        "least": float(values.min()),
        "most": float(values.max()),
        "folds": values.tolist(),
    }


def tests_between(judged: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Compare any two configurations on the same whales' mean average precisions.

    Returns:
        One record per pair: first, second, difference of mAP@20 (second - first, with its interval over whales),
        whales, statistic, p (two-sided) and p_holm.
    """
    records: list[dict[str, Any]] = []
    for first, second in combinations(judged, 2):
        before, after = judged[first], judged[second].reindex(judged[first].index)
        who = before["individual"].to_numpy(str)
        means = [table["ap20"].groupby(before["individual"]).mean().to_numpy(float) for table in (before, after)]
        differ = not np.array_equal(means[0], means[1])
        statistic, p = map(float, signed_rank(means[1], means[0])) if differ else (0.0, 1.0)
        difference = paired_bootstrap(after["ap20"].to_numpy(float), before["ap20"].to_numpy(float), who)
        records.append(
            {
                "first": first,
                "second": second,
                "difference": difference._asdict(),
                "whales": len(means[0]),
                "statistic": statistic,
                "p": p,
            }
        )
    for record, corrected in zip(records, holm([record["p"] for record in records]), strict=True):
        record["p_holm"] = corrected
    return records


def holm(p: Sequence[float]) -> list[float]:
    """Return p values after Holm's step-down correction (Scandinavian Journal of Statistics, 1979)."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def render(figures: dict[str, Any]) -> str:
    """Return the tables as Markdown: configurations by question, then the tests between any two."""
    lines = [
        "| question | configuration | "
        + " | ".join(f"{name}" for name in FIGURES.values())
        + " | mAP@20 over whales |",
        "|---|---|" + "---|" * (len(FIGURES) + 1),
    ]
    for record in figures["questions"]:
        head = f"{record['question']}: {record['queries']} queries of {record['individuals']}"
        for method, values in record["methods"].items():
            shown = f"ranker ({figures['kind']})" if method == "ranker" else method
            cells = [head, shown, *(_spread(values[name]) for name in FIGURES)]
            cells.append("{mean:.3f} ({low:.3f}–{high:.3f})".format(**values["map20_over_whales"]))
            lines.append("| " + " | ".join(cells) + " |")
            head = ""
    lines += [
        "",
        f"Mean ± standard deviation over {figures['folds']} folds of whales (95 % interval of the mean; lowest and "
        "highest fold).",
        "",
        "| question | configurations | difference of mAP@20 | whales | Wilcoxon's p | after Holm |",
        "|---|---|---|---|---|---|",
    ]
    for record in figures["questions"]:
        head = record["question"]
        for test in record["tests"]:
            gain = "{mean:+.3f} ({low:+.3f} … {high:+.3f})".format(**test["difference"])
            pair = f"{test['first']} → {test['second']}"
            numbers = f"{test['whales']} | {_p(test['p'])} | {_p(test['p_holm'])}"
            lines.append(f"| {head} | {pair} | {gain} | {numbers} |")
            head = ""
    return "\n".join(lines)


def _spread(value: dict[str, Any]) -> str:
    return "{mean:.3f} ± {sd:.3f} ({low:.3f}–{high:.3f}; {least:.3f} … {most:.3f})".format(**value)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.crossvalidated", description=__doc__.split("\n", 1)[0])
    add_options(parser, ranker=False)
    parser.add_argument("--queries", type=int, default=160, help="queries of the first task (160); others get a third")
    options = parser.parse_args(arguments)

    matcher = matcher_from(options)
    catalog = measured_part(Catalog.read(options.catalog), options.individuals)
    figures = run(catalog, matcher, options.queries, options.folds, options.seed, say)
    matcher.close()
    print(render(figures))
    if options.result:
        protocol = protocol_from(options) | {"queries": options.queries}
        write_result(options.result, figures, matcher.settings.to_dict(), protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
