"""Match every photograph of a folder against a catalogue, and write one row for each individual that may be on it.

::

    python examples/match_folder.py NEW_PHOTOGRAPHS CATALOG OUTPUT.csv
"""

from __future__ import annotations

import sys

import scarmatch


def main(new: str, catalogue: str, output: str) -> None:
    """Write query_id, rank, individual_id, probability and the photographs that support it."""
    catalog = scarmatch.Catalog.read(catalogue)
    queries = scarmatch.Catalog.from_photos([new], avoid=catalog.ids)
    answers = scarmatch.Matcher().match(queries, catalog, scarmatch.CandidateFilter(exclude_encounter=True))
    scarmatch.rank_individuals(answers, top=5).to_csv(output, index=False)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
