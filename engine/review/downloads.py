"""What can be taken out of a review as it is: the decisions, today's names, and the file itself."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.catalogue.csv_output import guarded
from engine.review.decisions import Decision
from engine.review.session import Review

_COLUMNS = (
    "number",
    "at",
    "who",
    "kind",
    "images",
    "name",
    "individual",
    "target",
    "confidence",
    "probability",
    "version",
    "counts",
)


def decisions_csv(review: Review) -> bytes:
    """Return the table of decisions as CSV; ``counts`` is 0 for what was taken back."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS)
    writer.writeheader()
    for one in review.state.decisions:
        record = _record(one) | {"images": " ".join(one.images), "counts": int(one.number in review.state.counting)}
        writer.writerow({name: guarded(record[name]) for name in _COLUMNS})
    return text.getvalue().encode("utf-8", "backslashreplace")


def decisions_json(review: Review) -> bytes:
    """Return the table of decisions as JSON, with what was shown."""
    rows = [
        _record(one) | {"shown": dict(one.shown), "counts": one.number in review.state.counting}
        for one in review.state.decisions
    ]
    return json.dumps(rows, indent=1).encode()


def names_csv(review: Review) -> bytes:
    """Return every photograph with its name before the review and today's."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("image_id", "individual_id", "individual_before", "path"))
    before = review.state.catalogue_names
    for image, name in review.state.names().items():
        row = review.rows.get(image)
        if row is not None:
            values = (image, name or "", before.get(image) or "", row["path"])
            writer.writerow([guarded(value) for value in values])
    return text.getvalue().encode("utf-8", "backslashreplace")


def whole_file(review: Review) -> bytes:
    """Return a copy of the review's file that is whole, whoever writes meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "review.sqlite"
        review.file.copy_to(copy)
        return copy.read_bytes()


#: name -> (file name, kind, what makes its content).
DOWNLOADS: dict[str, tuple[str, str, Callable[[Review], bytes]]] = {
    "names": ("names.csv", "text/csv; charset=utf-8", names_csv),
    "decisions": ("decisions.csv", "text/csv; charset=utf-8", decisions_csv),
    "decisions-json": ("decisions.json", "application/json", decisions_json),
    "review": ("review.sqlite", "application/vnd.sqlite3", whole_file),
}


def _record(one: Decision) -> dict[str, Any]:
    values = {name: getattr(one, name) for name in _COLUMNS if name not in ("images", "counts")}
    return values | {"images": list(one.images)}
