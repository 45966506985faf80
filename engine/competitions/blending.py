"""Rankings from files, blended into one: by the rank table of the Happywhale paper, or by the plain calibrated mean.

Three kinds of file are understood, by their columns:

* image, predictions: Happywhale's five individuals a row; places only.
* image, individual_id, probability: the details that ``scarmatch identify --details`` writes.
* query_id, database_image_id, score: a submission to "Where's Whale-do?"; its scores are taken as probabilities.

The first two name individuals and may be mixed; the third names photographs. Weights are learned by greedy coordinate
ascent where answers are given: give files of out-of-fold predictions then, keep the weights, and use them on the files
of the real questions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from engine.competitions.happywhale import PREDICTIONS, read_happywhale_submission, write_happywhale
from engine.competitions.submission import (
    COLUMNS,
    LIMIT,
    SubmissionError,
    read_submission,
    read_text_columns,
    write_submission,
)
from engine.search.individuals import NEW_INDIVIDUAL
from reranker.blend import (
    RankTableSettings,
    blend_probabilities,
    blend_scores,
    cross_fit,
    fit_weights,
)
from scarmatch.metrics import average_precision, reciprocal_rank

Labels = Literal["individuals", "photographs"]
Method = Literal["table", "mean"]


@dataclass(frozen=True, eq=False)
class RankingFile:
    """One file of rankings.

    Attributes:
        path: the file.
        labels: what it names.
        lists: query -> labels, best first.
        probabilities: query -> label -> probability; None where the file has places only.
    """

    path: Path
    labels: Labels
    lists: dict[str, list[str]]
    probabilities: dict[str, dict[str, float]] | None


@dataclass(frozen=True, eq=False)
class Blend:
    """What :func:`blend_files` made.

    Attributes:
        method: "table" or "mean".
        weights: one per file.
        scores: query -> label -> score, best first: points of the rank table, or probabilities.
        labels: what the labels are.
        figures: MAP@5 (individuals) or mAP@20 (photographs) where answers were given: "files" (each alone), "equal"
            (all weights 1), "learned" (on the same queries, which flatters) and "cross_fitted" (each query with
            weights learned on other individuals); empty otherwise.
    """

    method: Method
    weights: tuple[float, ...]
    scores: dict[str, dict[str, float]]
    labels: Labels
    figures: dict[str, Any]

    def write(self, path: Path | str) -> None:
        """Write the blend as Happywhale's predictions, or as a submission."""
        if self.labels == "individuals":
            write_happywhale({query: list(row)[:PREDICTIONS] for query, row in self.scores.items()}, path)
            return
        best = max((max(row.values(), default=0.0) for row in self.scores.values()), default=0.0)
        scale = 1.0 if self.method == "mean" else 1.0 / max(best, 1e-9)
        rows = []
        for query, row in self.scores.items():
            names = list(row)[:LIMIT]
            rows += [(query, name, min(max(row[name] * scale, 0.0), 1.0)) for name in names]
        write_submission(pd.DataFrame(rows, columns=COLUMNS), path)

    def render(self, files: Sequence[Path | str]) -> str:
        """Return weights and figures as text for a terminal."""
        measure = "MAP@5" if self.labels == "individuals" else "mAP@20"
        alone = self.figures.get("files", [None] * len(files))
        lines = [
            f"weight {weight:<5g} {'' if value is None else f'{measure} alone {value:.4f}  '}{file}"
            for weight, value, file in zip(self.weights, alone, files, strict=True)
        ]
        if self.figures:
            judged = self.figures["cross_fitted"]
            lines.append(
                f"{measure} over {self.figures['queries']:,} queries: all weights 1 {self.figures['equal']:.4f}, "
                f"learned {self.figures['learned']:.4f} (on these very queries), on individuals not learned from "
                f"{'unknown: only one individual' if judged is None else f'{judged:.4f}'}"
            )
        return "\n".join(lines)


def table_settings(table: str, frequency_penalty: float, new_damping: float) -> RankTableSettings:
    """Return the rank table's options from the command line's texts.

    Raises:
        SubmissionError: the table is no list of numbers.
    """
    try:
        points = tuple(float(value) for value in table.split(","))
    except ValueError:
        raise SubmissionError(f"--table {table}: numbers separated by commas, the first place first") from None
    return RankTableSettings(points, frequency_penalty, new_damping)


def read_ranking(path: Path | str) -> RankingFile:
    """Read a file of rankings, of whichever kind its columns say.

    Raises:
        SubmissionError: it cannot be read, is of no known kind, or a probability lies outside [0, 1].
    """
    path = Path(path)
    table = read_text_columns(path)
    columns = set(table.columns)
    if {"image", "predictions"} <= columns:
        return RankingFile(path, "individuals", read_happywhale_submission(path), None)
    if set(COLUMNS) <= columns:
        return _with_probabilities(path, "photographs", read_submission(path), *COLUMNS)
    if {"image", "individual_id", "probability"} <= columns:
        return _with_probabilities(path, "individuals", table, "image", "individual_id", "probability")
    columns_text = ", ".join(sorted(columns))
    raise SubmissionError(
        f"{path}: no ranking: the columns are {columns_text}; known kinds: image, predictions; image, individual_id, "
        f"probability; {', '.join(COLUMNS)}"
    )


def _with_probabilities(path: Path, labels: Labels, table: pd.DataFrame, query: str, label: str, value: str) -> Any:
    numbers = pd.to_numeric(table[value], errors="coerce")
    wrong = table.loc[~numbers.between(0.0, 1.0)]
    if len(wrong):
        raise SubmissionError(
            f"{path}: column {value!r}: {wrong.iloc[0][value]!r} (line {int(wrong.index[0]) + 2}) is no probability"
        )
    ordered = table.assign(**{value: numbers}).sort_values(value, ascending=False, kind="stable")
    probabilities: dict[str, dict[str, float]] = {}
    for name, one, number in zip(ordered[query], ordered[label], ordered[value], strict=True):
        probabilities.setdefault(str(name), {}).setdefault(str(one), float(number))
    lists = {name: list(row) for name, row in probabilities.items()}
    return RankingFile(path, labels, lists, probabilities)


def blend_files(
    paths: Sequence[Path | str],
    method: Method | None = None,
    *,
    weights: Sequence[float] | None = None,
    answers: Mapping[str, Any] | None = None,
    photographs: Mapping[str, int] | None = None,
    settings: RankTableSettings | None = None,
    seed: int = 0,
) -> Blend:
    """Blend files of rankings.

    Args:
        paths: the files, all naming individuals or all naming photographs.
        method: "table" or "mean"; by default the table for individuals and the mean for photographs.
        weights: one per file; learned where answers are given, otherwise all 1.
        answers: the truth, to learn from and to judge by: image -> individual, or query -> its matching photographs.
        photographs: individual -> number of catalogue photographs (the frequency penalty; individuals only).
        settings: options of the rank table.
        seed: of the folds that judge learned weights.

    Raises:
        SubmissionError: a file cannot be read, kinds are mixed, "mean" is asked of places only, no query is answered.
    """
    files = [read_ranking(path) for path in paths]
    kinds = {file.labels for file in files}
    if len(kinds) != 1:
        names = ", ".join(f"{file.path} ({file.labels})" for file in files)
        raise SubmissionError(f"the files name different things: {names}; blend files of one kind")
    labels = files[0].labels
    chosen: Method = method or ("table" if labels == "individuals" else "mean")
    places_only = [str(file.path) for file in files if file.probabilities is None]
    if chosen == "mean" and places_only:
        raise SubmissionError(
            f"{places_only[0]} has places but no probabilities: use the rank table, or the file of `--details`"
        )
    if weights is not None and len(weights) != len(files):
        raise SubmissionError(f"{len(files)} files need {len(files)} weights, got {len(weights)}")
    blender = _Blender(files, chosen, labels, photographs or {}, settings or RankTableSettings())
    figures: dict[str, Any] = {}
    final = tuple(weights) if weights is not None else (1.0,) * len(files)
    if answers is not None:
        figures, learned = _judge(blender, answers, seed)
        final = final if weights is not None else learned
    return Blend(chosen, final, blender(final), labels, figures)


@dataclass(frozen=True, eq=False)
class _Blender:
    """Blends the files with given weights."""

    files: Sequence[RankingFile]
    method: Method
    labels: Labels
    photographs: Mapping[str, int]
    settings: RankTableSettings

    def __call__(self, weights: Sequence[float], queries: Sequence[str] | None = None) -> dict[str, dict[str, float]]:
        asked = queries if queries is not None else sorted({query for file in self.files for query in file.lists})
        if self.method == "mean":
            tables = [file.probabilities or {} for file in self.files]
            return blend_probabilities([{q: t[q] for q in asked if q in t} for t in tables], weights)
        blended = {}
        for query in asked:
            lists = [file.lists.get(query, ()) for file in self.files]
            scores = blend_scores(lists, weights, self.photographs, self.settings)
            blended[query] = dict(sorted(scores.items(), key=lambda item: (-item[1], item[0])))
        return blended

    def earned(self, answers: Mapping[str, Any], weights: Sequence[float], queries: Sequence[str]) -> list[float]:
        """Return the reciprocal place of the true individual, or the average precision, at each query."""
        blended = self(weights, queries)
        if self.labels == "individuals":
            return [reciprocal_rank(list(blended.get(q, {})), answers[q], PREDICTIONS) for q in queries]
        values = []
        for query in queries:
            row = list(blended.get(query, {}).items())[:LIMIT]
            relevant = [label in answers[query] for label, _ in row]
            values.append(average_precision(relevant, len(answers[query]), LIMIT))
        return values


def _judge(blender: _Blender, answers: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], tuple[float, ...]]:
    ranked_queries = {query for file in blender.files for query in file.lists}
    queries = [query for query in answers if query in ranked_queries]
    if not queries:
        raise SubmissionError("the answers name none of the files' queries: are the names the same?")
    size = len(blender.files)

    def per_query(weights: tuple[float, ...], some: Sequence[str]) -> list[float]:
        return blender.earned(answers, weights, some)

    weights, learned = fit_weights(per_query, queries, size)
    groups = _groups({query: answers[query] for query in queries})
    single = np.eye(size)
    figures: dict[str, Any] = {
        "queries": len(queries),
        "files": [float(np.mean(per_query(tuple(row), queries))) for row in single],
        "equal": float(np.mean(per_query((1.0,) * size, queries))),
        "learned": learned,
        "cross_fitted": None,
    }
    if len(set(groups.values())) > 1:
        figures["cross_fitted"] = float(np.mean(list(cross_fit(per_query, groups, size, seed=seed).values())))
    return figures, weights


def _groups(answers: Mapping[str, Any]) -> dict[str, str]:
    """Return query -> group of queries that show one animal: the same individual, or linked by shared matches."""
    if all(isinstance(value, str) for value in answers.values()):
        return {query: query if value == NEW_INDIVIDUAL else value for query, value in answers.items()}
    group_of: dict[str, str] = {}
    first_query_of: dict[str, str] = {}

    def root(name: str) -> str:
        while group_of[name] != name:
            name = group_of[name]
        return name

    for query, matches in answers.items():
        group_of[query] = query
        for image in sorted(matches):
            group_of[root(first_query_of.setdefault(image, query))] = root(query)
    return {query: root(query) for query in answers}


def read_blend_answers(path: Path | str, labels: Labels) -> dict[str, Any]:
    """Read the truth: image and individual (individuals), or query_id and database_image_id (photographs).

    Raises:
        SubmissionError: the columns are others.
    """
    table = read_text_columns(path)
    if labels == "individuals":
        name = next((c for c in ("individual_id", "individual", "whale_id") if c in table.columns), None)
        if "image" not in table.columns or name is None:
            raise SubmissionError(f"{path}: the columns image and individual_id are needed; found: {list(table)}")
        return dict(zip(table["image"], table[name], strict=True))
    if not {"query_id", "database_image_id"} <= set(table.columns):
        raise SubmissionError(f"{path}: the columns query_id and database_image_id are needed; found: {list(table)}")
    return {str(query): set(rows) for query, rows in table.groupby("query_id", sort=False)["database_image_id"]}


def read_weights(text: str, count: int) -> list[float]:
    """Read weights: numbers separated by commas, or a JSON file that :func:`write_weights` wrote.

    Raises:
        SubmissionError: they are no numbers, one is negative, or their count differs.
    """
    try:
        values = json.loads(Path(text).read_text())["weights"] if Path(text).is_file() else text.split(",")
        weights = [float(value) for value in values]
    except (ValueError, KeyError, TypeError) as error:
        raise SubmissionError(
            f"--weights {text}: numbers separated by commas, or a file of weights ({error})"
        ) from None
    if len(weights) != count or min(weights) < 0 or not np.isfinite(weights).all():
        raise SubmissionError(f"--weights {text}: {count} files need {count} weights that are not negative")
    return weights


def write_weights(path: Path | str, blend: Blend, files: Sequence[Path | str]) -> None:
    """Keep the weights, and what they were learned on, as JSON."""
    record = {"weights": list(blend.weights), "method": blend.method, "files": list(map(str, files))}
    Path(path).write_text(json.dumps({**record, "figures": blend.figures}, indent=1) + "\n", encoding="utf-8")
