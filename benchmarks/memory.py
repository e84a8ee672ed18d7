"""Peak memory of training on few pictures and on eight times as many; writes memory.json. See README.md.

    python benchmarks/memory.py [--pictures 1500]

Exit status 1 when the peak grows by more than `--allowed` per cent: training holds a batch, never the data.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from made_up import CAPTIONS_EACH, DecoderTraining
from measure import figure, load_average, parser, passive_threads, positive, ratios, report, run_process

from captioner.config.build import DecoderConfig

TIMES = 8
"""How many times as many pictures the second training has."""
DECODER = DecoderConfig(inject="par", embed=64, hidden=64)
VOCABULARY, CHANNELS, DEV_PICTURES = 1000, 1280, 100


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; or, when called by itself with `--train-in`, train."""
    passive_threads()
    options = _parser().parse_args(argv)
    if options.train_in:
        _train(options.train_in, options)
        return 0
    load = load_average()
    peaks: dict[int, list[float]] = {1: [], TIMES: []}
    for _ in range(options.runs):
        for times, found in peaks.items():
            found.append(_peak_megabytes(times, options))
    growth = [100 * (ratio - 1) for ratio in ratios(peaks[TIMES], peaks[1])]
    figures = {
        f"training on {times * options.pictures:,} pictures": figure(found, "MB") for times, found in peaks.items()
    }
    figures["growth"] = figure(growth, "per cent")
    settings = {
        "decoder": f"LSTM, par, {DECODER.embed} embed, {DECODER.hidden} units, {VOCABULARY} words",
        "features": f"{CHANNELS} float16",
        "captions_a_picture": CAPTIONS_EACH,
        "batch": f"{options.batch_size} pictures",
        "epochs": 1,
        "dev_pictures": DEV_PICTURES,
        "allowed_growth_per_cent": options.allowed,
    }
    report("memory", figures, settings, threads=options.threads, load=load, out=options.out)
    if figures["growth"]["median"] > options.allowed:
        print(f"memory grows with the data by more than {options.allowed:g} %", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure how the peak memory of training grows with the number of pictures.")
    options.add_argument("--pictures", type=positive, default=1500, metavar="N", help="of the smaller training")
    options.add_argument("--batch-size", type=positive, default=64, metavar="N", help="pictures in a batch")
    options.add_argument("--allowed", type=float, default=10.0, metavar="PERCENT", help="growth that is allowed")
    options.add_argument("--runs", type=positive, default=2, metavar="N", help="trainings of each size")
    options.add_argument("--train-in", type=Path, help=argparse.SUPPRESS)
    return options


def _peak_megabytes(times: int, options: argparse.Namespace) -> float:
    """Of one training in a process of its own, on data that this process has written."""
    pictures = times * options.pictures
    with tempfile.TemporaryDirectory() as temporary:
        _training(pictures, options).prepare(Path(temporary))
        sizes = [f"--pictures={pictures}", f"--batch-size={options.batch_size}", f"--threads={options.threads}"]
        return run_process([__file__, f"--train-in={temporary}", *sizes]).peak_megabytes


def _training(pictures: int, options: argparse.Namespace) -> DecoderTraining:
    return DecoderTraining(DECODER, VOCABULARY, CHANNELS, pictures, DEV_PICTURES, options.batch_size)


def _train(folder: Path, options: argparse.Namespace) -> None:
    training = _training(options.pictures, options)
    reader = training.reader(folder)
    training.train(folder, lambda rows: reader(rows).astype(np.float32), folder / "checkpoints", options.threads)


if __name__ == "__main__":
    sys.exit(main())
