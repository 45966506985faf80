"""A review's pages as those see them who use a telephone, a small window, the keyboard alone, or a screen reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from engine.review.decisions import Decision

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'scarmatch[test]'")
pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'scarmatch[review]'")
from playwright.sync_api import Browser, Page, expect

from ..engine.review.conftest import catalog_in, review_in, serving

if TYPE_CHECKING:
    from engine.review.server.hall import Hall

pytestmark = pytest.mark.slow
PAGES = ("/", "/question?image=q1", "/contradictions", "/individuals", "/individual?name=A", "/decisions", "/exports")
LONG = "Quite a long name that somebody gave to an animal, without any thought of telephones"
#: What a person can do something with; a screen reader tells its name.
CONTROLS = "button|link|textbox|searchbox|combobox|checkbox|slider|spinbutton"


@pytest.fixture(scope="module")
def hall(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """A review with contradictions and a name that fits nowhere; nothing is matched. Depends on the browser to skip."""
    folder = tmp_path_factory.mktemp("pages")
    with review_in(folder, catalog_in(folder)) as review:
        review.decide([Decision("rename", "Ada", name=LONG, individual="B")])
        review.decide([Decision("same", "Ada", ("q3", "b1")), Decision("same", "Ada", ("q3", "c1"))])
        review.decide([Decision("same", "Ada", ("q2", "b1")), Decision("different", "Ben", ("q2", "b1"))])
        with serving(review, folder) as hall:
            yield hall


@pytest.fixture
def page(browser: Browser, hall: Hall) -> Iterator[Page]:
    """A window of its own, in which the review is open."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{hall.access.port}{hall.access.invite()}")
    yield page
    context.close()


def go(page: Page, path: str) -> None:
    page.goto("/".join(page.url.split("/")[:3]) + path)


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (1280, 720), (390, 844)])
def test_nothing_is_cut_off_or_covered(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    for path in PAGES:
        go(page, path)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path
    go(page, "/question?image=q1")
    expect(page.locator(".about")).to_contain_text("Candidate 1")
    bar = page.locator("#decide").bounding_box()
    told = page.locator(".deciding .below").bounding_box()
    assert bar and told and bar["y"] + bar["height"] <= height + 1
    assert told["y"] + told["height"] <= bar["y"] + 1, "the keys cover what is told of the candidate"
    others = page.locator("#others").bounding_box()
    assert others and (width < 1000 or others["y"] + others["height"] <= bar["y"] + 1), "the keys cover photographs"
    for button in page.locator("#decide button").all():
        assert button.evaluate("one => one.scrollWidth <= one.clientWidth"), button.inner_text()


@pytest.mark.parametrize("path", PAGES)
def test_a_screen_reader_is_told_what_everything_is(page: Page, path: str) -> None:
    go(page, path)
    told = page.locator("body").aria_snapshot()
    controls = re.findall(rf"^\s*- '?(?:{CONTROLS})\b.*$", told, re.MULTILINE)
    nameless = [line for line in controls if not re.match(r"\s*- '?\w+ [\"/]", line)]
    assert len(controls) > 6 and not nameless
    assert re.search(r'^\s*- heading ".+" \[level=1\]', told, re.MULTILINE)
    for needed in ("- banner:", '- navigation "Pages":', "- main", "- status"):
        assert needed in told, needed
    assert not page.locator("img:not([alt])").count()


def test_the_page_of_a_decision_speaks_and_its_order_makes_sense(page: Page) -> None:
    go(page, "/question?image=q1")
    told = page.locator("body").aria_snapshot()
    decisions = told[told.index('- toolbar "Decision":') :]
    names = ["Same", "Different", "Cannot tell", "Not comparable", "New individual", "Later", "Undo"]
    assert re.findall(r'button "([^"]+)"', decisions)[:7] == names
    assert '- region "q1"' in told and '- toolbar "Layers":' in told
    assert page.locator("#decide [data-decide=same]").get_attribute("aria-keyshortcuts") == "y"
    says = page.locator("#say")
    assert says.get_attribute("aria-live") == "polite"
    expect(says).to_contain_text("q1.")
    # From the question the next stop leads to the decisions, so that nobody walks through twenty candidates to them.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the decisions"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.decide") == "same"
    page.keyboard.press("ArrowRight")
    expect(says).to_contain_text("Candidate 2")
    page.keyboard.press("x")
    expect(page.locator("#toast")).to_contain_text("Not comparable")
    assert page.locator("#toast").get_attribute("role") == "status"
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.press("u")
    expect(page.locator("#toast")).to_contain_text("Taken back")
