"""The root scripts, run as a user types them, and one small captioner that all of these tests share."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("--limit", "40", "--epochs", "1", "--hidden", "16", "--embed", "16", "--threads", "1", "--out", "runs/scenes")
"""Options of a build that takes seconds."""


def start(*arguments, cwd, python=(), text=True, **environment):
    """A script of the repository's root (or `-m`, `-c`) in a process of its own, its output captured."""
    first, *rest = arguments
    command = [sys.executable, *python, str(ROOT / first) if first.endswith(".py") else first, *rest]
    return subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=text,
        errors="surrogateescape" if text else None,
    )


def run(*arguments, cwd, **options):
    """Run it to the end; whatever happens, no user sees a traceback."""
    process = start(*arguments, cwd=cwd, **options)
    output, errors = process.communicate(timeout=240)
    assert "Traceback" not in str(errors), errors
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@dataclass(frozen=True)
class Built:
    """What `build_and_run.py` left in a folder of its own."""

    cwd: Path
    process: subprocess.CompletedProcess

    @property
    def bundle(self) -> Path:
        return self.cwd / "runs" / "scenes" / "bundle"

    @property
    def pictures(self) -> list[Path]:
        return sorted((self.cwd / "runs" / "scenes" / "examples").glob("*.png"))


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    """A captioner of drawn scenes, trained for one epoch: it says little that is true, and that is enough here."""
    pytest.importorskip("torch")
    if not (ROOT / "build_and_run.py").exists():
        pytest.skip("the root scripts are not part of the wheel")
    cwd = tmp_path_factory.mktemp("a user's folder")
    return Built(cwd, run("build_and_run.py", *SMALL, cwd=cwd))
