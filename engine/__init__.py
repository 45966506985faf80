"""Pairs of photographs: catalogue, shortlist, matching, geometric verification, answers and pictures.

The public names are loaded on first use, so that importing the package costs no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.catalogue.catalog import CandidateFilter, Catalog, CatalogError
    from engine.catalogue.check import check_catalog
    from engine.catalogue.index import CatalogIndex
    from engine.competitions.happywhale import identify_photographs
    from engine.report.audit import audit_catalog
    from engine.report.explain import explain_pair, write_explanation
    from engine.report.visualize import PairEvidence, draw_pair
    from engine.search.individuals import rank_encounters, rank_individuals
    from engine.search.matcher import Matcher, MatcherSettings

_HOME = {
    "CandidateFilter": "engine.catalogue.catalog",
    "Catalog": "engine.catalogue.catalog",
    "CatalogError": "engine.catalogue.catalog",
    "CatalogIndex": "engine.catalogue.index",
    "Matcher": "engine.search.matcher",
    "MatcherSettings": "engine.search.matcher",
    "PairEvidence": "engine.report.visualize",
    "audit_catalog": "engine.report.audit",
    "check_catalog": "engine.catalogue.check",
    "draw_pair": "engine.report.visualize",
    "explain_pair": "engine.report.explain",
    "identify_photographs": "engine.competitions.happywhale",
    "rank_encounters": "engine.search.individuals",
    "rank_individuals": "engine.search.individuals",
    "write_explanation": "engine.report.explain",
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
