"""`build_and_run.py` and `captioner build`: options, what is done again and what is not, and data with faults."""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from conftest import ROOT, SMALL, run, start

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import transformers  # noqa: E402
import yaml  # noqa: E402
from filelock import FileLock  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import captioner  # noqa: E402
from captioner.bundle import load_bundle, newest_bundle  # noqa: E402
from captioner.cli.build import main, parse  # noqa: E402
from captioner.config.build import BuildConfig  # noqa: E402
from captioner.datasets.registry import open_dataset  # noqa: E402
from captioner.training.checkpoint import load_checkpoint  # noqa: E402

OWN_SCENES = (*SMALL, f"--config={ROOT / 'configs' / 'scenes.yaml'}")
STAGES = ("prepare", "features", "train", "export", "evaluate", "bundle", "report")
RECIPES = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Builds save below the working folder unless told otherwise."""
    monkeypatch.chdir(tmp_path)


def build(capsys, *arguments) -> tuple[int, str, str]:
    """Run the command in this process, where torch is loaded already: status, stdout, stderr."""
    try:
        status = main([str(argument) for argument in arguments], recipe=ROOT / "configs" / "scenes.yaml")
    except SystemExit as exit_:  # as argparse ends a process
        status = exit_.code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err


def stages_done(text: str) -> dict[str, bool]:
    """The stages that a build went through: True where it did something, False where all was up to date."""
    done = re.findall(r"^\[\d/7\] (\w+): (up to date)?", text, flags=re.MULTILINE)
    return {stage: not up_to_date for stage, up_to_date in done}


# ---- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_understood(path):
    config, _ = parse([f"--config={path}"])
    options = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section in filter(is_dataclass, vars(config).values()):
        for name, value in vars(section).items():
            if name in options:
                assert options[name] == value
                assert type(options.pop(name)) is type(value)
    assert options.keys() <= {"out", "cache"}


def test_without_data_recipe_or_default_it_says_what_to_name(capsys):
    assert main(["--epochs", "3"]) == 2
    assert (
        capsys.readouterr().err == "captioner build: name the data with --data FOLDER, or a recipe with --config FILE\n"
    )
    assert not Path("runs").exists()


def test_a_trial_has_a_folder_of_its_own(capsys):
    recipe = ROOT / "configs" / "scenes.yaml"
    assert parse([], recipe=recipe)[1].out == Path("runs/scenes")
    assert parse(["--limit=20"], recipe=recipe)[1].out == Path("runs/scenes-first-20")
    assert parse(["--data", "flowers/"])[1].out == Path("runs/flowers")
    assert parse(["--data", "flowers/", "--limit", "20"])[1].out == Path("runs/flowers-first-20")
    assert parse(["--data", "flowers/", "--limit", "20", "--out", "there"])[1].out == Path("there")


def test_there_are_recipes():
    if not (ROOT / "configs").is_dir():
        pytest.skip("the recipes are not part of the wheel")
    assert len(RECIPES) >= 3


def test_without_options_the_defaults_of_the_package_hold(tmp_path):
    config, workspace = parse([])
    assert config == BuildConfig()
    assert (workspace.out, workspace.cache) == (Path("runs/scenes"), Path("runs/cache"))


@pytest.mark.parametrize("order", list(itertools.permutations(["--config=recipe.yaml", "--epochs=7", "--beam=2"])))
def test_a_flag_wins_over_the_recipe_wherever_it_stands(order):
    Path("recipe.yaml").write_text("epochs: 3\nhidden: 40\nbeam: 5\nout: somewhere\n")
    config, workspace = parse(order)
    assert (config.train.epochs, config.decode.beam) == (7, 2)
    assert (config.decoder.hidden, workspace.out) == (40, Path("somewhere"))
    assert config.decoder.embed == BuildConfig().decoder.embed


def test_a_recipe_may_be_named_with_or_without_equals_sign():
    Path("recipe.yaml").write_text("epochs: 3\n")
    assert parse(["--config", "recipe.yaml"])[0] == parse(["--config=recipe.yaml"])[0]
    assert parse(["--epochs", "4", "--config", "recipe.yaml"])[0].train.epochs == 4


def test_the_default_recipe_is_for_calls_that_name_neither_data_nor_recipe():
    recipe = ROOT / "configs" / "scenes.yaml"
    assert parse(["--epochs", "2"], recipe=recipe)[0].encoder.encoder == "small_cnn"
    assert parse(["--data", "folder"], recipe=recipe)[0] == parse(["--data", "folder"])[0]


@pytest.mark.parametrize("spelling", ["--batch-size", "--batch_size"])
def test_flags_may_have_dashes_or_underscores(spelling):
    assert parse([spelling, "5"])[0].train.batch_size == 5
    assert parse([f"{spelling}=5", "--out", "my-folder_a"])[1].out == Path("my-folder_a")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--epoch-count", "3"], "--epoch-count"),
        (["--epoch", "3"], "epoch"),
        (["--epochs", "many"], "epochs"),
        (["--epochs", "2.5"], "epochs"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--dropout", "1"], "--dropout is 1"),
        (["--tie-weights", "perhaps"], "tie_weights"),
        (["--inject", "beside"], "par, init, pre, merge"),
        (["--precision", "float"], "32-true"),
        (["--accelerator", "warp"], "auto, cpu, gpu"),
        (["--devices=-1"], "--devices is -1"),
        (["--threads", "100000"], "--threads is 100000"),
        (["--max-words", "1000"], "--max-words is 1000"),
        (["--length-penalty", "nan"], "length_penalty"),
        (["--n-best", "200"], "--n-best is 200"),
        (["--learning-rate=-1"], "--learning-rate is -1"),
        (["--config", "gone.yaml"], "gone.yaml"),
        (["--config"], "config"),
        (["stray"], "stray"),
    ],
)
def test_a_wrong_flag_is_refused_by_name(capsys, arguments, named):
    status, output, errors = build(capsys, *arguments)
    assert status == 2
    assert output == ""
    assert named in errors
    assert not Path("runs").exists()  # before anything is begun


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epoch_count: 3", "epoch_count"),
        ("epochs: many", "epochs"),
        ("epochs: 2.5", "epochs"),
        ("epochs: [3]", "epochs"),
        ("epochs:", "epochs"),
        ("epochs: 0", "--epochs is 0"),
        ("data: 7\nepochs: x", "data"),
        ("train:\n  epochs: 3", "train"),
        ("epochs: 3\n  : :", "line 2"),
        ("- epochs", "Unexpected config"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(capsys, text, named):
    Path("recipe.yaml").write_text(text)
    status, output, errors = build(capsys, "--config", "recipe.yaml")
    assert status == 2
    assert output == ""
    assert named in errors
    assert not Path("runs").exists()


def test_a_recipe_that_is_not_utf_8_is_refused(capsys):
    Path("recipe.yaml").write_bytes(b"epochs: 3  # caf\xe9\n")
    status, _, errors = build(capsys, "--config=recipe.yaml")
    assert status == 2
    assert errors == "captioner build: the file of --config is not UTF-8 text; save it as UTF-8\n"


def test_help_names_every_option(capsys):
    status, output, _ = build(capsys, "--help")
    assert status == 0
    for section in filter(is_dataclass, vars(BuildConfig()).values()):
        for name in vars(section):
            assert f"--{name.replace('_', '-')}" in output


def test_the_script_ends_with_the_status_of_the_command(tmp_path):
    process = run("build_and_run.py", "--epochs", "none", cwd=tmp_path)
    assert process.returncode == 2
    assert "epochs" in process.stderr


# ---- where it cannot work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--out", "--cache"])
def test_a_folder_that_cannot_be_written_stops_the_build_before_its_first_stage(capsys, option):
    Path("file").touch()
    status, output, errors = build(capsys, *SMALL, option, "file/below")
    assert (status, output) == (2, "")
    assert "cannot write to file/below" in errors
    assert "[1/7]" not in errors


def test_a_read_only_folder_stops_the_build_before_its_first_stage(capsys):
    locked = Path("locked")
    locked.mkdir(mode=0o500)
    with contextlib.suppress(PermissionError):
        (locked / "probe").touch()
        pytest.skip("this user may write to read-only folders")
    status, _, errors = build(capsys, *SMALL, "--out", locked)
    assert status == 2
    assert "cannot write to locked" in errors
    assert "[1/7]" not in errors


def test_two_builds_in_one_folder_at_the_same_time_are_refused(capsys):
    Path("out").mkdir()
    with FileLock("out/.lock"):
        status, _, errors = build(capsys, *SMALL, "--out", "out")
    assert status == 2
    assert "another build is working in out" in errors
    assert "[1/7]" not in errors


def test_data_that_is_none_is_an_error_of_one_line(capsys):
    status, _, errors = build(capsys, "--data", "nowhere")
    assert status == 2
    assert "nowhere" in errors
    assert len(errors.splitlines()) == 1


# ---- what is done again ---------------------------------------------------------------------------------------------


def test_a_second_run_finds_everything_up_to_date(built):
    process = run("build_and_run.py", *SMALL, cwd=built.cwd)
    assert process.returncode == 0
    assert process.stdout == built.process.stdout
    assert stages_done(process.stderr) == dict.fromkeys(STAGES, False)


def test_other_training_options_train_afresh_and_leave_the_features(built, capsys, monkeypatch, tmp_path):
    """Also from the start: the state of a run with other options is nothing to go on from."""
    shutil.copytree(built.cwd, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    recipe = f"--config={ROOT / 'configs' / 'scenes.yaml'}"
    changed = ("--epochs", "2", "--hidden", "20")
    status, _, errors = build(capsys, recipe, *SMALL, *changed)
    assert status == 0, errors
    assert stages_done(errors) == {stage: stage not in ("prepare", "features") for stage in STAGES}
    assert "going on from" not in errors
    (aside,) = Path("runs/scenes").glob("training.*")  # hours may lie in it
    assert load_checkpoint(aside / "best.safetensors").keys()
    manifest = load_bundle(Path("runs/scenes/bundle")).manifest
    assert (manifest.decoder["hidden"], manifest.training["epochs"]) == (20, 2)
    assert [row["epoch"] for row in manifest.training["history"]] == [1, 2]

    shutil.rmtree("runs/cache/features")  # a cache may be deleted at any time
    Path("runs/scenes/stages/report.json").unlink()
    status, _, errors = build(capsys, recipe, *SMALL, *changed)
    assert status == 0, errors
    assert stages_done(errors) == {stage: stage in ("features", "report") for stage in STAGES}

    rows = next(Path("runs/cache/features").rglob("rows.bin"))
    os.truncate(rows, rows.stat().st_size - 1)
    more = ("--threads", "2", "--accelerator", "cpu")  # another machine is not another training
    status, _, errors = build(capsys, recipe, *SMALL, *changed, *more)
    assert status == 0, errors
    assert stages_done(errors) == {stage: stage == "features" for stage in STAGES}

    status, _, errors = build(capsys, recipe, *SMALL)  # back to the first training, which is found again
    assert status == 0, errors
    assert "going on from" in errors
    assert "epoch 1/1" not in errors
    assert load_bundle(Path("runs/scenes/bundle")).manifest.decoder["hidden"] == 16


def test_training_pictures_go_into_the_bundle_when_they_are_asked_for(built, capsys, monkeypatch, tmp_path):
    shutil.copytree(built.cwd, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    recipe = f"--config={ROOT / 'configs' / 'scenes.yaml'}"
    status, _, errors = build(capsys, recipe, *SMALL, "--neighbours", "1000000")
    assert status == 0, errors
    assert stages_done(errors) == {stage: stage in ("bundle", "report") for stage in STAGES}
    lines = Path("runs/scenes/prepared/train/pictures.jsonl").read_text(encoding="utf-8").splitlines()
    training = [json.loads(line) for line in lines]
    dataset = {record.image_id: record for record in open_dataset("scenes").records("train")}
    model = captioner.load("runs/scenes/bundle")
    for picture in training[:3]:  # each is its own nearest
        nearest = model.neighbours(dataset[picture["image_id"]].source.read_bytes(), 1)[0]
        assert nearest.captions == tuple(picture["captions"])
        assert nearest.similarity == pytest.approx(1, abs=2e-3)

    status, _, errors = build(capsys, recipe, *SMALL, "--neighbours", "7")
    assert status == 0, errors
    assert (
        len(captioner.load("runs/scenes/bundle").neighbours(dataset[picture["image_id"]].source.read_bytes(), 99)) == 7
    )


@pytest.mark.parametrize("place", ["training", "bundle", "report"])
def test_folders_that_no_build_made_are_left_alone(capsys, place):
    Path("mine", place).mkdir(parents=True)
    Path("mine", place, "thesis.txt").write_text("years of work")
    status, _, errors = build(capsys, *SMALL, "--out", "mine")
    assert status == 2
    assert f"mine already has {place}, and no build of this program made it" in errors
    assert Path("mine", place, "thesis.txt").read_text() == "years of work"


def test_mixed_precision_trains(capsys):
    status, _, errors = build(capsys, *OWN_SCENES, "--precision", "bf16-mixed")
    assert status == 0, errors
    assert load_bundle(Path("runs/scenes/bundle")).manifest.training["options"]["precision"] == "bf16-mixed"


@pytest.mark.slow
def test_several_processes_train_together(capsys):
    """Each takes half of every batch; the first one keeps the weights and the log."""
    process = run("build_and_run.py", *SMALL, "--epochs", "2", "--accelerator", "cpu", "--devices", "2", cwd=Path())
    assert process.returncode == 0, process.stderr
    manifest = load_bundle(Path("runs/scenes/bundle")).manifest
    assert [(row["epoch"], row["steps"]) for row in manifest.training["history"]] == [(1, 2), (2, 4)]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what is asked for")
@pytest.mark.parametrize(
    "options",
    [
        ("--accelerator", "cuda"),
        ("--accelerator", "abacus"),
        ("--accelerator", "cpu", "--devices", "many"),
        ("--accelerator", "cpu", "--precision", "16-mixed"),
    ],
    ids=" ".join,
)
def test_hardware_that_is_not_there_stops_the_build_before_its_first_stage(capsys, options):
    status, _, errors = build(capsys, *SMALL, *options)
    assert status == 2
    assert options[-1] in errors.splitlines()[-1]
    assert "[1/7]" not in errors


@pytest.mark.skipif(os.name == "nt", reason="this system has no such signal")
def test_ctrl_c_in_training_stops_it_in_one_line_and_the_same_command_goes_on(built, tmp_path):
    shutil.copytree(built.cwd / "runs" / "cache", tmp_path / "runs" / "cache")
    command = ("build_and_run.py", *SMALL, "--epochs", "3000", "--patience", "3000")
    for _ in range(2):
        process = start(*command, cwd=tmp_path)
        lines = []
        for line in process.stderr:
            lines.append(line)
            if sum("  epoch " in each for each in lines) == 2:  # the state after the first of them is saved
                process.send_signal(signal.SIGINT)
                break
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert errors.splitlines()[-1] == "build_and_run.py: stopped; the same command goes on from here"
        assert "Traceback" not in errors
    assert "  going on from runs/scenes/training/last.safetensors\n" in lines


# ---- pictures of one's own, some of them bad ------------------------------------------------------------------------

COLOURS = ("red", "green", "blue", "orange")


def write_flickr8k(folder: Path, *, corrupt: int) -> None:
    """Forty JPEGs with two captions each in the layout of Flickr8k; the first few of train are cut short."""
    (folder / "images").mkdir(parents=True)
    names, lines = [], []
    for number in range(40):
        colour = COLOURS[number % 4]
        picture = Image.new("RGB", (48, 40), "white")
        ImageDraw.Draw(picture).rectangle((number % 20, 5, number % 20 + 20, 25 + number // 4), fill=colour)
        names.append(f"{number:02}_{colour}.jpg")
        picture.save(folder / "images" / names[-1], quality=90)
        lines += [f"{names[-1]}#0\tA {colour} box .", f"{names[-1]}#1\tA box that is {colour} ."]
    for name in names[:corrupt]:
        content = (folder / "images" / name).read_bytes()
        (folder / "images" / name).write_bytes(content[: len(content) // 3])
    (folder / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for split, part in (("train", names[:30]), ("dev", names[30:35]), ("test", names[35:])):
        (folder / f"Flickr_8k.{split}Images.txt").write_text("\n".join(part) + "\n")


OWN = ("--data", "own", "--out", "out", "--encoder", "small_cnn", "--min-count", "1", "--embed", "16", "--hidden", "16")
OWN += ("--epochs", "1", "--threads", "1")


def test_one_corrupt_picture_is_reported_once_and_left_out(capsys):
    write_flickr8k(Path("own"), corrupt=1)
    status, output, errors = build(capsys, *OWN)
    assert status == 0, errors
    assert output.split() == ["out/bundle"]
    assert errors.count("00_red.jpg") == 1
    assert "1 × corrupt picture: 00_red.jpg" in errors
    assert "39 pictures, 39 of them new" in errors
    assert newest_bundle(Path("runs")) == Path("out/bundle")  # saved elsewhere, and found all the same
    bundle = load_bundle(Path("out/bundle"))
    assert set(bundle.vocabulary.words) == {"a", "box", "that", "is", *COLOURS}
    assert "True" not in {score["name"] for score in bundle.manifest.scores}  # only drawn scenes can be judged


def test_too_many_corrupt_pictures_stop_the_build_with_their_number(capsys):
    write_flickr8k(Path("own"), corrupt=3)
    status, output, errors = build(capsys, *OWN)
    assert (status, output) == (1, "")
    assert "3 of 40 pictures are bad, more than the 5% allowed" in errors
    assert "--max-bad-share" in errors
    assert "train …" not in errors
    rows = next(Path("runs/cache/features").rglob("rows.bin"))
    assert rows.stat().st_size == 37 * 64 * 64 * 3  # what was done stays done


def test_the_same_picture_under_two_names_is_taken_out_of_training(capsys):
    write_flickr8k(Path("own"), corrupt=0)
    shutil.copy("own/images/31_orange.jpg", "own/images/00_red.jpg")  # dev and train
    shutil.copy("own/images/36_red.jpg", "own/images/32_red.jpg")  # test and dev
    status, _, errors = build(capsys, *OWN, "--max-bad-share", "0.1")
    assert status == 0, errors
    assert "2 × picture in more than one split: 32_red.jpg, 00_red.jpg" in errors
    counted = {
        split: len(Path(f"out/prepared/{split}/pictures.jsonl").read_text().splitlines())
        for split in ("train", "dev", "test")
    }
    assert counted == {"train": 29, "dev": 4, "test": 5}


def test_a_changed_encoder_is_looked_through_again(capsys):
    """Another configuration with the same weights, and other weights under the same name."""
    write_flickr8k(Path("own"), corrupt=0)
    tiny = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.ViTConfig(**tiny, image_size=16, patch_size=8)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained("encoder")
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained("encoder")
    stores = []
    for change in (lambda: None, lambda: edit("encoder/config.json", '"gelu"', '"relu"'), scale_weights):
        change()
        status, _, errors = build(capsys, *OWN, "--encoder", "encoder")
        assert status == 0, errors
        assert stages_done(errors)["features"]
        assert "40 of them new" in errors
        stores.append(len(list(Path("runs/cache/features").iterdir())))
    assert stores == [1, 2, 3]


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def scale_weights() -> None:
    weights = load_file("encoder/model.safetensors")
    save_file({name: weight * 1.1 for name, weight in weights.items()}, "encoder/model.safetensors", {"format": "pt"})


def test_a_dev_part_without_a_readable_picture_stops_the_build(capsys):
    write_flickr8k(Path("own"), corrupt=0)
    for path in Path("own/images").glob("3[0-4]_*.jpg"):
        path.write_bytes(path.read_bytes()[:300])
    status, _, errors = build(capsys, *OWN, "--max-bad-share", "0.5")
    assert status == 1
    assert errors.splitlines()[-1] == (
        "captioner build: Flickr8k has no readable pictures in its dev split; mend it, or take it away"
    )
