"""The example of a program that asks a review, against a server that runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from engine.review.session import Review

from .conftest import draw, serving

pytest.importorskip("fastapi", reason="fastapi is not installed: pip install 'scarmatch[review]'")
pytest.importorskip("httpx", reason="httpx is not installed: pip install 'scarmatch[test]'")
CLIENT = Path(__file__).resolve().parents[3] / "examples" / "review_client.py"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["review_client.py", *arguments])
    runpy.run_path(str(CLIENT), run_name="__main__")


def test_the_example_uploads_waits_prints_and_decides(
    tmp_path: Path, review: Review, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "found.jpg", 77)
    with serving(review, tmp_path) as hall:
        address = f"http://127.0.0.1:{hall.access.port}"
        run(monkeypatch, address + hall.access.invite(), str(tmp_path / "found.jpg"), "top", "same")
        shown = capsys.readouterr().out
        assert [line.split()[1] for line in shown.splitlines()[:2]] == ["A", "B"]
        assert "not in the catalogue" in shown and "now it is A" in shown
        (row,) = review.file.decisions()
        assert row.kind == "same" and row.images[1] == "a1" and row.probability is not None
        assert len(list(hall.uploads.iterdir())) == 1

        (tmp_path / "not.jpg").write_text("no photograph")
        with pytest.raises(SystemExit, match="cannot be used"):
            run(monkeypatch, address + hall.access.invite(), str(tmp_path / "not.jpg"))
        with pytest.raises(SystemExit, match="opened before"):
            run(monkeypatch, f"{address}/enter?token=used", str(tmp_path / "found.jpg"))
