"""Protocols beyond the challenge: what a biologist asks, measured through the public API.

::

    python -m bench.beyond CATALOG [--store DIR] [--queries 60] [--result beyond]

* **Time forward**: the catalogue is all that was photographed from above before the last year; each encounter of the
  last year is a question. Its animal is known or new, and the engine must say which, and who.
* **Encounters against single photographs**: all photographs of an encounter as one question, beside its photographs
  asked alone; the own encounter is left out of the catalogue.
* **Photographs per individual**: the catalogue keeps k = 1, 2, 4, 8 of everybody's (fewer where there are not so many).
* **Size of the catalogue**: a quarter, half, all of the individuals; the questions stay those of the first quarter.

The last three leave out the query's own encounter. Intervals (95 %) are over whales. ``--queries`` bounds the questions
of each; an encounter asks with at most five photographs. With 60 about 55,000 pairs, some 20 minutes on two cores;
pairs lie in the store, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench.held_out import measured_part
from bench.machine import write_result
from bench.out_of_fold import OutOfFold, add_options, matcher_from, protocol_from, rankers_for
from bench.progress import Say, say
from bench.protocols import Protocol, evaluate, select, years_of
from engine.catalogue.catalog import CandidateFilter, Catalog
from engine.catalogue.index import CatalogIndex
from engine.search.individuals import NEW_INDIVIDUAL, new_individual_probability, rank_encounters, rank_individuals
from engine.training.ranker_training import in_turn
from reranker.metrics import Interval, auc, balanced_accuracy, bootstrap_by_group, paired_bootstrap

PER_INDIVIDUAL = (1, 2, 4, 8)
SHARES = (0.25, 0.5, 1.0)
#: Photographs that an encounter asks with: more of one minute say the same again and cost as much.
PER_QUESTION = 5
OTHER = CandidateFilter(exclude_encounter=True)


def run(index: CatalogIndex, judges: OutOfFold, queries: int, seed: int, say: Say) -> dict[str, Any]:
    """Run every protocol that the catalogue has photographs for; return JSON-ready figures."""
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "time_forward": lambda: time_forward(index, judges, queries, seed),
        "encounters": lambda: encounter_questions(index, judges, queries, seed),
        "per_individual": lambda: photographs_per_individual(index, judges, queries, seed),
        "catalogue_size": lambda: catalogue_size(index, judges, queries, seed),
    }
    figures: dict[str, Any] = {
        "photographs": len(index),
        "individuals": int(index.catalog.table["individual_id"].nunique()),
    }
    for name, measure in parts.items():
        say(name.replace("_", " "))
        figures[name] = measure()
    return figures


# --- time forward -----------------------------------------------------------------------------------------------------


def time_forward(index: CatalogIndex, judges: OutOfFold, count: int, seed: int) -> dict[str, Any]:
    """Ask every encounter of the last year of a catalogue of the years before; half known, half new animals if it can.

    The verdict is "new" where that is more probable than any individual.
    """
    years = years_of(index.catalog)
    if len(years) < 2:
        return {"left_out": "there is one year only"}
    database = select(index.catalog, ("top",), years[:-1])
    table = index.catalog.subset(select(index.catalog, ("top",), years[-1:])).table
    catalogued = set(index.catalog.subset(database).table["individual_id"])
    table = table[table["encounter_id"].notna()].assign(known=lambda t: t["individual_id"].isin(catalogued))
    chosen = [
        _encounters(table[table["known"] == known], count - count // 2 if known else count // 2, seed)
        for known in (True, False)
    ]
    asked = table[table["encounter_id"].isin([name for names in chosen for name in names])]
    if asked["known"].nunique() < 2:
        return {"left_out": f"{years[-1]} has no known or no new animals"}
    asked = _few_each(asked, seed)
    answers = judges.answers(index.subset(asked["image_id"].tolist()), index.subset(list(database)))
    questions = dict(zip(asked["image_id"], asked["encounter_id"], strict=True))
    first = asked.drop_duplicates("encounter_id")
    return {
        "catalogue": f"{years[0]}–{years[-2]}" if len(years) > 2 else str(years[0]),
        "year": years[-1],
        "database": len(database),
        "catalogued": len(catalogued),
        "encounter": _verdicts(first.set_index("encounter_id"), rank_encounters(answers, questions), answers, seed),
        "photograph": _verdicts(asked.set_index("image_id"), rank_individuals(answers), answers, seed),
    }


def _verdicts(truth: pd.DataFrame, ranked: pd.DataFrame, answers: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Judge "new or known" and, of the known, who; ``truth`` has individual_id and known by question."""
    new = new_individual_probability(answers, truth.index.tolist(), ranked)
    best = ranked[ranked["rank"] == 1].set_index("query_id").reindex(truth.index)
    who = truth["individual_id"].to_numpy(str)
    judged = pd.DataFrame(
        {
            "is_new": ~truth["known"].to_numpy(bool),
            "p_new": new.reindex(truth.index).to_numpy(float),
            "called_new": (new.reindex(truth.index) > best["probability"].fillna(0.0)).to_numpy(bool),
            "right": best["individual_id"].to_numpy(object) == truth["individual_id"].to_numpy(object),
            "gain5": _gains(ranked, truth["individual_id"]).to_numpy(float),
        }
    )
    known = ~judged["is_new"].to_numpy()
    named = np.where(judged["called_new"], NEW_INDIVIDUAL, best["individual_id"].fillna("").to_numpy(object))
    wanted = np.where(judged["is_new"], NEW_INDIVIDUAL, truth["individual_id"].to_numpy(object))
    return {
        "known": int(known.sum()),
        "new": int((~known).sum()),
        "individuals": len(set(who)),
        "auroc": _resampled(judged, who, lambda t: auc(t["p_new"].to_numpy(), t["is_new"].to_numpy()), seed)._asdict(),
        "balanced_accuracy": _resampled(
            judged, who, lambda t: balanced_accuracy(t["is_new"].to_numpy(), t["called_new"].to_numpy()), seed
        )._asdict(),
        "new_called_new": bootstrap_by_group(judged["called_new"].to_numpy(float)[~known], who[~known])._asdict(),
        "known_called_new": bootstrap_by_group(judged["called_new"].to_numpy(float)[known], who[known])._asdict(),
        "top1_of_known": bootstrap_by_group(judged["right"].to_numpy(float)[known], who[known])._asdict(),
        "map5_of_known": bootstrap_by_group(judged["gain5"].to_numpy(float)[known], who[known])._asdict(),
        "right_answer": bootstrap_by_group((named == wanted).astype(float), who)._asdict(),
    }


def _resampled(
    table: pd.DataFrame, groups: np.ndarray, statistic: Callable[[pd.DataFrame], float], seed: int, n: int = 1000
) -> Interval:
    """Return a statistic of a table with its percentile interval over resampled groups (see bootstrap_by_group).

    A resample in which everybody is known, or everybody new, has no such statistic and is drawn again.
    """
    names, codes = np.unique(groups, return_inverse=True)
    rows = [np.flatnonzero(codes == code) for code in range(len(names))]
    rng = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < n:
        drawn = np.concatenate([rows[i] for i in rng.integers(0, len(names), len(names))])
        sample = table.iloc[drawn]
        if sample["is_new"].nunique() == 2:
            values.append(statistic(sample))
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(statistic(table), float(low), float(high))


# --- encounters against single photographs ----------------------------------------------------------------------------


def encounter_questions(index: CatalogIndex, judges: OutOfFold, count: int, seed: int) -> dict[str, Any]:
    """Ask encounters of several photographs as one question, and each of their photographs alone."""
    database = select(index.catalog, ("top",))
    table = index.catalog.subset(database).table
    table = table[table["encounter_id"].notna()]
    several = table.groupby("encounter_id")["image_id"].transform("size") > 1
    elsewhere = table.groupby("individual_id")["encounter_id"].transform("nunique") > 1
    askable = table[several & elsewhere]
    asked = askable[askable["encounter_id"].isin(_encounters(askable, count, seed))]
    if asked.empty:
        return {"left_out": "no whale has an encounter of several photographs and another one"}
    asked = _few_each(asked, seed)
    answers = judges.answers(index.subset(asked["image_id"].tolist()), index.subset(list(database)), OTHER)
    questions = dict(zip(asked["image_id"], asked["encounter_id"], strict=True))
    first = asked.drop_duplicates("encounter_id").set_index("encounter_id")["individual_id"]
    single = asked.set_index("image_id")["individual_id"]
    together, alone = rank_encounters(answers, questions), rank_individuals(answers)
    who = first.to_numpy(str)
    figures: dict[str, Any] = {"questions": len(first), "photographs": len(asked), "individuals": len(set(who))}
    for name, gain in (("top1", _firsts), ("map5", _gains)):
        whole = gain(together, first)
        # The mean over an encounter's photographs, so that both ways weigh every encounter once.
        parts = gain(alone, single).groupby(asked.set_index("image_id")["encounter_id"]).mean().reindex(whole.index)
        figures[name] = {
            "encounter": bootstrap_by_group(whole.to_numpy(), who)._asdict(),
            "photograph": bootstrap_by_group(parts.to_numpy(), who)._asdict(),
            "gain": paired_bootstrap(whole.to_numpy(), parts.to_numpy(), who)._asdict(),
        }
    return figures


# --- size of the catalogue --------------------------------------------------------------------------------------------


def photographs_per_individual(index: CatalogIndex, judges: OutOfFold, count: int, seed: int) -> dict[str, Any]:
    """Ask the same queries of catalogues with at most 1, 2, 4, 8 photographs of each individual (each within the next).

    A query's individual is represented by photographs of other encounters than the query's, so that every query can be
    answered from every catalogue.
    """
    table = index.catalog.subset(select(index.catalog, ("top",))).table
    queries = _one_each(table, count, seed)
    if not queries:
        return {"left_out": "no whale was seen in two encounters"}
    rng = np.random.default_rng(seed)
    shuffled = table.iloc[rng.permutation(len(table))]
    own = set(index.catalog.subset(queries).table["encounter_id"])
    kept = shuffled[~shuffled["encounter_id"].isin(own) & ~shuffled["image_id"].isin(queries)]
    turns = kept.groupby("individual_id").cumcount()
    records = []
    for k in PER_INDIVIDUAL:
        database = kept["image_id"][turns < k].tolist()
        records.append({"k": k, **_closed(index, judges, queries, database)})
    return {"queries": len(queries), "records": records}


def catalogue_size(index: CatalogIndex, judges: OutOfFold, count: int, seed: int) -> dict[str, Any]:
    """Ask the same queries of catalogues with a quarter, half and all of the individuals (each within the next)."""
    table = index.catalog.subset(select(index.catalog, ("top",))).table
    names = np.unique(table["individual_id"].to_numpy(str))
    order = np.random.default_rng(seed).permutation(names).tolist()
    parts = {share: set(order[: max(1, round(share * len(order)))]) for share in SHARES}
    queries = _one_each(table[table["individual_id"].isin(parts[SHARES[0]])], count, seed)
    if not queries:
        return {"left_out": "no whale of the first quarter was seen in two encounters"}
    records = []
    for share, individuals in parts.items():
        database = table["image_id"][table["individual_id"].isin(individuals)].tolist()
        records.append({"share": share, "catalogued": len(individuals), **_closed(index, judges, queries, database)})
    return {"queries": len(queries), "records": records}


def _closed(index: CatalogIndex, judges: OutOfFold, queries: list[str], database: list[str]) -> dict[str, Any]:
    """Ask queries whose individual is in the database, without their own encounters; return figures over whales."""
    database = sorted(database, key=index.catalog.position)
    answers = judges.answers(index.subset(queries), index.subset(database), OTHER)
    truth = index.catalog.subset(queries).table.set_index("image_id")["individual_id"]
    ranked, who = rank_individuals(answers), truth.to_numpy(str)
    scores = answers[["query_id", "image_id", "probability"]].set_axis(["query_id", "candidate_id", "score"], axis=1)
    protocol = Protocol("beyond", tuple(queries), tuple(database), "other_encounter")
    return {
        "database": len(database),
        "map20": evaluate(scores, protocol, index.catalog).summary()["map20"],
        "top1": bootstrap_by_group(_firsts(ranked, truth).to_numpy(), who)._asdict(),
        "map5": bootstrap_by_group(_gains(ranked, truth).to_numpy(), who)._asdict(),
    }


def _one_each(table: pd.DataFrame, count: int, seed: int) -> list[str]:
    """Return one photograph of each of some individuals that were seen in another encounter too."""
    table = table[table["encounter_id"].notna()]
    several = table[table.groupby("individual_id")["encounter_id"].transform("nunique") > 1]
    if several.empty:
        return []
    limit = min(count, several["individual_id"].nunique())
    return sorted(in_turn(several[["image_id", "individual_id"]], limit, seed))


# --- shared -----------------------------------------------------------------------------------------------------------


def _encounters(table: pd.DataFrame, count: int, seed: int) -> list[str]:
    """Return some encounters, individuals in turn."""
    first = table.drop_duplicates("encounter_id")
    chosen = in_turn(first[["image_id", "individual_id"]], count, seed) if len(first) else []
    return first["encounter_id"][first["image_id"].isin(chosen)].tolist()


def _few_each(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return at most :data:`PER_QUESTION` photographs of each encounter, in the order of the table."""
    shuffled = table.iloc[np.random.default_rng(seed).permutation(len(table))]
    return shuffled[shuffled.groupby("encounter_id").cumcount() < PER_QUESTION].sort_index()


def _gains(ranked: pd.DataFrame, truth: pd.Series) -> pd.Series:
    """Return, for each question of ``truth`` (question -> individual), 1 / place of its individual among five, or 0."""
    right = ranked[(ranked["rank"] <= 5) & (ranked["query_id"].map(truth) == ranked["individual_id"])]
    return (1.0 / right.set_index("query_id")["rank"]).reindex(truth.index).fillna(0.0)


def _firsts(ranked: pd.DataFrame, truth: pd.Series) -> pd.Series:
    """Return 1.0 where a question's first individual is right."""
    return (_gains(ranked, truth) == 1.0).astype(float)


def render(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown, one table a protocol."""
    parts = [
        "**A later year** (time forward)",
        _or_reason(figures["time_forward"], _time_table),
        "**All photographs of an encounter as one question**, own encounter left out",
        _or_reason(figures["encounters"], _encounter_table),
        "**Photographs of each individual in the catalogue**, own encounter left out",
        _or_reason(figures["per_individual"], lambda f: _size_table(f, "at most", lambda r: str(r["k"]))),
        "**Size of the catalogue**, own encounter left out",
        _or_reason(
            figures["catalogue_size"], lambda f: _size_table(f, "individuals", lambda r: f"{r['catalogued']:,}")
        ),
    ]
    return "\n\n".join(parts)


def _or_reason(figures: dict[str, Any], table: Callable[[dict[str, Any]], str]) -> str:
    return f"Left out: {figures['left_out']}." if "left_out" in figures else table(figures)


def _time_table(f: dict[str, Any]) -> str:
    lines = [
        "| question | known / new | AUROC of “new” | balanced accuracy | new called new | known called new "
        "| of the known: right individual first | MAP@5 | right answer, “new” included |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in ("encounter", "photograph"):
        r = f[name]
        figures = ("new_called_new", "known_called_new", "top1_of_known", "map5_of_known", "right_answer")
        cells = [_interval(r["auroc"]), _interval(r["balanced_accuracy"]), *(_interval(r[key]) for key in figures)]
        lines.append(f"| {name} | {r['known']} / {r['new']} | " + " | ".join(cells) + " |")
    where = f"{f['year']} asked of {f['catalogue']}: {f['database']:,} photographs of {f['catalogued']:,} individuals."
    return "\n".join([*lines, "", where])


def _encounter_table(f: dict[str, Any]) -> str:
    lines = ["| figure | one photograph | the encounter | gain |", "|---|---|---|---|"]
    for key, name in (("top1", "right individual first"), ("map5", "MAP@5")):
        r = f[key]
        gain = "{mean:+.3f} ({low:+.3f} … {high:+.3f})".format(**r["gain"])
        lines.append(f"| {name} | {_interval(r['photograph'])} | {_interval(r['encounter'])} | {gain} |")
    lines += ["", f"{f['questions']} encounters of {f['individuals']} individuals, {f['photographs']} photographs."]
    return "\n".join(lines)


def _size_table(f: dict[str, Any], head: str, first: Callable[[dict[str, Any]], str]) -> str:
    lines = [f"| {head} | photographs | mAP@20 | right individual first | MAP@5 |", "|---|---|---|---|---|"]
    for r in f["records"]:
        cells = [first(r), f"{r['database']:,}", *(_interval(r[key]) for key in ("map20", "top1", "map5"))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"The same {f['queries']} queries in every row."])


def _interval(value: dict[str, float]) -> str:
    return "{mean:.2f} ({low:.2f}–{high:.2f})".format(**value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the protocols from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.beyond", description=__doc__.split("\n", 1)[0])
    add_options(parser)
    parser.add_argument("--queries", type=int, default=60, help="questions of each protocol (60)")
    options = parser.parse_args(arguments)

    matcher = matcher_from(options)
    catalog = measured_part(Catalog.read(options.catalog), options.individuals)
    judges = rankers_for(options.ranker, catalog, matcher, options.training_queries, options.folds, options.seed, say)
    figures = run(matcher.index(catalog), judges, options.queries, options.seed, say)
    matcher.close()
    print(render(figures))
    if options.result:
        protocol = protocol_from(options) | {"queries": options.queries, "photographs_per_question": PER_QUESTION}
        write_result(options.result, figures, matcher.settings.to_dict(), protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
