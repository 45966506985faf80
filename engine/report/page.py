"""Write a run as one HTML page: a summary, then one section per query with its candidates and their evidence."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from engine.report.drawing import ramp
from engine.report.match_run import MatchRun
from engine.report.page_pictures import LARGE, THUMBNAIL, PictureBook, Problems, pair_data, parts_data, read_upright
from engine.report.wording import date_of, gap_in_words, known, text_of, uncertainty, verdict

#: Beyond so many queries "auto" keeps the pictures beside the page; up to them, one file opens in seconds.
INLINE_QUERIES = 600
#: Candidates of a query that get layers: their matches and heat maps are computed for the page.
PICTURES_PER_QUERY = 3
_TOP = 20
_BINS = 10
_SUPPORTING = 6
_REQUIRED = {
    "answers": ("query_id", "rank", "image_id", "probability"),
    "queries": ("image_id", "path"),
    "candidates": ("image_id", "path"),
}


def write_report(
    run: MatchRun,
    output_dir: Path | str,
    *,
    pictures: Literal["auto", "inline", "folder"] = "auto",
    pictures_per_query: int = PICTURES_PER_QUERY,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `index.html` for a run.

    Args:
        run: the run; its evidence is asked for only for the first `pictures_per_query` candidates of each query.
        output_dir: folder to write into, made if need be.
        pictures: "inline" keeps every picture inside the page, "folder" in `pictures/` beside it (move both together);
            "auto" takes "inline" up to :data:`INLINE_QUERIES`, beyond which one file would be slow to open.
        pictures_per_query: how many candidates of a query get layers (keypoints, matches, inliers, marks, warp); the
            others are shown bare.
        progress: called with (queries done, queries in all).

    Returns:
        Path of the page. A photograph that cannot be read or drawn is named in the page's summary and does not stop it.

    Raises:
        ValueError: an unknown `pictures`, or a table lacks a column.
    """
    if pictures not in ("auto", "inline", "folder"):
        raise ValueError(f"pictures={pictures!r} is unknown; choose auto, inline or folder")
    _check_tables(run)
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    inline = pictures == "inline" or (pictures == "auto" and len(run.queries) <= INLINE_QUERIES)
    writer = _Writer(run, PictureBook(None if inline else output_dir / "pictures"), pictures_per_query)
    sections = []
    for number, row in enumerate(_records(run.queries), start=1):
        sections.append(writer.section(number, row))
        if progress is not None:
            progress(number, len(run.queries))
    path = output_dir / "index.html"
    _render(path, _page(run, sections, writer, inline))
    return path


def _check_tables(run: MatchRun) -> None:
    for table, columns in _REQUIRED.items():
        missing = [column for column in columns if column not in getattr(run, table).columns]
        if missing:
            raise ValueError(f"the run's table {table!r} lacks the column {missing[0]!r}; it has {', '.join(columns)}")


class _Writer:
    """Turns table rows into what the template shows; remembers pictures already made."""

    def __init__(self, run: MatchRun, book: PictureBook, pictures_per_query: int) -> None:
        self.run, self.book, self.pictures_per_query = run, book, pictures_per_query
        self.problems = Problems()
        self.method = ""
        self._thumbnails: dict[str, dict[str, Any] | None] = {}
        self._candidates = {str(row["image_id"]): row for row in _records(run.candidates)}
        self._answers = _grouped(run.answers)
        self._individuals = _grouped(run.individuals) if run.individuals is not None else {}

    def section(self, number: int, row: dict[str, Any]) -> dict[str, Any]:
        """Describe one query: its photograph, cards, individuals, verdict and the data of its layers."""
        query_id = str(row["image_id"])
        upright = self.problems.attempt(str(row["path"]), lambda: read_upright(self.run, row))
        large = self.book.photograph(upright, LARGE) if upright is not None else None
        rows = self._answers.get(query_id, [])[:_TOP]
        cards = [self._card(answer, row) for answer in rows]
        individuals = self._ranked_individuals(query_id, cards)
        leader: Mapping[str, Any] = individuals[0] if individuals else (cards[0] if cards else {})
        new = _number((self.run.new_individual or {}).get(query_id))
        best = cards[0]["probability"] if cards else None
        level, sentence = verdict(leader.get("probability", best), leader.get("individual", ""), new)
        pairs = {str(card["rank"]): data for card in cards if (data := self._pair(query_id, card)) is not None}
        for card in cards:
            card["layers"] = str(card["rank"]) in pairs
        return {
            "anchor": f"q{number}",
            "number": number,
            "id": text_of(query_id),
            "file": text_of(PurePath(str(row["path"])).name),
            "date": date_of(row.get("date")),
            "viewpoint": text_of(row.get("viewpoint")),
            "individual": text_of(row.get("individual_id")),
            "picture": large,
            "thumbnail": self.book.photograph(upright, THUMBNAIL, 78) if upright is not None else None,
            "best": best,
            "uncertainty": round(uncertainty(best), 4),
            "new": new,
            "level": level,
            "verdict": text_of(sentence),
            "cards": cards,
            "individuals": individuals,
            "filter_text": text_of(self.run.query_filters.get(query_id)),
            "data": {"query": large, "parts": self._parts(query_id, cards), **_shared_views(pairs)},
        }

    def _card(self, answer: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
        image_id = str(answer["image_id"])
        photo = {**answer, **self._candidates.get(image_id, {})}
        return {
            "rank": int(answer["rank"]),
            "id": text_of(image_id),
            "key": image_id,
            "file": text_of(PurePath(text_of(photo.get("path"))).name) or text_of(image_id),
            "individual": text_of(photo.get("individual_id")),
            "probability": _number(answer["probability"]) or 0.0,
            "date": date_of(photo.get("date")),
            "gap": gap_in_words(_gap(photo, query)),
            "viewpoint": text_of(photo.get("viewpoint")),
            "encounter": text_of(photo.get("encounter_id")),
            "cosine": _number(answer.get("cosine")),
            "matches": _count(answer.get("lightglue_matches")),
            "inliers": _count(answer.get("lightglue_inliers")),
            "thumbnail": self._thumbnail(image_id, photo),
        }

    def _thumbnail(self, image_id: str, photo: dict[str, Any]) -> dict[str, Any] | None:
        if image_id not in self._thumbnails:
            what = text_of(photo.get("path")) or image_id
            upright = self.problems.attempt(what, lambda: read_upright(self.run, photo))
            reference = self.book.photograph(upright, THUMBNAIL, 78) if upright is not None else None
            self._thumbnails[image_id] = reference
        return self._thumbnails[image_id]

    def _pair(self, query_id: str, card: dict[str, Any]) -> dict[str, Any] | None:
        if self.run.evidence is None or card["rank"] > self.pictures_per_query:
            return None
        evidence, what = self.run.evidence, f"{query_id} with {card['key']}"

        def show() -> dict[str, Any]:
            shown = evidence(query_id, card["key"])
            # A pair that LightGlue did not see while ranking is matched for its picture: the card says what it found.
            card["matches"], card["inliers"] = len(shown.correspondences), shown.verification.n_inliers
            return pair_data(shown, self.book)

        return self.problems.attempt(what, show)

    def _parts(self, query_id: str, cards: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what the ranker's features added to each card's score, by rank."""
        if self.run.parts is None or not cards:
            return {}
        explain, what = self.run.parts, f"the explanation of {query_id}"
        found = self.problems.attempt(what, lambda: explain(query_id)) or {}
        shown = {str(card["rank"]): found[card["key"]] for card in cards if card["key"] in found}
        self.method = next((parts.method for parts in shown.values()), self.method)
        return {rank: parts_data(parts) for rank, parts in shown.items()}

    def _ranked_individuals(self, query_id: str, cards: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ranked = []
        for row in self._individuals.get(query_id, [])[:5]:
            name = text_of(row["individual_id"])
            best = str(row.get("best_image_id"))
            # the best photograph leads, the others of this animal among the candidates follow in their order
            support = sorted((c for c in cards if c["individual"] == name and name), key=lambda c: c["key"] != best)
            ranked.append(
                {
                    "rank": int(row["rank"]),
                    "individual": name,
                    "probability": _number(row["probability"]) or 0.0,
                    "photographs": _count(row.get("n_photographs")),
                    "support": support[:_SUPPORTING],
                }
            )
        return ranked


def _shared_views(pairs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Keep each photograph's layers once: the query's are the same beside every candidate."""
    views: list[dict[str, Any]] = []
    light: dict[str, Any] = {}
    for rank, pair in pairs.items():
        numbers = []
        for view in pair["views"]:
            if view not in views:
                views.append(view)
            numbers.append(views.index(view))
        light[rank] = {**pair, "views": numbers}
    return {"views": views, "pairs": light}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _grouped(table: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in _records(table.sort_values("rank", kind="stable")):
        groups.setdefault(str(row["query_id"]), []).append(row)
    return groups


def _gap(photo: Mapping[str, Any], query: Mapping[str, Any]) -> float | None:
    first, second = date_of(query.get("date")), date_of(photo.get("date"))
    try:
        return float((dt.date.fromisoformat(second) - dt.date.fromisoformat(first)).days)
    except ValueError:  # one of them is unknown, or text that is no date
        return None


def _number(value: Any) -> float | None:
    if not known(value) or not math.isfinite(float(value)):
        return None
    return float(value)


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else round(number)


def _page(run: MatchRun, sections: list[dict[str, Any]], writer: _Writer, inline: bool) -> dict[str, Any]:
    best = [section["best"] for section in sections if section["best"] is not None]
    doubtful = sorted(sections, key=lambda section: (-section["uncertainty"], section["number"]))
    named = {card["individual"] for section in sections for card in section["cards"] if card["individual"]}
    levels = [section["level"] for section in sections]
    return {
        "title": text_of(run.title),
        "sections": sections,
        "contact": doubtful,
        "histogram": _histogram(best),
        "facts": [
            (len(sections), "queries"),
            (len(run.candidates), "candidate photographs"),
            (len(named), "individuals proposed"),
            (levels.count("match"), "likely matches"),
            (levels.count("maybe"), "to look at closely"),
            (levels.count("new"), "probably new"),
            (levels.count("none"), "without a convincing match"),
        ],
        "problems": sorted(writer.problems.found.items()),
        "filter_text": text_of(run.filter_text),
        "settings": _flat(run.settings),
        "method": text_of(writer.method),
        "inline": inline,
        "book": writer.book.inside,
        "ramp": ["#" + bytes(colour).hex() for colour in ramp(np.linspace(0, 1, 16)).tolist()],
    }


def _histogram(values: list[float]) -> list[dict[str, Any]]:
    counts, _ = np.histogram(np.clip(values, 0.0, 1.0), bins=_BINS, range=(0.0, 1.0))
    top = max(int(counts.max()), 1)
    return [
        {"low": i / _BINS, "high": (i + 1) / _BINS, "count": int(count), "share": float(count) / top}
        for i, count in enumerate(counts)
    ]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name} · ")
        else:
            rows.append((text_of(name), text_of(value) or "–"))
    return rows


def json_block(value: Any) -> Markup:
    """Return JSON that is harmless inside a script element, whatever file names it holds."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def chance(probability: float | None) -> str:
    """Return a probability as text; rounding makes none certain.

    >>> [chance(value) for value in (None, 0.0, 0.25, 0.9999)]
    ['–', '<0.001', '0.250', '>0.999']
    """
    if probability is None:
        return "–"
    return "<0.001" if probability < 0.001 else ">0.999" if probability > 0.999 else f"{probability:.3f}"


def _render(path: Path, page: dict[str, Any]) -> None:
    here = Path(__file__).parent
    script = "".join((here / name).read_text(encoding="utf-8") for name in ("comparison.js", "script.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    environment = Environment(
        loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json_block"] = json_block
    environment.filters["chance"] = chance
    template = environment.get_template("template.html")
    style = (here / "style.css").read_text(encoding="utf-8")
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for piece in template.generate(page=page, style=Markup(style), script=Markup(script), script_hash=digest):
            file.write(piece)
    part.replace(path)
