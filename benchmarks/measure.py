"""What all benchmarks share: repeated values as a figure, processes with their time and memory, machine facts, results.

Knows nothing of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
"""The folder of the root scripts."""
RESULTS = Path(__file__).resolve().parent / "results"
"""Where results go unless asked otherwise."""
LIBRARIES = ("numpy", "pillow", "onnxruntime", "torch", "lightning", "transformers")

Figure = dict[str, Any]
"""`unit`, `minimum`, `median`, `maximum` and `runs` of what was measured several times."""


@dataclass(frozen=True)
class Finished:
    """A process that has ended well."""

    wall_seconds: float
    """From its start to its end."""
    cpu_seconds: float
    """Processor time of all its threads, user and system."""
    peak_megabytes: float
    """Largest resident memory, in 10⁶ bytes."""


def passive_threads() -> None:
    """Let OpenMP threads sleep while they wait, as `build_and_run.py` does; to be called before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have: `--threads` and `--out`."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--threads", type=positive, default=2, metavar="N", help="processor threads")
    options.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON file goes")
    return options


def positive(text: str) -> int:
    """A whole number of 1 or more, for `argparse`."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def figure(values: Sequence[float], unit: str) -> Figure:
    """Minimum, median, maximum and number of the values, to four significant digits."""
    parts = {"minimum": min(values), "median": statistics.median(values), "maximum": max(values)}
    return {"unit": unit, **{name: float(f"{value:.4g}") for name, value in parts.items()}, "runs": len(values)}


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """One ratio for each pair of values that were measured one after the other."""
    return [above / below for above, below in zip(numerators, denominators, strict=True)]


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run_process(command: Sequence[str | Path]) -> Finished:
    """Run a Python process to its end, by way of `launch.py`; its stdout is thrown away.

    Args:
        command: what follows the interpreter.

    Raises:
        SystemExit: it failed; what it said is on stderr.
    """
    launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py"))]
    output = subprocess.run([*launcher, *map(str, command)], stdout=subprocess.PIPE, text=True, check=True).stdout
    wall, cpu, peak, status = map(float, output.split())
    if status:
        raise SystemExit(f"{Path(sys.argv[0]).name}: a measured process ended with status {status:.0f}")
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2) counts bytes on macOS and KiB elsewhere
    return Finished(wall, cpu, peak * unit / 1e6)


def report(
    name: str, figures: Mapping[str, Figure], settings: Mapping[str, Any], *, threads: int, load: float, out: Path
) -> None:
    """Write `NAME.json` into `out` and print the figures as a table.

    Args:
        name: of the benchmark.
        figures: what was measured.
        settings: the sizes that it was measured with; no paths.
        threads: processor threads it was told to use.
        load: processes that were running or waiting to when it began, see `load_average`.
        out: the folder; created when there is none.
    """
    result = {
        "benchmark": name,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {**_machine(), "threads": threads, "load_at_start": load},
        "settings": settings,
        "figures": figures,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{name:<36}{'median':>10}{'minimum':>10}{'maximum':>10}  runs  unit")
    for title, row in figures.items():
        numbers = "".join(f"{row[part]:>10g}" for part in ("median", "minimum", "maximum"))
        print(f"{title:<36}{numbers}{row['runs']:>6}  {row['unit']}")


def load_average() -> float:
    """Processes that were running or waiting to over the last minute; near 0 on a machine that is free to measure."""
    return round(os.getloadavg()[0], 2)


def _machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: found for name in LIBRARIES if (found := _version(name))},
    }


def _cpu_model() -> str:
    """As the system calls it; the architecture where it does not say."""
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
