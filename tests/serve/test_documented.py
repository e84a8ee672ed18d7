"""docs/serving.md and docs/security.md say what the service does: lines run as they stand, tables are the code's."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from servers import picture, running

from captioner.cli.serve import _parser
from captioner.serve.app import build_app  # noqa: F401 - the extra is installed
from captioner.serve.limits import Limits

ROOT = Path(__file__).parents[2]
SERVING, SECURITY = ROOT / "docs" / "serving.md", ROOT / "docs" / "security.md"
pytestmark = pytest.mark.skipif(not SERVING.exists(), reason="the documentation is not part of the wheel")


def text(path):
    return path.read_text(encoding="utf-8") if path.exists() else ""


def blocks(kind):
    return re.findall(rf"```{kind}\n(.*?)```", text(SERVING), re.DOTALL)


CURL = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("curl")]
SERVE = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("captioner serve")]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    (folder / "photo.jpg").write_bytes(picture(1))
    (folder / "another.png").write_bytes(picture(2, kind="PNG"))
    with running(folder, "--workers=1", "--corrections=corrections.tar") as found:
        yield found


@pytest.mark.parametrize("line", CURL)
def test_lines_with_curl(server, line):
    words = line.replace("http://127.0.0.1:8000", server.url)
    ended = subprocess.run(["sh", "-c", words], cwd=server.folder, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert not {"status", "detail"} & found.keys(), found
    names = {"captions": "captions", "explanations": "maps", "model": "decoder", "corrections": "key"}
    assert names[re.search(r"/v1/(\w+)", line)[1]] in found


def test_the_client_in_python(server):
    (code,) = blocks("python")
    code = code.replace("http://127.0.0.1:8000", server.url)
    ended = subprocess.run([sys.executable, "-c", code], cwd=server.folder, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.split()) > 3


@pytest.mark.parametrize("line", SERVE)
def test_lines_that_serve(tmp_path, line):
    """As they stand, but on a free port, and with the captioner that ships where they name one of runs/."""
    from captioner.bundle import PRETRAINED

    (tmp_path / "token.txt").write_text("a token of more than 16 characters")
    (tmp_path / "runs" / "scenes").mkdir(parents=True)
    (tmp_path / "runs" / "scenes" / "bundle").symlink_to(PRETRAINED, target_is_directory=True)
    options = line.split("#")[0].split()[2:]
    with running(tmp_path, *options, "--port=0") as server, server.client() as client:
        assert client.get("/readyz").json() == {"status": "ready"}


def test_there_is_something_to_run():
    assert len(CURL) >= 5
    assert len(SERVE) >= 4
    assert len(blocks("python")) == 1


def test_the_table_of_limits_is_that_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \| ([\d,.]+) \| (.*) \|$", text(SECURITY), re.MULTILINE)
    arguments = inspect.getdoc(Limits).split("Args:")[1]
    texts = dict(re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", arguments, re.MULTILINE | re.DOTALL))
    assert [(name, float(value.replace(",", "")), what) for name, value, what in rows] == [
        (field.name, field.default, " ".join(texts[field.name].split())) for field in fields(Limits)
    ]


def test_a_picture_may_be_as_large_as_everywhere_else():
    from captioner.images import MAX_FILE_BYTES

    assert Limits().file_bytes == MAX_FILE_BYTES < Limits().body_bytes


def test_all_options_are_explained_and_no_others():
    named = set(re.findall(r"`(--[a-z-]+)", text(SERVING).split("## Options")[1].split("## How it works")[0]))
    known = {flag for action in _parser("x")._actions for flag in action.option_strings if flag.startswith("--")}
    of_limits = {"--" + field.name.replace("_", "-") for field in fields(Limits)}
    assert known - of_limits - {"--help", "--version"} <= named <= known


def test_every_code_and_metric_is_in_the_page():
    folder = ROOT / "captioner" / "serve"
    code = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    page = text(SERVING)
    codes = set(re.findall(r'(?:Problem|busy)\(\s*(?:\d{3}|CLIENT_LEFT), "(\w+)"', code)) - {"client_left"}
    assert len(codes) > 15
    assert sorted(name for name in codes if f"`{name}`" not in page) == []


def test_its_help_needs_no_library():
    code = (
        "import sys; from captioner.cli.main import main\n"
        "try: main(['serve', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'PIL', 'onnxruntime', 'fastapi', 'uvicorn'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_serving_never_loads_torch_and_the_service_no_onnx_runtime():
    code = (
        "import sys, captioner.cli.serve, captioner.serve.app, captioner.serve.server, captioner.serve.worker\n"
        "print(sorted({'torch', 'lightning', 'transformers', 'onnxruntime'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
