"""The Dockerfile's parts, without Docker: what is copied is enough, nothing is written, its health check tells."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers import entries, picture, running

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
pytestmark = pytest.mark.skipif(not DOCKERFILE.exists(), reason="the Dockerfile is not part of the wheel")


def instruction(name):
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.partition(" ")[2].strip() for line in text.splitlines() if line.startswith(f"{name} ")]


def test_it_runs_as_nobody_in_particular_and_with_known_options():
    assert instruction("USER") == ["10001"]
    words = json.loads(instruction("ENTRYPOINT")[0])
    assert words[:2] == ["/captioner/bin/captioner", "serve"]
    text = DOCKERFILE.read_text(encoding="utf-8").lower()
    assert not re.search(r"password|secret|token|api_key", text)


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed; there are binaries for some systems only")
    bad = subprocess.run([hadolint, "-"], input="FROM python\nRUN cd /tmp", capture_output=True, text=True, check=False)
    assert {"DL3003", "DL3006"} <= set(re.findall(r"DL\d+", bad.stdout))
    found = subprocess.run(
        [hadolint, "--failure-threshold=style", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_what_it_copies_is_there_and_not_ignored():
    copied = [word for line in instruction("COPY") if "--from" not in line for word in shlex.split(line)[:-1]]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == kept
    assert all((ROOT / name).exists() for name in copied)


def test_its_health_check_tells(tmp_path):
    command = json.loads(instruction("HEALTHCHECK")[0].partition("CMD ")[2])
    with running(tmp_path, "--workers=1", "--host=0.0.0.0") as server:
        check = [
            sys.executable,
            "-c",
            command[2].replace("127.0.0.1:8000", f"127.0.0.1:{server.url.rpartition(':')[2]}"),
        ]
        assert subprocess.run(check, check=False).returncode == 0
        server.stop()
        assert subprocess.run(check, check=False, stderr=subprocess.DEVNULL).returncode != 0


def test_it_works_where_nothing_can_be_written(tmp_path):
    """No file of the service or its workers is open for writing, but pipes and the log, and none appears."""
    with running(tmp_path, "--workers=1") as server, server.client() as client:
        before = sorted(tmp_path.iterdir())
        entries(client.post("/v1/captions", files=[("file", picture(seed, size=(1200, 900))) for seed in range(4)]))
        for pid in (server.process.pid, *server.workers()):
            for descriptor in Path(f"/proc/{pid}/fdinfo").iterdir():
                flags = int(re.search(r"flags:\s+0(\d+)", descriptor.read_text())[1], 8)
                target = str((Path(f"/proc/{pid}/fd") / descriptor.name).readlink())
                if flags & 3 and target.startswith("/") and not target.startswith(("/dev/", str(server.log_path))):
                    raise AssertionError(target)
        assert sorted(tmp_path.iterdir()) == before
