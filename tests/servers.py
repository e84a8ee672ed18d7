"""Real servers for tests: `captioner serve` in a process of its own, clients, and pictures that tests make."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

ROOT = Path(__file__).parents[1]


class Server:
    """A running `captioner serve`."""

    def __init__(self, folder: Path, *options: str, wait: bool = True) -> None:
        self.folder = folder
        self.log_path = folder / f"serve-{time.monotonic_ns()}.log"
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "captioner", "serve", "--port=0", *options],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.url = ""
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until it has told its address."""
        line = self.process.stdout.readline()
        assert line.startswith("captioner serve: http://"), line + self.log()
        self.url = line.split(": ", 1)[1].strip().rstrip("/")

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8")

    def client(self, **options: Any) -> Any:
        options.setdefault("timeout", 60)
        return httpx.Client(base_url=self.url, trust_env=False, **options)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def workers(self) -> list[int]:
        """Process ids of its workers."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.process.pid and fields[0] != "Z":
                found.append(int(path.parent.name))
        return sorted(found)

    def megabytes(self) -> float:
        """Resident memory of the service and its workers."""
        pages = [Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in (self.process.pid, *self.workers())]
        return sum(map(int, pages)) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to end, and wait; returns its status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=60)


@contextmanager
def running(folder: Path, *options: str, **more: Any) -> Iterator[Server]:
    """A server for the time of a test; afterwards its log is free of tracebacks."""
    server = Server(folder, *options, **more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
        try:
            server.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        server.process.stdout.close()
        assert "Traceback" not in server.log(), server.log()


def picture(seed: int, *, size: tuple[int, int] = (160, 120), kind: str = "JPEG") -> bytes:
    """The bytes of a picture of coloured patches, another one for every seed."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (5, 6, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(stream, kind)
    return stream.getvalue()


def answer_of(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer on a raw connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError(f"closed after {data!r}")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", 0))
    while len(body) < length:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("closed within the body")
        body += piece
    return int(first.split()[1]), headers, body[:length]


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Hold an answer to be a problem of this status and code."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/problem+json"
    found = response.json()
    assert found["status"] == status
    assert found["code"] == code, found
    assert found["request_id"] == response.headers["x-request-id"]
    assert set(found) == {"type", "title", "status", "code", "detail", "request_id"}
    return found


def multipart(*parts: tuple[str, bytes], boundary: str = "xyz") -> tuple[bytes, dict[str, str]]:
    """A form by hand: the heads of its parts, and their contents."""
    body = b"".join(
        b"--" + boundary.encode() + b"\r\n" + head.encode("utf-8", "surrogateescape") + b"\r\n\r\n" + data + b"\r\n"
        for head, data in parts
    )
    return body + f"--{boundary}--\r\n".encode(), {"content-type": f"multipart/form-data; boundary={boundary}"}


def until(condition: Any, seconds: float = 10.0) -> None:
    """Wait until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.02)


def entries(response: Any) -> list[dict[str, Any]]:
    """The captions of an answer that has them."""
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = json.loads(response.content)["captions"]
    return found
