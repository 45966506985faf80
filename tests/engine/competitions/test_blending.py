"""Rankings from files: three kinds read, blended by places and by probabilities, weights learned and judged."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from engine.commands.main import main
from engine.competitions.blending import blend_files, read_blend_answers, read_ranking, read_weights, table_settings
from engine.competitions.happywhale import read_happywhale_submission
from engine.competitions.submission import SubmissionError


def places(path: Path, rows: dict[str, str]) -> Path:
    pd.DataFrame({"image": list(rows), "predictions": list(rows.values())}).to_csv(path, index=False)
    return path


def submission(path: Path, *rows: tuple[str, str, float]) -> Path:
    pd.DataFrame(rows, columns=["query_id", "database_image_id", "score"]).to_csv(path, index=False)
    return path


@pytest.fixture
def good_and_bad(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A ranking that is always right, one that never is, and the answers."""
    names = [f"w{i}" for i in range(8)]
    good = places(tmp_path / "good.csv", {f"{n}.jpg": f"{n} other" for n in names})
    bad = places(tmp_path / "bad.csv", {f"{n}.jpg": f"a-wrong {n}" for n in names})
    answers = tmp_path / "answers.csv"
    pd.DataFrame({"image": [f"{n}.jpg" for n in names], "individual_id": names}).to_csv(answers, index=False)
    return good, bad, answers


def test_places_are_blended_by_the_papers_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = places(tmp_path / "1.csv", {"x.jpg": "a b c d e"})
    two = places(tmp_path / "2.csv", {"x.jpg": "b c a new_individual f"})
    output = tmp_path / "out.csv"
    assert main(["blend", str(one), str(two), f"--output={output}"]) == 0
    # a 10 + 3.3, b 6.5 + 10, c 3.3 + 6.5, d 2.9, e 2.7, f 2.7, new 2.9 / 4
    assert read_happywhale_submission(output) == {"x.jpg": ["b", "a", "c", "d", "e"]}
    assert "1 queries" in capsys.readouterr().out
    scores = blend_files([one, two], photographs={"b": 100}).scores["x.jpg"]
    assert scores["b"] == pytest.approx(16.5 - 3.3)
    assert scores["new_individual"] == pytest.approx(2.9 / 4)
    weighted = blend_files([one, two], weights=[2, 1]).scores["x.jpg"]
    assert next(iter(weighted)) == "a"


def test_weights_are_learned_and_judged_on_other_individuals(
    good_and_bad: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, answers = good_and_bad
    blend = blend_files([bad, good], answers=read_blend_answers(answers, "individuals"))
    assert blend.figures["files"] == [0.5, 1.0]
    assert blend.figures["equal"] == 1.0, "10 + 6.5 beats 10 alone"
    first_only = table_settings("10,0", 0.0, 4.0)
    tied = blend_files([bad, good], answers=read_blend_answers(answers, "individuals"), settings=first_only)
    assert tied.figures["equal"] == 0.5, "10 against 10: the name decides"
    assert tied.figures["learned"] == tied.figures["cross_fitted"] == 1.0
    assert tied.weights[1] > tied.weights[0]
    kept = tmp_path / "weights.json"
    arguments = ["blend", str(bad), str(good), f"--answers={answers}", f"--save-weights={kept}"]
    assert main([*arguments, f"--output={tmp_path / 'o.csv'}"]) == 0
    assert "on individuals not learned from 1.0000" in capsys.readouterr().out
    assert read_weights(str(kept), 2) == list(blend.weights)


def test_submissions_are_averaged(tmp_path: Path) -> None:
    one = submission(tmp_path / "1.csv", ("q", "a", 0.9), ("q", "b", 0.5), ("p", "a", 0.2))
    two = submission(tmp_path / "2.csv", ("q", "b", 0.8), ("q", "c", 0.4))
    blend = blend_files([one, two])
    assert blend.method == "mean"
    assert blend.scores["q"] == pytest.approx({"b": 0.65, "a": 0.45, "c": 0.2}), "what a list lacks counts 0 there"
    assert blend.scores["p"] == pytest.approx({"a": 0.2}), "who lacks the query has no say"
    blend.write(tmp_path / "out.csv")
    assert read_ranking(tmp_path / "out.csv").lists["q"] == ["b", "a", "c"]
    by_table = blend_files([one, two], "table")
    by_table.write(tmp_path / "table.csv")
    assert read_ranking(tmp_path / "table.csv").lists["q"] == ["b", "a", "c"]


def test_photographs_are_judged_by_average_precision(tmp_path: Path) -> None:
    one = submission(tmp_path / "1.csv", ("q", "a", 0.9), ("q", "b", 0.5), ("p", "c", 0.7), ("p", "d", 0.6))
    answers = tmp_path / "answers.csv"
    pd.DataFrame({"query_id": ["q", "p"], "database_image_id": ["b", "c"]}).to_csv(answers, index=False)
    figures = blend_files([one, one], answers=read_blend_answers(answers, "photographs")).figures
    assert figures["files"] == pytest.approx([0.75, 0.75])
    assert figures["cross_fitted"] == pytest.approx(0.75)


def test_details_carry_probabilities(tmp_path: Path) -> None:
    details = tmp_path / "details.csv"
    details.write_text("image,rank,individual_id,probability\nx.jpg,1,a,0.7\nx.jpg,2,new_individual,0.3\n")
    assert blend_files([details], "mean").scores["x.jpg"] == pytest.approx({"a": 0.7, "new_individual": 0.3})


def test_what_cannot_be_blended_is_said(tmp_path: Path) -> None:
    named = places(tmp_path / "named.csv", {"x.jpg": "a"})
    scored = submission(tmp_path / "scored.csv", ("q", "a", 0.9))
    with pytest.raises(SubmissionError, match="different things"):
        blend_files([named, scored])
    with pytest.raises(SubmissionError, match="no probabilities"):
        blend_files([named], "mean")
    with pytest.raises(SubmissionError, match="line 3"):
        read_ranking(submission(tmp_path / "bad.csv", ("q", "a", 0.9), ("q", "b", 1.9)))
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SubmissionError, match="known kinds"):
        read_ranking(tmp_path / "odd.csv")
    with pytest.raises(SubmissionError, match="2 weights"):
        read_weights("1,2,3", 2)
    with pytest.raises(SubmissionError, match="none of the files' queries"):
        blend_files([named], answers={"y.jpg": "a"})
