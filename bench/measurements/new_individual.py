"""Does the engine notice an animal that is not in the catalogue? Queries of which a third have no match.

Whales are drawn in turn; a third of the queries show whales whose every photograph has left the database. Both kinds of
query come from whales that could have been answered, so nothing but the missing photographs tells them apart. Twice:
with all photographs of the others, and without those of the query's own encounter.

Compared: the rule of the second Happywhale seed (k-NN head, "new" where the nearest photograph lies beyond a cosine
distance of 0.62, that is below a confidence of 0.38), the same head with the distance searched on folds of whales, and
the engine's own decision: the probability that no individual of the catalogue is right, by the rule that joins an
individual's photographs without training and by what the ranker has learned of them, as it is, and with
the odds given beforehand searched on folds of whales. The ranker that answers a whale was trained without it.

Figures: AUROC of "new", balanced accuracy of known/new, MAP@5 with new_individual; intervals over whales.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.measurement import Measurement
from bench.protocols import BOTH, RULES, Rule, filter_of
from bench.results import Result
from engine.catalogue.catalog import Catalog, CatalogError
from engine.catalogue.index import CatalogIndex
from engine.search.individuals import (
    NEW_INDIVIDUAL,
    IdentifySettings,
    KnnSettings,
    knn_head,
    new_individual_probability,
    place_new_individual,
    rank_individuals,
)
from engine.training.ranker_training import in_turn
from reranker.calibration import log_odds
from reranker.individual_model import IndividualModel
from reranker.protocols import assign_folds
from scarmatch.metrics import (
    Floats,
    Interval,
    auc,
    balanced_accuracy,
    bootstrap_by_group,
    bootstrap_statistic,
    paired_bootstrap,
    reciprocal_rank,
)

SEED_RULE = "k-NN head, distance 0.62 (the seed's rule)"
KNN_SEARCHED = "k-NN head, distance searched on folds"
BY_RULE = "engine, photographs joined by the rule"
CALIBRATED = "engine, calibrated probability"
ODDS_SEARCHED = "engine, odds searched on folds"
TOP, FOLDS, SHARE_NEW = 5, 5, 1 / 3


@dataclass(frozen=True)
class DecisionFigures:
    """What one way of deciding is worth under one rule."""

    rule: str
    decision: str
    queries: int
    new: int
    individuals: int
    auroc: Interval
    balanced_accuracy: Interval
    map5: Interval
    gain_over_seed: Interval


@dataclass(frozen=True)
class Searched:
    """What the folds chose: cosine distances, and odds of a new individual beforehand."""

    distance: tuple[float, ...]
    new_odds: tuple[float, ...]


@dataclass(frozen=True)
class NewIndividualFigures(Figures):
    """Everything this measurement finds; ``searched`` by rule."""

    decisions: tuple[DecisionFigures, ...]
    searched: dict[str, Searched]


@dataclass(frozen=True)
class Question:
    """Who is asked, and the queries' whales without any photograph in the database."""

    queries: tuple[str, ...]
    new: frozenset[str]


@dataclass(frozen=True, eq=False)
class Decision:
    """One way of answering, at every threshold.

    Attributes:
        evidence: (Q,) the larger, the likelier a new animal.
        predictions: threshold -> one list of five labels a query; "new" is decided where evidence exceeds it.
    """

    evidence: Floats
    predictions: Callable[[float], list[list[str]]]


@dataclass(frozen=True, eq=False)
class Earned:
    """What each of (Q,) queries earns: reciprocal rank, and whether it is called new."""

    gain: Floats
    called_new: npt.NDArray[np.bool_]


def measure(context: Context) -> NewIndividualFigures:
    """Ask under both rules."""
    found: list[DecisionFigures] = []
    searched: dict[str, Searched] = {}
    for rule in BOTH:
        question = draw_question(context.index.catalog, context.queries, rule, context.seed)
        context.say(f"{rule}: {len(question.queries)} queries, {len(question.new)} whales taken out of the database")
        records, searched[rule] = judge(question, rule, context)
        found += records
    return NewIndividualFigures(tuple(found), searched)


def draw_question(catalog: Catalog, count: int, rule: str, seed: int) -> Question:
    """Draw queries of whales that could be answered, and choose the whales that leave the database.

    Args:
        catalog: labelled photographs.
        count: queries.
        rule: "all", or "other_encounter": whales seen in one encounter only cannot be asked.
        seed: of the draw.

    Raises:
        CatalogError: fewer than three whales can be asked.
    """
    table = catalog.table[catalog.table["individual_id"].notna()]
    unit = "image_id" if rule == "all" else "encounter_id"
    able = table.groupby("individual_id")[unit].transform("nunique") > 1
    asked = in_turn(table[able], count, seed)
    who = catalog.table.set_index("image_id")["individual_id"].reindex(asked)
    whales = np.random.default_rng(seed + 1).permutation(sorted(who.unique()))
    if len(whales) < 3:
        raise CatalogError(f"{catalog.root}: {len(whales)} whales can be asked under the rule {rule!r}; 3 are needed")
    new: set[str] = set()
    for name in whales:
        before, after = (abs(float(who.isin(names).mean()) - SHARE_NEW) for names in (new, {*new, str(name)}))
        if after < before:
            new.add(str(name))
    return Question(tuple(sorted(asked, key=catalog.position)), frozenset(new))


def judge(question: Question, rule: Rule, context: Context) -> tuple[list[DecisionFigures], Searched]:
    """Return the figures of every way of answering, and the thresholds that the folds chose."""
    index, rankers, seed = context.index, context.rankers, context.seed
    table = index.catalog.table
    database = index.subset(table.loc[~table["individual_id"].isin(question.new), "image_id"].tolist())
    raw = rankers.matcher.pairs(index.subset(list(question.queries)), database, filter_of(rule), neighbours=True)
    who_of = table.set_index("image_id")["individual_id"]
    matches = raw.groupby("query_id")["n_true"].first()
    # A known whale whose every other photograph is of the query's own hour cannot be answered.
    asked = [q for q in question.queries if who_of[q] in question.new or matches.get(q, 0) > 0]
    queries, who = index.subset(asked), who_of[asked].to_numpy(str)
    is_new = np.isin(who, sorted(question.new))
    truth = np.where(is_new, NEW_INDIVIDUAL, who).tolist()
    answers = rankers.rank(raw[raw["query_id"].isin(asked)], rankers.matcher.settings.shortlist.longest(len(database)))
    engine, nearest = by_engine(answers, asked, rankers.individual_model), by_knn(queries, database, rule)
    by_rule = by_engine(answers, asked, None)
    knn_values, knn_limits = on_folds(nearest, truth, who, seed)
    own_values, own_limits = on_folds(engine, truth, who, seed)
    ways = {
        SEED_RULE: (nearest, at(nearest, KnnSettings().max_distance, truth)),
        KNN_SEARCHED: (nearest, knn_values),
        BY_RULE: (by_rule, at(by_rule, 0.0, truth)),
        CALIBRATED: (engine, at(engine, 0.0, truth)),  # evidence is ln(odds of new): 0 is "as it is"
        ODDS_SEARCHED: (engine, own_values),
    }
    base = ways[SEED_RULE][1].gain
    found = []
    for name, (decision, earned) in ways.items():

        def auroc(rows: npt.NDArray[np.intp], evidence: Floats = decision.evidence) -> float:
            return auc(evidence[rows], is_new[rows])

        def balanced(rows: npt.NDArray[np.intp], called: npt.NDArray[np.bool_] = earned.called_new) -> float:
            return balanced_accuracy(is_new[rows], called[rows])

        found.append(
            DecisionFigures(
                rule,
                name,
                len(who),
                int(is_new.sum()),
                len(set(who)),
                bootstrap_statistic(auroc, who, is_new, seed=seed),
                bootstrap_statistic(balanced, who, is_new, seed=seed),
                bootstrap_by_group(earned.gain, who),
                paired_bootstrap(earned.gain, base, who),
            )
        )
    return found, Searched(tuple(knn_limits), tuple(float(np.exp(-limit)) for limit in own_limits))


def by_engine(answers: pd.DataFrame, queries: Sequence[str], model: IndividualModel | None) -> Decision:
    """Return the engine's decision, by the rule without a model; at threshold t, "new" has the odds exp(-t)."""
    ranked = rank_individuals(answers, model=model)
    new = new_individual_probability(answers, queries, ranked)

    def predictions(threshold: float) -> list[list[str]]:
        placed = place_new_individual(ranked, new, IdentifySettings(top=TOP, new_odds=float(np.exp(-threshold))))
        lists = placed.groupby("query_id", sort=False)["individual_id"].agg(list)
        return [lists[query] for query in queries]

    return Decision(log_odds(new.to_numpy(float), 1e-12), predictions)


def by_knn(queries: CatalogIndex, database: CatalogIndex, rule: Rule) -> Decision:
    """Return the k-NN head's decision; "new" comes first where the nearest photograph is farther than the threshold."""
    rows = queries.catalog.table.to_dict("records")
    names = database.catalog.table["individual_id"].tolist()

    def allowed(position: int) -> npt.NDArray[np.bool_]:
        copies = database.contents == queries.contents[position]
        return filter_of(rule).mask_for(rows[position], database.catalog, same_content=copies)

    # Never "new" here: where it stands is decided below.
    settings = KnnSettings(max_distance=2.5, min_confidence=-2.0, top=TOP)
    head = knn_head(queries.catalog.ids, queries.vectors, database.vectors, names, settings, allowed)
    head = head[head["individual_id"] != NEW_INDIVIDUAL]
    lists = head.groupby("query_id", sort=False)["individual_id"].agg(list)
    cosines = [
        database.vectors[allowed(i)].astype(np.float64) @ queries.vectors[i].astype(np.float64)
        for i in range(len(queries))
    ]
    nearest = np.array([(1.0 - found).min(initial=2.0) for found in cosines])

    def predictions(threshold: float) -> list[list[str]]:
        found = [lists.get(query, []) for query in queries.catalog.ids]
        first = nearest > threshold
        return [[*([NEW_INDIVIDUAL] if new else []), *names][:TOP] for new, names in zip(first, found, strict=True)]

    return Decision(nearest, predictions)


def at(decision: Decision, threshold: float, truth: Sequence[str]) -> Earned:
    """Return what each query earns at one threshold."""
    lists = decision.predictions(threshold)
    gain = [reciprocal_rank(labels, label, TOP) for labels, label in zip(lists, truth, strict=True)]
    return Earned(np.array(gain), decision.evidence > threshold)


def on_folds(
    decision: Decision, truth: Sequence[str], who: npt.NDArray[np.str_], seed: int
) -> tuple[Earned, list[float]]:
    """Search the threshold of the best MAP@5 on the other folds of whales; the balanced accuracy's is its own."""
    is_new = np.array([label == NEW_INDIVIDUAL for label in truth])
    thresholds = np.unique(np.quantile(decision.evidence, np.linspace(0, 1, 41)))
    tried = [at(decision, float(t), truth) for t in thresholds]
    # New and known whales are dealt apart, so that every fold holds both.
    fold_of: dict[str, int] = {}
    for kind in (True, False):
        fold_of |= assign_folds(who[is_new == kind], np.ones(int((is_new == kind).sum())), FOLDS, seed)
    fold = np.array([fold_of[name] for name in who])
    gain, called, chosen = np.zeros(len(who)), np.zeros(len(who), bool), []
    for number in np.unique(fold):
        others, mine = fold != number, fold == number
        best = int(np.argmax([one.gain[others].mean() for one in tried]))
        fair = int(np.argmax([balanced_accuracy(is_new[others], one.called_new[others]) for one in tried]))
        gain[mine], called[mine] = tried[best].gain[mine], tried[fair].called_new[mine]
        chosen.append(float(thresholds[best]))
    return Earned(gain, called), chosen


def full(result: Result[NewIndividualFigures]) -> str:
    """Return the table, and what the folds chose."""
    figures = result.figures
    rows = [
        [
            f"{RULES[d.rule].removesuffix(' matches')} ({d.queries} queries, {d.new} new)",  # type: ignore[index]
            d.decision,
            *(markdown.interval(value) for value in (d.auroc, d.balanced_accuracy, d.map5)),
            markdown.change(d.gain_over_seed),
        ]
        for d in figures.decisions
    ]
    for row, head in zip(rows, markdown.only_once(row[0] for row in rows), strict=True):
        row[0] = head
    heads = [
        "matches that count",
        "decision",
        "AUROC of new",
        "balanced accuracy known/new",
        "MAP@5",
        "beside the seed's",
    ]
    words = []
    for rule, chosen in figures.searched.items():
        distances, odds = (", ".join(f"{v:.2f}" for v in values) for values in (chosen.distance, chosen.new_odds))
        words.append(f"{rule.replace('_', ' ')}: distances {distances}; odds {odds}")
    footing = "A third of the queries have no match; 95 % intervals over whales. Chosen on folds of whales, "
    return f"{markdown.table(heads, rows)}\n\n{footing}{'. '.join(words)}."


MEASUREMENT = Measurement(
    title="New individuals",
    figures=NewIndividualFigures,
    measure=measure,
    full=full,
    queries=240,
    ranker=True,
)
