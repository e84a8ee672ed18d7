"""A captioner learns to write in four languages, from the same pictures: captions, bundle, runtime, scores."""

import json
import re
import subprocess
import sys

import pytest

pytest.importorskip("torch")

from captioner.bundle import load_bundle
from captioner.cli import build as build_verb
from captioner.datasets.scenes import ScenesDataset

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(900)]

SCRIPTS = {"en": "[a-z ]+", "de": "[a-zäöüß ]+", "ar": "[\u0600-\u06ff ]+", "zh": "[\u4e00-\u9fff]+"}
_CAPTION = """
import json, sys
import captioner
from captioner.datasets.scenes import ScenesDataset
records = list(ScenesDataset.open(sys.argv[2]).records("test"))[:100]
model = captioner.load(sys.argv[1])
said = {record.image_id: each.text for record, each in zip(records, model.iter_captions([r.source for r in records]))}
print(json.dumps({"said": said, "torch": "torch" in sys.modules, "tokenizers": "tokenizers" in sys.modules}))
"""


@pytest.mark.parametrize("code", SCRIPTS)
def test_a_captioner_learns_to_write(code, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "")  # METEOR's Java would take long
    sizes = ["--embed", "64", "--hidden", "128", "--dropout", "0.2", "--batch-size", "16", "--epochs", "10"]
    options = ["--encoder", "builtin", "--limit", "1000", *sizes, "--out", str(tmp_path / "run")]
    assert build_verb.main(["--data", f"scenes:{code}", *options, "--cache", str(tmp_path / "features")]) == 0

    bundle = load_bundle(tmp_path / "run" / "bundle")
    assert bundle.vocabulary.unit == ("pieces of words" if code == "zh" else "words")
    scores = {score["name"]: score for score in bundle.manifest.scores if score["split"] == "test"}
    assert scores["CIDEr"]["value"] > 100
    assert f"|tok:{'ptb+chars' if code == 'zh' else 'ptb'}|" in scores["CIDEr"]["signature"]

    command = [sys.executable, "-c", _CAPTION, str(bundle.folder), f"scenes:{code}"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert not found["torch"]
    assert not found["tokenizers"]
    assert all(re.fullmatch(SCRIPTS[code], text) for text in found["said"].values())
    dataset = ScenesDataset.open(f"scenes:{code}")
    assert sum(dataset.is_true(image_id, text) for image_id, text in found["said"].items()) > 5
