"""Slow clients are let go of, and cost others nothing (S-4); slow work ends too (S-6)."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from servers import answer_of, entries, picture, problem, running, until

JPEG = {"content-type": "image/jpeg"}
SLOW = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """With deadlines of seconds; the real ones are in the slow form."""
    options = ("--header-seconds=2", "--body-seconds=3", "--request-seconds=6", "--workers=1")
    with running(tmp_path_factory.mktemp("serve"), *options) as found:
        yield found


def lives_of(server, first, seconds):
    """How long each of many connections lives that say `first` and then a byte a second, and what they were told."""
    selector, sockets = selectors.DefaultSelector(), {}
    for _ in range(SLOW):
        connection = server.connect()
        connection.sendall(first)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
        sockets[connection] = time.monotonic()
    lives, told, begun = [], [], time.monotonic()
    while sockets and time.monotonic() < begun + seconds + 5:
        for key, _ in selector.select(0.05):
            connection = key.fileobj
            try:
                said = connection.recv(65536)
            except ConnectionResetError:
                said = b""
            told.append(said)
            if not said or b"408" in said:
                selector.unregister(connection)
                lives.append(time.monotonic() - sockets.pop(connection))
                connection.close()
        for connection, since in sockets.items():
            if int(time.monotonic() - since) != int(time.monotonic() - since - 0.05):
                with suppress(OSError):
                    connection.send(b"x")
    assert not sockets, f"{len(sockets)} connections were never ended"
    return lives, told


def seconds_of(server, count):
    """Seconds of each of some ordinary requests, one after the other."""
    found = []
    with server.client() as client:
        for seed in range(count):
            begun = time.monotonic()
            entries(client.post("/v1/captions", content=picture(seed), headers=JPEG))
            found.append(time.monotonic() - begun)
    return found


def hold_slow_clients(server, header_seconds, body_seconds):
    seconds_of(server, 3)
    p95 = statistics.quantiles(seconds_of(server, 20), n=20)[-1]
    host = f"Host: 127.0.0.1:{server.port}".encode()
    headers = b"POST /v1/captions HTTP/1.1\r\n" + host + b"\r\nX-Slow: "
    body = (b"POST /v1/captions HTTP/1.1\r\n" + host + b"\r\n"
            b"Content-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\n")  # fmt: skip
    for first, limit in ((headers, header_seconds), (body, body_seconds)):
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(lives_of, server, first, limit)
            time.sleep(0.5)
            beside = statistics.quantiles(seconds_of(server, 20), n=20)[-1]
            lives, told = slow.result()
        assert len(lives) == SLOW
        assert max(lives) < limit + 1.5
        assert beside < 2 * p95 + 0.1
        if first is body:
            assert sum(b" 408 " in said for said in told) == SLOW
    until(lambda: server.metric("captioner_connections") == 1)
    assert server.metric("captioner_buffered_bytes") == 0


def test_s4_connections_that_are_slow_to_say_what_they_want_are_ended_and_others_served(server):
    hold_slow_clients(server, 2, 3)


@pytest.mark.slow
def test_s4_the_same_with_the_deadlines_as_they_are(tmp_path):
    with running(tmp_path, "--workers=1") as server:
        hold_slow_clients(server, 15, 30)


def test_s4_a_connection_that_says_nothing_is_closed(server):
    with server.connect() as connection:
        begun = time.monotonic()
        assert connection.recv(1) == b""
        assert 1 < time.monotonic() - begun < 4


def test_s4_headers_that_are_too_long_are_refused(server):
    with server.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000)
        status, headers, body = answer_of(connection)
    assert (status, json.loads(body)["code"]) == (400, "bad_request")
    assert headers["x-request-id"]


@pytest.mark.parametrize(
    "nonsense",
    [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
     b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", b"\r\n" * 200 + b"x\r\n\r\n"],
    ids=["tls", "one word", "9.9", "http2", "two lengths", "gzip", "lines"],
)  # fmt: skip
def test_what_is_no_http_gets_an_answer_too(server, nonsense):
    with server.connect() as connection:
        connection.sendall(nonsense)
        connection.settimeout(4)
        status, _, body = answer_of(connection)
    assert status in (400, 501)
    assert json.loads(body)["code"] in ("bad_request", "bad_host")


def test_s6_work_that_takes_too_long_is_504_and_later_work_succeeds(tmp_path):
    options = ("--workers=1", "--request-seconds=2", "--body-seconds=2", "--worker-seconds=3")
    with running(tmp_path, *options) as server, server.client() as client:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)  # a model call that never ends
        begun = time.monotonic()
        problem(client.post("/v1/captions", content=picture(1), headers=JPEG), 504, "timeout")
        assert 1.5 < time.monotonic() - begun < 3
        assert server.metric("captioner_in_flight") == 0
        until(lambda: client.get("/readyz").status_code == 503, 5)  # it was ended
        until(lambda: client.get("/readyz").status_code == 200)
        assert server.workers() != [worker]
        entries(client.post("/v1/captions", content=picture(1), headers=JPEG))


def test_s6_requests_of_clients_that_left_are_dropped_from_the_queue(tmp_path):
    with running(tmp_path, "--workers=1") as server:
        seconds_of(server, 1)
        pictures = server.metric("captioner_batch_pictures_sum")
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        data = picture(1)
        head = (f"POST /v1/captions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: image/jpeg\r\n"
                f"Content-Length: {len(data)}\r\n\r\n").encode()  # fmt: skip
        leaving = []
        for _ in range(12):
            leaving.append(server.connect())
            leaving[-1].sendall(head + data)
        until(lambda: server.metric("captioner_in_flight") == 12)
        for connection in leaving[:6]:
            connection.close()
        for connection in leaving[6:]:  # as a crash does it
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        until(lambda: server.metric("captioner_in_flight") == 0)
        until(lambda: server.metric("captioner_queue_length") == 0)
        os.kill(worker, signal.SIGCONT)
        seconds_of(server, 1)
        assert server.metric("captioner_batch_pictures_sum") - pictures <= 10  # the rest was never worked on
        assert server.workers() == [worker]
        assert server.log().count("client_left") == 12
