"""The engine's side of a review: answers to questions, and the layers of pairs, through the public API.

Nothing of what was computed is lost: descriptions and pairs lie in the store, answers in the review's file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from engine.catalogue.catalog import Catalog
from engine.catalogue.index import CatalogIndex, Progress
from engine.report.explain import explainer, heat_maps
from engine.report.page_pictures import PictureBook, pair_data, parts_data
from engine.report.reasons import reasons
from engine.review.decision_table import ReviewFile
from engine.review.reviewed import with_new_photographs
from engine.search.matcher import Matcher

#: Photographs of an answer that are kept: beyond them, probabilities are next to nothing.
KEPT = 50
#: Candidates of a photograph for which it is kept what was weighed.
_EXPLAINED = 20


@dataclass(frozen=True)
class EnginePlan:
    """What the engine of a review is made from, in whatever process; everything can be pickled.

    Attributes:
        catalog, format: the catalogue and its layout, as :meth:`Catalog.read` takes them.
        file: the review's file.
        pictures: folder of the layers' pictures, called "pictures"; it may be emptied at any time.
        make_matcher: makes the matcher for the catalogue; module-level or a partial of that.
    """

    catalog: Path
    file: Path
    pictures: Path
    make_matcher: Callable[[Catalog], Matcher]
    format: str = "auto"


class ReviewEngine:
    """Answers questions and draws layers.

    Args:
        plan: what it is made from.
    """

    def __init__(self, plan: EnginePlan) -> None:
        self.plan = plan
        self.catalog = Catalog.read(plan.catalog, plan.format)
        self.matcher = plan.make_matcher(self.catalog)
        self.file = ReviewFile(plan.file)
        self._index: CatalogIndex | None = None
        self._heat = heat_maps(self.matcher)

    @cached_property
    def made_with(self) -> str:
        """What the answers depend on: settings, ranker and catalogue."""
        digest = hashlib.sha256()
        given = [self.matcher.describe_settings(), sorted(self.catalog.ids)]
        digest.update(json.dumps(given, sort_keys=True, default=str).encode())
        if self.matcher.ranker is not None:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "ranker.json"
                self.matcher.ranker.save(file)
                digest.update(file.read_bytes())
        return digest.hexdigest()[:16]

    def index(self, progress: Progress | None = None) -> CatalogIndex:
        """Return the described photographs of the catalogue and of the review."""
        every = with_new_photographs(self.catalog, self.file)
        if self._index is None or set(self._index.catalog.ids) != set(every.ids) - self.failed:
            self._index = self.matcher.index(every, progress, self.matcher.store_for(self.catalog))
        return self._index

    @property
    def failed(self) -> set[str]:
        """The photographs that could not be read."""
        return {one.image_id for one in self._index.failures} if self._index is not None else set()

    def open_questions(self, images: Sequence[str]) -> list[str]:
        """Return those of some photographs that have no answer of this engine yet."""
        answered = self.file.answered(self.made_with)
        return [image for image in images if image not in answered]

    def answer(self, images: Sequence[str], progress: Progress | None = None) -> list[str]:
        """Match photographs against all others, keep the answers in the file, and return which have one.

        A photograph that cannot be read has an empty answer.
        """
        index = self.index(progress)
        queries = index.subset(list(images))
        raw = self.matcher.pairs(queries, index, progress=progress)
        answers = self.matcher.rank(raw, KEPT)
        explain = explainer(self.matcher, raw, answers[answers["rank"] <= _EXPLAINED])
        lists = {str(query): rows for query, rows in answers.groupby("query_id", sort=False)}
        for image in images:
            record: dict[str, Any] = {"photographs": [], "parts": {}}
            if image in lists:
                parts = explain(image)
                record["photographs"] = [_ranked(row) for row in lists[image].to_dict("records")]
                record["parts"] = {name: parts_data(part) for name, part in parts.items()}
            self.file.add_answer(image, self.made_with, record)
        return list(images)

    def layers_file(self, query: str, image: str) -> Path:
        """Return where the layers of a pair are kept."""
        return layers_file(self.plan.pictures, self.made_with, query, image)

    def draw(self, query: str, image: str) -> Path:
        """Compute the layers of a pair, unless they are there, and return their file (JSON, pictures beside it)."""
        path = self.layers_file(query, image)
        if path.is_file():
            return path
        index = self.index()
        shown = self._heat(self.matcher.evidence(query, image, index, index))
        answer = self._answer_row(query, image)
        told = reasons(shown.verification, len(shown.correspondences), answer)
        data = pair_data(dataclasses.replace(shown, reasons=told), PictureBook(self.plan.pictures))
        part = path.with_suffix(".part")
        part.write_text(json.dumps(data), encoding="utf-8")
        part.replace(path)
        return path

    def _answer_row(self, query: str, image: str) -> dict[str, Any]:
        """Return what is told of a pair in words: what the answer says, and both photographs."""
        index = self.index()
        rows = [index.catalog.row(one) for one in (query, image)]
        told: dict[str, Any] = {"query_viewpoint": rows[0]["viewpoint"], "viewpoint": rows[1]["viewpoint"]}
        if all(pd.notna(row["date"]) for row in rows):
            told["date_gap_days"] = abs((rows[0]["date"] - rows[1]["date"]).days)
        record = self.file.answers([query]).get(query, {"photographs": []})
        cosines = [row[2] for row in record["photographs"] if row[0] == image]
        return {**told, "cosine": cosines[0]} if cosines else told

    def close(self) -> None:
        """End the worker processes and close the file."""
        self.matcher.close()
        self.file.close()


def layers_file(pictures: Path, made_with: str, query: str, image: str) -> Path:
    """Return where the layers of a pair are kept."""
    name = hashlib.sha256(json.dumps([made_with, query, image]).encode()).hexdigest()[:24]
    return pictures / f"pair-{name}.json"


def _ranked(row: dict[Any, Any]) -> list[Any]:
    """Return a row of the answers as :class:`engine.review.session.Ranked` takes it."""
    counts = [None if pd.isna(row[name]) else int(row[name]) for name in ("lightglue_matches", "lightglue_inliers")]
    return [str(row["image_id"]), float(row["probability"]), round(float(row["cosine"]), 4), *counts]
