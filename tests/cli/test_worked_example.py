"""The worked example of the documentation, typed from the first line to the last, without a network."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

PAGE = ROOT / "docs" / "worked-example.md"
pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not PAGE.exists(), reason="needs the repository"),
    pytest.mark.skipif(os.name == "nt", reason="the commands are written for a POSIX shell"),
]
WITHOUT_NETWORK = """
import socket, sys
def refuse(*arguments, **options):
    raise OSError("no network in this test")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""


def test_forty_pictures_become_a_captioner(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "offline").mkdir()
    (tmp_path / "offline" / "sitecustomize.py").write_text(WITHOUT_NETWORK)
    python = f"{shlex.quote(sys.executable)} "
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path / 'offline'}{os.pathsep}{ROOT}",
        "CAPTIONER_CACHE": str(tmp_path / "cache"),
        "PATH": os.defpath,  # METEOR's Java would take seconds
    }
    blocks = re.findall(r"```(python|sh)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [kind for kind, _ in blocks] == ["python", "sh", "sh", "sh", "sh"]
    output = []
    for kind, text in blocks:
        if kind == "python":
            command = [sys.executable, "-c", text]
        else:
            text = text.replace("python build_and_run.py", f"{python}{shlex.quote(str(ROOT / 'build_and_run.py'))}")
            command = ["sh", "-c", re.sub("^captioner ", f"{python}-m captioner ", text)]
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=250)
        assert ended.returncode == 0, ended.stderr
        output.append((ended.stdout, ended.stderr))
    (_, _), (doctor, _), (init, _), (bundle, progress), (captions, _) = output
    assert "31 train, 5 dev, 4 test" in doctor
    assert init == "pictures.yaml\n"
    assert bundle.strip() == "runs/pictures/bundle"
    assert "31 train, 5 dev, 4 test; 43 words" in progress
    assert re.fullmatch(r"pictures/train-000001\.png: [a-z ]{10,} +\(log-probability -.*\)\n", captions)
