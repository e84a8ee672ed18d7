"""Memory of reading few and many records, and tar shards beside plain files; writes data.json. See README.md.

    python benchmarks/data.py [--records 1000] [--pictures 2000]

Exit status 1 when the memory of reading grows by more than `--allowed` per cent: records are streamed, never held.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from made_up import caption_texts, write_pictures
from measure import Figure, figure, load_average, parser, positive, ratios, report, run_process, timed
from PIL import Image

from captioner.datasets.registry import open_dataset

TIMES = 100
"""How many times as many records the larger data has."""
IN_A_SHARD = 10_000
CAPTIONS_EACH = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; or, when called by itself with `--read`, read."""
    options = _parser().parse_args(argv)
    if options.read:
        _read(options.read)
        return 0
    load = load_average()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["CAPTIONER_CACHE"] = str(Path(temporary, "cache"))
        figures = {
            **measure_memory(options, Path(temporary)),
            **measure_speed(options, Path(temporary)),
        }
    settings = {
        "records": options.records,
        "captions_a_record": CAPTIONS_EACH,
        "pictures_of_records": "JPEG, 16 × 16",
        "pictures_for_speed": f"{options.pictures} JPEG, 500 × 375",
        "allowed_growth_per_cent": options.allowed,
    }
    report("data", figures, settings, threads=options.threads, load=load, out=options.out)
    too_much = [
        name for name, each in figures.items() if each["unit"] == "per cent" and each["median"] > options.allowed
    ]
    if too_much:
        print(f"more than {options.allowed:g} %: {', '.join(too_much)}", file=sys.stderr)
    return 1 if too_much else 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure memory and speed of reading pictures and captions in several layouts.")
    options.add_argument("--records", type=positive, default=1000, metavar="N", help=f"of the smaller data; × {TIMES}")
    options.add_argument("--pictures", type=positive, default=2000, metavar="N", help="in shards and in plain files")
    options.add_argument("--allowed", type=float, default=10.0, metavar="PERCENT", help="growth that is allowed")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="of each")
    options.add_argument("--read", help=argparse.SUPPRESS)
    return options


def measure_memory(options: argparse.Namespace, folder: Path) -> dict[str, Figure]:
    """Peak memory of processes that go over all records, and of `captioner doctor`, by the number of records."""
    peaks: dict[tuple[str, int], list[float]] = {}
    counts = (options.records, TIMES * options.records)
    for count in counts:
        data = _write_records(folder / str(count), count)
        doctor = ["-m", "captioner", "doctor", data["shards"], f"--threads={options.threads}", "--json"]
        commands = {
            **{f"reading {layout}": [__file__, f"--read={path}"] for layout, path in data.items()},
            "doctor, shards": doctor,
        }
        for name, command in commands.items():
            runs = 1 if name.startswith("doctor") else options.runs  # it takes a minute, and opens every picture
            peaks[name, count] = [run_process(command).peak_megabytes for _ in range(runs)]
    figures = {}
    for name in dict.fromkeys(name for name, _ in peaks):
        few, many = (peaks[name, count] for count in counts)
        figures |= {f"{name}, {count:,} records": figure(peaks[name, count], "MB") for count in counts}
        if name.startswith("doctor"):
            more = [1e6 * (above - below) / (counts[1] - counts[0]) for above, below in zip(many, few, strict=True)]
            figures[f"{name}, for each further record"] = figure(more, "bytes")
        else:
            figures[f"{name}, growth"] = figure([100 * (ratio - 1) for ratio in ratios(many, few)], "per cent")
    return figures


def measure_speed(options: argparse.Namespace, folder: Path) -> dict[str, Figure]:
    """Pictures a second of opening a data set and reading all pictures, from shards and from plain files."""
    plain, shards = folder / "plain", folder / "tar"
    paths = write_pictures(plain / "pictures", options.pictures)
    texts = _captions(options.pictures)
    shards.mkdir()
    with ExitStack() as files:
        lines = files.enter_context((plain / "all.jsonl").open("w", encoding="utf-8"))
        tars = {
            split: files.enter_context(tarfile.open(shards / f"{split}-00000.tar", "w")) for split in ("train", "dev")
        }
        for number, (path, captions) in enumerate(zip(paths, texts, strict=True)):
            split = ("train", "train", "train", "dev")[number % 4]
            lines.write(json.dumps({"image": path.name, "caption": captions, "split": split}) + "\n")
            _add_member(tars[split], path.name, path.read_bytes())
            _add_member(tars[split], f"{path.stem}.json", json.dumps({"caption": captions}).encode())
    seconds: dict[str, list[float]] = {"plain files": [], "shards": []}
    for data in (plain, shards):  # the files are in the system's memory from here on
        _read(str(data))
    for _ in range(3 * options.runs):  # each is short, and they differ
        for name, data in (("plain files", plain), ("shards", shards)):
            seconds[name].append(timed(lambda data=data: _read(str(data), pictures=True)))
    figures = {
        f"pictures read, {name}": figure([options.pictures / each for each in found], "pictures/s")
        for name, found in seconds.items()
    }
    share = [100 * ratio for ratio in ratios(seconds["plain files"], seconds["shards"])]
    figures["speed of shards, of that of plain files"] = figure(share, "% of plain files")
    return figures


def _read(data: str, *, pictures: bool = False) -> None:
    """Open a data set, and go over all its records, and over the bytes of their pictures if asked."""
    dataset = open_dataset(data)
    for split in dataset.splits:
        for record in dataset.records(split):
            if pictures:
                record.source.read_bytes()


def _captions(count: int) -> Iterator[list[str]]:
    texts = caption_texts(np.random.default_rng(0), CAPTIONS_EACH * count)
    for first in texts:
        yield [first, *(next(texts) for _ in range(CAPTIONS_EACH - 1))]


def _write_records(folder: Path, count: int) -> dict[str, Path]:
    """The same records as JSON lines, as a table and as shards, with splits; by layout, what to open."""
    pictures, shards = folder / "pictures", folder / "shards"
    pictures.mkdir(parents=True)
    shards.mkdir()
    data = {"JSON lines": folder / "all.jsonl", "a table": folder / "all.csv", "shards": shards}
    random = np.random.default_rng(0)
    with ExitStack() as files:
        lines = files.enter_context(data["JSON lines"].open("w", encoding="utf-8"))
        table = files.enter_context(data["a table"].open("w", encoding="utf-8"))
        table.write("image,caption,split\n")
        tars: dict[str, tarfile.TarFile] = {}
        for number, captions in enumerate(_captions(count)):
            content = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(content, "JPEG")
            split = ("train", "train", "train", "dev")[number % 4]
            name = f"{number:07}.jpg"
            (pictures / name).write_bytes(content.getvalue())
            lines.write(json.dumps({"image": name, "caption": captions, "split": split}) + "\n")
            table.writelines(f'{name},"{caption}",{split}\n' for caption in captions)
            shard = f"{split}-{number // IN_A_SHARD:05}.tar"
            if shard not in tars:
                tars[shard] = files.enter_context(tarfile.open(shards / shard, "w"))
            _add_member(tars[shard], name, content.getvalue())
            _add_member(tars[shard], f"{number:07}.txt", "\n".join(captions).encode())
    return data


def _add_member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    sys.exit(main())
