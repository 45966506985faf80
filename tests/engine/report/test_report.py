"""The page of a run: complete, self-contained, harmless whatever files are called, drawn no more than needed."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from engine.records import Correspondences, Verification
from engine.report.match_run import MatchRun
from engine.report.page import INLINE_QUERIES, chance, json_block, write_report
from engine.report.wording import date_of, gap_in_words, text_of, uncertainty, verdict
from engine.search.pair_evidence import PairEvidence, ScorePart, ScoreParts, SkinPlaces
from features.photo import canonical_frame
from features.records import LocalFeatures, Photo, Regions

VOID = {"meta", "img", "input", "br", "line", "rect", "link", "hr"}
HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;</script> 鯨 é\u2028{{ 7*7 }}.jpg"


class Page(HTMLParser):
    """Checks that tags nest and remembers what is there."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag, f"</{tag}> closes another element at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        elif self.open and self.open[-1] != "style":
            self.text += data

    def data(self, name: str) -> list[Any]:
        """The JSON blocks with this id or class."""
        return [json.loads(text) for attributes, text in self.scripts if name in attributes.values()]


@dataclass
class Fake:
    """A small run with drawn photographs, and a record of what the page asked for."""

    run: MatchRun
    asked: list[tuple[str, str]] = field(default_factory=list)
    read: list[str] = field(default_factory=list)


def picture(path: str) -> np.ndarray:
    """A photograph that is the same for the same path: wide for laterals, with a bright top left corner."""
    wide = "left" in path or "right" in path
    rgb = np.full((40, 110, 3) if wide else (120, 44, 3), 60 + len(path) % 90, np.uint8)
    rgb[:10, :10] = 250
    return rgb


def evidence_of(query: str, candidate: str, viewpoint: str = "top", ok: bool = True) -> PairEvidence:
    rng = np.random.default_rng(len(query) + len(candidate))
    views = []
    for path, view in ((query, viewpoint), (candidate, "top")):
        rgb = picture(view if view != "top" else path)
        frame = canonical_frame((rgb.shape[1], rgb.shape[0]), view)
        xy = rng.uniform(2, 38, (9, 2)).astype(np.float32)
        ones = np.ones(9, np.float32)
        features = LocalFeatures(xy, ones, np.zeros((9, 4), np.float16), ones * 0.6, ones, frame, "sift")
        regions = Regions(np.ones(rgb.shape[:2], np.float32), np.zeros(rgb.shape[:2], np.float32), 1.0, 1.0)
        views.append((Photo(rgb, np.ones(rgb.shape[:2], bool), "0"), features, regions))
    matches = Correspondences(
        np.stack([np.arange(6)] * 2, 1).astype(np.int32), np.linspace(0.9, 0.2, 6, dtype=np.float32)
    )
    verification = Verification.none(6)
    if ok:
        inliers = np.array([1, 0, 1, 1, 0, 0], bool)
        verification = replace(verification, ok=True, kind="affine", inliers=inliers, n_inliers=3)
    (photo0, features0, regions0), (photo1, features1, regions1) = views
    return PairEvidence(
        photo0, photo1, features0, features1, regions0, regions1, matches, verification, reasons=(f"because {HOSTILE}",)
    )


def fake_run(
    n_queries: int = 3,
    n_candidates: int = 6,
    names: Callable[[int], str] = lambda i: f"query{i}.jpg",
    broken: tuple[str, ...] = (),
) -> Fake:
    paths = [f"/photos/{names(i)}" for i in range(n_queries)]
    views = ["left" if i == 1 else "top" for i in range(n_queries)]
    queries = pd.DataFrame(
        {"image_id": [f"q-{i}" for i in range(n_queries)], "path": paths, "date": "2019-08-01", "viewpoint": views}
    )
    candidates = pd.DataFrame(
        {
            "image_id": [f"c-{i}" for i in range(n_candidates)],
            "path": [f"/photos/candidate{i}.jpg" for i in range(n_candidates)],
            "individual_id": [f"W{i // 2}" if i != 5 else None for i in range(n_candidates)],
            "date": pd.to_datetime(["2018-08-01"] * (n_candidates - 1) + [None]),
            "viewpoint": "top",
            "encounter_id": None,
        }
    )
    answers = pd.DataFrame(
        [
            {
                "query_id": f"q-{q}",
                "rank": rank + 1,
                "image_id": f"c-{rank}",
                "individual_id": candidates["individual_id"][rank],
                "probability": 0.9 / (rank + 1) / (q + 1),
                "cosine": 0.5 if rank else float("nan"),
                "lightglue_matches": 12,
                "lightglue_inliers": 7,
            }
            for q in range(n_queries)
            for rank in range(n_candidates)
        ]
    )
    individuals = pd.DataFrame(
        [
            {
                "query_id": f"q-{q}",
                "rank": k + 1,
                "individual_id": f"W{k}",
                "probability": 0.8 / (k + 1),
                "best_image_id": f"c-{2 * k + 1}",
                "n_photographs": 4,
            }
            for q in range(n_queries)
            for k in range(2)
        ]
    )
    fake: Fake

    def read(path: str) -> np.ndarray:
        fake.read.append(path)
        if path in broken:
            raise OSError(f"{path}: image file is truncated")
        return picture(path if path not in paths or views[paths.index(path)] == "top" else "left")

    def evidence(query_id: str, image_id: str) -> PairEvidence:
        fake.asked.append((query_id, image_id))
        return evidence_of(query_id, image_id, views[int(query_id[2:])], ok=image_id != "c-1")

    run = MatchRun(
        answers=answers,
        queries=queries,
        candidates=candidates,
        read=read,
        evidence=evidence,
        individuals=individuals,
        new_individual={f"q-{q}": 0.05 for q in range(n_queries)},
        filter_text="6 photographs, 5 after the filter",
        settings={"seed": 0, "keypoints": {"kind": "sift", "count": 9}, "note": None},
        title="A made-up run",
    )
    fake = Fake(run)
    return fake


def parse(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_every_query_and_candidate_is_on_the_page(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    fake = fake_run()
    path = write_report(fake.run, tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert path == tmp_path / "index.html"
    assert steps == [(1, 3), (2, 3), (3, 3)]
    page = parse(path)
    ids = {attributes.get("id") for _, attributes in page.attributes}
    assert {"q1", "q2", "q3", "summary", "help"} <= ids
    cards = [a for tag, a in page.attributes if tag == "button" and a.get("class") == "card"]
    assert [a["data-rank"] for a in cards] == ["1", "2", "3", "4", "5", "6"] * 3
    for text in (
        "query0.jpg",
        "candidate5.jpg",
        "not named",
        "1 year earlier",
        "date unknown",
        "6 photographs, 5 after",
    ):
        assert text in page.text
    for text in ("keypoints · kind", "sift", "Probably W0", "Not in the catalogue", "0.050", "0.900"):
        assert text in page.text
    assert json.loads(page.scripts[-2][1])[0].startswith("#")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html"]


def test_ids_are_unique_and_labels_point_at_something(tmp_path: Path) -> None:
    page = parse(write_report(fake_run().run, tmp_path))
    ids = [a["id"] for _, a in page.attributes if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in page.attributes:
        for name in ("aria-labelledby", "href"):
            value = attributes.get(name) or ""
            if name == "aria-labelledby" and value:
                assert value in ids
            if name == "href" and value.startswith("#"):
                assert value[1:] in ids
    for tag, attributes in page.attributes:
        if tag == "img":
            assert attributes.get("alt")
            assert int(attributes["width"] or 0) > 0


@pytest.mark.parametrize("pictures", ["inline", "folder"])
def test_nothing_is_fetched_from_elsewhere(tmp_path: Path, pictures: Any) -> None:
    path = write_report(fake_run().run, tmp_path, pictures=pictures)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    without_namespace = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(
        r"https?:|//[a-z]", re.sub(r"base64,[A-Za-z0-9+/=]+", "", without_namespace).replace("// ", "")
    )
    assert page.tags["link"] == page.tags["iframe"] == 0
    for tag, attributes in page.attributes:
        assert not [name for name in attributes if name.startswith("on")], "inline handlers are forbidden"
        if tag in ("img", "script") and attributes.get("src"):
            assert (tmp_path / str(attributes["src"])).is_file()


def test_inline_pictures_are_jpegs_kept_once(tmp_path: Path) -> None:
    page = parse(write_report(fake_run(n_queries=4).run, tmp_path, pictures="inline"))
    names = [str(a["id"])[1:] for a, _ in page.scripts if a.get("class") == "picture"]
    book = dict(zip(names, page.data("picture"), strict=True))
    references = [str(a["data-ref"]) for tag, a in page.attributes if tag == "img"]
    assert references
    assert {reference[1:] for reference in references} <= set(book)
    for value in book.values():
        head, data = value.split(",", 1)
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        assert head == f"data:image/{str(image.format).lower()};base64"
        image.load()
    assert len(set(book.values())) == len(book)
    assert len(book) < 30, "the same candidate photograph is kept once, not once per query"


def test_folder_pictures_and_the_automatic_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = parse(write_report(fake_run().run, tmp_path / "folder", pictures="folder"))
    assert page.data("picture") == []
    files = {f"pictures/{file.name}" for file in (tmp_path / "folder" / "pictures").iterdir()}
    assert {str(a["src"]) for tag, a in page.attributes if tag == "img"} <= files
    for data in page.data("data"):
        assert {view["picture"] for view in data["views"]} | {view["marks"] for view in data["views"]} <= files
        assert {pair["warp"] for pair in data["pairs"].values()} <= files | {None}
    many = replace(fake_run(n_queries=4, n_candidates=1).run, evidence=None)
    assert INLINE_QUERIES >= 500, "one file for every run that a person looks through"
    monkeypatch.setattr("engine.report.page.INLINE_QUERIES", 4)
    write_report(many, tmp_path / "few")
    assert [file.name for file in (tmp_path / "few").iterdir()] == ["index.html"]
    monkeypatch.setattr("engine.report.page.INLINE_QUERIES", 3)
    write_report(many, tmp_path / "many")
    assert (tmp_path / "many" / "pictures").is_dir()


def test_laterals_are_shown_head_up(tmp_path: Path) -> None:
    write_report(fake_run().run, tmp_path, pictures="folder", pictures_per_query=0)
    page = parse(tmp_path / "index.html")
    query = page.data("data")[1]["query"]
    image = np.asarray(Image.open(tmp_path / query["ref"]))
    assert image.shape[:2] == (110, 40) == (query["height"], query["width"])
    bright = image.mean(axis=2) > 180  # the left view's head is at the left: its top left corner goes to the top right
    assert bright[:8, -8:].all()
    assert not bright[:, :20].any()


def test_a_box_is_cut_out(tmp_path: Path) -> None:
    run = fake_run(n_queries=1).run
    run = replace(run, queries=run.queries.assign(box=[(5, 20, 30, 70)]))
    query = parse(write_report(run, tmp_path, pictures_per_query=0)).data("data")[0]["query"]
    assert (query["width"], query["height"]) == (30, 70)


def test_evidence_is_asked_for_only_where_layers_are_drawn(tmp_path: Path) -> None:
    fake = fake_run()
    page = parse(write_report(fake.run, tmp_path, pictures_per_query=2))
    assert fake.asked == [(f"q-{q}", f"c-{c}") for q in range(3) for c in range(2)]
    assert Counter(fake.read).most_common(1)[0][1] == 1, "a photograph is read once, however often it is shown"
    for data in page.data("data"):
        assert list(data["pairs"]) == ["1", "2"]
    nothing = fake_run()
    write_report(nothing.run, tmp_path, pictures_per_query=0)
    assert nothing.asked == []


def test_layers_hold_canonical_coordinates_with_the_inliers_first(tmp_path: Path) -> None:
    page = parse(write_report(fake_run().run, tmp_path))
    data = page.data("data")[1]
    pair = data["pairs"]["1"]
    query = data["views"][pair["views"][0]]
    evidence = evidence_of("q-1", "c-0", "left")
    xy0, xy1 = evidence.matched_xy
    assert pair["inliers"] == 3
    for row, match in zip([0, 2, 3, 1, 4, 5], pair["matches"], strict=True):
        expected = [*xy0[row], *xy1[row], evidence.correspondences.confidence[row] * 100]
        assert match == pytest.approx(expected, abs=0.06)
    assert query["size"] == [40, 110]
    assert query["points"] == np.round(evidence.features0.canonical_xy * 10).astype(int).ravel().tolist()
    assert query["on_mark"] == 9
    assert query["body"][0][:2] == [0, 0]
    assert pair["warp"] is not None
    assert pair["views"][1] != pair["views"][0]
    assert {one["views"][0] for one in data["pairs"].values()} == {pair["views"][0]}, "the query's layers are kept once"
    without_model = data["pairs"]["2"]
    assert (without_model["inliers"], without_model["warp"], without_model["model"]) == (0, None, "")


def test_heat_and_axis_are_layers_of_a_pair(tmp_path: Path) -> None:
    fake = fake_run(n_queries=2)
    run = fake.run

    def warm(query_id: str, image_id: str) -> PairEvidence:
        assert run.evidence is not None
        found = run.evidence(query_id, image_id)
        heat = [np.zeros(photo.rgb.shape[:2], np.float32) for photo in (found.photo0, found.photo1)]
        heat[0][:, :8] = 1.0
        spots = np.array([[1, 2], [3, 4]], np.float32)
        skin = SkinPlaces(spots[:1], spots[1:], np.full(1, 0.5, np.float32))
        return replace(found, heat0=heat[0], heat1=heat[1], skin=skin) if query_id == "q-1" else found

    page = parse(write_report(replace(run, evidence=warm), tmp_path, pictures="folder"))
    cold, hot = page.data("data")
    assert cold["pairs"]["1"]["heat"] is None
    image = np.asarray(Image.open(tmp_path / hot["pairs"]["1"]["heat"][0]))
    assert image.shape[2] == 4 and image.shape[0] > image.shape[1], "a lateral's heat is turned as its photograph is"
    assert image[0, :, 3].min() > 150 and image[-1, :, 3].max() == 0
    assert cold["pairs"]["1"]["skin"] is None
    assert hot["pairs"]["1"]["skin"] == [[1.0, 2.0, 3.0, 4.0, 50.0]]
    line, bars = hot["views"][0]["axis"]
    assert len(line) >= 4 and len(bars) == 3


def test_what_was_weighed_is_told_for_every_candidate(tmp_path: Path) -> None:
    asked: list[str] = []
    part = ScorePart("whole <picture>", -0.25, ("cosine: 0.1 (-0.25)",))

    def explain(query_id: str) -> dict[str, ScoreParts]:
        asked.append(query_id)
        if query_id == "q-2":
            raise RuntimeError("no list")
        return {f"c-{i}": ScoreParts((part,), "score", -1.0, "SHAP values") for i in range(5)}

    page = parse(write_report(replace(fake_run().run, parts=explain), tmp_path))
    assert asked == ["q-0", "q-1", "q-2"]
    first, _, last = page.data("data")
    assert list(first["parts"]) == ["1", "2", "3", "4", "5"]
    rows = [["whole <picture>", -0.25, ["cosine: 0.1 (-0.25)"]]]
    assert first["parts"]["5"] == {"rows": rows, "baseline": -1.0, "total": -1.25, "unit": "score"}
    assert last["parts"] == {}
    assert "no list" in page.text and "SHAP values" in page.text
    assert write_report(fake_run().run, tmp_path / "without").exists()


def test_a_page_of_one_query_has_no_summary_of_many(tmp_path: Path) -> None:
    run = fake_run(n_queries=1).run
    run = replace(run, individuals=None, new_individual=None, queries=run.queries.assign(individual_id="W7"))
    one = parse(write_report(run, tmp_path / "one"))
    classes = {str(attributes.get("class")) for _, attributes in one.attributes}
    assert {"single", "work wide"} <= classes
    assert not {"histogram", "sheet", "side"} & classes
    assert "recorded as W7" in one.text
    many = {str(a.get("class")) for _, a in parse(write_report(fake_run().run, tmp_path / "many")).attributes}
    assert {"histogram", "sheet", "side"} <= many and not {"single", "work wide"} & many


def test_a_querys_own_filter_is_shown_with_it(tmp_path: Path) -> None:
    run = replace(fake_run().run, query_filters={"q-1": "6 candidates: 2 dropped by encounter of the query; 4 left"})
    assert parse(write_report(run, tmp_path)).text.count("2 dropped by encounter of the query") == 1


def test_hostile_names_do_no_harm(tmp_path: Path) -> None:
    fake = fake_run(names=lambda i: f"{i}{HOSTILE}")
    run, individuals = fake.run, fake.run.individuals
    assert individuals is not None
    run = replace(
        run,
        title=HOSTILE,
        filter_text=HOSTILE,
        settings={HOSTILE: HOSTILE},
        candidates=run.candidates.assign(
            individual_id=HOSTILE + run.candidates["individual_id"], path=[f"/p/{HOSTILE}{i}" for i in range(6)]
        ),
        individuals=individuals.assign(individual_id=HOSTILE + individuals["individual_id"]),
    )
    page = parse(write_report(run, tmp_path))
    tame = parse(write_report(fake_run().run, tmp_path / "tame"))
    assert page.tags["script"] == tame.tags["script"]
    assert page.tags["img"] == tame.tags["img"]
    assert HOSTILE in page.text
    assert page.data("data")[0]["pairs"]["1"]["reasons"] == [f"because {HOSTILE}"]
    assert not any(name.startswith("on") for _, attributes in page.attributes for name in attributes)
    assert "\u2028" in HOSTILE
    assert json.loads(str(json_block([HOSTILE]))) == [HOSTILE]
    assert not set("<>&") & set(str(json_block([HOSTILE])))


def test_names_that_are_no_text_do_not_stop_the_page(tmp_path: Path) -> None:
    run = fake_run().run
    paths = pd.Series([f"/photos/{i}\udcff\x00.jpg" for i in range(3)], dtype=object)
    page = parse(write_report(replace(run, queries=run.queries.assign(path=paths), title="\udcff"), tmp_path))
    assert page.tags["section"] == 4


def test_the_only_script_is_the_one_the_page_allows(tmp_path: Path) -> None:
    page = parse(write_report(fake_run().run, tmp_path))
    running = [text for attributes, text in page.scripts if attributes.get("type") != "application/json"]
    assert len(running) == 1
    digest = base64.b64encode(hashlib.sha256(running[0].encode()).digest()).decode()
    policies = [a["content"] for tag, a in page.attributes if a.get("http-equiv") == "Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}'" in str(policies[0])


def test_one_broken_photograph_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    fake = fake_run(broken=("/photos/query1.jpg", "/photos/candidate2.jpg"))
    run = fake.run

    def evidence(query_id: str, image_id: str) -> PairEvidence:
        if query_id == "q-2":
            raise RuntimeError("no keypoints were stored")
        assert run.evidence is not None
        return run.evidence(query_id, image_id)

    page = parse(write_report(replace(run, evidence=evidence), tmp_path))
    assert page.tags["section"] == 4
    assert "image file is truncated" in page.text
    assert "no keypoints were stored" in page.text
    assert "candidate2.jpg" in page.text
    assert page.data("data")[2]["pairs"] == {}
    assert len(page.data("data")[0]["pairs"]) == 3
    assert fake.read.count("/photos/candidate2.jpg") == 1


def test_queries_without_candidates_and_runs_without_extras(tmp_path: Path) -> None:
    fake = fake_run()
    few = fake.run.answers[fake.run.answers["query_id"] == "q-1"][["query_id", "rank", "image_id", "probability"]]
    run = MatchRun(answers=few, queries=fake.run.queries, candidates=fake.run.candidates, read=fake.run.read)
    page = parse(write_report(run, tmp_path))
    assert page.text.count("No candidate passed the filter") >= 2
    assert "No candidate filter" in page.text
    empty = replace(run, answers=few.iloc[:0], queries=fake.run.queries.iloc[:0])
    assert parse(write_report(empty, tmp_path / "none")).tags["section"] == 1


def test_contact_sheet_begins_with_the_least_certain(tmp_path: Path) -> None:
    page = parse(write_report(fake_run().run, tmp_path))  # best probabilities 0.9, 0.45, 0.3
    links = [a["href"] for tag, a in page.attributes if tag == "a" and str(a.get("href", "")).startswith("#q")]
    assert links[-3:] == ["#q2", "#q3", "#q1"]


def test_same_run_same_page(tmp_path: Path) -> None:
    first = write_report(fake_run().run, tmp_path / "a").read_bytes()
    assert first == write_report(fake_run().run, tmp_path / "b").read_bytes()


def test_wrong_input_is_named(tmp_path: Path) -> None:
    run = fake_run().run
    with pytest.raises(ValueError, match="'answers' lacks the column 'probability'"):
        write_report(replace(run, answers=run.answers.drop(columns="probability")), tmp_path)
    with pytest.raises(ValueError, match="auto, inline or folder"):
        write_report(run, tmp_path, pictures="zip")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (0, "same day"),
        (1, "1 day later"),
        (-13, "13 days earlier"),
        (21, "3 weeks later"),
        (61, "2 months later"),
        (-365, "1 year earlier"),
        (430, "1 year 2 months later"),
        (float("nan"), ""),
        (None, ""),
    ],
)
def test_date_gap_in_words(days: float | None, words: str) -> None:
    assert gap_in_words(days) == words


def test_words_for_verdicts_and_missing_values() -> None:
    assert verdict(None, "", None)[0] == "none"
    assert verdict(0.95, "W1", 0.02) == ("match", "Very likely W1")
    assert verdict(0.3, "W1", 0.6)[0] == "new"
    assert verdict(0.2, "", None) == ("maybe", "Perhaps the best photograph's animal")
    assert verdict(0.01, "W1", 0.3)[0] == "none"
    assert uncertainty(0.5) == 1.0
    assert uncertainty(1.0) == uncertainty(None) == 0.0
    assert [text_of(v) for v in (None, float("nan"), pd.NA, pd.NaT, "", 3)] == ["", "", "", "", "", "3"]
    assert date_of(pd.Timestamp("2019-08-01 12:00")) == "2019-08-01"
    assert date_of(pd.NaT) == ""
    assert [chance(value) for value in (None, 0.0, 0.5, 1.0)] == ["–", "<0.001", "0.500", ">0.999"]
