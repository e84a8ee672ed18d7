"""The comparison with peers, with tiny sizes: it runs, and says how many times better. No speed is tested."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benchmarks" / "peers"
KERAS_PYTHON = Path(os.environ.get("PEERS_PYTHON", ROOT / ".venv-peers" / "bin" / "python"))
TINY = ["--runs=2", "--count=3", "--blip-count=1", "--loop-count=2", "--train-pictures=6", "--held-out=2", "--epochs=2"]


def compare(out: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PEERS / "compare.py"), *TINY, *arguments, f"--out={out}"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=280)
    assert finished.returncode == status, finished.stderr
    return finished


def measured(out: Path) -> dict[str, Any]:
    text = (out / "peers.json").read_text(encoding="utf-8")
    for secret in (str(ROOT), str(out), str(KERAS_PYTHON)):
        assert secret not in text
    result = json.loads(text)
    assert set(result) == {"benchmark", "date", "machine", "settings", "figures"}
    for figure in result["figures"].values():
        assert 0 < figure["minimum"] <= figure["median"] <= figure["maximum"]
        assert figure["runs"] == 2
    figures: dict[str, Any] = result["figures"]
    return figures


def load_learnable() -> Any:
    specification = importlib.util.spec_from_file_location("learnable", PEERS / "learnable.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["learnable"] = module  # where its dataclasses look for it
    try:
        specification.loader.exec_module(module)
    finally:
        del sys.modules["learnable"]
    return module


def test_both_sides_read_the_same_captions(tmp_path: Path) -> None:
    learnable, sizes = load_learnable(), {"pictures": 300, "held_out": 20, "vocabulary": 200, "channels": 7}
    splits = []
    for name in ("one.npz", "other.npz"):
        learnable.write(tmp_path / name, **sizes)
        splits.append(learnable.read(tmp_path / name))
    (learned, held_out), (again, _) = splits
    assert learned.captions == again.captions
    assert learned.features.shape == (300, 7)
    assert len(held_out.captions) == len(held_out.features) == 20
    captions = [caption for picture in learned.captions for caption in picture]
    assert len(captions) == 300 * learnable.CAPTIONS_EACH
    assert all(2 <= len(caption) <= learnable.MAX_WORDS for caption in captions)
    words = np.concatenate(captions)
    assert words.min() >= learnable.FIRST_WORD
    assert words.max() < 200


def test_the_next_word_can_be_learned(tmp_path: Path) -> None:
    learnable = load_learnable()
    learnable.write(tmp_path / "data.npz", pictures=400, held_out=1, vocabulary=60, channels=1)
    counts = np.zeros((60, 60))
    for caption in (caption for picture in learnable.read(tmp_path / "data.npz")[0].captions for caption in picture):
        np.add.at(counts, (caption[:-1], caption[1:]), 1)
    seen = counts[counts.sum(axis=1) > 50]
    often = np.sort(seen / seen.sum(axis=1, keepdims=True), axis=1)[:, -4:].sum(axis=1)  # four successors of each word
    assert often.mean() > 0.6
    assert np.sort(counts.sum(axis=0) / counts.sum())[-4:].sum() < 0.5


@pytest.mark.torch
@pytest.mark.slow
def test_a_plain_loop(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    finished = compare(tmp_path, "--only=torch")
    figures = measured(tmp_path)
    theirs, ours = figures["PyTorch: captioning"], figures["PyTorch: captioning, greedy"]
    ratio = figures["PyTorch: captioning, greedy, ratio"]
    assert ratio["minimum"] <= ours["maximum"] / theirs["minimum"]
    assert ratio["maximum"] >= ours["minimum"] / theirs["maximum"]
    assert all(title in finished.stdout for title in figures)


@pytest.mark.torch
@pytest.mark.slow
def test_blip(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    compare(tmp_path, "--only=blip")
    figures = measured(tmp_path)
    assert figures["BLIP: memory"]["unit"] == "MB"
    for way in ("beam 3", "greedy", "one by one"):
        assert figures[f"BLIP: captioning, {way}"]["unit"] == "pictures/s"
        assert figures[f"BLIP: memory, {way}, ratio"]["minimum"] > 1


def test_the_recipe_is_left_out_in_one_line_where_its_environment_is_missing(tmp_path: Path) -> None:
    finished = compare(tmp_path, "--only=keras", f"--peers-python={tmp_path / 'none'}", status=1)
    assert finished.stderr.splitlines()[-1].startswith("compare.py: Keras is left out: it needs `make bench-peers`")
    assert not (tmp_path / "peers.json").exists()


@pytest.mark.torch
@pytest.mark.slow
def test_our_training_gives_seconds_and_losses(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    load_learnable().write(tmp_path / "data.npz", pictures=40, held_out=4, vocabulary=50, channels=16)
    sizes = ["--vocabulary=50", "--units=32", "--batch-size=2", "--epochs=2", f"--write={tmp_path / 'found.json'}"]
    command = [sys.executable, str(PEERS / "ours.py"), "train", str(tmp_path / "data.npz"), *sizes]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(command, env=environment, check=True, timeout=280)
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert len(found["epoch_seconds"]) == len(found["losses"]) == 2
    assert np.log(50) > found["losses"][0] > found["losses"][1]


@pytest.mark.torch
@pytest.mark.slow
def test_the_recipe(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    if not KERAS_PYTHON.exists():
        pytest.skip("the Keras recipe has an environment of its own: `make bench-peers` makes it")
    compare(tmp_path, "--only=keras", "--channels=512", f"--peers-python={KERAS_PYTHON}")
    figures = measured(tmp_path)
    assert figures["Keras: loss per token"]["maximum"] < np.log(2540) + 0.5
    for what in ("epoch", "training memory", "cold caption", "cold memory"):
        assert figures[f"Keras: {what}, ours, ratio"]["minimum"] > 0
