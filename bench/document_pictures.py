"""The documents' pictures of the layout, on the demo's made-up catalogue: a match, its other layers, the report's page.

::

    python -m bench.document_pictures [--demo scarmatch-demo] [--output bench/results]

The pair is the first query's with its best candidate; the page is shown at the least certain query. The page's picture
needs Chromium and Playwright and is left as it is where they are missing.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.browser import open_tab
from bench.results import RESULTS
from engine.catalogue.catalog import Catalog
from engine.demo.demo import choose_demo_queries, run_demo
from engine.report import drawing
from engine.report.explain import heat_maps
from engine.report.pair_layout import pair_layout
from engine.report.pair_picture import draw_pair
from engine.report.reasons import reasons
from engine.search.matcher import Matcher
from engine.search.pair_evidence import PairEvidence
from features.records import ByteArray

#: Pairs of layers.png: what is drawn, and its headline.
_SHOWN = (
    (("marks",), "marks"),
    (("body",), "body frame"),
    (("keypoints",), "kept keypoints"),
    (("skin",), "places of alike skin"),
    (("heat",), "heat map of the global descriptor"),
    (("warp",), "candidate laid over the query"),
)

_MOST_BYTES = 300_000
_COLUMNS = 3  # pictures beside each other in layers.png


def draw_all(demo: Path, output: Path) -> list[Path]:
    """Run the demo in a folder and write match.png, layers.png and, where there is a browser, report.png."""
    page = run_demo(demo, say=lambda line: print(line, file=sys.stderr))
    evidence, doubtful = first_pair(demo)
    files = [
        save_small(output / "match.png", draw_pair(evidence, ("photographs", "inliers"))),
        save_small(output / "layers.png", draw_layers(evidence)),
    ]
    shot = photograph_page(page, doubtful)
    return files if shot is None else [*files, save_small(output / "report.png", shot)]


def first_pair(demo: Path) -> tuple[PairEvidence, int]:
    """Return the first query's best candidate with all its layers, and the number of the least certain query."""
    matcher = Matcher(store=demo / "store")
    index = matcher.index(Catalog.read(demo / "catalog"))
    asked, database = choose_demo_queries(index.catalog, 4)
    queries, candidates = index.subset(asked), index.subset(database)
    answers = matcher.match(queries, candidates)
    first = answers[answers["rank"] == 1].set_index("query_id").loc[asked].reset_index()
    row = {str(name): value for name, value in first.to_dict("records")[0].items()}
    found = heat_maps(matcher)(matcher.evidence(row["query_id"], row["image_id"], queries, candidates))
    matcher.close()
    evidence = dataclasses.replace(
        found,
        title="Found again a year later",
        probability=row["probability"],
        reasons=reasons(found.verification, len(found.correspondences), row),
    )
    return evidence, int(first["probability"].to_numpy().argmin()) + 1


def draw_layers(evidence: PairEvidence, height: int = 340) -> ByteArray:
    """Draw the other layers side by side."""
    bare = dataclasses.replace(evidence, caption0="query", caption1="candidate", probability=None, reasons=())
    cells = []
    for layers, title in _SHOWN:
        named = dataclasses.replace(bare, title=title)
        picture = draw_pair(named, layers, height)
        if "warp" in layers:
            # The bare pair stands in the other cells already: the candidate on the query, and both half and half.
            left = pair_layout(named, height, warp=True).cells[2][0] - 14
            picture = picture[:, left:]
            picture = drawing.write(picture, [drawing.Label(title, (14, 16), 14)])
        cells.append(picture)
    return _grid(cells)


def _grid(cells: Sequence[ByteArray]) -> ByteArray:
    height, width = (max(cell.shape[axis] for cell in cells) for axis in (0, 1))
    rows = -(-len(cells) // _COLUMNS)
    canvas = np.empty((rows * height, _COLUMNS * width, 3), np.uint8)
    canvas[:] = drawing.BACKGROUND
    for number, cell in enumerate(cells):
        y, x = number // _COLUMNS * height, number % _COLUMNS * width
        canvas[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return canvas


def photograph_page(page: Path, number: int) -> ByteArray | None:
    """Return what a person sees of one query of the report, None where there is no browser."""
    from PIL import Image

    with open_tab(1280, 920) as tab:
        if tab is None:
            print("report.png is left as it is: no Chromium, or no Playwright to drive it", file=sys.stderr)
            return None
        tab.goto(page.as_uri())
        for _ in range(number):
            tab.keyboard.press("j")
        tab.wait_for_timeout(1500)
        file = page.parent / "window.png"
        tab.screenshot(path=str(file))
    rgb = np.asarray(Image.open(file).convert("RGB"))
    file.unlink()
    return rgb


def save_small(path: Path, rgb: ByteArray) -> Path:
    """Write a PNG of at most 300 kB: all its colours if they fit, else 256 of its own, dithered if that fits."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.ascontiguousarray(rgb))
    for dither in (None, Image.Dither.FLOYDSTEINBERG, Image.Dither.NONE):
        few = image if dither is None else image.quantize(256, Image.Quantize.MEDIANCUT, dither=dither)
        if dither is Image.Dither.FLOYDSTEINBERG:
            few = image.quantize(256, palette=few, dither=dither)  # the first call chooses colours only
        few.save(path, "PNG", optimize=True)
        if path.stat().st_size < _MOST_BYTES:
            break
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the pictures from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.document_pictures", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--demo", type=Path, default=Path("scarmatch-demo"), help="folder of the demo (scarmatch-demo)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the pictures (bench/results)")
    options = parser.parse_args(arguments)
    for file in draw_all(options.demo.absolute(), options.output):
        print(f"{file}  {file.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
