"""The audit finds what was broken on purpose: a whale split in two, a photograph under a wrong name, a copied file."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import Catalog, CatalogError
from engine.report.audit import (
    audit_catalog,
    choose_photographs,
    merge_candidates,
    stray_photographs,
    wrong_individuals,
)
from engine.report.audit_page import write_audit
from engine.search.matcher import Matcher, MatcherSettings


@pytest.fixture(scope="module")
def broken(made_up_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, dict[str, str]]:
    """Twelve made-up photographs of three whales, and what was broken in their names."""
    table = Catalog.read(made_up_dir).table
    table = table[table["viewpoint"] == "top"]
    chosen = table["individual_id"].value_counts().index[:3]
    table = table[table["individual_id"].isin(chosen)].sort_values(["individual_id", "timestamp"])
    table = table.groupby("individual_id").head(5).reset_index(drop=True)
    split, mixed, victim = chosen
    theirs = table.index[table["individual_id"] == split]
    moved = table.index[table["individual_id"] == mixed][0]
    table.loc[theirs[1::2], "individual_id"] = "other-name"
    copied = table.loc[table["individual_id"] == mixed].iloc[-1]
    table.loc[moved, "individual_id"] = victim
    copy = tmp_path_factory.mktemp("audit") / "copy.jpg"
    shutil.copy(copied["path"], copy)
    row = {**copied.to_dict(), "image_id": "copy", "path": str(copy)}
    table = pd.concat([table, pd.DataFrame([row])], ignore_index=True)
    facts = {"split": split, "moved": table["image_id"][moved], "mixed": mixed, "copied": copied["image_id"]}
    return Catalog(table.drop(columns=["encounter_id"]), made_up_dir), facts


@pytest.fixture(scope="module")
def matcher(small_settings: MatcherSettings, shared_store: Path) -> Matcher:
    return Matcher(small_settings, shared_store, ranker="fusion", workers=1)


@pytest.fixture(scope="module")
def audit(broken: tuple[Catalog, dict[str, str]], matcher: Matcher):
    return audit_catalog(broken[0], matcher)


def test_a_split_whale_is_the_surest_merge(audit, broken: tuple[Catalog, dict[str, str]]) -> None:
    best = audit.merges.iloc[0]
    assert {best["individual0"], best["individual1"]} == {broken[1]["split"], "other-name"}
    assert audit.merges["probability"].is_monotonic_decreasing
    assert best["photographs0"] >= 1 and best["photographs1"] >= 1


def test_a_photograph_under_the_wrong_name_is_found(audit, broken: tuple[Catalog, dict[str, str]]) -> None:
    facts = broken[1]
    found = audit.wrong.set_index("image_id")
    assert facts["moved"] in found.index
    assert found.loc[facts["moved"], "suggested"] == facts["mixed"]
    assert found.loc[facts["moved"], "own_probability"] < found.loc[facts["moved"], "probability"]


def test_a_copied_file_is_found(audit, broken: tuple[Catalog, dict[str, str]]) -> None:
    exact = audit.copies[audit.copies["same_file"]]
    assert [set(pair) for pair in zip(exact["image_id0"], exact["image_id1"], strict=True)] == [
        {"copy", broken[1]["copied"]}
    ]


def test_tables_pictures_and_page(audit, matcher: Matcher, tmp_path: Path) -> None:
    page = write_audit(audit, matcher, tmp_path / "audit", pictures=2)
    record = json.loads((page.parent / "audit.json").read_text())
    assert record["merge_candidates"][0]["probability"] == pytest.approx(audit.merges["probability"].iloc[0])
    assert record["photographs"] == len(audit.index)
    with (page.parent / "merge_candidates.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == len(audit.merges)
    text = page.read_text()
    pictures = sorted((page.parent / "pictures").glob("*.jpg"))
    assert {name.name.split("-")[0] for name in pictures} == {
        "merge_candidates",
        "wrong_individual",
        "near_duplicates",
    }
    assert all(f"pictures/{name.name}" in text for name in pictures)
    assert "other-name" in text


def test_the_limit_bounds_the_pairs_and_individuals_take_turns(
    broken: tuple[Catalog, dict[str, str]], matcher: Matcher
) -> None:
    index = matcher.index(broken[0])
    few = choose_photographs(index, 6, 45)
    names = index.catalog.subset(few).table["individual_id"]
    assert names.nunique() == len(few) == 4, "everybody's turn before anybody's second"
    assert len(choose_photographs(index, 6, 10_000)) == len(index)
    assert len(choose_photographs(index, 6, 1)) == 1


def answers(*rows: tuple[str, str, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["query_id", "image_id", "probability"])
    return table.assign(individual_id=[name[0] for name in table["image_id"]])


NAMED = Catalog(
    pd.DataFrame({"image_id": list(names := ["a1", "a2", "b1", "b2", "c1"]), "path": names}).assign(
        individual_id=[name[0] for name in names]
    ),
    Path(),
)


def test_photographs_of_a_merge_count_once_each() -> None:
    table = answers(("a1", "b1", 0.5), ("b1", "a1", 0.4), ("a1", "b2", 0.4), ("a2", "b2", 0.2), ("c1", "a1", 0.01))
    found = merge_candidates(table, NAMED)
    assert len(found) == 1
    # a1-b1 0.5 and a2-b2 0.2: a1-b2 would use a1 twice, b1-a1 is the same pair.
    assert found["probability"].item() == pytest.approx(1 - 0.5 * 0.8**0.5)
    assert (found["image_id0"].item(), found["image_id1"].item()) == ("a1", "b1")
    without = merge_candidates(table, NAMED, doubted={"a1"})
    assert without["probability"].item() == pytest.approx(0.2), "a doubted photograph speaks for no merge"


def test_a_better_name_must_beat_the_own_one() -> None:
    rows = answers(("a1", "b1", 0.6), ("a1", "a2", 0.7), ("a2", "b2", 0.6), ("a2", "a1", 0.1))
    found = wrong_individuals(rows, NAMED)
    assert found["image_id"].tolist() == ["a2"]
    assert found["suggested"].tolist() == ["b"]
    assert np.isclose(found["probability"].item(), 1.5 / (1 + 1.5 + 1 / 9))


def test_several_photographs_that_point_elsewhere_are_no_strays() -> None:
    wrong = pd.DataFrame(
        {
            "probability": [0.6, 0.6, 0.6, 0.5],
            "image_id": ["a1", "a2", "b1", "c1"],
            "individual_id": ["a", "a", "b", "c"],
            "suggested": ["b", "b", "c", "a"],
            "own_probability": [0.1, 0.1, 0.1, 0.4],
        }
    )
    assert stray_photographs(wrong) == {"b1"}


def test_one_individual_cannot_be_audited(broken: tuple[Catalog, dict[str, str]], matcher: Matcher) -> None:
    table = broken[0].table
    with pytest.raises(CatalogError, match="fewer than two"):
        audit_catalog(Catalog(table.assign(individual_id="w"), broken[0].root), matcher)
