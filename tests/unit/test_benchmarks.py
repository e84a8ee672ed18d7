"""The benchmarks with tiny sizes: they run, and their results have the shape that is promised. No speed is tested."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


def run(
    script: str, out: Path, *arguments: str, status: int = 0, threads: int = 2
) -> tuple[dict[str, Any], subprocess.CompletedProcess[str]]:
    """Run a benchmark and return what it wrote and said."""
    command = [sys.executable, str(BENCHMARKS / script), *arguments, f"--out={out}", f"--threads={threads}"]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=280)
    assert finished.returncode == status, finished.stderr
    text = (out / script).with_suffix(".json").read_text(encoding="utf-8")
    for secret in (str(ROOT), str(out), str(Path.home()), socket.gethostname()):
        assert secret not in text
    result = json.loads(text)
    assert set(result) == {"benchmark", "date", "machine", "settings", "figures"}
    assert set(result["machine"]) == {"cpu", "cores", "system", "python", "libraries", "threads", "load_at_start"}
    assert result["machine"]["threads"] == threads
    for title, figure in result["figures"].items():
        assert set(figure) == {"unit", "minimum", "median", "maximum", "runs"}
        assert figure["minimum"] <= figure["median"] <= figure["maximum"]
        assert title in finished.stdout
    return result, finished


def load_measure() -> Any:
    specification = importlib.util.spec_from_file_location("measure", BENCHMARKS / "measure.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["measure"] = module
    try:
        specification.loader.exec_module(module)
    finally:
        del sys.modules["measure"]
    return module


def test_a_figure_is_minimum_median_maximum_and_runs() -> None:
    found = load_measure().figure([3.00004, 1.0, 2.0, 10.0], "s")
    assert found == {"unit": "s", "minimum": 1.0, "median": 2.5, "maximum": 10.0, "runs": 4}


def test_a_process_is_measured_alone() -> None:
    measure = load_measure()
    ballast = bytearray(os.urandom(1)) * 300_000_000  # of this process, which must not count for the other one
    idle = measure.run_process(["-S", "-c", "import time; time.sleep(0.3)"])
    full = measure.run_process(["-S", "-c", "a = bytearray(b'x') * 100_000_000"])
    assert idle.wall_seconds >= 0.3 > idle.cpu_seconds
    assert idle.peak_megabytes < 50
    assert 100 < full.peak_megabytes < 150
    assert len(ballast) == 300_000_000


def test_a_process_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="status 3"):
        load_measure().run_process(["-c", "raise SystemExit(3)"])


@pytest.mark.torch
@pytest.mark.slow
def test_speed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    sizes = ["--size=32", "--count=20", "--steps=31", "--batch-size=2", "--runs=1"]
    result, _ = run("speed.py", tmp_path / "results", *sizes)
    figures = result["figures"]
    assert {figure["unit"] for figure in figures.values()} == {"pictures/s", "ratio", "captions/s", "GFLOP/s"}
    assert all(figure["minimum"] > 0 for figure in figures.values())
    ratio = figures["features"]["median"] / figures["features, eager PyTorch"]["median"]
    assert figures["features, ratio to eager"]["median"] == pytest.approx(ratio, rel=1e-2)
    for threads in ("2 threads", "1 thread"):
        assert figures[f"training, {threads}"]["runs"] == 2  # 31 steps: one chunk to warm up, two that count
        assert figures[f"training, share of sgemm, {threads}"]["maximum"] < 2


@pytest.mark.torch
@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    sizes = ["--pictures=32", "--batch-size=8", "--runs=1"]
    result, _ = run("memory.py", tmp_path, *sizes, "--allowed=50")
    small, large, growth = (figure["median"] for figure in result["figures"].values())
    assert growth == pytest.approx(100 * (large / small - 1), abs=0.5)
    _, finished = run("memory.py", tmp_path, *sizes, "--allowed=-50", status=1)
    assert "memory grows with the data" in finished.stderr


@pytest.mark.slow
def test_data(tmp_path: Path) -> None:
    sizes = ["--records=3", "--pictures=20", "--runs=2"]
    result, _ = run("data.py", tmp_path, *sizes, "--allowed=50")
    figures = {title: figure["median"] for title, figure in result["figures"].items()}
    for name in ("reading JSON lines", "reading a table", "reading shards"):
        growth = 100 * (figures[f"{name}, 300 records"] / figures[f"{name}, 3 records"] - 1)
        assert figures[f"{name}, growth"] == pytest.approx(growth, abs=5)
    further = 1e6 * (figures["doctor, shards, 300 records"] - figures["doctor, shards, 3 records"]) / 297
    assert figures["doctor, shards, for each further record"] == pytest.approx(further, rel=0.2, abs=200)
    assert figures["speed of shards, of that of plain files"] > 0
    _, finished = run("data.py", tmp_path, *sizes, "--allowed=-50", status=1)
    assert "more than -50 %: reading JSON lines, growth" in finished.stderr


@pytest.mark.slow
def test_startup(tmp_path: Path) -> None:
    result, _ = run("startup.py", tmp_path / "results", "--runs=2", threads=1)
    figures = result["figures"]
    assert all(figure["runs"] == 2 for figure in figures.values())
    peaks = [figures[f"{name}, peak memory"]["median"] for name in ("version", "imports", "caption")]
    assert peaks == sorted(peaks)
    stages = [figure["median"] for title, figure in figures.items() if title.startswith("stage: ")]
    assert len(stages) == 10
    assert sum(stages) == pytest.approx(1000 * figures["caption, wall"]["median"], rel=0.5)


@pytest.mark.slow
def test_captioning(tmp_path: Path) -> None:
    result, _ = run(
        "caption.py", tmp_path / "results", "--count=20", "--growth=2", "--repeats=3", "--stages=3", "--runs=1"
    )
    figures = result["figures"]
    assert figures["one picture, beam 3, p50"]["median"] <= figures["one picture, beam 3, p95"]["median"]
    assert figures["folder, greedy"]["median"] > 0
    assert figures["time, 10 x the pictures"]["median"] > 1


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[scale]'")
def test_what_a_picture_costs_a_cluster(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result, _ = run("scale.py", tmp_path / "results", "--count=16", "--runs=1")
    figures = {title: figure["median"] for title, figure in result["figures"].items()}
    assert all(value > 0 for value in figures.values())
    assert figures["one core, tar to part, greedy"] < figures["one core, seen by the encoder"]
    assert figures["one core, tar to part, beam 3"] < figures["one core, words from features, beam 3"]


@pytest.mark.torch
@pytest.mark.slow
def test_jobs_over_folders(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    sizes = ["--items=5", "--pictures=6", "--entries=30", "--runs=1", "--allowed=50", "--least=1"]
    result, _ = run("batch.py", tmp_path, *sizes)
    figures = result["figures"]
    assert figures["first caption of 30 pictures in one folder"]["unit"] == "s"
    for kind in ("jsonl", "sqlite", "parquet", "sidecar"):
        assert 50 < figures[f"{kind}, 5 pictures"]["median"] < figures[f"{kind}, 500 pictures"]["median"] * 1.2


@pytest.mark.torch
@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_processor_too(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    sizes = ["--batch=2", "--size=32", "--steps=1", "--runs=1"]
    result, _ = run("gpu.py", tmp_path / "results", "--device=cpu", *sizes)
    assert result["settings"]["device"] == "CPU"
    assert all(figure["minimum"] > 0 for figure in result["figures"].values())


def test_the_page_of_results_has_every_figure(tmp_path: Path) -> None:
    results = BENCHMARKS / "results"
    for path in results.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    subprocess.run([sys.executable, str(BENCHMARKS / "table.py"), f"--results={tmp_path}"], check=True)
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    for path in results.glob("*.json"):
        for title, row in json.loads(path.read_text(encoding="utf-8"))["figures"].items():
            assert f"| {title} | {row['median']:g} | {row['minimum']:g} | {row['maximum']:g} |" in page
    assert page == (results / "README.md").read_text(encoding="utf-8"), "run benchmarks/table.py"


@pytest.mark.slow
def test_metrics(tmp_path: Path) -> None:
    result, finished = run("metrics.py", tmp_path, "--pictures=50", "--runs=2", threads=1)
    figures = result["figures"]
    assert all(figures[f"reward, batches of {batch}"]["minimum"] > 0 for batch in (50, 250, 1000))
    if "metrics, ratio" in figures:
        assert figures["largest difference of a score"]["maximum"] < 1e-6
    else:
        assert "pycocoevalcap is left out: it needs" in finished.stderr


@pytest.mark.torch
@pytest.mark.slow
def test_training_beside_the_matrix_rate(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result, _ = run("training.py", tmp_path, "--steps=2", "--runs=1", "--batch-size=2", threads=1)
    for decoder in ("lstm", "attention", "transformer"):
        assert 0 < result["figures"][f"{decoder}, share of the matrix rate"]["median"] < 1.5
        assert result["figures"][f"{decoder}, training"]["unit"] == "captions/s"
