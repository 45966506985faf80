"""A described catalogue is opened, filtered and asked by a fresh process without torch, and answers as any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.catalogue.catalog import Catalog
from engine.matching import pair_pool
from engine.search.allowed import AllowedCandidates
from engine.search.matcher import Matcher, MatcherSettings
from engine.search.pipeline import Matching
from features.describe import Describer
from features.descriptions import Descriptions
from features.hardware import torch_has_no_gpu
from scarmatch import CandidateFilter

RULES = CandidateFilter(exclude_encounter=True)
#: Photographs from which a catalogue counts as large here.
LARGE = 5


def candidates(catalog: Catalog, matcher: Matcher, query: str) -> list[str]:
    """Return the ids of a question's list, before anything is matched."""
    index = matcher.index(catalog)
    queries = index.subset([query])
    pool = matcher.pair_pool(matcher.store_for(catalog))
    stage = Matching(queries, index, pool, matcher.first_stage)
    retrieval = stage.retrieval(AllowedCandidates(queries, index, RULES), np.zeros(0, np.int64), 1.0)
    return [catalog.ids[row] for row in retrieval.best(8).row]


def alone(root: str, settings: str, store: str, query: str) -> None:
    """What the fresh process does."""
    pair_pool.EXHAUSTIVE_UP_TO = LARGE
    matcher = Matcher(MatcherSettings.from_dict(json.loads(settings)), store, workers=2)
    found = candidates(Catalog.read(root), matcher, query)
    assert matcher.ranker is None
    print(json.dumps([found, "torch" in sys.modules]))


@pytest.mark.skipif(not torch_has_no_gpu(), reason="torch alone knows whether there is a graphics card")
def test_a_large_catalogue_opens_and_answers_without_torch(
    made_up_dir: Path, small_settings: MatcherSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_pool, "EXHAUSTIVE_UP_TO", LARGE)
    store, catalog = tmp_path / "store", Catalog.read(made_up_dir)
    matcher = Matcher(small_settings, store, ranker="fusion", workers=1)
    first = candidates(catalog, matcher, catalog.ids[0])
    assert first
    with monkeypatch.context() as patched:
        patched.setattr(
            Describer, "lookup_many", lambda self, refs, *_: [] if not refs else pytest.fail("a record was read")
        )
        index = matcher.index(catalog)
    assert isinstance(index.descriptions, Descriptions)
    assert candidates(catalog, matcher, catalog.ids[0]) == first
    script = f"from {__name__} import alone; import sys; alone(*sys.argv[1:])"
    arguments = [str(made_up_dir), json.dumps(small_settings.to_dict()), str(store), catalog.ids[0]]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [first, False]


def test_a_photograph_that_changed_is_described_anew_among_those_kept_together(
    made_up_dir: Path, small_settings: MatcherSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(pair_pool, "EXHAUSTIVE_UP_TO", LARGE)
    root = tmp_path / "catalogue"
    shutil.copytree(made_up_dir, root)
    catalog = Catalog.read(root).take(range(8))
    matcher = Matcher(small_settings, tmp_path / "store", ranker="fusion", workers=1)
    candidates(catalog, matcher, catalog.ids[0])
    before = matcher.index(catalog)
    paths = [Path(path) for path in catalog.table["path"]]
    paths[3].write_bytes(paths[5].read_bytes())  # another's picture
    paths[6].write_bytes(b"no picture")
    after = matcher.index(catalog)
    assert [failure.image_id for failure in after.failures] == [catalog.ids[6]]
    assert after.catalog.ids == [name for row, name in enumerate(catalog.ids) if row != 6]
    same = [row for row in range(8) if row not in (3, 6)]
    assert [key for key in after.keys if key in before.keys] != list(before.keys)
    places = [after.catalog.position(catalog.ids[row]) for row in same]
    assert [after.keys[place] for place in places] == [before.keys[row] for row in same]
    assert after.keys[3].split(":")[0] == before.keys[5].split(":")[0]
    np.testing.assert_array_equal(after.vectors[places], before.vectors[same])
