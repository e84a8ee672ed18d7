"""METEOR and SPICE: missing with a reason, or as the programs have them; the formula from recorded numbers."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from captioner.errors import MetricError
from captioner.metrics.base import CaptionPairs
from captioner.metrics.coco_java import Meteor, Spice, meteor_statistics

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "metrics.json").read_text(encoding="utf-8"))["meteor"]
PAIRS = CaptionPairs.from_texts({"a": "a dog runs"}, {"a": ["a dog is running"]})


def test_meteor_from_recorded_numbers_is_the_recorded_score() -> None:
    statistics = meteor_statistics(np.array(GOLDEN["numbers"], np.float64))
    assert statistics.score == pytest.approx(GOLDEN["score"], abs=1e-6)
    assert statistics.per_image == pytest.approx(GOLDEN["per_image"], abs=1e-6)


@pytest.mark.parametrize("metric", [Meteor(), Spice()], ids=lambda metric: metric.name)
def test_without_the_package_it_is_missing_and_says_what_to_install(metric, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "pycocoevalcap", raising=False)
    monkeypatch.setattr(sys, "path_importer_cache", {})
    monkeypatch.setattr(
        sys, "meta_path", [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
    )
    assert "pip install '.[eval]'" in metric.unavailable()
    with pytest.raises(MetricError, match=rf"{metric.name} cannot be computed: it needs pycocoevalcap"):
        metric.statistics(PAIRS)


@pytest.mark.parametrize("metric", [Meteor(), Spice()], ids=lambda metric: metric.name)
def test_without_java_it_is_missing_and_says_what_to_install(metric, monkeypatch, tmp_path) -> None:
    (tmp_path / "pycocoevalcap").mkdir()
    (tmp_path / "pycocoevalcap" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pycocoevalcap", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt install default-jre-headless" in metric.unavailable()


def test_spice_without_its_parser_says_how_to_get_it(monkeypatch, tmp_path) -> None:
    (tmp_path / "pycocoevalcap").mkdir()
    (tmp_path / "pycocoevalcap" / "__init__.py").touch()
    (tmp_path / "java").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pycocoevalcap", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert "get_stanford_models" in Spice().unavailable()


def test_a_program_that_fails_is_told_with_its_own_words(monkeypatch, tmp_path) -> None:
    (tmp_path / "pycocoevalcap" / "meteor").mkdir(parents=True)
    (tmp_path / "pycocoevalcap" / "__init__.py").touch()
    (tmp_path / "java").write_text("#!/bin/sh\necho 'Error: out of memory' >&2\necho '1 2 3'\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pycocoevalcap", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(MetricError, match="METEOR failed after 1 of 1 captions: Error: out of memory"):
        Meteor().statistics(PAIRS)


def test_spice_is_the_f_score_of_the_program(monkeypatch, tmp_path) -> None:
    """A program in its place that knows what it was asked; the real one needs a parser that is downloaded."""
    folder = tmp_path / "pycocoevalcap" / "spice"
    (folder / "lib").mkdir(parents=True)
    for name in ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"):
        (folder / "lib" / name).touch()
    (folder.parent / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "spice.py").write_text(
        "class Spice:\n"
        "    def compute_score(self, references, predictions):\n"
        "        assert references == {0: ['a dog is running'], 1: ['two cats', 'cats asleep']}\n"
        "        assert predictions == {0: ['a dog runs'], 1: ['cats']}\n"
        "        return 0.4, [{'All': {'pr': 0.9, 're': 0.8, 'f': f}} for f in (0.5, 0.3)]\n"
    )
    (tmp_path / "java").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("pycocoevalcap")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setenv("PATH", str(tmp_path))
    pairs = CaptionPairs.from_texts(
        {"a": "a dog runs", "b": "cats"}, {"a": ["A dog is running."], "b": ["two cats", "cats asleep"]}
    )
    statistics = Spice().statistics(pairs)
    assert statistics.per_image == pytest.approx((50, 30))
    assert statistics.score == pytest.approx(40)
