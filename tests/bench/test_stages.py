"""The timing of stages runs on a small catalogue and its rates follow from its seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.machine import read_result
from bench.speed.stages import RESULT, keep_rates, measure, render
from engine.catalogue.catalog import Catalog
from engine.competitions.running_time import read_rates


def test_rates_follow_from_seconds(made_up_dir: Path, small_settings) -> None:
    figures = measure(Catalog.read(made_up_dir), small_settings, photographs=8, queries=2, workers=1)
    assert figures["photographs"] == 8
    assert 2 * 6 <= figures["pairs"] <= 2 * 7, "a list of six, and what resembles its matches"
    assert figures["photographs_per_second"] == pytest.approx(8 / figures["seconds_index"])
    assert figures["pairs_per_second"] == pytest.approx(figures["pairs"] / figures["seconds_pairs"])
    quick, second = (figures[f"{name}_looks_per_second"] for name in ("quick", "second"))
    expected = figures["pairs"] / quick + figures["second_looks"] / second
    assert figures["seconds_pairs"] == pytest.approx(expected, rel=0.05)
    assert quick > second
    assert figures["seconds_index_again"] < figures["seconds_index"]
    assert figures["peak_mib"] > 50
    assert "pairs a second" in render(figures)


def test_the_product_reckons_with_the_rates_that_were_measured(tmp_path: Path) -> None:
    kept = tmp_path / "rates.json"
    keep_rates(read_result(RESULT), kept)
    assert read_rates(kept) == read_rates(), "python -m bench.speed.stages writes both"
    assert f"{read_result(RESULT)['machine']['cores']} cores" in read_rates().machine
