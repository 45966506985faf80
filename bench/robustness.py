"""How much worse the answers get when a query's photograph is worse; the catalogue stays as it is.

::

    python -m bench.robustness CATALOG [--store DIR] [--queries 60] [--scorer cosine] [--only blur-1 --only jpeg-20]
                               [--result robustness]

Photographs from above are asked as they are and spoilt in twenty ways (:mod:`bench.degradations`). Spoilt copies lie in
a temporary folder and go through the public API like any new photograph: read, described, matched, ranked. Changes are
paired: the same queries, 95 % intervals over whales. Each comes under two rules: all matches count, or the query's own
encounter is left out of the catalogue.

``--scorer cosine`` needs the global descriptor only and computes no keypoints: per photograph of the catalogue and per
spoilt query about 0.05 s on one core, some three minutes for 1,800 photographs and 60 queries. ``--scorer engine``
measures cosine and the whole engine, out of fold: every query is matched with its shortlists 21 times, about 55 pairs
each, so 60 queries cost 70,000 pairs, half an hour on two cores with a store that knows the catalogue and the pairs of
``bench.accuracy``. Spoilt copies are the same in every run, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import pandas as pd

from bench.degradations import DEGRADATIONS, Degradation, named, spoil
from bench.descriptor import describe_catalog
from bench.held_out import measured_part
from bench.machine import RESULTS, write_result
from bench.out_of_fold import OutOfFold, add_options, matcher_from, protocol_from, rankers_for
from bench.progress import Say, say
from bench.protocols import Protocol as Questions
from bench.protocols import evaluate, select
from bench.relations import Rule
from engine.catalogue.catalog import CandidateFilter, Catalog
from engine.catalogue.index import CatalogIndex, refs_of
from engine.report import drawing
from engine.report.drawing import Label
from engine.report.image_files import save_png
from engine.training.ranker_training import choose_queries
from features.global_descriptor.descriptor import GlobalDescriptor, GlobalSettings
from features.photo import PhotoError, read_photo
from features.records import ByteArray
from reranker.metrics import bootstrap_by_group, paired_bootstrap

RULES: dict[Rule, str] = {"all": "all matches", "other_encounter": "other encounters"}
COSINE, ENGINE = "cosine", "engine"
SCORERS = {COSINE: "cosine alone", ENGINE: "whole engine"}
#: (scorer, rule) -> one row per query: query_id, individual_id, ap20, top1.
Judged = dict[tuple[str, Rule], pd.DataFrame]


class Judge(Protocol):
    """Asks photographs of known individuals of a catalogue, and says what each answer is worth."""

    @property
    def catalog(self) -> Catalog:
        """The photographs that are searched, as far as they can be read."""

    def __call__(self, queries: Catalog) -> Judged:
        """Ask photographs whose ids are those of the catalogue's; a query's namesake never is its answer."""


class CosineJudge:
    """Ranks the catalogue by the global descriptor alone; nothing else is computed."""

    def __init__(self, settings: GlobalSettings, catalog: Catalog, device: str | None = None) -> None:
        self._descriptor = GlobalDescriptor(settings, device)
        self._vectors, ids = describe_catalog(self._descriptor, catalog)
        self.catalog = catalog.subset(ids)

    def __call__(self, queries: Catalog) -> Judged:
        """Return what the cosine is worth."""
        vectors, ids = describe_catalog(self._descriptor, queries)
        return {(COSINE, rule): _by_cosine(vectors, ids, self._vectors, self.catalog, rule) for rule in RULES}


class EngineJudge:
    """Asks the whole engine, each query by rankers that never saw its whale, and the cosine beside it."""

    def __init__(self, index: CatalogIndex, judges: OutOfFold) -> None:
        self._index, self._judges = index, judges
        self.catalog = index.catalog

    def __call__(self, queries: Catalog) -> Judged:
        """Return what the engine and the cosine are worth."""
        matcher = self._judges.matcher
        asked = matcher.index(queries, store=matcher.store_for(self.catalog))
        judged: Judged = {}
        for rule in RULES:
            answers = self._judges.answers(asked, self._index, CandidateFilter(exclude_encounter=rule != "all"))
            scores = answers[["query_id", "image_id", "probability"]]
            scores = scores.set_axis(["query_id", "candidate_id", "score"], axis=1)
            questions = _questions(asked.catalog.ids, self.catalog, rule)
            judged[ENGINE, rule] = evaluate(scores, questions, self.catalog).per_query
            judged[COSINE, rule] = _by_cosine(asked.vectors, asked.catalog.ids, self._index.vectors, self.catalog, rule)
        return judged


def _questions(queries: Sequence[str], catalog: Catalog, rule: Rule) -> Questions:
    return Questions("robustness", tuple(queries), tuple(catalog.ids), rule)


def _by_cosine(
    vectors: np.ndarray, ids: Sequence[str], database: np.ndarray, catalog: Catalog, rule: Rule
) -> pd.DataFrame:
    row_of = {name: row for row, name in enumerate(ids)}

    def scores(asked: list[str], _: list[str]) -> np.ndarray:
        return vectors[[row_of[name] for name in asked]] @ database.T

    return evaluate(scores, _questions(ids, catalog, rule), catalog).per_query


# --- the measurement --------------------------------------------------------------------------------------------------


def run(
    judge: Judge, degradations: Sequence[Degradation], queries: int, seed: int, say: Say, folder: Path
) -> dict[str, Any]:
    """Ask photographs as they are and spoilt; return JSON-ready figures.

    Args:
        judge: asks and judges.
        degradations: the ways of spoiling.
        queries: so many questions, individuals in turn.
        seed: of the choice.
        say: called with each line for the user.
        folder: where spoilt copies are written (one way at a time).
    """
    chosen = judge.catalog.subset(choose_queries(judge.catalog, queries, seed))
    plain = judge(chosen)
    records = [
        {"degradation": "none", "group": "", "label": "as it is", "scorer": s, "rule": r, **_worth(t, t)}
        for (s, r), t in plain.items()
        if len(t)
    ]
    for number, one in enumerate(degradations, start=1):
        say(f"{number}/{len(degradations)}: {one.label}")
        with tempfile.TemporaryDirectory(dir=folder) as where:
            found = judge(spoilt(chosen, one, Path(where)))
        head = {"degradation": one.name, "group": one.group, "label": one.label}
        records += [
            {**head, "scorer": s, "rule": r, **_worth(found[s, r], before)}
            for (s, r), before in plain.items()
            if len(before)
        ]
    return {
        "photographs": len(judge.catalog),
        "individuals": int(judge.catalog.table["individual_id"].nunique()),
        "queries": len(chosen),
        "records": records,
    }


def spoilt(queries: Catalog, degradation: Degradation, folder: Path) -> Catalog:
    """Write spoilt copies of photographs and return the catalogue of them: all that is known of them stays."""
    table = queries.table.copy()
    paths: list[str] = []
    for ref in refs_of(queries):
        copy = folder / f"{len(paths):05d}.png"
        try:
            spoil(read_photo(ref.path, ref.box).rgb, degradation, copy)
        except PhotoError:
            copy = ref.path  # unreadable before: described as such again
        paths.append(str(copy))
    # The box is cut out already, and the size is another now.
    return Catalog(table.drop(columns=["box", "width", "height"]).assign(path=paths), folder)


def _worth(judged: pd.DataFrame, before: pd.DataFrame) -> dict[str, Any]:
    """Return mAP@20 and top-1 with intervals, and their change; a query that could not be asked earns nothing."""
    after = judged.set_index("query_id").reindex(before["query_id"])
    who = before["individual_id"].to_numpy(str)
    figures: dict[str, Any] = {"queries": len(before), "individuals": len(set(who))}
    for name, column in (("map20", "ap20"), ("top1", "top1")):
        new, old = after[column].astype(float).fillna(0.0).to_numpy(), before[column].to_numpy(float)
        figures[name] = bootstrap_by_group(new, who)._asdict()
        figures[f"{name}_change"] = paired_bootstrap(new, old, who)._asdict()
    return figures


# --- table and plot ---------------------------------------------------------------------------------------------------


def render(figures: dict[str, Any]) -> str:
    """Return the table as Markdown: ways of spoiling down, rules and scorers across."""
    records = {(r["degradation"], r["scorer"], r["rule"]): r for r in figures["records"]}
    columns = list(dict.fromkeys((r["rule"], r["scorer"]) for r in figures["records"]))
    columns.sort(key=lambda column: (list(RULES).index(column[0]), list(SCORERS).index(column[1])))
    heads = []
    for rule, scorer in columns:
        base = records["none", scorer, rule]
        heads.append(f"{RULES[rule]} ({base['queries']}), {SCORERS[scorer]}")
    lines = [f"| query's photograph | {' | '.join(heads)} |", "|---" * (len(columns) + 1) + "|"]
    for name, label in dict.fromkeys((r["degradation"], r["label"]) for r in figures["records"]):
        cells = [_cell(records[name, scorer, rule]) for rule, scorer in columns]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    footing = (
        f"mAP@20 and its change with 95 % intervals over whales; the same {figures['queries']} queries from above "
        f"(those with a match under the rule in brackets) of {figures['photographs']:,} photographs."
    )
    return "\n".join([*lines, "", footing])


def _cell(record: dict[str, Any]) -> str:
    value = record["map20"]
    if record["degradation"] == "none":
        return "**{mean:.3f}** ({low:.3f}–{high:.3f})".format(**value)
    return f"{value['mean']:.3f}, " + "{mean:+.3f} ({low:+.3f} … {high:+.3f})".format(**record["map20_change"])


_WIDE, _LEFT, _TOP, _ROW, _GAP = 430, 260, 92, 26, 60
_COLOURS = {COSINE: (178, 98, 12), ENGINE: (14, 79, 95)}
_GRID, _AXIS, _PAPER, _INK = (224, 229, 233), (120, 130, 140), (255, 255, 255), (27, 39, 51)


def draw_plot(figures: dict[str, Any]) -> ByteArray:
    """Draw the change of mAP@20 with its interval, one row a way of spoiling, one panel a rule, one mark a scorer.

    Scorers differ in shape as well as in colour.
    """
    spoilt_only = [r for r in figures["records"] if r["degradation"] != "none"]
    rules = [rule for rule in RULES if any(r["rule"] == rule for r in spoilt_only)]
    rows = list(dict.fromkeys(r["degradation"] for r in spoilt_only))
    labels_of = {r["degradation"]: r["label"] for r in spoilt_only}
    size = (_TOP + len(rows) * _ROW + 56, _LEFT + max(len(rules), 1) * (_WIDE + _GAP))
    canvas = np.full((*size, 3), _PAPER, np.uint8)
    text = [
        Label(labels_of[name], (_LEFT - 14, _TOP + (number + 0.5) * _ROW), 13, _INK, "rm")
        for number, name in enumerate(rows)
    ]
    for number, rule in enumerate(rules):
        chosen = [r for r in spoilt_only if r["rule"] == rule]
        text += _draw_panel(canvas, chosen, rows, _LEFT + number * (_WIDE + _GAP), RULES[rule])
    text += _legend(canvas, [s for s in SCORERS if any(r["scorer"] == s for r in spoilt_only)])
    return drawing.write(canvas, text)


def _draw_panel(
    canvas: ByteArray, records: Sequence[dict[str, Any]], rows: Sequence[str], left: int, title: str
) -> list[Label]:
    changes = [r["map20_change"] for r in records]
    low, high = min(0.0, *(c["low"] for c in changes)), max(0.0, *(c["high"] for c in changes))
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 6 or s == 0.5)
    first, last = np.floor(low / step - 0.2), np.ceil(high / step + 0.2)
    bottom = _TOP + len(rows) * _ROW

    def at(change: float) -> int:
        return round(left + (change / step - first) / (last - first) * _WIDE)

    for row in range(0, len(rows), 2):
        canvas[_TOP + row * _ROW : _TOP + (row + 1) * _ROW, left : left + _WIDE] = (246, 248, 249)
    labels = [Label(f"{title} ({records[0]['queries']} queries)", (left + _WIDE / 2, 58), 15, _INK, "mm")]
    for tick in np.arange(first, last + 1) * step:
        zero = abs(tick) < 1e-9
        cv2.line(canvas, (at(tick), _TOP), (at(tick), bottom), _AXIS if zero else _GRID, 1)
        labels.append(Label("0" if zero else f"{tick:+.2f}", (at(tick), bottom + 14), 12, _INK, "mm"))
    labels.append(Label("change of mAP@20", (left + _WIDE / 2, bottom + 38), 13, _INK, "mm"))
    scorers = [s for s in SCORERS if any(r["scorer"] == s for r in records)]
    for record in records:
        aside = (scorers.index(record["scorer"]) - (len(scorers) - 1) / 2) * 10
        y = round(_TOP + (rows.index(record["degradation"]) + 0.5) * _ROW + aside)
        change, colour = record["map20_change"], _COLOURS[record["scorer"]]
        cv2.line(canvas, (at(change["low"]), y), (at(change["high"]), y), colour, 2, cv2.LINE_AA)
        _mark(canvas, record["scorer"], (at(change["mean"]), y))
    return labels


def _mark(canvas: ByteArray, scorer: str, centre: tuple[int, int]) -> None:
    x, y = centre
    if scorer == COSINE:
        cv2.rectangle(canvas, (x - 4, y - 4), (x + 4, y + 4), _COLOURS[scorer], -1)
    else:
        cv2.circle(canvas, (x, y), 5, _COLOURS[scorer], -1, cv2.LINE_AA)


def _legend(canvas: ByteArray, scorers: Sequence[str]) -> list[Label]:
    labels = [Label("Worse photographs, same catalogue", (14, 22), 17, _INK)]
    for number, scorer in enumerate(scorers):
        x = _LEFT + 60 + number * 150
        _mark(canvas, scorer, (x, 22))
        labels.append(Label(SCORERS[scorer], (x + 14, 22), 13, _INK))
    return labels


# --- command line -----------------------------------------------------------------------------------------------------


def _judge_for(options: argparse.Namespace, say: Say) -> tuple[Judge, dict[str, Any]]:
    """Return the judge that the options ask for, and the settings it was made with."""
    matcher = matcher_from(options)
    part = measured_part(Catalog.read(options.catalog), options.individuals)
    top = part.subset(select(part, ("top",)))
    if options.scorer == COSINE:
        say(f"describing {len(top):,} photographs")
        settings = matcher.settings.describe.descriptor
        return CosineJudge(settings, top), {"describe": {"descriptor": settings.to_dict()}}
    judges = rankers_for(options.ranker, part, matcher, options.training_queries, options.folds, options.seed, say)
    return EngineJudge(matcher.index(top), judges), matcher.settings.to_dict()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the measurement from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.robustness", description=__doc__.split("\n", 1)[0])
    add_options(parser)
    parser.add_argument("--queries", type=int, default=60, help="photographs asked (60)")
    parser.add_argument(
        "--scorer", choices=tuple(SCORERS), default=ENGINE, help="what is measured; engine: cosine too (default)"
    )
    names = ", ".join(one.name for one in DEGRADATIONS)
    parser.add_argument("--only", action="append", metavar="NAME", help=f"this way of spoiling; may be given: {names}")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="(default: bench/results/NAME.png with --result)")
    options = parser.parse_args(arguments)
    try:
        degradations = named(options.only)
    except ValueError as error:
        parser.error(str(error))

    judge, settings = _judge_for(options, say)
    with tempfile.TemporaryDirectory(prefix="scarmatch-robustness-") as folder:
        figures = run(judge, degradations, options.queries, options.seed, say, Path(folder))
    print(render(figures))
    plot = options.plot or (RESULTS / f"{options.result}.png" if options.result else None)
    if plot is not None:
        save_png(plot, draw_plot(figures))
    if options.result:
        protocol = protocol_from(options) | {"queries": options.queries, "scorer": options.scorer}
        write_result(options.result, figures, settings, protocol)
    return 0


if __name__ == "__main__":
    sys.exit(main())
