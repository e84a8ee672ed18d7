"""A training run that was killed, wherever, and started again ends with the very weights of one that was not."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
]

from captioner.config.build import DecoderConfig, TrainConfig  # noqa: E402
from captioner.models.caption_model import CaptionModel  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.models.decoders.registry import build_decoder  # noqa: E402
from captioner.training.callbacks import BEST, LAST, LOG  # noqa: E402
from captioner.training.checkpoint import load_checkpoint, previous_of  # noqa: E402
from captioner.training.data import CaptionData  # noqa: E402
from captioner.training.fit import fit  # noqa: E402
from captioner.training.module import CaptionTask  # noqa: E402
from captioner.training.prepared import PreparedSplit  # noqa: E402
from captioner.training.self_critical import SelfCritic  # noqa: E402
from captioner.types import SpecialTokens  # noqa: E402

EPOCHS = 3
PICTURES, BATCH = 30, 8  # four batches an epoch
VOCABULARY = 12
SPECIAL = SpecialTokens(pad=0, bos=1, eos=2, unk=3)
KILLED_BEFORE_BATCH = (1, 3, 6, 12)
"""Counted over the run: in the first epoch, in the second, in the last."""
KILLED_BEFORE_RENAME = range(1, 20)
"""Every moment at which a file comes into its place: best weights, log, state, and the state before it."""


CRITICAL = {"self_critical": "mean", "start_from": "nowhere", "average": 0.9}
"""Training by draws, with averaged weights: more that must be the same after a restart."""


def train(folder: Path, before_batch=lambda: None, **options) -> None:
    """What the stage `train` does, on made-up features, each picture in two views."""
    random = np.random.default_rng(0)
    features = random.normal(size=(2 * PICTURES, 6)).astype(np.float32)
    captions = [
        [random.integers(4, VOCABULARY, random.integers(1, 6)).tolist() for _ in range(2)] for _ in range(PICTURES)
    ]
    PreparedSplit.save(folder / "split", (([row, PICTURES + row], each) for row, each in enumerate(captions)))

    def read(rows):
        if len(rows) < PICTURES:
            before_batch()
        return features[rows]

    def score_dev(found):
        """Made up, and not the same in any two epochs: how many words of the references were said."""
        return (
            sum(len(set(said) & set(true[0])) for said, true in zip(found, captions, strict=True))
            + len(str(found)) / 1e4
        )

    config = TrainConfig(epochs=EPOCHS, batch_size=BATCH, learning_rate=0.02, accelerator="cpu", seed=3, **options)
    sizes = DecoderSizes((6,), VOCABULARY, pad=SPECIAL.pad)
    torch.manual_seed(config.seed)
    model = CaptionModel(build_decoder(DecoderConfig(embed=8, hidden=8, dropout=0.3), sizes))
    split = PreparedSplit(folder / "split")
    critic = SelfCritic(split, SPECIAL, samples=3, baseline="mean", max_length=8) if options else None
    task = CaptionTask(model, config, SPECIAL, score_dev, 8, sizes, critic)
    data = CaptionData(split, split, read, SPECIAL, batch_size=BATCH, seed=config.seed)
    fit(task, data, config, folder / "training", threads=1)


def in_a_child(work) -> bool:
    """Do it in a forked process; False when that killed itself."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    if status not in (0, signal.SIGKILL):
        raise SystemExit(f"a child ended with status {status}")
    return status == 0


class Countdown:
    """Kills this process at the n-th call."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self) -> None:
        self.calls -= 1
        if self.calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def die_before_rename(number: int) -> None:
    countdown, replace = Countdown(number), os.replace

    def counted(*arguments):
        countdown()
        replace(*arguments)

    os.replace = counted


def drive(folder: Path) -> None:
    """All runs, in forked children of one process, because importing torch takes longer than they do."""
    torch.set_num_threads(1)
    in_a_child(lambda: train(folder / "uninterrupted"))
    runs = []
    for number in KILLED_BEFORE_BATCH:
        name = f"batch{number}"
        killed = not in_a_child(lambda name=name, number=number: train(folder / name, Countdown(number)))
        in_a_child(lambda name=name: train(folder / name))
        runs.append((name, killed))
    for number in KILLED_BEFORE_RENAME:
        name = f"rename{number}"
        killed = not in_a_child(lambda name=name, number=number: (die_before_rename(number), train(folder / name)))
        if not killed:
            break
        in_a_child(lambda name=name: train(folder / name))
        runs.append((name, killed))
    attempts = 0
    while not in_a_child(lambda: train(folder / "often", Countdown(6))):
        attempts += 1
    runs.append(("often", attempts == EPOCHS - 1))
    in_a_child(lambda: train(folder / "often"))  # one that is finished has nothing left to do
    in_a_child(lambda: train(folder / "critical", **CRITICAL))
    for number in KILLED_BEFORE_BATCH:
        name = f"critical{number}"
        killed = not in_a_child(lambda name=name, number=number: train(folder / name, Countdown(number), **CRITICAL))
        in_a_child(lambda name=name: train(folder / name, **CRITICAL))
        runs.append((name, killed))
    (folder / "runs.json").write_text(json.dumps(runs))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    paths = os.pathsep.join(str(each) for each in (Path(__file__).parent, Path(__file__).parents[2]))
    driver = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, test_resume, pathlib; test_resume.drive(pathlib.Path(sys.argv[1]))",
            str(folder),
        ],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert driver.returncode == 0, driver.stderr[-3000:]
    return folder, json.loads((folder / "runs.json").read_text())


def without_seconds(path: Path):
    """A checkpoint, tensors as bytes, without the one thing that may differ: the time that the epochs took."""

    def plain(value):
        if isinstance(value, torch.Tensor):
            return value.dtype, tuple(value.shape), value.numpy().tobytes()
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items() if key != "seconds"}
        return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value

    return plain(load_checkpoint(path))


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / LOG).open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def test_a_killed_run_ends_as_if_it_had_not_been(runs):
    folder, names = runs
    for name, killed in names:
        expected = folder / ("critical" if name.startswith("critical") else "uninterrupted") / "training"
        best, last = (expected / BEST).read_bytes(), without_seconds(expected / LAST)
        found = folder / name / "training"
        assert killed, name
        assert (found / BEST).read_bytes() == best, name
        assert without_seconds(found / LAST) == last, name
        assert log(found) == log(expected), name


def test_the_log_has_each_epoch_once(runs):
    folder, names = runs
    for name, _ in names:
        first = 0 if name.startswith("critical") else 1  # the model to start from is epoch 0
        epochs = [row["epoch"] for row in log(folder / name / "training")]
        assert epochs == [str(epoch) for epoch in range(first, EPOCHS + 1)]


def test_every_kind_of_moment_was_tried(runs):
    """Each epoch brings best weights, log and state into their places: three renames first, then at most five."""
    folder, names = runs
    renames = [name for name, _ in names if name.startswith("rename")]
    assert len(renames) >= 3 + 3 * (EPOCHS - 1)
    assert previous_of(folder / renames[-1] / "training" / LAST).exists()


def test_nothing_half_written_is_left(runs):
    folder, _ = runs
    files = {path.name for path in (folder / "uninterrupted" / "training").iterdir()}
    assert files <= {BEST, LAST, LOG, f"{BEST}.previous", f"{LAST}.previous"}


def test_the_weights_did_change(runs):
    """Else equal weights would prove nothing."""
    folder, _ = runs
    rows = log(folder / "uninterrupted" / "training")
    assert len({row["dev_loss"] for row in rows}) == EPOCHS
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert len({row["dev_loss"] for row in log(folder / "critical" / "training")}) == EPOCHS + 1
