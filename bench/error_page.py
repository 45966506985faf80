"""The page of the worst queries and the confused pairs (see :mod:`bench.errors`)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jinja2 import Environment

from engine.catalogue.index import CatalogIndex, refs_of
from engine.report.contact_sheet import draw_contact_sheet
from engine.report.image_files import save_jpeg
from engine.report.pair_picture import draw_pair
from engine.search.matcher import Matcher
from engine.search.pair_evidence import caption
from features.describe import Describer
from features.photo import PhotoError

logger = logging.getLogger(__name__)
#: Head of a page of pictures on dark ground, and a macro that draws a row of them; ``title`` names the page.
PAGE_HEAD = """{% macro pictures(items) %}<div class="row">{% for picture in items %}<figure>
<img loading="lazy" src="{{ picture.file }}" alt="{{ picture.words }}">
<figcaption>{{ picture.words }}</figcaption></figure>
{% endfor %}</div>{% endmacro %}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { background: #10171f; color: #e2e8ee; font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1200px;
  padding: 1rem; }
h1, h2, h3 { font-weight: 600; line-height: 1.25; }
section { border-top: 1px solid #2c3845; margin-top: 1.5rem; padding-top: .5rem; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: .5rem 0; }
img { display: block; max-width: 100%; }
figcaption { color: #96a3b0; }
.quiet { color: #96a3b0; }
.cause { border: 1px solid #ffb03b; border-radius: 3px; color: #ffb03b; margin-right: .4rem; padding: 0 .4rem; }
</style></head><body>
<h1>{{ title }}</h1>
"""
_PAGE = """<p class="quiet">{{ intro }}</p>
<h2>The worst queries</h2>
{% for item in worst %}<section>
<h3>{{ loop.index }}. {{ item.query }} is {{ item.individual }}</h3>
<p>{% if item.guess %}First answer: {{ item.guess }} with probability {{ "%.3f"|format(item.probability) }}.{% endif %}
{% if item.first_rank %}The first true match stands at place {{ item.first_rank }}{% else %}No true match is in the
shortlist{% endif %}; average precision {{ "%.3f"|format(item.ap20) }}.</p>
<p>{% for cause in item.causes %}<span class="cause">{{ cause }}</span>{% else %}<span class="quiet">none of the
measured causes</span>{% endfor %}</p>
<p class="quiet">{{ item.measures }}</p>
{{ pictures(item.pictures) }}</section>
{% endfor %}<h2>Taken for each other</h2>
{% for item in confused %}<section>
<h3>{{ item.individuals[0] }} and {{ item.individuals[1] }}: {{ item.queries }}
{{ "query" if item.queries == 1 else "queries" }}{% if item.both_directions %}, in both directions{% endif %}</h3>
<p>Surest: {{ item.surest.query }} against {{ item.surest.candidate }},
probability {{ "%.3f"|format(item.surest.probability) }}.</p>
{{ pictures(item.pictures) }}</section>
{% endfor %}</body></html>
"""
_INLIERS = ("photographs", "inliers")
_CONFUSED_DRAWN = 8
_ANSWERS_DRAWN = 5


def draw_page(
    figures: dict[str, Any],
    answers: pd.DataFrame,
    index: CatalogIndex,
    matcher: Matcher,
    describer: Describer,
    output: Path,
) -> Path:
    """Draw the worst queries and the confused pairs, and write ``index.html``.

    Args:
        figures: ``worst`` and ``confusion`` as :func:`bench.errors.run` makes them, ``asked``, ``failures``.
        answers: the engine's ranked candidates of the queries.
        index: queries and candidates.
        matcher: draws the evidence of pairs.
        describer: reads photographs.
        output: folder to write.

    Returns:
        The page.
    """
    output.mkdir(parents=True, exist_ok=True)
    worst = []
    for number, record in enumerate(figures["worst"], 1):
        query, match = record["query"], record["match"]
        rows = answers[answers["query_id"] == query]
        sheet = _sheet(query, match, rows, index, describer)
        pictures = [_save(output, f"worst-{number:02d}-answers.jpg", sheet, "query, true match, answers")]
        pairs = (("match", match, "the true match"), ("answer", next(iter(rows["image_id"]), None), "the first answer"))
        for kind, name, words in pairs:
            if name is not None:
                shown = (f"worst-{number:02d}-{kind}.jpg", _INLIERS, f"keypoints of {words}")
                pictures += draw_evidence(output, (query, name), [shown], matcher, index)
        worst.append({**record, "pictures": pictures})
    confused = []
    for number, record in enumerate(figures["confusion"][:_CONFUSED_DRAWN], 1):
        ids = (record["surest"]["query"], record["surest"]["candidate"])
        shown = (f"confused-{number:02d}.jpg", _INLIERS, "keypoints of the surest pair")
        pictures = draw_evidence(output, ids, [shown], matcher, index)
        confused.append({**record, "pictures": pictures})
    intro = (
        f"{figures['asked']} queries from above, without their own encounters; {figures['failures']} have a wrong "
        "first answer. Orange: measures in which the query lies in the worst fifth."
    )
    page = output / "index.html"
    template = Environment(autoescape=True).from_string(PAGE_HEAD + _PAGE)
    text = template.render(title="Where it fails", intro=intro, worst=worst, confused=confused)
    page.write_text(text, encoding="utf-8")
    return page


def _sheet(
    query_id: str, match: str | None, rows: pd.DataFrame, index: CatalogIndex, describer: Describer
) -> npt.NDArray[np.uint8]:
    """Draw a query, its true match and its first answers beside one another."""
    rows = rows.head(_ANSWERS_DRAWN)
    named = [("query", query_id), *([("true match", match)] if match is not None else [])]
    named += [
        (f"{rank}: p {p:.2f}", name)
        for rank, p, name in zip(rows["rank"], rows["probability"], rows["image_id"], strict=True)
    ]
    photographs: list[tuple[npt.NDArray[np.uint8] | None, str]] = []
    for head, name in named:
        info = index.catalog.row(name)
        date = info["date"].date() if pd.notna(info["date"]) else None
        words = caption(head, info["individual_id"], date)
        try:
            photo, frame = describer.read(refs_of(index.catalog.subset([name]))[0])
            photographs.append((np.ascontiguousarray(frame.turn(photo.rgb)), words))
        except PhotoError:
            photographs.append((None, words))
    return draw_contact_sheet(photographs, columns=len(photographs), height=360, width=150)


def draw_evidence(
    output: Path,
    ids: tuple[str, str],
    shown: Sequence[tuple[str, Sequence[str], str]],
    matcher: Matcher,
    index: CatalogIndex,
) -> list[dict[str, str]]:
    """Draw the evidence of a pair, found once, into files.

    Args:
        shown: file, layers and words of every picture.

    Returns:
        What :data:`PAGE_HEAD` needs to show them; nothing if a photograph cannot be read.
    """
    try:
        evidence = matcher.evidence(ids[0], ids[1], index, index)
    except PhotoError as error:
        logger.warning("not drawn: %s", error)
        return []
    return [_save(output, file, draw_pair(evidence, layers), words) for file, layers, words in shown]


def _save(output: Path, file: str, rgb: npt.NDArray[np.uint8], words: str) -> dict[str, str]:
    save_jpeg(output / file, rgb)
    return {"file": file, "words": words}
