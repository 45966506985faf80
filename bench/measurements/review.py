"""What do decisions bring? A made-up reviewer answers the queue's questions, and the answers get better.

Photographs of whales that were seen more than once lose their names and are asked about, against all the others. After
every decision the list of every question is what its answers and all decisions so far make of it: a confirmed
individual's photographs lead, rejected ones leave. The reviewer says of the best candidate of a question whether it is
the same animal: truthfully, or wrong in 3 % of the cases. Questions come in an order of the queue ("settles most" or
"most certain", renewed after every decision) or at random among those that are open.

Answers are out of fold: the ranker is fitted on the questions' own pairs, and ranks each whale without having seen
it.

Figures after k decisions: mAP@20 over photographs and the share of questions whose first individual is the right one,
over all questions, decided or not; intervals over whales. A question whose animal no other photograph shows is none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.protocols import select
from bench.results import Result
from engine.catalogue.catalog import Catalog
from engine.review.decision_table import ReviewFile
from engine.review.decisions import Decision
from engine.review.matching import KEPT
from engine.review.queue import Wanted
from engine.review.session import Review
from engine.review.standing import DECIDED, OPEN, Standing
from engine.training.ranker_training import choose_queries, labelled_pairs, train_on_pairs
from reranker.cross_fitting import cross_fitted_calibrations, cross_fitted_probabilities
from reranker.training_settings import TrainingSettings
from scarmatch.metrics import Interval, average_precision, bootstrap_by_group

ORDERS = ("settles most", "most certain", "at random")
ERRORS = (0.0, 0.03)
#: Decisions after which the answers are judged, as shares of the number of questions.
_STEPS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class CurvePoint:
    """The answers after some decisions."""

    order: str
    errors: float
    decisions: int
    decided: int
    contradictions: int
    map20: Interval
    top1: Interval


@dataclass(frozen=True)
class ReviewFigures(Figures):
    """Everything this measurement finds."""

    questions: int
    whales: int
    photographs: int
    curve: tuple[CurvePoint, ...]


def measure(context: Context) -> ReviewFigures:
    """Match once, then let every made-up reviewer decide."""
    catalog = context.catalog.subset(select(context.catalog))
    asked = choose_queries(catalog, context.queries, context.seed)
    context.say(f"{len(asked)} questions among {len(catalog):,} photographs")
    pairs = labelled_pairs(context.top.subset(list(asked)), context.top, context.matcher, context.progress("pairs"))
    answers = out_of_fold(pairs, context)
    points = []
    for order in ORDERS:
        for errors in ERRORS:
            context.say(f"deciding {order}, {errors:.0%} errors")
            points += decide(catalog, asked, answers, order, errors, context.seed)
    whales = {catalog.row(image)["individual_id"] for image in asked}
    return ReviewFigures(len(asked), len(whales), len(catalog), tuple(points))


def out_of_fold(raw: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Return query_id, image_id and probability, by rankers and calibrations that saw nothing of the query's whale."""
    context.say(f"fitting a ranker on {len(raw):,} pairs")
    trained = train_on_pairs(raw, context.matcher, TrainingSettings(seed=context.seed))
    frame, kind = trained.scores["all"], trained.report["kind"]
    scored = frame.dropna(subset=[kind]).reset_index(drop=True)
    scored["probability"] = cross_fitted_probabilities(scored, cross_fitted_calibrations(trained.scores, kind), kind)
    best = scored.dropna(subset=["probability"]).sort_values("probability", ascending=False, kind="stable")
    shown = best.groupby("query_id", sort=False).head(KEPT)
    return shown.rename(columns={"candidate_id": "image_id"})[["query_id", "image_id", "probability"]]


def decide(
    catalog: Catalog, asked: list[str], answers: pd.DataFrame, order: str, errors: float, seed: int
) -> list[CurvePoint]:
    """Let one made-up reviewer decide, and judge the answers on the way.

    Args:
        catalog: labelled photographs; those asked lose their names and encounters.
        asked: the photographs that are asked about.
        answers: as :meth:`Matcher.match` gives them, longer than 20.
        order: one of :data:`ORDERS`. errors: share of wrong answers. seed: of both.
    """
    truth = {str(k): str(v) for k, v in zip(catalog.ids, catalog.table["individual_id"], strict=True)}
    rng = np.random.default_rng(seed)
    table = catalog.table.copy()
    unnamed = table["image_id"].isin(asked)
    for column in ("individual_id", "encounter_id"):
        table.loc[unnamed, column] = None
    with tempfile.TemporaryDirectory() as folder, ReviewFile(Path(folder) / "review.sqlite") as file:
        for query, rows in answers.groupby("query_id", sort=False):
            ranked = list(zip(rows["image_id"], rows["probability"].astype(float), strict=True))
            file.add_answer(str(query), "bench", {"photographs": ranked})
        review = Review(Catalog(table, catalog.root), file)
        steps = sorted({round(share * len(asked)) for share in _STEPS})
        points, made = [], 0
        for step in steps:
            while made < step and (question := _next(review, order, rng)) is not None:
                review.decide([_said(question, truth, rng.random() < errors)])
                made += 1
            points.append(_judged(review, truth, asked, order, errors, made))
            if made < step:
                break
    return points


def _next(review: Review, order: str, rng: np.random.Generator) -> Standing | None:
    """Return the question that is answered next, None if none is open."""
    if order != "at random":
        return next(iter(review.queue.wanted(Wanted(order, status=OPEN))), None)
    waiting = [one for one in review.queue.all() if one.status == OPEN]
    return waiting[int(rng.integers(len(waiting)))] if waiting else None


def _said(question: Standing, truth: Mapping[str, str], wrong: bool) -> Decision:
    """Return what the reviewer says of the best candidate."""
    assert question.best is not None  # it is open
    query, image = question.question.key, question.best.images[0]
    same = (truth[query] == truth[image]) != wrong
    return Decision("same" if same else "different", "made up", (query, image))


def _judged(
    review: Review, truth: Mapping[str, str], asked: list[str], order: str, errors: float, made: int
) -> CurvePoint:
    """Return how good the answers to all questions are now."""
    of_whale: dict[str, set[str]] = {}
    for image, name in truth.items():
        of_whale.setdefault(name, set()).add(image)
    precisions, firsts = [], []
    for query in asked:
        standing, right = review.standing(query), of_whale[truth[query]] - {query}
        images = answer_of(review, standing, query)
        precisions.append(average_precision([image in right for image in images], float(len(right))))
        firsts.append(float(bool(images) and truth[images[0]] == truth[query]))
    whales = [truth[query] for query in asked]
    return CurvePoint(
        order=order,
        errors=errors,
        decisions=made,
        decided=sum(one.status == DECIDED for one in review.queue.all()),
        contradictions=len(review.state.contradictions()),
        map20=bootstrap_by_group(precisions, whales),
        top1=bootstrap_by_group(firsts, whales),
    )


def answer_of(review: Review, standing: Standing, query: str) -> list[str]:
    """Return the photographs that answer a question today, best first: linked ones, then those of its candidates."""
    answer = review.queue.answers.get(query, {})
    linked = [image for image in review.state.group(query) if image != query]
    linked.sort(key=lambda image: -answer.get(image, 0.0))
    left = {image for one in standing.candidates for image in one.images}
    if standing.status == DECIDED:  # its candidates are no longer listed
        left = set(answer)
    others = sorted(left - set(linked), key=lambda image: -answer.get(image, 0.0))
    return [*linked, *others]


def full(result: Result[ReviewFigures]) -> str:
    """Return the learning curves as Markdown."""
    figures = result.figures
    heads = ["order", "errors", "decisions", "decided", "contradictions", "mAP@20", "first individual right"]
    rows = [
        [
            point.order,
            f"{point.errors:.0%}",
            str(point.decisions),
            f"{point.decided} of {figures.questions}",
            str(point.contradictions),
            markdown.interval(point.map20),
            markdown.interval(point.top1),
        ]
        for point in figures.curve
    ]
    footing = (
        f"{figures.questions} questions of {figures.whales} whales among {figures.photographs:,} photographs from "
        "above; 95 % intervals over whales."
    )
    return f"{markdown.table(heads, rows)}\n\n{footing}"


#: Decisions, as shares of the number of questions, of which the documents tell.
_SHOWN = (0.0, 0.5, 1.0, 2.0)


def short(result: Result[ReviewFigures]) -> str:
    """Return some points of the learning curves as Markdown."""
    figures = result.figures
    steps = [round(share * figures.questions) for share in _SHOWN]
    curves: dict[tuple[str, float], dict[int, CurvePoint]] = {}
    for point in figures.curve:
        curves.setdefault((point.order, point.errors), {})[point.decisions] = point
    heads = ["order", "errors", *(f"mAP@20 after {step} decisions" for step in steps)]
    heads += [f"first individual right after {step}" for step in steps]
    rows = [
        [
            order,
            f"{errors:.0%}",
            *(f"{points[step].map20.mean:.3f}" if step in points else "" for step in steps),
            *(f"{points[step].top1.mean:.2f}" if step in points else "" for step in steps),
        ]
        for (order, errors), points in curves.items()
    ]
    footing = f"{figures.questions} questions of {figures.whales} whales among {figures.photographs:,} photographs."
    return f"{markdown.table(heads, rows)}\n\n{footing}"


MEASUREMENT = Measurement(
    title="What decisions bring",
    figures=ReviewFigures,
    measure=measure,
    full=full,
    short=short,
    queries=160,
)
