"""Captioner beside what one would take instead, in turns on one machine; writes peers.json. See ../README.md.

    python benchmarks/peers/compare.py [--only keras|blip|torch] [--runs 3] [--peers-python PYTHON]

Starts a process for each side of each turn and reads what it measured; knows nothing of how they do it. A ratio tells
how many times better captioner is: faster, or smaller.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import learnable
from made_up import write_encoder, write_pictures
from measure import (
    ROOT,
    Figure,
    Finished,
    figure,
    load_average,
    parser,
    passive_threads,
    positive,
    ratios,
    report,
    run_process,
)

from captioner.bundle import PRETRAINED, load_bundle

PEERS = Path(__file__).resolve().parent
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
VOCABULARY, UNITS = 2540, 256
TOKENS = 12
"""Of a caption, its end counted: Flickr8k's mean. Random weights would not end by themselves."""
WAYS = {
    "beam 3": ("--beam=3",),
    "greedy": ("--beam=1",),
    "one by one": ("--beam=3", "--one-by-one"),
}
"""How pictures are captioned with the bundle; beam 3 where nothing else is said."""
_BECOME = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"

Figures = dict[str, Figure]
Settings = dict[str, Any]
Command = list[str | Path]


@dataclass(frozen=True)
class Run:
    """A process that has ended well."""

    found: dict[str, Any]
    """What it measured itself."""
    took: Finished
    """Its time and memory as a whole."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns the exit status."""
    passive_threads()
    options = _parser().parse_args(argv)
    load = load_average()
    figures: Figures = {}
    settings: Settings = {"vocabulary": VOCABULARY, "tokens_a_caption": TOKENS}
    with tempfile.TemporaryDirectory() as temporary:
        for name, measure in {"keras": measure_keras, "blip": measure_blip, "torch": measure_torch}.items():
            if options.only not in (None, name):
                continue
            if name == "keras" and not options.peers_python.exists():
                print("compare.py: Keras is left out: it needs `make bench-peers` or --peers-python", file=sys.stderr)
                continue
            folder = Path(temporary) / name
            folder.mkdir()
            found, its_settings = measure(options, folder)
            figures |= found
            settings |= its_settings
    if not figures:
        return 1
    report("peers", figures, settings, threads=options.threads, load=load, out=options.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure captioner beside the classic Keras recipe, BLIP-base and a plain PyTorch loop.")
    options.add_argument("--only", choices=("keras", "blip", "torch"), help="leave out the other two")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="turns")
    options.add_argument(
        "--peers-python", type=Path, default=PEERS_PYTHON, metavar="PYTHON", help="of the environment that has Keras"
    )
    options.add_argument("--model", type=Path, default=PRETRAINED, metavar="DIR", help="bundle that captions")
    options.add_argument("--train-pictures", type=positive, default=200, metavar="N", help="to learn from")
    options.add_argument("--held-out", type=int, default=40, choices=range(1, 129), metavar="N", help="for the loss")
    options.add_argument("--channels", type=int, choices=(512, 4096), default=4096, help="numbers in a feature")
    options.add_argument("--epochs", type=positive, default=3, metavar="N", help="of training, on both sides")
    options.add_argument("--count", type=positive, default=200, metavar="N", help="pictures captioned by captioner")
    options.add_argument("--blip-count", type=positive, default=4, metavar="N", help="pictures captioned by BLIP")
    options.add_argument("--loop-count", type=positive, default=32, metavar="N", help="pictures captioned by the loop")
    return options


def measure_keras(options: argparse.Namespace, folder: Path) -> tuple[Figures, Settings]:
    """Training of the same captions on the same features, and one caption from the start of the process."""
    data, decoder, (picture,) = folder / "data.npz", folder / "decoder.keras", write_pictures(folder / "pictures", 1)
    learnable.write(
        data,
        pictures=options.train_pictures,
        held_out=options.held_out,
        vocabulary=VOCABULARY,
        channels=options.channels,
    )
    python, threads = options.peers_python, f"--threads={options.threads}"
    sizes = [f"--vocabulary={VOCABULARY}", f"--units={UNITS}", f"--epochs={options.epochs}", threads]
    theirs, ours = [], []
    for _ in range(options.runs):
        theirs.append(_measured(_by(python, [PEERS / "keras_recipe.py", "train", data, decoder, *sizes]), folder))
        ours.append(_measured([PEERS / "ours.py", "train", data, *sizes], folder))
    figures = _training_figures(theirs, ours)
    cold = _by(python, [PEERS / "keras_recipe.py", "caption", picture, decoder, f"--words={TOKENS}", threads])
    our_cold = [ROOT / "run_captioner.py", picture, "--model", options.model, threads]
    run_process(our_cold)  # what it reads from disk is in memory from here on, as what Keras reads is by now
    turns = [(Run({}, run_process(cold)), Run({}, run_process(our_cold))) for _ in range(options.runs)]
    colds = [[run for run, _ in turns], [run for _, run in turns]]
    figures |= _beside("Keras: cold caption", "s", *([run.took.wall_seconds for run in side] for side in colds))
    figures |= _beside("Keras: cold memory", "MB", *map(_peaks, colds))
    return figures, {
        "keras": theirs[0].found["versions"],
        "keras_batch": "one picture, a sample for each word",
        "training": f"{options.train_pictures} pictures, {options.epochs} epochs",
        "captions_a_picture": learnable.CAPTIONS_EACH,
        "held_out": f"{options.held_out} pictures",
        "features": f"{options.channels} float16",
        "decoder": f"LSTM, merge, {UNITS} embed, {UNITS} units",
    }


def _training_figures(theirs: Sequence[Run], ours: Sequence[Run]) -> Figures:
    """Seconds of an epoch, the loss after the last, memory; and the time that captioner takes to the recipe's loss.

    It is there after the first epoch with a loss as low. The first epoch warms up and is no figure of its own, but
    counts for that time, on both sides.
    """
    seconds = [[run.found["epoch_seconds"] for run in runs] for runs in (theirs, ours)]
    losses = [[run.found["losses"][-1] for run in runs] for runs in (theirs, ours)]
    epochs = [[median(run[1:] or run) for run in side] for side in seconds]
    figures = _beside("Keras: epoch", "s", *epochs)
    figures["Keras: loss per token"] = figure(losses[0], "nats")
    figures["Keras: loss per token, ours"] = figure(losses[1], "nats")
    until = [
        [spent for spent, loss in zip(accumulate(run), mine.found["losses"], strict=True) if loss <= goal][:1]
        for run, mine, goal in zip(seconds[1], ours, losses[0], strict=True)
    ]
    if all(until):
        figures |= _beside("Keras: time to that loss", "s", [sum(run) for run in seconds[0]], [run[0] for run in until])
    return figures | _beside("Keras: training memory", "MB", _peaks(theirs), _peaks(ours))


def measure_blip(options: argparse.Namespace, folder: Path) -> tuple[Figures, Settings]:
    """Pictures/s and memory of BLIP-base and of captioner, each way in a process of its own."""
    pictures = write_pictures(folder / "pictures", max(options.count, options.blip_count))
    blip: list[Run] = []
    ours: dict[str, list[Run]] = {way: [] for way in WAYS}
    for _ in range(options.runs):
        blip.append(_captioned("blip.py", pictures[: options.blip_count], options, folder))
        for way, runs in ours.items():
            runs.append(_captioned("ours.py", pictures[: options.count], options, folder, way))
    figures: Figures = {}
    for way, runs in ours.items():
        figures |= _beside("BLIP: captioning", "pictures/s", _rates(blip), _rates(runs), way)
    for way, runs in ours.items():
        figures |= _beside("BLIP: memory", "MB", _peaks(blip), _peaks(runs), way)
    network = f"{blip[0].found['parameters'] / 1e6:.0f} million random weights, {blip[0].found['side']} x "
    return figures, {
        "blip": f"{network}{blip[0].found['side']} pixels, greedy",
        "blip_pictures": options.blip_count,
        "our_pictures": options.count,
    }


def measure_torch(options: argparse.Namespace, folder: Path) -> tuple[Figures, Settings]:
    """Pictures/s and memory of a plain loop over the network of the bundle, and of the bundle."""
    pictures = write_pictures(folder / "pictures", max(options.count, options.loop_count))
    manifest = load_bundle(options.model).manifest
    write_encoder(folder / "encoder", manifest.preprocess.size)
    theirs, ours = [], []
    for _ in range(options.runs):
        theirs.append(_captioned("torch_loop.py", pictures[: options.loop_count], options, folder))
        ours.append(_captioned("ours.py", pictures[: options.count], options, folder, "greedy"))
    figures = _beside("PyTorch: captioning", "pictures/s", _rates(theirs), _rates(ours), "greedy")
    figures |= _beside("PyTorch: memory", "MB", _peaks(theirs), _peaks(ours), "greedy")
    return figures, {
        "loop": f"MobileNetV2, {manifest.preprocess.size} pixels, {manifest.decoder['decoder']}, random weights",
        "loop_pictures": options.loop_count,
        "our_pictures": options.count,
    }


def _captioned(script: str, pictures: Sequence[Path], options: argparse.Namespace, folder: Path, way: str = "") -> Run:
    """Pictures captioned by one of the scripts beside this one."""
    before: dict[str, Command] = {
        "ours.py": ["caption", options.model],
        "torch_loop.py": [options.model, folder / "encoder"],
    }
    common = [f"--tokens={TOKENS}", f"--threads={options.threads}"]
    return _measured([PEERS / script, *before.get(script, []), *pictures, *WAYS.get(way, ()), *common], folder)


def _measured(command: Sequence[str | Path], folder: Path) -> Run:
    """Run a script to its end; it writes what it measured into `folder`."""
    written = folder / "measured.json"
    took = run_process([*command, f"--write={written}"])
    return Run(json.loads(written.read_text(encoding="utf-8")), took)


def _by(python: Path, command: Command) -> Command:
    """A command for an interpreter that becomes another one: it adds 10 ms, and nothing to the peak of its memory."""
    return ["-I", "-S", "-c", _BECOME, python, *command]


def _rates(runs: Sequence[Run]) -> list[float]:
    return [run.found["pictures_per_second"] for run in runs]


def _peaks(runs: Sequence[Run]) -> list[float]:
    return [run.took.peak_megabytes for run in runs]


def _beside(title: str, unit: str, theirs: Sequence[float], ours: Sequence[float], way: str = "ours") -> Figures:
    """Both sides of all turns, and how many times better ours is: more a second, or less time or memory."""
    better = ratios(ours, theirs) if unit.endswith("/s") else ratios(theirs, ours)
    return {
        title: figure(theirs, unit),
        f"{title}, {way}": figure(ours, unit),
        f"{title}, {way}, ratio": figure(better, "ratio"),
    }


if __name__ == "__main__":
    sys.exit(main())
