"""The archive of the code-execution form: it runs where only the dependencies are installed, without network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bench.scenarios.cutting import cut_scenarios
from engine.catalogue.catalog import Catalog
from engine.commands.main import main
from engine.competitions.challenge_scenarios import CHALLENGE_SCENARIOS
from engine.competitions.running_time import SCORED_PER_SECOND, Rates, challenge_estimate, estimate, within_hours
from engine.competitions.scenarios import read_scenarios
from engine.competitions.submission_check import check_submission
from engine.search.candidates import ShortlistSettings
from engine.search.matcher import MatcherSettings
from features.keypoints.metric import KeypointMetric

#: Runs main.py and then says where its packages came from; any connection is an error.
GUARD = """
import runpy, socket, sys
def refuse(*_, **__):
    raise OSError("no network here")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
try:
    runpy.run_path("main.py", run_name="__main__")
except SystemExit as stop:
    code = stop.code
import engine, features, reranker, scarmatch
print([m.__file__ for m in (engine, features, reranker)], "bench" in sys.modules)
sys.exit(code)
"""


@pytest.mark.slow
def test_the_archive_runs_by_itself(made_up_dir: Path, tmp_path: Path) -> None:
    archive, unpacked = tmp_path / "submission.zip", tmp_path / "unpacked"
    quick = ["--set=describe.descriptor.model=efficientnet_lite0", "--set=describe.descriptor.mirror=false"]
    quick += ["--shortlist=4"]
    quick += ["--set=describe.keypoints.max_keypoints=64", "--set=describe.keypoints.long_side=256"]
    assert main(["package", f"--output={archive}", *quick]) == 0
    with zipfile.ZipFile(archive) as content:
        names = content.namelist()
        content.extractall(unpacked)
    assert "main.py" in names
    assert not [name for name in names if name.startswith(("bench", "tests")) or name.endswith(".pyc")]
    # As the container has it: the data folder beside main.py.
    cut = cut_scenarios(Catalog.read(made_up_dir), unpacked / "data", scale=0.004, seed=1, answers=tmp_path / "a.csv")
    # -S: without `site` no .pth file is read, so an editable install of this project is not found.
    libraries = os.pathsep.join(dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib")))
    environment = {"PYTHONPATH": libraries, "PATH": os.environ["PATH"], "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-S", "-c", GUARD]
    # One core, so that no second process is started.
    if hasattr(os, "sched_getaffinity"):
        core = min(os.sched_getaffinity(0))
        command = [sys.executable, "-S", "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\n{GUARD}"]
    done = subprocess.run(command, cwd=unpacked, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    assert last.count(str(unpacked)) == 3 and last.endswith("False"), "its own packages, and no measurements"
    written = unpacked / "submission" / "submission.csv"
    faults = check_submission(written, read_scenarios(cut.folder))
    assert [fault for fault in faults if fault.severity == "error"] == []


def test_the_recipe_carries_the_shipped_ranker_and_every_weight(tmp_path: Path) -> None:
    archive = tmp_path / "submission.zip"
    assert main(["package", f"--output={archive}"]) == 0
    with zipfile.ZipFile(archive) as content:
        recipe = json.loads(content.read("recipe.json"))
        names = content.namelist()
        assert "BSD-3-Clause" in content.read("weights/LICENCES.txt").decode()
    assert (recipe["model"], recipe["model_folder"], recipe["ranker"]) == ("beluga", None, None)
    assert {
        "engine/models/beluga/model.json",
        "reranker/models/ranker-aliked.json",
        "weights/aliked-n16.pth",
        "weights/aliked_lightglue.pth",
    } <= set(names)
    assert any(name.startswith("features/models/") and name.endswith(".safetensors") for name in names)
    with pytest.raises(SystemExit, match="2"):
        main(["package", f"--output={tmp_path / 'nowhere' / 'x.zip'}"])


def test_a_metric_of_one_s_own_is_carried(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    KeypointMetric(np.eye(128, dtype=np.float32), "aliked", {}).save(path)
    archive = tmp_path / "submission.zip"
    assert main(["package", f"--output={archive}", f"--set=mutual_nn.metric={path}"]) == 0
    with zipfile.ZipFile(archive) as content:
        assert json.loads(content.read("recipe.json"))["settings"]["mutual_nn"]["metric"] == "own"
        assert "features/models/keypoints/own.safetensors" in content.namelist()
    taken = path.rename(tmp_path / "beluga-keypoints.safetensors")
    assert main(["package", f"--output={archive}", f"--set=mutual_nn.metric={taken}"]) == 1


def test_the_time_is_reckoned_from_measured_rates() -> None:
    lists = ShortlistSettings(size=50, rescore=10, expansion=0)
    one = estimate([(100, 1000), (50, 20)], lists, Rates(10, 50, 5, "a machine"))
    among = 100 * 200 + 50 * 200
    assert one.pairs == 100 * 50 + 50 * 20 + among
    without = estimate([(100, 1000), (50, 20)], lists.replace(neighbour_pairs=0), Rates(10, 50, 5, "a machine"))
    assert one.hours - without.hours == pytest.approx(among / 50 / 3600)
    assert one.photographs == 1000 + 150
    # Every photograph, and ten leading candidates of each list beside the others and a sample.
    scoring = (100 * 1000 + 50 * 20 + 100 * 10 * (50 + 64) + 50 * 10 * (20 + 64)) / SCORED_PER_SECOND
    assert one.hours == pytest.approx((115 + scoring + 120 + 300 + among / 50) / 3600)
    default = challenge_estimate(MatcherSettings())
    assert default.pairs == sum(s.n_queries * (min(220, s.n_database) + 200) for s in CHALLENGE_SCENARIOS)
    scored = estimate([(100, 10_000_000)], lists, Rates(1e9, 1e9, 1e9, "a machine"))
    assert scored.hours == pytest.approx(100 * 10_000_000 / SCORED_PER_SECOND / 3600, rel=1e-3)
    all_of_them = MatcherSettings().with_option("shortlist.rescore", "220")
    assert challenge_estimate(all_of_them).hours > default.hours
    limit = 0.5 * challenge_estimate(all_of_them).hours
    kept = within_hours(all_of_them, limit)
    assert challenge_estimate(kept).hours <= limit
    assert 1 < kept.shortlist.rescore < 220
    assert within_hours(kept, limit) == kept
