"""Our metrics against the reference implementation, live: tokens line by line, scores to a millionth of a point.

Runs where `pycocoevalcap` (extra `eval`) and Java are installed; what it showed is recorded in `golden/`, and checked
everywhere.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from captioner.metrics.base import CaptionPairs
from captioner.metrics.coco_java import Meteor
from captioner.metrics.evaluate import METRICS
from captioner.metrics.tokenizer import PUNCTUATION, tokenize

GOLDEN = Path(__file__).parents[1] / "golden"
FLICKR8K = Path(__file__).parents[3] / "shared" / "data" / "flickr8k"
RECORDED = json.loads((GOLDEN / "flickr8k.json").read_text(encoding="utf-8"))

needs_reference = pytest.mark.skipif(
    importlib.util.find_spec("pycocoevalcap") is None or shutil.which("java") is None,
    reason="the reference needs pycocoevalcap (extra eval) and Java",
)
needs_flickr8k = pytest.mark.skipif(not FLICKR8K.is_dir(), reason="the captions of Flickr8k are not in ../shared")

FRAGMENTS = {
    "contractions": ["don't", "isn't", "it's", "they're", "we've", "I'd", "cannot", "gonna", "wanna", "can't", "won't"],
    "apostrophes": ["dog's", "dogs'", "James'", "o'clock", "'90s", "rock'n'roll", "y'all", "ma'am", "o'er", "ol'"],
    "quotes": ['"stop"', "'go'", "``so''", "“curly”", "‘single’", "«that»", "5'10\"", '"a', 'b"'],
    "curly": ["don’t", "dog’s", "it’s", "’90s", "we’ll", "dogs’"],
    "unicode": ["café", "naïve", "Übung", "straße", "señor", "Кот", "猫", "고양이", "🐕", "❤", "½", "3½", "²", "№"],
    "numbers": ["1,000", "3.5", "-5", "10:30", "1998", "21st", "4x4", "1/2", "24/7", "#23", "555-1234", "+7", "007"],
    "money": ["$4.50", "£3", "€5", "5¢", "20%", "US$5"],
    "ellipses": ["...", "wait...", "....", "..", "…", ". . .", "so...on"],
    "abbreviations": ["Mr.", "Mrs.", "Dr.", "St.", "Ave.", "U.S.", "U.K.", "e.g.", "i.e.", "etc.", "p.m.", "Jr.", "A."],
    "hyphens": ["well-known", "black-and-white", "t-shirt", "-", "--", "---", "–", "—", "non-U.S.", "x-"],
    "brackets": ["(one)", "[very]", "{three}", "(", ")", "(a", "b)", "[sic]", "<b>", "</b>"],
    "signs": ["&", "AT&T", "R&B", "@", "#", "*", "**", "~", "^", "_", "=", "+", "|", "\\", "/", "w/o", "C++"],
    "addresses": ["www.example.org", "http://example.com/a", "zoo@example.org", "@zoo_keeper", "#otters"],
    "entities": ["&amp;", "&lt;", "&quot;", "&apos;", "&nbsp;"],
    "ends": [".", "!", "?", "?!", "!!!", ",", ";", ":", ".)", '."'],
    "words": ["a", "A", "the", "dog", "DOG", "Two", "runs", "on", "grass", "I", "snow", "red", "house"],
}  # fmt: skip
"""What captions are hard to cut at, by kind."""
EXPLAINED = re.compile(r"\d{4} \d{3}-\d{4} \d{3}-\d{4}")
"""Numbers in a row that the reference takes for one telephone number and cuts in its middle: 1998 555-1234 555-1234."""


def hard_captions(count: int, seed: int = 5) -> list[str]:
    """Made-up captions of three to nine fragments, half of them plain words."""
    choice = random.Random(seed)
    kinds = [kind for kind in FRAGMENTS if kind != "words"]
    captions = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        parts = [
            choice.choice(FRAGMENTS["words"]) if choice.random() < 0.5 else choice.choice(FRAGMENTS[kind])
            for _ in range(choice.randrange(3, 10))
        ]
        captions.append(" ".join([*parts, choice.choice(FRAGMENTS["words"])]) + choice.choice(["", ".", " .", "!"]))
    return captions


def unexplained_captions() -> list[str]:
    return [caption for caption in hard_captions(6000) if not EXPLAINED.search(caption)]


def reference_tokens(captions: Sequence[str]) -> list[list[str]]:
    """Tokens as pycocoevalcap gives them: its jar, its command line, its list of punctuation.

    It reads all lines as one text, and a full stop at the end of one looks at the next; a line `x` between any two
    lets each stand alone, as ours do.
    """
    package = importlib.util.find_spec("pycocoevalcap")
    assert package is not None
    folder = Path(next(iter(package.submodule_search_locations or ()))) / "tokenizer"
    command = ["java", "-cp", "stanford-corenlp-3.4.1.jar", "edu.stanford.nlp.process.PTBTokenizer"]
    done = subprocess.run(
        [*command, "-preserveLines", "-lowerCase", "-encoding", "UTF-8"],
        cwd=folder,
        input="".join(caption.replace("\n", " ") + "\nx\n" for caption in captions).encode(),
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode().split("\n")[: 2 * len(captions) : 2]
    # Split at no-break spaces too, as its BLEU and CIDEr do; the tokenizer's text names this difference.
    return [[token for token in line.rstrip().split() if token not in PUNCTUATION] for line in lines]


def differences(captions: Sequence[str]) -> list[tuple[str, list[str], list[str]]]:
    return [
        (caption, ours, theirs)
        for caption, theirs in zip(captions, reference_tokens(captions), strict=True)
        if (ours := tokenize(caption)) != theirs
    ]


def flickr8k() -> dict[str, list[str]]:
    """All captions by picture."""
    captions: dict[str, list[str]] = {}
    for line in (FLICKR8K / "Flickr8k.token.txt").read_text(encoding="utf-8").splitlines():
        name, caption = line.split("\t")
        captions.setdefault(name.split("#")[0], []).append(caption)
    return captions


def neighbours(count: int) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Pictures with the first caption of the next one as prediction."""
    captions = flickr8k()
    names = sorted(captions)[:count]
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    return {name: captions[following[name]][0] for name in names}, {name: captions[name] for name in names}


@needs_reference
def test_hard_captions_are_cut_alike() -> None:
    captions = unexplained_captions()
    assert differences(captions) == []
    assert digest(map(" ".join, reference_tokens(captions))) == RECORDED["hard_tokens_sha256"]


def test_tokens_of_hard_captions_are_the_recorded_ones() -> None:
    assert digest(" ".join(tokenize(caption)) for caption in unexplained_captions()) == RECORDED["hard_tokens_sha256"]


@needs_reference
@needs_flickr8k
def test_every_caption_of_flickr8k_is_cut_alike() -> None:
    captions = [caption for texts in flickr8k().values() for caption in texts]
    assert len(captions) == RECORDED["captions"]
    assert differences(captions) == []
    assert digest(map(" ".join, reference_tokens(captions))) == RECORDED["tokens_sha256"]


@needs_flickr8k
def test_tokens_and_scores_on_flickr8k_are_the_recorded_ones() -> None:
    tokens = (" ".join(tokenize(caption)) for texts in flickr8k().values() for caption in texts)
    assert digest(tokens) == RECORDED["tokens_sha256"]
    pairs = CaptionPairs.from_texts(*neighbours(RECORDED["pictures"]))
    for name, value in RECORDED["scores"].items():
        if name != "METEOR":
            assert METRICS[name].statistics(pairs).score == pytest.approx(value, abs=1e-6), name


@needs_reference
@needs_flickr8k
def test_scores_on_flickr8k_are_those_of_the_reference() -> None:
    predictions, references = neighbours(RECORDED["pictures"])
    pairs = CaptionPairs.from_texts(predictions, references)
    for name, (value, per_image) in reference_scores(predictions, references).items():
        score = METRICS[name].score_pairs(pairs)
        assert score.value == pytest.approx(value, abs=1e-6), name
        assert score.per_image == pytest.approx(per_image, abs=1e-6), name
        assert value == pytest.approx(RECORDED["scores"][name], abs=1e-6), name


@needs_reference
def test_scores_of_made_up_captions_are_those_of_the_reference() -> None:
    captions = hard_captions(600, seed=9)
    predictions = {f"{number:03}": captions[number] for number in range(100)}
    references = {key: captions[100 + 5 * int(key) :][:5] for key in predictions}
    # Some predictions that are close to a reference, and one that is it.
    predictions |= {key: texts[0] for key, texts in list(references.items())[::4]}
    pairs = CaptionPairs.from_texts(predictions, references)
    for name, (value, per_image) in reference_scores(predictions, references).items():
        score = METRICS[name].score_pairs(pairs)
        assert score.value == pytest.approx(value, abs=1e-6), name
        assert score.per_image == pytest.approx(per_image, abs=1e-6), name


@needs_reference
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the reference leaves its pipes open
def test_meteor_is_that_of_the_reference() -> None:
    golden = json.loads((GOLDEN / "metrics.json").read_text(encoding="utf-8"))["systems"]["nine pictures"]
    captions = hard_captions(160, seed=11)
    predictions = {**golden["predictions"], **{f"hard{n}": captions[n] for n in range(40)}, "none": ""}
    references = {**golden["references"], **{f"hard{n}": captions[40 + 3 * n :][:3] for n in range(40)}, "none": ["x"]}
    pairs = CaptionPairs.from_texts(predictions, references)
    statistics = Meteor().statistics(pairs)
    value, per_image = reference_meteor(pairs)
    assert statistics.score == pytest.approx(value, abs=1e-6)
    assert statistics.per_image == pytest.approx(per_image, abs=1e-6)


def digest(lines: Iterator[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def reference_scores(
    predictions: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> dict[str, tuple[float, list[float]]]:
    """BLEU, ROUGE-L and CIDEr as pycocoevalcap computes them on its own tokens, times 100."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    keys = sorted(predictions)  # CIDEr sorts them in any case
    cut = iter(reference_tokens([text for key in keys for text in (predictions[key], *references[key])]))
    ours: dict[str, list[str]] = {}
    theirs: dict[str, list[str]] = {}
    for key in keys:
        ours[key] = [" ".join(next(cut))]
        theirs[key] = [" ".join(next(cut)) for _ in references[key]]
    order = [keys.index(key) for key in predictions]
    bleu, bleus = Bleu(4).compute_score(theirs, ours, verbose=0)
    rouge, rouges = Rouge().compute_score(theirs, ours)
    cider, ciders = Cider().compute_score(theirs, ours)
    found = {f"BLEU-{n + 1}": (bleu[n], bleus[n]) for n in range(4)}
    found |= {"ROUGE-L": (rouge, rouges), "CIDEr": (cider, ciders), "CIDEr-D": (cider, ciders)}
    return {
        name: (100 * float(value), [100 * float(each[place]) for place in order])
        for name, (value, each) in found.items()
    }


def reference_meteor(pairs: CaptionPairs) -> tuple[float, list[float]]:
    """METEOR as pycocoevalcap gets it from its jar, times 100; its process ends when the object is dropped."""
    from pycocoevalcap.meteor.meteor import Meteor as Program

    value, per_image = Program().compute_score(
        {n: [" ".join(words) for words in captions] for n, captions in enumerate(pairs.references.words)},
        {n: [" ".join(words)] for n, words in enumerate(pairs.predictions)},
    )
    return 100 * value, [100 * each for each in per_image]
