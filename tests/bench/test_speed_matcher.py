"""The race of the matchers on a few made-up pairs: peers find what we find, and ratios follow from the rows."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.machine import read_result
from bench.speed import matcher as bench
from bench.speed.contestants import NEIGHBOURS, OURS, OURS_EXACT, ListMatcher, batches_of, contestants
from engine.matching.lightglue import LightGlueMatcher, LightGlueSettings
from engine.matching.mutual_nn import MutualNNMatcher, MutualNNSettings
from features.records import Frame, LocalFeatures


def views(count: int, seed: int = 0, kind: str = "aliked") -> tuple[LocalFeatures, LocalFeatures]:
    """Two views of the same keypoints, the second described a little differently."""
    rng = np.random.default_rng(seed)
    size = {"aliked": 128, "xfeat": 64}[kind]
    descriptors = rng.normal(size=(count, size)).astype(np.float32)
    xy = rng.uniform((0, 0), (199, 599), (count, 2)).astype(np.float32)
    ones = np.ones(count, np.float32)
    pair = []
    for noise in (0.0, 0.03):
        noisy = descriptors + noise * rng.normal(size=descriptors.shape).astype(np.float32)
        noisy /= np.maximum(np.linalg.norm(noisy, axis=1, keepdims=True), 1e-9)
        pair.append(LocalFeatures(xy, ones, noisy, ones, ones, Frame((200, 600)), kind))
    return pair[0], pair[1]


def test_agreement_by_hand() -> None:
    found = [np.array([[0, 0], [1, 1], [2, 3]]), np.array([[9, 9]])]
    reference = [np.array([[0, 0], [1, 1], [2, 2], [4, 4]]), np.array([[8, 8]])]
    only_first = bench.agreement(found, reference, np.array([True, False]))
    assert only_first == {"precision": pytest.approx(2 / 3), "recall": pytest.approx(0.5)}
    assert bench.agreement(found, reference, np.array([False, False])) == {"precision": None, "recall": None}


def test_batches_hold_pairs_of_equal_numbers() -> None:
    pairs = [views(count) for count in (40, 30, 40, 0, 40, 50)]
    # With 40 keypoints at most, 50 are as good as 40.
    assert sorted(map(sorted, batches_of(pairs, 40, 3))) == [[0, 2, 4], [1], [5]]
    assert batches_of(pairs, 64, 1) == [[0], [2], [4], [1], [5]]


def test_everybody_finds_the_same_at_full_depth() -> None:
    torch.set_num_threads(1)
    field, absent = contestants(48, LightGlueSettings())
    features = {kind: [views(48, 1, kind), views(40, 2, kind), views(48, 3, kind)] for kind in ("aliked", "xfeat")}
    assert "kornia" not in absent
    _, matches = bench.race([one for one in field if one.kind == "aliked"], features, 1, 0, lambda line: None)
    for name, found in matches.items():
        same = bench.agreement(found, matches[OURS_EXACT], np.ones(3, bool))
        assert same["recall"] >= (1.0 if "full depth" in name else 0.9), name


def test_processes_share_the_pairs() -> None:
    pairs = [views(24, seed) for seed in range(5)]
    make = partial(LightGlueMatcher, "aliked", LightGlueSettings(max_keypoints=24))
    assert bench.in_processes(pairs, make, workers=2, rounds=1) > 0


def test_of_a_list_lightglue_sees_an_even_share() -> None:
    pairs = [views(24, seed) for seed in range(6)]
    settings = LightGlueSettings(max_keypoints=24)
    found = ListMatcher(settings, 1 / 3).match(pairs)
    quick = MutualNNMatcher("aliked", MutualNNSettings(max_keypoints=24)).match(pairs)
    better = LightGlueMatcher("aliked", settings).match(pairs)
    for place, one in enumerate(found):
        expected = (better if place in (0, 3) else quick)[place]
        np.testing.assert_array_equal(one.indices, expected.indices)


def test_ratios_follow_from_the_rows() -> None:
    rows = [
        {"name": OURS, "threads": 1, "pairs_per_second": 40.0},
        {"name": "kornia, full depth, batch 16", "threads": 1, "pairs_per_second": 4.0},
        {"name": "kornia, adaptive, batch 1", "threads": 1, "pairs_per_second": 10.0},
        {"name": "kornia, early stopping alone, batch 16", "threads": 1, "pairs_per_second": 8.0},
        {"name": "kornia, adaptive, batch 1", "threads": 2, "pairs_per_second": 999.0},
        {"name": NEIGHBOURS, "threads": 1, "pairs_per_second": 999.0},
    ]
    assert bench.ratios(rows) == [{"name": OURS, "threads": 1, "batched": 10.0, "adaptive": 4.0}]


def test_a_run_writes_its_table_and_file(
    made_up_dir: Path, shared_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("bench.machine.RESULTS", tmp_path)
    quick = ["describe.descriptor.model=efficientnet_lite0", "describe.descriptor.mirror=false"]
    quick += ["describe.keypoints.max_keypoints=128", "describe.keypoints.long_side=384", "shortlist.size=6"]
    given = [str(made_up_dir), "--store", str(shared_store), "--individuals", "all", "--workers", "1"]
    given += [
        "--pairs",
        "2",
        "--keypoints",
        "48",
        "--rounds",
        "1",
        "--map",
        "3",
        "--compare",
        "shortlist.rescore=1",
    ]
    for item in quick:
        given += ["--set", item]
    assert bench.main([*given, "--result", "matcher"]) == 0
    figures = read_result(tmp_path / "matcher.json")["figures"]
    rows = {row["name"]: row for row in figures["keypoints"]["48"]["rows"]}
    assert rows[OURS_EXACT]["recall"] == rows[OURS_EXACT]["precision"] == 1
    assert rows[OURS_EXACT]["recall_of_sure"] == 1
    assert rows[OURS]["recall_of_sure"] > 0.8
    assert all(row["pairs_per_second"] > 0 for row in rows.values())
    records = {(r["settings"], r["rule"]): r for r in figures["map"]["records"]}
    assert records["reference", "all"]["difference"]["mean"] == 0
    assert ("shortlist.rescore=1", "all") in records
    assert "kornia" in capsys.readouterr().out
    assert "kornia" in bench.render(json.loads(json.dumps(figures)))
