"""One page per run that opens from a USB stick: no server, no network, nothing to install."""

from engine.report.page import PICTURES_PER_QUERY, write_report
from engine.report.run import MatchRun

__all__ = ["PICTURES_PER_QUERY", "MatchRun", "write_report"]
