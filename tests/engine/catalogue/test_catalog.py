"""The catalogue's table, its filters, encounters and summary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.catalogue.catalog import COLUMNS, CandidateFilter, Catalog, CatalogError, derive_encounters, same_encounter
from scarmatch.settings import SettingsError


def make_table(**columns: list) -> pd.DataFrame:
    length = len(next(iter(columns.values())))
    names = [f"p{i}" for i in range(length)]
    return pd.DataFrame({"image_id": names, "path": [f"/photos/{name}.jpg" for name in names], **columns})


@pytest.fixture
def catalog() -> Catalog:
    table = make_table(
        individual_id=["a", "a", "b", "b", None, "c"],
        viewpoint=["top", "left", "top", None, "top", "right"],
        date=pd.to_datetime(["2017-08-01", "2017-08-02", "2018-01-01", "2018-12-31", None, "2019-05-05"]),
        species=["beluga", None, "beluga", "orca", "beluga", "beluga"],
    )
    return Catalog(table, Path("/photos"))


def test_the_table_has_the_promised_columns_and_types() -> None:
    table = pd.DataFrame(
        {"path": ["/x/a.jpg", "/x/b.jpg"], "image_id": [7, "b"], "box": [(1, 2, 3, 4), None]}, index=[5, 5]
    )
    given = table.copy(deep=True)
    catalog = Catalog(table, Path("/x"))
    assert tuple(catalog.table.columns) == COLUMNS
    assert isinstance(catalog.table.index, pd.RangeIndex)
    assert catalog.ids == ["7", "b"]
    assert catalog.table["box"].tolist() == [(1, 2, 3, 4), None]
    assert catalog.table["individual_id"].tolist() == [None, None]
    assert str(catalog.table["width"].dtype) == "Int64"
    assert catalog.table["date"].isna().all()
    pd.testing.assert_frame_equal(table, given)
    catalog.table.loc[0, "viewpoint"] = "top"
    assert "viewpoint" not in table.columns


def test_nan_of_a_callers_table_becomes_none() -> None:
    catalog = Catalog(make_table(individual_id=["a", np.nan], viewpoint=[pd.NA, "top"]), Path("/x"))
    assert catalog.row("p1")["individual_id"] is None
    assert catalog.row("p0")["viewpoint"] is None


def test_the_date_comes_from_the_timestamp_where_it_is_missing() -> None:
    catalog = Catalog(make_table(timestamp=pd.to_datetime(["2017-08-07 20:38:36"])), Path("/x"))
    assert catalog.row("p0")["date"] == pd.Timestamp("2017-08-07")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pd.DataFrame({"image_id": ["a"], "file": ["a.jpg"]}), ["path", "file"]),
        (pd.DataFrame({"image_id": ["a", "a"], "path": ["a.jpg", "b.jpg"]}), ["'a'", "more than once"]),
        (pd.DataFrame({"image_id": ["a", None], "path": ["a.jpg", "b.jpg"]}), ["row 1", "image_id"]),
    ],
)
def test_an_unusable_table_says_why(table: pd.DataFrame, words: list[str]) -> None:
    with pytest.raises(CatalogError) as caught:
        Catalog(table, Path("/x"))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("date", "03/04/20x9"),
        ("timestamp", pd.Timestamp("2017-08-07 20:38", tz="UTC")),
        ("width", "wide"),
        ("box", (1, 2, "three", 4)),
        ("individual_id", ["a", "b"]),
        ("individual_id", "a\ud800"),
        ("image_id", {"a": 1}),
    ],
)
def test_a_value_of_no_type_is_named_with_its_column(column: str, value: object) -> None:
    table = pd.DataFrame({"image_id": ["p"], "path": ["/x/p.jpg"]})
    table[column] = pd.Series([value])
    with pytest.raises(CatalogError, match=f"column '{column}'"):
        Catalog(table, Path("/x"))


def test_a_date_that_is_taken_away_takes_its_limits_along() -> None:
    catalog = Catalog(make_table(date=pd.to_datetime(["2017-08-07", "2018-01-02"])), Path("/x"))
    assert catalog.table["latest"].tolist() == catalog.table["date"].tolist()
    undated = Catalog(catalog.table.assign(date=pd.NaT, timestamp=pd.NaT), Path("/x"))
    assert undated.table[["date", "earliest", "latest"]].isna().all(axis=None)
    moved = Catalog(catalog.table.assign(date=pd.Timestamp("2020-01-01")), Path("/x"))
    assert moved.table["earliest"].tolist() == [pd.Timestamp("2020-01-01")] * 2


def test_a_part_is_what_a_new_catalogue_would_be(catalog: Catalog) -> None:
    part = catalog.take([4, 1])
    pd.testing.assert_frame_equal(part.table, Catalog(part.table, part.root).table)
    assert (part.root, part.source) == (catalog.root, catalog.source)
    part.table.loc[0, "viewpoint"] = "left"
    assert catalog.row("p4")["viewpoint"] == "top"


def test_subset_row_and_position(catalog: Catalog) -> None:
    part = catalog.subset(["p4", "p1"])
    assert part.ids == ["p4", "p1"]
    assert part.table.index.tolist() == [0, 1]
    assert part.row("p1")["viewpoint"] == "left"
    assert "p1" in part
    assert "p0" not in part
    assert len(catalog.subset([])) == 0
    with pytest.raises(KeyError, match="p0"):
        part.row("p0")


def test_loose_photographs_get_unique_ids(tmp_path: Path) -> None:
    for name in ("a/one.jpg", "b/one.jpg", "b/two.JPG", "b/notes.txt", "b/._two.JPG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    catalog = Catalog.from_photos(
        [tmp_path / "a" / "one.jpg", tmp_path / "b"], viewpoint="Aerial", date="2020-02-29", avoid=["two"]
    )
    assert catalog.ids == ["one", "one-2", "two-2"]
    assert set(catalog.table["viewpoint"]) == {"top"}
    assert set(catalog.table["date"]) == {pd.Timestamp("2020-02-29")}
    assert catalog.source == "photos"
    with pytest.raises(CatalogError, match=r"nothing\.jpg"):
        Catalog.from_photos([tmp_path / "nothing.jpg"])
    with pytest.raises(CatalogError, match="no photographs"):
        Catalog.from_photos([])
    with pytest.raises(CatalogError, match="YYYY-MM-DD"):
        Catalog.from_photos([tmp_path / "a" / "one.jpg"], date="03/04/2019")


def test_viewpoints_keep_the_unknown_one(catalog: Catalog) -> None:
    kept, report = catalog.filter(CandidateFilter(viewpoints=("Up", "L")))
    assert kept.ids == ["p0", "p1", "p2", "p3", "p4"]
    assert (report.before, report.left) == (6, 5)
    assert str(report) == "6 candidates: 1 dropped by viewpoint (kept: top, left); 5 left"


def test_dates_are_inclusive_and_unknown_dates_stay(catalog: Catalog) -> None:
    kept, report = catalog.filter(CandidateFilter(since="2017-08-02", until="2018-12-31"))
    assert kept.ids == ["p1", "p2", "p3", "p4"]
    assert [count for _, count in report.dropped] == [1, 1]
    kept, _ = catalog.filter(CandidateFilter(since="2017-08-02", until="2018-12-31", require_date=True))
    assert kept.ids == ["p1", "p2", "p3"]


def test_months_and_years_that_reach_into_the_time_allowed_stay() -> None:
    months = {
        "earliest": pd.to_datetime(["2017-01-01", "2017-05-01", "2017-06-01", "2017-07-01"]),
        "latest": pd.to_datetime(["2017-12-31", "2017-05-31", "2017-06-30", "2017-07-31"]),
    }
    catalog = Catalog(make_table(date=[None] * 4).assign(**months), Path("/photos"))
    assert catalog.filter(CandidateFilter(since="2017-06-15"))[0].ids == ["p0", "p2", "p3"]
    assert catalog.filter(CandidateFilter(until="2017-06-15"))[0].ids == ["p0", "p1", "p2"]


def test_an_unknown_species_stays(catalog: Catalog) -> None:
    assert catalog.filter(CandidateFilter(species="orca"))[0].ids == ["p1", "p3"]


def test_every_candidate_is_counted_once(catalog: Catalog) -> None:
    rules = CandidateFilter(
        viewpoints="top", until="2018-06-01", species=("beluga",), exclude_individuals=("a",), exclude_ids=("p4", "p0")
    )
    kept, report = catalog.filter(rules)
    assert kept.ids == ["p2"]
    assert [count for _, count in report.dropped] == [2, 1, 0, 1, 1]
    assert report.before - sum(count for _, count in report.dropped) == report.left == 1


def test_no_rule_drops_nothing(catalog: Catalog) -> None:
    kept, report = catalog.filter(CandidateFilter())
    assert kept.ids == catalog.ids
    assert str(report) == "6 candidates: 6 left"


def test_impossible_filters_are_refused() -> None:
    with pytest.raises(SettingsError, match="lies after"):
        CandidateFilter(since="2019-01-02", until="2019-01-01")
    with pytest.raises(SettingsError, match="since"):
        CandidateFilter(since="03/04/2019")
    with pytest.raises(SettingsError, match="viewpoints"):
        CandidateFilter.from_dict({"viewpoint": "top"})


def test_equal_filters_have_equal_fingerprints() -> None:
    first, second = (
        CandidateFilter(viewpoints=["Up"], since="1 Aug 2017"),
        CandidateFilter(("top",), since="2017-08-01"),
    )
    assert first == second
    assert first.fingerprint() == second.fingerprint() != CandidateFilter().fingerprint()


def test_the_query_itself_is_never_a_candidate() -> None:
    table = make_table(box=[None, (0, 0, 5, 5), (5, 0, 5, 5), None])
    table["path"] = ["/x/a.jpg", "/x/b.jpg", "/x/b.jpg", "/x/c.jpg"]
    catalog = Catalog(table, Path("/x"))
    mask = CandidateFilter().mask_for
    assert mask(catalog.row("p0"), catalog).tolist() == [False, True, True, True]
    assert mask(catalog.row("p1"), catalog).tolist() == [True, False, False, True], "nor another animal of its picture"
    assert mask({"image_id": "other", "path": "/x/c.jpg"}, catalog).tolist() == [True, True, True, False]
    assert mask({"image_id": "other"}, catalog, same_content=np.array([1, 0, 0, 0], bool)).tolist() == [
        False,
        True,
        True,
        True,
    ]
    assert catalog.keys.image_id.tolist() == ["p0", "p1", "p2", "p3"]


ENCOUNTERS = make_table(
    individual_id=["a", "a", "a", "b", None, "a"],
    encounter_id=["a-0", "a-1", None, "b-0", None, None],
    date=pd.to_datetime(["2017-08-01"] * 4 + ["2017-08-01", None]),
    timestamp=pd.to_datetime(["2017-08-01 10:00", "2017-08-01 10:59", None, "2017-08-01 10:05", None, None]),
)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # ids known: equal, or the same individual within the hour; ids unknown: by date or time, same or unknown animal
        ({"encounter_id": "a-0", "individual_id": "a"}, [1, 0, 0, 0, 0, 0]),
        ({"encounter_id": "a-0", "individual_id": "a", "date": "2017-08-01"}, [1, 0, 1, 0, 1, 0]),
        ({"encounter_id": "z", "individual_id": "a", "timestamp": "2017-08-01 11:30"}, [0, 1, 0, 0, 0, 0]),
        ({"encounter_id": "z", "timestamp": "2017-08-01 11:30"}, [0, 0, 0, 0, 0, 0]),
        ({"individual_id": "a", "date": "2017-08-01"}, [1, 1, 1, 0, 1, 0]),
        ({"individual_id": "a", "date": "2017-08-01", "timestamp": "2017-08-01 11:58"}, [0, 1, 1, 0, 1, 0]),
        ({"individual_id": "a", "timestamp": "2017-08-01 11:00"}, [1, 1, 0, 0, 0, 0]),
        ({"individual_id": "a", "timestamp": "2017-08-01 11:00:01"}, [0, 1, 0, 0, 0, 0]),
        ({"date": "2017-08-01"}, [1, 1, 1, 1, 1, 0]),
        ({"date": "2017-08-02"}, [0, 0, 0, 0, 0, 0]),
        ({}, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_what_counts_as_the_same_encounter(query: dict, expected: list[int]) -> None:
    catalog = Catalog(ENCOUNTERS, Path("/x"))
    assert same_encounter(query, catalog.table).astype(int).tolist() == expected
    kept, report = CandidateFilter(exclude_encounter=True).report_for({"image_id": "q", **query}, catalog)
    assert kept.astype(int).tolist() == [1 - value for value in expected]
    assert report.left == 6 - sum(expected)


def test_the_querys_own_individual_can_be_left_out() -> None:
    catalog = Catalog(ENCOUNTERS, Path("/x"))
    rule = CandidateFilter(exclude_own_individual=True)
    kept, report = rule.report_for({"image_id": "q", "individual_id": "a"}, catalog)
    assert kept.astype(int).tolist() == [0, 0, 0, 1, 1, 0], "another name stays, and none"
    assert dict(report.dropped)["individual of the query"] == 4
    assert rule.mask_for({"image_id": "q", "individual_id": None}, catalog).all()


def test_times_of_known_zones_are_compared_as_moments() -> None:
    times = pd.to_datetime([f"2018-06-01 {time}" for time in ("13:30", "13:30", "12:30", "12:30")])
    table = make_table(individual_id=["a"] * 4, encounter_id=[None] * 4, timestamp=times, date=times.normalize())
    table["utc_offset"] = [60, np.nan, -60, 60]
    noon = {"individual_id": "a", "date": "2018-06-01", "timestamp": "2018-06-01 12:00", "utc_offset": 0}
    # 12:30, an unknown zone taken as it is written, 13:30, and 11:30 where the query's clock shows noon.
    assert same_encounter(noon, table).tolist() == [True, False, False, True]
    times = pd.to_datetime(["2018-06-01 12:00", "2018-06-01 13:30", "2018-06-01 13:00"])
    zoned = pd.DataFrame({"individual_id": "a", "timestamp": times, "utc_offset": [0, 60, -120]})
    assert derive_encounters(zoned).tolist() == ["a-000", "a-000", "a-001"]


def test_encounters_follow_the_one_hour_rule() -> None:
    times = ["10:00", "12:01", "11:00", "13:01:01", "10:30", None, "10:31"]
    table = pd.DataFrame(
        {
            "individual_id": ["a", "a", "a", "a", "b", "a", None],
            "timestamp": pd.to_datetime([None if t is None else f"2017-08-01 {t}" for t in times], format="mixed"),
        }
    )
    assert derive_encounters(table).tolist() == ["a-000", "a-001", "a-000", "a-002", "b-000", None, None]
    assert derive_encounters(table.iloc[:0]).tolist() == []


def test_summary_counts(catalog: Catalog) -> None:
    summary = catalog.summary()
    assert (summary.photographs, summary.individuals, summary.unlabelled, summary.single) == (6, 3, 1, 1)
    assert (summary.first_date, summary.last_date, summary.undated) == ("2017-08-01", "2019-05-05", 1)
    assert summary.viewpoints == {"top": 3, "left": 1, "unknown": 1, "right": 1}
    assert summary.per_individual == {"min": 1, "25 %": 1.5, "median": 2, "75 %": 2, "max": 2}
    assert "6 photographs, 3 individuals" in str(summary)
    empty = catalog.subset([]).summary()
    assert (empty.photographs, empty.first_date) == (0, None)
    assert "none known" in str(empty)


@pytest.mark.real_data
def test_the_real_catalogue(real_catalog_dir: Path) -> None:
    catalog = Catalog.read(real_catalog_dir)
    summary = catalog.summary()
    assert summary.photographs == len(catalog) > 3000
    assert set(summary.viewpoints) <= {"top", "left", "right"}
    assert catalog.table["individual_id"].notna().all()
    # the published encounters are the one-hour rule applied to each viewpoint on its own
    table = catalog.table.assign(individual_id=catalog.table["individual_id"] + catalog.table["viewpoint"])
    pairs = pd.DataFrame({"given": table["encounter_id"], "derived": derive_encounters(table)}).drop_duplicates()
    assert len(pairs) == pairs["given"].nunique() == pairs["derived"].nunique()
    row = catalog.row(catalog.ids[0])
    kept = CandidateFilter(exclude_encounter=True).mask_for(row, catalog)
    assert not kept[0]
    assert not (catalog.table["encounter_id"] == row["encounter_id"])[kept].any()
