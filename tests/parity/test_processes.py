"""Training in two processes is training in one with the same batches: the same losses, captions, weights.

Each training runs in a process of its own, as Lightning starts further ones from it.
"""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from captioner.config.build import DecoderConfig, EncoderConfig, TrainConfig  # noqa: E402
from captioner.models.caption_model import build_caption_model  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.training.callbacks import BEST, LAST, LOG  # noqa: E402
from captioner.training.checkpoint import load_checkpoint  # noqa: E402
from captioner.training.data import CaptionData  # noqa: E402
from captioner.training.fit import fit  # noqa: E402
from captioner.training.module import CaptionTask  # noqa: E402
from captioner.training.prepared import PreparedSplit  # noqa: E402
from captioner.types import SpecialTokens  # noqa: E402

SPECIAL = SpecialTokens(pad=0, bos=1, eos=2, unk=3)
VOCABULARY, REGIONS, CHANNELS = 12, 4, 6
EPOCHS, TRAIN, DEV, BATCH = 3, 25, 140, 8
"""Batches of 8, 8, 8 and 1 pictures: the second process has no share of the last one. Dev is two chunks."""
KINDS = {
    "lstm": (DecoderConfig(embed=8, hidden=8, dropout=0.0), {}),
    "pixels": (DecoderConfig(embed=8, hidden=8, dropout=0.0), {"word_presence": 0.1}),  # an encoder with batch norm
    "attention": (
        DecoderConfig(decoder="attention", embed=8, hidden=8, dropout=0.0),
        {"attend_all": 0.5, "word_presence": 0.1, "average": 0.9},
    ),
}


class Rows:
    """Made-up features, as a class because processes are sent it."""

    def __init__(self, shape):
        self.features = np.random.default_rng(0).normal(size=(TRAIN + DEV, *shape)).astype(np.float32)

    def __call__(self, rows):
        return self.features[rows]


class Score:
    """As made up, and dependent on the order of the captions; Ctrl-C comes when it was asked often enough."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, captions):
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return float(sum(place * len(set(said)) for place, said in enumerate(captions)) % 1009)


def train(kind, folder, devices, finished):
    config, terms = KINDS[kind]
    encoder = EncoderConfig(encoder="small_cnn", picture_size=16) if kind == "pixels" else None
    shape = {"lstm": (CHANNELS,), "attention": (REGIONS, CHANNELS), "pixels": (256,)}[kind]
    random = np.random.default_rng(1)
    captions = [
        [random.integers(4, VOCABULARY, random.integers(0, 6)).tolist() for _ in range(random.integers(1, 4))]
        for _ in range(TRAIN + DEV)
    ]
    PreparedSplit.save(folder / "train", (([row], captions[row]) for row in range(TRAIN)))
    PreparedSplit.save(folder / "dev", (([row], captions[row]) for row in range(TRAIN, TRAIN + DEV)))
    options = TrainConfig(
        epochs=EPOCHS, batch_size=BATCH, learning_rate=0.01, accelerator="cpu", devices=devices, patience=99, **terms
    )
    sizes = DecoderSizes(shape, VOCABULARY, pad=SPECIAL.pad)
    model = build_caption_model(config, sizes, encoder)
    splits = [PreparedSplit(folder / name) for name in ("train", "dev")]
    task = CaptionTask(model, options, SPECIAL, Score(finished), 8, sizes)
    data = CaptionData(*splits, Rows((3, 16, 16) if encoder else shape), SPECIAL, batch_size=BATCH, seed=1)
    fit(task, data, options, folder / "training", threads=2)


def run(kind, folder, *, devices, finished=EPOCHS):
    """Train in a process of its own, which is interrupted after some epochs."""
    command = [sys.executable, __file__, kind, str(folder), str(devices), str(finished)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert (ended.returncode == 0) == (finished == EPOCHS), ended.stderr
    assert ended.returncode == 0 or "KeyboardInterrupt" in ended.stderr, ended.stderr


def outcome(folder):
    """The log of an epoch a row, without times; and the weights of the last."""
    with (folder / "training" / LOG).open(encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        del row["seconds"]
    return rows, load_checkpoint(folder / "training" / LAST)["state_dict"]


def assert_alike(one, two, near=1e-4):
    (rows, weights), (other_rows, other_weights) = one, two
    assert len(rows) == len(other_rows) == EPOCHS
    for row, other in zip(rows, other_rows, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert other[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert_near(weights, other_weights, near)


def assert_near(weights, others, near):
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(others[name], weight, rtol=10 * near, atol=near, msg=name)


@pytest.mark.parametrize(
    "kind", [pytest.param("lstm", marks=pytest.mark.slow), pytest.param("pixels", marks=pytest.mark.slow), "attention"]
)
def test_two_processes_reach_what_one_does(kind, tmp_path):
    run(kind, tmp_path / "one", devices=1)
    run(kind, tmp_path / "two", devices=2)
    # Adam makes steps of full length of gradients that are all rounding, as many of convolutions are here.
    near = 0.05 if kind == "pixels" else 1e-4
    assert_alike(outcome(tmp_path / "one"), outcome(tmp_path / "two"), near)
    best = [load_checkpoint(tmp_path / name / "training" / BEST) for name in ("one", "two")]
    assert_near(*best, near)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(tmp_path):
    run("attention", tmp_path / "one", devices=1)
    run("attention", tmp_path / "mixed", devices=1, finished=1)
    run("attention", tmp_path / "mixed", devices=2)
    assert_alike(outcome(tmp_path / "one"), outcome(tmp_path / "mixed"))


if __name__ == "__main__":
    train(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
