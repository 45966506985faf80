"""Finds the same animal again in a catalogue of photographs, by its scars and marks.

The documented names, loaded on first use, so that importing the package costs no time::

    import scarmatch

    catalog = scarmatch.Catalog.read("catalogue/")
    answers = scarmatch.Matcher().match(["new1.jpg"], catalog)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.catalogue.catalog import CandidateFilter as CandidateFilter
    from engine.catalogue.catalog import Catalog as Catalog
    from engine.catalogue.catalog import CatalogError as CatalogError
    from engine.catalogue.check import check_catalog as check_catalog
    from engine.catalogue.index import CatalogIndex as CatalogIndex
    from engine.competitions.happywhale import identify_photographs as identify_photographs
    from engine.report.audit import audit_catalog as audit_catalog
    from engine.report.explain import explain_pair as explain_pair
    from engine.report.explain import write_explanation as write_explanation
    from engine.report.visualize import PairEvidence as PairEvidence
    from engine.report.visualize import draw_pair as draw_pair
    from engine.search.individuals import rank_encounters as rank_encounters
    from engine.search.individuals import rank_individuals as rank_individuals
    from engine.search.matcher import Matcher as Matcher
    from engine.search.matcher import MatcherSettings as MatcherSettings
    from scarmatch.errors import ScarmatchError as ScarmatchError
    from scarmatch.settings import SettingsError as SettingsError

_HOME = {
    "CandidateFilter": "engine.catalogue.catalog",
    "Catalog": "engine.catalogue.catalog",
    "CatalogError": "engine.catalogue.catalog",
    "CatalogIndex": "engine.catalogue.index",
    "Matcher": "engine.search.matcher",
    "MatcherSettings": "engine.search.matcher",
    "PairEvidence": "engine.report.visualize",
    "ScarmatchError": "scarmatch.errors",
    "SettingsError": "scarmatch.settings",
    "audit_catalog": "engine.report.audit",
    "check_catalog": "engine.catalogue.check",
    "draw_pair": "engine.report.visualize",
    "explain_pair": "engine.report.explain",
    "identify_photographs": "engine.competitions.happywhale",
    "rank_encounters": "engine.search.individuals",
    "rank_individuals": "engine.search.individuals",
    "write_explanation": "engine.report.explain",
}

__all__ = [*_HOME]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'scarmatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
