"""The commands a user types: output, exit codes, clear errors, and the whole way on a challenge folder."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from bench.scenarios.cutting import cut_scenarios
from engine.catalogue.catalog import Catalog
from engine.catalogue.queries import query_catalog
from engine.commands import catalogue
from engine.commands.main import COMMANDS, build_parser, main
from scarmatch.errors import ScarmatchError


@pytest.fixture
def store(shared_store: Path) -> str:
    return f"--store={shared_store}"


def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    commands = next(a for a in build_parser()._actions if a.dest == "command").choices
    assert set(commands) == set(COMMANDS)
    for name in commands:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert "usage: scarmatch" in text and "--verbose" in text


def test_a_family_has_the_commands_that_are_listed_and_no_others() -> None:
    for family in {entry.family for entry in COMMANDS.values()}:
        listed = {name for name, entry in COMMANDS.items() if entry.family == family}
        assert set(import_module(f"engine.commands.{family}").COMMANDS) == listed


def test_the_list_of_commands_and_each_help_load_nothing_heavy() -> None:
    code = (
        "import sys; from engine.commands.main import COMMANDS, build_parser;"
        "build_parser(''); assert 'pandas' not in sys.modules;"
        "build_parser();"
        "print([m for m in ('torch', 'kornia', 'lightgbm', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_error_of_ours_is_one_line_and_anything_else_a_fault_that_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ending(error: BaseException) -> tuple[int, str]:
        def run(_: object) -> int:
            raise error

        monkeypatch.setitem(catalogue.COMMANDS, "check", catalogue.COMMANDS["check"]._replace(run=run))
        status = main(["check", "somewhere"])
        return status, capsys.readouterr().err

    assert ending(ScarmatchError("the file\nis odd: do this")) == (1, "scarmatch check: the file is odd: do this\n")
    assert ending(PermissionError(13, "Permission denied", "/x/y")) == (1, "scarmatch check: /x/y: Permission denied\n")
    status, text = ending(ZeroDivisionError("division by zero"))
    assert status == 70
    assert "Traceback" in text and "ZeroDivisionError" in text
    assert text.splitlines()[-1].startswith("scarmatch check: this is a fault of scarmatch")
    status, text = ending(KeyboardInterrupt())
    assert status == 130 and "Traceback" not in text


def test_verbose_shows_where_an_error_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(tmp_path / "nowhere"), "--verbose"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.splitlines()[-1].startswith("scarmatch index: ")


def test_check_says_what_is_there(made_up_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(made_up_dir)]) == 0
    assert "26 photographs, 6 individuals" in capsys.readouterr().out
    assert main(["check", str(made_up_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["photographs"] == 26


def test_check_fails_on_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metadata.csv").write_text(
        "image_id,path,height,width,viewpoint,date\na,images/a.jpg,10,10,top,2019-01-01\n"
    )
    assert main(["check", str(tmp_path)]) == 1
    assert "a.jpg" in capsys.readouterr().out


def test_missing_catalogue_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(tmp_path / "nowhere")]) == 1
    error = capsys.readouterr().err
    assert "nowhere" in error
    assert "Traceback" not in error


def test_index_then_match(
    made_up_dir: Path, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_options: list[str]
) -> None:
    quick = [option for option in quick_options if not option.startswith("--ranker")]
    assert main(["index", str(made_up_dir), store, *quick]) == 0
    assert "26 of 26 photographs described" in capsys.readouterr().out
    query = sorted((made_up_dir / "images").glob("*.jpg"))[0]
    arguments = [
        "match",
        str(query),
        f"--catalog={made_up_dir}",
        store,
        *quick_options,
        "--top=4",
        "--until=2018-12-31",
    ]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "26 candidates" in text
    assert "encounter of the query" not in text
    assert main([*arguments, "--exclude-encounter"]) == 0
    assert "dropped by encounter of the query" in capsys.readouterr().out
    assert query.stem in text
    assert main([*arguments, "--json", f"--report={tmp_path / 'report'}"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert len(record["answers"]) == 4
    assert record["answers"][0]["query_id"] == query.stem
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
    sizes = []
    for count in (0, 1, 4):
        assert main([*arguments, "--csv", f"--layers-for={count}", f"--report={tmp_path / str(count)}"]) == 0
        page = (tmp_path / str(count) / "index.html").read_text(encoding="utf-8")
        sizes.append(page.count('"inliers"'))
    assert sizes[0] < sizes[1] < sizes[2], "each further candidate brings its layers"
    with pytest.raises(SystemExit):
        main([*arguments, "--layers-for=21"])
    assert "from 0 to 20" in capsys.readouterr().err
    assert main([*arguments, "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["image_id"] for row in rows] == [answer["image_id"] for answer in record["answers"]]


def test_a_photograph_named_twice_is_asked_once(made_up_dir: Path) -> None:
    catalog = Catalog.read(made_up_dir)
    path = str(catalog.table["path"].iloc[0])
    assert query_catalog([path, path], catalog).ids == catalog.ids[:1]


def test_rank_and_score(
    made_up_dir: Path, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_options: list[str]
) -> None:
    cut = cut_scenarios(Catalog.read(made_up_dir), tmp_path / "challenge", scale=None, seed=1)
    output = tmp_path / "submission.csv"
    assert main(["rank", str(cut.folder), f"--output={output}", store, *quick_options]) == 0
    rows = list(csv.DictReader(output.open()))
    assert list(rows[0]) == ["query_id", "database_image_id", "score"]
    capsys.readouterr()
    assert main(["score", str(output), str(cut.answers), f"--scenarios={cut.folder}", "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert 0.0 < score["mean_average_precision"] <= 1.0


def test_score_refuses_what_the_organisers_would(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "answers.csv").write_text("query_id,database_image_id\nq,a\n")
    (tmp_path / "bad.csv").write_text("query_id,database_image_id,score\nq,a,1.5\n")
    assert main(["score", str(tmp_path / "bad.csv"), str(tmp_path / "answers.csv")]) == 1
    assert "1.5" in capsys.readouterr().err


def test_train_ranker_then_use_it(
    made_up_dir: Path, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_options: list[str]
) -> None:
    model = tmp_path / "ranker.json"
    quick = [option for option in quick_options if not option.startswith("--ranker")]
    train = ["train-ranker", str(made_up_dir), f"--output={model}", "--kind=logistic", "--queries=14", store, *quick]
    assert main([*train, "--shortlist=25"]) == 0
    assert "chosen: logistic" in capsys.readouterr().out
    query = sorted((made_up_dir / "images").glob("*.jpg"))[1]
    arguments = ["match", str(query), f"--catalog={made_up_dir}", store, *quick, f"--ranker={model}", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["answers"]


def test_train_descriptor_then_use_it(
    made_up_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_options: list[str]
) -> None:
    small = ["input_size=[96,128]", "batch=8", "embedding=32", "mirror_classes=false", "held_out=none"]
    train = [
        "train-descriptor",
        str(made_up_dir),
        f"--output={tmp_path / 'model'}",
        "--backbone=basic_cnn",
        "--epochs=1",
    ]
    assert main([*train, *(f"--set={item}" for item in small)]) == 0
    assert "--set describe.descriptor.model=" in capsys.readouterr().out
    aside = ("--set=describe.descriptor.model", "--ranker", "--shortlist")
    quick = [option for option in quick_options if not option.startswith(aside)]
    few = tmp_path / "few"
    few.mkdir()
    for photo in sorted((made_up_dir / "images").glob("*.jpg"))[:2]:
        (few / photo.name).write_bytes(photo.read_bytes())
    index = ["index", str(few), f"--store={tmp_path / 'store'}"]
    index.append(f"--set=describe.descriptor.model={tmp_path / 'model'}")
    assert main([*index, *[o for o in quick if o != "--workers=1"], "--workers=1"]) == 0
    assert "2 of 2 photographs described" in capsys.readouterr().out


def test_unknown_option_is_one_clear_line(made_up_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(made_up_dir), "--set=describe.keypoints.max_keypoint=3"]) == 1
    assert "max_keypoints" in capsys.readouterr().err


def test_info_names_weights_and_licences(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["info", "--json", f"--store={tmp_path}"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert {"aliked-n16", "lightglue-aliked", "efficientnet_lite0"} <= {weight["name"] for weight in info["weights"]}
    assert info["store"]["entries"] == 0


def test_import_is_quick_and_light() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import scarmatch; scarmatch.Catalog;"
        "heavy = ('torch', 'kornia', 'lightgbm', 'numba', 'cv2');"
        "print(time.perf_counter() - start, [m for m in heavy if m in sys.modules])"
    )
    seconds, modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split(" ", 1)
    assert modules.strip() == "[]"
    assert float(seconds) < 5.0


@pytest.mark.parametrize(
    "arguments",
    [
        ["identify", "t", "--catalog=c", "--output=nowhere/o.csv"],
        ["identify", "t", "--catalog=c", "--output=."],
        ["identify", "t", "--catalog=c", "--output=o.csv", "--classifier-weight=1.5"],
        ["identify", "t", "--catalog=c", "--output=o.csv", "--max-distance=nan"],
        ["audit", "c", "--output=file/x"],
        ["audit", "c", "--output=a", "--pictures=-1"],
        ["rank", "d", "--output=nowhere/o.csv"],
        ["match", "q.jpg", "--catalog=c", "--report=file"],
    ],
)
def test_what_cannot_work_is_said_before_hours_are_spent(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert f"error: argument {arguments[-1].split('=')[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 4])
def test_a_table_that_is_none_is_one_clear_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd, fine = tmp_path / "odd.csv", tmp_path / "fine.csv"
    odd.write_bytes(content)
    fine.write_text("image,predictions\na.jpg,x y\n")
    output = f"--output={tmp_path / 'o.csv'}"
    for command in (
        ["score", str(odd), str(odd)],
        ["blend", str(odd), output],
        ["blend", str(fine), f"--answers={odd}", output],
    ):
        assert main(command) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and "odd.csv: cannot be read as CSV" in error


def test_a_wrong_file_for_any_model_is_one_clear_line(
    made_up_dir: Path, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_options: list[str]
) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no model at all")
    query = sorted((made_up_dir / "images").glob("*.jpg"))[0]
    arguments = ["match", str(query), f"--catalog={made_up_dir}", store, *quick_options]
    parts = ("describe.descriptor.model", "mutual_nn.metric", "describe.skin.model")
    for option in ("--ranker=", *(f"--set={part}=" for part in parts)):
        assert main([*arguments, f"{option}{bad}"]) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and "bad.safetensors" in error, option
    assert main(["explain", "nobody", query.stem, f"--catalog={made_up_dir}", store, *quick_options]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "nobody: neither a photograph's id" in error
