"""Who is it? Individuals named from one photograph, and from all photographs of an encounter together.

Photographs from above are asked one by one, whales in turn and photographs drawn at random, and as whole encounters,
all photographs of one encounter of a whale that was seen in others too. The ranker, its calibration and what it learned
of an individual's photographs together are fitted out of fold, so that whoever is asked taught nothing, and on whales
in turn alone. Beside the learned model stands the rule that joins an individual's photographs without training.

Figures: the right individual first and among the first five, and the AUROC of "new": each question beside the same
asked without its individual's photographs, which is what it would be if the animal were new. They are taken out of the
lists before a ranker sees these, so that no other photograph is raised for resembling them. Intervals over whales.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.protocols import BOTH, RULES, Protocol, Rule, select
from bench.questions import ANY, add_photographs, gather
from bench.results import Result
from engine.catalogue.catalog import Catalog
from engine.search.individuals import new_individual_probability
from engine.training.model_figures import Answers, out_of_fold_answers, true_places
from engine.training.ranker_training import in_turn
from reranker.protocols import protocol_tables
from reranker.training import train_ranker
from reranker.training_settings import TrainingSettings
from scarmatch.metrics import Interval, auc, bootstrap_by_group, bootstrap_statistic

ENCOUNTERS = "top: whole encounters"
ONE, TOGETHER = "one photograph", "all photographs of an encounter"
#: Photographs of an encounter that are asked, at most.
_MOST = 8


@dataclass(frozen=True)
class QuestionFigures:
    """What naming individuals is worth for one kind of question under one rule.

    Attributes:
        asked: the photographs that are asked, in words. question: one photograph, or an encounter's together.
        rule: which matches count.
        first, in_five: share of questions whose individual is first, or among the first five.
        first_by_rule, in_five_by_rule: the same without training.
        new_auroc: how well "none of them" tells the questions from the same asked without their individual.
    """

    asked: str
    question: str
    rule: str
    questions: int
    individuals: int
    first: Interval
    in_five: Interval
    first_by_rule: Interval
    in_five_by_rule: Interval
    new_auroc: Interval


@dataclass(frozen=True)
class IndividualsFigures(Figures):
    """Everything this measurement finds."""

    kind: str
    photographs: int
    individuals: int
    questions: tuple[QuestionFigures, ...]


def measure(context: Context) -> IndividualsFigures:
    """Gather the pairs of all questions, fit the recipe out of fold, and judge the individuals that it names."""
    raw = context.labelled_pairs(context.queries)
    tasks = [
        (half, whole_encounters(half.index.catalog, context.options.encounters, context.seed))
        for half in context.halves
    ]
    whole = [gather([task], half.index, half.matcher, context.say) for half, task in tasks if task is not None]
    drawn = context.pairs_of_any_photograph(context.options.photographs)
    further = {f"{ANY}: {rule}": rows for rule, rows in drawn.items()}
    # An encounter's own photographs would find one another.
    further |= {ENCOUNTERS: protocol_tables(pd.concat(whole, ignore_index=True))["other_encounter"]} if whole else {}
    judged = {**protocol_tables(raw), **further}
    new = {f"{name}, new": without_matches(judged[name]) for name in (*BOTH, *further) if name in judged}
    context.say(f"{sum(len(table) for table in judged.values()):,} rows of lists; fitting the ranker")
    settings = TrainingSettings(folds=context.options.folds, seed=context.seed)
    trained, found = train_ranker(raw, settings, further={**further, **new}), []
    rules: dict[str, Rule] = {"all": "all", f"{ANY}: all": "all"}
    for name in (name for name in (*BOTH, *further) if name in trained.scores):
        answers = out_of_fold_answers(trained, raw, name, judged[name], further)
        if_new = out_of_fold_answers(trained, raw, f"{name}, new", judged[name], new)
        rule = rules.get(name, "other_encounter")
        parts = by_task(if_new)
        for task, part in by_task(answers).items():
            found.append(figures_of_questions(part, parts[task], None, task, rule, context.seed))
        if name == ENCOUNTERS:
            encounter = judged[name].groupby("query_id")["encounter0"].first()
            found.append(figures_of_questions(answers, if_new, encounter, name, rule, context.seed))
    return IndividualsFigures(trained.ranker.kind, context.photographs, context.individuals, tuple(found))


def without_matches(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return labelled pairs without those that show the query's individual: the lists as they were if it were new.

    Only the search is as it was: what it would have found in their place is missing.
    """
    return pairs[pairs["individual0"].astype(str) != pairs["individual1"].astype(str)].reset_index(drop=True)


def whole_encounters(catalog: Catalog, count: int, seed: int) -> Protocol | None:
    """Return the task of all photographs from above of so many encounters, at most :data:`_MOST` of each.

    Encounters have two photographs or more, and whales that were seen in others; whales come in turn. None where there
    are none.
    """
    database = select(catalog)
    table = catalog.subset(database).table.dropna(subset=["individual_id", "encounter_id"])
    seen_again = table.groupby("individual_id")["encounter_id"].transform("nunique") > 1
    keys = ["individual_id", "encounter_id"]
    several = table.groupby(keys)["image_id"].transform("size") > 1
    first = table[seen_again & several].drop_duplicates(keys)
    chosen = first[first["image_id"].isin(in_turn(first, count, seed))][keys]
    asked = table.merge(chosen, on=keys)
    asked = asked[asked.groupby(keys).cumcount() < _MOST]
    if asked.empty:
        return None
    return Protocol(ENCOUNTERS, tuple(sorted(asked["image_id"], key=catalog.position)), database)


def by_task(answers: Answers) -> dict[str, Answers]:
    """Divide answers by the task that asked, the part of a query's id before the bar; years are one task together."""

    def named(queries: pd.Series | pd.Index) -> pd.Series:
        task = pd.Series(queries.astype(str)).str.rpartition("|")[0]
        return task.where(~task.str.contains(r"top: \d+ -> "), "top: later years -> earlier years")

    rows, asked = named(answers.table["query_id"]).to_numpy(), named(answers.truth.index).to_numpy()
    return {
        task: Answers(
            answers.table[rows == task].reset_index(drop=True),
            answers.truth[asked == task],
            answers.matches[asked == task],
            answers.models,
        )
        for task in dict.fromkeys(asked.tolist())
    }


def figures_of_questions(
    answers: Answers, if_new: Answers, together: pd.Series | None, task: str, rule: str, seed: int
) -> QuestionFigures:
    """Return what answers are worth.

    Args:
        answers: of one task.
        if_new: to the same questions without their individuals' photographs.
        together: query_id -> encounter, whose queries are one question; None asks each query alone.
        task, rule: what was asked.
        seed: of the intervals.
    """
    names = {str(query): str(query if together is None else together[query]) for query in answers.truth.index}
    who = answers.truth.groupby(answers.truth.index.map(names)).first()
    learned, if_none = (one.individuals(one.table, names) for one in (answers, if_new))
    by_rule = replace(answers, models={}).individuals(answers.table, names)
    places = true_places(learned, who), true_places(by_rule, who)
    left = [new_individual_probability(pd.DataFrame(), list(who.index), part) for part in (learned, if_none)]
    known, new = (part.to_numpy(np.float64) for part in left)

    def auroc(rows: Any) -> float:
        return auc(np.concatenate([known[rows], new[rows]]), np.repeat([False, True], len(rows)))

    def share(places: npt.NDArray[np.int64], last: int) -> Interval:
        return bootstrap_by_group(((places >= 1) & (places <= last)).astype(float), who)

    return QuestionFigures(
        asked=task,
        question=ONE if together is None else TOGETHER,
        rule=rule,
        questions=len(who),
        individuals=who.nunique(),
        first=share(places[0], 1),
        in_five=share(places[0], 5),
        first_by_rule=share(places[1], 1),
        in_five_by_rule=share(places[1], 5),
        new_auroc=bootstrap_statistic(auroc, who, seed=seed),
    )


def full(result: Result[IndividualsFigures]) -> str:
    """Return the table."""
    figures = result.figures
    rows = [
        [
            f"{one.asked}, {one.question}" if one.question == TOGETHER else one.asked,
            RULES[one.rule].removesuffix(" matches"),  # type: ignore[index]
            f"{one.questions} ({one.individuals})",
            *(markdown.interval(value) for value in (one.first, one.in_five)),
            f"{one.first_by_rule.mean:.3f} / {one.in_five_by_rule.mean:.3f}",
            markdown.interval(one.new_auroc),
        ]
        for one in figures.questions
    ]
    heads = ["question", "matches that count", "questions (whales)", "right one first", "in five", "by the rule"]
    words = f"{figures.photographs:,} photographs of {figures.individuals} whales; 95 % intervals over whales; ranker: "
    return f"{markdown.table([*heads, 'AUROC of new'], rows)}\n\n{words}{figures.kind}, out of fold."


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is this measurement's own."""
    add_photographs(parser)
    parser.add_argument("--encounters", type=int, default=100, help="whole encounters that are asked (100)")


MEASUREMENT = Measurement(
    title="Who is it?",
    figures=IndividualsFigures,
    measure=measure,
    full=full,
    short=full,
    add_options=add_options,
    queries=400,
    folds=True,
)
