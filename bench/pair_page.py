"""The page of single pairs: the surest, the missed and the most wrong (see :mod:`bench.pairs`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from jinja2 import Environment

from bench.error_page import PAGE_HEAD, draw_evidence
from bench.pair_draw import IMPOSTOR_KINDS, MIXED_KINDS, TRUE_KINDS, DrawnPair
from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher

_PAGE = """<p class="quiet">{{ intro }}</p>
{% for part in parts %}<h2>{{ part.title }}</h2>
{% for item in part.pairs %}<section>
<h3>{{ item.ids[0] }} and {{ item.ids[1] }}</h3>
<p class="quiet">{{ item.kind }} · log-odds {{ "%+.2f"|format(item.score) }} (1 % of impostors lie above
{{ "%+.2f"|format(item.limit) }})</p>
{{ pictures(item.pictures) }}</section>
{% else %}<p class="quiet">none</p>
{% endfor %}{% endfor %}</body></html>
"""
#: What is drawn of a pair: each its layers, and a name.
_SHOWN = (
    (("photographs", "inliers"), "keypoints that agree on one placement"),
    (("photographs", "skin"), "places of alike skin"),
    (("photographs", "marks", "body", "keypoints"), "marks, body and kept keypoints"),
)


def chosen_pairs(
    pairs: Sequence[DrawnPair], scores: npt.NDArray[np.float64], count: int
) -> list[tuple[str, list[tuple[int, float]]]]:
    """Choose whom to show.

    Args:
        pairs: true pairs and impostors.
        scores: (pairs,) local evidence.
        count: pairs of a part.

    Returns:
        (title, [(row, limit at 1 % false positives)]) of: the surest and the least likely true pairs of every kind, and
        the impostors that look most like one animal.
    """
    kinds = np.array([pair.kind for pair in pairs], object)
    same, mixed = np.array([pair.same for pair in pairs]), np.isin(kinds, MIXED_KINDS)
    limits = np.full(len(pairs), np.nan)
    for views in (mixed, ~mixed):
        if (views & ~same).any():
            limits[views] = np.quantile(scores[views & ~same], 0.99, method="higher")
    ordered = np.argsort(-scores, kind="stable")
    parts = []
    for kind in TRUE_KINDS:
        rows = ordered[kinds[ordered] == kind]
        parts.append((f"{kind}: the surest", rows[:count]))
        parts.append((f"{kind}: missed", rows[::-1][: min(count, max(len(rows) - count, 0))]))
    parts += [(f"{kind}: the most wrong", ordered[kinds[ordered] == kind][:count]) for kind in IMPOSTOR_KINDS]
    return [(title, [(int(row), float(limits[row])) for row in rows]) for title, rows in parts if len(rows)]


def draw_pair_page(
    pairs: Sequence[DrawnPair],
    scores: npt.NDArray[np.float64],
    index: CatalogIndex,
    matcher: Matcher,
    output: Path,
    count: int = 3,
) -> Path:
    """Draw the chosen pairs into a folder and return its ``index.html``; a photograph that is gone stops nobody."""
    output.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, (title, rows) in enumerate(chosen_pairs(pairs, scores, count), 1):
        shown = []
        for place, (row, limit) in enumerate(rows, 1):
            pair = pairs[row]
            ids = (pair.image_id0, pair.image_id1)
            wanted = [(f"{number:02d}-{place}-{n}.jpg", layers, words) for n, (layers, words) in enumerate(_SHOWN)]
            pictures = draw_evidence(output, ids, wanted, matcher, index)
            item = {"ids": ids, "kind": pair.kind, "score": scores[row], "limit": limit, "pictures": pictures}
            shown.append(item)
        parts.append({"title": title, "pairs": shown})
    page = output / "index.html"
    intro = f"{len(pairs)} pairs, scored by local evidence alone, by weights fitted without the whales that they score."
    text = Environment(autoescape=True).from_string(PAGE_HEAD + _PAGE)
    page.write_text(text.render(title="Single pairs", intro=intro, parts=parts), encoding="utf-8")
    return page
