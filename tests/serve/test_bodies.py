"""Bodies and their types: whatever a client sends ends in an answer, soon, in little memory (S-1, S-2, S-3)."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest
from servers import answer_of, entries, multipart, picture, problem, running

SHARED = Path(__file__).parents[3] / "shared" / "bad_images"
JPEG = {"content-type": "image/jpeg"}
CAP = 20_000_000
FILE = 'Content-Disposition: form-data; name="file"; filename="x.jpg"'


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("serve"), "--workers=1", "--idle-seconds=5") as found:
        with found.client() as client:
            entries(client.post("/v1/captions", content=picture(0), headers=JPEG))
        yield found


def head(server, *lines):
    return "\r\n".join([f"POST /v1/captions HTTP/1.1\r\nHost: 127.0.0.1:{server.port}", *lines, "", ""]).encode()


def sent_until_answered(connection, pieces, most):
    """How many bytes were sent until the other side had answered or would take no more."""
    connection.setblocking(False)
    sent, end = 0, time.monotonic() + 30
    for piece in pieces:
        left = memoryview(piece)
        while left and sent < most and time.monotonic() < end:
            try:
                count = connection.send(left)
            except BlockingIOError:
                try:
                    if connection.recv(1, 2):  # a look, which takes nothing away
                        connection.setblocking(True)
                        return sent
                except BlockingIOError:
                    time.sleep(0.001)
                continue
            except OSError:
                break
            sent, left = sent + count, left[count:]
    connection.settimeout(10)
    return sent


def test_s1_a_body_that_announces_too_much_is_refused_before_it_comes(server):
    with server.connect() as connection:
        connection.sendall(head(server, "Content-Type: image/jpeg", "Content-Length: 1000000000"))
        begun = time.monotonic()
        status, _, body = answer_of(connection)
    assert (status, json.loads(body)["code"]) == (413, "too_large")
    assert time.monotonic() - begun < 1


def test_s1_a_gigabyte_in_chunks_is_refused_at_the_limit_in_little_memory(server):
    before = server.megabytes()
    most = before
    chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
    with server.connect() as connection:
        connection.sendall(head(server, "Content-Type: image/jpeg", "Transfer-Encoding: chunked"))
        sent = sent_until_answered(connection, (chunk for _ in range(1024)), 2**30)
        most = max(most, server.megabytes())
        status, _, body = answer_of(connection)
    assert (status, json.loads(body)["code"]) == (413, "too_large")
    assert sent < CAP + 2**20 + 16 * 2**20  # what the system holds on both ends comes on top
    assert most - before < 64
    until_given_back(server)


def until_given_back(server):
    assert server.metric("captioner_buffered_bytes") == 0
    assert server.metric("captioner_in_flight") == 0


def test_s1_a_lying_length_is_an_error_and_not_a_hang(server):
    data = picture(1)
    with server.connect() as connection:
        connection.sendall(head(server, "Content-Type: image/jpeg", f"Content-Length: {len(data) + 10}") + data)
        connection.shutdown(1)  # no more comes
        connection.settimeout(5)
        assert connection.recv(100) == b""  # nobody waits for an answer
    with server.connect() as connection:  # less than it sends: the rest is no request
        connection.sendall(head(server, "Content-Type: image/jpeg", f"Content-Length: {len(data) - 10}") + data)
        assert answer_of(connection)[0] == 422
        connection.settimeout(8)
        assert connection.recv(100) == b""
    until_given_back(server)


def test_s1_a_body_in_crumbs_is_refused(server):
    """Three megabytes in chunks of six bytes overflowed a stack elsewhere."""
    crumbs = b"6\r\nabcdef\r\n" * 500_000
    with server.connect() as connection:
        connection.sendall(head(server, "Content-Type: image/jpeg", "Transfer-Encoding: chunked"))
        sent_until_answered(connection, [crumbs], len(crumbs))
        status, _, body = answer_of(connection)
    assert (status, json.loads(body)["code"]) == (400, "bad_request")
    with server.client() as client:
        entries(client.post("/v1/captions", content=picture(0), headers=JPEG))


def test_s1_a_picture_in_ordinary_chunks_is_captioned(server):
    data = picture(2)
    with server.client() as client:
        entries(client.post("/v1/captions", content=iter([data[:700], data[700:]]), headers=JPEG))


def test_s1_compressed_bodies_are_not_unpacked(server):
    bomb = gzip.compress(bytes(50_000_000))
    with server.client() as client:
        for encoding in ("gzip", "br", "deflate, gzip"):
            answer = client.post("/v1/captions", content=bomb, headers={**JPEG, "content-encoding": encoding})
            problem(answer, 415, "content_encoding")
        entries(client.post("/v1/captions", content=picture(0), headers={**JPEG, "content-encoding": "identity"}))


def test_s1_file_parts_have_the_same_limit(server):
    body, headers = multipart((FILE, bytes(CAP + 1)))
    with server.client() as client:
        problem(client.post("/v1/captions", content=body, headers=headers), 413, "too_large")
        problem(client.post("/v1/captions", content=iter([body]), headers=headers), 413, "too_large")
        largest = client.post("/v1/captions", files=[("file", bytes(CAP))])
        problem(largest, 422, "unsupported")
        assert client.post("/v1/captions", content=bytes(CAP), headers=JPEG).json()["code"] == "unsupported"
    until_given_back(server)


@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        ([(FILE, b"x")] * 10_001, 413, "too_many_files"),
        ([(FILE, b"x")] * 17, 413, "too_many_files"),
        ([(f"{FILE}\r\nX: {'a' * 1_000_000}", b"x")], 400, "multipart"),
        ([(FILE + "".join(f"\r\nX-{n}: y" for n in range(20)), b"x")], 400, "multipart"),
        ([('Content-Disposition: form-data; name="other"', b"x")], 400, "unknown_field"),
        ([("Content-Disposition: attachment", b"x")], 400, "unknown_field"),
        ([("Content-Type: image/jpeg", b"x")], 400, "unknown_field"),
        ([], 400, "no_file"),
        ([("no header at all", b"x")], 400, "multipart"),
        ([('Content-Disposition: form-data; name="file"\r\nContent-Type: multipart/mixed; boundary=in', b"--in--")],
         422, "unsupported"),
    ],
    ids=["10001", "17", "large header", "many headers", "other field", "attachment", "no name", "none", "no colon",
         "nested"],
)  # fmt: skip
def test_s2_forms_with_too_much_or_too_little(server, parts, status, code):
    body, headers = multipart(*parts)
    begun = time.monotonic()
    with server.client() as client:
        problem(client.post("/v1/captions", content=body, headers=headers), status, code)
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'b' * 71}"],
)
def test_s2_a_form_without_a_usable_boundary(server, content_type):
    with server.client() as client:
        problem(client.post("/v1/captions", content=b"--x", headers={"content-type": content_type}), 400, "multipart")


@pytest.mark.parametrize("cut", [10, 60, 200, -3])
def test_s2_a_form_that_breaks_off(server, cut):
    body, headers = multipart((FILE, picture(1)))
    with server.client() as client:
        answer = client.post("/v1/captions", content=body[:cut] if cut > 0 else body[:-8], headers=headers)
        problem(answer, 400, "multipart")


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "/etc/passwd", "a\x00b", "a\\..\\b", "x" * 3000, "näme.jpg", "\udcff\udcfe.jpg"]
)
def test_s2_names_of_uploads_are_not_looked_at(server, name, tmp_path):
    before = sorted(server.folder.iterdir())
    body, headers = multipart((f'Content-Disposition: form-data; name="file"; filename="{name}"', picture(7)))
    with server.client() as client:
        answer = client.post("/v1/captions", content=body, headers=headers)
    assert entries(answer)[0]["error"] is None
    assert name not in answer.text
    assert sorted(server.folder.iterdir()) == before


def test_s2_a_name_of_ten_thousand_characters_and_one_with_a_line_break(server):
    for name in ("x" * 10_000, "a\r\nX-Evil: 1"):
        body, headers = multipart((f'Content-Disposition: form-data; name="file"; filename="{name}"', picture(7)))
        with server.client() as client:
            answer = client.post("/v1/captions", content=body, headers=headers)
        assert answer.status_code in (200, 400)
        assert "x-evil" not in answer.headers


def test_s2_a_route_for_one_picture_takes_no_form(server):
    with server.client() as client:
        problem(client.post("/v1/explanations", files=[("file", picture(1)), ("file", picture(2))]), 415, "media_type")


@pytest.mark.parametrize(
    ("content_type", "data", "status", "code"),
    [
        ("application/json", b'{"file": "x"}', 415, "media_type"),
        ("text/plain", b"hello", 415, "media_type"),
        (None, b"\xff\xd8", 415, "media_type"),
        ("", b"\xff\xd8", 415, "media_type"),
        ("image/png", b"this is text", 422, "unsupported"),
        ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "unsupported"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=1" % n for n in range(100_000)), 415, "media_type"),
        ("image/jpeg", b"", 422, "corrupt"),
        ("\xff\xfe/\x80", b"x", 415, "media_type"),
    ],
)
def test_s3_types_of_bodies(server, content_type, data, status, code):
    headers = {} if content_type is None else {"content-type": content_type.encode("latin-1")}
    with server.client() as client:
        problem(client.post("/v1/captions", content=data, headers=headers), status, code)


def test_s3_two_types_are_none(server):
    with server.client() as client:
        answer = client.post("/v1/captions", content=picture(1), headers=[("content-type", "image/jpeg")] * 2)
        problem(answer, 415, "media_type")


@pytest.mark.skipif(not SHARED.exists(), reason="the corpus of bad pictures is not here")
def test_every_picture_of_the_corpus_has_the_verdict_of_the_decoder(server):
    """The same as `captioner.images` gives, and nothing of it is a failure of the service."""
    from captioner.errors import ImageError
    from captioner.images import decode_image

    paths = [path for path in sorted(SHARED.rglob("*")) if path.is_file() and path.suffix not in (".tsv", ".md")]
    with server.client() as client:
        for path in paths[::4]:
            data = path.read_bytes()
            answer = client.post("/v1/captions", content=data, headers=JPEG)
            try:
                decode_image(data, at_least=288)
                verdict = None
            except ImageError as error:
                verdict = error.code
            if verdict is None:
                assert entries(answer)[0]["error"] is None, path
            else:
                problem(answer, 413 if verdict == "too_large" else 422, verdict)
