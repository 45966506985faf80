"""Running scenarios: ``rank`` on the folder without labels, the official score, and what the challenge leaves out.

Beside the official score come: the cosine of the global descriptors alone; the same question with the photographs of
the query's own encounter removed (the shortlist is filled up again); 95 % intervals over whales; the share of queries
with a match in a shortlist of 20, 50 and 100; time and memory per stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.out_of_fold import OutOfFold
from bench.progress import Say
from bench.protocols import Evaluation, Protocol, evaluate, evaluate_similarity
from bench.scenarios.asking import QuestionSheet
from bench.scenarios.measuring import Ledger, MeasuredMatcher
from engine.catalogue.catalog import CandidateFilter, Catalog
from engine.catalogue.index import CatalogIndex
from engine.competitions.challenge import rank_challenge
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS, ScenarioRule
from engine.competitions.scenarios import Scenario
from engine.competitions.submission import average_precision_per_query, write_submission
from reranker.metrics import bootstrap_by_group

SIZES = (20, 50, 100)
#: Private mAP@20 of the challenge's winners, all by ensembles of 7 to 15 networks on GPUs (the winners' repository,
#: github.com/drivendataorg/wheres-whale-do).
WINNERS = {"1st": 0.4954, "2nd": 0.4953, "3rd": 0.4910, "4th": 0.4871, "6th": 0.4443}
TITLES = {
    "scenario01": "top, all years",
    "scenario02": "top, first year",
    "scenario03": "top, second year",
    "scenario04": "top, third year",
    "scenario05": "top, second year → first",
    "scenario06": "top, third year → first and second",
    "scenario07": "top, third year → second",
    "scenario08": "top, third year → first",
    "scenario09": "lateral → top",
    "scenario10": "top → lateral",
}


def run(sheet: QuestionSheet, judges: OutOfFold, store: Path, say: Say) -> dict[str, Any]:
    """Ask, score and measure; return JSON-ready figures.

    Args:
        sheet: what is asked.
        judges: the rankers; several if each query's must not have seen its whale.
        store: store's folder. Pairs that scenarios share are matched once.
        say: called with each line for the user.
    """
    submission, unanswered, ledger = _rank(sheet, judges, store, say)
    precision = average_precision_per_query(submission, sheet.answers)
    index = judges.matcher.index(sheet.labelled)
    records = []
    for scenario in sheet.scenarios:
        say(f"{scenario.scenario_id}: scoring, and asking again without the queries' own encounters")
        if precision.index.isin(scenario.queries["query_id"]).any():
            records.append(_judge(scenario, submission, precision, index, judges))
    who = _individuals(sheet.scenarios, sheet.labelled)
    overall = bootstrap_by_group(precision.to_numpy(), who.reindex(precision.index).to_numpy(str))._asdict()
    return {
        "published": sheet.published,
        "photographs": len(index),
        "individuals": int(sheet.labelled.table["individual_id"].nunique()),
        "queries": len(precision),
        "unanswered": len(unanswered),
        "overall": overall,
        "winners": WINNERS if sheet.published else None,
        "scenarios": records,
        "left_out": sheet.left_out,
        "stages": ledger.to_list(),
    }


def _rank(
    sheet: QuestionSheet, judges: OutOfFold, store: Path, say: Say
) -> tuple[pd.DataFrame, tuple[str, ...], Ledger]:
    """Run ``rank`` on the folder without labels and return the submission.

    With several rankers it runs once for each, and each query keeps the rows of its own fold's; the pairs are matched
    in the first run, which is the one that is timed.
    """
    who = _individuals(sheet.scenarios, sheet.labelled)
    parts: list[pd.DataFrame] = []
    unanswered: tuple[str, ...] = ()
    ledger: Ledger | None = None
    for fold, ranker in enumerate(judges.rankers):
        matcher = MeasuredMatcher(judges.matcher.settings, store, ranker, judges.matcher.workers, judges.matcher.device)
        output = sheet.folder.with_name(f"submission-{fold}.csv")
        done = rank_challenge(sheet.folder, output, matcher, announce=say if fold == 0 else None)
        matcher.close()
        ledger = ledger or matcher.ledger
        unanswered = done.unanswered
        folds = judges.folds_of(who.reindex(done.submission["query_id"]).tolist())
        parts.append(done.submission[folds == fold])
    together = pd.concat(parts, ignore_index=True)
    order = {name: place for place, name in enumerate(who.index)}
    together = together.sort_values("query_id", key=lambda ids: ids.map(order), kind="stable")
    assert ledger is not None
    return write_submission(together, sheet.folder.with_name("submission.csv")), unanswered, ledger


def _individuals(scenarios: Sequence[Scenario], labelled: Catalog) -> pd.Series:
    """Return query_id -> individual."""
    queries = pd.concat([s.queries for s in scenarios], ignore_index=True)
    names = labelled.table.set_index("image_id")["individual_id"]
    return pd.Series(names.reindex(queries["query_image_id"]).to_numpy(), index=queries["query_id"])


def _judge(
    scenario: Scenario, submission: pd.DataFrame, precision: pd.Series, index: CatalogIndex, judges: OutOfFold
) -> dict[str, Any]:
    """Return one scenario's figures."""
    catalog = index.catalog
    asked = precision.reindex(scenario.queries["query_id"]).dropna()
    image_of = scenario.queries.set_index("query_id")["query_image_id"]
    images = [image for image in dict.fromkeys(image_of.reindex(asked.index)) if image in catalog]
    database = [image for image in scenario.database if image in catalog]
    protocol = Protocol(scenario.scenario_id, tuple(images), tuple(database))
    labels = catalog.table.set_index("image_id")["individual_id"]
    who = labels.reindex(image_of.reindex(asked.index)).to_numpy(str)
    official = bootstrap_by_group(asked.to_numpy(), who)._asdict()
    rows = submission[submission["query_id"].isin(asked.index)]
    ranking = pd.DataFrame(
        {
            "query_id": rows["query_id"].map(image_of),
            "candidate_id": rows["database_image_id"],
            "score": rows["score"],
        }
    ).drop_duplicates(["query_id", "candidate_id"])
    record: dict[str, Any] = {
        "scenario": scenario.scenario_id,
        "queries": len(asked),
        "individuals": len(set(who)),
        "database": len(database),
        "official": official,
        "all": _figures(evaluate(ranking, protocol, catalog), protocol, index),
    }
    without = protocol.with_rule("other_encounter")
    answers = judges.answers(index.subset(images), index.subset(database), CandidateFilter(exclude_encounter=True))
    again = answers[["query_id", "image_id", "probability"]].set_axis(["query_id", "candidate_id", "score"], axis=1)
    judged = evaluate(again, without, catalog)
    record["other_encounter"] = _figures(judged, without, index) if len(judged.per_query) else None
    return record


def _figures(judged: Evaluation, protocol: Protocol, index: CatalogIndex) -> dict[str, Any]:
    """Return mAP@20 and top-1 of the answers and of the cosine alone, and the shortlist's recall."""
    cosine = evaluate_similarity(index.vectors, index.catalog.ids, protocol, index.catalog).summary(SIZES)
    found = judged.summary(SIZES)
    return {
        "queries": found["queries"],
        "individuals": found["individuals"],
        "map20": found["map20"],
        "top1": found["top1"],
        "cosine": {"map20": cosine["map20"], "top1": cosine["top1"]},
        "recall": cosine["recall"],
    }


def render(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown: scenarios, the whole beside the winners', time and memory."""
    lines = [
        "| scenario | queries (whales) / database | challenge score | cosine alone | top-1 | without own encounter "
        "(cosine alone), queries | recall at 20 / 50 / 100 | the same without own encounter |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(record) for record in figures["scenarios"]]
    score = figures["overall"]
    lines += ["", f"**mAP@20 over all {figures['queries']:,} queries: {_interval(score, 4)}**"]
    if figures["winners"]:
        winners = ", ".join(f"{place} {value:.4f}" for place, value in figures["winners"].items())
        lines += [f"The challenge's private scores: {winners} (winners' repository)."]
    else:
        lines += ["This is not the whole published test set: not comparable with the challenge's leaderboard."]
    lines += [f"{name} is left out: {why}." for name, why in figures["left_out"].items()]
    if figures["unanswered"]:
        lines += [f"{figures['unanswered']} queries had no answer."]
    lines += ["", *_stages(figures["stages"])]
    return "\n".join(lines)


def _row(record: dict[str, Any]) -> str:
    every, other = record["all"], record["other_encounter"]
    cells = [
        f"{record['scenario'].removeprefix('scenario').lstrip('0')}: {TITLES.get(record['scenario'], '')}",
        f"{record['queries']:,} ({record['individuals']:,}) / {record['database']:,}",
        f"**{record['official']['mean']:.3f}** ({record['official']['low']:.3f}–{record['official']['high']:.3f})",
        f"{every['cosine']['map20']['mean']:.3f}",
        f"{every['top1']['mean']:.2f}",
        "–"
        if other is None
        else f"{_interval(other['map20'])} ({other['cosine']['map20']['mean']:.3f}), {other['queries']:,}",
        _recall(every),
        "–" if other is None else _recall(other),
    ]
    return "| " + " | ".join(cells) + " |"


def _recall(figures: dict[str, Any]) -> str:
    return " / ".join(f"{figures['recall'][str(size)]:.2f}" for size in SIZES)


def _interval(value: dict[str, Any], digits: int = 3) -> str:
    return f"{value['mean']:.{digits}f} ({value['low']:.{digits}f}–{value['high']:.{digits}f})"


def _stages(stages: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["| stage | photographs or pairs | of them computed | seconds | memory, MiB | largest worker, MiB |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| {s['name']} | {s['items']:,} | {s['computed']:,} | {s['seconds']:.1f} | {s['peak_mib']:.0f} "
        f"| {s['peak_mib_of_worker']:.0f} |"
        for s in stages
    ]
    return lines


def rules_named(numbers: Sequence[int] | None) -> tuple[ScenarioRule, ...]:
    """Return the challenge's rules by their numbers (1 to 10), all of them if None.

    Raises:
        ValueError: there is no such scenario.
    """
    if not numbers:
        return CHALLENGE_SCENARIOS
    unknown = sorted(n for n in numbers if not 1 <= n <= len(CHALLENGE_SCENARIOS))
    if unknown:
        raise ValueError(f"there is no scenario {unknown[0]}: they are numbered 1 to {len(CHALLENGE_SCENARIOS)}")
    return tuple(CHALLENGE_SCENARIOS[n - 1] for n in sorted(set(numbers)))
