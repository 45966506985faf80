"""The server: who may ask, what programs get, and what is refused: foreign sites, foreign paths, hostile uploads."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'scarmatch[review]'")
import uvicorn
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from engine.review.decision_table import ReviewFile
from engine.review.server.access import TOKEN_HEADER, Access
from engine.review.server.hall import Hall
from engine.review.server.serve import ServeError, ServerPlan, bound, hall_for, make_app, serve
from engine.review.session import Review

ADDRESS = "http://127.0.0.1:8000"
PAGES = ("/", "/question?image=q1", "/contradictions", "/individuals", "/individual?name=A", "/decisions", "/exports")


@pytest.fixture
def access() -> Access:
    """Who may ask a server of this machine alone."""
    return Access(8000, {"127.0.0.1", "localhost"}, "Ada")


@pytest.fixture
def hall(tmp_path: Path, review: Review, access: Access) -> Hall:
    """A hall in which nothing is matched."""
    return hall_for(review, None, access, tmp_path / "pictures", ServerPlan(title="Made up", largest=300_000))


@pytest.fixture
def stranger(hall: Hall) -> Iterator[TestClient]:
    """A browser without a session."""
    with TestClient(make_app(hall), base_url=ADDRESS, follow_redirects=False) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient, access: Access) -> TestClient:
    """A browser with a session and its token."""
    assert stranger.get(access.invite()).status_code == 303
    stranger.headers[TOKEN_HEADER] = stranger.get("/api/session").json()["token"]
    return stranger


def decide(client: TestClient, kind: str, *images: str, **more: Any) -> Any:
    return client.post("/api/decisions", json={"decisions": [{"kind": kind, "images": list(images), **more}]})


def jpeg(size: tuple[int, int] = (60, 120), seed: int = 9) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def send(client: TestClient, content: bytes, name: str = "new photo.jpg", **form: str) -> Any:
    return client.post("/api/photographs", files={"file": (name, content)}, data=form)


# --- who may ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/api/questions", "/picture?image=a1", "/static/script.js", "/interface"])
def test_nothing_is_told_to_a_stranger(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert answer.status_code == 401
    assert "q1" not in answer.text and "set-cookie" not in answer.headers


def test_an_address_opens_one_browser_once(stranger: TestClient, access: Access) -> None:
    address = access.invite()
    assert stranger.get(address).status_code == 303
    cookie = stranger.cookies
    assert stranger.get("/").status_code == 200
    cookie.clear()
    assert "opened before" in stranger.get(address).text
    assert stranger.get("/").status_code == 401


def test_the_cookie_is_no_scripts_and_no_other_sites(stranger: TestClient, access: Access) -> None:
    given = stranger.get(access.invite()).headers["set-cookie"].lower()
    assert "httponly" in given and "samesite=strict" in given


@pytest.mark.parametrize(
    "host", ["evil.example:8000", "127.0.0.1:9000", "127.0.0.1.evil.example:8000", "", "127.0.0.1:x"]
)
def test_another_name_for_this_server_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {TOKEN_HEADER: ""},
        {TOKEN_HEADER: "wrong"},
    ],
)
def test_what_another_site_could_send_decides_nothing(client: TestClient, hall: Hall, headers: dict[str, str]) -> None:
    body = {"decisions": [{"kind": "same", "images": ["q1", "a1"]}]}
    assert client.post("/api/decisions", json=body, headers=headers).status_code == 403
    assert hall.review.file.last() == 0


def test_own_pages_may_decide_and_other_sites_read_nothing(client: TestClient) -> None:
    answer = client.post(
        "/api/decisions",
        json={"decisions": [{"kind": "same", "images": ["q1", "a1"]}]},
        headers={"origin": ADDRESS, "sec-fetch-site": "same-origin"},
    )
    assert answer.status_code == 200
    assert not any(name.startswith("access-control") for name in answer.headers)
    page = client.get("/", headers={"origin": "http://evil.example"})
    assert "access-control-allow-origin" not in page.headers
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cross-origin-resource-policy"] == "same-origin"
    assert page.headers["x-content-type-options"] == "nosniff" and page.headers["cache-control"] == "no-store"


def test_another_machine_needs_the_password(review: Review, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: pytest.fail("it serves"))
    with pytest.raises(ServeError, match="SCARMATCH_REVIEW_PASSWORD"):
        serve(review, None, ServerPlan(host="0.0.0.0"), print)
    access = Access(8000, {"127.0.0.1"}, "Ada", "correct horse")
    hall = hall_for(review, None, access, tmp_path / "pictures", ServerPlan())
    with TestClient(make_app(hall), base_url=ADDRESS) as client:
        assert "not the password" in client.post("/sign-in", data={"password": "guess"}).text
        foreign = client.post("/sign-in", data={"password": "correct horse"}, headers={"origin": "http://evil.example"})
        assert foreign.status_code == 403 and client.get("/").status_code == 401
        assert client.post("/sign-in", data={"password": "correct horse"}).status_code == 200
        assert client.get("/").status_code == 200


def test_many_wrong_passwords_close_the_door_for_a_while() -> None:
    access = Access(8000, {"127.0.0.1"}, "Ada", "right")
    assert all(access.sign_in("wrong", Headers(), now=0.0) is None for _ in range(5))
    assert access.sign_in("right", Headers(), now=29.0) is None
    assert access.sign_in("right", Headers(), now=31.0) is not None


def test_a_port_that_is_taken_is_named() -> None:
    with bound("127.0.0.1", 0) as taken:
        again = bound("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(ServeError, match="choose another --port"):
            again.__enter__()


# --- pages and interface ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/interface"])
def test_every_page_opens_and_takes_nothing_from_elsewhere(client: TestClient, path: str) -> None:
    decide(client, "same", "q2", "b1")
    decide(client, "different", "q2", "b2")
    answer = client.get(path)
    assert answer.status_code == 200
    assert "Made up" in answer.text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)
    assert not re.findall(r"<[^>]+\son\w+=", answer.text)


def test_filters_are_kept_with_their_counts_until_others_are_asked_for(client: TestClient, hall: Hall) -> None:
    decide(client, "same", "q1", "a1")
    asked = client.get("/", params={"order": "oldest", "status": "open"}).text
    again = client.get("/").text
    assert shown_in(asked) == shown_in(again) == ["q2", "q3"]
    assert ">decided <span" in again and "<option selected>oldest" in again
    assert "1 of 2 in the queue" in client.get("/question?image=q2").text
    # A session that begins later, after a restart for instance, finds them: the browser remembers.
    client.cookies.delete(hall.access.cookie)
    assert client.get("/").status_code == 401
    client.get(hall.access.invite())
    assert shown_in(client.get("/").text) == ["q2", "q3"]
    assert shown_in(client.get("/", params={"order": "oldest", "status": ""}).text) == ["q1", "q2", "q3"]
    assert shown_in(client.get("/").text) == ["q1", "q2", "q3"]
    with TestClient(make_app(hall), base_url=ADDRESS) as other:
        other.get(hall.access.invite())
        other.get("/", params={"status": "no match found"})
        assert shown_in(other.get("/").text) == []
    assert shown_in(client.get("/").text) == ["q1", "q2", "q3"]


def shown_in(page: str) -> list[str]:
    return re.findall(r'<span class="name">(\w+)', page)


def test_a_browser_remembers_who_reviews(stranger: TestClient, access: Access) -> None:
    stranger.cookies.set("scarmatch_reviewer", "Zo%C3%AB")
    stranger.get(access.invite())
    assert stranger.get("/api/session").json()["who"] == "Zoë"


def test_names_that_would_be_markup_stay_text(client: TestClient) -> None:
    decide(client, "new_individual", "q3", name="<script>alert(1)</script>")
    for path in ("/", "/individuals", "/question?image=q3", "/decisions"):
        text = client.get(path).text
        assert "<script>alert" not in text and "alert(1)" in text


def test_programs_get_the_queue_the_question_and_what_became_of_it(client: TestClient) -> None:
    queue = client.get("/api/questions", params={"order": "oldest", "limit": 2}).json()
    assert queue["total"] == 3 and [one["key"] for one in queue["questions"]] == ["q1", "q2"]
    question = client.get("/api/question", params={"image": "q1"}).json()
    assert question["candidates"][0]["name"] == "A"
    assert question["candidates"][0]["photographs"][0]["image"] == "a2"
    assert client.get(question["candidates"][0]["photographs"][0]["picture"]).headers["content-type"] == "image/jpeg"
    answer = client.post(
        "/api/decisions?order=oldest",
        json={"decisions": [{"kind": "same", "images": ["q1", "a2"], "key": "k"}], "question": "q1"},
    ).json()
    assert answer["next"] == "q2"
    assert answer["decisions"][0]["who"] == "Ada" and answer["decisions"][0]["probability"] > 0.8
    assert client.get("/api/question", params={"image": "q1"}).json()["name"] == "A"
    assert client.get("/api/individuals").json()["A"] == ["a1", "a2", "q1"]
    assert client.get("/api/progress").json()["counts"]["decided"] == 1


def test_a_rejected_candidate_keeps_the_question_until_none_is_left(client: TestClient) -> None:
    def reject(image: str) -> Any:
        body = {"decisions": [{"kind": "different", "images": ["q3", image]}], "question": "q3"}
        return client.post("/api/decisions", json=body).json()["next"]

    assert reject("c1") == "q3"
    assert reject("q1") in ("q1", "q2")
    assert client.get("/api/question", params={"image": "q3"}).json()["status"] == "no match found"


def test_undo_takes_back_the_reviewers_own_last_decision(client: TestClient) -> None:
    decide(client, "same", "q1", "a1")
    decide(client, "same", "q2", "b1", who="Ben")
    answer = client.post("/api/undo").json()
    assert answer["next"] == "q1" and answer["decisions"][0]["images"] == ["q1", "a1"]
    assert client.post("/api/undo").status_code == 400
    assert client.get("/api/individuals").json()["B"] == ["b1", "b2", "q2"]


def test_contradictions_and_previews(client: TestClient) -> None:
    decide(client, "same", "q1", "a1")
    decide(client, "same", "q1", "b1")
    (one,) = client.get("/api/contradictions").json()
    assert one["kind"] == "two names" and one["names"] == ["A", "B"]
    merge = {"kind": "merge", "individual": "B", "name": "A"}
    seen = client.post("/api/preview", json=merge).json()
    assert ["b1", "B", "A"] in seen["renamed"] and len(seen["resolved"]) == 1
    assert decide(client, "merge", individual="B", name="A").status_code == 200
    assert client.get("/api/contradictions").json() == []


def test_two_reviewers_see_each_others_decisions(client: TestClient, hall: Hall) -> None:
    with TestClient(make_app(hall), base_url=ADDRESS) as other:
        other.get(hall.access.invite())
        other.headers[TOKEN_HEADER] = other.get("/api/session").json()["token"]
        assert other.post("/api/session", json={"who": "Ben"}).json()["who"] == "Ben"
        decide(other, "different", "q1", "a1")
    decide(client, "same", "q1", "a1")
    (one,) = client.get("/api/contradictions").json()
    assert one["kind"] == "reviewers disagree"


def test_downloads_hold_what_was_decided(client: TestClient, tmp_path: Path) -> None:
    decide(client, "same", "q1", "a1", who="=1+1")
    names = client.get("/api/exports/names")
    assert "q1,A,," in names.text and "attachment" in names.headers["content-disposition"]
    assert "'=1+1" in client.get("/api/exports/decisions").text
    assert client.get("/api/exports/decisions-json").json()[0]["kind"] == "same"
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(client.get("/api/exports/review").content)
    with ReviewFile(copy) as file:
        assert file.last() == 1
    assert client.get("/api/exports/passwd").status_code == 404


def test_the_catalogue_as_it_is_today_is_a_download_in_every_form(client: TestClient) -> None:
    decide(client, "same", "q1", "a1")
    page = client.get("/exports").text
    for form in ("csv", "coco", "happywhale", "folders", "wildbook", "mark", "secr"):
        assert f"catalogue-{form}" in page
    answer = client.get("/api/exports/catalogue-csv")
    assert answer.status_code == 200
    rows = {row["image_id"]: row for row in csv.DictReader(io.StringIO(answer.text))}
    assert rows["q1"]["individual_id"] == "A"
    histories = client.get("/api/exports/catalogue-mark")
    assert histories.status_code == 200
    with zipfile.ZipFile(io.BytesIO(histories.content)) as archive:
        assert "notes.txt" in archive.namelist() and any(name.endswith(".inp") for name in archive.namelist())


def test_capture_histories_are_those_of_the_occasions_sides_and_certainty_asked_for(client: TestClient) -> None:
    decide(client, "same", "q1", "a1", confidence="guessing")
    asked: dict[str, Any] = {"occasions": "breaks", "breaks": "2018-01-01, 2019-01-01, 2021-01-01"}
    seen = client.get("/api/capture-histories", params=asked).json()
    assert [one["name"] for one in seen["occasions"]] == ["2018-01-01 to 2018-12-31", "2019-01-01 to 2020-12-31"]
    histories = {one["name"]: one for one in seen["individuals"]}
    assert histories["A"]["history"] == "11" and histories["B"]["history"] == "10"
    assert (histories["A"]["first_seen"], histories["A"]["last_seen"]) == ("2018-06-01", "2020-06-01")
    mark = client.get("/api/exports/catalogue-mark", params=asked)
    with zipfile.ZipFile(io.BytesIO(mark.content)) as archive:
        assert "/* A */ 11 1;" in archive.read("capture-histories-mark.inp").decode()
    sure = client.get("/api/capture-histories", params=asked | {"min_certainty": "certain"}).json()
    assert {one["name"]: one["history"] for one in sure["individuals"]}["A"] == "10"
    assert any("less than 'certain'" in note for note in sure["notes"])
    left = client.get("/api/capture-histories", params={"sides": "left"}).json()
    assert [one["name"] for one in left["individuals"]] == ["A"]


@pytest.mark.parametrize(
    ("asked", "status", "word"),
    [
        ({"occasions": "breaks"}, 400, "two breaks"),
        ({"occasions": "fortnight"}, 422, "occasions"),
        ({"occasions": "breaks", "breaks": "yesterday,today"}, 400, "breaks"),
        ({"sides": "below"}, 400, "no photograph shows"),
        ({"min_certainty": "hopeful"}, 422, "min_certainty"),
        ({"output": "/tmp/x"}, 422, "output"),
    ],
)
def test_an_export_that_cannot_be_is_refused_with_the_reason(
    client: TestClient, asked: dict[str, str], status: int, word: str
) -> None:
    for path in ("/api/capture-histories", "/api/exports/catalogue-secr"):
        answer = client.get(path, params=asked)
        assert answer.status_code == status and word in answer.json()["error"]


def test_wildbook_and_folders_come_with_their_photographs(client: TestClient) -> None:
    refused = client.get("/api/exports/catalogue-wildbook")
    assert refused.status_code == 400 and "location" in refused.json()["error"]
    asked = {"location": "Cook Inlet", "species": "Delphinapterus leucas", "sheet": "csv"}
    with zipfile.ZipFile(io.BytesIO(client.get("/api/exports/catalogue-wildbook", params=asked).content)) as archive:
        assert {"bulk-import-1.csv", "photographs.csv", "photographs/a1.jpg"} <= set(archive.namelist())
    with zipfile.ZipFile(io.BytesIO(client.get("/api/exports/catalogue-folders").content)) as archive:
        assert {"A/a1.jpg", "q1.jpg"} <= set(archive.namelist())


# --- names from a table -----------------------------------------------------------------------------------------------


def send_names(client: TestClient, content: bytes, name: str = "names.csv", look: bool = False) -> Any:
    return client.post("/api/names", files=[("files", (name, content))], data={"look": str(look).lower()})


def test_names_from_a_table_are_looked_at_first_and_can_be_taken_back(client: TestClient, hall: Hall) -> None:
    table = b"image_id,individual_id\nq1,Sedna\nq2,B\nc1,Nanuq\nc2,Nanuq\na1,A\nunknown,X\n"
    seen = send_names(client, table, look=True).json()
    assert seen["changes"] == ["C renamed Nanuq", "q1: a new individual, Sedna", "q2 moved to B"]
    assert any("unknown" in note for note in seen["notes"]) and hall.review.file.last() == 0
    assert send_names(client, table).json()["decided"]
    individuals = client.get("/api/individuals").json()
    assert individuals["Sedna"] == ["q1"] and individuals["Nanuq"] == ["c1", "c2"] and "q2" in individuals["B"]
    assert hall.review.state.decisions[0].who == "Ada" and hall.review.state.decisions[0].shown["table"] == "names.csv"
    assert send_names(client, table).json()["changes"] == []
    client.post("/api/undo")
    assert "q2" not in client.get("/api/individuals").json()["B"]


def test_a_sheet_for_wildbook_comes_back_with_its_key(client: TestClient) -> None:
    sheet = b"Encounter.mediaAsset0,MarkedIndividual.individualID\nPHOTO.1.jpg,A\n"
    key = b"file,image_id\nPHOTO.1.jpg,q1\n"
    files = [("files", ("bulk-import-1.csv", sheet)), ("files", ("photographs.csv", key))]
    assert client.post("/api/names", files=files).json()["changes"] == ["q1 moved to A"]


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("names.exe", b"image_id,name\nq1,A\n", "no table by its ending"),
        ("names.csv", b"", "names.csv"),
        ("names.csv", b"image_id\nq1\n", "no column names the individual"),
        ("names.csv", b"image_id,name\nq1,A\nq1,B\n", "'A' in line 2"),
        ("names.csv", b"\x00\xff\xfe" * 40, "names.csv"),
        ("names.xlsx", b"PK\x03\x04 no workbook", "names.xlsx"),
        ("../../names.csv", b"path,name\n../../../etc/passwd,A\n", ""),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_line_and_decides_nothing(
    client: TestClient, hall: Hall, name: str, content: bytes, word: str
) -> None:
    answer = send_names(client, content, name)
    assert answer.status_code == (400 if word else 200)
    assert word in answer.json().get("error", "") and "scarmatch-names-" not in answer.text and "\n" not in answer.text
    assert hall.review.file.last() == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"decisions": []}, 422),
        ({"decisions": [{"kind": "perhaps", "images": ["q1", "a1"]}]}, 422),
        ({"decisions": [{"kind": "same", "images": ["q1", "a1"], "more": 1}]}, 422),
        ({"decisions": [{"kind": "same", "images": ["q1"]}]}, 400),
        ({"decisions": [{"kind": "same", "images": ["q1", "../../etc/passwd"]}]}, 400),
        ({"decisions": [{"kind": "rename", "individual": "A", "name": "B"}]}, 400),
        ([], 422),
    ],
)
def test_a_malformed_decision_is_refused_in_one_line(client: TestClient, body: Any, status: int) -> None:
    answer = client.post("/api/decisions", json=body)
    assert answer.status_code == status
    assert answer.json()["error"] and "\n" not in answer.json()["error"]


def test_the_interface_describes_itself_from_what_it_is(client: TestClient) -> None:
    described = client.get("/api/openapi.json").json()
    text = client.get("/interface").text
    for path, methods in described["paths"].items():
        for method, one in methods.items():
            assert f"{method.upper()} {path}" in text
            assert one["description"]


# --- what no path leads to --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/picture?image=../../../etc/passwd",
        "/picture?image=/etc/passwd",
        "/pictures/..%2f..%2freview.sqlite",
        "/pictures/review.sqlite",
        "/pictures/pair-0.json",
        "/static/..%2fserve.py",
        "/static/serve.py",
        "/api/exports/..%2f..%2fetc",
        "/api/layers?query=../x&candidate=a1",
        "/question?image=../../etc/passwd",
    ],
)
def test_no_path_leaves_the_catalogue(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code in (400, 404)
    assert b"root:" not in answer.content and b"SQLite" not in answer.content and b"import " not in answer.content


def test_files_that_are_there_are_not_told_by_their_path(client: TestClient, hall: Hall, tmp_path: Path) -> None:
    (tmp_path / "beside.jpg").write_bytes(jpeg())
    hall.photographs.folder.mkdir(parents=True, exist_ok=True)
    (hall.photographs.folder / "pair-0.json").write_text("{}")
    for path in (f"/picture?image={tmp_path / 'beside.jpg'}", "/picture?image=beside.jpg", "/pictures/pair-0.json"):
        assert client.get(path).status_code == 404, path


def test_a_photograph_is_taken_in_and_asked_about(client: TestClient, hall: Hall) -> None:
    answer = send(client, jpeg(), "../../Über <b>.JPG", date="2021-07", viewpoint="top")
    assert answer.status_code == 201
    image = answer.json()["image"]
    row = hall.review.rows[image]
    assert Path(row["path"]).parent == hall.uploads and re.fullmatch(r"[\w-]+-[0-9a-f]{8}", image)
    assert row["viewpoint"] == "top" and hall.review.standing(image).question.year == "2021"
    assert client.get("/picture", params={"image": image}).status_code == 200
    assert "uploaded before" in send(client, jpeg()).json()["error"]
    assert sorted(file.suffix for file in hall.uploads.iterdir()) == [".jpg"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.html", b"<script>alert(1)</script>"),
        ("x.html", jpeg()),
        ("x.jpg", b"<script>alert(1)</script>"),
        ("x.jpg", b""),
        ("x.jpg", jpeg()[:400]),
        ("x.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("x.sqlite", b"SQLite format 3\x00"),
        ("", jpeg()),
        (".jpg", b"GIF89a"),
    ],
)
def test_what_is_no_photograph_is_refused_and_not_kept(
    client: TestClient, hall: Hall, name: str, content: bytes
) -> None:
    answer = send(client, content, name)
    assert answer.status_code in (400, 422), answer.text
    assert not hall.uploads.exists() or not list(hall.uploads.iterdir())
    assert len(hall.review.queue.questions) == 3


def test_what_is_too_large_is_refused_whatever_it_says_of_its_length(client: TestClient, hall: Hall) -> None:
    large = jpeg((900, 900))
    assert len(large) > hall.largest
    assert send(client, large).status_code == 413
    boundary = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.jpg"\r\n\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/api/photographs", content=iter([boundary, large, b"\r\n--b--\r\n"]), headers=headers)
    assert answer.status_code >= 400
    assert client.post("/api/decisions", content=b" " * 2_000_000).status_code == 413
    assert send_names(client, b"image_id,name\n" + b"q1,A\n" * 70_000).status_code == 413
    assert not hall.uploads.exists() or not list(hall.uploads.iterdir())


def test_the_file_stays_readable_by_sqlite_alone(client: TestClient, hall: Hall) -> None:
    decide(client, "same", "q1", "a1")
    base = sqlite3.connect(hall.review.file.path)
    assert base.execute("SELECT who, kind FROM decisions").fetchall() == [("Ada", "same")]
    base.close()
