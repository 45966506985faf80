"""A review as it is done by hand: with the keyboard alone, with the mouse alone, on a screen and on a telephone."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from engine.review.decision_table import ReviewFile
from engine.review.decisions import Decision
from engine.review.session import Review

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'scarmatch[test]'")
pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'scarmatch[review]'")
from playwright.sync_api import Browser, Page, expect

from ..engine.review.conftest import answered, catalog_in, draw, review_in, serving, table_of

if TYPE_CHECKING:
    from engine.review.server.hall import Hall

pytestmark = pytest.mark.slow
_ASKED = 25
#: Keys of a reviewer, one after the other.
_KEYS = "ynncuxyulanyu"
#: What Chromium writes down of a request that was refused with a reason, which the page shows; nothing is drawn here.
_REFUSED = tuple(f"Failed to load resource: the server responded with a status of {status}" for status in (400, 404))


@pytest.fixture
def hall(tmp_path: Path, browser: Browser) -> Iterator[Hall]:
    """A review of three questions, with nothing decided; depends on the browser to skip in time."""
    with review_in(tmp_path, catalog_in(tmp_path)) as review, serving(review, tmp_path) as hall:
        yield hall


@contextlib.contextmanager
def opened(browser: Browser, hall: Hall, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Give a window in which the review is open; what the browser complains of fails the test."""
    complaints: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 500)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(f"http://127.0.0.1:{hall.access.port}{hall.access.invite()}")
    yield page
    context.close()
    assert not [one for one in complaints if not one.startswith(_REFUSED)]


def reach(page: Page, selector: str) -> None:
    """Press Tab until the keyboard is at an element."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the keyboard does not reach {selector}")


def test_a_hundred_decisions_with_the_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    new = [f"new{number:02d}" for number in range(_ASKED)]
    catalog = catalog_in(tmp_path)
    with ReviewFile(tmp_path / "review.sqlite") as file:
        review = Review(catalog, file)
        review.add_photographs(table_of(tmp_path / "new", dict.fromkeys(new), 2020))
        for number, image in enumerate(new):
            chances = {"a1": 0.6, "b1": 0.3, "c1": 0.1} if number % 2 else {"c2": 0.5, "a2": 0.2, "b2": 0.1}
            answered(file, image, {other: chance - number / 1000 for other, chance in chances.items()})
        review.learn(new)
        with serving(review, tmp_path) as hall, opened(browser, hall) as page:
            page.keyboard.press("Enter")
            expect(page.locator("section.query")).to_be_focused()
            made = 0
            while made < 100:
                made += press(page, _KEYS[made % len(_KEYS)])
                assert page.evaluate("document.activeElement === document.querySelector('section.query')"), made
            assert "decided" in (page.locator("#meter").get_attribute("aria-label") or "")
        kinds = [one.kind for one in file.decisions()]
    assert len(kinds) == made
    assert {"same", "different", "cannot_tell", "not_comparable", "new_individual", "skip", "undo"} == set(kinds)


def press(page: Page, key: str) -> int:
    """Decide with a key, wait until the next question stands there, and return 1."""
    if page.locator('[data-decide="same"]').is_disabled() and key in "yncx":
        key = "a"  # nobody is left to compare with
    with page.expect_response(lambda answer: answer.request.method == "POST" and "preview" not in answer.url):
        page.keyboard.press(key)
        if key == "a":
            expect(page.locator("#question-dialog")).to_be_visible()
            page.keyboard.press("Enter")
    expect(page.locator("#decide.busy")).to_have_count(0)
    return 1


def test_names_are_changed_and_taken_back_with_the_keyboard_alone(browser: Browser, hall: Hall) -> None:
    with opened(browser, hall) as page:
        page.goto(f"{page.url.rstrip('/')}/individual?name=A")
        reach(page, "[data-name-action=rename]")
        page.keyboard.press("Enter")
        page.keyboard.type("Aurora")
        page.keyboard.press("Enter")  # at once: what it would change is not there yet
        expect(page.locator("h1")).to_have_text("Aurora")
        reach(page, ".picks input")
        page.keyboard.press("Space")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        expect(page.locator("[data-name-action=split]")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#question-dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("[data-name-action=split]")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#question-dialog")).to_be_visible()
        page.keyboard.press("Enter")
        expect(page.locator(".picks li")).to_have_count(1)

        # The second of three decisions is taken back, and the keyboard is still there.
        page.goto(page.url.split("/individual")[0] + "/decisions")
        reach(page, "[data-undo='1']")
        page.keyboard.press("Enter")
        expect(page.locator("#question-dialog [value=yes]")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("tr.undone")).to_have_count(1)
        assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_mouse_alone_leads_to_a_capture_history(browser: Browser, hall: Hall, width: int) -> None:
    with opened(browser, hall, width, 844) as page:
        page.locator("a.start").click()
        name = page.locator("#question-name")
        expect(name).not_to_be_empty()
        first = name.inner_text()
        page.locator('[data-decide="same"]').click()
        expect(name).not_to_have_text(first)
        page.locator('[data-decide="undo"]').click()
        expect(name).to_have_text(first)
        page.locator(".individuals button").nth(1).click()
        page.locator('[data-decide="different"]').click()
        expect(page.locator(".gone").first).to_contain_text("It is not")
        page.locator('[data-decide="same"]').click()
        expect(name).not_to_have_text(first)
        page.locator('[data-decide="new_individual"]').click()
        page.locator("#question-input").fill("Sedna")
        page.locator("#question-dialog [value=yes]").click()
        expect(page.locator("#toast")).to_contain_text("Sedna")

        page.get_by_role("link", name="Exports").click()
        expect(page.locator("#histories-said")).to_contain_text("4 individuals on 2 occasions")
        page.locator("select[name=occasions]").select_option("breaks")
        expect(page.locator("#histories-said")).to_contain_text("two breaks")
        page.locator("input[name=breaks]").fill("2018-01-01, 2018-06-03, 2021-01-01")
        page.locator("select[name=min_certainty]").click()
        expect(page.locator("#histories-said")).to_contain_text("4 individuals on 2 occasions")
        page.locator("#histories-said summary").first.click()
        expect(page.locator("#histories-said table").first).to_contain_text("Sedna")
        with page.expect_download() as download:
            page.locator("button[value=catalogue-mark]").click()
        with zipfile.ZipFile(download.value.path()) as archive:
            assert "/* Sedna */ 01 1;" in archive.read("capture-histories-mark.inp").decode()
        page.locator("button[value=catalogue-wildbook]").click()
        expect(page.locator("input[name=location]")).to_be_focused()
        page.locator("input[name=location]").fill("Cook Inlet")
        page.locator("button[value=catalogue-wildbook]").click()
        expect(page.locator("#toast.wrong")).to_contain_text("genus and epithet")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_names_from_a_table_are_seen_before_they_are_decided(browser: Browser, hall: Hall) -> None:
    table = io.BytesIO()
    pd.DataFrame({"image_id": ["q1", "zz"], "individual_id": ["Sedna", "X"]}).to_csv(table, index=False)
    sent = {"name": "names.csv", "mimeType": "text/csv", "buffer": table.getvalue()}
    with opened(browser, hall) as page:
        page.get_by_role("link", name="Exports").click()
        page.locator("#names-in input").set_input_files([sent])  # type: ignore[list-item]
        page.get_by_role("button", name="Look at the names").click()
        expect(page.locator("#question-body")).to_contain_text("q1: a new individual, Sedna")
        expect(page.locator("#question-body")).to_contain_text("'zz'")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Look at the names").click()
        page.locator("#question-dialog").get_by_role("button", name="Decide so").click()
        expect(page.locator("#toast")).to_contain_text("1 decision made")
        page.get_by_role("link", name="Individuals").click()
        expect(page.locator(".sheet .name", has_text="Sedna")).to_be_visible()


def test_photographs_are_added_however_often_the_queue_was_renewed(
    browser: Browser, hall: Hall, tmp_path: Path
) -> None:
    draw(tmp_path / "late.png", 77)
    with opened(browser, hall) as page:
        expect(page.locator(".sheet > li")).to_have_count(3)
        page.locator("#upload input[type=file]").set_input_files(tmp_path / "late.png")
        # Somebody else decides meanwhile: the queue is renewed, and what was chosen stays chosen.
        decide = "async (body) => (await review.ask('POST', '/api/decisions', body)).record"
        page.evaluate(decide, {"decisions": [{"kind": "same", "images": ["q1", "a1"]}]})
        expect(page.locator(".facts .done dd")).to_have_text("1", timeout=10_000)
        page.locator("#upload button").click()
        expect(page.locator("#upload-said")).to_contain_text("1 photograph added")
        expect(page.locator(".sheet > li")).to_have_count(4, timeout=10_000)


def test_how_sure_somebody_was_is_said_of_one_decision_alone(browser: Browser, hall: Hall) -> None:
    hall.confidence = True
    with opened(browser, hall) as page:
        page.keyboard.press("Enter")
        expect(page.locator("section.query")).to_be_focused()
        page.keyboard.press("]")
        press(page, "n")
        press(page, "n")
    assert [one.confidence for one in hall.review.state.decisions] == ["guessing", ""]


def test_a_photograph_that_matters_can_be_looked_at_large(browser: Browser, hall: Hall) -> None:
    hall.review.decide([Decision("same", "Ada", ("q2", "b1")), Decision("same", "Ada", ("q2", "a1"))])
    with opened(browser, hall) as page:
        for path in ("/individual?name=A", "/contradictions"):
            page.goto("/".join(page.url.split("/")[:3]) + path)
            with page.context.expect_page() as other:
                page.get_by_role("link", name="enlarged").first.click()
            assert "size=large" in other.value.url
            other.value.close()
            assert page.locator(".picks input:checked").count() == 0, "looking chooses nothing"
