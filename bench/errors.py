"""Where the engine fails, on what kind of photographs, and whom it takes for whom.

::

    python -m bench.errors CATALOG --output FOLDER [--store DIR] [--queries 160] [--worst 24] [--result errors]

The questions are those of ``bench.accuracy`` (photographs from above among all years; a flank against above and back),
without the query's own encounter. Three things come out:

* **Causes that can be measured**: the queries from above in thirds by resolution, sharpness, visible body, keypoints on
  marks, brightness of the skin (calves are dark grey), light unlike its matches', time to the nearest match; and by
  viewpoint. A query's likely causes are those in which it lies in the worst fifth.
* **The worst queries with pictures**: ``FOLDER/index.html``, the surest wrong answers first, each with its true match,
  the answers before it, and the keypoints that agreed. Real photographs stay out of the repository, so does FOLDER.
* **Confusion**: which two individuals are taken for each other most often. A sure confusion in both directions may also
  be one animal with two names.

With the pairs of ``bench.accuracy`` in the store about two minutes (regions are found anew to measure the light).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.accuracy import Task, tasks_of
from bench.error_causes import CAUSES, Photographs, by_cause, likely_causes
from bench.error_page import draw_page
from bench.held_out import measured_part
from bench.machine import write_result
from bench.out_of_fold import (
    OutOfFold,
    add_options,
    matcher_from,
    protocol_from,
    rankers_for,
    store_from,
)
from bench.progress import Say, say
from bench.protocols import Protocol, Relations, evaluate
from engine.catalogue.catalog import CandidateFilter, Catalog, CatalogError
from engine.catalogue.index import CatalogIndex
from engine.search.individuals import rank_individuals
from features.describe import Describer
from features.store import FeatureStore
from reranker.metrics import bootstrap_by_group

REPOSITORY = Path(__file__).resolve().parents[1]
TASKS = ("top: all years", "lateral -> top", "top -> lateral")
#: Matches of a query whose light is looked at, those that look most alike first.
LIT_MATCHES = 4
OUTCOMES = ("first", "places 2–20", "later in the shortlist", "not in the shortlist")


@dataclass(frozen=True, eq=False)
class Asked:
    """One task's answers.

    Attributes:
        task: who was asked of whom.
        answers: the engine's ranked candidates, the whole shortlist.
        queries: one row per query with a match, indexed by image id: individual_id, ap20, top1, first_rank, n_relevant,
            outcome, guess (the first candidate's individual), probability (the first candidate's).
    """

    task: Task
    answers: pd.DataFrame
    queries: pd.DataFrame


def ask(task: Task, index: CatalogIndex, judges: OutOfFold) -> Asked:
    """Ask a task's queries without their own encounters and judge the answers."""
    size = judges.matcher.settings.shortlist.size
    rule = CandidateFilter(exclude_encounter=True)
    queries, database = index.subset(list(task.queries)), index.subset(list(task.database))
    answers = judges.answers(queries, database, rule, size)
    scores = answers[["query_id", "image_id", "probability"]].set_axis(["query_id", "candidate_id", "score"], axis=1)
    protocol = Protocol(task.name, tuple(queries.catalog.ids), tuple(database.catalog.ids), "other_encounter")
    judged = evaluate(scores, protocol, index.catalog).per_query.set_index("query_id")
    first = answers[answers["rank"] == 1].set_index("query_id").reindex(judged.index)
    place = judged["first_rank"].to_numpy(float)
    outcome = np.select([place == 1, place <= 20, place > 20], list(OUTCOMES[:3]), OUTCOMES[3])
    judged = judged.assign(
        outcome=outcome,
        guess=first["individual_id"].to_numpy(object),
        probability=first["probability"].to_numpy(float),
    )
    return Asked(task, answers, judged)


def true_matches(query_id: str, asked: Asked, index: CatalogIndex) -> list[str]:
    """Return the matches of a query in the database, those that look most alike (by cosine) first."""
    database = asked.task.database
    protocol = Protocol(asked.task.name, (query_id,), tuple(i for i in database if i in index.catalog))
    relevant, _ = Relations(protocol.with_rule("other_encounter"), index.catalog).block(slice(0, 1))
    names = np.array(protocol.database, object)[relevant[0]].tolist()
    vector = index.vectors[index.catalog.position(query_id)]
    return sorted(names, key=lambda name: -float(index.vectors[index.catalog.position(name)] @ vector))


def matches_by_rank(query_id: str, asked: Asked, index: CatalogIndex) -> list[str]:
    """Return a query's true matches, the best placed first, those not in the shortlist by cosine after them."""
    rows = asked.answers[asked.answers["query_id"] == query_id]
    matches = true_matches(query_id, asked, index)
    placed = [name for name in rows["image_id"] if name in set(matches)]
    return [*placed, *(name for name in matches if name not in set(placed))]


def measure(asked: Asked, index: CatalogIndex, photographs: Photographs) -> pd.DataFrame:
    """Return the queries with one column for each of :data:`CAUSES`, and their likely ones in the column ``causes``."""
    table = asked.queries.join(photographs.plain)
    dates = index.catalog.table.set_index("image_id")["date"]
    rows = []
    for query_id in table.index:
        matches = true_matches(query_id, asked, index)
        own = photographs.light(query_id)
        sides = [abs(photographs.light(name).side - own.side) for name in matches[:LIT_MATCHES]]
        known = [side for side in sides if not math.isnan(side)]
        gaps = (dates.reindex(matches) - dates[query_id]).abs().dt.days.dropna()
        rows.append(
            {
                "marks": photographs.marks(query_id),
                "brightness": own.brightness,
                "light_gap": min(known, default=math.nan),
                "days": float(gaps.min()) if len(gaps) else math.nan,
                "matches": float(len(matches)),
            }
        )
    table = table.join(
        pd.DataFrame(rows, index=table.index, columns=["marks", "brightness", "light_gap", "days", "matches"])
    )
    return table.assign(causes=pd.Series(likely_causes(table), index=table.index, dtype=object))


def confusion(asked: Asked, count: int = 15) -> list[dict[str, Any]]:
    """Return the pairs of individuals that are taken for each other most often.

    Each query whose first individual is wrong counts for the pair (its own, the first). Ordered by number of queries,
    then by the surest of them.
    """
    best = rank_individuals(asked.answers, top=1).set_index("query_id")
    truth = asked.queries["individual_id"]
    wrong = best.reindex(truth.index).dropna(subset=["individual_id"])
    wrong = wrong.assign(truth=truth)[wrong["individual_id"] != truth[wrong.index]]
    found: dict[tuple[str, str], list[tuple[str, str, str, float]]] = {}
    for query, row in wrong.iterrows():
        pair = (str(row["truth"]), str(row["individual_id"]))
        entry = (str(query), str(row["best_image_id"]), pair[0], float(row["probability"]))
        found.setdefault((min(pair), max(pair)), []).append(entry)
    records: list[dict[str, Any]] = []
    for (one, other), cases in found.items():
        surest = max(cases, key=lambda case: case[3])
        records.append(
            {
                "individuals": [one, other],
                "queries": len(cases),
                "both_directions": len({case[2] for case in cases}) == 2,
                "surest": {"query": surest[0], "candidate": surest[1], "probability": surest[3]},
            }
        )
    records.sort(key=lambda r: (-r["queries"], -r["surest"]["probability"], r["individuals"]))
    return records[:count]


def worst_queries(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Return the queries of the least average precision, among equals the surest wrong answers first."""
    failed = table[~table["top1"].astype(bool)]
    order = np.lexsort((failed.index.to_numpy(str), -failed["probability"].fillna(0.0), failed["ap20"]))
    return failed.iloc[order[:count]]


def run(index: CatalogIndex, judges: OutOfFold, store: Path, options: ErrorOptions, say: Say) -> dict[str, Any]:
    """Ask, measure, draw; return JSON-ready figures."""
    describer = Describer(judges.matcher.settings.describe, FeatureStore(store))
    photographs = Photographs(index, describer)
    tasks = {task.name: task for task in tasks_of(index.catalog, options.queries, options.seed)}
    done = []
    for name in TASKS:
        if name in tasks:
            say(f"{name}: {len(tasks[name].queries)} queries")
            done.append(ask(tasks[name], index, judges))
    done = [asked for asked in done if len(asked.queries)]
    if not done or done[0].task.name != TASKS[0]:
        raise CatalogError(f"{index.catalog.root}: no whale was photographed from above in two encounters")
    main = done[0]
    say("measuring light and marks")
    table = measure(main, index, photographs)
    worst, confused = worst_queries(table, options.worst), confusion(main)
    figures = {
        "photographs": len(index),
        "individuals": int(index.catalog.table["individual_id"].nunique()),
        "questions": [_outcomes(asked) for asked in done],
        "causes": by_cause(table),
        "asked": len(table),
        "failures": int((~table["top1"].astype(bool)).sum()),
        "failures_without_cause": int(
            sum(not c for c, right in zip(table["causes"], table["top1"], strict=True) if not right)
        ),
        "worst": [_worst_record(str(name), row, main, index) for name, row in worst.iterrows()],
        "confusion": confused,
    }
    say(f"drawing {len(worst)} queries")
    page = draw_page(figures, main.answers, index, judges.matcher, describer, options.output)
    say(f"page: {page}")
    return figures


@dataclass(frozen=True)
class ErrorOptions:
    """Options of :func:`run`.

    Attributes:
        output: folder of the page and its pictures, outside the repository.
        queries: of the first task; the others get a third.
        worst: queries that are drawn.
        seed: of the choice of queries.
    """

    output: Path
    queries: int = 160
    worst: int = 24
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a folder inside the repository."""
        if self.output.resolve().is_relative_to(REPOSITORY):
            raise ValueError(
                f"{self.output}: pictures of real photographs stay out of the repository; name a folder elsewhere"
            )


def _outcomes(asked: Asked) -> dict[str, Any]:
    table = asked.queries
    who = table["individual_id"].to_numpy(str)
    counts = table["outcome"].value_counts()
    return {
        "question": asked.task.name,
        "queries": len(table),
        "individuals": len(set(who)),
        "map20": bootstrap_by_group(table["ap20"].to_numpy(float), who)._asdict(),
        "top1": bootstrap_by_group(table["top1"].to_numpy(float), who)._asdict(),
        "outcomes": {name: int(counts.get(name, 0)) for name in OUTCOMES},
    }


def _worst_record(query_id: str, row: pd.Series, asked: Asked, index: CatalogIndex) -> dict[str, Any]:
    place = float(row["first_rank"])
    return {
        "query": query_id,
        "match": next(iter(matches_by_rank(query_id, asked, index)), None),
        "measures": "; ".join(f"{cause.name} {float(row[cause.column]):.3g}" for cause in CAUSES),
        "individual": str(row["individual_id"]),
        "guess": None if row["guess"] is None else str(row["guess"]),
        "probability": float(row["probability"]),
        "ap20": float(row["ap20"]),
        "first_rank": None if math.isnan(place) else int(place),
        "causes": list(row["causes"]),
    }


def render(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown: outcomes by viewpoint, causes in thirds, confusion."""
    lines = ["| question | queries (whales) | mAP@20 | top-1 | " + " | ".join(OUTCOMES) + " |", "|---|" + "---|" * 7]
    for r in figures["questions"]:
        shares = [f"{r['outcomes'][name] / max(r['queries'], 1):.0%}" for name in OUTCOMES]
        cells = [r["question"], f"{r['queries']} ({r['individuals']})", _interval(r["map20"]), _interval(r["top1"])]
        lines.append("| " + " | ".join([*cells, *shares]) + " |")
    lines += [
        "",
        "| cause | worst third | middle | best third | rank correlation | of the failures / of all |",
        "|---|---|---|---|---|---|",
    ]
    for r in figures["causes"]:
        thirds = [_third(r["thirds"][name]) for name in ("worst", "middle", "best")]
        both = f"{r['share_of_failures']:.0%} / {r['share_of_all']:.0%}"
        lines.append(f"| {r['cause']} | " + " | ".join(thirds) + f" | {_signed(r['correlation'])} | {both} |")
    lines += [
        "",
        "mAP@20 of the thirds of the queries from above (range of the measure), own encounter left out; the last "
        f"column counts queries in the worst fifth. {figures['failures_without_cause']} of {figures['failures']} "
        "failures lie in no worst fifth.",
        "",
        "| taken for each other | queries | both directions | surest |",
        "|---|---|---|---|",
    ]
    for r in figures["confusion"]:
        both = "yes" if r["both_directions"] else "no"
        pair = " and ".join(r["individuals"])
        lines.append(f"| {pair} | {r['queries']} | {both} | {r['surest']['probability']:.2f} |")
    return "\n".join(lines)


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"


def _third(value: dict[str, Any]) -> str:
    return f"{_interval(value['map20'])} [{value['least']:.3g}–{value['most']:.3g}]"


def _interval(value: dict[str, float]) -> str:
    return "{mean:.2f} ({low:.2f}–{high:.2f})".format(**value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the analysis from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.errors", description=__doc__.split("\n", 1)[0])
    add_options(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of the page, outside the repository")
    parser.add_argument("--queries", type=int, default=160, help="queries from above (160); laterals get a third")
    parser.add_argument("--worst", type=int, default=24, help="queries that are drawn (24)")
    options = parser.parse_args(arguments)
    try:
        chosen = ErrorOptions(options.output, options.queries, options.worst, options.seed)
    except ValueError as error:
        parser.error(str(error))

    matcher = matcher_from(options)
    catalog = measured_part(Catalog.read(options.catalog), options.individuals)
    judges = rankers_for(options.ranker, catalog, matcher, options.training_queries, options.folds, options.seed, say)
    figures = run(matcher.index(catalog), judges, store_from(options), chosen, say)
    matcher.close()
    print(render(figures))
    if options.result:
        protocol = protocol_from(options) | {"queries": options.queries, "rule": "other_encounter"}
        write_result(options.result, figures, matcher.settings.to_dict(), protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
