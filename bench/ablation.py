"""What each kind of evidence adds to the ranker, and whether the date helps beyond the day.

::

    python -m bench.ablation CATALOG --pairs pairs.npz [--store DIR] [--queries 160] [--result ablation]

The ranker's recipe (LightGBM) is fitted anew, out of fold, without each group of features, with each group alone, and
without anything that the date says. Every recipe answers the same queries in all protocols: all matches, those of other
encounters, of other days, of other years; differences come with 95 % intervals over whales (paired bootstrap).

Cost: gathering the pairs (:mod:`bench.pair_file`), then under half a minute a recipe (15 of them) on one core.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from bench.machine import write_result
from bench.out_of_fold import matcher_from
from bench.pair_file import add_options, pairs_from, protocol_from
from bench.progress import say
from bench.recipes import PROTOCOLS, Questions, out_of_fold, per_query, prepare
from reranker.feature_registry import FEATURE_NAMES, FEATURES, GROUPS
from reranker.metrics import bootstrap_by_group, paired_bootstrap
from reranker.ranker import RankerSettings

ALL = "all evidence"
NO_DATE = "without the date"
NO_SUPPORT = "without the support of the list"
DATE_FEATURES = ("date_gap_days_log1p", "same_day", "season_gap", "years_apart")
#: Which questions a figure is over: name -> prefixes of the tasks' names.
PARTS = {
    "top: all years": ("top: all years|",),
    "lateral <-> top": ("lateral -> top|", "top -> lateral|"),
    "every": ("",),
}


def recipes() -> dict[str, tuple[str, ...]]:
    """Return recipe -> features that it may not see."""
    group_of = {entry.name: entry.group for entry in FEATURES}
    hidden: dict[str, tuple[str, ...]] = {ALL: ()}
    for group in GROUPS:
        hidden[f"without {group}"] = tuple(name for name in FEATURE_NAMES if group_of[name] == group)
    hidden[NO_SUPPORT] = ()
    hidden[NO_DATE] = DATE_FEATURES
    for group in GROUPS:
        hidden[f"{group} alone"] = tuple(name for name in FEATURE_NAMES if group_of[name] != group)
    hidden["date alone"] = tuple(name for name in FEATURE_NAMES if name not in DATE_FEATURES)
    return hidden


def run(questions: Questions, settings: RankerSettings, tell: Callable[[str], None] = say) -> dict[str, Any]:
    """Fit every recipe and return the figures as JSON-ready values."""
    earned: dict[str, dict[str, pd.DataFrame]] = {}
    for name, hidden in recipes().items():
        # One kind of evidence alone: the support of the list would bring in the global descriptor.
        alone = name == NO_SUPPORT or name.endswith(" alone")
        scores = out_of_fold(questions, settings, hidden, rescoring=not alone)
        by_cosine = "cosine" not in hidden
        earned[name] = {p: per_query(t, scores[p], by_cosine=by_cosine) for p, t in questions.tables.items()}
        tell(f"{name}: mAP@20 of all questions {earned[name]['all']['ap'].mean():.3f}")
    records = []
    for recipe, tables in earned.items():
        for protocol, table in tables.items():
            for part, prefixes in PARTS.items():
                chosen = table["query_id"].str.startswith(prefixes).to_numpy(bool)
                if chosen.any():
                    record = {"recipe": recipe, "protocol": protocol, "part": part}
                    records.append(record | _figures(table[chosen], earned[ALL][protocol][chosen]))
    return {"recipes": records, "features": {name: len(FEATURE_NAMES) - len(h) for name, h in recipes().items()}}


def _figures(table: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    who = table["individual"].to_numpy(str)
    values, full = table["ap"].to_numpy(float), reference["ap"].to_numpy(float)
    return {
        "queries": len(table),
        "individuals": int(table["individual"].nunique()),
        "map20": bootstrap_by_group(values, who)._asdict(),
        "top1": float(table["top1"].mean()),
        "difference": paired_bootstrap(values, full, who)._asdict(),
    }


def render(figures: dict[str, Any], part: str = "top: all years") -> str:
    """Return the table as Markdown: recipes down, protocols across, each beside its difference to all evidence."""
    records = {(r["recipe"], r["protocol"]): r for r in figures["recipes"] if r["part"] == part}
    protocols = [name for name in PROTOCOLS if (ALL, name) in records]
    heads = [f"{PROTOCOLS[p]} ({records[ALL, p]['queries']})" for p in protocols]
    lines = [f"| evidence | {' | '.join(heads)} |", "|---" * (len(protocols) + 1) + "|"]
    for recipe in dict.fromkeys(name for name, _ in records):
        cells = [_cell(records[recipe, p], recipe == ALL) for p in protocols]
        lines.append(f"| {recipe} | {' | '.join(cells)} |")
    footing = (
        f"mAP@20 ({part}; number of queries in brackets) and its difference to all evidence with 95 % intervals over "
        "whales; out of fold. On other days and years the matches in the lists count."
    )
    return "\n".join([*lines, "", date_in_words(figures, part), "", footing])


def _cell(record: dict[str, Any], is_reference: bool) -> str:
    mean = f"{record['map20']['mean']:.3f}"
    return f"**{mean}**" if is_reference else f"{mean} ({_signed(record['difference'])})"


def _signed(value: dict[str, float]) -> str:
    return "{mean:+.3f}: {low:+.3f} … {high:+.3f}".format(**value)


def date_in_words(figures: dict[str, Any], part: str) -> str:
    """Say what the date adds in every protocol, and whether that reaches beyond the day."""
    found = {r["protocol"]: r for r in figures["recipes"] if r["part"] == part and r["recipe"] == NO_DATE}
    words = []
    for protocol, record in found.items():
        loss = record["difference"]
        gain = {"mean": -loss["mean"], "low": -loss["high"], "high": -loss["low"]}
        words.append(f"{PROTOCOLS[protocol]} {_signed(gain)}")
    beyond = [p for p in ("other_day", "other_year") if p in found and found[p]["difference"]["high"] < 0]
    verdict = (
        f"it helps beyond the day ({', '.join(PROTOCOLS[p] for p in beyond)})"
        if beyond
        else "beyond the day no gain is certain"
    )
    return f"What the date adds: {'; '.join(words)}: {verdict}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.ablation", description=__doc__.split("\n", 1)[0])
    add_options(parser)
    options = parser.parse_args(arguments)
    settings = RankerSettings(kind="lambdamart")
    figures = run(prepare(pairs_from(options), options.folds, options.seed), settings)
    print(render(figures))
    if options.result:
        protocol = protocol_from(options)
        write_result(
            options.result,
            figures,
            {**matcher_from(options).settings.to_dict(), "ranker": settings.to_dict()},
            protocol,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
