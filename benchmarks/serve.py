"""The service under load beside the bare runtime, in one run; writes serve.json. See README.md.

python benchmarks/serve.py [--pictures FOLDER] [--model DIR] [--seconds 10]

Exit status 1 when an answer was swapped or lost, or memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from made_up import jpeg_files, write_pictures
from measure import ROOT, Figure, figure, load_average, parser, positive, ratios, report, timed

import captioner

Figures = dict[str, Figure]
CLIENTS = (1, 8, 64)
AT_ONCE = 500
SWAPPABLE = 64
"""Pictures whose captions are known before; a client has one of its own."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns the exit status."""
    if argv is None and sys.argv[1:2] == ["client"]:
        print(json.dumps(asyncio.run(_clients(json.loads(sys.argv[2])))))
        return 0
    options = _parser().parse_args(argv)
    load = load_average()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = jpeg_files(options.pictures) if options.pictures else write_pictures(folder / "pictures", 200)
        paths = [path.resolve() for path in paths[:200]]
        model = captioner.load(options.model or "pretrained")
        figures = measure_rates(options, folder, paths, model)
        over, failed = measure_overload(options, folder, paths)
        same, swapped = measure_swaps(options, folder, paths, model)
        kept, grown = measure_memory(options, folder, paths)
    settings = {
        "captioner": Path(options.model).name if options.model else "the one that ships",
        "pictures": "given" if options.pictures else "made up",
        "workers": options.threads,
        "seconds": options.seconds,
        "queue": 64,
        "clients": "a process of their own on the same cores, asyncio and httpx, each waits for its answer",
    }
    figures |= over | same | kept
    report("serve", figures, settings, threads=options.threads, load=load, out=options.out)
    return 1 if failed or swapped or grown else 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure the service beside the bare runtime.")
    options.add_argument("--pictures", type=Path, metavar="FOLDER", help="real JPEG files; default: made-up ones")
    options.add_argument("--model", default="", metavar="DIR", help="bundle; default: the one that ships")
    options.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each measurement")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="repetitions of rates")
    options.add_argument("--answers", type=positive, default=10_000, metavar="N", help="compared with known captions")
    options.add_argument("--soak", type=positive, default=20_000, metavar="N", help="requests while memory is watched")
    return options


# ---- the other side: clients in a process of their own --------------------------------------------------------------


async def _clients(task: dict[str, Any]) -> dict[str, Any]:
    """So many clients, each asking again when it has its answer, for so long or so often."""
    import httpx

    pictures = [Path(path).read_bytes() for path in task["pictures"]]
    count, seconds, requests = task["clients"], task.get("seconds"), task.get("requests")
    took: list[float] = []
    statuses: Counter[int] = Counter()
    said: list[tuple[int, str]] = []
    turns = iter(range(requests or sys.maxsize))
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
    async with httpx.AsyncClient(base_url=task["url"], timeout=90, trust_env=False, limits=limits) as client:
        begun = time.perf_counter()
        end = begun + (seconds or 1e9)

        async def one() -> None:
            for turn in turns:
                if time.perf_counter() > end:
                    return
                which = turn % len(pictures)
                asked = time.perf_counter()
                headers = {"content-type": "image/jpeg"}
                answer = await client.post("/v1/captions", content=pictures[which], headers=headers)
                took.append(time.perf_counter() - asked)
                statuses[answer.status_code] += 1
                if answer.status_code == 200 and task.get("keep"):
                    (entry,) = answer.json()["captions"]
                    said.append((which, json.dumps([entry["caption"], entry["log_prob"]])))

        await asyncio.gather(*(one() for _ in range(count)))
        wall = time.perf_counter() - begun
    return {"took": took, "statuses": statuses, "said": said, "wall": wall}


def ask(url: str, paths: Sequence[Path], clients: int, **more: Any) -> dict[str, Any]:
    """Run clients to their end; what they found."""
    task = {"url": url, "pictures": [str(path) for path in paths], "clients": clients, **more}
    command = [sys.executable, str(Path(__file__).resolve()), "client", json.dumps(task)]
    found: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    found["statuses"] = {int(status): count for status, count in found["statuses"].items()}
    return found


class Serving:
    """A `captioner serve` for a while."""

    def __init__(self, options: argparse.Namespace, folder: Path, *more: str) -> None:
        words = [sys.executable, "-m", "captioner", "serve", "--port=0", "--quiet", f"--workers={options.threads}"]
        words += [f"--model={Path(options.model).resolve()}" if options.model else "--model=pretrained", *more]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._log = (folder / "serve.log").open("ab")
        begun = time.perf_counter()
        self._process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().rpartition(" ")[2].strip().rstrip("/")
        self.start_seconds = time.perf_counter() - begun

    def __enter__(self) -> Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def megabytes(self) -> float:
        """Resident memory of the service and its workers; shared pages are counted in each."""
        pids = [self._process.pid]
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = path.read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            except OSError:
                continue
            if int(parent) == self._process.pid:
                pids.append(int(path.parent.name))
        pages = (int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in pids)
        return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


# ---- what is measured -----------------------------------------------------------------------------------------------


def measure_rates(
    options: argparse.Namespace, folder: Path, paths: Sequence[Path], model: captioner.Captioner
) -> Figures:
    """Requests/s and latencies by number of clients, in turns with the bare runtime on the same pictures."""
    data = [path.read_bytes() for path in paths]
    bare: list[float] = []
    start: list[float] = []
    rates: dict[int, list[float]] = {count: [] for count in CLIENTS}
    middle: dict[int, list[float]] = {count: [] for count in CLIENTS}
    high: dict[int, list[float]] = {count: [] for count in CLIENTS}
    list(model.iter_captions(data[:20], workers=options.threads))
    for _ in range(options.runs):
        bare.append(len(data) / timed(lambda: list(model.iter_captions(data, workers=options.threads))))
        with Serving(options, folder, "--queue=64") as serving:
            start.append(serving.start_seconds)
            ask(serving.url, paths, 8, requests=50)
            for count in CLIENTS:
                found = ask(serving.url, paths, count, seconds=options.seconds)
                rates[count].append(found["statuses"][200] / found["wall"])
                middle[count].append(1000 * statistics.median(found["took"]))
                high[count].append(1000 * statistics.quantiles(found["took"], n=100)[-1])
    figures = {"bare runtime": figure(bare, "pictures/s"), "start": figure(start, "s")}
    for count in CLIENTS:
        title = f"{count} client{'s' if count > 1 else ''}"
        figures[title] = figure(rates[count], "requests/s")
        figures[f"{title}, share of the bare runtime"] = figure(ratios(rates[count], bare), "ratio")
        figures[f"{title}, p50"] = figure(middle[count], "ms")
        figures[f"{title}, p99"] = figure(high[count], "ms")
        figures[f"{title}, p99 / p50"] = figure(ratios(high[count], middle[count]), "ratio")
    return figures


def measure_overload(options: argparse.Namespace, folder: Path, paths: Sequence[Path]) -> tuple[Figures, bool]:
    """Five hundred requests at once, with the queue as it is by default: served and refused are what was sent."""
    served, refused = [], []
    for _ in range(options.runs):
        with Serving(options, folder) as serving:
            statuses = ask(serving.url, paths, AT_ONCE, requests=AT_ONCE)["statuses"]
        served.append(statuses.pop(200, 0))
        refused.append(statuses.pop(429, 0) + statuses.pop(503, 0))
        if statuses:
            print(f"serve.py: other answers than 200, 429 and 503: {statuses}", file=sys.stderr)
    figures = {f"{AT_ONCE} at once, served": figure(served, "requests"), "refused": figure(refused, "requests")}
    return figures, any(one + other != AT_ONCE for one, other in zip(served, refused, strict=True))


def measure_swaps(
    options: argparse.Namespace, folder: Path, paths: Sequence[Path], model: captioner.Captioner
) -> tuple[Figures, bool]:
    """Each answer is that of its own picture."""
    paths = paths[:SWAPPABLE]
    known = [model.caption(path) for path in paths]
    right = [json.dumps([caption.text, round(caption.log_prob, 6)]) for caption in known]
    with Serving(options, folder, "--queue=64") as serving:
        found = ask(serving.url, paths, SWAPPABLE, requests=options.answers, keep=True)
    swapped = sum(said != right[which] for which, said in found["said"])
    lost = options.answers - len(found["said"])
    figures = {"answers compared": figure([len(found["said"])], "answers"), "swapped": figure([swapped], "answers")}
    return figures, bool(swapped or lost)


def measure_memory(options: argparse.Namespace, folder: Path, paths: Sequence[Path]) -> tuple[Figures, bool]:
    """Memory of all processes after a twentieth of the requests, and at the end."""
    with Serving(options, folder, "--queue=64") as serving:
        warm = max(options.soak // 20, 1)
        ask(serving.url, paths, 32, requests=warm)
        before = serving.megabytes()
        ask(serving.url, paths, 32, requests=options.soak - warm)
        after = serving.megabytes()
    figures = {
        f"memory after {warm:,} requests": figure([before], "MB"),
        f"memory after {options.soak:,} requests": figure([after], "MB"),
    }
    return figures, after > max(1.05 * before, before + 10)


if __name__ == "__main__":
    sys.exit(main())
