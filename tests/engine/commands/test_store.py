"""`scarmatch store` tells, verifies, compacts and prunes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.commands.main import main
from features import known_files


@pytest.fixture
def described(
    made_up_dir: Path, tmp_path: Path, quick_options: list[str], monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path, list[str]]:
    """A catalogue of three photographs, its store, and the options that it was described by."""
    monkeypatch.setattr(known_files, "_SETTLED", -1e9)  # files that were just written are remembered
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    for path in sorted((made_up_dir / "images").glob("*.jpg"))[:3]:
        shutil.copy(path, catalog)
    options = [option for option in quick_options if not option.startswith("--ranker")]
    assert main(["index", str(catalog), f"--store={tmp_path / 'store'}", *options]) == 0
    return catalog, tmp_path / "store", options


def test_a_store_is_looked_after(described, capsys: pytest.CaptureFixture[str]) -> None:
    catalog, store, options = described
    capsys.readouterr()
    where = f"--store={store}"
    assert main(["store", "size", where, "--json"]) == 0
    sizes = json.loads(capsys.readouterr().out)
    assert {kind: count for kind, (count, _) in sizes["kinds"].items()} == dict.fromkeys(
        ("body", "global", "local", "picture", "skin", "summary"), 3
    ) | {"files": 1}
    assert main(["store", "size", where]) == 0
    assert "local" in capsys.readouterr().out
    assert main(["store", "verify", where]) == 0
    assert "19 records read, 0 damaged" in capsys.readouterr().out
    assert main(["store", "compact", where]) == 0
    assert "19 records in 1 shards" in capsys.readouterr().out

    next(iter(catalog.glob("*.jpg"))).unlink()
    assert main(["store", "prune", str(catalog), where, "--dry-run", *options]) == 0
    assert capsys.readouterr().out.startswith("6 records, ")
    assert main(["store", "prune", str(catalog), where, *options]) == 0
    assert "13 records in 1 shards" in capsys.readouterr().out
    assert main(["store", "prune", str(catalog), where, *options, "--set=describe.keypoints.max_keypoints=64"]) == 0
    assert "9 records in" in capsys.readouterr().out, "vectors, bodies and skin do not depend on the keypoints"


def test_damage_is_named_and_told_by_the_exit_status(described, capsys: pytest.CaptureFixture[str]) -> None:
    catalog, store, options = described
    (shard,) = (store / "shards").glob("*.shard")
    data = bytearray(shard.read_bytes())
    data[data.index(b"global:") + 400] ^= 1
    shard.write_bytes(data)
    assert main(["store", "verify", f"--store={store}"]) == 1
    assert "damaged, and computed anew when it is needed: global:" in capsys.readouterr().out
    assert main(["index", str(catalog), f"--store={store}", *options]) == 0
    assert main(["store", "verify", f"--store={store}"]) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["size"], "name the store with --store"),
        (["size", "--store=nowhere"], "there is no store nowhere"),
        (["prune", "--store=."], "prune needs the catalogues"),
    ],
)
def test_what_is_missing_is_one_line(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", *arguments]) == 1
    error = capsys.readouterr().err
    assert text in error and len(error.splitlines()) == 1
