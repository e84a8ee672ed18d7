"""`captioner doctor` as a user types it: an account for people, JSON for programs, a status by severity."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image

from captioner.datasets.flickr import CAPTION_FILE, SPLIT_FILES

pytestmark = pytest.mark.skipif(not (ROOT / "build_and_run.py").exists(), reason="needs the repository")


@pytest.fixture
def flowers(tmp_path):
    """Twenty little pictures in the layout of Flickr8k, nothing wrong with them."""
    folder = tmp_path / "my flowers ü"
    (folder / "images").mkdir(parents=True)
    names = [f"blume {number}.png" for number in range(20)]
    for number, name in enumerate(names):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).resize((40, 30), Image.Resampling.BICUBIC).save(folder / "images" / name)
    lines = "".join(f"{name}#0\tA flower with {number + 3} leaves .\n" for number, name in enumerate(names))
    (folder / CAPTION_FILE).write_text(lines, encoding="utf-8")
    (folder / SPLIT_FILES["train"]).write_text("\n".join(names[:15]), encoding="utf-8")
    (folder / SPLIT_FILES["dev"]).write_text("\n".join(names[15:]), encoding="utf-8")
    return folder


def doctor(*arguments, cwd):
    return run("-m", "captioner", "doctor", *map(str, arguments), cwd=cwd, CAPTIONER_CACHE=str(cwd / "cache"))


def test_an_account_for_people_and_one_for_programs(flowers, tmp_path):
    done = doctor(flowers, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("flickr", "15 train, 5 dev (its own splits)", "English", "blume 0.png: A flower with 3 leaves ."):
        assert part in done.stdout
    done = doctor(flowers, "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert (found["layout"], found["splits"]) == ("flickr", {"train": 15, "dev": 5})


def test_the_status_tells_how_bad_it_is(flowers, tmp_path):
    with (flowers / CAPTION_FILE).open("a", encoding="utf-8") as file:
        file.write("no number here\n")
    done = doctor(flowers, cwd=tmp_path)
    assert done.returncode == 1
    assert "! 1 × malformed line: not name#number<TAB>caption" in done.stdout
    assert f"{CAPTION_FILE} line 21" in done.stdout
    for number in range(4):
        (flowers / "images" / f"blume {number}.png").write_bytes(b"broken")
    assert doctor(flowers, "--quick", cwd=tmp_path).returncode == 1
    done = doctor(flowers, cwd=tmp_path)
    assert done.returncode == 2
    assert "✗ 4 × 4 of 20 pictures cannot be used" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "neither a known name nor a folder or file"),
        (["."], "in no known layout"),
        (["scenes"], "drawn by the package"),
        ([".", "--format", "flickr8k"], "choose one of auto, flickr, kaggle"),
        ([".", "--format", "flickr"], "has no Flickr8k.token.txt"),
        ([".", "--threads", "-3"], "threads"),
    ],
)
def test_wrong_usage_is_one_line(arguments, said, tmp_path):
    done = doctor(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_neither_torch_nor_pillow_plugins_of_other_formats_are_loaded(flowers, tmp_path):
    code = (
        "import sys; from captioner.cli.main import main; status = main(['doctor', sys.argv[1]]);"
        " print(sorted({'torch', 'lightning', 'pyarrow', 'ijson', 'tokenizers'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, flowers], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_not_utf8_are_told(tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in (b"a.png", b"b\xe9.png"):
        Image.new("RGB", (20, 20), "navy").save(os.fsencode(folder) + b"/" + name, "PNG")
    for name in (b"a.txt", b"b\xe9.txt", b"caf\xe9.txt"):
        with open(os.fsencode(folder) + b"/" + name, "w", encoding="utf-8") as file:  # noqa: PTH123 - a name of bytes
            file.write("a flower\n")
    done = doctor(folder, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    for part in (r"caf\udce9.txt", r"b\udce9.png", "rename what has such a name"):
        assert part in done.stdout
