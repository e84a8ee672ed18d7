"""The captioner that ships: small, complete, silent about where it was made, and taken when none was trained."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import captioner
from captioner.bundle import MODEL_CARD, PRETRAINED, load_bundle, pretrained_bundle
from captioner.errors import ConfigError
from captioner.metrics.evaluate import evaluate

FLICKR8K = Path(__file__).parents[3] / "shared" / "data" / "flickr8k"


@pytest.fixture
def photo(tmp_path, monkeypatch) -> Path:
    """A picture in a folder where nothing was ever trained."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((400, 300)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_it_is_small_and_whole() -> None:
    assert pretrained_bundle() == PRETRAINED
    bundle = load_bundle(PRETRAINED)
    assert sum(path.stat().st_size for path in PRETRAINED.iterdir()) <= 10_000_000
    assert len(bundle.vocabulary) > 2000


def test_its_manifest_has_the_log_of_its_training_and_its_scores_and_no_paths() -> None:
    manifest = load_bundle(PRETRAINED).manifest
    steps = list(_steps(manifest.training))
    assert len(steps) >= 3
    for step in steps:
        epochs = [row for row in step["history"] if row.get("epoch") != 0]
        assert len(epochs) == step["epochs"]
        assert step["pictures"] == {"train": 6000, "dev": 1000}
        assert all({"train_loss", "dev_loss", "dev_cider"} <= epoch.keys() for epoch in epochs)
    assert manifest.licences == {"encoder": "Apache-2.0", "training data": "research and education"}
    assert {"CIDEr", "BLEU-4", "ROUGE-L"} <= {row["name"] for row in manifest.scores}
    assert all(row["interval"][0] < row["value"] < row["interval"][1] for row in manifest.scores)
    text = (PRETRAINED / "manifest.json").read_text(encoding="utf-8")
    assert not any(part in text for part in ('"/', "\\\\", "/home", "/tmp"))


def _steps(training: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The log of a training, of all that it began with and of all that it learned from."""
    yield training
    for earlier in [*training.get("started_from", []), *training.get("teachers", [])]:
        yield from _steps(earlier)


def test_the_model_card_is_in_it_and_has_its_scores() -> None:
    card = (PRETRAINED / MODEL_CARD).read_text(encoding="utf-8")
    page = Path(__file__).parents[2] / "docs" / "model-card.md"
    if page.exists():  # not beside the wheel
        assert card == page.read_text(encoding="utf-8")
    manifest = load_bundle(PRETRAINED).manifest
    for row in manifest.scores:
        if row["name"] in ("CIDEr", "BLEU-4", "ROUGE-L", "METEOR"):
            assert f"{row['value']:.1f} ({row['interval'][0]:.1f} to {row['interval'][1]:.1f})" in card
    size = sum(path.stat().st_size for path in PRETRAINED.iterdir()) / 1e6
    assert f"| size | {size:.1f} MB" in card
    assert f"{100 * manifest.confidence['error']:.1f} points apart" in card


def test_load_takes_it_when_nothing_was_trained(photo: Path) -> None:
    model = captioner.load()
    assert model.bundle.folder == PRETRAINED
    caption = model.caption(photo)
    assert 3 <= len(caption.words) <= 30
    assert caption.log_prob < 0


def test_it_tells_where_it_looks_for_each_word(photo: Path) -> None:
    model = captioner.load(PRETRAINED)
    caption = model.caption(photo)
    where = model.attention(photo)
    assert where.shape == (len(caption.words), 9, 9)
    assert (where > 0).all()
    np.testing.assert_allclose(where.sum(axis=(1, 2)), 1, atol=1e-4)
    np.testing.assert_allclose(model.attention(photo, caption.text), where, atol=1e-6)
    prefix = " ".join(caption.text.split()[:2])  # later words change nothing of where it looked for earlier ones
    np.testing.assert_allclose(model.attention(photo, prefix), where[:2], atol=1e-6)
    assert np.abs(where[0] - where[-1]).max() > 1e-3
    assert model.attention(photo, "").shape == (0, 9, 9)
    with pytest.raises(ConfigError, match="a single captioner with the decoder `attention`"):
        captioner.load([PRETRAINED, PRETRAINED]).attention(photo)


@pytest.mark.parametrize("command", [["-m", "captioner", "caption"], ["run_captioner.py"]])
def test_the_command_line_takes_it_and_says_so(photo: Path, command: list[str]) -> None:
    root = Path(__file__).parents[2]
    if command[0].endswith(".py"):
        command = [str(root / command[0])]
        if not Path(command[0]).exists():
            pytest.skip("the root scripts are not part of the wheel")
    done = subprocess.run(
        [sys.executable, *command, "photo.jpg", "--json"],
        cwd=photo.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(captioner.__file__).parents[1])]))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("using the captioner that ships with the package")
    assert json.loads(done.stdout)["caption"] == captioner.load().caption(photo).text


def test_what_it_says_of_a_picture_does_not_depend_on_the_others(photo: Path) -> None:
    random = np.random.default_rng(1)
    pictures = [photo, *(random.integers(0, 256, (40, 60, 3), np.uint8) for _ in range(4))]
    model = captioner.load(PRETRAINED)
    alone = [model.caption(picture) for picture in pictures]
    for found in (model.caption_batch(pictures), list(model.iter_captions(pictures, batch=2, workers=2))):
        assert [each.text for each in found] == [each.text for each in alone]
        np.testing.assert_allclose([each.log_prob for each in found], [each.log_prob for each in alone], atol=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(not FLICKR8K.is_dir(), reason="Flickr8k is not in ../shared")
def test_its_scores_are_the_recorded_ones() -> None:
    """All 1,000 dev pictures, captioned from their files.

    The build captioned their stored features, which are float16: that changes a caption here and there.
    """
    model = captioner.load(PRETRAINED, threads=2)
    from captioner.datasets.registry import open_dataset

    records = list(open_dataset(str(FLICKR8K)).records("dev"))
    captions = model.iter_captions(record.source.read_bytes() for record in records)
    predictions = {record.image_id: caption.text for record, caption in zip(records, captions, strict=True)}
    references = {record.image_id: record.captions for record in records}
    recorded = {(row["name"], row["search"]): row["value"] for row in model.bundle.manifest.scores}
    for score in evaluate(predictions, references, metrics=["CIDEr", "BLEU-4"]):
        assert score.value == pytest.approx(recorded[score.name, "beam 5"], abs=0.5)
