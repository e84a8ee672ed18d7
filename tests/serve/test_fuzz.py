"""Requests made up from the schema, and bytes made up at random: no crash, no failure of the service (S-14)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time

import pytest
from servers import entries, multipart, picture, running

JPEG = {"content-type": "image/jpeg"}


def hold_schema_fuzz(server, examples, seconds):
    """A real run of schemathesis; whatever it finds beside failures of the service is its opinion."""
    pytest.importorskip("schemathesis")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--checks=not_a_server_error"),
        *(
            f"--max-examples={examples}",
            "--generation-deterministic",
            "--phases=examples,coverage,fuzzing",
            "--no-color",
        ),
    ]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, cwd=server.folder, env=environment, check=False
    )
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
    assert " passed" in ended.stdout or "No issues found" in ended.stdout, ended.stdout[-2000:]


@pytest.mark.parametrize(
    "examples", [5, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])], ids=str
)
def test_s14_requests_made_up_from_the_schema(tmp_path, examples):
    with running(tmp_path, "--workers=1", "--corrections=kept.tar", "--queue=200") as server:
        hold_schema_fuzz(server, examples, 1100)
        hold_alive(server)


def hold_alive(server):
    assert server.process.poll() is None
    assert " 500 " not in server.log(), [line for line in server.log().splitlines() if " 500 " in line][:3]
    assert "internal error" not in server.log()
    with server.client() as client:
        entries(client.post("/v1/captions", content=picture(0), headers=JPEG))
    assert server.metric("captioner_in_flight") == 0
    assert server.metric("captioner_worker_restarts_total") == 0


def mutated(random_, data):
    """Bits flipped, parts cut, doubled, or put in from nowhere."""
    changed = bytearray(data)
    for _ in range(random_.randint(1, 8)):
        at = random_.randrange(len(changed))
        kind = random_.randrange(4)
        if kind == 0:
            changed[at] ^= 1 << random_.randrange(8)
        elif kind == 1:
            del changed[at : at + random_.randint(1, 40)]
        elif kind == 2:
            changed[at:at] = changed[at : at + random_.randint(1, 40)]
        else:
            changed[at:at] = random_.choice(
                [b"\r\n", b"\r\n\r\n", b"\0", b"--xyz", b"\xff" * 9, b":", b"9" * 30, b"; "]
            )
        changed = changed or bytearray(b"x")
    return bytes(changed)


@pytest.mark.parametrize("seconds", [8, pytest.param(600, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=str)
def test_s14_requests_with_bytes_changed_anywhere(tmp_path, seconds):
    small = picture(1, size=(24, 18))
    form, headers = multipart(('Content-Disposition: form-data; name="file"; filename="x.jpg"', small))
    with running(tmp_path, "--workers=1", "--body-seconds=1", "--header-seconds=1", "--request-seconds=5") as server:
        host = f"Host: 127.0.0.1:{server.port}\r\n"
        picture_ = "Content-Type: image/jpeg"
        heads = [f"POST /v1/captions HTTP/1.1\r\n{host}{rest}\r\n\r\n".encode() for rest in (
            f"{picture_}\r\nContent-Length: {len(small)}",
            f"Content-Type: {headers['content-type']}\r\nContent-Length: {len(form)}",
            f"{picture_}\r\nTransfer-Encoding: chunked",
        )]  # fmt: skip
        chunked = f"{len(small):x}\r\n".encode() + small + b"\r\n0\r\n\r\n"
        several = f"GET /v1/model HTTP/1.1\r\n{host}Origin: http://127.0.0.1\r\nX-Request-ID: a\r\n\r\n".encode() * 3
        seeds = [heads[0] + small, heads[1] + form, heads[2] + chunked, several]
        random_, end, sent = random.Random(1), time.monotonic() + seconds, 0
        while time.monotonic() < end:
            with server.connect() as connection:
                connection.settimeout(0.2)
                try:
                    connection.sendall(mutated(random_, random_.choice(seeds)))
                    connection.shutdown(1)
                    while connection.recv(65536):
                        pass
                except OSError:
                    pass
            sent += 1
        assert sent > 5 * seconds
        hold_alive(server)


def test_the_page_of_the_schema_is_valid(tmp_path):
    schemathesis = pytest.importorskip("schemathesis")
    with running(tmp_path, "--workers=1") as server:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        schema.validate()
        assert len(list(schema.get_all_operations())) == 9
