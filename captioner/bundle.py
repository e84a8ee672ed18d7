"""What a trained captioner is on disk: a folder of plain files, described and sealed by `manifest.json`.

    manifest.json         format and package version, architecture, PreprocessSpec, decode defaults, training record,
                          scores, licences, the SHA-256 and size of every other file, and a seal: the SHA-256 of
                          all this; written last
    vocabulary.json       words and ids
    encoder.onnx          picture → features
    decoder_start.onnx    features → state
    decoder_step.onnx     word, state → log-probabilities of the next word, state
    weights.safetensors   the same weights, to go on training
    model-card.md         for people: what it is good for, and what not
    neighbours.npy        a vector for each of some training pictures, and neighbours.jsonl: their captions

Saving builds a temporary folder beside the target and renames it; whenever it is killed, the old bundle or the new one
is found. Loading checks every file against the manifest before anything is used. Knows nothing of torch, and of ONNX
only the file names.

(Longer than 300 lines: what is written, how it is verified and where it is found are one contract.)
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from captioner.config.decode import DecodeConfig
from captioner.errors import BundleError, CaptionerError, VocabularyError
from captioner.images import PreprocessSpec
from captioner.text.vocabulary import Vocabulary
from captioner.version import __version__

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
VOCABULARY = "vocabulary.json"
ENCODER = "encoder.onnx"
DECODER_START = "decoder_start.onnx"
DECODER_STEP = "decoder_step.onnx"
WEIGHTS = "weights.safetensors"
MODEL_CARD = "model-card.md"
NEIGHBOURS = "neighbours.npy"
NEIGHBOURS_CAPTIONS = "neighbours.jsonl"
REQUIRED = (VOCABULARY, ENCODER, DECODER_START, DECODER_STEP)
OPTIONAL = (WEIGHTS, MODEL_CARD, NEIGHBOURS, NEIGHBOURS_CAPTIONS)

ELSEWHERE = "bundles.txt"
"""Beside the runs: the bundles that were saved outside of them, one folder a line, seen from where the runs are."""

RUNS = Path("runs")
"""Where `build_and_run.py` saves, seen from the folder that it runs in."""
PRETRAINED = Path(__file__).parent / "pretrained"
"""Where the captioner is that ships with the package."""

MAX_MANIFEST_BYTES = 1_000_000
MAX_FILE_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Manifest:
    """The facts of a captioner, apart from its words and weights."""

    created: str
    """When it was saved, ISO 8601 in UTC; the newest of several bundles is chosen by this."""
    encoder: Mapping[str, Any]
    """Name, origin of the weights, kind and shape of the features."""
    decoder: Mapping[str, Any]
    """The decoder's options with all sizes."""
    preprocess: PreprocessSpec
    """How pictures become pixels for this encoder."""
    decode: DecodeConfig
    """How captions are searched for unless asked otherwise."""
    vocabulary_fingerprint: str
    """Of the vocabulary that the weights were trained with."""
    training: Mapping[str, Any]
    """The record of training: data, options, seed, epochs, versions."""
    scores: tuple[Mapping[str, Any], ...]
    """Scores with split, value and signature."""
    licences: Mapping[str, str]
    """What each part may be used under, as far as it is known."""
    confidence: Mapping[str, Any] | None = None
    """How log-probabilities become confidence (`evaluation/confidence.py`), and how far that can be trusted; None in
    bundles of earlier versions."""
    package_version: str = __version__
    """The version of captioner that saved it."""
    format_version: int = FORMAT_VERSION
    """The version of this layout."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; `from_json` is its mirror image."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "preprocess": self.preprocess.to_json(), "decode": asdict(self.decode)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Raises BundleError when a field is missing, unknown or of the wrong type."""
        names = {field.name for field in fields(cls)}
        wrong = sorted(names.symmetric_difference(data) - {"confidence"})
        if wrong:
            raise BundleError(f"the manifest of this bundle has missing or unknown fields: {', '.join(wrong)}")
        if not isinstance(data.get("confidence"), dict | None):
            raise BundleError("`confidence` in the manifest of this bundle is not an object")
        for what, kind, names_of_kind in _KINDS:
            for name in names_of_kind:
                if not isinstance(data[name], kind):
                    raise BundleError(f"`{name}` in the manifest of this bundle is not {what}")
        try:
            values = {
                **data,
                "preprocess": PreprocessSpec.from_json(data["preprocess"]),
                "decode": DecodeConfig().changed(data["decode"]),
                "scores": tuple(data["scores"]),
            }
            return cls(**values)
        except (CaptionerError, TypeError, ValueError) as error:
            raise BundleError(f"the manifest of this bundle is not valid: {error}") from None


_KINDS = (
    ("an object", dict, ("encoder", "decoder", "preprocess", "decode", "training", "licences")),
    ("a text", str, ("created", "vocabulary_fingerprint", "package_version")),
    ("a list", list, ("scores",)),
)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files were found complete and unchanged."""

    folder: Path
    manifest: Manifest
    vocabulary: Vocabulary
    keeps_neighbours: bool = False
    """Whether there are training pictures in it, to be shown beside captions."""

    @property
    def fingerprint(self) -> str:
        """What tells it from all others: SHA-256 of its manifest, which holds those of its other files."""
        return _sha256(self.path(MANIFEST))

    def path(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name


def save_bundle(folder: Path, manifest: Manifest, vocabulary: Vocabulary, files: Mapping[str, Path]) -> None:
    """Write a bundle in place of the bundle or empty folder at `folder`, if there is one; all or nothing.

    Only one process at a time may save to a folder.

    Args:
        folder: the bundle's folder. Its parent is created.
        manifest: its facts.
        vocabulary: its words; must be the one of the weights.
        files: the graphs and weights by bundle name, copied from where they are.

    Raises:
        BundleError: a file is missing, the vocabulary is another one, the folder cannot be written, or it is full of
            what is no bundle.
    """
    _check_replaceable(folder)
    if vocabulary.fingerprint != manifest.vocabulary_fingerprint:
        raise BundleError("the vocabulary is not the one that the weights were trained with")
    missing = [name for name in REQUIRED if name != VOCABULARY and name not in files]
    if missing:
        raise BundleError(f"a bundle needs {', '.join(missing)} too")
    unknown = sorted(files.keys() - {*REQUIRED, *OPTIONAL} | files.keys() & {VOCABULARY})
    if unknown:
        raise BundleError(f"a bundle has no place for {', '.join(unknown)}")
    staging = folder.with_name(f".{folder.name}.new")
    try:
        shutil.rmtree(staging, ignore_errors=True)  # what a save left that was killed
        staging.mkdir(parents=True)
        vocabulary.save(staging / VOCABULARY)
        for name, source in files.items():
            shutil.copyfile(source, staging / name)
        entries = {path.name: _describe(path) for path in sorted(staging.iterdir())}
        data = json.loads(json.dumps({**manifest.to_json(), "files": entries}))  # as loading will see it
        text = json.dumps({**data, "seal": _seal(data)}, indent=2)
        (staging / MANIFEST).write_text(text + "\n", encoding="utf-8")
        for path in staging.iterdir():
            _sync(path)
        _replace_folder(staging, folder)
    except OSError as error:
        raise BundleError(f"cannot save the bundle to {folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and verify it.

    Raises:
        BundleError: it is not a bundle, incomplete, changed since it was saved, or of a newer format.
    """
    folder = _standing(folder)
    data = _read_manifest(folder)
    if data.pop("seal", None) != _seal(data):
        raise BundleError(f"{folder / MANIFEST} was changed or damaged after it was saved; copy the bundle again")
    entries = data.pop("files", None)
    if not isinstance(entries, dict) or not set(REQUIRED) <= entries.keys() <= {*REQUIRED, *OPTIONAL}:
        raise BundleError(f"the manifest in {folder} does not list the files of a bundle")
    for name, entry in entries.items():
        _verify(folder / name, entry)
    manifest = Manifest.from_json(data)
    try:
        vocabulary = Vocabulary.load(folder / VOCABULARY)
    except VocabularyError as error:
        raise BundleError(error.message) from None
    if vocabulary.fingerprint != manifest.vocabulary_fingerprint:
        raise BundleError(f"the vocabulary in {folder} is not the one that the weights were trained with")
    return Bundle(folder, manifest, vocabulary, {NEIGHBOURS, NEIGHBOURS_CAPTIONS} <= entries.keys())


def bundle_of(folder: Path) -> Path:
    """The bundle that somebody means by a folder: that of a build, or it itself; `pretrained`: the one shipped."""
    if folder == Path(PRETRAINED.name) and not folder.exists():
        return PRETRAINED
    bundle = folder / "bundle"
    return bundle if bundle.is_dir() else folder


def trained_bundles(runs: Path) -> list[Path]:
    """The bundles of builds, the one that was saved last first, by its own record.

    They are looked for at `runs/*/bundle` and where `remember_bundle` noted; what is gone or damaged is passed over.
    """
    created: dict[Path, str] = {}
    for folder in (*(run / "bundle" for run in runs.glob("*")), *(runs.parent / line for line in _remembered(runs))):
        with suppress(BundleError, OSError, ValueError):  # ValueError: a line with a null is no path
            created[folder] = str(_read_manifest(_standing(folder)).get("created", ""))
    return sorted(created, key=lambda folder: (created[folder], str(folder)), reverse=True)


def newest_bundle(runs: Path) -> Path | None:
    """The first of `trained_bundles`; None when there is none."""
    return next(iter(trained_bundles(runs)), None)


def pretrained_bundle() -> Path | None:
    """The bundle that ships with the package; None in an installation without it."""
    return PRETRAINED if (PRETRAINED / MANIFEST).is_file() else None


def remember_bundle(runs: Path, folder: Path) -> None:
    """Note a bundle that was saved outside of `runs/*/bundle`, for `newest_bundle`; nothing is noted twice.

    Raises:
        BundleError: the note cannot be written; the bundle itself is none the worse.
    """
    try:
        place, home, base = folder.resolve(), runs.resolve(), runs.parent.resolve()
    except OSError as error:  # the folder that this process runs in is gone
        raise BundleError(f"cannot note where the bundle is: {error.strerror}") from None
    if place.name == "bundle" and place.parent.parent == home:
        return
    line = str(place.relative_to(base) if place.is_relative_to(base) else place)
    lines = _remembered(runs)
    if line in lines:
        return
    if "\n" in line:
        raise BundleError(f"cannot note in {runs / ELSEWHERE} where the bundle is: its name goes over two lines")
    temporary = runs / f".{ELSEWHERE}.{os.getpid()}"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes("".join(f"{each}\n" for each in (*lines, line)).encode(errors="surrogateescape"))
        temporary.replace(runs / ELSEWHERE)
    except OSError as error:
        raise BundleError(f"cannot note in {runs / ELSEWHERE} where the bundle is: {error.strerror}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _remembered(runs: Path) -> list[str]:
    """The lines of the note, none when there is no note. Names of folders may hold bytes that are not UTF-8."""
    try:
        text = (runs / ELSEWHERE).read_bytes().decode(errors="surrogateescape")
    except OSError:
        return []
    return [line for line in text.split("\n") if line]


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        what = (
            f"is not a bundle: there is no {MANIFEST} in it"
            if folder.is_dir()
            else "is not a bundle: there is no such folder"
        )
        raise BundleError(f"{folder} {what}") from None
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} is larger than a manifest may be ({MAX_MANIFEST_BYTES:,} bytes)")
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        raise BundleError(f"{path} is damaged: it is not JSON") from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if not isinstance(version, int) or version < 1:
        raise BundleError(f"{path} is not the manifest of a bundle")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{folder} has bundle format {version}; captioner {__version__} reads up to {FORMAT_VERSION}: "
            f"upgrade with `pip install -U captioner` (it was saved by {data.get('package_version')})"
        )
    found: dict[str, Any] = data
    return found


def _describe(path: Path) -> dict[str, Any]:
    return {"sha256": _sha256(path), "bytes": path.stat().st_size}


def _verify(path: Path, entry: Any) -> None:
    """Size before hash, so that a swollen file costs nothing."""
    if not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int):
        raise BundleError(f"the manifest says nothing usable of {path.name}")
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES or size != entry["bytes"] or _sha256(path) != entry.get("sha256"):
            raise BundleError(
                f"{path} is not the file that was saved: it was changed or damaged; copy the bundle again"
            )
    except OSError as error:
        raise BundleError(f"{path.parent} is incomplete: {path.name}: {error.strerror}") from None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _seal(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest's values, whatever the order and the spaces between them."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _aside(folder: Path) -> Path:
    """Where a bundle stands while another one takes its place."""
    return folder.with_name(f".{folder.name}.old")


def _standing(folder: Path) -> Path:
    """The folder itself, or the one that it was about to replace when saving was killed between the two renames."""
    aside = _aside(folder)
    return aside if aside.is_dir() and not folder.exists() else folder


def _check_replaceable(folder: Path) -> None:
    """Raise BundleError when something is at `folder` that is no bundle: saving there would delete somebody's files."""
    try:
        if folder.is_dir() and not (folder / MANIFEST).exists() and any(folder.iterdir()):
            raise BundleError(
                f"{folder} is full of files that are no bundle ({MANIFEST} is missing); move them, or save elsewhere"
            )
        if folder.exists() and not folder.is_dir():
            raise BundleError(f"{folder} is a file; move it, or save the bundle elsewhere")
    except OSError as error:
        raise BundleError(f"cannot look into {folder}: {error.strerror}") from None


def _replace_folder(new: Path, old: Path) -> None:
    """Put `new` where `old` is; a folder cannot be renamed over a full one, so the old one steps aside first."""
    aside = _aside(old)
    if old.exists():
        shutil.rmtree(aside, ignore_errors=True)  # what a save left that was killed before it had cleared up
        old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        if aside.exists():
            aside.rename(old)
        raise
    shutil.rmtree(aside, ignore_errors=True)
