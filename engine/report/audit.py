"""What is probably wrong with a catalogue's names: animals under two names, photographs under the wrong one, copies.

The engine asks the catalogue about itself:

* **Merge candidates.** A photograph is asked against the photographs of all *other* individuals. The pairs of two
  individuals are combined as the photographs of one individual are (:func:`engine.search.individuals.combine`, each
  photograph of the first individual once, by its best pair), so one look-alike counts once and several photographs add
  up.
* **Wrong individual.** The same photograph is asked against the whole catalogue, its own individual included. Names
  exclude each other there (:func:`engine.search.individuals.rank_individuals`), so another name's probability says how
  much better it explains the photograph than its own. A name's only photograph can only be a merge candidate.
* **Near-duplicates.** Files of equal content, and pictures that are practically the same: their thumbnails correlate.

Cost: every photograph asks the shortlist, which takes milliseconds; pairs are matched for the most suspicious
photographs only, at most ``limit`` in all, the individuals taking turns. Numbers of pairs are kept in the store, so a
stopped audit goes on where it was, and a second one with a larger limit computes only what is new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.catalogue.catalog import CandidateFilter, Catalog, CatalogError
from engine.catalogue.index import CatalogIndex
from engine.report.near_duplicates import near_duplicates
from engine.search.individuals import combine, rank_individuals
from features.records import FloatArray
from reranker.individual_model import IndividualModel
from scarmatch.settings import Settings, SettingsError

if TYPE_CHECKING:
    from engine.catalogue.index import Progress
    from engine.search.matcher import Matcher

MERGE_COLUMNS = (
    "probability",
    "individual0",
    "individual1",
    "photographs0",
    "photographs1",
    "best_probability",
    "image_id0",
    "image_id1",
)
WRONG_COLUMNS = ("probability", "image_id", "individual_id", "suggested", "own_probability", "best_image_id")

#: A photograph that another name explains so many times better than its own says nothing about its individual.
_CLEARLY = 3.0


@dataclass(frozen=True)
class AuditSettings(Settings):
    """Options of :func:`audit_catalog`.

    Attributes:
        limit: pairs of photographs that are matched at most.
        min_probability: findings below it are left out.
    """

    limit: int = 20_000
    min_probability: float = 0.05

    def __post_init__(self) -> None:
        if self.limit < 1 or not 0 <= self.min_probability <= 1:
            raise SettingsError("limit must be at least 1 and min_probability lie in [0, 1]")


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found; every table is sorted, the surest finding first.

    Attributes:
        merges: :data:`MERGE_COLUMNS`: pairs of individuals with the probability that they are one animal, how many
            photographs of each speak for it, and the best pair.
        wrong: :data:`WRONG_COLUMNS`: photographs with the probability that they show ``suggested`` instead of
            ``individual_id``.
        copies: :data:`engine.report.near_duplicates.COPY_COLUMNS`: practically equal pictures.
        index: the labelled photographs.
        asked: photographs whose pairs were matched.
        pairs: pairs that were compared.
        left_out: photographs that the limit left out.
    """

    merges: pd.DataFrame
    wrong: pd.DataFrame
    copies: pd.DataFrame
    index: CatalogIndex
    asked: tuple[str, ...]
    pairs: int
    left_out: int
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        tables = {"merge_candidates": self.merges, "wrong_individual": self.wrong, "near_duplicates": self.copies}
        return {
            "photographs": len(self.index),
            "individuals": int(self.index.catalog.table["individual_id"].nunique()),
            "asked": len(self.asked),
            "left_out": self.left_out,
            "pairs": self.pairs,
            "skipped": [{"path": str(item.path), "reason": item.reason} for item in self.index.failures],
            "settings": self.settings,
            **{name: table.to_dict("records") for name, table in tables.items()},
        }


def audit_catalog(
    catalog: Catalog, matcher: Matcher, settings: AuditSettings | None = None, progress: Progress | None = None
) -> Audit:
    """Look for animals under two names, photographs under the wrong name, and copies.

    Args:
        catalog: photographs with individuals; those without one are left out.
        matcher: how to match.
        settings: options.
        progress: called with (done, total) of whatever is at work.

    Raises:
        CatalogError: fewer than two individuals.
    """
    settings = settings or AuditSettings()
    labelled = catalog.take(catalog.table["individual_id"].notna().to_numpy().nonzero()[0])
    if labelled.table["individual_id"].nunique() < 2:
        raise CatalogError(f"{catalog.root}: an audit compares individuals, and fewer than two are named")
    index = matcher.index(labelled, progress, matcher.store_for(catalog))
    size = matcher.settings.shortlist.longest(len(index))
    query_ids = choose_photographs(index, size, settings.limit)
    queries = index.subset(query_ids)
    others = matcher.match(queries, index, CandidateFilter(exclude_own_individual=True), size, progress)
    own = index.catalog.table["individual_id"].value_counts()
    plural = [name for name in query_ids if own[index.catalog.row(name)["individual_id"]] > 1]
    every = matcher.match(index.subset(plural), index, top=size, progress=progress)
    wrong = wrong_individuals(every, index.catalog, settings.min_probability, matcher.individual_model)
    return Audit(
        merges=merge_candidates(others, index.catalog, settings.min_probability, stray_photographs(wrong)),
        wrong=wrong,
        copies=near_duplicates(index, progress),
        index=index,
        asked=tuple(query_ids),
        pairs=len(others) + len(every),
        left_out=len(index) - len(query_ids),
        settings={**settings.to_dict(), "matcher": matcher.describe_settings()},
    )


def choose_photographs(index: CatalogIndex, size: int, limit: int) -> list[str]:
    """Return the photographs whose pairs are matched: those most like another individual, individuals taking turns.

    Args:
        index: labelled photographs.
        size: length of a shortlist; a photograph costs that many pairs, and as many again for its own individual.
        limit: pairs in all.
    """
    names = index.catalog.table["individual_id"].to_numpy(str)
    own = index.catalog.table["individual_id"].value_counts()
    nearest = _nearest_other(index.vectors, names)
    table = pd.DataFrame({"image_id": index.catalog.ids, "name": names, "nearest": nearest})
    table = table.sort_values(["nearest", "image_id"], ascending=[False, True], kind="stable")
    table["turn"] = table.groupby("name").cumcount()
    table = table.sort_values("turn", kind="stable")
    cost = size + table["name"].map(own).clip(upper=size)
    chosen = table[(cost.cumsum() <= limit) | (np.arange(len(table)) == 0)]
    return sorted(chosen["image_id"], key=index.catalog.position)


def _nearest_other(vectors: FloatArray, names: npt.NDArray[np.str_]) -> FloatArray:
    """Return (N,) the highest cosine of each photograph to one of another individual, a chunk at a time."""
    codes = np.unique(names, return_inverse=True)[1]
    nearest = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), 256):
        cosine = vectors[start : start + 256] @ vectors.T
        cosine[codes[start : start + 256, None] == codes[None]] = -np.inf
        nearest[start : start + 256] = cosine.max(axis=1)
    return nearest


def merge_candidates(
    answers: pd.DataFrame, catalog: Catalog, min_probability: float = 0.05, doubted: set[str] | None = None
) -> pd.DataFrame:
    """Return pairs of individuals that are probably one animal.

    Args:
        answers: photographs asked against those of other individuals.
        catalog: the labelled photographs.
        min_probability: less probable pairs are left out.
        doubted: photographs that probably carry the wrong name; they speak for no merge (they are findings themselves).
    """
    names = catalog.table.set_index("image_id")["individual_id"]
    table = pd.DataFrame({name: answers[name] for name in ("query_id", "image_id", "probability")})
    if doubted:
        table = table[~table["query_id"].isin(doubted) & ~table["image_id"].isin(doubted)]
    first, second = names.reindex(table["query_id"]).to_numpy(str), names.reindex(table["image_id"]).to_numpy(str)
    swap = first > second
    table["individual0"], table["individual1"] = np.where(swap, second, first), np.where(swap, first, second)
    table["image_id0"] = np.where(swap, table["image_id"], table["query_id"])
    table["image_id1"] = np.where(swap, table["query_id"], table["image_id"])
    table = table.sort_values(["probability", "image_id0", "image_id1"], ascending=[False, True, True], kind="stable")
    table = table.drop_duplicates(["image_id0", "image_id1"])
    records = []
    for (name0, name1), rows in table.groupby(["individual0", "individual1"], sort=False):
        pairs = _one_to_one(rows)
        probability = combine(pairs["probability"])
        if probability < min_probability:
            continue
        best, backed = pairs.iloc[0], pairs[pairs["probability"] >= 0.5 * pairs["probability"].iloc[0]]
        record = {"probability": probability, "individual0": name0, "individual1": name1}
        record |= {f"photographs{side}": backed[f"image_id{side}"].nunique() for side in (0, 1)}
        record |= {"best_probability": best["probability"], "image_id0": best["image_id0"]}
        records.append({**record, "image_id1": best["image_id1"]})
    merges = pd.DataFrame(records, columns=list(MERGE_COLUMNS))
    return merges.sort_values("probability", ascending=False, kind="stable").reset_index(drop=True)


def _one_to_one(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the best pairs in which no photograph occurs twice; ``rows`` is sorted, the best first."""
    used: set[str] = set()
    kept = []
    for position, pair in enumerate(zip(rows["image_id0"], rows["image_id1"], strict=True)):
        if used.isdisjoint(pair):
            used.update(pair)
            kept.append(position)
    return rows.iloc[kept]


def wrong_individuals(
    answers: pd.DataFrame, catalog: Catalog, min_probability: float = 0.05, model: IndividualModel | None = None
) -> pd.DataFrame:
    """Return photographs that another individual's name explains better than their own.

    Args:
        answers: photographs asked against the whole catalogue.
        catalog: the labelled photographs.
        min_probability: less probable findings are left out.
        model: as for :func:`engine.search.individuals.rank_individuals`.
    """
    names = catalog.table.set_index("image_id")["individual_id"]
    records = []
    for query, rows in rank_individuals(answers, model=model).groupby("query_id", sort=False):
        own = names[query]
        mine = float(rows.loc[rows["individual_id"] == own, "probability"].sum())
        best = rows[rows["individual_id"] != own].head(1)
        if best.empty or best["probability"].item() < max(min_probability, mine):
            continue
        record = {"probability": best["probability"].item(), "image_id": query, "individual_id": own}
        record |= {"suggested": best["individual_id"].item(), "own_probability": mine}
        records.append({**record, "best_image_id": best["best_image_id"].item()})
    mislabelled = pd.DataFrame(records, columns=list(WRONG_COLUMNS))
    return mislabelled.sort_values("probability", ascending=False, kind="stable").reset_index(drop=True)


def stray_photographs(wrong: pd.DataFrame) -> set[str]:
    """Return the photographs that clearly belong elsewhere, each the only one of its name that points there.

    Several photographs of one name that point to the same other name speak for one animal under two names instead.
    """
    alone = wrong.groupby(["individual_id", "suggested"])["image_id"].transform("size") == 1
    clear = wrong["probability"] >= _CLEARLY * wrong["own_probability"]
    return set(wrong.loc[alone & clear, "image_id"])
