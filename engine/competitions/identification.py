"""Whom photographs show: photographs and a catalogue in, five individuals a photograph out (Happywhale's question).

:func:`identify_photographs` answers with the whole engine, or with the k-NN head of the second Happywhale baseline on
the global descriptor alone. Where the animals asked for are those that a descriptor was trained on, what its trained
head says (:mod:`features.global_descriptor.classifier`) can be averaged in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import Catalog, CatalogError
from engine.catalogue.csv_output import write_csv
from engine.catalogue.index import CatalogIndex, Progress, refs_of
from engine.competitions.happywhale import PREDICTIONS, map_at_k
from engine.search.individuals import (
    NEW_INDIVIDUAL,
    IdentifySettings,
    KnnSettings,
    average_in,
    knn_head,
    new_individual_probability,
    place_new_individual,
    rank_encounters,
)
from features.describe import Describer
from features.photo_formats import is_photo
from features.records import Failure
from scarmatch.settings import SettingsError

if TYPE_CHECKING:
    from engine.search.matcher import Matcher
    from features.global_descriptor.classifier import TrainedHead

_BATCH = 8  # photographs that a trained head sees at a time

Head = Literal["ranker", "knn"]


@dataclass(frozen=True, eq=False)
class HappywhaleRun:
    """What :func:`identify_photographs` found.

    Attributes:
        predictions: image (file name) -> up to five individuals, best first; every photograph asked has an entry.
        individuals: the answers behind them. Head "ranker": the columns of :data:`engine.search.individuals.COLUMNS`
            and image; head "knn": query_id, rank, individual_id, votes, distance, image.
        failures: photographs that could not be read; their predictions are ``new_individual`` and the commonest.
        truth: image -> true individual (``new_individual`` if not in the catalogue) where the photographs have labels.
    """

    predictions: dict[str, list[str]]
    individuals: pd.DataFrame
    failures: tuple[Failure, ...]
    truth: dict[str, str]

    @property
    def score(self) -> float | None:
        """MAP@5 over the photographs with a label, None without any."""
        return map_at_k(self.predictions, self.truth) if self.truth else None

    def write_details(self, path: Path | str) -> None:
        """Write the answers with probabilities and supporting photographs as CSV."""
        table = self.individuals
        if "photographs" in table:
            table = table.assign(photographs=[" ".join(names) for names in table["photographs"]])
        first = ["image", "rank", "individual_id"]
        write_csv(table[[*first, *(name for name in table.columns if name not in first)]], Path(path))


def read_test_photographs(path: Path | str, catalog: Catalog) -> Catalog:
    """Read the photographs to identify: a folder of them, or any layout that a catalogue may have.

    An id that the catalogue has too gets the prefix ``test:``: it is another photograph, and must not be left out as
    the query itself (the same file is recognised by its content).

    Raises:
        CatalogError: there is no photograph.
    """
    folder = Path(path)
    if folder.is_dir() and any(is_photo(child) for child in folder.iterdir() if child.is_file()):
        return Catalog.from_photos([folder], avoid=catalog.ids)
    photographs = Catalog.read(folder)
    ids = [f"test:{name}" if name in catalog else name for name in photographs.ids]
    return Catalog(photographs.table.assign(image_id=ids), photographs.root, photographs.source)


def identify_photographs(
    photographs: Catalog,
    catalog: Catalog,
    matcher: Matcher,
    settings: IdentifySettings | None = None,
    *,
    head: Head = "ranker",
    knn: KnnSettings | None = None,
    by_encounter: bool = False,
    classifier: TrainedHead | None = None,
    classifier_weight: float = 0.5,
    progress: Progress | None = None,
) -> HappywhaleRun:
    """Name the individual of every photograph: five predictions, ``new_individual`` among them at its place.

    A list with fewer than five is filled with the individuals of most catalogue photographs, which can only gain.

    Args:
        photographs: the questions.
        catalog: the known animals; photographs without an individual are left out.
        matcher: how to match.
        settings: where ``new_individual`` is placed (head "ranker").
        head: "ranker" for the whole engine, "knn" for the vote of the nearest catalogue photographs.
        knn: options of the vote.
        by_encounter: all photographs of an encounter are one question (head "ranker"); they share its answer.
        classifier: a head trained on individuals of the catalogue; what it says is averaged in (head "ranker").
        classifier_weight: of what it says, 0 to 1.
        progress: called with (done, total) of whatever is at work.

    Raises:
        CatalogError: the catalogue names nobody, a name cannot be written (it holds a space), or ``by_encounter``
            without any encounter.
        SettingsError: ``by_encounter`` or ``classifier`` with the head "knn", or a classifier that knows nobody of the
            catalogue.
    """
    named = catalog.table["individual_id"].notna()
    catalog = catalog.take(named.to_numpy().nonzero()[0])
    names = catalog.table["individual_id"]
    if catalog.table.empty:
        raise CatalogError(f"{catalog.root}: no photograph has an individual; there is nobody to be recognised")
    spaced = sorted(name for name in names.unique() if name.split() != [name])
    if spaced:
        raise CatalogError(f"{catalog.root}: individual {spaced[0]!r} holds a space, which separates predictions")
    if by_encounter and head == "knn":
        raise SettingsError("the k-NN head asks photograph by photograph; --by-encounter goes with the ranker")
    if classifier is not None and head == "knn":
        raise SettingsError("the k-NN head votes alone; a trained head goes with the ranker")
    if classifier is not None and not set(classifier.names) & set(names):
        raise SettingsError(f"the trained head knows {len(classifier.names)} individuals, none of this catalogue")
    if by_encounter and photographs.table["encounter_id"].isna().all():
        raise CatalogError(f"{photographs.root}: no photograph has an encounter, so none can be asked together")
    index = matcher.index(catalog, progress)
    if not len(index):
        raise CatalogError(f"{catalog.root}: none of {len(catalog):,} photographs could be read")
    queries = matcher.index(photographs, progress, matcher.store_for(catalog))
    questions = _questions(queries.catalog, by_encounter)
    if head == "knn":
        table = _vote(queries, index, knn)
        questions = {name: name for name in queries.catalog.ids}
    else:
        answers = matcher.match(queries, index, top=matcher.settings.shortlist.longest(len(index)), progress=progress)
        ranked = rank_encounters(answers, questions, model=matcher.individual_model)
        wanted = list(dict.fromkeys(questions.values()))
        new = new_individual_probability(answers, wanted, ranked)
        if classifier is not None:
            said = _classified(queries, questions, classifier, frozenset(names), matcher, progress)
            ranked = average_in(ranked, new, said, classifier_weight)
        table = place_new_individual(ranked, new, (settings or IdentifySettings()).replace(top=PREDICTIONS))
    return _as_predictions(table, questions, photographs, catalog, queries.failures)


def _classified(
    queries: CatalogIndex,
    questions: Mapping[str, str],
    classifier: TrainedHead,
    individuals: frozenset[str],
    matcher: Matcher,
    progress: Progress | None,
) -> dict[str, dict[str, float]]:
    """Return question -> individual of the catalogue -> what the trained head says, the mean over its photographs."""
    describer = Describer(matcher.settings.describe)
    columns = [place for place, name in enumerate(classifier.names) if name in individuals]
    sums: dict[str, list[npt.NDArray[np.float32]]] = {}
    refs = refs_of(queries.catalog)
    for start in range(0, len(refs), _BATCH):
        part = refs[start : start + _BATCH]
        photos, frames = zip(*(describer.read(ref) for ref in part), strict=True)
        regions = [describer.regions(photo, frame) for photo, frame in zip(photos, frames, strict=True)]
        for ref, row in zip(part, classifier.probabilities(photos, frames, regions), strict=True):
            sums.setdefault(questions[ref.image_id], []).append(row[columns])
        if progress is not None:
            progress(start + len(part), len(refs))
    names = [classifier.names[place] for place in columns]
    means = {question: np.mean(rows, axis=0) for question, rows in sums.items()}
    return {
        question: dict(zip(names, (mean / max(float(mean.sum()), 1e-12)).tolist(), strict=True))
        for question, mean in means.items()
    }


def _questions(photographs: Catalog, by_encounter: bool) -> dict[str, str]:
    encounters = photographs.table["encounter_id"]
    pairs = zip(photographs.ids, encounters, strict=True)
    # The prefix keeps an encounter's name apart from a photograph's.
    return {name: f"encounter:{where}" if by_encounter and pd.notna(where) else name for name, where in pairs}


def _vote(queries: CatalogIndex, index: CatalogIndex, knn: KnnSettings | None) -> pd.DataFrame:
    settings = (knn or KnnSettings()).replace(top=PREDICTIONS)
    individuals = index.catalog.table["individual_id"].tolist()
    return knn_head(
        queries.catalog.ids,
        queries.vectors,
        index.vectors,
        individuals,
        settings,
        lambda position: index.contents != queries.contents[position],
    )


def _as_predictions(
    table: pd.DataFrame,
    questions: Mapping[str, str],
    photographs: Catalog,
    catalog: Catalog,
    failures: tuple[Failure, ...],
) -> HappywhaleRun:
    counts = catalog.table["individual_id"].value_counts()
    common = [NEW_INDIVIDUAL, *sorted(counts.index, key=lambda name: (-counts[name], name))]
    ranked = {query: rows["individual_id"].tolist() for query, rows in table.groupby("query_id", sort=False)}
    images = _image_names(photographs)
    predictions, truth = {}, {}
    for image_id, individual in zip(photographs.ids, photographs.table["individual_id"], strict=True):
        labels = [*ranked.get(questions.get(image_id, ""), ()), *common]
        predictions[images[image_id]] = list(dict.fromkeys(labels))[:PREDICTIONS]
        if individual is not None:
            truth[images[image_id]] = individual if individual in counts.index else NEW_INDIVIDUAL
    spread = pd.DataFrame({"query_id": list(questions.values()), "image": [images[name] for name in questions]})
    return HappywhaleRun(predictions, table.merge(spread, on="query_id", sort=False), failures, truth)


def _image_names(photographs: Catalog) -> dict[str, str]:
    """Return image_id -> file name; the id itself where file names repeat."""
    files = [Path(path).name for path in photographs.table["path"]]
    unique = len(set(files)) == len(files)
    return {name: file if unique else name for name, file in zip(photographs.ids, files, strict=True)}
