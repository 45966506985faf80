"""What a review's page offers to download: the review as it is, and today's catalogue in the forms of the exports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

from engine.catalogue.catalog import Catalog
from engine.exports.downloads import DOWNLOADS as CATALOGUE_FORMS
from engine.exports.downloads import write_download
from engine.exports.occasions import capture_histories
from engine.exports.records import ExportSettings
from engine.exports.today import names_today
from engine.review.downloads import DOWNLOADS as REVIEW_FORMS
from engine.review.server.interface import CaptureHistoriesOut, ExportWishes, HistoryOut, OccasionOut
from engine.review.session import Review

#: Writes a file; in any thread, however long it takes.
Writing: TypeAlias = Callable[[Path], None]


@dataclass(frozen=True)
class Offer:
    """Something to download.

    Attributes:
        name: of the file. kind: its media type. text: what it holds, for people.
        prepare: takes what it needs of the review, which one thread at a time may use, and returns what writes the
            file; it raises ExportError where the catalogue cannot be written in the form.
    """

    name: str
    kind: str
    text: str
    prepare: Callable[[Review, ExportWishes], Writing]


_TEXTS = {
    "names": "every photograph with its name today and before",
    "decisions": "all decisions: who, when, what, with which probability",
    "decisions-json": "the same, with what was shown",
    "review": "the whole review, to go on with elsewhere",
    "catalogue-csv": "the catalogue as it is today, one row for each animal",
    "catalogue-coco": "the same as a COCO file",
    "catalogue-happywhale": "the same in Happywhale's layout, with the photographs",
    "catalogue-folders": "the photographs in one folder for each individual",
    "catalogue-wildbook": "sheets and photographs for Wildbook's bulk import",
    "catalogue-mark": "capture histories for MARK and RMark",
    "catalogue-secr": "capture histories for secr and openCR",
}
#: Those that have questions of their own on the page, and no place in its list.
ASKED_FOR = ("catalogue-wildbook", "catalogue-mark", "catalogue-secr")


def settings_of(wishes: ExportWishes) -> ExportSettings:
    """Return the options of an export that a request asks for."""
    return ExportSettings(
        species=wishes.species,
        location=wishes.location,
        submitter=wishes.submitter,
        sheet=wishes.sheet,
        occasions=wishes.occasions,
        breaks=tuple(part.strip() for part in wishes.breaks.split(",") if part.strip()),
        sides=tuple(wishes.sides),
        empty_occasions=wishes.empty_occasions,
    )


def today_of(review: Review, wishes: ExportWishes) -> tuple[Catalog, tuple[str, ...]]:
    """Return the catalogue under today's names, as far as they are certain enough, and what there is to say of it."""
    return names_today(review.photographs, review.state, wishes.min_certainty)


def histories_of(today: Catalog, notes: tuple[str, ...], wishes: ExportWishes) -> CaptureHistoriesOut:
    """Return the capture histories of a catalogue as programs get them.

    Raises:
        ExportError: there are none, and why.
    """
    found = capture_histories(today, settings_of(wishes))
    captured = (found.counts > 0).sum(axis=0)
    return CaptureHistoriesOut(
        occasions=[
            OccasionOut(
                name=one.name,
                first_day=one.first.isoformat(),
                last_day=one.last.isoformat(),
                individuals=int(captured[number]),
                photographs=int(found.efforts[number]),
            )
            for number, one in enumerate(found.occasions)
        ],
        individuals=[
            HistoryOut(
                name=name,
                history=found.history(row),
                photographs=int(found.counts[row].sum()),
                first_seen=str(found.first_seen[row]),
                last_seen=str(found.last_seen[row]),
            )
            for row, name in enumerate(found.individuals)
        ],
        notes=[*notes, *found.notes],
    )


def offers() -> dict[str, Offer]:
    """Return everything that can be downloaded: name -> offer."""
    found = {
        name: Offer(file, kind, _TEXTS[name], partial(_of_review, make))
        for name, (file, kind, make) in REVIEW_FORMS.items()
    }
    for form, download in CATALOGUE_FORMS.items():
        name = f"catalogue-{form}"
        found[name] = Offer(download.name, download.kind, _TEXTS[name], partial(_of_catalogue, form))
    return found


def _of_review(make: Callable[[Review], bytes], review: Review, wishes: ExportWishes) -> Writing:
    content = make(review)

    def write(file: Path) -> None:
        file.write_bytes(content)

    return write


def _of_catalogue(form: str, review: Review, wishes: ExportWishes) -> Writing:
    today, notes = today_of(review, wishes)
    settings = settings_of(wishes)
    return lambda file: write_download(today, form, file, settings, notes)
