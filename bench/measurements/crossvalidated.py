"""The cross-validated table: mean, spread over folds of whales, and a test between any two configurations.

Configurations are the cosine of the global descriptors, local matching alone, the calibrated mean of both (the rule of
WildFusion, 2024) and the ranker by the shipped recipe. Whatever is fitted is fitted without the fold's whales, neither
as query nor as candidate. (The recipe's kind of model is chosen on the same out-of-fold scores, among three.)

Figures: mAP@20 of photographs; accuracy, macro-F1 and MAP@5 of individuals, an individual standing where its best
photograph stands. Mean, standard deviation and range are over the folds, the 95 % interval of the mean is Student's.
mAP@20 comes with the interval over whales too. Configurations are compared by Wilcoxon's signed-rank test on whales'
mean average precisions (the folds are too few: with five, no p can fall below 0.06), p after Holm's correction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.lists import judge_lists, part_of
from bench.local_scores import plain_score
from bench.measurement import Measurement
from bench.results import Result
from engine.training.ranker_training import train_on_pairs
from reranker.training_settings import TrainingSettings
from scarmatch.metrics import Interval, bootstrap_by_group, macro_f1, paired_bootstrap

LOCAL = "plain_score"
#: Figure -> heading.
HEADS = {"map20": "mAP@20", "accuracy": "accuracy", "macro_f1": "macro-F1", "map5": "MAP@5"}
#: Questions of the table: (name, beginning and middle of the tasks' names, rule).
QUESTIONS = (
    ("top, all years", "top: all years", "", "all"),
    ("top, all years, other encounters", "top: all years", "", "other_encounter"),
    ("top, later years → earlier", "top: ", " -> ", "all"),
)


@dataclass(frozen=True)
class Spread:
    """A figure over folds: mean, standard deviation (n - 1), Student's 95 % interval of the mean, range, and each."""

    mean: float
    sd: float
    low: float
    high: float
    least: float
    most: float
    folds: tuple[float, ...]


@dataclass(frozen=True)
class MethodFigures:
    """What one configuration earns."""

    map20: Spread
    accuracy: Spread
    macro_f1: Spread
    map5: Spread
    map20_over_whales: Interval


@dataclass(frozen=True)
class PairedTest:
    """Two configurations on the same whales: difference of mAP@20 (second - first), and Wilcoxon's two-sided p."""

    first: str
    second: str
    difference: Interval
    whales: int
    statistic: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class Question:
    """One row group of the table."""

    question: str
    queries: int
    individuals: int
    methods: dict[str, MethodFigures]
    tests: tuple[PairedTest, ...]


@dataclass(frozen=True)
class CrossvalidatedFigures(Figures):
    """Everything this measurement finds; ``kind``: of the ranker that the recipe chose."""

    photographs: int
    individuals: int
    folds: int
    kind: str
    pairs: int
    questions: tuple[Question, ...]


def measure(context: Context) -> CrossvalidatedFigures:
    """Gather the pairs, fit out of fold, and compare."""
    raw = context.labelled_pairs(context.queries)
    settings = TrainingSettings(folds=context.options.folds, seed=context.seed)
    trained = train_on_pairs(raw, context.matcher, settings)
    keys = ["query_id", "candidate_id"]
    pairs = raw.drop_duplicates(keys)
    added = pairs[[*keys, "individual1"]].assign(**{LOCAL: plain_score(pairs)})
    frames = {
        rule: frame.merge(added, on=keys, how="left", validate="one_to_one") for rule, frame in trained.scores.items()
    }
    kind = str(trained.report["kind"])
    methods = {"cosine": "cosine", "local matching alone": LOCAL, "calibrated mean": "calibrated_mean", "ranker": kind}
    return CrossvalidatedFigures(
        photographs=context.photographs,
        individuals=context.individuals,
        folds=int(trained.report["folds"]),
        kind=kind,
        pairs=len(pairs),
        questions=tuple(questions_of(frames, methods)),
    )


def questions_of(frames: dict[str, pd.DataFrame], methods: dict[str, str]) -> list[Question]:
    """Return every question's figures and the tests between any two configurations.

    Args:
        frames: rule -> out-of-fold scores with the candidates' individuals (see :func:`bench.lists.judge_lists`).
        methods: name -> column of scores.
    """
    found = []
    for name, beginning, middle, rule in QUESTIONS:
        rows = part_of(frames[rule], beginning, middle) if rule in frames else pd.DataFrame({"fold": []})
        if rows["fold"].nunique() < 2:
            continue
        judged = {method: judge_lists(rows, column) for method, column in methods.items()}
        one = next(iter(judged.values()))
        if one["fold"].nunique() < 2:
            continue
        figures = {method: summary(table) for method, table in judged.items()}
        found.append(Question(name, len(one), int(one["individual"].nunique()), figures, paired_tests(judged)))
    return found


def summary(judged: pd.DataFrame) -> MethodFigures:
    """Return each figure's mean, spread and interval over folds, and mAP@20 with its interval over whales."""
    folds = [part for _, part in judged.groupby("fold")]
    return MethodFigures(
        over_folds([float(part["ap20"].mean()) for part in folds]),
        over_folds([float((part["guess"] == part["individual"]).mean()) for part in folds]),
        over_folds([macro_f1(part["individual"], part["guess"]) for part in folds]),
        over_folds([float(part["rr5"].mean()) for part in folds]),
        bootstrap_by_group(judged["ap20"].to_numpy(float), judged["individual"].to_numpy(str)),
    )


def over_folds(values: Sequence[float]) -> Spread:
    """Return the spread of the (F,) values of folds.

    Raises:
        ValueError: there are fewer than two folds.
    """
    from scipy.stats import t as student

    if len(values) < 2:
        raise ValueError(f"{len(values)} fold: a spread needs at least two")
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(student.ppf(0.975, len(values) - 1)) * sd / len(values) ** 0.5
    return Spread(mean, sd, mean - half, mean + half, min(values), max(values), tuple(values))


def paired_tests(judged: dict[str, pd.DataFrame]) -> tuple[PairedTest, ...]:
    """Compare any two configurations on the same whales' mean average precisions."""
    raw = []
    for first, second in combinations(judged, 2):
        before, after = judged[first], judged[second].reindex(judged[first].index)
        who = before["individual"]
        means = [table["ap20"].groupby(who).mean().to_numpy(float) for table in (before, after)]
        gain = paired_bootstrap(after["ap20"].to_numpy(float), before["ap20"].to_numpy(float), who.to_numpy(str))
        raw.append((first, second, gain, len(means[0]), *_signed_rank(means[1], means[0])))
    corrected = holm([p for *_, p in raw])
    return tuple(PairedTest(*record, p) for record, p in zip(raw, corrected, strict=True))


def _signed_rank(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return (statistic, two-sided p) of Wilcoxon's signed-rank test on paired figures; (0, 1) if none differ."""
    from scipy.stats import wilcoxon

    if np.array_equal(a, b):
        return 0.0, 1.0
    found = wilcoxon(a, b)
    return float(found.statistic), float(found.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Return p values after Holm's step-down correction (Scandinavian Journal of Statistics, 1979)."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def full(result: Result[CrossvalidatedFigures]) -> str:
    """Return the tables: configurations by question, then the tests between any two."""
    figures, rows, tests = result.figures, [], []
    for question in figures.questions:
        head = f"{question.question}: {question.queries} queries of {question.individuals}"
        for method, values in question.methods.items():
            shown = f"ranker ({figures.kind})" if method == "ranker" else method
            cells = [_spread(getattr(values, name)) for name in HEADS]
            rows.append([head, shown, *cells, markdown.interval(values.map20_over_whales)])
        for test in question.tests:
            numbers = [markdown.change(test.difference), str(test.whales), _p(test.p), _p(test.p_holm)]
            tests.append([question.question, f"{test.first} → {test.second}", *numbers])
    for table in (rows, tests):
        for row, head in zip(table, markdown.only_once(row[0] for row in table), strict=True):
            row[0] = head
    heads = ["question", "configuration", *HEADS.values(), "mAP@20 over whales"]
    words = (
        f"Mean ± standard deviation over {figures.folds} folds of whales (95 % interval of the mean; lowest and "
        "highest fold)."
    )
    test_heads = ["question", "configurations", "difference of mAP@20", "whales", "Wilcoxon's p", "after Holm"]
    return f"{markdown.table(heads, rows)}\n\n{words}\n\n{markdown.table(test_heads, tests)}"


def _spread(v: Spread) -> str:
    return f"{v.mean:.3f} ± {v.sd:.3f} ({v.low:.3f}–{v.high:.3f}; {v.least:.3f} … {v.most:.3f})"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


MEASUREMENT = Measurement(
    title="Cross-validated",
    figures=CrossvalidatedFigures,
    measure=measure,
    full=full,
    queries=160,
    folds=True,
)
