"""Who is answered: names, origins, tokens; nothing is fetched, nothing administered (S-10 to S-13)."""

from __future__ import annotations

import http.server
import json
import threading

import pytest
from servers import answer_of, entries, multipart, picture, problem, running

JPEG = {"content-type": "image/jpeg"}
TOKEN = "a-token-of-24-characters"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("serve"), "--workers=1", "--allow-host=captions.example") as found:
        yield found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    (folder / "token").write_text(TOKEN + "\n")
    with running(folder, "--workers=1", "--token-file=token") as found:
        yield found


def test_s10_addresses_are_never_fetched(server):
    asked = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as listener, server.client() as client:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{listener.server_port}/picture.jpg"
        form = f'Content-Disposition: form-data; name="file"; filename="{url}"'
        for data in (url.encode(), b"file:///etc/passwd", b"data:image/png;base64,aaaa", f"@{url}".encode()):
            problem(client.post("/v1/captions", content=data, headers=JPEG), 422, "unsupported")
            body, headers = multipart((form, data))
            problem(client.post("/v1/captions", content=body, headers=headers), 422, "unsupported")
        problem(client.post("/v1/captions", json={"url": url}), 415, "media_type")
        problem(client.post(f"/v1/captions?url={url}", content=picture(1), headers=JPEG), 422, "config")
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>'.encode()
        problem(client.post("/v1/captions", content=svg, headers={"content-type": "image/svg+xml"}), 422, "unsupported")
        body, headers = multipart(('Content-Disposition: form-data; name="url"', url.encode()))
        problem(client.post("/v1/captions", content=body, headers=headers), 400, "unknown_field")
        listener.shutdown()
    assert asked == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost:1", ""]
)
def test_s11_nothing_that_a_page_of_another_site_sent_is_answered(server, method, origin):
    with server.client() as client:
        answer = client.request(method, "/v1/captions", headers={"origin": origin})
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert client.request(method, "/v1/captions").headers.get("access-control-allow-origin") is None


def test_s11_what_its_own_page_sends_is_answered(server):
    own = {"origin": server.url, "sec-fetch-site": "same-origin"}
    with server.client() as client:
        entries(client.post("/v1/captions", content=picture(1), headers={**JPEG, **own}))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "cross-site, none"])
def test_s11_browsers_say_where_a_request_comes_from(server, site):
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
    with server.client() as client:
        for path in ("/v1/model", "/", "/v1/captions", "/metrics"):
            problem(client.get(path, headers=headers), 403, "foreign_origin")
        link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate"}
        assert client.get("/", headers=link).status_code == 200  # somebody followed a link
        problem(client.get("/v1/model", headers=link), 403, "foreign_origin")
        problem(client.post("/", headers=link), 403, "foreign_origin")


@pytest.mark.parametrize("path", ["/", "/v1/model", "/healthz", "/metrics", "/nowhere"])
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "[::2]", "0.0.0.0", "a b", "", "127.0.0.1:80:80",
     "user@127.0.0.1", "2130706433", "127.1"],
)  # fmt: skip
def test_s11_foreign_names_are_not_answered(server, path, host):
    """What a page reaches that has had its own name rebound to 127.0.0.1."""
    with server.client() as client:
        problem(client.get(path, headers={"host": host}), 400, "bad_host")


def test_s11_two_hosts_or_none_are_refused(server):
    for lines in ("Host: localhost\r\nHost: localhost\r\n", ""):
        with server.connect() as connection:
            connection.sendall(f"GET /v1/model HTTP/1.1\r\n{lines}\r\n".encode())
            status, _, body = answer_of(connection)
        assert (status, json.loads(body)["code"] in ("bad_host", "bad_request")) == (400, True)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1", "[::1]", "captions.example", "Captions.Example:443"]
)
def test_s11_its_own_names_are_answered(server, host):
    with server.client() as client:
        assert client.get("/v1/model", headers={"host": host}).status_code == 200


def test_s11_it_listens_on_this_machine_alone(server):
    assert server.url.startswith("http://127.0.0.1:")


def test_s12_answers_can_do_nothing_in_a_browser(server):
    with server.client() as client:
        for path in ("/", "/page/page.css", "/page/page.js", "/v1/model", "/nowhere", "/healthz", "/openapi.json"):
            headers = client.get(path).headers
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
            assert (policy["script-src"], policy["style-src"], policy["connect-src"]) == ("'self'",) * 3
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
        page = client.get("/")
        assert client.get("/", headers={"if-none-match": page.headers["etag"]}).status_code == 304
        assert "<script>" not in page.text
        assert "style=" not in page.text


def test_s12_uploads_are_never_served_back(server):
    evil = '"><img src=x onerror=alert(1)>'
    body, headers = multipart((f"Content-Disposition: form-data; name=file; filename={json.dumps(evil)}", picture(1)))
    with server.client() as client:
        answer = client.post("/v1/captions", content=body, headers=headers)
        assert answer.headers["content-type"] == "application/json"
        assert "onerror" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/x.jpg",
        "/uploads",
        "/../page.py",
        "/page/page.html",
        "/%2e%2e/app.py",
        "//etc/passwd",
        "/page/page.css/..",
        "/page/page.css%00",
    ],
)
def test_s12_no_other_file_is_served(server, path):
    with server.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert answer_of(connection)[0] == 404


def test_s12_without_the_page_there_is_none(tmp_path):
    with running(tmp_path, "--workers=1", "--no-page") as server, server.client() as client:
        problem(client.get("/"), 404, "not_found")
        problem(client.get("/page/page.js"), 404, "not_found")


@pytest.mark.parametrize(
    "path",
    ["/admin", "/v1/models", "/v1/model/load", "/v1/model?path=/etc", "/docs", "/redoc", "/v1/reload", "/shutdown",
     "/debug", "/static/../../etc/passwd"],
)  # fmt: skip
def test_s13_there_is_nothing_to_administer(server, path):
    with server.client() as client:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            answer = client.request(method, path, json={"model": "/tmp/evil"} if method != "GET" else None)
            if path.startswith("/v1/model?") and method == "GET":
                assert answer.json()["name"] == "pretrained"
            else:
                assert answer.status_code in (404, 405, 422), (method, path)


def test_answers_name_no_path_of_this_machine(server):
    with server.client() as client:
        texts = [client.get("/v1/model").text, client.get("/openapi.json").text, client.get("/metrics").text,
                 client.post("/v1/captions", content=b"x", headers=JPEG).text]  # fmt: skip
    for text in texts:
        assert str(server.folder) not in text
        assert not any(part in text for part in ("/home", "site-packages", "/captioner/", "Traceback", "0x7f"))


def test_a_token_is_wanted_for_all_but_health_and_page(guarded):
    with guarded.client() as client:
        for path in ("/healthz", "/readyz", "/", "/page/page.css", "/page/page.js"):
            assert client.get(path).status_code == 200
        for path in ("/v1/model", "/metrics", "/openapi.json", "/nowhere"):
            answer = client.get(path)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for value in (TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer"):
            problem(client.get("/v1/model", headers={"authorization": value}), 401, "unauthorized")
        two = [("authorization", f"Bearer {TOKEN}")] * 2
        problem(client.get("/v1/model", headers=two), 401, "unauthorized")
        right = {"authorization": f"Bearer {TOKEN}"}
        assert client.get("/v1/model", headers=right).status_code == 200
        entries(client.post("/v1/captions", content=picture(1), headers={**JPEG, **right}))
    assert TOKEN not in guarded.log()
