"""One pair, explained: pictures layer by layer, the probability, and what weighed for and against it, in words.

The pair is explained as it would be ranked: the query's whole list is looked up, because some of what the ranker reads
compares a candidate with the others. A candidate that the search left out is added to the list.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex, Progress
from engine.catalogue.problems import CatalogError
from engine.catalogue.queries import find_photograph
from engine.report.image_files import save_png
from engine.report.match_run import MatchRun
from engine.report.page import write_report
from engine.report.pair_layers import LAYERS, check_layers
from engine.report.pair_picture import draw_details, draw_pair
from engine.report.reasons import reasons, score_parts
from engine.report.wording import date_of, known, text_of
from engine.search.pair_evidence import PairEvidence, ScoreParts
from features.global_descriptor.heatmap import HeatMapper
from features.photo import read_photo

if TYPE_CHECKING:
    from engine.search.matcher import Matcher

#: The layers of :func:`write_explanation` unless others are asked for: every one by itself.
DEFAULT_LAYERS = LAYERS


@dataclass(frozen=True, eq=False)
class PairExplanation:
    """Everything that is known of one pair.

    Attributes:
        query, candidate: what the catalogue knows of the two photographs (image_id, path, individual_id, ...).
        evidence: what pictures show, with probability, reasons and parts.
        answer: the pair's row of the answer table, empty where the two cannot be ranked (copies of one photograph).
        shortlisted: whether the shortlist holds the candidate.
        settings: what it was made with.
    """

    query: Mapping[str, Any]
    candidate: Mapping[str, Any]
    evidence: PairEvidence
    answer: Mapping[str, Any]
    shortlisted: bool
    settings: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Where the candidate stands in the query's list, in words."""
        if not self.answer:
            return "the two are one photograph: there is nothing to rank"
        rank = f"rank {int(self.answer['rank'])} of the query's list"
        return rank if self.shortlisted else f"not in the query's shortlist, in which it would be {rank}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        check, parts = self.evidence.verification, self.evidence.parts
        return {
            "query": _plain(self.query),
            "candidate": _plain(self.candidate),
            "probability": self.evidence.probability,
            "rank": int(self.answer["rank"]) if "rank" in self.answer else None,
            "shortlisted": self.shortlisted,
            "cosine": float(self.answer["cosine"]) if known(self.answer.get("cosine")) else None,
            "matches": len(self.evidence.correspondences),
            "inliers": check.n_inliers,
            "model": check.kind,
            "reasons": list(self.evidence.reasons),
            "contributions": None if parts is None else {**dataclasses.asdict(parts), "total": parts.total},
        }

    def render(self) -> str:
        """Return the explanation as lines of text."""
        lines = []
        for name, row in (("query", self.query), ("candidate", self.candidate)):
            facts = [text_of(row.get("individual_id")), date_of(row.get("date")), text_of(row.get("viewpoint"))]
            lines.append(f"{name:<10} {' · '.join([Path(str(row['path'])).name, *(fact for fact in facts if fact)])}")
        probability = self.evidence.probability
        told = "" if probability is None else f"probability of the same individual: {probability:.1%}; "
        lines.append(f"\n{told}{self.place}")
        lines += ["", *(f"- {reason}" for reason in self.evidence.reasons)]
        if self.evidence.parts is not None:
            lines += ["", *_bars(self.evidence.parts)]
        return "\n".join(lines)


def explain_pair(
    matcher: Matcher,
    query: str | Path,
    candidate: str | Path,
    catalog: CatalogIndex | Catalog | str | Path,
    progress: Progress | None = None,
) -> PairExplanation:
    """Explain a pair of photographs.

    Args:
        matcher: what describes, compares and ranks.
        query, candidate: an image id of the catalogue, or a file.
        catalog: the catalogue that the query would be searched in.
        progress: called with (done, total) of whatever is at work.

    Raises:
        CatalogError: a photograph is neither in the catalogue nor a file, or cannot be read.
    """
    index = catalog if isinstance(catalog, CatalogIndex) else matcher.index(catalog, progress)
    queries, database = (_find(matcher, name, index) for name in (query, candidate))
    query_id, image_id = queries.catalog.ids[0], database.catalog.ids[0]
    raw, shortlisted = _list_with(matcher, queries, database, index, progress)
    answers = matcher.rank(raw, len(raw))
    row = answers[answers["image_id"] == image_id]
    answer: dict[str, Any] = {str(key): value for key, value in row.to_dict("records")[0].items()} if len(row) else {}
    found = heat_maps(matcher)(matcher.evidence(query_id, image_id, queries, database))
    parts = explainer(matcher, raw, row)(query_id).get(image_id) if answer else None
    evidence = dataclasses.replace(
        found,
        title=f"{query_id} and {image_id}",
        probability=float(answer["probability"]) if answer else None,
        reasons=reasons(found.verification, len(found.correspondences), answer, parts),
        parts=parts,
    )
    return PairExplanation(
        query=_row(queries),
        candidate=_row(database),
        evidence=evidence,
        answer=answer,
        shortlisted=shortlisted,
        settings=matcher.describe_settings(),
    )


def write_explanation(
    explanation: PairExplanation, output_dir: Path | str, layers: Sequence[str] = DEFAULT_LAYERS, height: int = 640
) -> list[Path]:
    """Write a picture per layer, the surest inliers enlarged, the explanation as JSON, and a page with all of it.

    Args:
        explanation: the pair.
        output_dir: folder, made if need be.
        layers: any of :data:`engine.report.pair_layers.LAYERS`, each drawn alone on the bare pair (several in one
            picture: join them by "+", as in "marks+inliers").
        height: height of the photographs in the pictures, in pixels.

    Returns:
        The files, the page first.

    Raises:
        LayerError: a layer does not exist.
    """
    wanted = {name: tuple(name.split("+")) for name in layers}
    for combination in wanted.values():
        check_layers(combination)
    output_dir = Path(output_dir)
    files = [_write_page(explanation, output_dir)]
    for name, combination in wanted.items():
        # Reasons and parts stand on the page and in the JSON file; a picture is for looking.
        picture = draw_pair(explanation.evidence, combination, height)
        files.append(save_png(output_dir / f"{name}.png", picture))
    if "inliers" in {layer for combination in wanted.values() for layer in combination}:
        files.append(save_png(output_dir / "inliers-enlarged.png", draw_details(explanation.evidence)))
    record = output_dir / "explanation.json"
    record.write_text(json.dumps(explanation.to_dict(), indent=2) + "\n", encoding="utf-8")
    return [*files, record]


def explainer(matcher: Matcher, raw: pd.DataFrame, answers: pd.DataFrame) -> Callable[[str], Mapping[str, ScoreParts]]:
    """Return a function from a query to what the ranker's features added to the scores of its candidates, by id.

    Args:
        matcher: whose ranker is explained.
        raw: raw pair table, whole lists (:meth:`engine.search.matcher.Matcher.pairs`).
        answers: the pairs to explain (columns query_id and image_id).
    """
    lists = dict(list(raw.groupby("query_id", sort=False)))
    shown = {query: set(rows["image_id"]) for query, rows in answers.groupby("query_id", sort=False)}

    def explain(query_id: str) -> Mapping[str, ScoreParts]:
        if query_id not in lists:
            return {}
        rows = lists[query_id]
        found = matcher.explain(rows, rows["candidate_id"].isin(shown.get(query_id, set())))
        return {
            str(name): score_parts(part, found.unit, found.baseline, found.method)
            for name, part in found.table.groupby("candidate_id", sort=False)
        }

    return explain


def heat_maps(matcher: Matcher) -> Callable[[PairEvidence], PairEvidence]:
    """Return a function that adds the descriptor's heat maps to a pair; its network is loaded by the first pair."""
    mappers: list[HeatMapper] = []

    def add(evidence: PairEvidence) -> PairEvidence:
        if not mappers:
            mappers.append(HeatMapper(matcher.settings.describe.descriptor, matcher.device))
        frames = evidence.features0.frame, evidence.features1.frame
        heat = mappers[0].pair(evidence.photo0, frames[0], evidence.photo1, frames[1])
        return dataclasses.replace(evidence, heat0=heat.heat0, heat1=heat.heat1)

    return add


def _find(matcher: Matcher, name: str | Path, index: CatalogIndex) -> CatalogIndex:
    """Return the index of one photograph: a row of the catalogue, by id or file, or a file described now."""
    image_id = find_photograph(name, index.catalog)
    if image_id is not None:
        return index.subset([image_id])
    path = Path(name)
    for failure in index.failures:
        if str(name) == failure.image_id or path.absolute() == failure.path:
            raise CatalogError(f"{name} is in the catalogue but cannot be used: {failure.reason}")
    if not path.is_file():
        raise CatalogError(f"{name}: neither a photograph's id in {index.catalog.root} nor a file")
    loose = Catalog.from_photos([path], avoid=index.catalog.ids)
    described = matcher.index(loose, store=matcher.store_for(index.catalog))
    if not len(described):
        raise CatalogError(described.failures[0].reason)
    return described


def _row(photo: CatalogIndex) -> dict[str, Any]:
    """Return what is known of the one photograph of an index."""
    return {str(name): value for name, value in photo.catalog.table.iloc[0].items()}


def _list_with(
    matcher: Matcher, queries: CatalogIndex, candidate: CatalogIndex, index: CatalogIndex, progress: Progress | None
) -> tuple[pd.DataFrame, bool]:
    """Return the query's raw list with the candidate in it, and whether it was there by itself."""
    raw = matcher.pairs(queries, index, progress=progress)
    name = candidate.catalog.ids[0]
    if (raw["candidate_id"] == name).any():
        return raw, True
    if candidate.contents[0] == queries.contents[0]:
        return raw, False  # one photograph: a query is no candidate of its own
    if name not in index.catalog:
        table = pd.concat([index.catalog.table, candidate.catalog.table], ignore_index=True)
        catalog = Catalog(table, index.catalog.root, index.catalog.source)
        index = CatalogIndex(catalog, (*index.descriptions, *candidate.descriptions), store=index.store)
    return matcher.pairs(queries, index, progress=progress, include=[name]), False


def _write_page(explanation: PairExplanation, output_dir: Path) -> Path:
    """Write the report's page for this one pair; pictures are inside it, so that one file tells it all."""
    evidence, answer = explanation.evidence, explanation.answer
    query, candidate = dict(explanation.query), dict(explanation.candidate)
    if candidate["image_id"] == query["image_id"]:
        candidate["image_id"] = f"{candidate['image_id']} (again)"
    row = {**answer, "query_id": query["image_id"], "image_id": candidate["image_id"], "rank": 1}
    row.setdefault("probability", float("nan"))
    run = MatchRun(
        answers=pd.DataFrame([row]),
        queries=pd.DataFrame([query]),
        candidates=pd.DataFrame([candidate]),
        read=lambda path: read_photo(Path(path)).rgb,
        evidence=lambda query_id, image_id: evidence,
        parts=lambda query_id: {} if evidence.parts is None else {candidate["image_id"]: evidence.parts},
        filter_text=f"One pair; {explanation.place}.",
        settings=explanation.settings,
        title=evidence.title,
    )
    return write_report(run, output_dir, pictures="inline")


def _bars(parts: ScoreParts, width: int = 24) -> list[str]:
    """Return a bar of text a part, for to the right, against to the left."""
    top = max((abs(part.amount) for part in parts.parts), default=0.0) or 1.0
    lines = [f"what was weighed ({parts.unit} {parts.total:+.2f} = {parts.baseline:+.2f} for any pair, and)"]
    for part in parts.parts:
        length = round(abs(part.amount) / top * width / 2)
        left, right = ("#" * length, "") if part.amount < 0 else ("", "#" * length)
        lines.append(f"  {left:>{width // 2}}|{right:<{width // 2}} {part.amount:+7.2f}  {part.name}")
        lines += [f"          {said}" for said in part.said]
    return [*lines, f"({parts.method})"]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a catalogue's row as JSON-ready values, None where a value is missing."""
    plain: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, tuple | list):
            plain[name] = [int(v) for v in value]
        elif not known(value):
            plain[name] = None
        elif isinstance(value, pd.Timestamp):
            plain[name] = value.isoformat()
        else:
            plain[name] = value.item() if isinstance(value, np.generic) else value
    return plain
