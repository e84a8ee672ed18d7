"""`captioner batch --engine ray` as a user types it: real clusters, whose workers, nodes and drivers are killed."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import ROOT, run, start
from test_batch import draw

BATCH = ("-m", "captioner", "batch")
RAY = ("--engine", "ray", "--shard-size", "10")
HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install '.[scale]'")
needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="workers are found in /proc")
NODES = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
node = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
for line in sys.stdin:
    if line == "remove\\n":
        cluster.remove_node(node, allow_graceful=False)
        print("removed", flush=True)
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """120 pictures, two of which are none."""
    folder = tmp_path_factory.mktemp("many") / "pictures"
    for number in range(120):
        draw(folder / f"{number % 3}" / f"{number:03}.jpg", number)
    for number in (10, 70):
        (folder / f"{number % 3}" / f"{number:03}.jpg").write_bytes(b"\xff\xd8no picture")
    return folder


@pytest.fixture(scope="module")
def expected(many, tmp_path_factory):
    """What a job on this machine says of them."""
    home = tmp_path_factory.mktemp("expected")
    run(*BATCH, many, "--out", "out.jsonl", cwd=home)
    rows = [json.loads(line) for line in (home / "out.jsonl").read_text().splitlines()]
    return {row["path"]: row for row in rows}


def rows_of(out):
    import pyarrow.parquet

    return [row for part in sorted(out.glob("part-*")) for row in pyarrow.parquet.read_table(part).to_pylist()]


def check(out, expected, errors=""):
    """Every picture once, with the caption of a job on this machine; and the bad ones with their error."""
    rows = rows_of(out)
    assert len({row["path"] for row in rows}) == len(rows) == 120, errors
    for row in rows:
        if row["path"] in expected:
            assert row["caption"] == expected[row["path"]]["caption"]
            assert row["log_prob"] == pytest.approx(expected[row["path"]]["log_prob"], abs=1e-4)
        else:
            assert (row["caption"], row["error"]["code"]) == (None, "unsupported")
    failures = [json.loads(line) for line in Path(f"{out}.failures.jsonl").read_text().splitlines()]
    assert sorted(each["path"] for each in failures) == ["1/010.jpg", "1/070.jpg"]
    assert list(Path(out).glob(".*")) == []


def workers_of(process):
    """Process ids of Ray's workers with a captioner that belong to this command: its cluster is among its children."""
    found, parents = [], {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if command.startswith(b"ray::") and b"_Actor" in command:
                found.append(int(folder.name))
    return [each for each in found if process.pid in _ancestors(each, parents)]


def _ancestors(child, parents):
    while child in parents:
        child = parents[child]
        yield child


def wait_until(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found, process.communicate(timeout=30)
    return found


def end(process, timeout=200):
    output, errors = process.communicate(timeout=timeout)
    assert "Traceback" not in errors, errors
    return output, errors


@needs_ray
@needs_proc
def test_a_worker_is_killed_and_nothing_is_lost_and_nothing_is_there_twice(many, expected, tmp_path):
    out = tmp_path / "out"
    process = start(*BATCH, many, *RAY, "--threads", "2", "--out", out, cwd=tmp_path)
    wait_until(lambda: list(out.glob("part-*")), process)
    killed = wait_until(lambda: workers_of(process), process)[0]
    os.kill(killed, signal.SIGKILL)
    output, errors = end(process)
    assert process.returncode == 1
    assert output == ""
    assert "118 captioned in " in errors
    assert "2 failed (2 × unsupported, in " in errors
    said = [line for line in errors.splitlines() if "not a picture" not in line and "was begun 2" not in line]
    assert len(said) == 1, errors  # and nothing of Ray's own
    check(out, expected)
    header = json.loads((out / "_manifest.json").read_text())
    assert header["shard_size"] == 10
    again = run(*BATCH, many, *RAY, "--out", out, cwd=tmp_path)
    assert "0 captioned in 0 shards" in again.stderr
    assert "2 failed before" in again.stderr
    assert again.returncode == 1
    beam = run(*BATCH, many, *RAY, "--beam", "1", "--out", out, cwd=tmp_path)
    assert beam.returncode == 2
    assert "was written with another options" in beam.stderr


@needs_ray
@pytest.mark.slow
def test_tar_shards_over_http_into_a_url(many, tmp_path):
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for path in sorted(many.rglob("*.jpg"))[:30]:
            tar.add(path, path.name)
    out = tmp_path / "out"
    with _serving(tmp_path) as address:
        done = run(*BATCH, f"{address}/all.tar", *RAY, "--threads", "1", "--out", f"file://{out}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "30 captioned in 1 shards" in done.stderr
    here = run(*BATCH, "all.tar", "--out", "here.jsonl", cwd=tmp_path)
    assert here.returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "here.jsonl").read_text().splitlines()]
    assert [(row["path"], row["caption"]) for row in rows_of(out)] == [(row["path"], row["caption"]) for row in lines]


@contextmanager
def _serving(folder):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_it_goes_on_where_it_was(many, expected, tmp_path, how):
    out = tmp_path / "out"
    process = start(*BATCH, many, *RAY, "--threads", "2", "--out", out, cwd=tmp_path)
    wait_until(lambda: list(out.glob("_manifest/*.jsonl")), process)
    process.send_signal(how)
    _, errors = end(process)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert errors.splitlines()[-1] == "captioner batch: stopped"
    before = sum(len(path.read_text().splitlines()) for path in out.glob("_manifest/*.jsonl"))
    assert before >= 1
    deadline = time.monotonic() + 60
    done = run(*BATCH, many, *RAY, "--out", out, cwd=tmp_path)
    while "another job is writing" in done.stderr and time.monotonic() < deadline:
        done = run(*BATCH, many, *RAY, "--out", out, cwd=tmp_path)
    assert f"{before} shards were done" in done.stderr, done.stderr
    check(out, expected, done.stderr)


@needs_ray
@pytest.mark.slow
def test_a_cluster_of_two_nodes_one_of_which_dies(many, expected, tmp_path):
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", NODES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"},
    ) as cluster:
        address = cluster.stdout.readline().strip()
        try:
            process = start(*BATCH, many, *RAY, "--ray-address", address, "--out", out, cwd=tmp_path)
            wait_until(lambda: len(list(out.glob("part-*"))) >= 3, process)
            cluster.stdin.write("remove\n")
            cluster.stdin.flush()
            assert cluster.stdout.readline() == "removed\n"
            _, errors = end(process, 250)
            assert process.returncode == 1, errors
            check(out, expected, errors)
        finally:
            cluster.stdin.close()


@needs_ray
@needs_proc
@pytest.mark.slow
def test_a_shard_that_kills_its_worker_each_time_is_given_up(many, tmp_path):
    out = tmp_path / "out"
    one = ("--engine", "ray", "--shard-size", "1000", "--threads", "1")
    process = start(*BATCH, many, *one, "--out", out, cwd=tmp_path)
    for _ in range(4):
        wait_until(lambda: list(out.glob(".unfinished-part-*")), process)
        for path in out.glob(".unfinished-part-*"):
            path.unlink()
        os.kill(workers_of(process)[0], signal.SIGKILL)
    _, errors = end(process)
    assert process.returncode == 1
    assert "was begun 4 times, and its worker died; not done" in errors
    assert "0 captioned in 0 shards" in errors
    assert "1 shards not done" in errors


def test_a_dry_run_counts_shards_and_writes_nothing(many, tmp_path):
    pytest.importorskip("fsspec", reason="wants the extra `scale`")
    done = run(*BATCH, many, *RAY, "--out", "out", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    count = len(done.stdout.splitlines())
    assert done.stderr == f"{count} shards would be captioned, 0 are done\n"
    assert 6 <= count <= 24
    assert list(tmp_path.iterdir()) == []


def test_without_ray_one_line_names_the_extra(many, tmp_path):
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "from captioner.cli.batch import main\n"
        f"sys.exit(main([{str(many)!r}, '--engine', 'ray', '--out', 'out']))"
    )
    done = run("-c", code, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "captioner batch: --engine ray needs Ray: pip install 'captioner[scale]'\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["few", "--engine", "ray", "--to", "sidecar", "--out", "x"], "--to: --engine ray writes Parquet alone"),
        (["few", "--engine", "ray", "--watch", "3", "--out", "x"], "--watch: --engine ray does not watch"),
        (["few", "--engine", "ray", "--undo"], "--undo: --engine ray has nothing to undo"),
        (["few", "--engine", "ray"], "writes a folder of Parquet files"),
        (["few", "--engine", "ray", "--out", "x.jsonl"], "writes a folder of Parquet files"),
        (["few", "few", "--engine", "ray", "--out", "x"], "wants one source"),
        (["-", "--engine", "ray", "--out", "x"], "wants one source"),
        (["few", "--engine", "ray", "--out", "x", "--existing", "append"], "here: skip or overwrite"),
        (["few", "--engine", "ray", "--out", "x", "--shard-size", "0"], "expected 1 to 1,000,000"),
        (["few", "--engine", "ray", "--out", "x", "--format", "coco"], "--format is not for --engine ray"),
        (["few", "--out", "x.jsonl", "--shard-size", "3"], "--shard-size is for many machines"),
        (["few", "--out", "x.jsonl", "--ray-address", "auto"], "--ray-address is for many machines"),
    ],
)
def test_what_does_not_go_together_is_one_line(tmp_path, arguments, reason):
    (tmp_path / "few").mkdir()
    done = run(*BATCH, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
