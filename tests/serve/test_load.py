"""More requests than can be worked on: each gets an answer, soon, and health stays known (S-5, S-6, S-7)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter

import pytest
from servers import Server, answer_of, entries, httpx, picture, problem, running, until

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("serve"), "--workers=2") as found:
        yield found


async def all_at_once(url, count, data, health=None):
    """Answers of so many requests that are sent together, with the seconds that each took."""
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, timeout=90, trust_env=False, limits=limits) as client:

        async def one():
            begun = time.monotonic()
            answer = await client.post("/v1/captions", content=data, headers=JPEG)
            return answer, time.monotonic() - begun

        tasks = [asyncio.create_task(one()) for _ in range(count)]
        if health is not None:
            while not all(task.done() for task in tasks):
                begun = time.monotonic()
                assert (await asyncio.to_thread(quick, url, "/healthz")) == 200
                health.append(time.monotonic() - begun)
                await asyncio.sleep(0.02)
        return await asyncio.gather(*tasks)


def quick(url, path):
    """A request by hand on a connection of its own; its status."""
    port = int(url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        return answer_of(connection)[0]


@pytest.mark.parametrize("count", [50, 500])
def test_s5_all_that_is_sent_is_served_or_refused(server, count):
    health = []
    answers = asyncio.run(all_at_once(server.url, count, picture(1), health))
    found = Counter(answer.status_code for answer, _ in answers)
    assert found[200] + found[429] + found[503] == count
    assert found[200] >= 34  # what there is room for at once
    for answer, _ in answers:
        if answer.status_code != 200:
            problem(answer, answer.status_code, "busy")
            assert int(answer.headers["retry-after"]) >= 1
        else:
            entries(answer)
    until(lambda: server.metric("captioner_in_flight") == 0)
    assert server.metric("captioner_buffered_bytes") == 0


def test_s5_the_places_are_workers_and_queue_and_refusing_is_quick(tmp_path):
    """Workers that stand still: exactly so many requests are let in, and one more is refused at once."""
    with running(tmp_path, "--workers=1", "--queue=5") as server, server.client() as client:
        entries(client.post("/v1/captions", content=picture(1), headers=JPEG))
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        data = picture(1)
        head = (f"POST /v1/captions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: image/jpeg\r\n"
                f"Content-Length: {len(data)}\r\n\r\n").encode()  # fmt: skip
        inside = [server.connect() for _ in range(6)]
        for connection in inside:
            connection.sendall(head + data)
        until(lambda: server.metric("captioner_in_flight") == 6)
        for _ in range(5):
            begun = time.monotonic()
            problem(client.post("/v1/captions", content=data, headers=JPEG), 429, "busy")
            assert time.monotonic() - begun < 0.1
        health = []
        for _ in range(50):
            begun = time.monotonic()
            assert client.get("/healthz").status_code == 200
            health.append(time.monotonic() - begun)
        assert max(health) < 0.1
        os.kill(worker, signal.SIGCONT)
        for connection in inside:
            assert answer_of(connection)[0] == 200
            connection.close()


def test_s5_a_body_that_is_refused_unread_does_not_cost_the_answer(tmp_path):
    """A client that is sending megabytes when it is refused still reads why."""
    (tmp_path / "token").write_text("0123456789abcdef")
    with running(tmp_path, "--workers=1", "--token-file=token") as server, server.client() as client:
        for _ in range(2):
            answer = client.post("/v1/captions", content=bytes(15_000_000), headers=JPEG)
            problem(answer, 401, "unauthorized")


def test_s5_bodies_of_all_requests_together_are_bounded(tmp_path):
    with running(tmp_path, "--workers=1", "--buffered-bytes=3000000") as server, server.client() as client:
        problem(client.post("/v1/captions", content=bytes(4_000_000), headers=JPEG), 503, "overloaded")
        until(lambda: server.metric("captioner_buffered_bytes") == 0)
        entries(client.post("/v1/captions", content=picture(1), headers=JPEG))


def test_s5_connections_beyond_the_limit_are_told_so(tmp_path):
    with running(tmp_path, "--workers=1", "--connections=5") as server:
        held = [server.connect() for _ in range(5)]
        with server.connect() as connection:
            status, headers, body = answer_of(connection)
        assert (status, json.loads(body)["code"], headers["retry-after"]) == (503, "overloaded", "1")
        for connection in held:
            connection.close()
        until(lambda: quick(server.url, "/healthz") == 200)


def test_s7_ready_only_when_the_captioner_is_loaded(tmp_path):
    """Asked from the first moment on: refused, alive, ready, in this order and never back."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(tmp_path, f"--port={port}", "--workers=1", wait=False)
    try:
        seen = []
        end = time.monotonic() + 30
        while "ready" not in seen and time.monotonic() < end:
            try:
                live, status = (
                    quick(f"http://127.0.0.1:{port}", "/healthz"),
                    quick(f"http://127.0.0.1:{port}", "/readyz"),
                )
            except OSError:
                continue
            assert live == 200
            seen.append({200: "ready", 503: "not yet"}[status])
        assert seen[0] == "not yet"
        assert seen[-1] == "ready"
    finally:
        server.process.terminate()
        assert server.process.wait(30) == 0
        server.process.stdout.close()


def test_health_is_known_while_500_ask(server):
    health = []
    asyncio.run(all_at_once(server.url, 100, picture(2), health))
    until(lambda: quick(server.url, "/readyz") == 200)
    assert sorted(health)[int(0.9 * len(health))] < 0.5  # beside a client in Python on the same two cores


def test_a_client_that_is_killed_in_the_middle_leaves_nothing_behind(server):
    code = (
        "import asyncio, httpx, sys\n"
        "async def main():\n"
        "    async with httpx.AsyncClient(base_url=sys.argv[1], timeout=60) as client:\n"
        "        data = open(sys.argv[2], 'rb').read()\n"
        "        while True:\n"
        "            await asyncio.gather(*(client.post('/v1/captions', content=data,"
        " headers={'content-type': 'image/jpeg'}) for _ in range(30)))\n"
        "asyncio.run(main())"
    )
    path = server.folder / "picture.jpg"
    path.write_bytes(picture(3))
    process = subprocess.Popen([sys.executable, "-c", code, server.url, str(path)])
    until(lambda: server.metric("captioner_in_flight") > 5, 20)
    process.kill()
    process.wait()
    until(lambda: server.metric("captioner_in_flight") == 0, 20)
    assert server.metric("captioner_buffered_bytes") == 0
