"""Happywhale's answer as a file, ``image,predictions``: writing it, reading it, checking it, and its MAP@5.

``new_individual`` among the five predictions of a photograph says: an animal that is not in the catalogue.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from engine.catalogue.problems import Problem, Problems
from engine.competitions.submission import SubmissionError, read_text_columns
from engine.search.individuals import NEW_INDIVIDUAL
from scarmatch.metrics import reciprocal_rank

#: Most individuals that a photograph may be given.
PREDICTIONS = 5


def map_at_k(predictions: Mapping[str, Sequence[str]], truth: Mapping[str, str], k: int = PREDICTIONS) -> float:
    """Return MAP@k: the mean over the images of 1 / rank of the true individual, 0 if it is not among the first k.

    With one right answer an image this is the whole of average precision. A prediction given twice counts at its first
    place and takes up both places, as the competition's own scorer has it.

    Args:
        predictions: image -> individuals, best first; an image left out scores 0.
        truth: image -> its individual ("new_individual" for those that are not in the catalogue).

    Raises:
        ValueError: truth is empty.
    """
    if not truth:
        raise ValueError("no image to score")
    return sum(reciprocal_rank(list(predictions.get(image, ())), who, k) for image, who in truth.items()) / len(truth)


def write_happywhale(predictions: Mapping[str, Sequence[str]], path: Path | str) -> None:
    """Write ``image,predictions`` with the individuals of each image separated by spaces, images in the order given.

    Raises:
        SubmissionError: an image has no or more than five predictions, one twice, or an individual with a space in it.
    """
    rows = []
    for image, individuals in predictions.items():
        wrong = _fault(individuals)
        if wrong:
            raise SubmissionError(f"{image}: {wrong}")
        rows.append((image, " ".join(individuals)))
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    pd.DataFrame(rows, columns=["image", "predictions"]).to_csv(partial, index=False, lineterminator="\n")
    partial.replace(path)


def read_happywhale_submission(path: Path | str) -> dict[str, list[str]]:
    """Read ``image,predictions`` as image -> individuals, best first.

    Raises:
        SubmissionError: the file cannot be read, lacks a column, or names an image twice.
    """
    table = read_text_columns(path)
    if not {"image", "predictions"} <= set(table.columns):
        columns_text = ", ".join(table.columns)
        raise SubmissionError(f"{path}: the columns image and predictions are needed; found: {columns_text}")
    twice = table["image"][table["image"].duplicated()]
    if len(twice):
        raise SubmissionError(f"{path}: the image {twice.iloc[0]!r} occurs twice")
    return {image: text.split() for image, text in zip(table["image"], table["predictions"], strict=True)}


def check_happywhale(
    submission: Mapping[str, Sequence[str]] | Path | str,
    images: Collection[str] | None = None,
    individuals: Collection[str] | None = None,
) -> list[Problem]:
    """Return what is wrong with a Happywhale submission.

    Args:
        submission: image -> individuals, or the CSV file.
        images: the test images; each must occur, and no other. None: not checked.
        individuals: the catalogue's individuals; others (but "new_individual") are a warning. None: not checked.
    """
    problems = Problems(strict=False)
    file = None if isinstance(submission, Mapping) else str(submission)
    try:
        table = submission if isinstance(submission, Mapping) else read_happywhale_submission(submission)
    except SubmissionError as error:
        return [Problem("error", str(error), file)]
    allowed = None if individuals is None else {*individuals, NEW_INDIVIDUAL}
    wanted = None if images is None else set(images)
    for number, (image, predictions) in enumerate(table.items()):
        where = {"file": file, "line": number + 2}
        wrong = _fault(predictions)
        if wrong:
            problems.error(f"{image}: {wrong}", column="predictions", value=" ".join(predictions), **where)
        if wanted is not None and image not in wanted:
            problems.error(f"{image} is no test image", column="image", value=image, **where)
        for name in predictions if allowed is not None else ():
            if allowed is not None and name not in allowed:
                problems.warning(f"{image}: there is no individual {name}", column="predictions", value=name, **where)
    for image in sorted(wanted - set(table)) if wanted is not None else ():
        problems.error(f"{image} has no predictions", file=file, column="image", value=image)
    return problems.items


def _fault(individuals: Sequence[str]) -> str | None:
    if not 1 <= len(individuals) <= PREDICTIONS:
        return f"{len(individuals)} predictions; give 1 to {PREDICTIONS}"
    if len(set(individuals)) < len(individuals):
        return "an individual is given twice"
    spaced = [name for name in individuals if not name or name.split() != [name]]
    return f"an individual must be one word, not {spaced[0]!r}" if spaced else None
