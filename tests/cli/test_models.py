"""`captioner models`: what is there, the one that would be taken first."""

import json
import shutil

import pytest
from conftest import run

pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def test_captioners_are_listed_the_newest_first_and_the_shipped_one_last(built, tmp_path):
    (tmp_path / "runs").mkdir()
    for name in ("old", "new"):
        shutil.copytree(built.bundle, tmp_path / "runs" / name / "bundle")
    done = run("-m", "captioner", "models", "--json", cwd=tmp_path)
    assert done.returncode == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    trained = [each for each in found if not each["pretrained"]]
    assert {each["folder"].replace("\\", "/") for each in trained} == {"runs/old/bundle", "runs/new/bundle"}
    assert all("scenes" in each["data"] and each["score"].startswith("CIDEr ") for each in trained)
    assert [each["pretrained"] for each in found] == sorted(each["pretrained"] for each in found)
    text = run("-m", "captioner", "models", cwd=tmp_path).stdout
    assert all(each["score"] in text for each in found)


def test_a_damaged_captioner_is_passed_over(built, tmp_path):
    folder = shutil.copytree(built.bundle, tmp_path / "runs" / "broken" / "bundle")
    (folder / "decoder_step.onnx").write_bytes(b"")
    done = run("-m", "captioner", "models", "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert not any("broken" in json.loads(line)["folder"] for line in done.stdout.splitlines())
