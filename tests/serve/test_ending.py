"""How the service begins and ends, and what it leaves in its log (S-15, S-16)."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers import Server, answer_of, entries, multipart, picture, problem, running, until

JPEG = {"content-type": "image/jpeg"}


def command(folder, *options):
    """`captioner serve` run to its end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    words = [sys.executable, "-m", "captioner", "serve", *options]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_s15_what_is_in_flight_is_finished_and_nothing_new_is_taken(tmp_path):
    server = Server(tmp_path, "--workers=1")
    with server.client() as client, ThreadPoolExecutor(32) as pool:
        entries(client.post("/v1/captions", content=picture(1), headers=JPEG))
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        waiting = [pool.submit(client.post, "/v1/captions", content=picture(seed), headers=JPEG) for seed in range(20)]
        until(lambda: server.metric("captioner_in_flight") == 20)
        half = server.connect()
        half.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n")  # was there before, and is not yet done
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: not accepts(server.port), 2)
        half.sendall(b"\r\n")
        status, _, body = answer_of(half)
        assert (status, json.loads(body)["code"]) == (503, "draining")
        half.close()
        assert server.process.poll() is None
        os.kill(worker, signal.SIGCONT)
        assert [len(entries(each.result(30))) for each in waiting] == [1] * 20
    assert server.process.wait(30) == 0
    server.process.stdout.close()
    assert "Traceback" not in server.log()


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_s15_a_second_signal_ends_it_at_once(tmp_path, number):
    server = Server(tmp_path, "--workers=1")
    with server.client() as client, ThreadPoolExecutor(1) as pool:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        waiting = pool.submit(client.post, "/v1/captions", content=picture(1), headers=JPEG)
        until(lambda: server.metric("captioner_in_flight") == 1)
        server.process.send_signal(number)
        until(lambda: "finishing what is in flight" in server.log())
        begun = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait(5) == 128 + number
        assert time.monotonic() - begun < 1
        assert waiting.exception(5) is not None
    os.kill(worker, signal.SIGCONT)
    until(lambda: not Path(f"/proc/{worker}").exists(), 5)
    server.process.stdout.close()


def test_s15_what_does_not_finish_in_time_is_given_up(tmp_path):
    server = Server(tmp_path, "--workers=1", "--drain-seconds=1")
    with server.client() as client, ThreadPoolExecutor(1) as pool:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        waiting = pool.submit(client.post, "/v1/captions", content=picture(1), headers=JPEG)
        until(lambda: server.metric("captioner_in_flight") == 1)
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 4
        assert waiting.exception(5) is not None or waiting.result().status_code >= 500
    server.process.stdout.close()
    assert "Traceback" not in server.log()


def test_s15_it_starts_again_at_once_where_it_was_killed(tmp_path):
    server = Server(tmp_path, "--workers=1")
    with server.client() as client:
        entries(client.post("/v1/captions", content=picture(1), headers=JPEG))
        server.stop(signal.SIGKILL)
        server.process.stdout.close()
        with running(tmp_path, f"--port={server.port}", "--workers=1", "--corrections=kept.tar") as again:
            assert again.port == server.port
    with running(tmp_path, "--workers=1", "--corrections=kept.tar") as third:
        third.stop(signal.SIGKILL)
    with running(tmp_path, "--workers=1", "--corrections=kept.tar"):
        pass


def test_a_port_that_is_taken_is_one_clear_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = command(tmp_path, f"--port={port}")
    assert ended.returncode == 2
    reason = f"cannot listen on 127.0.0.1:{port} (Address already in use)"
    assert ended.stderr == f"captioner serve: {reason}; choose another --port or --host\n"
    assert ended.stdout == ""


@pytest.mark.torch
def test_captioners_that_cannot_write_together_end_it_in_one_line(tmp_path):
    pytest.importorskip("onnx")
    from graphs import save_captioner

    ended = command(tmp_path, "--port=0", "--workers=2", "--model=pretrained", f"--model={save_captioner(tmp_path)}")
    assert ended.returncode == 1
    assert "do not have the same words" in ended.stderr
    assert "Fatal" not in ended.stderr
    assert ended.stderr.count("\n") == 3, ended.stderr  # one of each worker, and one of the service


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host=no.such.host.invalid"], "there is no such address here"),
        (["--port=70000"], "--port is 70000; expected 0"),
        (["--workers=0"], "--workers is 0"),
        (["--queue=0"], "--queue is 0; expected 1 or more"),
        (["--body-seconds=nan"], "--body-seconds is nan; expected a finite number"),
        (["--file-bytes=30000000"], "--file-bytes is 30000000; expected 1 to 20,000,000"),
        (["--beam=0"], "--beam is 0"),
        (["--allow-host=a:80"], "--allow-host a:80: expected a name"),
        (["--token-file=none"], "--token-file none: No such file"),
        (["--token-file=short"], "expected 16 to 4096 plain characters"),
        (["--corrections=short"], "--corrections short: it becomes a tar archive"),
        (["--corrections=short.tar"], "no tar file"),
        (["--corrections=/dev/full"], "--corrections /dev/full: it becomes a tar archive"),
        (["--corrections=/proc/x/y.tar"], "--corrections /proc/x/y.tar: No such file"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path, options, says):
    for name in ("short", "short.tar"):
        (tmp_path / name).write_text("secret")
    ended = command(tmp_path, "--port=0", *options)
    assert ended.returncode == 2, ended.stderr
    assert says in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert (tmp_path / "short").read_text() == "secret"


def test_a_bundle_that_is_none_is_one_line(tmp_path):
    ended = command(tmp_path, "--model=nowhere")
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "nowhere is not a bundle" in ended.stderr


def test_without_its_libraries_it_names_the_extra(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Gone:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'fastapi': raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Gone())\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    words = [sys.executable, "-m", "captioner", "serve"]
    environment = {**os.environ, "PYTHONPATH": paths}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "pip install 'captioner[serve]'" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_beyond_this_machine_without_a_token_there_is_a_warning(tmp_path):
    with running(tmp_path, "--host=0.0.0.0", "--workers=1") as server:
        assert "anybody who reaches 0.0.0.0 may use this service; see --token-file" in server.log()


LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ \d{3} [A-Z-]+ \S+ \d+ ms( \w+)? id=[\w.-]{1,64}")


def test_s16_each_bad_request_is_one_line_with_its_id_and_there_is_a_summary(tmp_path):
    bad = [b"no picture", picture(1)[:600], b"GIF89a\x1b[31mred\r\nInjected: line"]
    with running(tmp_path, "--workers=1") as server:
        ids = []
        with server.client() as client:
            for number in range(1000):
                path = "/v1/captions" if number % 2 else "/v1/captions?x=%0d%0aEvil%1b[31m"
                answer = client.post(path, content=bad[number % 3], headers=JPEG)
                assert answer.status_code == 422
                ids.append(answer.headers["x-request-id"])
        server.stop()
        lines = server.log().splitlines()
    requests = [line for line in lines if LINE.fullmatch(line)]
    assert [line.rpartition("id=")[2] for line in requests if "POST" in line] == ids
    assert len(set(ids)) == 1000
    others = [line for line in lines if not LINE.fullmatch(line)]
    summaries = [line for line in others if "refused or failed in the last" in line]
    assert sum(int(number) for line in summaries for number in re.findall(r"(\d+) × 422", line)) == 1000
    assert len(summaries) <= 4
    assert len(others) - len(summaries) <= 2
    text = server.log()
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", text)
    assert "Injected" not in text


def test_s16_ids_of_clients_are_taken_over_when_they_are_sane(tmp_path):
    with running(tmp_path, "--workers=1") as server, server.client() as client:
        for asked in ("abc-123", "a" * 64):
            assert client.get("/v1/model", headers={"x-request-id": asked}).headers["x-request-id"] == asked
        for asked in ("a" * 65, "a b", "a\tb", "<script>", "é".encode(), ""):
            given = client.get("/v1/model", headers={"x-request-id": asked}).headers["x-request-id"]
            assert re.fullmatch("[0-9a-f]{16}", given)
        body, headers = multipart(
            ('Content-Disposition: form-data; name="file"; filename="SECRETNAME"', b"SECRETBYTES")
        )
        problem(
            client.post("/v1/captions", content=body, headers={**headers, "x-request-id": "mine"}), 422, "unsupported"
        )
        server.stop()  # a request's line follows its answer
        assert "id=mine" in server.log()
        assert "SECRET" not in server.log()


def test_s16_quiet_has_no_line_for_each_request(tmp_path):
    with running(tmp_path, "--workers=1", "--quiet") as server:
        with server.client() as client:
            client.get("/v1/model")
            client.get("/nowhere")
        server.stop()
        assert "GET" not in server.log()
        assert "1 × 404 not_found" in server.log()
