"""Every command and every piece of Python in the documentation runs as it stands there."""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import ROOT, run
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import captioner  # noqa: E402
from captioner.bundle import load_bundle  # noqa: E402
from captioner.cli.build import main  # noqa: E402

PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]
PAGES = [page for page in PAGES if page.name != "worked-example.md"]  # told in order, by a test of its own
TEXTS = {page.name: page.read_text(encoding="utf-8").replace("\\\n", "") for page in PAGES}


def commands(script: str) -> list[str]:
    """The lines of all pages that call a script or a verb, each once; comments are the shell's own."""
    lines = [line for text in TEXTS.values() for line in re.findall(rf"^{script} .*$", text, re.MULTILINE)]
    lines = [line for line in lines if not line.startswith("captioner serve")]  # it does not end: tests/serve
    return list(dict.fromkeys(re.sub(r"\s+", " ", line) for line in lines))


def pieces_of_python() -> list[tuple[str, str]]:
    return [
        (name, code)
        for name, text in TEXTS.items()
        if name != "serving.md"  # wants a server: tests/serve
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    ]


def test_there_is_something_to_run():
    assert len(commands(r"python run_captioner\.py")) >= 3
    assert len(commands(r"python build_and_run\.py")) >= 4
    assert len(commands("captioner")) >= 5
    assert {name for name, _ in pieces_of_python()} >= {"README.md", "bundle.md", "evaluation.md"}


@pytest.fixture
def users_folder(built, tmp_path):
    """The folder of somebody who has run the demo and has two pictures."""
    (tmp_path / "runs").symlink_to(built.cwd / "runs", target_is_directory=True)
    with Image.open(built.pictures[0]) as picture:
        picture.convert("RGB").save(tmp_path / "photo.jpg", quality=95)
    shutil.copy(built.pictures[1], tmp_path / "another.png")
    return tmp_path


@pytest.mark.skipif(os.name == "nt", reason="the commands are written for a POSIX shell")
@pytest.mark.parametrize("command", commands(r"python run_captioner\.py"))
def test_commands_that_caption(users_folder, command):
    words = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT))}/" + command.removeprefix("python ")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        ["sh", "-c", words], cwd=users_folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stderr
    written = users_folder / "captions.jsonl"
    assert process.stdout or written.read_text().startswith('{"path": "photo.jpg"')


@pytest.mark.parametrize(("page", "code"), pieces_of_python())
def test_python_in_the_pages(users_folder, page, code):
    process = run("-c", code, cwd=users_folder)
    assert process.returncode == 0, process.stderr
    if page == "evaluation.md":
        assert "CIDEr|tok:ptb|refs:2" in process.stdout or process.stdout.strip() == "[2.5 7.5]"
        return
    if "model.attention(" in code:
        assert all(re.fullmatch(r"\S+ \d \d", line) for line in process.stdout.splitlines())
        assert process.stdout
        return
    model = captioner.load(users_folder / "runs" / "scenes" / "bundle")
    alone = {"beam": 1, "no_repeat_ngram": 0, "max_length": 20}
    options = alone if "InferenceSession" in code else {"beam": 5} if "beam=5, n_best" in code else {}
    if "iter_results" in code:
        first, second = process.stdout.splitlines()
        assert first == model.caption(users_folder / "photo.jpg").text
        assert second == "missing.jpg: no such file; check the path"
        return
    if page == "captioning.md":
        options = {"n_best": 3, "groups": 3, "must_not_say": ["blue"]}
    expected = model.caption(users_folder / "photo.jpg", **options)
    assert process.stdout.splitlines()[0] in (
        expected.text,
        f"{expected.text} {expected.log_prob}",
        f"{expected.text} {expected.confidence}",
    )


@pytest.mark.skipif(os.name == "nt", reason="the commands are written for a POSIX shell")
@pytest.mark.parametrize("command", commands("captioner"))
def test_commands_that_score_and_report(users_folder, command):
    """On a small data set and captions of it; without Java on the path, which would take seconds for each."""
    write_flickr8k(users_folder / "FOLDER")
    captions = {f"{number}.jpg": f"A {('red', 'blue')[number % 2]} box ." for number in range(8)}
    dev = "--split dev" in command
    for name in ("captions.jsonl", "a.jsonl", "b.jsonl"):
        lines = [
            {"path": f"pictures/{key}", "caption": text} for key, text in list(captions.items())[6 if dev else 0 :]
        ]
        (users_folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_shard(users_folder / "corrections.tar", users_folder / "FOLDER" / "images")
    (users_folder / "site" / "img").mkdir(parents=True)
    shutil.copy(users_folder / "photo.jpg", users_folder / "site" / "img")
    (users_folder / "site" / "index.html").write_text('<img src="/img/photo.jpg">\n')
    shutil.copytree(users_folder / "site" / "img", users_folder / "static" / "img")
    (users_folder / "content").mkdir()
    (users_folder / "content" / "page.md").write_text("![](/img/photo.jpg)\n")
    (users_folder / "README.md").write_text("![](photo.jpg)\n")
    (users_folder / "TABLE.csv").write_text("file,alt_text\nphoto.jpg,A red box .\nanother.png,A blue box .\n")
    (users_folder / "results.json").write_text(json.dumps([{"image_id": 1, "caption": "a box"}]))
    images, annotations = [{"id": 1, "file_name": "1.jpg"}], [{"image_id": 1, "id": 1, "caption": "a red box"}]
    (users_folder / "captions_val.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    words = f"{shlex.quote(sys.executable)} -m {command}"
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    if "--undo" in command:
        assert run("-m", "captioner", "batch", "FOLDER", "--to", "sidecar", cwd=users_folder).returncode == 0
    if "--watch" in command:
        command, words = command.partition(" --watch")[0], words.partition(" --watch")[0]  # which would go on for ever
    process = subprocess.run(
        ["/bin/sh", "-c", words], cwd=users_folder, env=environment, capture_output=True, text=True, timeout=60
    )
    finds = " doctor " in command or " --check" in command  # something to mend
    assert process.returncode == 0 or finds, process.stderr
    expected = {"evaluate": "CIDEr", "compare": "the same CIDEr", "report": "index.html", "models": "trained on"}
    expected |= {"caption": "photo.jpg: ", "doctor": '"layout": "table"' if "TABLE" in command else "how it is read"}
    expected["init"] = "FOLDER.yaml"
    expected["alt"] = "photo.jpg"
    if " batch " in command:
        assert re.search(r"[28] (captioned|changes undone|would be captioned)", process.stderr), process.stderr
        return
    assert expected[command.split()[1]] in process.stdout


def write_shard(path: Path, folder: Path) -> None:
    """The pictures of a folder as `captioner serve --corrections` writes them."""
    with tarfile.open(path, "w") as shard:
        for number, picture in enumerate(sorted(folder.iterdir())):
            text = f"a {('red', 'blue')[number % 2]} box\n".encode()
            member = tarfile.TarInfo(f"{number}.txt")
            member.size = len(text)
            shard.add(picture, f"{number}.jpg")
            shard.addfile(member, io.BytesIO(text))


# ---- training -------------------------------------------------------------------------------------------------------


def write_flickr8k(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    captions = []
    for number in range(8):
        picture = Image.new("RGB", (96, 80), "white")
        ImageDraw.Draw(picture).rectangle((number * 4, 10, number * 4 + 40, 60), fill=("red", "blue")[number % 2])
        picture.save(folder / "images" / f"{number}.jpg")
        captions += [f"{number}.jpg#{k}\tA {('red', 'blue')[number % 2]} box .\n" for k in range(5)]
    (folder / "Flickr8k.token.txt").write_text("".join(captions))
    for split, numbers in (("train", range(6)), ("dev", (6, 7))):
        (folder / f"Flickr_8k.{split}Images.txt").write_text("".join(f"{number}.jpg\n" for number in numbers))


def random_vgg16() -> dict[str, torch.Tensor]:
    """Weights in the layout of torchvision; the numbers count poolings as layers too."""
    tensors, index, channels = {}, 0, 3
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            tensors[f"features.{index}.weight"] = torch.randn(width, channels, 3, 3) * (2 / (9 * channels)) ** 0.5
            tensors[f"features.{index}.bias"] = torch.zeros(width)
            index, channels = index + 2, width
        index += 1
    return tensors


@pytest.fixture(scope="module")
def with_data(tmp_path_factory) -> Path:
    """A folder with data and weights under the names that the pages use for them; the weights are random."""
    folder = tmp_path_factory.mktemp("own data")
    for name in ("FOLDER", "FLICKR8K"):
        write_flickr8k(folder / name)
    write_shard(folder / "corrections.tar", folder / "FOLDER" / "images")
    recipe = ["FOLDER", "--encoder", "builtin", "--out", str(folder / "FOLDER.yaml")]
    assert run("-m", "captioner", "init", *recipe, cwd=folder).returncode == 0
    (folder / "configs").symlink_to(ROOT / "configs", target_is_directory=True)
    save_file(random_vgg16(), folder / "vgg16.safetensors")
    tiny = transformers.MobileNetV2Config(image_size=32, depth_multiplier=0.25, finegrained_output=False)
    transformers.MobileNetV2Model(tiny).save_pretrained(folder / "MOBILENET")
    return folder


@pytest.mark.parametrize("command", commands(r"python build_and_run\.py"))
def test_commands_that_train(with_data, monkeypatch, capsys, command):
    """With a network of toy size for one epoch, and weights from a file where they would be fetched."""
    monkeypatch.chdir(with_data)
    monkeypatch.setenv("PATH", "")  # METEOR's Java would take seconds in each build
    arguments = shlex.split(command, comments=True)[2:]
    if "--help" in arguments:
        with pytest.raises(SystemExit, match="0"):
            main(arguments)
        return
    goes_on = "--encoder runs/" in command  # from a command before it, whose encoder was MOBILENET
    if "mobilenet" in command.lower():
        offline, expected = ["--encoder=MOBILENET"], "MOBILENET"
    elif goes_on:
        offline, expected = [], "MOBILENET"
    elif "builtin" in command or "pretrained" in command or "FOLDER.yaml" in command:
        offline, expected = [], "builtin"
    else:
        offline, expected = ["--encoder-weights=vgg16.safetensors"], "vgg16"
    toy = ["--epochs=1", "--min-count=1", "--threads=1"]
    if "--from" not in command:
        toy += ["--hidden=16", "--embed=16"]
    if "scenes" in command:
        toy += ["--limit=8"]
    assert main([*arguments, *offline, *toy]) == 0
    found = load_bundle(Path(capsys.readouterr().out.strip()))
    assert found.manifest.encoder["name"] == expected
    assert captioner.load(found.folder).caption(next(Path("FOLDER/images").iterdir())).log_prob < 0


def test_photographs_without_weights_and_network_are_seen_by_the_encoder_that_ships(with_data, monkeypatch, capsys):
    from captioner.models.encoders import vgg16

    monkeypatch.chdir(with_data)
    monkeypatch.setenv("CAPTIONER_CACHE", str(with_data / "empty cache"))
    monkeypatch.setattr(vgg16, "KERAS_URL", "http://127.0.0.1:9/vgg16_notop.h5")  # nobody there
    toy = ["--hidden=16", "--embed=16", "--epochs=1", "--min-count=1", "--threads=1", "--out=runs/offline"]
    assert main(["--data=FOLDER", *toy]) == 0
    output = capsys.readouterr()
    assert "no weights of VGG16: cannot fetch vgg16_notop.h5" in output.err
    assert "taking the encoder of the captioner that ships (--encoder builtin)" in output.err
    assert load_bundle(Path(output.out.strip())).manifest.encoder["name"] == "builtin"
    assert (
        main(["--data=FOLDER", "--encoder=vgg16", *toy, "--out=runs/asked"]) == 1
    )  # what is asked for is not replaced
    assert "cannot fetch vgg16_notop.h5" in capsys.readouterr().err
