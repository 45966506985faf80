"""The report as a person uses it: Chromium opens a made-up run's page, and keys and toggles change what is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.report.match_report import report_matches
from scarmatch import Catalog, Matcher, MatcherSettings

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'scarmatch[test]'")
from playwright.sync_api import Browser, Locator, Page, expect

DESKTOP = 1280


@pytest.fixture(scope="module")
def report(made_up_dir: Path, small_settings: MatcherSettings, shared_store: Path, browser: Browser) -> Path:
    """The page of three queries; depends on the browser so that nothing is drawn where there is none."""
    matcher = Matcher(small_settings, shared_store, ranker="fusion", workers=1)
    catalog = Catalog.read(made_up_dir)
    tops = catalog.table.query("viewpoint == 'top'")["image_id"].tolist()
    index = matcher.index(catalog.subset(tops[:11]))
    queries = index.subset(tops[:3])
    raw = matcher.pairs(queries, index)
    answers = matcher.rank(raw, 5)
    folder = shared_store.parent / "browser-report"
    return report_matches(
        matcher, queries, index, answers, folder, "11 candidates: 11 left", raw=raw, pictures_per_query=2
    )


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Page:
    """One tab for all tests: the page is loaded anew in it for each."""
    return browser.new_page(viewport={"width": DESKTOP, "height": 900})


@pytest.fixture
def page(request: pytest.FixtureRequest, tab: Page, report: Path) -> Iterator[Page]:
    """The page, in a desktop's width unless asked otherwise; any error of a script, and any request, fails the test."""
    complaints: list[str] = []
    listeners = {
        "pageerror": lambda error: complaints.append(str(error)),
        "console": lambda message: complaints.append(message.text) if message.type == "error" else None,
        "request": lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None,
    }
    for event, listener in listeners.items():
        tab.on(event, listener)
    tab.set_viewport_size({"width": getattr(request, "param", DESKTOP), "height": 900})
    tab.goto(report.as_uri())
    yield tab
    for event, listener in listeners.items():
        tab.remove_listener(event, listener)
    assert not complaints


both_widths = pytest.mark.parametrize("page", [DESKTOP, 390], indirect=True)


def pressed(page: Page) -> set[str]:
    """The layers that are on in the query being looked at."""
    found: list[Any] = page.locator(".query.now [data-layer][aria-pressed=true]").all()
    return {one.get_attribute("data-layer") for one in found}


def read(one: Locator) -> str:
    """The text of an element: what is skipped until its first frame (content-visibility) has no inner text before."""
    found = " ".join((one.text_content() or "").split())
    assert found
    return found


def count(page: Page, selector: str) -> int:
    return page.locator(f".query.now .view {selector}").count()


@both_widths
def test_the_summary_shows_every_query_and_fits_the_window(page: Page) -> None:
    assert page.locator(".sheet > li").count() == 3
    assert page.locator("#toc > li").count() == 3
    assert page.locator(".histogram rect").count() == 10
    first = page.locator(".sheet img").first
    first.scroll_into_view_if_needed()
    expect(first).to_have_attribute("src", re.compile("^data:image/jpeg;base64,"))
    assert first.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 20
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@both_widths
def test_keys_walk_through_queries_candidates_and_layers(page: Page) -> None:
    page.keyboard.press("j")
    assert page.locator(".query.now").get_attribute("id") == "q1"
    expect(page.locator("#where")).to_have_text("1 of 3")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.locator(".query.now").get_attribute("id") == "q1"
    assert page.locator("#toc [aria-current]").get_attribute("href") == "#q1"
    assert pressed(page) == {"inliers"}
    page.keyboard.press("2")
    card = page.locator('.query.now .card[aria-pressed="true"]')
    assert card.get_attribute("data-rank") == "2"
    about = read(page.locator(".query.now .about"))
    assert about.startswith("Candidate 2 · ")
    assert read(card.locator(".num")) in about
    assert read(card.locator(".known").first) in read(page.locator(".query.now .of"))
    page.keyboard.press("i")
    for key, layer, shown in (
        ("p", "keypoints", 'path[stroke="#8ccdff"]'),
        ("m", "matches", "g line"),
        ("b", "body", "path.axis"),
        ("h", "heat", "image.heat"),
        ("t", "skin", "g.skin rect"),
    ):
        assert count(page, shown) == 0, layer
        page.keyboard.press(key)
        assert pressed(page) == {layer}
        assert count(page, shown) > 0, layer
        page.keyboard.press(key)
        assert pressed(page) == set()
    page.keyboard.press("b")
    page.keyboard.press("o")
    assert pressed(page) == set() and count(page, "path.axis") == 0
    page.keyboard.press("o")
    assert pressed(page) == {"body"}


@both_widths
def test_candidates_are_chosen_beside_the_comparison_and_layers_say_what_they_mean(page: Page) -> None:
    page.keyboard.press("j")
    chips = page.locator(".query.now .chip")
    assert chips.count() == page.locator(".query.now .card").count() == 5
    expect(page.locator(".query.now .told")).to_contain_text("surest numbered")
    chips.nth(1).click()
    expect(page.locator('.query.now .chip[aria-pressed="true"] .place')).to_have_text("2")
    assert page.locator('.query.now .card[aria-pressed="true"]').get_attribute("data-rank") == "2"
    page.keyboard.press("i")
    page.keyboard.press("s")
    expect(page.locator(".query.now .told")).to_have_text("Orange areas: marks")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_no_line_runs_through_a_number_and_faint_inliers_have_none(page: Page) -> None:
    page.keyboard.press("j")
    kinds = page.locator(".query.now .inliers > *").evaluate_all("found => found.map((one) => one.tagName)")
    assert "text" in kinds and "g" not in kinds[kinds.index("text") :], "numbers are drawn last"
    assert count(page, ".inlier.faint") == max(count(page, ".inlier") - 20, 0)


def test_toggles_are_buttons_and_inliers_can_be_looked_at(page: Page) -> None:
    page.keyboard.press("j")
    drawn = count(page, ".inlier")
    assert drawn > 0
    page.locator('.query.now [data-layer="inliers"]').click()
    assert count(page, ".inlier") == 0
    page.locator('.query.now [data-layer="inliers"]').click()
    page.keyboard.press(".")
    expect(page.locator(".query.now .which")).to_contain_text(f"inlier 1 of {drawn}")
    assert count(page, ".inlier.on") == 1
    assert page.locator(".query.now .patches svg").count() == 2


def test_the_candidate_slides_and_blinks_over_the_query(page: Page) -> None:
    page.keyboard.press("j")
    page.keyboard.press("w")
    assert pressed(page) == {"warp"}
    slider = page.locator(".query.now .wipe input")
    assert slider.is_visible()
    clip = page.locator('.query.now .view clipPath[id$="-clip"] rect')
    half = float(clip.get_attribute("width") or 0)
    slider.fill("100")
    assert float(clip.get_attribute("width") or 0) == pytest.approx(2 * half)
    page.locator(".query.now .blink").click()
    before = slider.input_value()
    expect(slider).not_to_have_value(before, timeout=3000)


def test_what_was_weighed_is_drawn_for_candidates_without_layers_too(page: Page) -> None:
    page.keyboard.press("j")
    for rank in ("1", "5"):
        page.keyboard.press(rank)
        names = page.locator(".query.now .parts .what").all_inner_texts()
        lightglue = {"keypoints matched by LightGlue", "geometry of LightGlue's matches"}
        assert names and set(names) <= {"whole picture", "keypoints that are alike"} | lightglue
        widths = [box["width"] for bar in page.locator(".query.now .amount").all() if (box := bar.bounding_box())]
        assert max(widths) > 20
    expect(page.locator(".query.now .about")).to_contain_text("shown bare")
    assert page.locator('.query.now [data-layer="inliers"]').is_disabled()


def test_the_list_is_sorted_and_searched(page: Page) -> None:
    page.select_option("#order", "doubt")
    doubts = [float(row.get_attribute("data-doubt") or 0) for row in page.locator("#toc > li").all()]
    assert doubts == sorted(doubts, reverse=True)
    name = read(page.locator("#toc .name").last)
    page.fill("#find", name)
    expect(page.locator("#toc > li:visible")).to_have_count(1)
    page.locator("#find").blur()
    page.keyboard.press("j")
    expect(page.locator(".query.now h2")).to_contain_text(name)


def test_print_shows_every_query_without_its_tools(page: Page) -> None:
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator(".query .view svg").count() == 3
    assert not page.locator(".tools").first.is_visible()
    assert not page.locator("nav.list").is_visible()
    assert page.locator("img[data-ref]:not([src])").count() == 0
