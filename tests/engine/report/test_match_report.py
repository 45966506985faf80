"""What a page asks of the matcher before anything is drawn."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from engine.report import match_report


def test_the_pairs_that_are_shown_are_matched_beforehand_query_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("q1", "a", 1, 0.9), ("q1", "b", 2, 0.5), ("q1", "c", 3, 0.1), ("q2", "c", 1, 0.4)]
    answers = pd.DataFrame(rows, columns=["query_id", "image_id", "rank", "probability"]).assign(individual_id="w")
    asked: list[tuple[str, str]] = []

    def prefetch(pairs: list[tuple[str, str]], queries: Any, catalog: Any) -> dict:
        asked.extend(pairs)
        return {}

    monkeypatch.setattr(match_report, "heat_maps", lambda matcher: None)
    monkeypatch.setattr(match_report, "write_report", lambda run, folder, **options: folder / "index.html")
    matcher: Any = SimpleNamespace(prefetch=prefetch, describe_settings=dict, individual_model=None)
    index: Any = SimpleNamespace(catalog=SimpleNamespace(ids=["q1", "q2"], table=pd.DataFrame()))
    page = match_report.report_matches(matcher, index, index, answers, tmp_path, pictures_per_query=2)
    assert page == tmp_path / "index.html"
    assert asked == [("q1", "a"), ("q1", "b"), ("q2", "c")]
