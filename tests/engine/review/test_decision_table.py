"""The file of decisions: what was acknowledged stays, whatever happens to the process; nothing is ever changed."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from engine.review.decision_table import ReviewFile
from engine.review.decisions import Decision, ReviewError

#: Writes decisions until it is killed, and says which row is acknowledged as soon as it is.
WRITER = """
import sys
from engine.review.decision_table import ReviewFile
from engine.review.decisions import Decision
with ReviewFile(sys.argv[1]) as review:
    for turn in range(100000):
        rows = review.append([Decision("same", sys.argv[2], (f"q{turn}", f"c{turn}"))])
        sys.stdout.write(f"{rows[0].number} q{turn}\\n")
        sys.stdout.flush()
"""


def some(number: int = 0, **changes: object) -> Decision:
    return Decision("same", "Ada", (f"q{number}", f"c{number}")).replace(**changes)


def test_a_decision_comes_back_as_it_was_given(tmp_path: Path) -> None:
    given = Decision(
        "different",
        "Zoë 水",
        ("new\udcff", "old"),
        confidence="certain",
        probability=0.25,
        shown={"layers": ["inliers"], "rank": 3},
        version="9.9",
        key="k1",
    )
    with ReviewFile(tmp_path / "review.sqlite") as review:
        (written,) = review.append([given])
    with ReviewFile(tmp_path / "review.sqlite") as review:
        (read,) = review.decisions()
    assert read == written == given.replace(number=1, at=written.at)
    assert written.at.endswith("+00:00")


def test_rows_are_numbered_in_order_and_asked_for_after_a_number(tmp_path: Path) -> None:
    with ReviewFile(tmp_path / "a") as first, ReviewFile(tmp_path / "a") as second:
        first.append([some(0), some(1)])
        second.append([some(2)])
        assert [one.images[0] for one in first.decisions(after=1)] == ["q1", "q2"]
        assert first.last() == second.last() == 3


def test_a_key_is_written_once(tmp_path: Path) -> None:
    with ReviewFile(tmp_path / "a") as review:
        (first,) = review.append([some(1, key="same key")])
        (again,) = review.append([some(2, key="same key")])
        assert again == first
        assert review.last() == 1


def test_all_of_several_decisions_are_written_or_none(tmp_path: Path) -> None:
    with ReviewFile(tmp_path / "a") as review:
        with pytest.raises(TypeError):
            review.append([some(1), some(2, shown={"no JSON": object()})])
        assert review.last() == 0


@pytest.mark.parametrize("statement", ["UPDATE decisions SET kind='different'", "DELETE FROM decisions"])
def test_rows_can_neither_be_changed_nor_deleted(tmp_path: Path, statement: str) -> None:
    with ReviewFile(tmp_path / "a") as review:
        review.append([some()])
    base = sqlite3.connect(tmp_path / "a")
    with pytest.raises(sqlite3.IntegrityError, match="never"):
        base.execute(statement)
    base.close()


def test_a_plain_copy_of_the_one_file_holds_what_was_acknowledged(tmp_path: Path) -> None:
    with ReviewFile(tmp_path / "a") as review:
        review.append([some(n) for n in range(5)])
        shutil.copyfile(tmp_path / "a", tmp_path / "copied")
        review.copy_to(tmp_path / "written")
    for name in ("copied", "written"):
        with ReviewFile(tmp_path / name) as copy:
            assert copy.last() == 5


def test_photographs_and_answers_are_kept_beside(tmp_path: Path) -> None:
    with ReviewFile(tmp_path / "a") as review:
        review.add_photographs([("new\udcff", {}), ("new1", {"path": "/x.jpg"}), ("new2", {"path": "/y.jpg"})])
        review.add_answer("new1", "ranker 1", [["c1", 0.5]])
        review.add_answer("new1", "ranker 2", [["c2", 0.75]])
        assert list(review.photographs()) == ["new\udcff", "new1", "new2"]
        assert review.answers(["new1", "new2"]) == {"new1": [["c2", 0.75]]}
        assert review.answered("ranker 1") == set() and review.answered() == {"new1"}


@pytest.mark.parametrize("content", [b"no database, but long enough to be read as the head of one" * 40, b"x"])
def test_another_file_is_refused_in_one_line_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(ReviewError, match="name another"):
        ReviewFile(path)
    assert path.read_bytes() == content


def test_another_programs_database_and_another_layout_are_refused(tmp_path: Path) -> None:
    base = sqlite3.connect(tmp_path / "other")
    base.execute("CREATE TABLE theirs (a)")
    base.close()
    with pytest.raises(ReviewError, match="another program's database"):
        ReviewFile(tmp_path / "other")
    ReviewFile(tmp_path / "ours").close()
    base = sqlite3.connect(tmp_path / "ours")
    base.execute("PRAGMA user_version=99")
    base.close()
    with pytest.raises(ReviewError, match="layout 99"):
        ReviewFile(tmp_path / "ours")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"kind": "perhaps"}, "no decision 'perhaps'"),
        ({"who": " "}, "reviewer's name"),
        ({"images": ("a",)}, "two different photographs"),
        ({"images": ("a", "a")}, "two different photographs"),
        ({"kind": "new_individual", "images": ("a",)}, "no name"),
        ({"kind": "split", "images": ("a",), "name": "B"}, "of which individual"),
        ({"kind": "merge", "images": (), "name": "B", "individual": "B"}, "itself"),
        ({"kind": "undo", "images": ()}, "name the row"),
        ({"confidence": "very"}, "guessing"),
        ({"probability": 1.5}, "between 0 and 1"),
    ],
)
def test_a_decision_that_says_nothing_is_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(ReviewError, match=word):
        some(0, **change)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    rng, file, known = np.random.default_rng(5), tmp_path / "review.sqlite", []
    for turn in range(4):  # `python -m bench review_server` kills whole servers, fifty times
        writer = subprocess.Popen([sys.executable, "-c", WRITER, file, f"turn {turn}"], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        known.append(writer.stdout.readline().decode().split())
        time.sleep(float(rng.uniform(0.0, 0.05)))
        writer.kill()
        known += [line.split() for line in writer.stdout.read().decode().splitlines() if line.count(" ") == 1]
        writer.wait()
        writer.stdout.close()
    with ReviewFile(file) as review:
        rows = {one.number: one.images[0] for one in review.decisions()}
    assert len(known) >= 4
    assert all(rows[int(number)] == image for number, image in known)
    assert sorted(rows) == list(range(1, len(rows) + 1))
