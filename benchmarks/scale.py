"""What a picture costs a cluster: processor time, bytes read, bytes written; writes scale.json. See README.md.

    python benchmarks/scale.py [--pictures FOLDER] [--count 600] [--threads 2]

Rates of one core are per second of processor time, so that other work on the machine counts little. Those of Ray are
per second on the clock.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow
import pyarrow.parquet
from made_up import jpeg_files, write_pictures
from measure import Figure, figure, load_average, parser, positive, report

import captioner
from captioner.batch.cluster.parts import write_part
from captioner.batch.cluster.places import Place
from captioner.batch.cluster.ray_engine import Cluster, caption_shards, connected
from captioner.batch.cluster.reading import pictures_of
from captioner.batch.cluster.shards import Shard, find_shards
from captioner.batch.cluster.worker import Task, caption_shard, pack
from captioner.batch.walk import Which
from captioner.batch.work import Item, Outcome
from captioner.bundle import PRETRAINED
from captioner.decoding.decode import decode
from captioner.images import BytesSource, load_image

SEARCHES = {"greedy": 1, "beam 3": 3}
BATCH = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns the exit status."""
    options = parser("Measure what a picture costs a cluster.")
    options.add_argument("--pictures", type=Path, metavar="FOLDER", help="real JPEG files; default: made-up ones")
    options.add_argument("--count", type=positive, default=600, metavar="N", help="pictures of a shard")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="repetitions")
    given = options.parse_args(argv)
    load = load_average()
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        pictures = jpeg_files(given.pictures) if given.pictures else write_pictures(home / "pictures", 200)
        data = [path.read_bytes() for path, _ in zip(itertools.cycle(pictures), range(given.count), strict=False)]
        tar, parquet = write_shards(home, data)
        figures = {
            "bytes of a picture": figure([sum(map(len, data)) / len(data)], "bytes"),
            **measure_core(tar, data, given),
            **measure_reading(tar, parquet, given),
            **measure_ray(home, data, given),
        }
    settings = {
        "captioner": "the one that ships",
        "pictures": f"{len(pictures)} different ones, {'given' if given.pictures else 'made up, 500 x 375 JPEG'}",
        "pictures of a shard": given.count,
    }
    report("scale", figures, settings, threads=given.threads, load=load, out=given.out)
    return 0


def write_shards(home: Path, data: Sequence[bytes]) -> tuple[Shard, Shard]:
    """The same pictures as a tar file and as a Parquet file."""
    shards = home / "shards"
    shards.mkdir()
    write_tar(shards / "all.tar", data)
    table = pyarrow.table({"image": list(data)})
    pyarrow.parquet.write_table(table, shards / "all.parquet", row_group_size=100, write_batch_size=10)
    found = [
        find_shards(Place(str(shards / name)), Which(), 1, lambda *_: None)[0] for name in ("all.tar", "all.parquet")
    ]
    return found[0], found[1]


def write_tar(path: Path, data: Sequence[bytes]) -> None:
    """Pictures as members 000000.jpg, and so on."""
    with tarfile.open(path, "w") as tar:
        for number, content in enumerate(data):
            member = tarfile.TarInfo(f"{number:06}.jpg")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def cpu_rates(work: Callable[[], object], count: int, runs: int) -> list[float]:
    """Things done per second of processor time, of all threads of this process."""
    rates = []
    for _ in range(runs):
        began = time.process_time()
        work()
        rates.append(count / (time.process_time() - began))
    return rates


def measure_core(tar: Shard, data: Sequence[bytes], options: argparse.Namespace) -> dict[str, Figure]:
    """One core: whole shards, words alone from features that are there, and the writing of a part."""
    model, figures = captioner.load(PRETRAINED), {}
    graphs, special = model.graphs[0], model.bundle.vocabulary.special
    spec = model.bundle.manifest.preprocess
    images = [load_image(each, at_least=spec.decode_side) for each in data]
    looks = [graphs.fit(image) for image in images]
    features = graphs.see(looks[:BATCH])
    stages: dict[str, Callable[[], object]] = {
        "JPEG decoded": lambda: [load_image(each, at_least=spec.decode_side) for each in data],
        "resized": lambda: [graphs.fit(image) for image in images],
        "seen by the encoder": lambda: [graphs.see([look]) for look in looks],
    }
    for name, stage in stages.items():
        figures[f"one core, {name}"] = figure(cpu_rates(stage, len(data), options.runs), "pictures/s")
    with tempfile.TemporaryDirectory() as out:
        for name, beam in SEARCHES.items():
            config = model.bundle.manifest.decode.changed({"beam": beam, "n_best": 1})
            write = partial(decode, graphs.steps, features, config, special)
            words = cpu_rates(lambda: [write() for _ in range(50)], 50 * BATCH, options.runs)  # noqa: B023
            figures[f"one core, words from features, {name}"] = figure(words, "pictures/s")
            task = Task(out, {"beam": beam, "n_best": 1})
            whole = cpu_rates(lambda: caption_shard(tar, model, task), options.count, options.runs)  # noqa: B023
            figures[f"one core, tar to part, {name}"] = figure(whole, "pictures/s")
        record = caption_shard(tar, model, Task(out))
        figures["bytes of a row in a part"] = figure([record["part"]["size"] / record["rows"]], "bytes")
        figures["bytes of a record"] = figure([len(json.dumps(record))], "bytes")
    caption = model.caption(data[0])
    outcomes = [Outcome(Item(f"all/{number:06}", BytesSource("", b"")), caption) for number in range(20_000)]
    writing = cpu_rates(lambda: write_part(io.BytesIO(), outcomes), len(outcomes), options.runs)
    return {**figures, "one core, rows written": figure(writing, "rows/s")}


def measure_reading(tar: Shard, parquet: Shard, options: argparse.Namespace) -> dict[str, Figure]:
    """One core: pictures out of shards on a local disk that is cached, nothing done with them."""

    def read(shard: Shard) -> int:
        return sum(len(item.source.read_bytes()) for item in pictures_of(shard))

    return {
        f"one core, read from {name}": figure(cpu_rates(lambda: read(shard), options.count, options.runs), "pictures/s")  # noqa: B023
        for name, shard in (("tar", tar), ("Parquet", parquet))
    }


def measure_ray(home: Path, data: Sequence[bytes], options: argparse.Namespace) -> dict[str, Figure]:
    """On the clock: until a cluster on this machine gives its first record, and then pictures/s of all its workers."""
    source = home / "many"
    source.mkdir()
    for number in range(8 * options.threads):
        write_tar(source / f"{number:03}.tar", data[: max(1, len(data) // 8)])
    shards = find_shards(Place(str(source)), Which(), 1, lambda *_: None)
    packed, starts, rates = pack(captioner.load(PRETRAINED)), [], []
    for run in range(options.runs):
        task = Task(str(home / f"out-{run}"), {"beam": 1, "n_best": 1})
        began = time.perf_counter()
        with connected(Cluster(workers=options.threads)) as actors:
            marks = list(_timed(caption_shards(shards, packed, task, actors)))
        starts.append(marks[0][0] - began)
        rates.append(sum(rows for _, rows in marks[1:]) / max(1e-9, marks[-1][0] - marks[0][0]))
    return {
        "Ray, until the first shard is done": figure(starts, "s"),
        f"Ray, {options.threads} workers, greedy": figure(rates, "pictures/s"),
    }


def _timed(records: Iterator[dict[str, object]]) -> Iterator[tuple[float, int]]:
    for record in records:
        yield time.perf_counter(), int(str(record["rows"]))


if __name__ == "__main__":
    sys.exit(main())
