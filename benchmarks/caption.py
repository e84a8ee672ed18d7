"""One photograph again and again, and folders of them, through the captioner that ships; writes caption.json.

    python benchmarks/caption.py [--pictures FOLDER] [--count 2000] [--threads 2]

A folder is captioned by the whole command, process start to end; ten times the pictures shall take ten times as long,
in no more memory. See README.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from made_up import jpeg_files, write_pictures
from measure import ROOT, Figure, figure, load_average, parser, positive, ratios, report, run_process, timed

import captioner
from captioner.bundle import PRETRAINED
from captioner.images import load_image

SEARCHES = {"greedy": 1, "beam 3": 3}
STAGES_BEAM = 3
TIMES = 10
"""How many times as many pictures the large folder has."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns the exit status."""
    options = _parser().parse_args(argv)
    load = load_average()
    with tempfile.TemporaryDirectory() as temporary:
        pictures = (
            jpeg_files(options.pictures) if options.pictures else write_pictures(Path(temporary) / "pictures", 200)
        )
        figures = {
            **measure_latency(pictures, options),
            **measure_stages(pictures[: options.stages], options),
            **measure_folder(pictures, options),
            **measure_growth(pictures, options),
        }
    settings = {
        "captioner": "the one that ships",
        "pictures": f"{len(pictures)} different ones, {'given' if options.pictures else 'made up, 500 x 375 JPEG'}",
        "folder": options.count,
        "folders that grow": f"{options.growth} and {TIMES * options.growth} pictures, greedy",
    }
    report("caption", figures, settings, threads=options.threads, load=load, out=options.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure captioning one picture, and folders of them.")
    options.add_argument("--pictures", type=Path, metavar="FOLDER", help="real JPEG files; default: made-up ones")
    options.add_argument("--count", type=positive, default=2000, metavar="N", help="files in the folder")
    options.add_argument(
        "--growth", type=positive, default=1000, metavar="N", help="files before they are ten times more"
    )
    options.add_argument("--growth-runs", type=positive, default=2, metavar="N", help="repetitions of that")
    options.add_argument("--repeats", type=positive, default=500, metavar="N", help="captions of one picture")
    options.add_argument("--stages", type=positive, default=100, metavar="N", help="pictures whose stages are timed")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="repetitions of the whole command")
    return options


def measure_latency(pictures: Sequence[Path], options: argparse.Namespace) -> dict[str, Figure]:
    """Milliseconds from a file to its caption, the captioner loaded and warm: the middle, and what 95 % stay below."""
    model = captioner.load(PRETRAINED, threads=options.threads)
    figures = {}
    for name, beam in {**SEARCHES, "as it ships": model.bundle.manifest.decode.beam}.items():
        for _ in range(5):
            model.caption(pictures[0], beam=beam)
        times = [1000 * timed(lambda: model.caption(pictures[0], beam=beam)) for _ in range(options.repeats)]  # noqa: B023
        figures[f"one picture, {name}"] = figure(times, "ms")
        figures[f"one picture, {name}, p95"] = figure([float(np.percentile(times, 95))], "ms")
    return figures


def measure_stages(pictures: Sequence[Path], options: argparse.Namespace) -> dict[str, Figure]:
    """Milliseconds that each part of captioning takes for one picture, on one thread."""
    from captioner.decoding.decode import decode

    model = captioner.load(PRETRAINED)
    (graphs,) = model.graphs
    spec, special = model.bundle.manifest.preprocess, model.bundle.vocabulary.special
    config = model.bundle.manifest.decode.changed({"beam": STAGES_BEAM})
    times: dict[str, list[float]] = {"decode JPEG": [], "resize and scale": [], "encoder": [], "words, beam 3": []}
    for path in pictures:
        marks = [time.perf_counter()]
        image = load_image(path, at_least=spec.decode_side)
        marks.append(time.perf_counter())
        pixels = spec.normalize(spec.resize(image)[None])
        marks.append(time.perf_counter())
        features = graphs.encoder(pixels)
        marks.append(time.perf_counter())
        decode(graphs.steps, features, config, special)
        marks.append(time.perf_counter())
        for stage, taken in zip(times, np.diff(marks), strict=True):
            times[stage].append(1000 * float(taken))
    return {f"stage: {name}": figure(found, "ms") for name, found in times.items()}


def measure_folder(pictures: Sequence[Path], options: argparse.Namespace) -> dict[str, Figure]:
    """Pictures/s of the whole command, from process start to end."""
    files = _cycled(pictures, options.count)
    figures = {}
    for name, beam in SEARCHES.items():
        rates = []
        for _ in range(options.runs):
            done = run_process(_command(files, beam, options.threads))
            rates.append(len(files) / done.wall_seconds)
        figures[f"folder, {name}"] = figure(rates, "pictures/s")
    return figures


def measure_growth(pictures: Sequence[Path], options: argparse.Namespace) -> dict[str, Figure]:
    """How much longer the whole command takes for ten times the pictures, and how much more memory."""
    sizes = (options.growth, TIMES * options.growth)
    runs = [
        [run_process(_command(_cycled(pictures, size), 1, options.threads)) for size in sizes]
        for _ in range(options.growth_runs)
    ]
    few, many = zip(*runs, strict=True)
    times = ratios([run.wall_seconds for run in many], [run.wall_seconds for run in few])
    return {
        f"time, {TIMES} x the pictures": figure(times, "ratio"),
        f"peak memory, {sizes[0]} pictures": figure([run.peak_megabytes for run in few], "MB"),
        f"peak memory, {sizes[1]} pictures": figure([run.peak_megabytes for run in many], "MB"),
    }


def _command(files: Sequence[Path], beam: int, threads: int) -> list[str | Path]:
    options = ("--model", PRETRAINED, "--beam", str(beam), "--threads", str(threads))
    return [ROOT / "run_captioner.py", *files, *options]


def _cycled(pictures: Sequence[Path], count: int) -> list[Path]:
    """So many names of files, over and over the same ones: each is read, decoded and described anew."""
    return [pictures[place % len(pictures)] for place in range(max(1, count))]


if __name__ == "__main__":
    sys.exit(main())
