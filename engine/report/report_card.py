"""A trained model's report card as one page and one JSON file, with pictures of its worst answers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.models.card import ReportCard, WorstAnswer, duration
from engine.report.image_files import save_jpeg
from engine.report.pair_picture import draw_pair
from features.photo import PhotoError
from scarmatch import __version__

if TYPE_CHECKING:
    from engine.catalogue.index import CatalogIndex, Progress
    from engine.search.matcher import Matcher

JSON_NAME = "report.json"


def write_report_card(
    card: ReportCard, matcher: Matcher, index: CatalogIndex, folder: Path | str, progress: Progress | None = None
) -> Path:
    """Write ``index.html``, ``report.json`` and the pictures of the worst answers; return the page.

    Args:
        card: what is told.
        matcher: with the model; draws the pairs.
        index: the catalogue that was asked.
        folder: to write into, made if need be.
        progress: called with (answers drawn, answers in all).
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    (place / JSON_NAME).write_text(json.dumps(card.to_dict(), indent=1) + "\n", encoding="utf-8")
    worst = []
    for number, one in enumerate(card.worst):
        worst.append((one, _draw(one, matcher, index, place, number + 1)))
        if progress is not None:
            progress(number + 1, len(card.worst))
    environment = Environment(loader=PackageLoader("engine", "report"), autoescape=True, undefined=StrictUndefined)
    template = environment.get_template("report_card.html")
    page = place / "index.html"
    text = template.render(
        card=card,
        worst=worst,
        duration=duration,
        radius=lambda count: 3 + 2 * math.log10(1 + count),
        version=__version__,
        json_name=JSON_NAME,
    )
    page.write_text(text, encoding="utf-8")
    return page


def _draw(
    one: WorstAnswer, matcher: Matcher, index: CatalogIndex, folder: Path, number: int
) -> list[tuple[str, str, str]]:
    """Draw the wrong answer and the best right one; return (which, file, why there is none) of each that is listed."""
    files = []
    for name, image in (("answer", one.image_id), ("right", one.true_image_id)):
        if not image:
            continue
        try:
            picture = draw_pair(matcher.evidence(one.query_id, image, index, index), ("photographs", "inliers"), 360)
        except (PhotoError, OSError) as error:  # a photograph that went since leaves its place empty
            files.append((name, "", str(error)))
            continue
        files.append((name, save_jpeg(folder / f"worst-{number:02d}-{name}.jpg", picture).name, ""))
    return files
