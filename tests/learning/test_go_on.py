"""A captioner that goes on with new data learns its words, and forgets little of what it knew."""

import json
from itertools import islice

import pytest

pytest.importorskip("torch")

from captioner.cli import build as build_verb
from captioner.datasets.scenes import ScenesDataset
from captioner.runtime.captioner import load

pytestmark = [pytest.mark.torch, pytest.mark.slow]

NEW = "triangle"


@pytest.fixture(scope="module")
def scenes():
    return ScenesDataset.open("scenes")


def has_new(record):
    return any(NEW in caption for caption in record.captions)


def write(folder, records):
    folder.mkdir()
    for record in records:
        (folder / f"{record.image_id}.png").write_bytes(record.source.read_bytes())
        (folder / f"{record.image_id}.txt").write_text("\n".join(record.captions), encoding="utf-8")


def build(folder, *arguments):
    options = (
        "--epochs",
        "20",
        "--batch-size",
        "16",
        "--patience",
        "20",
        "--min-count",
        "1",
        "--beam",
        "1",
        "--cache",
        folder / "cache",
    )
    assert build_verb.main([str(each) for each in (*arguments, *options)]) == 0


def true_share(bundle, records, judge):
    captions = load(bundle).iter_captions([record.source for record in records], workers=2, beam=3)
    said = [caption.text for caption in captions]
    true = sum(judge(record.image_id, text) for record, text in zip(records, said, strict=True))
    return true / len(records), sum(NEW in text for text in said) / len(records)


def test_new_words_are_learned_and_old_ones_not_forgotten(scenes, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONER_CACHE", str(tmp_path / "cache"))
    train, held_back = list(islice(scenes.records("train"), 1200)), list(islice(scenes.records("dev"), 200))
    without, with_new = ([record for record in train if has_new(record) == wanted] for wanted in (False, True))
    old, new = ([record for record in held_back if has_new(record) == wanted] for wanted in (False, True))
    write(tmp_path / "old", without[:-150])
    write(tmp_path / "new", without[-150:] + with_new[:150])
    first, second = tmp_path / "first", tmp_path / "second"
    sizes = ("--embed", "64", "--hidden", "128", "--dropout", "0.2")
    build(tmp_path, "--data", tmp_path / "old", "--encoder", "builtin", *sizes, "--out", first)
    build(tmp_path, "--data", tmp_path / "new", "--from", first, "--learning-rate", "0.001", "--out", second)

    words = [json.loads((folder / "bundle" / "vocabulary.json").read_text())["tokens"] for folder in (first, second)]
    assert NEW not in words[0]
    assert NEW in words[1]
    assert words[1][: len(words[0])] == words[0]
    before, _ = true_share(first / "bundle", old, scenes.judge)
    after, said_of_old = true_share(second / "bundle", old, scenes.judge)
    true_before, said_before = true_share(first / "bundle", new, scenes.judge)
    true_after, said_after = true_share(second / "bundle", new, scenes.judge)
    assert said_before == 0
    assert said_after > 0.6
    assert true_after > true_before + 0.2
    assert after > before - 0.05
    assert said_of_old < 0.05
