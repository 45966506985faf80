"""What each kind of evidence adds to the ranker, and whether the date helps beyond the day.

LightGlue is among them where ``--set shortlist.rescore=N`` lets it re-score the best of each list. The ranker's recipe
(LightGBM) is fitted anew, out of fold, without each group of features, with each group alone, and
without anything that the date says. Every recipe answers the same queries in all protocols: all matches, those of other
encounters, of other days, of other years; differences come with 95 % intervals over whales (paired bootstrap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from bench import markdown
from bench.context import Context
from bench.figures import Figures
from bench.lists import judge_lists, with_other_days
from bench.measurement import Measurement
from bench.protocols import BOTH, RULES
from bench.results import Result
from reranker.feature_registry import FEATURE_NAMES, FEATURES
from reranker.out_of_fold import ALONE
from reranker.pair_features import build
from reranker.ranker import RankerSettings
from reranker.training import measured_groups, train_ranker
from reranker.training_settings import TrainingSettings
from scarmatch.metrics import Interval, bootstrap_by_group, paired_bootstrap

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
SHOWN = "top: all years"
KIND: Literal["lambdamart"] = "lambdamart"


@dataclass(frozen=True)
class RecipeFigures:
    """What one recipe earns in one protocol on one part of the questions, and its difference to all evidence."""

    recipe: str
    protocol: str
    part: str
    queries: int
    individuals: int
    map20: Interval
    top1: float
    difference: Interval


@dataclass(frozen=True)
class AblationFigures(Figures):
    """Everything this measurement finds; ``features``: recipe -> number of features that it sees."""

    recipes: tuple[RecipeFigures, ...]
    features: dict[str, int]


def recipes(groups: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return recipe -> features that it may not see; groups are those that anything was measured of."""
    group_of = {entry.name: entry.group for entry in FEATURES}
    hidden: dict[str, tuple[str, ...]] = {ALL: ()}
    for group in groups:
        hidden[f"without {group}"] = tuple(name for name in FEATURE_NAMES if group_of[name] == group)
    hidden[NO_SUPPORT] = ()
    hidden[NO_DATE] = DATE_FEATURES
    for group in groups:
        hidden[f"{group} alone"] = tuple(name for name in FEATURE_NAMES if group_of[name] != group)
    hidden["date alone"] = tuple(name for name in FEATURE_NAMES if name not in DATE_FEATURES)
    return hidden


def measure(context: Context) -> AblationFigures:
    """Fit every recipe out of fold on the same pairs and folds."""
    raw = context.labelled_pairs(context.queries)
    protocols = with_other_days(raw)
    settings = TrainingSettings(kind=KIND, folds=context.options.folds, seed=context.seed)
    context.more_settings["ranker"] = RankerSettings(kind=KIND).to_dict()
    found: list[RecipeFigures] = []
    full_evidence: dict[str, pd.DataFrame] = {}
    asked = recipes(measured_groups(build(protocols["all"])))
    for recipe, hidden in asked.items():
        scores = train_ranker(raw, settings, hidden=hidden, protocols=protocols).scores
        # One kind of evidence alone: the support of the list would bring in the global descriptor.
        method = f"{KIND}{ALONE}" if recipe == NO_SUPPORT or recipe.endswith(" alone") else KIND
        earned = {protocol: judge_lists(frame, method) for protocol, frame in scores.items()}
        full_evidence = full_evidence or earned
        context.say(f"{recipe}: mAP@20 of all questions {earned['all']['ap20'].mean():.3f}")
        for protocol, table in earned.items():
            found += figures_of(recipe, protocol, table, full_evidence[protocol])
    return AblationFigures(tuple(found), {name: len(FEATURE_NAMES) - len(h) for name, h in asked.items()})


def figures_of(recipe: str, protocol: str, table: pd.DataFrame, reference: pd.DataFrame) -> list[RecipeFigures]:
    """Return a recipe's figures on every part of the questions; both tables hold the same queries in one order."""
    found = []
    for part, prefixes in PARTS.items():
        chosen = table.index.str.startswith(prefixes)
        if not chosen.any():
            continue
        who = table["individual"].to_numpy(str)[chosen]
        values, base = (frame["ap20"].to_numpy(float)[chosen] for frame in (table, reference))
        found.append(
            RecipeFigures(
                recipe,
                protocol,
                part,
                int(chosen.sum()),
                len(set(who)),
                bootstrap_by_group(values, who),
                float(table["top1"][chosen].mean()),
                paired_bootstrap(values, base, who),
            )
        )
    return found


def full(result: Result[AblationFigures]) -> str:
    """Return the table: recipes down, protocols across, each beside its difference to all evidence."""
    records = _shown(result.figures)
    protocols = [name for name in RULES if (ALL, name) in records]
    heads = ["evidence", *(f"{RULES[p]} ({records[ALL, p].queries})" for p in protocols)]
    rows = [
        [recipe, *(_cell(records[recipe, protocol]) for protocol in protocols)]
        for recipe in dict.fromkeys(name for name, _ in records)
    ]
    words = (
        f"mAP@20 ({SHOWN}; number of queries in brackets) and its difference to all evidence with 95 % intervals over "
        "whales; out of fold. On other days and years the matches in the lists count."
    )
    return f"{markdown.table(heads, rows)}\n\n{date_in_words(result.figures)}\n\n{words}"


def short(result: Result[AblationFigures]) -> str:
    """Return what leaving out each group costs, from above, and what the date adds."""
    records = _shown(result.figures)
    rules = [rule for rule in BOTH if (ALL, rule) in records]
    names = [ALL] + [n for n in dict.fromkeys(name for name, _ in records) if n.startswith("without")]
    rows = []
    for name in names:
        found = [records[name, rule] for rule in rules]
        rows.append(
            [name, *(f"**{r.map20.mean:.3f}**" if name == ALL else markdown.change(r.difference) for r in found)]
        )
    words = f"mAP@20 out of fold, and its change with 95 % intervals over whales. {date_in_words(result.figures)}"
    return f"{markdown.table(['what the ranker sees', *(RULES[rule] for rule in rules)], rows)}\n\n{words}"


def date_in_words(figures: AblationFigures) -> str:
    """Say what the date adds in every protocol, and whether that reaches beyond the day."""
    losses = {p: r.difference for (recipe, p), r in _shown(figures).items() if recipe == NO_DATE}
    gains = {p: Interval(-loss.mean, -loss.high, -loss.low) for p, loss in losses.items()}
    words = "; ".join(f"{RULES[p]} {_signed(gain)}" for p, gain in gains.items())  # type: ignore[index]
    beyond = [RULES[p] for p in ("other_day", "other_year") if p in gains and gains[p].low > 0]
    verdict = f"it helps beyond the day ({', '.join(beyond)})" if beyond else "beyond the day no gain is certain"
    return f"What the date adds: {words}: {verdict}."


def _shown(figures: AblationFigures) -> dict[tuple[str, str], RecipeFigures]:
    return {(r.recipe, r.protocol): r for r in figures.recipes if r.part == SHOWN}


def _cell(record: RecipeFigures) -> str:
    mean = f"{record.map20.mean:.3f}"
    return f"**{mean}**" if record.recipe == ALL else f"{mean} ({_signed(record.difference)})"


def _signed(value: Interval) -> str:
    return f"{value.mean:+.3f}: {value.low:+.3f} … {value.high:+.3f}"


MEASUREMENT = Measurement(
    title="What each kind of evidence adds",
    figures=AblationFigures,
    measure=measure,
    full=full,
    short=short,
    queries=160,
    folds=True,
)
