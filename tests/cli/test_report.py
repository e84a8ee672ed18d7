"""`captioner report RUN`: the page of a finished build, once more and alike; a sentence for everything else."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import run

pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.fixture
def copy(built, tmp_path):
    """A finished build that may be damaged."""
    return shutil.copytree(built.cwd / "runs" / "scenes", tmp_path / "scenes")


def test_it_writes_the_page_of_the_build_once_more(copy):
    page = copy / "report" / "index.html"
    before = page.read_bytes()
    page.unlink()
    done = run("-m", "captioner", "report", str(copy), cwd=copy.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == str(page)
    assert page.read_bytes() == before


def test_the_page_has_what_the_build_measured(built):
    out = built.cwd / "runs" / "scenes"
    text = (out / "report" / "index.html").read_text(encoding="utf-8")
    rows = json.loads((out / "evaluation" / "scores.json").read_text(encoding="utf-8"))
    headline = next(row for row in rows[::-1] if row["split"] == "test" and row["name"] == "CIDEr")
    assert f"CIDEr <b>{headline['value']:.1f}</b>" in text
    for row in rows:
        assert f"{row['value']:.1f}" in text
        assert row["signature"] in text
    framing = json.loads((out / "evaluation" / "framing.json").read_text(encoding="utf-8"))
    assert {"people", "constant", "nearest"} <= {line["label"] for line in framing["lines"]}
    for name in ("people", "constant", "nearest", "Perplexity", "R@1 text-to-image", "Tutorial BLEU-4", "Loss over"):
        assert name in text
    for finding in framing["health"]["findings"]:
        assert finding["text"].split('"')[0].replace("'", "&#39;") in text


@pytest.mark.parametrize("missing", ["evaluation/framing.json", "training/record.json", "prepared/data.json"])
def test_an_unfinished_build_is_named_with_what_is_missing(copy, missing):
    (copy / missing).unlink()
    done = run("-m", "captioner", "report", str(copy), cwd=copy.parent)
    assert done.returncode == 1
    assert f"is not the folder of a finished build ({Path(missing)} is missing)" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("evaluation/framing.json", '{"lines": ['),
        ("evaluation/scores.json", "[]"),
        ("evaluation/test-beam5.jsonl", None),
    ],
)
def test_what_is_damaged_is_one_line(copy, name, content):
    file = copy / name
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    done = run("-m", "captioner", "report", str(copy), cwd=copy.parent)
    assert done.returncode == 1
    assert "is incomplete or damaged" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_not_there_is_named(tmp_path):
    done = run("-m", "captioner", "report", str(tmp_path / "nothing"), cwd=tmp_path)
    assert done.returncode == 1
    assert "nothing is not the folder of a finished build" in done.stderr


def test_data_that_has_moved_is_named_and_the_old_page_stays(copy):
    page = (copy / "report" / "index.html").read_bytes()
    prepared = json.loads((copy / "prepared" / "data.json").read_text(encoding="utf-8"))
    (copy / "prepared" / "data.json").write_text(json.dumps({**prepared, "data": str(copy / "gone")}), encoding="utf-8")
    done = run("-m", "captioner", "report", str(copy), cwd=copy.parent)
    assert done.returncode == 2
    assert "gone" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (copy / "report" / "index.html").read_bytes() == page


def test_help_and_a_wrong_option(tmp_path):
    assert "RUN" in run("-m", "captioner", "report", "--help", cwd=tmp_path).stdout
    done = run("-m", "captioner", "report", cwd=tmp_path)
    assert done.returncode == 2
    assert "RUN" in done.stderr
