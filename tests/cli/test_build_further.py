"""Builds that go on from other builds, as a user types them: another's encoder, drawn captions, teachers."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from conftest import SMALL, Built, run
from PIL import Image, ImageOps

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from safetensors.torch import load_file  # noqa: E402

OPTIONS = [option for option in SMALL if option not in ("--out", "runs/scenes")]
"""Those of the small captioner that the tests share, with another place for the result."""


@pytest.fixture(scope="module")
def built(built, tmp_path_factory):
    """The shared captioner in a folder of these tests' own: the others count on its being the newest one."""
    cwd = tmp_path_factory.mktemp("further")
    shutil.copytree(built.cwd / "runs" / "scenes", cwd / "runs" / "scenes")
    return Built(cwd, built.process)


def build(built, name, *options, status=0):
    # Nothing on the path: METEOR's Java would take seconds in each build.
    done = run("build_and_run.py", *OPTIONS, "--out", f"runs/{name}", *options, cwd=built.cwd, PATH="")
    assert done.returncode == status, done.stderr
    return done, built.cwd / "runs" / name


def manifest(folder):
    return json.loads((folder / "bundle" / "manifest.json").read_text())


@pytest.fixture(scope="module")
def teacher(built):
    """A captioner whose encoder is that of the shared one, and does not learn any more."""
    return build(built, "teacher", "--encoder", "runs/scenes", "--views", "2", "--average", "0.9")[1]


def test_the_encoder_of_a_finished_captioner_is_taken_as_it_is(built, teacher):
    assert (teacher / "bundle" / "encoder.onnx").read_bytes() == (built.bundle / "encoder.onnx").read_bytes()
    assert manifest(teacher)["encoder"]["trained_with_decoder"] is False
    assert manifest(teacher)["encoder"]["name"] == "small_cnn"
    assert manifest(teacher)["training"]["options"]["average"] == 0.9


def test_self_critical_training_goes_on_from_a_captioner_and_knows_where_it_came_from(built, teacher):
    options = ("--encoder", "runs/scenes", "--start-from", "runs/teacher", "--self-critical", "mean", "--samples", "3")
    done, folder = build(built, "critical", *options, "--learning-rate", "0.0001")
    assert "before training: dev CIDEr" in done.stderr
    assert "reward " in done.stderr
    training = manifest(folder)["training"]
    assert training["history"][0]["epoch"] == 0
    assert training["history"][1]["train_reward"] >= 0
    assert training["started_from"][0]["data"] == training["data"]
    started = manifest(teacher)["training"]["best_dev_cider"]
    assert training["history"][0]["dev_cider"] == pytest.approx(started, abs=0.05)
    assert training["best_dev_cider"] >= training["history"][0]["dev_cider"]
    assert "Reward in training" in (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert str(built.cwd) not in json.dumps(manifest(folder))


def test_a_bundle_carries_the_licences_and_the_model_card_that_it_is_given(built, teacher):
    """Naming them later makes the bundle anew and trains nothing."""
    assert manifest(teacher)["licences"] == {"encoder": "Apache-2.0", "training data": "Apache-2.0"}
    (built.cwd / "card.md").write_text("# A card\n", encoding="utf-8")
    named = ("--data-licence", "for research", "--encoder-licence", "MIT", "--model-card", "card.md")
    done, folder = build(built, "teacher", "--encoder", "runs/scenes", "--views", "2", "--average", "0.9", *named)
    assert "[3/7] train: up to date" in done.stderr
    assert manifest(folder)["licences"] == {"encoder": "MIT", "training data": "for research"}
    assert (folder / "bundle" / "model-card.md").read_text(encoding="utf-8") == "# A card\n"
    refused, _ = build(built, "refused", "--model-card", "nowhere.md", status=2)
    assert "cannot read nowhere.md" in refused.stderr


def test_a_transformer_ships_in_int8_and_writes(built):
    """Its state grows with every word, in the graphs too."""
    options = ("--encoder", "builtin", "--features", "grid", "--decoder", "transformer", "--heads", "2")
    _, folder = build(built, "transformer", *options, "--layers", "2", "--quantize", "int8")
    assert manifest(folder)["decoder"]["layers"] == 2
    done = run("run_captioner.py", str(built.pictures[0]), "--model", str(folder), "--beam", "3", cwd=built.cwd)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{built.pictures[0]}: ")


def test_several_captioners_become_one_without_training(built, teacher):
    """The mean of a captioner and itself is that captioner."""
    options = ("--encoder", "runs/scenes", "--start-from", "runs/teacher,runs/teacher", "--epochs", "0")
    done, folder = build(built, "soup", *options)
    assert "0 epochs, best" in done.stderr
    training = manifest(folder)["training"]
    assert training["best_dev_cider"] == pytest.approx(manifest(teacher)["training"]["best_dev_cider"], abs=0.05)
    assert len(training["started_from"]) == 2
    mean, trained = (load_file(each / "bundle" / "weights.safetensors") for each in (folder, teacher))
    assert mean.keys() == trained.keys()
    for name, weight in trained.items():
        torch.testing.assert_close(mean[name], weight)


def test_a_finished_captioner_looks_at_mirror_images_too(built, teacher):
    """Without training; a mirror image of a picture is then the same picture to it."""
    options = ("--encoder", "runs/scenes", "--start-from", "runs/teacher", "--epochs", "0", "--mirrored", "true")
    _, folder = build(built, "mirrored", *options)
    assert manifest(folder)["encoder"]["mirrored"] is True
    assert manifest(teacher)["encoder"]["mirrored"] is False
    _, again = build(built, "mirrored-again", "--encoder", "runs/mirrored", *options[2:])
    assert (again / "bundle" / "encoder.onnx").read_bytes() == (folder / "bundle" / "encoder.onnx").read_bytes()
    with Image.open(built.pictures[0]) as picture:
        ImageOps.mirror(picture).save(built.cwd / "mirror-image.png")
    said = {}
    for model in ("mirrored", "teacher"):
        pictures = (str(built.pictures[0]), "mirror-image.png")
        done = run("run_captioner.py", *pictures, "--json", "--model", f"runs/{model}", cwd=built.cwd)
        said[model] = [json.loads(line)["log_prob"] for line in done.stdout.splitlines()]
    assert said["mirrored"][0] == pytest.approx(said["mirrored"][1], abs=1e-3)
    assert said["teacher"][0] != pytest.approx(said["teacher"][1], abs=1e-3)


def test_self_critical_training_from_nothing_is_refused(built):
    done, _ = build(built, "nothing", "--self-critical", "mean", status=2)
    assert "--start-from is ''; expected a finished build or bundle with --self-critical" in done.stderr


def test_a_student_learns_from_teachers_that_see_what_it_sees(built, teacher):
    options = ("--encoder", "runs/scenes", "--teachers", "runs/teacher, runs/teacher", "--distill", "0.9")
    _, folder = build(built, "student", *options)
    training = manifest(folder)["training"]
    assert training["options"]["distill"] == 0.9
    assert "teachers" not in training["options"]
    assert training["teachers"] == [manifest(teacher)["training"]] * 2


@pytest.mark.parametrize(
    ("options", "message", "status"),
    [
        (["--encoder=runs/scenes", "--teachers=nowhere"], "--teachers nowhere is no finished build or bundle", 1),
        (["--encoder=runs/scenes", "--features=grid"], "the encoder of runs/scenes gives one vector a picture", 2),
        (["--teachers=runs/teacher"], "leave --finetune away", 2),
        (["--mirrored=true"], "small_cnn is trained together with the decoder", 2),
        (["--encoder=builtin", "--teachers=runs/teacher"], "--teachers runs/teacher has another encoder", 1),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(built, teacher, options, message, status):
    done, _ = build(built, "refused", *options, status=status)
    assert message in done.stderr


def archived(folder, kind):
    """A data set inside archives: 40 pictures to train on, 8 for each of dev and test, all different."""
    folder.mkdir()
    random, pictures = np.random.default_rng(0), {}
    for split, count in (("train", 40), ("dev", 8), ("test", 8)):
        pictures[split] = []
        for _ in range(count):
            content = io.BytesIO()
            pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(content, "PNG")
            pictures[split].append(content.getvalue())
    captions = ["a red box", "one red thing"]
    for split, contents in pictures.items():
        if kind == "parquet":
            pyarrow = pytest.importorskip("pyarrow")
            parquet = pytest.importorskip("pyarrow.parquet")
            table = pyarrow.table({"image": contents, "caption": [captions] * len(contents)})
            parquet.write_table(table, folder / f"{split}-00000.parquet")
            continue
        with tarfile.open(folder / f"{split}-00000.tar", "w") as shard:
            for number, content in enumerate(contents):
                for suffix, data in (("png", content), ("txt", "\n".join(captions).encode())):
                    member = tarfile.TarInfo(f"{number:04}.{suffix}")
                    member.size = len(data)
                    shard.addfile(member, io.BytesIO(data))
    return pictures


@pytest.mark.parametrize("kind", ["shards", "parquet"])
def test_pictures_in_archives_go_all_the_way_to_examples_that_can_be_captioned(tmp_path, kind):
    pictures = archived(tmp_path / "data", kind)
    options = ("--data", "data", "--encoder", "builtin", "--epochs", "1", "--min-count", "1", "--out", "run")
    done = run("build_and_run.py", *options, cwd=tmp_path, PATH="")
    assert done.returncode == 0, done.stderr
    examples = sorted((tmp_path / "run" / "examples").glob("*.png"))
    assert examples
    assert {path.read_bytes() for path in examples} <= set(pictures["test"])
    references = (tmp_path / "run" / "examples" / "captions.txt").read_text().splitlines()
    assert {line.partition("#")[0] for line in references} == {path.name for path in examples}
    said = run(
        "run_captioner.py",
        *examples,
        "--model",
        "run/bundle",
        "--references",
        "run/examples/captions.txt",
        cwd=tmp_path,
    )
    assert said.returncode == 0, said.stderr
    assert "true: a red box" in said.stdout
