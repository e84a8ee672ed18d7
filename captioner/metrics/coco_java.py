"""METEOR 1.5 and SPICE: metrics that exist only as Java programs, run from `pycocoevalcap` where that is installed.

METEOR needs a dictionary of synonyms and paraphrases, SPICE a parser; no short program is either of them, and NLTK's
"METEOR" gives other numbers. So they are computed by the originals, or they are missing and the reason is told. Knows
how to talk to the programs; nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from captioner.errors import MetricError
from captioner.metrics.base import CaptionPairs, Metric, Statistics

_NO_PACKAGE = "it needs pycocoevalcap: pip install '.[eval]' in the folder of captioner, or pip install pycocoevalcap"
_NO_JAVA = "it needs a Java runtime, 8 or newer: install one (on Debian and Ubuntu: apt install default-jre-headless)"
_NO_PARSER = (
    "it needs the parser of Stanford CoreNLP, which pycocoevalcap downloads when asked: "
    'python -c "from pycocoevalcap.spice.get_stanford_models import get_stanford_models; get_stanford_models()"'
)
_PARSER = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
# The parameters of METEOR 1.5 for English (Denkowski and Lavie 2014, section 4).
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_MATCHERS = np.array([1.0, 0.6, 0.8, 0.6])
"""The weights of exact, stemmed, synonymous and paraphrased matches."""
_NUMBERS = 23


def _package() -> Path | None:
    found = importlib.util.find_spec("pycocoevalcap")
    folders = list(found.submodule_search_locations or ()) if found else []
    return Path(folders[0]) if folders else None


def _missing() -> str | None:
    if _package() is None:
        return _NO_PACKAGE
    return None if shutil.which("java") else _NO_JAVA


@dataclass(frozen=True)
class Meteor(Metric):
    """METEOR 1.5 for English, 0 to 100 (Denkowski and Lavie 2014, "Meteor universal").

    The Java program aligns each caption with its best reference and reports what it found as 23 numbers. The score is
    ours from there on (equations 1 to 6 of the paper), so that it can be had for any set of pictures.
    """

    @property
    def name(self) -> str:
        """`METEOR`."""
        return "METEOR"

    @property
    def variant(self) -> str:
        """Version, language and normalisation."""
        return "meteor1.5,en,norm"

    def unavailable(self) -> str | None:
        """Why it cannot be had here and what to install; None when it can."""
        return _missing()

    def statistics(self, pairs: CaptionPairs) -> Statistics:
        """What the program reports of each picture.

        Raises:
            MetricError: it is not installed, or fails.
        """
        if reason := self.unavailable():
            raise MetricError(f"METEOR cannot be computed: {reason}")
        package = _package()
        assert package is not None
        questions = "".join(
            " ||| ".join(["SCORE", *map(_line, references), _line(prediction)]) + "\n"
            for prediction, references in zip(pairs.predictions, pairs.references.words, strict=True)
        )
        command = ["java", "-jar", "-Xmx2G", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"]
        try:
            done = subprocess.run(  # noqa: S603 - the program that the user installed
                command, cwd=package / "meteor", input=questions.encode(), capture_output=True, check=False
            )
        except OSError as error:
            raise MetricError(f"METEOR cannot be computed: Java does not start: {error.strerror}") from None
        answers = done.stdout.decode(errors="replace").splitlines()
        try:
            values = np.array([[float(number) for number in answer.split()] for answer in answers], np.float64)
        except ValueError:
            values = np.zeros((0, 0))
        if values.shape != (len(pairs), _NUMBERS):
            said = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[0]
            raise MetricError(f"METEOR failed after {len(answers):,} of {len(pairs):,} captions: {said}")
        return meteor_statistics(values)


def _line(words: tuple[str, ...]) -> str:
    """Words as the program takes them; its separator may not be among them."""
    return " ".join(words).replace("|||", "")


def meteor_statistics(numbers: np.ndarray) -> Statistics:
    """METEOR from what the program reports of each caption, (captions, 23), of which sums can be taken.

    The numbers: words of caption and reference, function words of both; for each of four matchers the matched content
    words of both and the matched function words of both; chunks; matched words of both.
    """
    numbers = numbers.copy()
    # A caption found whole in one piece is not fragmented at all, alone or in a sum.
    length, reference_length, chunks, matched, reference_matched = numbers[:, [0, 1, 20, 21, 22]].T
    numbers[(chunks == 1) & (matched == length) & (reference_matched == reference_length), 20] = 0
    return Statistics(numbers, _meteor)


def _meteor(sums: np.ndarray) -> np.ndarray:
    """Equations 1 to 6 on sums of the program's numbers (…, 23): 0 to 100."""
    length, reference_length, function, reference_function = (sums[..., place] for place in range(4))
    matches = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)  # (…, matcher, number)
    chunks, matched, reference_matched = sums[..., 20], sums[..., 21], sums[..., 22]

    def share(content: np.ndarray, functional: np.ndarray, words: np.ndarray, functions: np.ndarray) -> np.ndarray:
        """Matched words by all words, content words counting more than function words."""
        weighted = (_MATCHERS * (_DELTA * content + (1 - _DELTA) * functional)).sum(axis=-1)
        return _divide(weighted, _DELTA * (words - functions) + (1 - _DELTA) * functions)

    precision = share(matches[..., 0], matches[..., 2], length, function)
    recall = share(matches[..., 1], matches[..., 3], reference_length, reference_function)
    mean = _divide(precision * recall, _ALPHA * precision + (1 - _ALPHA) * recall)
    fragmentation = _divide(chunks, (matched + reference_matched) / 2)
    scores: np.ndarray = 100 * mean * (1 - _GAMMA * fragmentation**_BETA)
    return scores


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Zero where there is nothing to divide by."""
    quotient: np.ndarray = np.divide(
        numerator, denominator, out=np.zeros_like(numerator, np.float64), where=denominator > 0
    )
    return quotient


@dataclass(frozen=True)
class Spice(Metric):
    """SPICE, 0 to 100 (Anderson et al. 2016): the F-score over objects, attributes and relations."""

    @property
    def name(self) -> str:
        """`SPICE`."""
        return "SPICE"

    @property
    def variant(self) -> str:
        """Version of the program and of the parser."""
        return "spice1.0,corenlp3.6"

    def unavailable(self) -> str | None:
        """Why it cannot be had here and what to install; None when it can."""
        package = _package()
        if package is not None and not all((package / "spice" / "lib" / name).is_file() for name in _PARSER):
            return _missing() or _NO_PARSER
        return _missing()

    def statistics(self, pairs: CaptionPairs) -> Statistics:
        """The score of each picture.

        Raises:
            MetricError: it is not installed, or fails.
        """
        if reason := self.unavailable():
            raise MetricError(f"SPICE cannot be computed: {reason}")
        from pycocoevalcap.spice.spice import Spice as Program

        references = {
            place: [" ".join(words) for words in captions] for place, captions in enumerate(pairs.references.words)
        }
        predictions = {place: [" ".join(words)] for place, words in enumerate(pairs.predictions)}
        try:
            _, found = Program().compute_score(references, predictions)
        except (OSError, subprocess.SubprocessError) as error:
            raise MetricError(f"SPICE failed: {error}") from None
        scores: list[dict[str, Any]] = list(found)
        return Statistics.mean_of([100 * float(each["All"]["f"]) for each in scores])
