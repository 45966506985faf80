"""A review as a person does it: new photographs are matched, decided with keys and with the mouse, and taken away."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from scarmatch import Catalog

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'scarmatch[test]'")
pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'scarmatch[review]'")
from playwright.sync_api import Browser, BrowserContext, Page, expect

pytestmark = pytest.mark.slow
DESKTOP, TELEPHONE = 1280, 390
PATIENCE = 240_000  # milliseconds for the engine to match, on a busy machine


class Server:
    """The command as a user starts it, in a process of its own."""

    def __init__(self, folder: Path, options: list[str]) -> None:
        self.folder, self.options = folder, options
        self.start()

    def start(self) -> None:
        """Start it, and wait for its address."""
        command = [sys.executable, "-m", "engine.commands.main", "review", str(self.folder / "catalogue"), "--queries"]
        command.append(str(self.folder / "new"))
        self.process = subprocess.Popen([*command, *self.options], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        for line in self.process.stderr:
            found = re.search(r"http://\S+", line)
            if found:
                self.address = found[0]
                return
        raise AssertionError("the review did not start")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(
    made_up_dir: Path,
    quick_options: list[str],
    shared_store: Path,
    browser: Browser,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """A catalogue of made-up whales, of which four photographs are new; depends on the browser to skip in time."""
    folder = tmp_path_factory.mktemp("review")
    (folder / "catalogue").mkdir()
    (folder / "new").mkdir()
    table = Catalog.read(made_up_dir).table.query("viewpoint == 'top'")
    counted = table["individual_id"].map(table["individual_id"].value_counts())
    new = table[counted > 2].drop_duplicates("individual_id")["image_id"].tolist()[:3]
    alone = table[counted > 1].drop_duplicates("individual_id", keep="last")["image_id"].tolist()[-1:]
    rows = []
    for row in table.to_dict("records"):
        is_new = row["image_id"] in {*new, *alone}
        path = Path(row["path"])
        shutil.copy(path, folder / ("new" if is_new else "catalogue") / path.name)
        if not is_new:
            named = {"individual": row["individual_id"], "date": row["date"].date(), "viewpoint": "top"}
            rows.append({"image": path.name, **named})
    pd.DataFrame(rows).to_csv(folder / "catalogue" / "photographs.csv", index=False)
    running = Server(folder, [*quick_options, f"--store={shared_store}", "--query-viewpoint=top", "--reviewer=Ada"])
    yield running
    running.process.terminate()
    running.process.wait(30)


def enter(browser: Browser, server: Server, width: int = DESKTOP) -> tuple[BrowserContext, Page]:
    """Open the server's address in a browser of its own."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(server.address)
    return context, page


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def test_the_whole_way(browser: Browser, server: Server) -> None:
    complaints: list[str] = []
    context, page = enter(browser, server)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    expect(page.locator(".facts .open dd")).to_have_text("4", timeout=PATIENCE)
    assert page.locator(".sheet > li").count() == 4

    # By keyboard: look, decide, take back, decide again.
    page.keyboard.press("Enter")
    expect(page.locator("#question-name")).not_to_be_empty()
    first = page.locator("#question-name").inner_text()
    expect(page.locator('[data-layer="inliers"]')).to_be_enabled(timeout=PATIENCE)
    assert page.locator(".view .inlier").count() == 0
    page.keyboard.press("i")
    assert page.locator(".view .inlier, .view svg").count() > 0
    page.keyboard.press("y")
    expect(page.locator("#question-name")).not_to_have_text(first)
    expect(page.locator("#toast")).to_contain_text("Same as")
    page.keyboard.press("u")
    expect(page.locator("#question-name")).to_have_text(first)
    rejected = page.locator(".individuals b").first.inner_text()
    page.keyboard.press("n")
    expect(page.locator(".gone").first).to_contain_text(rejected)
    page.keyboard.press("u")
    expect(page.locator(".individuals b").first).to_have_text(rejected)
    page.keyboard.press("y")
    expect(page.locator("#question-name")).not_to_have_text(first)

    # A new individual, with a name that nobody has.
    second = page.locator("#question-name").inner_text()
    page.keyboard.press("a")
    expect(page.locator("#question-dialog")).to_be_visible()
    expect(page.locator("#question-body")).to_contain_text("This changes")
    page.locator("#question-input").fill("Sedna")
    expect(page.locator("#question-body")).to_contain_text("Sedna")
    page.keyboard.press("Enter")
    expect(page.locator("#question-name")).not_to_have_text(second)

    # Killed in the middle, and started again: nothing that was decided is lost.
    server.kill()
    server.start()
    context.close()
    context, page = enter(browser, server)
    expect(page.locator(".facts .done dd")).to_have_text("2", timeout=PATIENCE)
    page.goto(page.url.split("/enter")[0].rstrip("/") + "/individuals")
    expect(page.locator(".sheet .name", has_text="Sedna")).to_be_visible()

    with page.expect_download() as download:
        page.goto(page.url.replace("/individuals", "/exports"))
        page.get_by_text("names.csv").click()
    table = pd.read_csv(download.value.path())
    assert set(table.loc[table["image_id"] == second, "individual_id"]) == {"Sedna"}
    context.close()
    assert not complaints


def test_on_a_telephone_by_touch(browser: Browser, server: Server) -> None:
    context, page = enter(browser, server_invited(browser, server), TELEPHONE)
    assert fits(page)
    page.locator("a.start").click()
    expect(page.locator("section.query")).to_be_visible()
    assert fits(page)
    name = page.locator("#question-name").inner_text()
    page.locator('[data-decide="cannot_tell"]').click()
    expect(page.locator("#toast")).to_contain_text("Cannot tell")
    page.locator('[data-decide="undo"]').click()
    expect(page.locator("#question-name")).to_have_text(name)
    for place in ("/contradictions", "/individuals", "/decisions", "/exports", "/interface"):
        page.goto(base_of(page) + place)
        assert fits(page), place
    context.close()


def test_two_reviewers_a_contradiction_and_its_end(browser: Browser, server: Server) -> None:
    (ada_context, ada), (ben_context, ben) = (enter(browser, server_invited(browser, server)) for _ in range(2))
    ben.locator("#who").click()
    ben.locator("#question-input").fill("Ben")
    ben.keyboard.press("Enter")
    expect(ben.locator("#who")).to_have_text("Ben")
    for page in (ada, ben):
        page.locator("a.start").click()
        expect(page.locator("#question-name")).not_to_be_empty()
    assert ada.locator("#question-name").inner_text() == ben.locator("#question-name").inner_text()
    ada.keyboard.press("n")
    expect(ada.locator("#toast")).to_contain_text("Not ")
    expect(ben.locator("#toast")).to_contain_text("Another reviewer", timeout=20_000)

    # Two names for one animal: nothing is merged by itself, a person does it, and it can be taken back.
    ask = "async ([path, body]) => (await review.ask('POST', path, body)).record"
    people = ada.evaluate("async () => (await review.ask('GET', '/api/individuals')).record")
    (one, first), (other, second) = [(name, images[0]) for name, images in people.items() if len(images) > 1][:2]
    ada.evaluate(ask, ["/api/decisions", {"decisions": [{"kind": "same", "images": [first, second]}]}])
    ada.goto(base_of(ada) + "/contradictions")
    expect(ada.locator("article h2")).to_contain_text("Two names for one animal")
    ada.locator("[data-merge]").first.click()
    expect(ada.locator("#question-body")).to_contain_text("Contradictions that it resolves")
    ada.locator("#question-dialog [value=yes]").click()
    expect(ada.locator(".empty")).to_contain_text("There is none")
    ada.goto(base_of(ada) + "/decisions")
    ada.locator("[data-undo]").first.click()
    expect(ada.locator("#question-body")).to_contain_text("New contradictions")
    ada.locator("#question-dialog [value=yes]").click()
    expect(ada.locator("tr.undone").first).to_contain_text("merged")

    # A split: choose a photograph, and see beforehand what changes.
    ada.goto(base_of(ada) + f"/individual?name={one}")
    ada.locator(".picks label").first.click()
    ada.locator('[data-name-action="split"]').click()
    ada.locator("#question-input").fill(other)
    expect(ada.locator("#question-wrong")).to_contain_text("taken")
    ada.locator("#question-input").fill("Nanuq")
    expect(ada.locator("#question-body")).to_contain_text("Nanuq")
    ada.locator("#question-dialog [value=yes]").click()
    expect(ada.locator("h1")).to_have_text("Nanuq")
    for context in (ada_context, ben_context):
        context.close()


def base_of(page: Page) -> str:
    return "/".join(page.url.split("/")[:3])


_spare: list[BrowserContext] = []


def server_invited(browser: Browser, server: Server) -> Server:
    """Return the server with a fresh address, which somebody who is in makes."""
    if not _spare:
        server.kill()
        server.start()
        _spare.append(enter(browser, server)[0])
        time.sleep(0.2)
    page = _spare[0].pages[0]
    record = page.evaluate("async () => (await review.ask('POST', '/api/invitations', {})).record")
    server.address = record["address"]
    return server
