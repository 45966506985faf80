"""What a review's page offers to download: the review as it is, and today's catalogue in the forms of the exports."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from engine.exports.downloads import DOWNLOADS as CATALOGUE_FORMS
from engine.exports.downloads import export_content
from engine.review.downloads import DOWNLOADS as REVIEW_FORMS
from engine.review.reviewed import named_as_today
from engine.review.session import Review


def catalogue_as(form: str, review: Review) -> bytes:
    """Return the catalogue with today's names in one of :data:`engine.exports.downloads.DOWNLOADS`' forms.

    Raises:
        ExportError: the catalogue cannot be written in it, for instance without any date.
    """
    return export_content(named_as_today(review.photographs, review.state), form)


def downloads() -> dict[str, tuple[str, str, Callable[[Review], bytes]]]:
    """Return name -> (file name, kind, what makes its content)."""
    forms = {
        f"catalogue-{form}": (download.name, download.kind, partial(catalogue_as, form))
        for form, download in CATALOGUE_FORMS.items()
    }
    return {**REVIEW_FORMS, **forms}
