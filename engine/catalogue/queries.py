"""Questions to a catalogue: loose photographs, photographs of the catalogue itself, and animals in one frame."""

from __future__ import annotations

import datetime as dt
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from engine.catalogue.catalog import Catalog, when_given
from engine.catalogue.dates import When
from engine.catalogue.fields import normalise_viewpoint
from engine.catalogue.paths import exists, photo_files, real_path
from engine.catalogue.problems import CatalogError

logger = logging.getLogger(__name__)


def query_catalog(
    queries: Sequence[Path | str],
    catalog: Catalog,
    viewpoint: str | None = None,
    date: dt.date | str | None = None,
) -> Catalog:
    """Return the photographs to ask about as a catalogue, with all that is known of them.

    What is asked is decided photograph by photograph, by the file and not by how its path is written: one of the
    catalogue's own keeps what the catalogue knows of it (its encounter can then be left out, and it is never its own
    candidate), and a frame of several animals becomes one question for each. Any other becomes a new photograph.

    Args:
        queries: files, folders of photographs, or image ids of the catalogue (a file of that name goes first).
        catalog: the catalogue to be searched.
        viewpoint, date: of all photographs of which the catalogue does not know it; None = unknown.

    Raises:
        CatalogError: no photograph is given, a file does not exist, or the date cannot be read.
    """
    when = when_given(date)
    view = normalise_viewpoint(viewpoint)[0]
    questions: dict[str, str | Path] = {}  # ids of the catalogue, and files that it lacks, each once and in order
    for name in queries:
        if str(name) in catalog and not exists(Path(name)):
            questions.setdefault(str(name), str(name))
            continue
        for file in photo_files([name]):
            ids = [catalog.ids[row] for row in catalog.rows_of(file)]
            if len(ids) > 1:
                logger.warning("%s shows %d animals, and each is a question: %s", file, len(ids), ", ".join(ids))
            for image_id in ids:
                questions.setdefault(image_id, image_id)
            if not ids:
                questions.setdefault(real_path(file), file)
    parts: list[Catalog] = []
    for is_new, group in itertools.groupby(questions.values(), key=lambda item: isinstance(item, Path)):
        if is_new:
            taken = [*catalog.ids, *(image_id for part in parts for image_id in part.ids)]
            parts.append(Catalog.from_photos(group, viewpoint, date, avoid=taken))
        else:
            parts.append(_filled(catalog.subset([str(image_id) for image_id in group]), view, when))
    if not parts:
        raise CatalogError("no photographs given; name at least one file, or a folder that holds some")
    if len(parts) == 1:
        return parts[0]
    source = parts[0].source if len({part.source for part in parts}) == 1 else "photos"
    return Catalog(pd.concat([part.table for part in parts], ignore_index=True), parts[0].root, source)


def _filled(part: Catalog, viewpoint: str | None, when: When | None) -> Catalog:
    """Return photographs of the catalogue with what a person says of them where the catalogue knows nothing."""
    table = part.table.copy()
    if viewpoint is not None:
        other = table["viewpoint"].notna() & (table["viewpoint"] != viewpoint)
        if other.any():
            names = ", ".join(table["image_id"][other])
            logger.warning("the catalogue's own viewpoint of %s is kept, not %r", names, viewpoint)
        table["viewpoint"] = table["viewpoint"].where(table["viewpoint"].notna(), viewpoint)
    if when is not None:
        unknown = table["latest"].isna()
        known_otherwise = ~unknown & (
            (table["latest"] < _time(when.earliest)) | (table["earliest"] > _time(when.latest))
        )
        if known_otherwise.any():
            names = ", ".join(table["image_id"][known_otherwise])
            logger.warning("the catalogue's own date of %s is kept, not %s", names, when.earliest)
        for name in ("date", "earliest", "latest"):
            value = getattr(when, name)
            if value is not None:
                table.loc[unknown, name] = _time(value)
    return Catalog(table, part.root, part.source)


def _time(day: dt.date) -> pd.Timestamp:
    return pd.Timestamp(day)


def find_photograph(name: Path | str, catalog: Catalog) -> str | None:
    """Return the image id of one photograph of a catalogue, by its id or its file; None if the catalogue has it not.

    Raises:
        CatalogError: the file shows several animals; the message lists their ids.
    """
    if str(name) in catalog:
        return str(name)
    rows = catalog.rows_of(name)
    if len(rows) > 1:
        ids = ", ".join(catalog.ids[row] for row in rows)
        raise CatalogError(f"{name} shows {len(rows)} animals; choose one by its id: {ids}")
    return catalog.ids[rows[0]] if rows else None
