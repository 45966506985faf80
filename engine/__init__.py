"""Pairs of photographs: catalogue, shortlist, matching, geometric verification, answers and pictures.

The public names are loaded on first use, so that importing the package costs no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.audit import audit_catalog
    from engine.catalog import CandidateFilter, Catalog, CatalogError
    from engine.check import check_catalog
    from engine.explain import explain_pair, write_explanation
    from engine.happywhale import identify_photographs
    from engine.identify import rank_encounters, rank_individuals
    from engine.index import CatalogIndex
    from engine.matcher import Matcher, MatcherSettings
    from engine.visualize import PairEvidence, draw_pair

_HOME = {
    "CandidateFilter": "engine.catalog",
    "Catalog": "engine.catalog",
    "CatalogError": "engine.catalog",
    "CatalogIndex": "engine.index",
    "Matcher": "engine.matcher",
    "MatcherSettings": "engine.matcher",
    "PairEvidence": "engine.visualize",
    "audit_catalog": "engine.audit",
    "check_catalog": "engine.check",
    "draw_pair": "engine.visualize",
    "explain_pair": "engine.explain",
    "identify_photographs": "engine.happywhale",
    "rank_encounters": "engine.identify",
    "rank_individuals": "engine.identify",
    "write_explanation": "engine.explain",
}

__all__ = [
    "CandidateFilter",
    "Catalog",
    "CatalogError",
    "CatalogIndex",
    "Matcher",
    "MatcherSettings",
    "PairEvidence",
    "audit_catalog",
    "check_catalog",
    "draw_pair",
    "explain_pair",
    "identify_photographs",
    "rank_encounters",
    "rank_individuals",
    "write_explanation",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'engine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
