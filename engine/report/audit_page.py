"""An audit as files: tables (CSV), everything (JSON), pictures of the pairs, and one page that shows them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader

from engine.catalogue.csv_output import write_csv
from engine.report.audit import Audit
from engine.report.contact_sheet import draw_contact_sheet
from engine.report.image_files import save_jpeg
from engine.report.pair_picture import draw_pair
from features.photo import PhotoError

if TYPE_CHECKING:
    from engine.catalogue.index import Progress
    from engine.search.matcher import Matcher

TABLES = {
    "merge_candidates": ("merges", "image_id0", "image_id1"),
    "wrong_individual": ("wrong", "image_id", "best_image_id"),
    "near_duplicates": ("copies", "image_id0", "image_id1"),
}
_TITLES = {
    "merge_candidates": "Individuals that may be the same",
    "wrong_individual": "Photographs that may carry the wrong individual",
    "near_duplicates": "Near-duplicates",
}
_WORDS = {
    "individual0": "first name",
    "individual1": "second name",
    "photographs0": "photographs of the first",
    "photographs1": "photographs of the second",
    "best_probability": "best pair",
    "image_id0": "first photograph",
    "image_id1": "second photograph",
    "image_id": "photograph",
    "individual_id": "its name",
    "suggested": "suggested name",
    "own_probability": "probability of its name",
    "best_image_id": "best photograph of that",
}
_NOTES = {
    "merge_candidates": "Probability that both names are one animal; how many photographs of each speak for it.",
    "wrong_individual": "Probability that the photograph shows the suggested individual, beside that of its own name.",
    "near_duplicates": "Practically the same picture. Under two names, one of them is wrong.",
}


def write_audit(
    audit: Audit, matcher: Matcher, output_dir: Path | str, pictures: int = 30, progress: Progress | None = None
) -> Path:
    """Write the tables, ``audit.json``, ``pictures/`` and ``index.html``; return the page.

    Args:
        audit: what was found.
        matcher: draws the pairs.
        output_dir: folder to write into, made if need be.
        pictures: at most so many pictures of each kind of finding, the surest first.
        progress: called with (pictures done, pictures in all).
    """
    folder = Path(output_dir)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    (folder / "audit.json").write_text(json.dumps(_plain(audit.to_dict()), indent=1) + "\n", encoding="utf-8")
    sections = []
    total = sum(min(pictures, len(getattr(audit, name))) for name, _, _ in TABLES.values())
    done = 0
    for kind, (name, first, second) in TABLES.items():
        table: pd.DataFrame = getattr(audit, name)
        write_csv(table, folder / f"{kind}.csv")
        findings = []
        for number, row in enumerate(table.to_dict("records")):
            finding: dict[str, Any] = {
                "row": _shown(row),
                "pictures": [],
                "photographs": [str(row[first]), str(row[second])],
            }
            if number < pictures:
                target = folder / "pictures" / f"{kind}-{number + 1:03d}"
                finding["pictures"] = _draw(audit, matcher, row, first, second, target)
                done += 1
                if progress is not None:
                    progress(done, total)
            findings.append(finding)
        sections.append({"kind": kind, "title": _TITLES[kind], "note": _NOTES[kind], "findings": findings})
    page = folder / "index.html"
    page.write_text(_render(audit, sections), encoding="utf-8")
    return page


def _draw(
    audit: Audit, matcher: Matcher, row: dict[Any, Any], first: str, second: str, target: Path
) -> list[dict[str, Any]]:
    """Draw a pair bare (matches hide the skin) and with its verified matches; return name, width and height of each.

    A photograph that went away since leaves a note instead.
    """
    try:
        evidence = matcher.evidence(row[first], row[second], audit.index, audit.index)
        evidence = dataclasses.replace(evidence, probability=row.get("best_probability", row.get("probability")))
        drawn = {layer: draw_pair(evidence, ("photographs", layer), 360) for layer in ("photographs", "inliers")}
    except (PhotoError, OSError) as error:
        drawn = {"photographs": draw_contact_sheet([(None, str(error))], columns=1)}
    files = []
    for layer, picture in drawn.items():
        file = save_jpeg(target.with_name(f"{target.name}-{layer}.jpg"), picture)
        files.append({"name": f"pictures/{file.name}", "width": picture.shape[1], "height": picture.shape[0]})
    return files


def _shown(row: dict[Any, Any]) -> list[tuple[str, str]]:
    """Return a finding's names and values as they are shown."""
    words = {True: "yes", False: "no"}
    shown = []
    for name, value in row.items():
        if isinstance(value, bool | np.bool_):
            text = words[bool(value)]
        else:
            text = f"{value:.3f}" if isinstance(value, float) else str(value)
        shown.append((_WORDS.get(str(name), str(name).replace("_", " ")), text))
    return shown


def _render(audit: Audit, sections: list[dict[str, Any]]) -> str:
    environment = Environment(loader=PackageLoader("engine", "report"), autoescape=True)
    facts = audit.to_dict()
    counted = {name: facts[name] for name in ("photographs", "individuals", "asked", "left_out", "pairs", "skipped")}
    return environment.get_template("audit.html").render(sections=sections, facts=counted)


def _plain(value: Any) -> Any:
    """Return JSON-ready values."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value
