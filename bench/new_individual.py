"""Does the engine notice an animal that is not in the catalogue? Queries of which a third have no match.

::

    python -m bench.new_individual CATALOG [--store DIR] [--queries 240] [--result new_individual]

Whales are drawn in turn; a third of the queries show whales whose every photograph has left the database. Both kinds of
query come from whales that could have been answered, so nothing but the missing photographs tells them apart. Twice:
with all photographs of the others, and without those of the query's own encounter.

Compared: the rule of the second Happywhale seed (k-NN head, "new" where the nearest photograph lies beyond a cosine
distance of 0.62, that is below a confidence of 0.38), the same head with the distance searched on folds of whales, and
the engine's own decision: the calibrated probability that no individual of the catalogue is right, as it is, and with
the odds given beforehand searched on folds of whales. The ranker that answers a whale was trained without it.

Figures: AUROC of "new", balanced accuracy of known/new, MAP@5 with new_individual; intervals over whales.

Cost: two askings of ``--queries`` shortlists (50 pairs each: 24,000 pairs, 10 minutes at 40 a second) and the training
pairs of :mod:`bench.accuracy`; all from the store the second time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.held_out import measured_part
from bench.machine import write_result
from bench.out_of_fold import (
    OutOfFold,
    add_options,
    matcher_from,
    protocol_from,
    rankers_for,
)
from bench.progress import say
from engine.catalogue.catalog import CandidateFilter, Catalog, CatalogError
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
from reranker.metrics import Floats, auc, bootstrap_by_group, paired_bootstrap, reciprocal_rank
from reranker.protocols import assign_folds

RULES = ("all", "other_encounter")
SEED_RULE = "k-NN head, distance 0.62 (the seed's rule)"
KNN_SEARCHED = "k-NN head, distance searched on folds"
CALIBRATED = "engine, calibrated probability"
ODDS_SEARCHED = "engine, odds searched on folds"
TOP = 5


@dataclass(frozen=True)
class Question:
    """Who is asked, and what has left the database.

    Attributes:
        queries: image ids.
        new: the queries' whales without any photograph in the database.
    """

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


def draw_question(catalog: Catalog, count: int, rule: str, seed: int, share: float = 1 / 3) -> Question:
    """Draw queries of whales that could be answered, and choose the whales that leave the database.

    Args:
        catalog: labelled photographs.
        count: queries.
        rule: "all", or "other_encounter": whales seen in one encounter only cannot be asked.
        seed: of the draw.
        share: of the queries whose whale leaves.

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
        before, after = (abs(float(who.isin(names).mean()) - share) for names in (new, {*new, str(name)}))
        if after < before:
            new.add(str(name))
    return Question(tuple(sorted(asked, key=catalog.position)), frozenset(new))


def run(
    catalog: Catalog, rankers: OutOfFold, count: int, seed: int, tell: Callable[[str], None] = say
) -> dict[str, Any]:
    """Ask under both rules and return the figures as JSON-ready values."""
    index = rankers.matcher.index(catalog)
    records: list[dict[str, Any]] = []
    searched: dict[str, Any] = {}
    for rule in RULES:
        question = draw_question(index.catalog, count, rule, seed)
        tell(f"{rule}: {len(question.queries)} queries, {len(question.new)} whales taken out of the database")
        found, chosen = judge(question, index, rankers, rule, seed)
        records += found
        searched[rule] = chosen
    return {"decisions": records, "searched": searched}


def judge(
    question: Question, index: CatalogIndex, rankers: OutOfFold, rule: str, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return one record per way of answering, and the thresholds that the folds chose."""
    table = index.catalog.table
    database = index.subset(table.loc[~table["individual_id"].isin(question.new), "image_id"].tolist())
    queries = index.subset(list(question.queries))
    candidates = CandidateFilter(exclude_encounter=rule != "all")
    raw = rankers.matcher.pairs(queries, database, candidates)
    matches = raw.groupby("query_id")["n_true"].first()
    who = queries.catalog.table["individual_id"].to_numpy(str)
    is_new = np.isin(who, sorted(question.new))
    # A known whale whose every other photograph is of the query's own hour, under another encounter's name.
    answerable = is_new | (pd.Series(queries.catalog.ids).map(matches).fillna(0).to_numpy() > 0)
    rows = np.flatnonzero(answerable)
    queries, who, is_new = queries.take(rows), who[rows], is_new[rows]
    truth = [NEW_INDIVIDUAL if new else str(name) for new, name in zip(is_new, who, strict=True)]
    answers = rankers.rank(raw[raw["query_id"].isin(queries.catalog.ids)], rankers.matcher.settings.shortlist.size)
    engine = by_engine(answers, queries.catalog.ids)
    nearest = by_knn(queries, database, candidates)
    # The engine's evidence is ln(odds of new); 0 is "as it is".
    knn_values, knn_limits = _on_folds(nearest, truth, who, seed)
    own_values, own_limits = _on_folds(engine, truth, who, seed)
    ways = {
        SEED_RULE: _at(nearest, KnnSettings().max_distance, truth),
        KNN_SEARCHED: knn_values,
        CALIBRATED: _at(engine, 0.0, truth),
        ODDS_SEARCHED: own_values,
    }
    evidence = {SEED_RULE: nearest, KNN_SEARCHED: nearest, CALIBRATED: engine, ODDS_SEARCHED: engine}
    base = ways[SEED_RULE]
    records = []
    for name, earned in ways.items():
        record: dict[str, Any] = {"rule": rule, "decision": name, "queries": len(who), "new": int(is_new.sum())}
        record["individuals"] = len(set(who))
        record["auroc"] = _auroc(evidence[name].evidence, is_new, who, seed)
        record["balanced_accuracy"] = _balanced(earned["right"], is_new, who, seed)
        record["map5"] = bootstrap_by_group(earned["gain"], who)._asdict()
        record["gain_over_seed"] = paired_bootstrap(earned["gain"], base["gain"], who)._asdict()
        records.append(record)
    return records, {"distance": knn_limits, "new_odds": [float(np.exp(-limit)) for limit in own_limits]}


def by_engine(answers: pd.DataFrame, queries: Sequence[str]) -> Decision:
    """Return the engine's decision; at threshold t, "new" has the odds exp(-t) beforehand."""
    ranked = rank_individuals(answers)
    new = new_individual_probability(answers, queries, ranked)
    p = np.clip(new.to_numpy(float), 1e-12, 1 - 1e-12)

    def predictions(threshold: float) -> list[list[str]]:
        placed = place_new_individual(ranked, new, IdentifySettings(top=TOP, new_odds=float(np.exp(-threshold))))
        lists = placed.groupby("query_id", sort=False)["individual_id"].agg(list)
        return [lists[query] for query in queries]

    return Decision(np.log(p) - np.log1p(-p), predictions)


def by_knn(queries: CatalogIndex, database: CatalogIndex, candidates: CandidateFilter) -> Decision:
    """Return the k-NN head's decision; "new" comes first where the nearest photograph is farther than the threshold."""
    rows = queries.catalog.table.to_dict("records")
    names = database.catalog.table["individual_id"].tolist()

    def allowed(position: int) -> npt.NDArray[np.bool_]:
        copies = database.contents == queries.contents[position]
        return candidates.mask_for(rows[position], database.catalog, same_content=copies)

    # Never "new" here: where it stands is decided below.
    settings = KnnSettings(max_distance=2.5, min_confidence=-2.0, top=TOP)
    head = knn_head(queries.catalog.ids, queries.vectors, database.vectors, names, settings, allowed)
    head = head[head["individual_id"] != NEW_INDIVIDUAL]
    lists = head.groupby("query_id", sort=False)["individual_id"].agg(list)
    vectors = database.vectors.astype(np.float64)
    nearest = np.array(
        [
            (1.0 - vectors[allowed(i)] @ queries.vectors[i].astype(np.float64)).min(initial=2.0)
            for i in range(len(queries))
        ]
    )

    def predictions(threshold: float) -> list[list[str]]:
        found = [lists.get(query, []) for query in queries.catalog.ids]
        first = nearest > threshold
        return [[*([NEW_INDIVIDUAL] if new else []), *names][:TOP] for new, names in zip(first, found, strict=True)]

    return Decision(nearest, predictions)


def _at(decision: Decision, threshold: float, truth: Sequence[str]) -> dict[str, Floats]:
    """Return what each query earns at one threshold: reciprocal place, and whether known/new is decided rightly."""
    lists = decision.predictions(threshold)
    gain = [reciprocal_rank(labels, label, TOP) for labels, label in zip(lists, truth, strict=True)]
    is_new = np.array([label == NEW_INDIVIDUAL for label in truth])
    return {"gain": np.array(gain), "right": ((decision.evidence > threshold) == is_new).astype(float)}


def _on_folds(
    decision: Decision, truth: Sequence[str], who: npt.NDArray[np.str_], seed: int, folds: int = 5
) -> tuple[dict[str, Floats], list[float]]:
    """Search the threshold of the best MAP@5 on the other folds of whales; the balanced accuracy's is its own."""
    is_new = np.array([label == NEW_INDIVIDUAL for label in truth])
    thresholds = np.unique(np.quantile(decision.evidence, np.linspace(0, 1, 41)))
    tried = [_at(decision, float(t), truth) for t in thresholds]
    gains, rights = (np.stack([entry[name] for entry in tried]) for name in ("gain", "right"))
    # New and known whales are dealt apart, so that every fold holds both.
    fold_of: dict[str, int] = {}
    for kind in (True, False):
        names = who[is_new == kind]
        fold_of |= assign_folds(names, np.ones(len(names)), folds, seed)
    fold = np.array([fold_of[name] for name in who])
    earned = {"gain": np.zeros(len(who)), "right": np.zeros(len(who))}
    chosen = []
    for number in np.unique(fold):
        others, mine = fold != number, fold == number
        best = int(gains[:, others].mean(axis=1).argmax())
        classes = [rights[:, others & (is_new == kind)] for kind in (True, False)]
        fair = int(np.mean([part.mean(axis=1) for part in classes if part.shape[1]], axis=0).argmax())
        earned["gain"][mine], earned["right"][mine] = gains[best, mine], rights[fair, mine]
        chosen.append(float(thresholds[best]))
    return earned, chosen


def _auroc(evidence: Floats, is_new: npt.NDArray[np.bool_], who: npt.NDArray[np.str_], seed: int) -> dict[str, float]:
    return _resampled(lambda rows: auc(evidence[rows], is_new[rows]), is_new, who, seed)


def _balanced(right: Floats, is_new: npt.NDArray[np.bool_], who: npt.NDArray[np.str_], seed: int) -> dict[str, float]:
    def value(rows: npt.NDArray[np.intp]) -> float:
        return float((right[rows][is_new[rows]].mean() + right[rows][~is_new[rows]].mean()) / 2)

    return _resampled(value, is_new, who, seed)


def _resampled(
    value: Callable[[npt.NDArray[np.intp]], float],
    is_new: npt.NDArray[np.bool_],
    who: npt.NDArray[np.str_],
    seed: int,
    n: int = 500,
) -> dict[str, float]:
    """Return a figure over queries with the 95 % interval of resampled whales, new and known ones apart."""
    rng = np.random.default_rng(seed)
    rows_of = {name: np.flatnonzero(who == name) for name in np.unique(who)}
    classes = [[name for name, rows in rows_of.items() if is_new[rows[0]] == kind] for kind in (True, False)]
    values = []
    for _ in range(n):
        drawn = [rows_of[names[i]] for names in classes for i in rng.integers(0, len(names), len(names))]
        values.append(value(np.concatenate(drawn)))
    low, high = np.quantile(values, [0.025, 0.975])
    return {"mean": value(np.arange(len(who))), "low": float(low), "high": float(high)}


def render(figures: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    lines = [
        "| matches that count | decision | AUROC of new | balanced accuracy known/new | MAP@5 | beside the seed's |",
        "|---|---|---|---|---|---|",
    ]
    last = None
    for r in figures["decisions"]:
        rule = {"all": "all", "other_encounter": "other encounters"}[r["rule"]]
        head = f"{rule} ({r['queries']} queries, {r['new']} new)" if r["rule"] != last else ""
        last = r["rule"]
        cells = ["{mean:.3f} ({low:.3f}–{high:.3f})".format(**r[n]) for n in ("auroc", "balanced_accuracy", "map5")]
        gain = "{mean:+.3f} ({low:+.3f} … {high:+.3f})".format(**r["gain_over_seed"])
        lines.append(f"| {head} | {r['decision']} | {' | '.join(cells)} | {gain} |")
    words = []
    for rule, chosen in figures["searched"].items():
        distances, odds = (", ".join(f"{v:.2f}" for v in chosen[n]) for n in ("distance", "new_odds"))
        words.append(f"{rule.replace('_', ' ')}: distances {distances}; odds {odds}")
    footing = "A third of the queries have no match; 95 % intervals over whales. Chosen on folds of whales, "
    return "\n".join([*lines, "", f"{footing}{'. '.join(words)}."])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.new_individual", description=__doc__.split("\n", 1)[0])
    add_options(parser)
    parser.add_argument("--queries", type=int, default=240, help="queries under each rule (240)")
    options = parser.parse_args(arguments)
    matcher = matcher_from(options)
    catalog = measured_part(Catalog.read(options.catalog), options.individuals)
    rankers = rankers_for(options.ranker, catalog, matcher, options.training_queries, options.folds, options.seed, say)
    figures = run(catalog, rankers, options.queries, options.seed)
    print(render(figures))
    if options.result:
        protocol = {**protocol_from(options), "queries": options.queries, "share_new": 1 / 3}
        write_result(options.result, figures, matcher.settings.to_dict(), protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
