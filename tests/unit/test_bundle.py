"""A bundle is found whole or refused: whatever byte is changed, and whenever saving is killed."""

import hashlib
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from captioner import bundle as bundles
from captioner.bundle import (
    DECODER_START,
    DECODER_STEP,
    ENCODER,
    FORMAT_VERSION,
    MANIFEST,
    VOCABULARY,
    WEIGHTS,
    Manifest,
    load_bundle,
    newest_bundle,
    remember_bundle,
    save_bundle,
)
from captioner.config.decode import DecodeConfig
from captioner.errors import BundleError, CaptionerError
from captioner.images import PreprocessSpec
from captioner.text.vocabulary import Vocabulary
from captioner.version import __version__

WORDS = Vocabulary(("a", "dog", "runs", "élan"))
GRAPHS = (ENCODER, DECODER_START, DECODER_STEP, WEIGHTS)


def manifest_of(**changes) -> Manifest:
    facts = Manifest(
        created="2026-01-02T03:04:05.000006+00:00",
        encoder={"name": "vgg16", "origin": "scratch", "feature_shape": [512]},
        decoder={"decoder": "lstm", "hidden": 8, "dropout": 0.25},
        preprocess=PreprocessSpec(size=32, framing="center", crop_share=0.875, mean=(0.1, 0.2, 0.3)),
        decode=DecodeConfig(beam=4, n_best=2, length_penalty=0.5),
        vocabulary_fingerprint=WORDS.fingerprint,
        training={"epochs": 3, "history": [{"loss": 1.5}, {"loss": 1.25e-7}], "per_epoch": {2: "a", 10: "b"}},
        scores=({"name": "CIDEr", "value": 71.25, "signature": "CIDEr|refs:5"},),
        licences={"encoder": "Apache-2.0 © someone"},
    )
    return replace(facts, **changes)


def save(folder: Path, mark: bytes = b"1", **changes) -> None:
    """Save a bundle whose graphs are arbitrary bytes: nothing here opens them."""
    parts = folder.parent / f"parts of {folder.name}"
    parts.mkdir(parents=True, exist_ok=True)
    for name in GRAPHS:
        (parts / name).write_bytes(name.encode() + mark * 300)
    save_bundle(folder, manifest_of(**changes), WORDS, {name: parts / name for name in GRAPHS})


def edit(folder: Path, change) -> None:
    """Change the manifest's values and seal it again, as someone would who knows how."""
    data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    del data["seal"]
    change(data)
    seal = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({**data, "seal": seal}), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "bundle")
    return tmp_path / "bundle"


# ---- save and load --------------------------------------------------------------------------------------------------


def test_loading_gives_what_was_saved(folder):
    bundle = load_bundle(folder)
    assert bundle.folder == folder
    assert bundle.vocabulary == WORDS
    saved = manifest_of()
    as_json = json.loads(json.dumps(saved.training))  # JSON knows no integer keys
    assert bundle.manifest == replace(saved, training=as_json)
    assert bundle.manifest.package_version == __version__
    for name in GRAPHS:
        assert bundle.path(name).read_bytes() == name.encode() + b"1" * 300


def test_a_bundle_holds_its_files_and_nothing_else_and_leaves_nothing_beside_it(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted([MANIFEST, VOCABULARY, *GRAPHS])
    assert sorted(path.name for path in folder.parent.iterdir()) == ["bundle", "parts of bundle"]


def test_the_weights_to_train_on_may_be_left_out(tmp_path, folder):
    parts = {name: folder / name for name in GRAPHS if name != WEIGHTS}
    save_bundle(tmp_path / "small", manifest_of(), WORDS, parts)
    assert load_bundle(tmp_path / "small").manifest.encoder["name"] == "vgg16"


def test_saving_again_replaces_the_whole_bundle(folder):
    save(folder, b"2", created="2027")
    assert load_bundle(folder).manifest.created == "2027"
    assert (folder / ENCODER).read_bytes().endswith(b"2")
    assert sorted(path.name for path in folder.parent.iterdir()) == ["bundle", "parts of bundle"]


def test_the_manifest_is_written_last(tmp_path, monkeypatch):
    written = []
    write = Path.write_text
    monkeypatch.setattr(
        Path, "write_text", lambda self, *a, **k: written.append(sorted(self.parent.iterdir())) or write(self, *a, **k)
    )
    save(tmp_path / "bundle")
    assert {path.name for path in written[-1]} == {VOCABULARY, *GRAPHS}


@pytest.mark.parametrize("name", [ENCODER, DECODER_START, DECODER_STEP])
def test_saving_without_a_graph_is_refused(tmp_path, folder, name):
    parts = {each: folder / each for each in GRAPHS if each != name}
    with pytest.raises(BundleError, match=name):
        save_bundle(tmp_path / "new", manifest_of(), WORDS, parts)


@pytest.mark.parametrize("name", [MANIFEST, VOCABULARY, "../escaped", "notes.txt"])
def test_saving_a_file_that_a_bundle_has_no_place_for_is_refused(tmp_path, folder, name):
    parts = {**{each: folder / each for each in GRAPHS}, name: folder / ENCODER}
    with pytest.raises(BundleError, match="no place"):
        save_bundle(tmp_path / "new", manifest_of(), WORDS, parts)
    assert not (tmp_path / "escaped").exists()


def test_saving_with_the_vocabulary_of_other_weights_is_refused(tmp_path, folder):
    parts = {name: folder / name for name in GRAPHS}
    with pytest.raises(BundleError, match="vocabulary is not the one"):
        save_bundle(tmp_path / "new", manifest_of(), Vocabulary(("a", "cat")), parts)


def test_a_save_that_fails_leaves_the_old_bundle(folder, tmp_path):
    parts = {name: folder / name for name in GRAPHS}
    with pytest.raises(BundleError, match="cannot save the bundle"):
        save_bundle(folder, manifest_of(created="2027"), WORDS, {**parts, WEIGHTS: tmp_path / "gone"})
    assert load_bundle(folder).manifest.created == manifest_of().created
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "parts of bundle"]


@pytest.mark.parametrize("what", ["files", "a folder", "a file in its place"])
def test_what_is_no_bundle_is_never_replaced(tmp_path, what):
    target = tmp_path / "pictures"
    if what == "a file in its place":
        target.write_bytes(b"mine")
    elif what == "files":
        target.mkdir()
        (target / "photo.jpg").write_bytes(b"mine")
    else:
        (target / "more").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BundleError, match=r"no bundle|is a file"):
        save(target)
    shutil.rmtree(tmp_path / "parts of pictures")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_may_become_a_bundle(tmp_path):
    (tmp_path / "bundle").mkdir()
    save(tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").vocabulary == WORDS


# ---- damage ---------------------------------------------------------------------------------------------------------


def test_whatever_bit_is_flipped_the_bundle_is_refused(folder):
    chance = random.Random(1)
    paths = sorted(folder.iterdir())
    places = [(path, place) for path in paths for place in (0, path.stat().st_size - 1)]
    places += [(path, chance.randrange(path.stat().st_size)) for path in chance.choices(paths, k=200)]
    for path, place in places:
        good = path.read_bytes()
        bad = bytearray(good)
        bad[place] ^= 1 << chance.randrange(8)
        path.write_bytes(bad)
        with pytest.raises(BundleError):
            load_bundle(folder)
        path.write_bytes(good)
    load_bundle(folder)


@pytest.mark.parametrize("name", [VOCABULARY, *GRAPHS])
@pytest.mark.parametrize("damage", ["missing", "shorter", "longer", "empty", "a folder"])
def test_a_damaged_file_is_named(folder, name, damage):
    path = folder / name
    if damage == "shorter":
        os.truncate(path, path.stat().st_size - 1)
    elif damage == "longer":
        path.write_bytes(path.read_bytes() + b"\n")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
        if damage == "a folder":
            path.mkdir()
    with pytest.raises(BundleError, match=name):
        load_bundle(folder)


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder", "a folder without manifest"])
def test_what_is_no_bundle_is_called_so(tmp_path, folder, what):
    other = tmp_path / "other"
    if what == "a file":
        other.write_bytes(b"")
    elif what == "an empty folder":
        other.mkdir()
    elif what == "a folder without manifest":
        shutil.copytree(folder, other)
        (other / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"not a bundle|Not a directory"):
        load_bundle(other)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b'{"format_version": 1', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a":' * 50_000, "not JSON"),
        (b'{"format_version": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b" " * 1_000_001, "larger than a manifest may be"),
        (b"[]", "not the manifest"),
        (b"null", "not the manifest"),
        (b"{}", "not the manifest"),
        (b'{"format_version": "1"}', "not the manifest"),
        (b'{"format_version": 0}', "not the manifest"),
        (b'{"format_version": 1}', "changed or damaged"),
    ],
)
def test_a_manifest_that_is_none_is_refused(folder, content, message):
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


def test_a_pickle_under_the_name_of_a_part_never_runs(folder, tmp_path):
    marker = tmp_path / "it ran"
    payload = pickle.dumps(Bomb(str(marker)))
    for name in [MANIFEST, VOCABULARY, *GRAPHS]:
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(payload)
        with pytest.raises(BundleError):
            load_bundle(folder)
        (folder / name).write_bytes(good)

    def admit(data):
        entry = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
        data["files"] = dict.fromkeys(data["files"], entry)

    for name in [VOCABULARY, *GRAPHS]:
        (folder / name).write_bytes(payload)
    edit(folder, admit)
    with pytest.raises(CaptionerError):
        load_bundle(folder)
    assert not marker.exists()
    pickle.loads(payload)
    assert marker.exists()  # it would have been seen


class Bomb:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


# ---- manifests that are sealed, and wrong all the same --------------------------------------------------------------


def test_a_newer_format_says_what_to_upgrade_and_names_both_versions(folder):
    edit(folder, lambda data: data.update(format_version=FORMAT_VERSION + 6, package_version="99.1", novelty=[]))
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    for part in (f"format {FORMAT_VERSION + 6}", f"up to {FORMAT_VERSION}", __version__, "99.1", "pip install -U"):
        assert part in caught.value.message


def test_the_vocabulary_of_other_weights_is_refused(folder):
    edit(folder, lambda data: data.update(vocabulary_fingerprint="0" * 64))
    with pytest.raises(BundleError, match=r"vocabulary .* is not the one"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("scores"), "scores"),
        (lambda data: data.update(surprise=1), "surprise"),
        (lambda data: data.update(created=2026), "created"),
        (lambda data: data.update(licences=[]), "licences"),
        (lambda data: data.update(scores={}), "scores"),
        (lambda data: data.update(vocabulary_fingerprint=None), "vocabulary_fingerprint"),
        (lambda data: data["decode"].update(beam=0), "beam"),
        (lambda data: data["decode"].update(beam=10**9), "beam"),
        (lambda data: data["decode"].update(beam=2.5), "beam"),
        (lambda data: data["decode"].update(beam=True), "beam"),
        (lambda data: data["decode"].update(max_length="9"), "max.length"),
        (lambda data: data["decode"].update(length_penalty=float("nan")), "length.penalty"),
        (lambda data: data["decode"].update(length_penalty=float("inf")), "length.penalty"),
        (lambda data: data["decode"].update(length_penalty="1"), "length.penalty"),
        (lambda data: data["decode"].update(colour=1), "no option 'colour'"),
        (lambda data: data["decode"].update(temperature="hot"), "temperature"),
        (lambda data: data["preprocess"].update(size=10**6), "size"),
        (lambda data: data["preprocess"].update(std=[0, 1, 1]), "std"),
        (lambda data: data["preprocess"].pop("mean"), "mean"),
        (lambda data: data["preprocess"].update(zoom=2), "zoom"),
        (lambda data: data.update(files=[]), "files"),
        (lambda data: data["files"].pop(ENCODER), "files"),
        (lambda data: data["files"].update({"../../secret": data["files"][ENCODER]}), "files"),
        (lambda data: data["files"].update({ENCODER: "abc"}), ENCODER),
        (lambda data: data["files"][ENCODER].update(bytes="many"), ENCODER),
        (lambda data: data["files"][ENCODER].update(sha256=None), ENCODER),
        (lambda data: data["files"][ENCODER].update(bytes=10**15), ENCODER),
    ],
)
def test_a_wrong_value_is_refused_by_name(folder, change, message):
    edit(folder, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"format": 1, "rules": "other", "tokens": []}'])
def test_a_broken_vocabulary_is_refused_even_when_it_is_sealed(folder, content):
    (folder / VOCABULARY).write_bytes(content)
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    edit(folder, lambda data: data["files"].update({VOCABULARY: entry}))
    with pytest.raises(BundleError, match=f"vocabulary .*{VOCABULARY}"):
        load_bundle(folder)


def test_the_edit_of_these_tests_is_itself_no_reason_to_refuse(folder):
    edit(folder, lambda data: data["decode"].update(beam=7, length_penalty=1))
    assert load_bundle(folder).manifest.decode.beam == 7


# ---- killed while it is saved ---------------------------------------------------------------------------------------

KILLED_SAVES = """
import os, signal, sys
from pathlib import Path
import test_bundle as tests

def dies_at(step, module, name):
    original = getattr(module, name)
    def call(*arguments, **options):
        step[0] -= 1
        if step[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **options)
    setattr(module, name, call)

for number in range(1, 40):
    folder = Path(sys.argv[1]) / f"runs{number}" / "one" / "bundle"
    tests.save(folder, b"1", created="2026")
    child = os.fork()
    if not child:
        step = [number]
        # Every step that a save takes on disk: copies, syncs, renames, and clearing up.
        dies_at(step, tests.shutil, "copyfile")
        dies_at(step, os, "fsync")
        dies_at(step, os, "rename")
        dies_at(step, tests.shutil, "rmtree")
        tests.save(folder, b"2", created="2027")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(number - 1)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_save_killed_anywhere_leaves_the_old_or_the_new_bundle_and_the_next_save_goes_through(tmp_path):
    """After a kill at any step `load_bundle` and `newest_bundle` find a whole bundle, even between the two renames,
    when there is no folder of that name. The next save puts everything right.
    """
    paths = os.pathsep.join(str(folder) for folder in (Path(__file__).parent, Path(__file__).parents[2]))
    killer = subprocess.run(
        [sys.executable, "-c", KILLED_SAVES, str(tmp_path)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert killer.returncode == 0, killer.stderr.decode()
    seen, without_folder = [], 0
    for number in range(1, int(killer.stdout) + 1):
        runs = tmp_path / f"runs{number}"
        folder = runs / "one" / "bundle"
        without_folder += not folder.exists()
        assert newest_bundle(runs) == folder
        bundle = load_bundle(folder)
        seen.append(bundle.manifest.created)
        mark = {"2026": b"1", "2027": b"2"}[bundle.manifest.created]
        assert all(bundle.path(name).read_bytes().endswith(mark) for name in GRAPHS)
        save(folder, b"3", created="2028")
        assert load_bundle(folder).manifest.created == "2028"
        assert load_bundle(folder).folder == folder
    assert seen == sorted(seen)  # old up to some step, new from there on
    assert seen.count("2026") >= 12  # four copies, six syncs, two renames
    assert seen.count("2027") >= 1
    assert without_folder == 1


def test_a_rename_that_fails_puts_the_old_bundle_back(folder, monkeypatch):
    rename = Path.rename

    def refuse(self, target):
        if Path(target) == folder and "old" not in self.name:
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(BundleError, match="Permission denied"):
        save(folder, b"2", created="2027")
    assert load_bundle(folder).folder == folder
    assert load_bundle(folder).manifest.created == manifest_of().created


# ---- the newest -----------------------------------------------------------------------------------------------------


def test_the_newest_bundle_is_the_one_saved_last_by_its_own_record(tmp_path):
    for name, created in (("a", "2026-05"), ("b", "2026-09"), ("c", "2026-07")):
        save(tmp_path / name / "bundle", created=created)
    os.utime(tmp_path / "a" / "bundle" / MANIFEST, (2e9, 2e9))
    os.utime(tmp_path / "a" / "bundle", (2e9, 2e9))
    assert newest_bundle(tmp_path) == tmp_path / "b" / "bundle"


def test_what_cannot_be_read_is_not_the_newest(tmp_path):
    save(tmp_path / "a" / "bundle", created="2026")
    save(tmp_path / "b" / "bundle", created="2027")
    (tmp_path / "b" / "bundle" / MANIFEST).write_bytes(b"{")
    (tmp_path / "c").write_bytes(b"")
    (tmp_path / "d" / "bundle").mkdir(parents=True)
    assert newest_bundle(tmp_path) == tmp_path / "a" / "bundle"


def test_there_may_be_none(tmp_path):
    assert newest_bundle(tmp_path) is None
    assert newest_bundle(tmp_path / "runs") is None


# ---- saved elsewhere ------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """`runs` as commands name it, seen from the folder that they run in."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "runs" / "a" / "bundle", created="2026")
    return Path("runs")


def test_a_bundle_saved_elsewhere_is_found(runs, tmp_path, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "bundle"
    for place, created, line in (
        (Path("else where") / "bundle", "2027", "else where/bundle"),
        (tmp_path / "runs" / "deep" / "down" / "bundle", "2028", "runs/deep/down/bundle"),
        (outside, "2029", str(outside)),
    ):
        save(place, created=created)
        assert newest_bundle(runs) != Path(line)
        remember_bundle(runs, place)
        assert newest_bundle(runs) == Path(line)
        assert (runs / "bundles.txt").read_text(encoding="utf-8").splitlines()[-1] == line
    assert not [path for path in runs.iterdir() if path.name.startswith(".")]


def test_a_bundle_is_remembered_once_and_not_at_all_where_it_is_looked_for(runs):
    remember_bundle(runs, runs / "a" / "bundle")
    assert not (runs / "bundles.txt").exists()
    for _ in range(2):
        remember_bundle(runs, Path("out/bundle"))
        remember_bundle(runs, Path("out/bundle").resolve())
    assert (runs / "bundles.txt").read_bytes() == b"out/bundle\n"


def test_remembering_makes_the_folder_for_it(tmp_path):
    save(tmp_path / "out" / "bundle")
    remember_bundle(tmp_path / "runs", tmp_path / "out" / "bundle")
    assert newest_bundle(tmp_path / "runs") == tmp_path / "out" / "bundle"


def test_a_remembered_bundle_that_is_gone_or_was_none_is_passed_over(runs):
    save(Path("out/bundle"), created="2027")
    remember_bundle(runs, Path("out/bundle"))
    with (runs / "bundles.txt").open("ab") as file:
        file.write(b"nowhere\n\n\0\n\xff\n" + b"x" * 5000)
    assert newest_bundle(runs) == Path("out/bundle")
    shutil.rmtree("out")
    assert newest_bundle(runs) == runs / "a" / "bundle"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not UTF-8")
def test_names_that_are_not_utf_8_are_remembered_too(runs):
    folder = Path(os.fsdecode(b"caf\xe9\r")) / "bundle"
    save(folder, created="2027")
    remember_bundle(runs, folder)
    assert newest_bundle(runs) == folder


def test_what_cannot_be_remembered_says_so(runs):
    with pytest.raises(BundleError, match="two lines"):
        remember_bundle(runs, Path("two\nlines"))
    Path("file").touch()
    with pytest.raises(BundleError, match="cannot note"):
        remember_bundle(Path("file"), Path("out/bundle"))


def test_a_swollen_file_is_refused_without_being_read(folder, monkeypatch):
    """By its size alone, before any hash is computed."""
    monkeypatch.setattr(bundles, "_sha256", lambda path: pytest.fail(f"{path} was read"))
    monkeypatch.setattr(bundles, "MAX_FILE_BYTES", 10)
    with pytest.raises(BundleError, match="changed or damaged"):
        load_bundle(folder)
