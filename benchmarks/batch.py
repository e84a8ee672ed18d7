"""Jobs over few and many pictures, and every kind of output beside a loop in memory; writes batch.json. See README.md.

    python benchmarks/batch.py [--items 1000] [--pictures 1000] [--entries 1000000] [--threads 2]

Exit status 1 when memory grows by more than `--allowed` per cent from the small folder to one a hundred times larger,
or a job is slower than `--least` per cent of the loop.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from made_up import jpeg_files, write_pictures
from measure import ROOT, Figure, figure, load_average, parser, positive, ratios, report, run_process, timed
from PIL import Image

import captioner
from captioner.batch.job import Plan, run_job
from captioner.batch.sinks.registry import Output, make_sink
from captioner.batch.sources import FolderSource
from captioner.batch.walk import Which
from captioner.bundle import PRETRAINED

TIMES = 100
"""How many times as many pictures the larger folder has."""
MANY = ("jsonl", "sqlite", "parquet", "sidecar")
"""Outputs whose memory is measured; CSV and the page keep what JSON lines keep."""
OUTPUTS = {
    "jsonl": "captions.jsonl",
    "csv": "captions.csv",
    "sqlite": "captions.sqlite",
    "parquet": "captions.parquet",
    "html": "captions.html",
    "sidecar": "",
    "metadata": "",
}
"""Every kind, and the name of its file."""
_IN_A_FOLDER = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns the exit status."""
    options = _parser().parse_args(argv)
    load = load_average()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["CAPTIONER_CACHE"] = str(Path(temporary, "cache"))
        figures = {
            **measure_speed(options, Path(temporary)),
            **measure_start(options, Path(temporary)),
            **measure_memory(options, Path(temporary)),
        }
    settings = {
        "items": options.items,
        "captioner_for_memory": "trained on drawn scenes for a moment, 64 × 64",
        "pictures_for_memory": "JPEG, 16 × 16",
        "captioner_for_speed": "the one that ships, greedy",
        "pictures_for_speed": f"{options.pictures} JPEG, {'given' if options.folder else '500 × 375, made up'}",
        "allowed_growth_per_cent": options.allowed,
        "least_speed_per_cent": options.least,
    }
    report("batch", figures, settings, threads=options.threads, load=load, out=options.out)
    missed = [
        name
        for name, each in figures.items()
        if (name.endswith("growth") and each["median"] > options.allowed)
        or (each["unit"] == "% of the loop" and each["median"] < options.least)
    ]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure memory and speed of captioner batch.")
    options.add_argument("--items", type=positive, default=1000, metavar="N", help=f"of the small folder; × {TIMES}")
    options.add_argument("--pictures", type=positive, default=1000, metavar="N", help="whose captions are timed")
    options.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="real JPEG files for that; default: made-up ones"
    )
    options.add_argument(
        "--entries", type=positive, default=1_000_000, metavar="N", help="of one folder, until its first caption"
    )
    options.add_argument("--allowed", type=float, default=10.0, metavar="PERCENT", help="growth that is allowed")
    options.add_argument("--least", type=float, default=80.0, metavar="PERCENT", help="speed that is wanted")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="of each job that is timed")
    return options


def measure_speed(options: argparse.Namespace, folder: Path) -> dict[str, Figure]:
    """Pictures a second of jobs, model loaded, into each kind of output, and of a loop that throws captions away."""
    pictures = folder / "pictures"
    if options.folder:
        pictures.mkdir()
        for path in jpeg_files(options.folder)[: options.pictures]:
            shutil.copyfile(path, pictures / path.name)  # without its permissions: it is written into
    else:
        write_pictures(pictures, options.pictures)
    paths = sorted(pictures.iterdir())
    model = captioner.load(PRETRAINED)
    plan = Plan(workers=options.threads, options={"beam": 1})

    def loop() -> None:
        for _ in model.iter_results(paths, workers=options.threads, beam=1):
            pass

    def job(kind: str, run: int) -> None:
        out = str(folder / f"{run}-{OUTPUTS[kind]}") if OUTPUTS[kind] else ""
        sink = make_sink(Output(kind, out, "overwrite"), pictures)
        summary = run_job(FolderSource(pictures, Which()), model, sink, plan)
        if summary.captioned != len(paths):
            raise SystemExit(f"{kind}: {summary.captioned} of {len(paths)} captioned")

    loop()  # warm
    seconds: dict[str, list[float]] = {"loop": [], **{kind: [] for kind in OUTPUTS}}
    for run in range(options.runs):
        seconds["loop"].append(timed(loop))
        for kind in OUTPUTS:
            seconds[kind].append(timed(lambda kind=kind: job(kind, run)))  # noqa: B023 - called at once
    figures = {"a loop in memory": figure([len(paths) / each for each in seconds.pop("loop")], "pictures/s")}
    rates = {kind: [len(paths) / each for each in found] for kind, found in seconds.items()}
    loops = figures["a loop in memory"]["median"]
    for kind, found in rates.items():
        figures[f"job, {kind}"] = figure(found, "pictures/s")
        figures[f"job, {kind}, of the loop"] = figure([100 * rate / loops for rate in found], "% of the loop")
    return figures


def measure_start(options: argparse.Namespace, folder: Path) -> dict[str, Figure]:
    """Seconds from the start of a job over one very large folder to its first caption: listing is a stream."""
    crowd = folder / "crowd"
    crowd.mkdir()
    picture = io.BytesIO()
    Image.new("RGB", (16, 16)).save(picture, "JPEG")
    for number in range(options.entries):
        (crowd / f"{number:07}.jpg").write_bytes(picture.getvalue())
    seconds = []
    for _ in range(options.runs):
        began = time.perf_counter()
        command = [sys.executable, "-m", "captioner", "batch", str(crowd), "--out", "-", "--beam", "1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as process:
            assert process.stdout is not None
            if not process.stdout.readline().startswith(b'{"path"'):
                raise SystemExit("there was no first caption")
            seconds.append(time.perf_counter() - began)
            process.kill()
    shutil.rmtree(crowd)
    return {f"first caption of {options.entries:,} pictures in one folder": figure(seconds, "s")}


def measure_memory(options: argparse.Namespace, folder: Path) -> dict[str, Figure]:
    """Peak memory of whole jobs by the number of pictures, for each kind of output that keeps its own books."""
    bundle = _small_captioner(folder / "build")
    counts = (options.items, TIMES * options.items)
    peaks: dict[tuple[str, int], float] = {}
    for count in counts:
        pictures = _tiny_pictures(folder / str(count), count)
        for kind in MANY:
            command = ["-m", "captioner", "batch", pictures, "--to", kind, "--model", bundle, "--beam", "1"]
            command += [f"--threads={options.threads}"]
            command += ["--out", folder / f"{count}-{OUTPUTS[kind]}"] if OUTPUTS[kind] else []
            peaks[kind, count] = run_process(command).peak_megabytes
    figures = {}
    for kind in MANY:
        few, many = (peaks[kind, count] for count in counts)
        figures |= {f"{kind}, {count:,} pictures": figure([peaks[kind, count]], "MB") for count in counts}
        figures[f"{kind}, growth"] = figure([100 * (ratio - 1) for ratio in ratios([many], [few])], "per cent")
    return figures


def _small_captioner(folder: Path) -> Path:
    """A bundle whose network is so small that 100,000 pictures take minutes."""
    options = ["--limit", "100", "--epochs", "1", "--encoder", "builtin", "--out", folder]
    run_process([ROOT / "build_and_run.py", *options])
    return folder / "bundle"


def _tiny_pictures(folder: Path, count: int) -> Path:
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number // _IN_A_FOLDER:04}" / f"{number:07}.jpg"
        if number % _IN_A_FOLDER == 0:
            path.parent.mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return folder


if __name__ == "__main__":
    sys.exit(main())
