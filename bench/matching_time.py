"""What describing and matching cost from nothing, in one process, measured through the public API."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from engine.catalogue.index import CatalogIndex
from engine.search.matcher import Matcher

#: Photographs that it is measured on: one query, and the others its candidates.
_PHOTOGRAPHS = 31


@dataclass(frozen=True)
class MatchingTime:
    """Seconds in one process.

    Attributes:
        seconds_photo: global descriptor, regions and keypoints of one photograph (a share of loading the networks too).
        seconds_first: the matchers of the first stage on one pair.
        seconds_lightglue: LightGlue on one pair.
    """

    seconds_photo: float
    seconds_first: float
    seconds_lightglue: float

    @classmethod
    def measure(cls, matcher: Matcher, index: CatalogIndex) -> MatchingTime:
        """Describe and match some photographs in a store of their own: the real one may know them already."""
        catalog = index.catalog.take(range(min(_PHOTOGRAPHS, len(index))))
        settings = matcher.settings.replace(shortlist=matcher.settings.shortlist.replace(size=len(catalog)))
        with tempfile.TemporaryDirectory(prefix="scarmatch-time-") as folder:
            alone = Matcher(settings, Path(folder), ranker="fusion", workers=1, device=matcher.device)
            alone.compare([(catalog.ids[0], catalog.ids[0])], alone.index(catalog.take([0])))  # loads and compiles
            started = time.perf_counter()
            fresh = alone.index(catalog)
            described = time.perf_counter() - started
            started = time.perf_counter()
            raw = alone.pairs(fresh.take([0]), fresh)
            listed = time.perf_counter() - started
            seen = int(raw["lightglue_matches"].notna().sum())
            others = [(fresh.catalog.ids[0], name) for name in raw.loc[raw["lightglue_matches"].isna(), "candidate_id"]]
            started = time.perf_counter()
            alone.compare(others, fresh)  # the first stage is known: LightGlue alone is left
            lightglue = (time.perf_counter() - started) / max(len(others), 1)
            alone.close()
        first = max(listed - seen * lightglue, 0.0) / max(len(raw), 1)
        return cls(described / max(len(catalog) - 1, 1), first, lightglue)
