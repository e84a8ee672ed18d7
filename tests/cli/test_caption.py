"""`run_captioner.py` and `captioner caption`, as a user types them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run, start

pytest.importorskip("onnx")

from graphs import encoder, save_captioner, step

import captioner
from captioner.bundle import ENCODER, MANIFEST, remember_bundle
from captioner.cli.caption import main
from captioner.images import load_image

pytestmark = pytest.mark.torch  # to build the captioner; captioning itself needs none


def caption(built, *arguments, **options):
    return run("run_captioner.py", *map(str, arguments), **{"cwd": built.cwd, **options})


def objects(process) -> list[dict]:
    return [json.loads(line) for line in process.stdout.splitlines()]


# ---- what a build leaves --------------------------------------------------------------------------------------------


def test_a_build_says_where_the_captioner_is_and_everything_else_on_stderr(built):
    assert built.process.returncode == 0, built.process.stderr
    assert built.process.stdout.split() == ["runs/scenes/bundle"]
    for number, stage in enumerate(("prepare", "features", "train", "export", "evaluate", "bundle", "report"), start=1):
        assert f"[{number}/7] {stage}" in built.process.stderr
    assert "Warning" not in built.process.stderr


def test_a_bundle_tells_nothing_of_the_machine_that_it_was_made_on(built):
    for path in built.bundle.iterdir():
        content = path.read_bytes()
        for place in (ROOT, built.cwd, sys.prefix):
            assert str(place).encode() not in content, path.name


# ---- captions -------------------------------------------------------------------------------------------------------


def test_without_a_model_the_newest_is_taken_and_named(built):
    process = caption(built, *built.pictures[:2])
    assert process.returncode == 0
    lines = process.stdout.splitlines()
    assert len(lines) == 2
    for line, path in zip(lines, built.pictures, strict=False):
        assert line.startswith(f"{path}: ")
        assert "log-probability -" in line
    assert process.stderr.startswith("using runs/scenes/bundle, the newest captioner in runs/")
    assert len(process.stderr.splitlines()) == 1


def test_every_way_to_ask_gives_the_same_caption(built):
    path = built.pictures[0]
    model = captioner.load(built.bundle)
    answer = model.caption(path)
    script = objects(caption(built, path, "--json", "--model", built.bundle))[0]
    module = objects(run("-m", "captioner", "caption", str(path), "--json", "--model", str(built.bundle), cwd=ROOT))[0]
    assert script == module
    assert script["caption"] == answer.text
    assert script["log_prob"] == pytest.approx(answer.log_prob, abs=1e-5)
    for picture in (str(path), path.read_bytes(), load_image(path)):
        assert model.caption(picture) == answer


def test_together_pictures_get_the_captions_that_they_get_one_by_one(built):
    model = captioner.load(built.bundle)
    single = [model.caption(path, beam=4, n_best=3) for path in built.pictures]
    for several in (
        model.caption_batch(built.pictures, beam=4, n_best=3),
        list(model.iter_captions(iter(built.pictures), batch=3, beam=4, n_best=3)),
    ):
        for left, right in zip(several, single, strict=True):
            assert [each.text for each in left.candidates] == [each.text for each in right.candidates]
            np.testing.assert_allclose(
                [each.log_prob for each in left.candidates], [each.log_prob for each in right.candidates], atol=1e-4
            )
    assert model.caption_batch([]) == []


def test_candidates_are_distinct_and_the_best_comes_first(built):
    process = caption(built, *built.pictures[:3], "--json", "--n-best", "5", "--model", built.bundle)
    config = captioner.load(built.bundle).bundle.manifest.decode
    for answer in objects(process):
        candidates = answer["candidates"]
        assert len(candidates) == len({each["caption"] for each in candidates}) == 5
        ranks = []
        for each in candidates:
            words = len(each["caption"].split())
            cut_off = words == config.max_length  # ranked after those that came to their end, whatever its probability
            length = words if cut_off else words + 1
            ranks.append((cut_off, -each["log_prob"] / length**config.length_penalty))
        assert ranks == sorted(ranks)
        assert {"caption": answer["caption"], "log_prob": answer["log_prob"]} == candidates[0]


def test_the_words_of_a_caption_add_up_to_it(built):
    answer = captioner.load(built.bundle).caption(built.pictures[0])
    assert " ".join(word.text for word in answer.words) == answer.text
    assert all(word.log_prob <= 0 for word in answer.words)
    assert sum(word.log_prob for word in answer.words) >= answer.log_prob - 1e-4  # the end token is counted too


def test_true_captions_are_shown_beside_those_of_the_model(built):
    references = built.pictures[0].with_name("captions.txt")
    process = caption(built, built.pictures[0], "--references", references, "--n-best", "2")
    lines = process.stdout.splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["or", *["true"] * 5]


# ---- what goes wrong ------------------------------------------------------------------------------------------------


def test_one_bad_picture_stops_nothing_and_has_its_reason(built, tmp_path):
    (tmp_path / "cut.png").write_bytes(built.pictures[1].read_bytes()[:200])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.jpg").touch()
    good = built.pictures[0]
    paths = [good, "gone.jpg", tmp_path / "cut.png", tmp_path, built.pictures[1], tmp_path / "empty.jpg", good]
    paths += [tmp_path / "text.jpg"]
    process = caption(built, *paths, "--json", "--model", built.bundle)
    assert process.returncode == 1
    answers = objects(process)
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes == [None, "missing", "corrupt", "not_a_file", None, "corrupt", None, "unsupported"]
    assert answers[0] == answers[6]
    messages = [answer["error"]["message"] for answer in answers if "error" in answer]
    assert process.stderr.splitlines() == messages  # and for people
    assert all(set(answer["error"]) == {"code", "message"} for answer in answers if "error" in answer)


def test_captions_go_to_stdout_and_reasons_to_stderr(built):
    process = caption(built, "gone.jpg", built.pictures[0], "--model", built.bundle)
    assert process.returncode == 1
    assert len(process.stdout.splitlines()) == 1
    assert "gone.jpg: no such file" in process.stderr


def test_with_nothing_trained_the_captioner_that_ships_writes_and_says_so(built, tmp_path):
    process = caption(built, built.pictures[0], cwd=tmp_path)
    assert process.returncode == 0
    assert process.stdout.strip()
    assert process.stderr == "using the captioner that ships with the package (Flickr8k)\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "PICTURE"),
        (["x.png", "--beams", "3"], "--beams"),
        (["x.png", "--beam", "0"], "--beam is 0"),
        (["x.png", "--beam", "many"], "--beam"),
        (["x.png", "--mod", "nowhere"], "--mod"),
        (["x.png", "--n-best", "200"], "--n-best is 200; expected 1 to 100"),
        (["x.png", "--n-best", "0"], "--n-best is 0"),
        (["x.png", "--beam", "2", "--n-best", "3"], "--n-best is 3"),
        (["x.png", "--max-length", "0"], "--max-length is 0"),
        (["x.png", "--threads", "0"], "--threads is 0"),
        (["x.png", "--references", "none.txt"], "none.txt"),
        (["x.png", "--model", "nowhere"], "nowhere is not a bundle"),
    ],
)
def test_wrong_usage_is_status_2_in_one_line_before_any_picture_is_read(built, arguments, message):
    process = caption(built, *arguments)
    assert process.returncode == 2
    assert process.stdout == ""
    assert message in process.stderr.splitlines()[-1]


@pytest.mark.parametrize("damage", ["graph", "manifest", "missing"])
def test_a_broken_captioner_is_status_2(built, tmp_path, damage):
    broken = tmp_path / "bundle"
    shutil.copytree(built.bundle, broken)
    if damage == "graph":
        content = bytearray((broken / ENCODER).read_bytes())
        content[len(content) // 2] ^= 1
        (broken / ENCODER).write_bytes(content)
    elif damage == "manifest":
        (broken / MANIFEST).write_text("{}")
    else:
        (broken / ENCODER).unlink()
    process = caption(built, built.pictures[0], "--model", broken)
    assert process.returncode == 2
    assert process.stdout == ""
    assert str(broken) in process.stderr
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("fault", "code", "reason"),
    [
        ({"damaged": True}, "decoding", "nan as a log-probability"),
        ({"fails": True}, "bundle", "failed in ONNX Runtime"),
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_a_captioner_that_fails_at_its_work_has_a_line_for_each_picture(built, tmp_path, fault, code, reason, as_json):
    folder = save_captioner(tmp_path, decoder_step=step(**fault))
    paths = [*built.pictures[:2], "gone.jpg"]
    process = caption(built, *paths, "--model", folder, *(["--json"] if as_json else []))
    assert process.returncode == 1
    lines = process.stderr.splitlines()
    assert len(lines) == 3
    for line, path in zip(lines[:2], paths, strict=False):
        assert line.startswith(f"{path}: ")
        assert reason in line
    answers = objects(process)
    assert [answer["path"] for answer in answers] == ([str(path) for path in paths] if as_json else [])
    for answer, line, expected in zip(answers, lines, (code, code, "missing"), strict=False):
        assert answer["error"] == {"code": expected, "message": line}


def test_a_captioner_whose_parts_do_not_fit_is_status_2(built, tmp_path):
    folder = save_captioner(tmp_path, encoder=encoder(copies=2))
    process = caption(built, built.pictures[0], "--model", folder)
    assert (process.returncode, process.stdout) == (2, "")
    assert len(process.stderr.splitlines()) == 1
    assert "the decoder takes features of shape" in process.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_disk_is_status_1_in_one_line(built, options):
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, ROOT / "run_captioner.py", built.pictures[0], "--model", built.bundle, *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert process.returncode == 1
    assert process.stderr == "run_captioner.py: cannot write to stdout: No space left on device\n"


def test_too_many_threads_are_refused_before_a_captioner_is_looked_for(capsys):
    assert main(["x.png", "--model", "nowhere", "--threads", "100000"]) == 2
    assert capsys.readouterr().err == "captioner caption: --threads is 100000; expected 1 to 256\n"


def test_a_captioner_saved_elsewhere_is_found_and_named(built, tmp_path):
    shutil.copytree(built.bundle, tmp_path / "elsewhere" / "bundle")
    remember_bundle(tmp_path / "runs", tmp_path / "elsewhere" / "bundle")
    process = caption(built, built.pictures[0], cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stderr.startswith("using elsewhere/bundle, the newest captioner built here (saved ")


# ---- names of files -------------------------------------------------------------------------------------------------

NAMES = (
    b"a b.png",
    "dog \N{DOG FACE}é.png".encode(),
    b"two\nlines.png",
    b"caf\xe9 \xff.png",
    b"\x1b[31mred.png",
    b"-dash.png",
)


@pytest.fixture
def odd(built, tmp_path):
    """A folder with pictures of odd names, as bytes."""
    for name in NAMES:
        try:
            (tmp_path / os.fsdecode(name)).write_bytes(built.pictures[0].read_bytes())
        except OSError:
            pytest.skip("this file system does not take such names")
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_survive_json_whatever_they_are(built, odd, encoding):
    process = caption(
        built, "--json", "--model", built.bundle, "--", *map(os.fsdecode, NAMES), cwd=odd, PYTHONIOENCODING=encoding
    )
    assert process.returncode == 0, process.stderr
    answers = objects(process)
    assert [os.fsencode(answer["path"]) for answer in answers] == list(NAMES)
    assert len({answer["caption"] for answer in answers}) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_cannot_write_to_the_terminal(built, odd, encoding):
    missing = [b"gone " + name for name in NAMES]
    process = caption(
        built, "--model", built.bundle, "--", *map(os.fsdecode, (*NAMES, *missing)), cwd=odd, PYTHONIOENCODING=encoding
    )
    assert process.returncode == 1
    for text in (process.stdout, process.stderr):
        assert len(text.splitlines()) == len(NAMES)
        assert all(line.isprintable() for line in text.splitlines())
        assert r"two\nlines.png: " in text
        assert r"\x1b[31mred.png: " in text
        assert r"caf\udce9 \udcff.png: " in text
    if encoding == "utf-8":
        assert "dog \N{DOG FACE}é.png: " in process.stdout


def test_true_captions_cannot_write_to_the_terminal(built, tmp_path):
    name = built.pictures[0].name
    (tmp_path / "references.txt").write_text(f"{name}#0\ta \x1b[31mred\x07 dog\n", encoding="utf-8")
    process = caption(built, built.pictures[0], "--references", tmp_path / "references.txt", "--model", built.bundle)
    assert process.returncode == 0
    assert process.stdout.splitlines()[-1] == r"    true: a \x1b[31mred\x07 dog"


# ---- surroundings ---------------------------------------------------------------------------------------------------


def test_a_reader_that_has_seen_enough_is_left_in_peace(built):
    paths = [str(built.pictures[0])] * 200
    process = start("run_captioner.py", *paths, "--model", str(built.bundle), cwd=built.cwd)
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


@pytest.mark.skipif(os.name == "nt", reason="this system has no such signal")
@pytest.mark.skipif(os.name == "nt", reason="the commands are written for a POSIX shell")
def test_closed_streams_end_in_one_line_and_never_mix(built):
    command = [sys.executable, str(ROOT / "run_captioner.py"), str(built.pictures[0]), "missing.png", "--json"]
    shell = ["sh", "-c", '"$@" 2>&-', "sh", *command, "--model", str(built.bundle)]
    process = subprocess.run(shell, cwd=built.cwd, capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    found = [json.loads(line) for line in process.stdout.splitlines()]  # nothing that was meant for stderr
    assert [each["path"] for each in found] == [str(built.pictures[0]), "missing.png"]
    assert found[1]["error"]["code"] == "missing"
    shell[2] = '"$@" >&-'
    process = subprocess.run(shell, cwd=built.cwd, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (1, "run_captioner.py: cannot write to stdout: it is closed\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("what", ["--help", "--version"])
def test_help_that_cannot_be_written_ends_in_one_line(what):
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "captioner", what],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            timeout=60,
        )
    assert process.returncode == 1
    assert process.stderr == "captioner: cannot write to stdout: No space left on device\n"


def test_ctrl_c_stops_it_in_one_line(built):
    paths = [str(built.pictures[0])] * 2000
    process = start("run_captioner.py", *paths, "--model", str(built.bundle), cwd=built.cwd)
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "run_captioner.py: stopped\n")


@pytest.mark.parametrize("python", [["-O"], ["-W", "error"], ["-X", "dev", "-W", "error"]])
def test_it_runs_under_strict_pythons_too(built, python):
    process = caption(built, built.pictures[0], "--json", "--model", built.bundle, python=python)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert objects(process)[0]["caption"] == captioner.load(built.bundle).caption(built.pictures[0]).text


def test_it_runs_isolated_from_environment_and_working_folder_and_without_torch(built, tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from captioner.cli.main import main; "
        "status = main(sys.argv[1:]); "
        "sys.exit(status or bool({'torch', 'lightning', 'onnx', 'transformers'} & sys.modules.keys()))"
    )
    process = run(
        "-c", code, "caption", str(built.pictures[0]), "--model", str(built.bundle), cwd=tmp_path, python=["-I"]
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""


def test_a_captioner_may_be_moved(built, tmp_path):
    shutil.copytree(built.bundle, tmp_path / "moved and renamed")
    assert captioner.load(tmp_path / "moved and renamed").caption(built.pictures[0]) == captioner.load(
        built.bundle
    ).caption(built.pictures[0])


# ---- words, ensembles, confidence -----------------------------------------------------------------------------------


def test_words_that_must_and_must_not_be_said(built):
    process = caption(built, built.pictures[0], "--must-say", "purple", "--must-not-say", "red")
    assert process.returncode == 0, process.stderr
    said = process.stdout.split(": ", 1)[1].split("  (")[0].split()
    assert "purple" in said
    assert "red" not in said
    unknown = caption(built, built.pictures[0], "--must-say", "zebra")
    assert unknown.returncode == 2
    assert "does not know the word 'zebra'" in unknown.stderr


def test_below_the_least_confidence_nothing_is_said(built):
    shown = json.loads(caption(built, built.pictures[0], "--json").stdout)
    assert 0 < shown["confidence"] < 1
    above, below = shown["confidence"] - 1e-3, shown["confidence"] + 1e-3
    assert json.loads(caption(built, built.pictures[0], "--json", "--min-confidence", above).stdout) == shown
    silent = caption(built, built.pictures[0], "--json", "--min-confidence", below)
    assert silent.returncode == 0
    assert json.loads(silent.stdout) == {
        "path": str(built.pictures[0]),
        "caption": None,
        "confidence": shown["confidence"],
        "reason": f"confidence {shown['confidence']:.3f} is below {below:g}",
    }
    text = caption(built, built.pictures[0], "--min-confidence", 1).stdout
    assert text == f"{built.pictures[0]}: no caption: confidence {shown['confidence']:.3f} is below 1\n"
    wrong = caption(built, built.pictures[0], "--min-confidence", 40)
    assert wrong.returncode == 2
    assert "--min-confidence is 40; expected 0 to 1" in wrong.stderr


def test_several_models_write_together_and_have_no_confidence(built):
    once = json.loads(caption(built, built.pictures[0], "--json").stdout)
    both = ("--model", built.bundle, "--model", built.bundle.parent)  # a build's folder will do
    twice = json.loads(caption(built, built.pictures[0], "--json", *both).stdout)
    assert twice["caption"] == once["caption"]
    assert twice["log_prob"] == pytest.approx(once["log_prob"], abs=1e-4)
    assert twice["confidence"] is None
    refused = caption(built, built.pictures[0], *both, "--min-confidence", "0.1")
    assert refused.returncode == 2
    assert "several that write together never are" in refused.stderr
