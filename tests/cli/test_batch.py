"""`captioner batch` as a user types it: whole folders, killed and gone on with, into every kind of output and back."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import run, start
from PIL import Image

BATCH = ("-m", "captioner", "batch")


def draw(path, seed, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """150 pictures, three of which are none."""
    folder = tmp_path_factory.mktemp("many") / "pictures"
    for number in range(150):
        draw(folder / f"{number % 4}" / f"{number:03}.jpg", number)
    for number in (10, 60, 110):
        (folder / f"{number % 4}" / f"{number:03}.jpg").write_bytes(b"\xff\xd8no picture" * (number != 60))
    return folder


@pytest.fixture
def few(tmp_path):
    for name in ("a.jpg", "sub/b.png", "c d.webp"):
        draw(tmp_path / "few" / name, len(name))
    return tmp_path / "few"


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_folder_to_json_lines_twice(many, tmp_path):
    first = run(*BATCH, many, "--out", "out.jsonl", cwd=tmp_path)
    assert first.returncode == 1
    assert first.stdout == ""
    assert "147 captioned → out.jsonl; 3 failed (" in first.stderr
    assert len(lines(tmp_path / "out.jsonl")) == 147
    again = run(*BATCH, many, "--out", "out.jsonl", cwd=tmp_path)
    assert "0 captioned → out.jsonl; 147 had a caption; 3 failed before" in again.stderr
    assert again.returncode == 1


def test_captions_are_those_of_the_verb_caption(few, tmp_path):
    run(*BATCH, few, "--out", "out.jsonl", cwd=tmp_path)
    alone = run("-m", "captioner", "caption", "--json", *sorted(few.rglob("*.*")), cwd=tmp_path)
    expected = {json.loads(line)["path"]: json.loads(line) for line in alone.stdout.splitlines()}
    for each in lines(tmp_path / "out.jsonl"):
        one = expected[str(few / each.pop("path"))]
        one.pop("path")
        assert each["caption"] == one["caption"]
        assert each["log_prob"] == pytest.approx(one["log_prob"], abs=1e-4)


def test_killed_twenty_times_it_ends_with_what_an_unbroken_run_writes(many, tmp_path):
    run(*BATCH, many, "--out", "whole.jsonl", cwd=tmp_path)
    chance = random.Random(1)
    killed = 0
    for _ in range(20):
        before = (tmp_path / "out.jsonl").stat().st_size if (tmp_path / "out.jsonl").exists() else 0
        process = start(*BATCH, many, "--out", "out.jsonl", cwd=tmp_path)
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:  # it has begun to write, most of the times
            grown = (tmp_path / "out.jsonl").exists() and (tmp_path / "out.jsonl").stat().st_size > before
            if grown or chance.random() < 0.01:
                break
            time.sleep(0.01)
        time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 5
    run(*BATCH, many, "--out", "out.jsonl", cwd=tmp_path)
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    failures = lines(tmp_path / "out.jsonl.failures.jsonl")
    assert len({each["path"] for each in failures}) == len(failures) == 3


@pytest.mark.parametrize("out", ["out.csv", "out.sqlite", "out.html", "out.parquet"])
def test_other_outputs(few, tmp_path, out):
    if out.endswith("parquet"):
        pytest.importorskip("pyarrow")
    for count in (3, 0):
        done = run(*BATCH, few, "--out", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert f"{count} captioned → {out}" in done.stderr
    assert (tmp_path / out).exists()


def test_texts_beside_pictures_metadata_in_them_and_all_of_it_undone(few, tmp_path):
    before = {path: path.read_bytes() for path in few.rglob("*") if path.is_file()}
    assert run(*BATCH, few, "--to", "sidecar", cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in few.rglob("*.txt")) == ["a.txt", "b.txt", "c d.txt"]
    assert run(*BATCH, few, "--to", "metadata", cwd=tmp_path).returncode == 0
    caption = (few / "a.txt").read_text().strip()
    assert caption.encode() in (few / "a.jpg").read_bytes()
    for path, data in before.items():
        assert path.read_bytes() != data
        with Image.open(path) as now:
            pixels = np.asarray(now)
        path.with_name(f"x{path.name}").write_bytes(data)
        with Image.open(path.with_name(f"x{path.name}")) as then:
            assert np.array_equal(np.asarray(then), pixels)
        path.with_name(f"x{path.name}").unlink()
    undone = run(*BATCH, few, "--undo", cwd=tmp_path)
    assert "6 changes undone, 0 left alone" in undone.stderr
    assert {path: path.read_bytes() for path in few.rglob("*") if path.is_file()} == before


def test_names_on_stdin(few, tmp_path):
    names = b"\0".join(os.fsencode(path) for path in sorted(few.rglob("*.*")))
    for arguments, given in (("--null",), names), ((), names.replace(b"\0", b"\n") + b"\n"):
        process = subprocess.run(
            [sys.executable, *BATCH, "-", "--out", "-", *arguments],
            cwd=tmp_path, input=given, capture_output=True, check=True,
        )  # fmt: skip
        found = [json.loads(line)["path"] for line in process.stdout.splitlines()]
        assert found == [path.as_posix() for path in sorted(few.rglob("*.*"))]


def test_pictures_of_tables_and_shards(few, tmp_path):
    import tarfile

    (few / "list.csv").write_text("Foto,preis\na.jpg,3\nsub/b.png,4\nnone.jpg,5\n")
    done = run(*BATCH, few / "list.csv", "--out", "table.jsonl", cwd=tmp_path)
    assert done.returncode == 1
    assert [each["path"] for each in lines(tmp_path / "table.jsonl")] == ["a.jpg", "sub/b.png"]
    assert "missing" in (tmp_path / "table.jsonl.failures.jsonl").read_text()
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for path in sorted(few.rglob("*.*")):
            tar.add(path, path.name)
    done = run(*BATCH, "all.tar", "--out", "tar.jsonl", cwd=tmp_path)
    assert [each["path"] for each in lines(tmp_path / "tar.jsonl")] == ["all/a", "all/c d", "all/b"]
    beside = run(*BATCH, "all.tar", "--to", "sidecar", cwd=tmp_path)
    assert beside.returncode == 1
    assert "can have no text beside it; write into one file, with --out" in beside.stderr


def test_a_dry_run_names_what_would_be_done_and_writes_nothing(few, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    done = run(*BATCH, few, "--out", "out.jsonl", "--dry-run", cwd=tmp_path)
    assert done.stdout.splitlines() == [str(few / name) for name in ("a.jpg", "c d.webp", "sub/b.png")]
    assert sorted(tmp_path.rglob("*")) == before
    run(*BATCH, few, "--out", "out.jsonl", "--exclude", "sub", cwd=tmp_path)
    done = run(*BATCH, few, "--out", "out.jsonl", "--dry-run", cwd=tmp_path)
    assert done.stdout.splitlines() == [str(few / "sub/b.png")]
    assert "1 would be captioned, 2 have a caption" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["nowhere"], 2, "nowhere: no such file or folder"),
        (["few"], 2, "where captions shall go is not said"),
        (["few", "--out", "x.jsonl", "--beam", "0"], 2, "beam is 0"),
        (["few", "--out", "x.jsonl", "--model", "nomodel"], 1, "there is no such folder"),
        (["few", "--out", "x.jsonl", "--watch", "0"], 2, "--watch wants seconds above 0"),
        (["few", "--out", "-", "--watch", "1"], 2, "--watch wants an output that is kept"),
        (["few", "--undo"], 2, "nothing to undo"),
        (["few", "--out", "few"], 2, "where captions shall go is not said"),
        (["few", "--to", "csv", "--out", "few"], 1, "few"),
        (["few", "--out", "x.csv", "--min-confidence", "2"], 2, "expected 0 to 1"),
    ],
)
def test_what_cannot_be_done_is_one_line(few, tmp_path, arguments, status, reason):
    done = run(*BATCH, *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_disk_that_is_full_stops_it_cleanly_and_the_same_command_goes_on(many, tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    command = [sys.executable, *BATCH, str(many), "--out", "out.jsonl"]
    stopped = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limit, check=False)
    assert stopped.returncode == 1
    assert "the same command goes on" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert 0 < len(lines(tmp_path / "out.jsonl")) < 147
    run(*BATCH, many, "--out", "out.jsonl", cwd=tmp_path)
    assert len({each["path"] for each in lines(tmp_path / "out.jsonl")}) == len(lines(tmp_path / "out.jsonl")) == 147


def test_a_reader_that_has_seen_enough_ends_it_quietly(many, tmp_path):
    process = start(*BATCH, many, "--out", "-", cwd=tmp_path)
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert "Traceback" not in errors
    assert "Broken pipe" not in errors


def test_a_folder_that_grows_is_watched_until_ctrl_c(few, tmp_path):
    out = tmp_path / "out.jsonl"
    for path in few.rglob("*.*"):
        os.utime(path, (0, 0))
    process = start(*BATCH, few, "--out", out, "--watch", "0.2", cwd=tmp_path)

    def wait_for(count):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (out.exists() and len(lines(out)) >= count):
            time.sleep(0.1)
        assert len(lines(out)) == count

    wait_for(3)
    draw(few / "new.png", 9)
    wait_for(4)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1].endswith(": stopped")
    assert "Traceback" not in errors
    assert not (tmp_path / "out.jsonl.lock").exists()


@pytest.mark.slow
def test_ten_thousand_pictures_of_which_one_in_a_hundred_is_bad(tmp_path):
    for number in range(10_000):
        path = tmp_path / "pictures" / f"{number % 10}" / f"{number:05}.png"
        draw(path, number, (8, 6))
        if number % 100 == 7:
            path.write_bytes((b"", b"\x89PNG\r\n\x1a\n", b"text", path.read_bytes()[:-30])[number // 100 % 4])
    done = run(*BATCH, "pictures", "--out", "out.jsonl", cwd=tmp_path)
    assert done.returncode == 1
    assert "9,900 captioned → out.jsonl; 100 failed (" in done.stderr
    found = lines(tmp_path / "out.jsonl")
    assert len({each["path"] for each in found}) == len(found) == 9900


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("few", "--undo", "--dry-run"), "--undo has no --dry-run"),
        (("", "--to", "metadata"), "a PATH is empty"),
        (("few", "--out", "s3://bucket/out.jsonl"), "object stores want --engine ray"),
        (("list.csv", "--out", "list.csv", "--existing", "overwrite"), "is what the pictures are read from"),
    ],
)
def test_what_would_do_harm_is_refused(few, tmp_path, arguments, says):
    (tmp_path / "list.csv").write_text("image\nfew/a.jpg\n")
    run(*BATCH, "few", "--to", "sidecar", cwd=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = run(*BATCH, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert says in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_ctrl_c_says_that_the_same_command_goes_on(many, tmp_path):
    process = start(*BATCH, many, "--out", "out.jsonl", cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not (tmp_path / "out.jsonl").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on" in errors
    assert "Traceback" not in errors


def test_a_stopped_job_over_other_pictures_is_not_gone_on_with(many, few, tmp_path):
    process = start(*BATCH, many, "--out", "out.jsonl", "--existing", "overwrite", cwd=tmp_path)
    deadline = time.monotonic() + 30
    while not ((tmp_path / "out.jsonl").exists() and (tmp_path / "out.jsonl").stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / "out.jsonl.job.json").exists()
    done = run(*BATCH, few, "--out", "out.jsonl", "--existing", "overwrite", cwd=tmp_path)
    assert "3 captioned → out.jsonl" in done.stderr
    assert sorted(each["path"] for each in lines(tmp_path / "out.jsonl")) == ["a.jpg", "c d.webp", "sub/b.png"]
