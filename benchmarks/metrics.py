"""Seconds to score captions, beside pycocoevalcap on the same ones; captions/s of CIDEr-D as a reward.

What is compared is its tokenizer (a Java program), BLEU, ROUGE-L and CIDEr; ours are these, and CIDEr under its other
name. Both have to agree to a millionth of a point. Without pycocoevalcap (extra `eval`) or Java, ours alone are timed.
Ours run on one core; nothing of numpy that they use has threads.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from made_up import caption_texts
from measure import Figure, figure, load_average, parser, positive, ratios, report, timed

from captioner.evaluation.references import read_references
from captioner.metrics.base import CaptionPairs
from captioner.metrics.cider import CiderD
from captioner.metrics.coco_java import Meteor
from captioner.metrics.evaluate import METRICS, score_with_intervals

CAPTIONS_EACH = 5
REWARD_BATCHES = (50, 250, 1000)

Captions = tuple[dict[str, str], dict[str, list[str]]]
"""A prediction, and the references, of each picture."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns 1 when the two do not agree."""
    options = _parser().parse_args(argv)
    load = load_average()
    captions = _captions_of(options.captions, options.pictures) if options.captions else _made_up(options.pictures)
    figures: dict[str, Figure] = {}
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    without = Meteor().unavailable()  # it needs the same two
    for _ in range(options.runs):
        seconds["ours"].append(timed(lambda: _ours(captions)))
        if without is None:
            seconds["theirs"].append(timed(lambda: _theirs(captions)))
    figures["metrics"] = figure(seconds["ours"], "s")
    if without is None:
        figures["metrics, pycocoevalcap"] = figure(seconds["theirs"], "s")
        figures["metrics, ratio"] = figure(ratios(seconds["theirs"], seconds["ours"]), "ratio")
        ours, theirs = _ours(captions), _theirs(captions)
        figures["largest difference of a score"] = figure([abs(ours[name] - theirs[name]) for name in theirs], "points")
    else:
        print(f"pycocoevalcap is left out: {without}", file=sys.stderr)
    pairs = CaptionPairs.from_texts(*captions)
    figures["intervals"] = figure([timed(lambda: score_with_intervals(pairs)) for _ in range(options.runs)], "s")
    for batch in REWARD_BATCHES:
        figures[f"reward, batches of {batch}"] = figure(_rewards(pairs, batch, options.runs), "captions/s")
    settings = {
        "pictures": len(captions[0]),
        "references": sum(map(len, captions[1].values())),
        "captions": "given" if options.captions else "made up",
    }
    report("metrics", figures, settings, threads=options.threads, load=load, out=options.out)
    if without is None and figures["largest difference of a score"]["maximum"] > 1e-6:
        print("the scores are not those of pycocoevalcap", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure how fast captions are scored, beside pycocoevalcap.")
    options.set_defaults(threads=1)
    options.add_argument("--pictures", type=positive, default=5000, metavar="N", help="with five references each")
    options.add_argument("--captions", type=Path, metavar="FILE", help="a data set or COCO captions JSON; not made up")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="repetitions, in turns")
    return options


def _made_up(pictures: int) -> Captions:
    captions = caption_texts(np.random.default_rng(0), pictures * (CAPTIONS_EACH + 1))
    keys = [f"{number:06}.jpg" for number in range(pictures)]
    return {key: next(captions) for key in keys}, {key: list(islice(captions, CAPTIONS_EACH)) for key in keys}


def _captions_of(path: Path, pictures: int) -> Captions:
    """Real references; the prediction of a picture is the first caption of the next one."""
    references = {key: list(texts) for key, texts in islice(read_references(str(path)).captions.items(), pictures)}
    keys = list(references)
    following = [*keys[1:], keys[0]]
    return {key: references[other][0] for key, other in zip(keys, following, strict=True)}, references


def _ours(captions: Captions) -> dict[str, float]:
    pairs = CaptionPairs.from_texts(*captions)
    return {name: metric.score_pairs(pairs).value for name, metric in METRICS.items()}


def _theirs(captions: Captions) -> dict[str, float]:
    """The same with pycocoevalcap, as its own evaluation calls it, times 100."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    predictions, references = captions
    with _silence():
        theirs = PTBTokenizer().tokenize(_as_annotations(references))
        ours = PTBTokenizer().tokenize(_as_annotations({key: [text] for key, text in predictions.items()}))
        bleu, _ = Bleu(4).compute_score(theirs, ours, verbose=0)
        rouge, _ = Rouge().compute_score(theirs, ours)
        cider, _ = Cider().compute_score(theirs, ours)
    scores = {f"BLEU-{order}": value for order, value in enumerate(bleu, 1)} | {"ROUGE-L": rouge, "CIDEr": cider}
    return {name: 100 * float(value) for name, value in scores.items()}


def _as_annotations(captions: Mapping[str, Sequence[str]]) -> dict[str, list[dict[str, str]]]:
    return {key: [{"caption": text} for text in texts] for key, texts in captions.items()}


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Nothing on stderr from this process and those that it starts: the Java program reports its own speed there."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _rewards(pairs: CaptionPairs, batch: int, runs: int) -> list[float]:
    """Captions/s of one reward object whose document frequencies are known, a second a run."""
    reward = CiderD(pairs.references)
    captions = [pairs.predictions[place % len(pairs)] for place in range(batch)]
    pictures = np.arange(batch) % len(pairs)
    reward(captions, pictures)
    rates = []
    for _ in range(runs):
        done, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < 1:
            reward(captions, pictures)
            done += batch
        rates.append(done / passed)
    return rates


if __name__ == "__main__":
    sys.exit(main())
