"""Protocols: candidates by the engine's rule, evaluation by hand and by plain loops, scenarios as the challenge's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.protocols import (
    RULES,
    Protocol,
    ProtocolError,
    across_years,
    all_against_all,
    allowed,
    between_views,
    evaluate,
    evaluate_answers,
    evaluate_vectors,
    within_years,
    years_of,
)
from bench.scenarios.cutting import CuttingError, choose_scenarios, cut_scenarios
from engine.catalogue.catalog import CandidateFilter, Catalog, same_encounter
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS
from scarmatch.metrics import average_precision

# image, individual, encounter, date, viewpoint
HAND = [
    ("q", "A", "A-0", "2018-06-01", "top"),
    ("same_enc", "A", "A-0", "2018-06-01", "top"),
    ("same_year", "A", "A-1", "2018-07-01", "top"),
    ("earlier", "A", "A-2", "2017-07-01", "top"),
    ("side", "A", "A-3", "2017-07-02", "left"),
    ("b1", "B", "B-0", "2018-06-01", "top"),
    ("b2", "B", None, "2018-06-01", "top"),
    ("b3", "B", "B-1", None, "top"),
    ("c1", "C", "C-0", "2019-06-01", "top"),
    ("nobody", None, None, "2018-06-01", "top"),
]


NOTHING = pd.DataFrame({"query_id": [], "candidate_id": [], "score": []})


def catalog_of(rows: list[tuple], root: Path = Path("/nowhere")) -> Catalog:
    table = pd.DataFrame(rows, columns=["image_id", "individual_id", "encounter_id", "date", "viewpoint"])
    table["date"] = pd.to_datetime(table["date"])
    table["path"] = [str(root / f"{i}.jpg") for i in table["image_id"]]
    return Catalog(table, root)


@pytest.fixture(scope="module")
def hand() -> Catalog:
    return catalog_of(HAND)


@pytest.fixture(scope="module")
def random_catalog() -> Catalog:
    """120 photographs of 15 animals in three years, some encounters and dates unknown, some from the side."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(120):
        who, year, meeting = rng.integers(15), rng.choice([2017, 2018, 2019]), rng.integers(3)
        day = f"{year}-07-{10 + meeting}" if rng.random() > 0.05 else None
        encounter = f"w{who}-{year}-{meeting}" if rng.random() > 0.1 else None
        rows.append((f"i{i:03d}", f"w{who}", encounter, day, rng.choice(["top", "top", "top", "left", "right"])))
    return catalog_of(rows)


def matches(catalog: Catalog, rule: str, query: str = "q") -> set[str]:
    database = catalog.subset(all_against_all(catalog).database)
    row = catalog.row(query)
    mask = allowed(row, database, rule)  # type: ignore[arg-type]
    return set(np.array(database.ids)[mask & (database.keys.individual_id == row["individual_id"])])


# --- rules ------------------------------------------------------------------------------------------------------------


def test_matches_under_each_rule(hand: Catalog) -> None:
    assert matches(hand, "all") == {"same_enc", "same_year", "earlier"}
    assert matches(hand, "other_encounter") == {"same_year", "earlier"}
    assert matches(hand, "other_year") == {"earlier"}


def test_unknown_encounters_go_by_the_day_and_unknown_dates_are_no_other_year(hand: Catalog) -> None:
    assert matches(hand, "all", "b1") == {"b2", "b3"}
    assert matches(hand, "other_encounter", "b1") == {"b3"}  # b2 has no encounter but the same day
    assert matches(hand, "other_encounter", "b2") == {"b3"}  # b3 has no day: nothing says it is the same encounter
    assert matches(hand, "other_year", "b1") == set()


def test_the_same_encounter_is_what_the_engine_takes_it_for(random_catalog: Catalog) -> None:
    for name in random_catalog.ids[:40]:
        row = random_catalog.row(name)
        mask = allowed(row, random_catalog, "other_encounter")
        expected = ~same_encounter(row, random_catalog.keys)
        expected[random_catalog.position(name)] = False
        np.testing.assert_array_equal(mask, expected)
        engine = CandidateFilter(exclude_encounter=True).mask_for(row, random_catalog)
        np.testing.assert_array_equal(mask, engine)


def test_builders(hand: Catalog) -> None:
    assert years_of(hand) == [2017, 2018, 2019]
    assert "nobody" not in all_against_all(hand).database
    assert {p.name: set(p.queries) for p in within_years(hand)} == {
        "top: 2017 within": {"earlier"},
        "top: 2018 within": {"q", "same_enc", "same_year", "b1", "b2"},
        "top: 2019 within": {"c1"},
    }
    across = {p.name: p for p in across_years(hand)}
    assert list(across) == ["top: 2018 -> 2017", "top: 2019 -> 2017", "top: 2019 -> 2018", "top: 2019 -> 2017+2018"]
    assert across["top: 2018 -> 2017"].database == ("earlier",)
    assert set(across["top: 2019 -> 2017+2018"].database) == {"q", "same_enc", "same_year", "earlier", "b1", "b2"}
    to_top, to_lateral = between_views(hand)
    assert to_top.queries == to_lateral.database == ("side",)
    assert set(to_top.database) == {"q", "same_enc", "same_year", "earlier", "b1", "b2", "b3", "c1"}


def test_protocols_refuse_nonsense(hand: Catalog) -> None:
    with pytest.raises(ProtocolError, match="rule 'never'"):
        Protocol("p", (), (), "never")  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="named twice"):
        Protocol("p", ("q", "q"), ("b1",))
    with pytest.raises(ProtocolError, match="'gone' is not in the catalogue"):
        evaluate(NOTHING, Protocol("p", ("q",), ("gone",)), hand)
    with pytest.raises(ProtocolError, match="'nobody' has no individual"):
        evaluate(NOTHING, Protocol("p", ("nobody",), ("q",)), hand)


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_evaluation_by_hand(hand: Catalog) -> None:
    order = ["same_enc", "b1", "earlier", "q", "c1", "same_year", "b2", "side"]  # "q" itself and "side" do not count
    ranking = pd.DataFrame({"query_id": "q", "candidate_id": order, "score": np.linspace(1, 0, len(order))})
    ids = all_against_all(hand).database
    expected = {  # places of the matches among what is left
        "all": ((1 / 1 + 2 / 3 + 3 / 5) / 3, True, 1),
        "other_encounter": ((1 / 2 + 2 / 4) / 2, False, 2),
        "other_year": (1 / 1, True, 1),  # "b1" is of the query's own year
        "other_day": ((1 / 1 + 2 / 3) / 2, True, 1),
    }
    for rule, (gain, first, rank) in expected.items():
        result = evaluate(ranking.sample(frac=1, random_state=1), Protocol("p", ("q",), ids, rule), hand)  # type: ignore[arg-type]
        row = result.per_query.iloc[0]
        assert row["ap20"] == pytest.approx(gain)
        assert (bool(row["top1"]), row["first_rank"]) == (first, rank)
        assert result.left_out == 0


def test_queries_without_match_are_left_out_and_without_rows_earn_nothing(hand: Catalog) -> None:
    ranking = pd.DataFrame({"query_id": ["q"], "candidate_id": ["earlier"], "score": [0.5]})
    result = evaluate(ranking, all_against_all(hand), hand)
    assert result.left_out == 1  # c1 is alone
    table = result.per_query.set_index("query_id")
    assert table.loc["q", "ap20"] == pytest.approx(1 / 3)
    assert table.drop("q")["ap20"].eq(0).all()
    assert table.drop("q")["first_rank"].isna().all()
    summary = result.summary()
    assert (summary.queries, summary.individuals) == (7, 2)
    assert summary.map20.mean == pytest.approx(1 / 21)
    assert summary.recall["20"] == pytest.approx(1 / 7)


def test_nothing_to_ask(hand: Catalog) -> None:
    result = evaluate(NOTHING, Protocol("p", ("c1",), ("q",)), hand)
    assert (len(result.per_query), result.left_out) == (0, 1)
    assert np.isnan(result.summary().map20.mean)
    assert result.summary().recall == {}


def test_bad_rankings_are_refused(hand: Catalog) -> None:
    protocol = Protocol("p", ("q",), ("earlier", "b1"))
    with pytest.raises(ProtocolError, match="lacks the columns"):
        evaluate(pd.DataFrame({"query_id": ["q"]}), protocol, hand)
    twice = pd.DataFrame({"query_id": ["q", "q"], "candidate_id": ["b1", "b1"], "score": [1.0, 0.5]})
    with pytest.raises(ProtocolError, match="occurs twice"):
        evaluate(twice, protocol, hand)
    with pytest.raises(ProtocolError, match="NaN"):
        evaluate(twice.iloc[:1].assign(score=np.nan), protocol, hand)
    with pytest.raises(ProtocolError, match="no descriptor for 'q'"):
        evaluate_vectors({}, {"earlier": np.ones(2), "b1": np.ones(2)}, protocol, hand)


@pytest.mark.parametrize("rule", RULES)
def test_all_ways_of_evaluating_agree_with_a_plain_loop(random_catalog: Catalog, rule: str) -> None:
    catalog, rng = random_catalog, np.random.default_rng(7)
    descriptors = rng.standard_normal((len(catalog), 8)).astype(np.float32)
    protocol = all_against_all(catalog).with_rule(rule)  # type: ignore[arg-type]
    row_of = {i: r for r, i in enumerate(catalog.ids)}
    similarity = descriptors @ descriptors.T
    pairs = pd.DataFrame(
        [(q, d, similarity[row_of[q], row_of[d]]) for q in protocol.queries for d in protocol.database],
        columns=["query_id", "candidate_id", "score"],
    )
    vectors = dict(zip(catalog.ids, descriptors, strict=True))
    a = evaluate_vectors(vectors, vectors, protocol, catalog)
    b = evaluate(pairs, protocol, catalog)
    c = evaluate_answers(pairs.rename(columns={"candidate_id": "image_id", "score": "probability"}), protocol, catalog)
    for other in (b, c):
        pd.testing.assert_frame_equal(a.per_query, other.per_query)
        assert a.left_out == other.left_out

    table = catalog.table.set_index("image_id")
    judged = a.per_query.set_index("query_id")
    for q in protocol.queries:
        me = table.loc[q]
        hits = []
        for d in sorted(protocol.database, key=lambda d: -similarity[row_of[q], row_of[d]]):
            other = table.loc[d]
            same = other["individual_id"] == me["individual_id"]
            if d == q:
                continue
            if same and rule != "all":
                known = me["encounter_id"] is not None and other["encounter_id"] is not None
                if (me["encounter_id"] == other["encounter_id"]) if known else me["date"] == other["date"]:
                    continue
            if rule == "other_day" and not abs((me["date"] - other["date"]).days) > 0:
                continue
            if rule == "other_year" and not abs(me["date"].year - other["date"].year) > 0:
                continue
            hits.append(bool(same))
        if not any(hits):
            assert q not in judged.index
            continue
        assert judged.loc[q, "ap20"] == pytest.approx(average_precision(hits, sum(hits)))
        assert judged.loc[q, "first_rank"] == hits.index(True) + 1
        assert judged.loc[q, "n_relevant"] == sum(hits)


def test_agrees_with_the_official_scorer(random_catalog: Catalog) -> None:
    from engine.competitions.scenarios import Scenario, answers_from_catalog
    from engine.competitions.submission import average_precision_per_query

    protocol, rng = all_against_all(random_catalog), np.random.default_rng(1)
    rows = []
    for q in protocol.queries:
        for place, d in enumerate(rng.permutation([d for d in protocol.database if d != q])[:20]):
            rows.append((q, str(d), 1.0 - place / 40))
    ranking = pd.DataFrame(rows, columns=["query_id", "candidate_id", "score"])
    queries = pd.DataFrame({"query_id": protocol.queries, "query_image_id": protocol.queries})
    answers = answers_from_catalog(random_catalog, [Scenario("s", queries, list(protocol.database))])
    official = average_precision_per_query(ranking.rename(columns={"candidate_id": "database_image_id"}), answers)
    ours = evaluate(ranking, protocol, random_catalog).per_query.set_index("query_id")["ap20"]
    assert ours.to_dict() == pytest.approx(official.to_dict())


# --- scenarios --------------------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(random_catalog: Catalog, tmp_path: Path) -> Catalog:
    """The random catalogue with real (tiny) files, its dates all known."""
    table = random_catalog.table.copy()
    table["date"] = table["date"].fillna(pd.Timestamp("2018-07-11"))
    table["path"] = [str(tmp_path / "photos" / f"{i}.jpg") for i in table["image_id"]]
    (tmp_path / "photos").mkdir()
    for n, path in enumerate(table["path"]):
        Image.new("RGB", (10 + n % 3, 24), (n, 80, 90)).save(path)
    return Catalog(table, tmp_path / "photos")


def test_cut_scenarios_write_the_challenges_layout(photographs: Catalog, tmp_path: Path) -> None:
    from engine.competitions.scenarios import answers_from_catalog, read_scenarios
    from engine.competitions.submission import read_answers

    cut = cut_scenarios(photographs, tmp_path / "data", scale=0.02)
    assert cut.left_out == {}
    metadata = pd.read_csv(cut.folder / "metadata.csv")
    assert list(metadata.columns) == ["image_id", "path", "height", "width", "viewpoint", "date"]
    assert all((cut.folder / p).is_file() for p in metadata["path"])
    assert metadata["height"].eq(24).all()
    assert set(metadata["width"]) == {10, 11, 12}
    index = pd.read_csv(cut.folder / "query_scenarios.csv")
    assert list(index.columns) == ["scenario_id", "queries_path", "database_path"]
    assert index["scenario_id"].tolist() == [f"scenario{i:02d}" for i in range(1, 11)]
    assert cut.answers == tmp_path / "data-answers.csv"
    back = Catalog.read(cut.folder)
    assert back.table["individual_id"].isna().all()
    scenarios = read_scenarios(cut.folder, back.ids)
    answers, _ = read_answers(cut.answers)
    expected = answers_from_catalog(photographs, scenarios)
    assert answers.to_dict("list") == expected.to_dict("list")
    table = photographs.table.set_index("image_id")
    for scenario, rule in zip(scenarios, CHALLENGE_SCENARIOS, strict=True):
        queries = scenario.queries["query_image_id"]
        assert set(table.loc[scenario.database, "viewpoint"]) <= set(rule.database_views)
        assert set(table.loc[queries, "viewpoint"]) <= set(rule.query_views)
        assert bool(set(queries) & set(scenario.database)) == rule.leave_one_out
        assert len(scenario.database) <= np.ceil(rule.n_database * 0.02)
        assert 1 <= len(queries) <= np.ceil(rule.n_queries * 0.02)
        assert set(scenario.queries["query_id"]) <= set(answers["query_id"])  # every query can be answered
        if rule.query_years is not None and not rule.leave_one_out:
            years = table["date"].dt.year
            assert years[queries].min() > years[scenario.database].max()


def test_cutting_is_seeded_and_sizes_follow_scale(photographs: Catalog) -> None:
    def shape(**options: object) -> list:
        scenarios, _ = choose_scenarios(photographs, **options)  # type: ignore[arg-type]
        return [(s.scenario_id, s.database, s.queries["query_image_id"].tolist()) for s in scenarios]

    assert shape(scale=0.02, seed=3) == shape(scale=0.02, seed=3)
    assert shape(scale=0.02, seed=3) != shape(scale=0.02, seed=4)
    assert shape(scale=0.02, seed=3)[4] == shape(rules=CHALLENGE_SCENARIOS, scale=0.02, seed=3)[4]
    tops = int((photographs.table["viewpoint"] == "top").sum())
    assert len(shape(scale=None)[0][1]) == tops
    with pytest.raises(CuttingError, match="scale"):
        choose_scenarios(photographs, scale=0)


def test_a_box_becomes_a_picture_of_its_own(photographs: Catalog, tmp_path: Path) -> None:
    table = photographs.table.copy()
    table["box"] = [(2, 3, 5, 7)] * len(table)
    table["width"], table["height"] = 5, 7
    cut = cut_scenarios(Catalog(table, photographs.root), tmp_path / "d", CHALLENGE_SCENARIOS[:1])
    row = pd.read_csv(cut.folder / "metadata.csv").iloc[0]
    assert (row["width"], row["height"]) == (5, 7)
    assert Image.open(cut.folder / row["path"]).size == (5, 7)


def test_what_cannot_be_cut_is_said(photographs: Catalog, hand: Catalog, tmp_path: Path) -> None:
    one_year = Catalog(photographs.table.assign(date=pd.Timestamp("2020-01-01")), photographs.root)
    _, left_out = choose_scenarios(one_year, scale=None)
    assert set(left_out) == {f"scenario{i:02d}" for i in range(3, 9)}
    assert "needs 2 years" in left_out["scenario03"]
    with pytest.raises(CuttingError, match="no scenario can be cut"):
        cut_scenarios(hand.subset(["c1", "b1"]), tmp_path / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(CuttingError, match="not empty"):
        cut_scenarios(photographs, tmp_path / "full")
    with pytest.raises(CuttingError, match="must not lie inside"):
        cut_scenarios(photographs, tmp_path / "d", answers=tmp_path / "d" / "answers.csv")
