"""The command line of measurements on drawn pairs: options in, pairs drawn and described, table and result out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

from bench.held_out import measured_part
from bench.machine import write_result
from bench.out_of_fold import add_options, matcher_from, protocol_from
from bench.pair_draw import DrawnPair, draw_pairs
from engine.catalogue.catalog import Catalog, CatalogError
from engine.catalogue.index import CatalogIndex
from engine.commands.console import ProgressBar
from engine.commands.exit_status import EXIT_DATA
from engine.search.matcher import Matcher

Figures = dict[str, Any]
Measure = Callable[[CatalogIndex, Sequence[DrawnPair], Matcher, Any], Figures]


def measure_drawn_pairs(
    module: str,
    doc: str,
    count: int,
    measure: Measure,
    render: Callable[[Figures], str],
    arguments: Sequence[str] | None = None,
) -> int:
    """Draw pairs of all kinds from a catalogue, measure them, print the table and keep the result.

    Args:
        module: as ``python -m`` takes it.
        doc: its docstring, whose first line describes the command.
        count: pairs of a kind by default.
        measure: from the index, the pairs that could be described, a matcher and a progress bar to the figures.
        render: from the figures to the table.
        arguments: of the command line; the program's own by default.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=doc.split("\n", 1)[0])
    add_options(parser, ranker=False)
    parser.add_argument("--count", type=int, default=count, help=f"pairs of a kind ({count})")
    options = parser.parse_args(arguments)
    bar = ProgressBar("pairs")
    try:
        catalog = measured_part(Catalog.read(options.catalog), options.individuals)
        pairs = draw_pairs(catalog, options.count, "all", options.seed)
        matcher = matcher_from(options)
        names = list(dict.fromkeys(name for pair in pairs for name in (pair.image_id0, pair.image_id1)))
        index = matcher.index(catalog.subset(names), bar)
    except CatalogError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_DATA
    pairs = [pair for pair in pairs if pair.image_id0 in index.catalog and pair.image_id1 in index.catalog]
    figures = measure(index, pairs, matcher, bar)
    matcher.close()
    print(render(figures))
    if options.result:
        protocol = protocol_from(options) | {"count": options.count}
        write_result(options.result, figures, matcher.settings.to_dict(), protocol)
    return 0
