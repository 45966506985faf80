"""The comparison of geometric verification with its peers, on a handful of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.machine import read_result
from bench.speed import verification


def test_made_up_pairs_obey_their_truth() -> None:
    pairs = verification.make_pairs(3, 0.5, seed=1)
    for a, b, model, true in zip(pairs.points0, pairs.points1, pairs.models, pairs.true, strict=True):
        assert true.sum() == 100
        gap = np.linalg.norm(verification.transfer(model, a) - b, axis=1)
        assert np.median(gap[true]) < 2 < np.median(gap[~true])


def test_quality_of_the_truth_and_of_nothing() -> None:
    pairs = verification.make_pairs(4, 0.5, seed=1)
    perfect = verification.quality(pairs, pairs.models, pairs.true)
    assert perfect["corner_error_median_px"] == 0
    assert perfect["share_below_5_px"] == perfect["recall_by_mask"] == 1
    nothing = verification.quality(pairs, [None] * 4, [np.zeros(200, bool)] * 4)
    assert nothing["share_below_5_px"] == nothing["recall_by_mask"] == nothing["recall_by_model"] == 0


def test_a_run_writes_its_table_and_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "SHARES", (0.8,))
    verification.main(["--pairs", "8", "--rounds", "1", "--output", str(tmp_path / "verification.json")])
    assert "scarmatch, 1 thread" in capsys.readouterr().out
    result = read_result(tmp_path / "verification.json")
    rows = result["figures"]["shares"]["0.8"]
    assert rows["scarmatch, 1 thread"]["share_below_5_px"] == 1
    assert {row["pairs"] for row in rows.values()} == {8}
    assert verification.render(result["figures"])
    found = result["figures"]["verdict"]["0.8"]
    magsac, ours = rows["opencv USAC_MAGSAC"], rows["scarmatch, 1 thread"]
    assert found["times_magsac_wall"] == pytest.approx(magsac["least_us"] / ours["least_us"])
    assert found["share_below_5_px"]["best_peer"] == 1
    assert result["settings"]["threshold_px"] == verification.THRESHOLD


def test_a_slow_peer_gets_as_many_pairs_as_its_time_allows() -> None:
    assert verification.pairs_within(100.0, 10_000, 20.0) == 10_000
    assert verification.pairs_within(20_000.0, 10_000, 20.0) == 1_000
    assert verification.pairs_within(1e9, 10_000, 20.0) == verification.LEAST_PAIRS
    assert verification.pairs_within(1e9, 8, 20.0) == 8
