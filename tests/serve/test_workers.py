"""Workers that die, hang or grow take one picture with them at most, and are there again soon (S-8)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import Server, entries, picture, problem, running, until

JPEG = {"content-type": "image/jpeg"}
SHARED = Path(__file__).parents[3] / "shared" / "bad_images"


def ask(client, seed=1):
    return client.post("/v1/captions", content=picture(seed), headers=JPEG)


def test_s8_the_request_of_a_worker_that_is_killed_fails_and_the_next_succeeds(tmp_path):
    with running(tmp_path, "--workers=1") as server, server.client() as client, ThreadPoolExecutor() as pool:
        for _ in range(3):
            entries(ask(client))
            (worker,) = server.workers()
            os.kill(worker, signal.SIGSTOP)
            waiting = pool.submit(ask, client)
            until(lambda: server.metric("captioner_in_flight") == 1)
            os.kill(worker, signal.SIGKILL)
            answer = waiting.result(10)
            problem(answer, 503, "worker_lost")
            assert answer.headers["retry-after"]
            begun = time.monotonic()
            entries(ask(client))  # waits in the queue until there is a worker
            assert time.monotonic() - begun < 10
        assert server.metric("captioner_worker_restarts_total") == 3
        assert server.metric("captioner_in_flight") == 0
        assert "another is started" in server.log()


def test_s8_of_a_batch_that_a_worker_dies_over_each_picture_is_tried_alone(tmp_path):
    with running(tmp_path, "--workers=1") as server, server.client() as client, ThreadPoolExecutor() as pool:
        entries(ask(client))
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        files = [("file", picture(seed)) for seed in range(8)]
        waiting = pool.submit(client.post, "/v1/captions", files=files)
        until(lambda: server.metric("captioner_in_flight") == 1)
        os.kill(worker, signal.SIGKILL)
        assert len(entries(waiting.result(20))) == 8


def test_s8_a_worker_that_grew_too_large_is_replaced_without_a_failure(tmp_path):
    with running(tmp_path, "--workers=1", "--worker-megabytes=10") as server, server.client() as client:
        for seed in range(5):
            entries(ask(client, seed))
            time.sleep(0.4)
        assert server.metric("captioner_worker_restarts_total") >= 1
        assert "another takes its place" in server.log()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_workers_end_with_the_service_however_it_ends(tmp_path, number):
    server = Server(tmp_path, "--workers=2")
    until(lambda: len(server.workers()) == 2)
    workers = server.workers()
    server.stop(number)
    server.process.stdout.close()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5)


def test_workers_end_with_the_service_even_while_they_work(tmp_path):
    server = Server(tmp_path, "--workers=1")
    until(lambda: len(server.workers()) == 1)
    workers = server.workers()
    with ThreadPoolExecutor() as pool, server.client() as client:
        files = [("file", picture(seed, size=(2000, 2000))) for seed in range(16)]
        waiting = pool.submit(client.post, "/v1/captions?beam=20", files=files)
        until(lambda: server.metric("captioner_in_flight") == 1)
        server.stop(signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5)
        assert waiting.exception(10) is not None
    server.process.stdout.close()


def test_a_captioner_that_cannot_be_loaded_ends_the_service_with_the_reason(tmp_path):
    from captioner.bundle import PRETRAINED, load_bundle, save_bundle

    bundle = load_bundle(PRETRAINED)
    files = {name: PRETRAINED / name for name in ("encoder.onnx", "decoder_start.onnx", "decoder_step.onnx")}
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    save_bundle(
        tmp_path / "bundle", bundle.manifest, bundle.vocabulary, {**files, "encoder.onnx": tmp_path / "broken.onnx"}
    )
    command = [sys.executable, "-m", "captioner", "serve", "--port=0", "--model=bundle"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "is not a graph that ONNX Runtime can run" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def hold_mixed_requests(server, client, bad, requests):
    """Good and bad pictures in random order by 16 clients; nothing of them stays behind."""
    with ThreadPoolExecutor(16) as pool:
        ordered = [bad[number % len(bad)] for number in range(requests)]
        random.Random(1).shuffle(ordered)
        answers = list(pool.map(lambda data: client.post("/v1/captions", content=data, headers=JPEG), ordered))
    return Counter(answer.status_code for answer in answers)


def state_of(server):
    until(lambda: server.metric("captioner_in_flight") == 0)
    until(lambda: server.metric("captioner_connections") <= 1, 20)
    files = [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (server.process.pid, *server.workers())]
    return server.megabytes(), sum(files), sorted(path.name for path in server.folder.iterdir())


@pytest.mark.parametrize(
    "requests", [600, pytest.param(8000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])], ids=str
)
def test_s8_mixed_requests_leave_no_memory_files_or_connections_behind(tmp_path, requests):
    paths = [path for path in sorted(SHARED.rglob("*")) if path.is_file() and path.suffix not in (".tsv", ".md")]
    bad = [path.read_bytes() for path in paths]
    bad = [data for data in bad if 0 < len(data) < 2_000_000][:400] or [
        picture(1),
        picture(2)[:900],
        b"none",
        b"GIF89a",
    ]
    with running(tmp_path, "--workers=2", "--queue=100") as server:
        with server.client() as client:
            hold_mixed_requests(server, client, bad, max(requests // 2, 600))  # each size of picture once
        before = state_of(server)
        with server.client() as client:
            statuses = hold_mixed_requests(server, client, bad, requests)
        after = state_of(server)
        assert set(statuses) <= {200, 413, 422}
        assert after[0] - before[0] < 50
        assert after[1] <= before[1] + 2
        assert after[2] == before[2]  # no temporary files
        assert server.metric("captioner_worker_restarts_total") == 0
