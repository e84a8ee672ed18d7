"""Nothing of the package, and no library that it brings, reports to anybody or leaves files in the home folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(os.name == "nt", reason="the home folder has another name there")
def test_captioning_leaves_nothing_in_the_home_folder(tmp_path):
    """ONNX Runtime 1.32 makes a data base of events there unless it is told not to before it is imported."""
    code = (
        "import numpy, captioner\n"
        "model = captioner.load('pretrained')\n"
        "print(model.caption(numpy.zeros((8, 8, 3), numpy.uint8)).text)"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**kept, "HOME": str(tmp_path), "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert list(tmp_path.iterdir()) == []
