"""Decisions as labels of pairs: must-links and cannot-links teach a ranker, also where nobody has a name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog
from engine.review.decisions import Decision
from engine.review.labels import DecidedLabels
from engine.review.replay import replay
from engine.training import ranker_training

NAMES = {"a1": "A", "a2": "A", "b1": "B", "b2": "B", "q1": None, "q2": None, "q3": None, "q4": None, "e1": None}
PAIRS = [("q1", "q2"), ("q1", "a1"), ("q3", "a1"), ("q3", "a2"), ("q3", "b1"), ("q4", "a1"), ("a1", "b1"), ("a1", "a2")]


def labels_of(*rows: tuple[str, str, str]) -> DecidedLabels:
    decisions = [Decision(kind, "Ada", pair, number=n) for n, (kind, *pair) in enumerate(rows, start=1)]  # type: ignore[arg-type]
    return DecidedLabels.of(replay(decisions, NAMES))


def known(labels: DecidedLabels) -> dict[tuple[str, str], str]:
    """Return what a ranker is taught of each pair."""
    unknown = labels.unknown(pd.DataFrame(PAIRS, columns=["query_id", "candidate_id"]))
    names = {**NAMES, **labels.groups, **{image: name for image, name in labels.state.names().items() if name}}
    taught = {}
    for pair, nobody_knows in zip(PAIRS, unknown, strict=True):
        first, second = (names[image] for image in pair)
        open_ = nobody_knows or first is None or second is None
        taught[pair] = "nothing" if open_ else "same" if first == second else "different"
    return taught


def test_links_between_photographs_without_a_name_teach_and_nothing_else_does() -> None:
    labels = labels_of(("same", "q1", "q2"), ("different", "q3", "a1"))
    assert labels.groups["q1"] == labels.groups["q2"] != labels.groups["q3"]
    assert "q4" not in labels.groups and labels.asked == ("q3",)
    assert labels.counts() == (1, 1)
    assert known(labels) == {
        ("q1", "q2"): "same",
        ("q1", "a1"): "nothing",
        ("q3", "a1"): "different",
        ("q3", "a2"): "different",  # another photograph of the animal that it is not
        ("q3", "b1"): "nothing",
        ("q4", "a1"): "nothing",
        ("a1", "b1"): "different",
        ("a1", "a2"): "same",
    }


def test_what_contradicts_itself_teaches_nothing() -> None:
    labels = labels_of(("different", "a1", "a2"), ("same", "q1", "a1"), ("same", "q1", "b1"))
    assert "q1" not in labels.groups  # two names: whose it is, nobody knows
    taught = known(labels)
    assert taught["a1", "a2"] == taught["a1", "b1"] == taught["q1", "a1"] == "nothing"


def test_without_decisions_every_name_speaks_for_itself() -> None:
    labels = labels_of()
    assert not labels.groups and not labels.asked
    assert known(labels)["a1", "b1"] == "different" and known(labels)["a1", "a2"] == "same"


def test_a_ranker_is_taught_by_the_decisions_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = labels_of(("same", "q1", "q2"), ("different", "q3", "a1"))
    rows = [{"image_id": image, "path": f"/{image}.jpg", "individual_id": name} for image, name in NAMES.items()]
    catalog = labels.named(Catalog(pd.DataFrame(rows), Path("/")))
    seen: dict[str, Any] = {}

    class Index(SimpleNamespace):
        def subset(self, ids: list[str]) -> list[str]:
            seen["asked"] = ids
            return ids

    def pairs_of(queries: list[str], *ignored: Any) -> pd.DataFrame:
        name = dict(zip(catalog.ids, catalog.table["individual_id"], strict=True))
        asked = [(query, other) for query in queries for other in catalog.ids if query != other]
        table = pd.DataFrame(asked, columns=["query_id", "candidate_id"])
        return table.assign(individual0=table["query_id"].map(name), individual1=table["candidate_id"].map(name))

    matcher: Any = SimpleNamespace(index=lambda *given: Index(catalog=catalog))
    monkeypatch.setattr(ranker_training, "labelled_pairs", pairs_of)
    monkeypatch.setattr(ranker_training, "train_on_pairs", lambda raw, *given: raw)
    raw: Any = ranker_training.train_on_catalog(catalog, matcher, further=labels)
    assert seen["asked"] == ["a1", "a2", "b1", "b2", "q1", "q2", "q3"]
    rows_of = raw.set_index(["query_id", "candidate_id"])
    assert rows_of.loc[("q1", "q2"), "individual1"] == rows_of.loc[("q1", "q2"), "individual0"] is not None
    assert rows_of.loc[("q3", "a2"), "individual1"] == "A" != rows_of.loc[("q3", "a2"), "individual0"]
    assert rows_of.loc[("q3", "b1"), "individual1"] is None and rows_of.loc[("b1", "q3"), "individual1"] is None
    plain: Any = ranker_training.train_on_catalog(catalog, matcher)
    assert "q3" not in seen["asked"] and plain.set_index(["query_id", "candidate_id"]).loc[("q1", "a1")].notna().all()
