"""Finds the same animal again in a catalogue of photographs, by its scars and marks.

The documented names, loaded on first use, so that importing the package costs no time::

    import scarmatch

    catalog = scarmatch.Catalog.read("catalogue/")
    answers = scarmatch.Matcher().match(["new1.jpg"], catalog)
"""

from __future__ import annotations

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.catalogue.catalog import CandidateFilter as CandidateFilter
    from engine.catalogue.catalog import Catalog as Catalog
    from engine.catalogue.catalog import CatalogError as CatalogError
    from engine.catalogue.check import check_catalog as check_catalog
    from engine.catalogue.index import CatalogIndex as CatalogIndex
    from engine.competitions.blending import blend_files as blend_files
    from engine.competitions.challenge import rank_challenge as rank_challenge
    from engine.competitions.happywhale import write_happywhale as write_happywhale
    from engine.competitions.identification import identify_photographs as identify_photographs
    from engine.competitions.submission import score_submission as score_submission
    from engine.competitions.submission import write_submission as write_submission
    from engine.competitions.submission_check import check_submission as check_submission
    from engine.exports.formats import export_catalog as export_catalog
    from engine.exports.names_table import decisions_from_table as decisions_from_table
    from engine.exports.occasions import capture_histories as capture_histories
    from engine.exports.records import ExportSettings as ExportSettings
    from engine.exports.today import catalogue_today as catalogue_today
    from engine.models.choice import choose_model as choose_model
    from engine.report.audit import audit_catalog as audit_catalog
    from engine.report.audit_page import write_audit as write_audit
    from engine.report.explain import explain_pair as explain_pair
    from engine.report.explain import write_explanation as write_explanation
    from engine.report.match_report import report_matches as report_matches
    from engine.report.pair_picture import draw_pair as draw_pair
    from engine.search.individuals import IdentifySettings as IdentifySettings
    from engine.search.individuals import new_individual_probability as new_individual_probability
    from engine.search.individuals import rank_encounters as rank_encounters
    from engine.search.individuals import rank_individuals as rank_individuals
    from engine.search.matcher import Matcher as Matcher
    from engine.search.matcher import MatcherSettings as MatcherSettings
    from engine.search.pair_evidence import PairEvidence as PairEvidence
    from engine.training.model_training import train_model as train_model
    from engine.training.ranker_training import train_on_catalog as train_on_catalog
    from features.photo import PhotoError as PhotoError
    from features.training.loop import train_descriptor as train_descriptor
    from scarmatch.errors import ScarmatchError as ScarmatchError
    from scarmatch.settings import SettingsError as SettingsError

#: Name -> the module that it is loaded from.
_HOME = {
    "CandidateFilter": "engine.catalogue.catalog",
    "Catalog": "engine.catalogue.catalog",
    "CatalogError": "engine.catalogue.catalog",
    "CatalogIndex": "engine.catalogue.index",
    "ExportSettings": "engine.exports.records",
    "IdentifySettings": "engine.search.individuals",
    "Matcher": "engine.search.matcher",
    "MatcherSettings": "engine.search.matcher",
    "PairEvidence": "engine.search.pair_evidence",
    "PhotoError": "features.photo",
    "ScarmatchError": "scarmatch.errors",
    "SettingsError": "scarmatch.settings",
    "audit_catalog": "engine.report.audit",
    "blend_files": "engine.competitions.blending",
    "capture_histories": "engine.exports.occasions",
    "catalogue_today": "engine.exports.today",
    "check_catalog": "engine.catalogue.check",
    "check_submission": "engine.competitions.submission_check",
    "choose_model": "engine.models.choice",
    "decisions_from_table": "engine.exports.names_table",
    "draw_pair": "engine.report.pair_picture",
    "explain_pair": "engine.report.explain",
    "export_catalog": "engine.exports.formats",
    "identify_photographs": "engine.competitions.identification",
    "new_individual_probability": "engine.search.individuals",
    "rank_challenge": "engine.competitions.challenge",
    "rank_encounters": "engine.search.individuals",
    "rank_individuals": "engine.search.individuals",
    "report_matches": "engine.report.match_report",
    "score_submission": "engine.competitions.submission",
    "train_descriptor": "features.training.loop",
    "train_model": "engine.training.model_training",
    "train_on_catalog": "engine.training.ranker_training",
    "write_audit": "engine.report.audit_page",
    "write_explanation": "engine.report.explain",
    "write_happywhale": "engine.competitions.happywhale",
    "write_submission": "engine.competitions.submission",
}

__all__ = [*_HOME]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'scarmatch' has no attribute {name!r}")
    collecting = gc.isenabled()
    gc.disable()  # what is imported stays; looking through it again and again takes an eighth of the time
    try:
        value = globals()[name] = getattr(import_module(_HOME[name]), name)
    finally:
        if collecting:
            gc.enable()
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
