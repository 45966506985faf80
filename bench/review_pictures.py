"""The tutorial's pictures of a review, on a made-up catalogue: the queue, a question, a contradiction, the exports.

::

    python -m bench.review_pictures [--folder scarmatch-review] [--store FOLDER] [--output bench/results]

A catalogue is drawn, the last year's photographs of every whale become new ones, and the command serves them as it does
a user's. Needs Chromium and Playwright; without them nothing is written.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from bench.browser import open_tab
from bench.document_pictures import save_small
from bench.results import RESULTS
from engine.catalogue.catalog import Catalog
from engine.demo.synthetic_catalog import SyntheticSettings, make_catalog

if TYPE_CHECKING:
    from playwright.sync_api import Page

DRAWN = SyntheticSettings(individuals=8, photographs=60, years=(2017, 2018), seed=3)
_PATIENCE = 900.0  # seconds for the matching
_ASK = "async ([method, path, body]) => (await review.ask(method, path, body)).record"


def prepare(folder: Path) -> None:
    """Draw the catalogue, and take two photographs of every whale in the last year, and all of one, out of it."""
    drawn = Catalog.read(make_catalog(folder / "drawn", DRAWN)).table
    last = drawn[drawn["date"].dt.year == drawn["date"].dt.year.max()]
    new = last[last.groupby("individual_id").cumcount() < 2]
    unknown = new["individual_id"].iloc[-1]
    rows = []
    for name in ("catalogue", "new"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for row in drawn.to_dict("records"):
        path = Path(row["path"])
        if row["image_id"] in set(new["image_id"]):
            shutil.copy(path, folder / "new" / path.name)
        elif row["individual_id"] != unknown:
            shutil.copy(path, folder / "catalogue" / path.name)
            named = {"individual": row["individual_id"], "date": row["date"].date(), "viewpoint": row["viewpoint"]}
            rows.append({"image": path.name, **named})
    pd.DataFrame(rows).to_csv(folder / "catalogue" / "photographs.csv", index=False)


def start(folder: Path, store: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the command and return it with its address."""
    command = [sys.executable, "-m", "engine.commands.main", "review", str(folder / "catalogue"), "--queries"]
    command += [str(folder / "new"), "--query-viewpoint=top", "--query-date=2018", "--reviewer=Ada", f"--store={store}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "http://" in line:
            return process, line[line.index("http://") :].strip()
    raise RuntimeError("the review did not start")


def photograph(page: Page, address: str) -> dict[str, bytes]:
    """Walk through the review and return its pictures as PNG."""
    page.goto(address)
    base = address.split("/enter")[0]
    until = time.monotonic() + _PATIENCE
    while page.evaluate(_ASK, ["GET", "/api/progress", None])["counts"]["not matched yet"] and time.monotonic() < until:
        page.wait_for_timeout(1000)
    questions = page.evaluate(_ASK, ["GET", "/api/questions?order=most%20certain", None])["questions"]
    sure = [one for one in questions if one["candidates"] and one["candidates"][0]["name"]]
    for one in sure[:4]:
        _decide(page, "same", one["images"][0], one["candidates"][0]["photographs"][0]["image"])
    # A mistake: one photograph is said to be two animals.
    other = next(one for one in sure[1:4] if one["candidates"][0]["name"] != sure[0]["candidates"][0]["name"])
    _decide(page, "same", sure[0]["images"][0], other["candidates"][0]["photographs"][0]["image"])
    shots = {}
    page.goto(base + "/")
    page.wait_for_timeout(3000)
    shots["review-queue"] = page.screenshot()
    page.goto(f"{base}/contradictions")
    page.wait_for_timeout(2000)
    shots["review-contradictions"] = page.screenshot()
    page.goto(f"{base}/exports")
    page.locator("select[name=occasions]").select_option("month")
    page.wait_for_timeout(2000)
    shots["review-exports"] = page.screenshot()
    page.goto(f"{base}/question?image={sure[4]['images'][0] if len(sure) > 4 else questions[-1]['images'][0]}")
    page.wait_for_selector('[data-layer="inliers"]:enabled', timeout=_PATIENCE * 1000)
    page.keyboard.press("i")
    page.wait_for_timeout(1000)
    shots["review-question"] = page.screenshot()
    return shots


def _decide(page: Page, kind: str, *images: str) -> None:
    page.evaluate(_ASK, ["POST", "/api/decisions", {"decisions": [{"kind": kind, "images": list(images)}]}])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pictures; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.review_pictures", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("scarmatch-review"), help="where the review is made")
    parser.add_argument("--store", type=Path, help="store's folder (default: in the review's)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the pictures")
    options = parser.parse_args(arguments)
    with open_tab() as page:
        if page is None:
            print("no Chromium or no Playwright: nothing is written", file=sys.stderr)
            return 1
        prepare(options.folder)
        process, address = start(options.folder, options.store or options.folder / "store")
        try:
            for name, content in photograph(page, address).items():
                pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
                print(save_small(options.output / f"{name}.png", pixels))
        finally:
            process.terminate()
            process.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
