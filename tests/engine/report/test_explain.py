"""A pair explained: by ids, by files, outside the shortlist, with itself; pictures, page and words agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.catalogue.index import CatalogIndex
from engine.catalogue.problems import CatalogError
from engine.commands.main import main
from engine.report.explain import explain_pair, write_explanation
from engine.report.pair_layers import LAYERS, LayerError
from scarmatch import Catalog, Matcher, MatcherSettings


@pytest.fixture(scope="module")
def matcher(small_settings: MatcherSettings, shared_store: Path) -> Matcher:
    # The made-up catalogue is so small that an expanded list would leave nothing out.
    settings = small_settings.with_option("shortlist.expansion", "0")
    return Matcher(settings, shared_store, ranker="fusion", workers=1)


@pytest.fixture(scope="module")
def index(matcher: Matcher, made_up_dir: Path) -> CatalogIndex:
    return matcher.index(made_up_dir)


@pytest.fixture(scope="module")
def listed(matcher: Matcher, index: CatalogIndex) -> tuple[str, list[str], list[str]]:
    """A query, the candidates of its list (best first), and those that the shortlist left out."""
    query = index.catalog.table.query("viewpoint == 'top'")["image_id"].iloc[0]
    answers = matcher.match(index.subset([query]), index, top=99)
    inside = answers["image_id"].tolist()
    return query, inside, [name for name in index.catalog.ids if name not in (query, *inside)]


def test_a_listed_pair_has_the_probability_of_the_answer(matcher, index, listed) -> None:
    query, inside, _ = listed
    found = explain_pair(matcher, query, inside[1], index)
    answers = matcher.match(index.subset([query]), index, top=99)
    row = answers[answers["image_id"] == inside[1]].iloc[0]
    assert found.shortlisted
    assert found.evidence.probability == row["probability"]
    assert found.answer["rank"] == 2
    parts = found.evidence.parts
    assert parts.total == pytest.approx(row["probability"], abs=1e-6), "the fusion's halves are its probability"
    assert parts.unit == "probability"
    for heat, photo in ((found.evidence.heat0, found.evidence.photo0), (found.evidence.heat1, found.evidence.photo1)):
        assert heat.shape == photo.rgb.shape[:2]
        assert heat.max() == 1
    text = found.render()
    for word in (f"{query}.jpg", f"{inside[1]}.jpg", "rank 2", f"{row['probability']:.1%}", "no trained ranker"):
        assert word in text
    record = json.loads(json.dumps(found.to_dict()))
    assert record["probability"] == pytest.approx(row["probability"])
    assert record["contributions"]["total"] == pytest.approx(parts.total)
    assert record["query"]["image_id"] == query


def test_a_candidate_outside_the_shortlist_is_ranked_in_it(matcher, index, listed) -> None:
    query, inside, outside = listed
    found = explain_pair(matcher, query, outside[-1], index)
    assert not found.shortlisted
    assert 1 <= found.answer["rank"] <= len(inside) + 1, "it joins the list, and takes nobody's place"
    assert 0 < found.evidence.probability < 1
    assert "not in the query's shortlist" in found.render()


def test_files_are_taken_as_what_the_catalogue_knows_of_them(matcher, index, listed, tmp_path) -> None:
    query, inside, _ = listed
    path = index.catalog.row(inside[0])["path"]
    known = explain_pair(matcher, query, path, index)
    assert known.candidate["image_id"] == inside[0]
    new = tmp_path / "new.png"
    picture = Image.open(path)
    picture.resize((picture.width + 3, picture.height)).save(new)
    loose = explain_pair(matcher, query, new, index)
    assert loose.candidate["image_id"] == "new"
    assert loose.candidate["individual_id"] is None
    assert loose.answer["cosine"] == pytest.approx(known.answer["cosine"], abs=0.1)
    back = explain_pair(matcher, new, query, index)
    assert back.query["image_id"] == "new"
    assert back.evidence.probability is not None


def test_a_photograph_and_itself_cannot_be_ranked_but_shown(matcher, index, listed, tmp_path) -> None:
    query = listed[0]
    found = explain_pair(matcher, query, query, index)
    assert found.evidence.probability is None
    assert found.evidence.parts is None
    assert "one photograph" in found.render()
    assert write_explanation(found, tmp_path, ("photographs",))[0].is_file()


def test_what_is_no_photograph_is_said_clearly(matcher, index, listed, tmp_path) -> None:
    with pytest.raises(CatalogError, match=r"nowhere\.jpg: neither"):
        explain_pair(matcher, listed[0], "nowhere.jpg", index)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(CatalogError, match=r"broken\.jpg"):
        explain_pair(matcher, listed[0], broken, index)


def test_a_broken_photograph_of_the_catalogue_is_named_with_its_reason(matcher, made_up_dir, tmp_path) -> None:
    names = sorted(path.name for path in (made_up_dir / "images").glob("*.jpg"))[:3]
    for name in names[:2]:
        shutil.copy(made_up_dir / "images" / name, tmp_path / name)
    (tmp_path / names[2]).write_bytes(b"no picture")
    catalog = Catalog.from_photos([tmp_path])
    with pytest.raises(CatalogError, match="cannot be used"):
        explain_pair(matcher, Path(names[0]).stem, Path(names[2]).stem, catalog)


def test_every_layer_is_a_picture_of_its_own(matcher, index, listed, tmp_path) -> None:
    found = explain_pair(matcher, listed[0], listed[1][0], index)
    files = write_explanation(found, tmp_path / "all", height=240)
    names = {file.name for file in files}
    assert names == {"index.html", "explanation.json", "inliers-enlarged.png", *(f"{layer}.png" for layer in LAYERS)}
    bare = np.asarray(Image.open(tmp_path / "all" / "photographs.png"))
    for layer in set(LAYERS) - {"photographs"}:
        picture = np.asarray(Image.open(tmp_path / "all" / f"{layer}.png"))
        assert picture.shape != bare.shape or (picture != bare).any(), layer
    page = (tmp_path / "all" / "index.html").read_text()
    assert '"heat":["#' in page and '"warp":"#' in page and '"unit":"probability"' in page
    few = write_explanation(found, tmp_path / "few", ("marks+inliers", "body"), height=120)
    assert {file.name for file in few} >= {"marks+inliers.png", "body.png"}
    with pytest.raises(LayerError, match="'makrs'"):
        write_explanation(found, tmp_path / "none", ("body+makrs",))
    assert not (tmp_path / "none").exists(), "nothing is written before the layers are known to exist"


def test_the_command_prints_and_writes(made_up_dir, shared_store, quick_options, listed, tmp_path, capsys) -> None:
    quick = [*quick_options, f"--store={shared_store}"]
    query, inside, _ = listed
    asked = ["explain", query, inside[0], f"--catalog={made_up_dir}", *quick]
    assert main([*asked, f"--output={tmp_path / 'out'}", "--layers=heat,inliers"]) == 0
    printed = capsys.readouterr()
    assert "probability of the same individual" in printed.out and "what was weighed" in printed.out
    assert "index.html" in printed.err
    assert (tmp_path / "out" / "heat.png").is_file()
    assert main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["candidate"]["image_id"] == inside[0]
    assert main([*asked, f"--output={tmp_path / 'out'}", "--layers=heats"]) == 1
    assert "'heats'" in capsys.readouterr().err
