"""Time and memory of captioning one picture, from start to end of the process; writes startup.json. See README.md.

python benchmarks/startup.py [PICTURE] [--model DIR] [--runs 20]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from made_up import write_pictures
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

from captioner.bundle import PRETRAINED, bundle_of, load_bundle
from captioner.errors import CaptionerError

IMPORTS = "import numpy, onnxruntime, PIL.Image"
"""What captioning cannot do without: the process beside it does nothing else."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns the exit status."""
    passive_threads()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second start finds compiled modules
    options = _parser().parse_args(argv)
    load = load_average()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            bundle = load_bundle(bundle_of(options.model))
        except CaptionerError as error:
            print(f"startup.py: {error.message}", file=sys.stderr)
            return 2
        picture = options.picture or write_pictures(folder / "pictures", 1)[0]
        script = ROOT / "run_captioner.py"
        commands: dict[str, list[str | Path]] = {
            "caption": [script, picture, "--model", bundle.folder, "--threads", str(options.threads)],
            "imports": ["-c", IMPORTS],
            "help": [script, "--help"],
            "version": ["-m", "captioner", "--version"],
        }
        runs: dict[str, list[Finished]] = {name: [] for name in commands}
        for command in commands.values():
            run_process(command)  # whatever is read from disk is in memory from here on
        for _ in range(options.runs):
            for name, command in commands.items():
                runs[name].append(run_process(command))
        stages = measure_stages(
            [str(ROOT / "benchmarks" / "one_photo.py"), str(picture), str(bundle.folder), str(options.threads)],
            options.runs,
        )
        weight = sum(path.stat().st_size for path in bundle.folder.iterdir())
    figures = {}
    for name, found in runs.items():
        figures[f"{name}, wall"] = figure([run.wall_seconds for run in found], "s")
        figures[f"{name}, CPU"] = figure([run.cpu_seconds for run in found], "s")
        figures[f"{name}, peak memory"] = figure([run.peak_megabytes for run in found], "MB")
    walls = {name: [run.wall_seconds for run in found] for name, found in runs.items()}
    figures["caption, ratio to imports, wall"] = figure(ratios(walls["caption"], walls["imports"]), "ratio")
    figures |= stages
    manifest = bundle.manifest
    settings = {
        "encoder": manifest.encoder.get("name"),
        "decoder": manifest.decoder.get("decoder"),
        "beam": manifest.decode.beam,
        "bundle_megabytes": round(weight / 1e6, 1),
        "picture": "given" if options.picture else "made up, 500 x 375 JPEG",
        "imports": IMPORTS,
    }
    report("startup", figures, settings, threads=options.threads, load=load, out=options.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure `python run_captioner.py photo.jpg` from the start of the process to its end.")
    options.add_argument("picture", nargs="?", type=Path, metavar="PICTURE", help="default: a made-up one")
    options.add_argument(
        "--model", type=Path, default=PRETRAINED, metavar="DIR", help="bundle; default: the one that ships"
    )
    options.add_argument("--runs", type=positive, default=20, metavar="N", help="runs of each command")
    return options


def measure_stages(command: Sequence[str], runs: int) -> dict[str, Figure]:
    """Milliseconds of each stage of captioning one picture, in a process of its own each time."""
    found = [
        json.loads(subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=True).stdout)
        for _ in range(runs)
    ]
    return {f"stage: {stage}": figure([run[stage] for run in found], "ms") for stage in found[0]}


if __name__ == "__main__":
    sys.exit(main())
