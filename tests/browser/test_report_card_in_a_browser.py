"""A report card on a wide screen and on a telephone: nothing sticks out, what is told can be read."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.models.card import MethodFigures, ReportCard, Step
from engine.report.report_card import write_report_card

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def card() -> ReportCard:
    """A card with long names and every kind of step; no wrong answer, so that nobody is asked for a picture."""

    def figures(value: float) -> MethodFigures:
        return MethodFigures(200, 40, (value, value - 0.05, value + 0.05), value, value, value, value, value, 0.02)

    names = {"generic": 0.43, "own ranker": 0.49, "own parts and ranker": 0.58}
    steps = (Step("describe every photograph", 120.0, taken=95.0), Step("global descriptor", 1.0, "too few " * 12))
    curve = ((0.02, 0.01, 3000), (0.97, 0.98, 400))
    methods = {name: figures(value) for name, value in names.items()}
    chosen = "own parts and ranker"
    return ReportCard(
        "a-species-of-a-long-name" * 2,
        "generic",
        200,
        40,
        40,
        3,
        "all",
        steps,
        methods,
        chosen,
        (0.15, 0.1, 0.2),
        curve,
        (),
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_a_report_card_fits(browser: Browser, tmp_path: Path, width: int) -> None:
    nobody: Any = None
    page = browser.new_page(viewport={"width": width, "height": 900})
    worse = dataclasses.replace(card(), gain=(-0.1, -0.2, 0.0))
    page.goto(write_report_card(worse, nobody, nobody, tmp_path).as_uri())
    assert "To use it all the same" in page.locator("h2").all_inner_texts()
    page.goto(write_report_card(card(), nobody, nobody, tmp_path).as_uri())
    assert "Use it" in page.locator("h2").all_inner_texts()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".tiles dd").all_inner_texts() == ["58 %", "58 %", "58 %", "58 %", "0.58"]
    assert "43 %" in page.locator(".tiles").inner_text()
    assert page.locator("tr.chosen").inner_text().startswith("own parts and ranker")
    assert page.locator("table tr").last.inner_text().split() == ["all", "2", "min", "2", "min"]
    # The text beside the dots is as large as a caption should be.
    label = page.locator("svg.methods text").first
    assert label.evaluate("one => one.getBoundingClientRect().height") > 9
    page.close()
