"""The captioner's side of the comparisons, each in a process of its own: training, and captioning many pictures.

    python benchmarks/peers/ours.py train DATA --epochs 3 --write FILE
    python benchmarks/peers/ours.py caption BUNDLE PICTURE … --beam 3 --write FILE

Knows nothing of what it is compared with.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import learnable
import numpy as np
from learnable import Split


def main(argv: Sequence[str] | None = None) -> int:
    """Train or caption, and write what was measured; returns the exit status."""
    options = _parser().parse_args(argv)
    found = train(options) if options.verb == "train" else caption(options)
    options.write.write_text(json.dumps(found), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description="Train or caption with captioner.")
    verbs = options.add_subparsers(dest="verb", required=True)
    training = verbs.add_parser("train", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    training.add_argument("data", type=Path, help="what learnable.py wrote")
    training.add_argument("--vocabulary", type=int, default=2540, help="token ids")
    training.add_argument("--units", type=int, default=256, help="numbers in a word vector, and of the LSTM")
    training.add_argument("--batch-size", type=int, default=32, help="pictures, as in a build")
    training.add_argument("--epochs", type=int, default=3)
    captioning = verbs.add_parser("caption", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    captioning.add_argument("bundle", type=Path)
    captioning.add_argument("pictures", type=Path, nargs="+")
    captioning.add_argument("--beam", type=int, default=3)
    captioning.add_argument("--tokens", type=int, default=12, help="of a caption, its end counted")
    captioning.add_argument("--one-by-one", action="store_true", help="a picture at a time, with all threads")
    for verb in (training, captioning):
        verb.add_argument("--threads", type=int, default=2)
        verb.add_argument("--write", type=Path, required=True, help="JSON file for what was measured")
    return options


class TimedReader:
    """Rows of the features as training reads them, and when it did: the time of an epoch's batches, without dev."""

    def __init__(self, read: Any, pictures: int) -> None:
        self._read = read
        self._pictures = pictures
        self._started: float | None = None
        self.epoch_seconds: list[float] = []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows by number as float32; those of training pictures come first."""
        now = time.perf_counter()
        if rows.max() < self._pictures:
            self._started = now if self._started is None else self._started
        elif self._started is not None:  # the first read of dev: the last step of training is done
            self.epoch_seconds.append(now - self._started)
            self._started = None
        return self._read(rows).astype(np.float32)


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Train the merge decoder with the defaults of a build: seconds of every epoch, and the held-out loss after it.

    The seconds are those of the training batches, as there is no validation in what they are compared with.
    """
    from captioner.config.build import DecoderConfig, TrainConfig
    from captioner.features import FeatureStore
    from captioner.models.caption_model import build_caption_model
    from captioner.models.decoders.base import DecoderSizes
    from captioner.training.data import CaptionData
    from captioner.training.fit import fit
    from captioner.training.module import DEV_LOSS, CaptionTask
    from captioner.training.prepared import PreparedSplit
    from captioner.types import SpecialTokens

    special = SpecialTokens(pad=learnable.PAD, bos=learnable.BEGIN, eos=learnable.END, unk=learnable.UNKNOWN)
    learned, held_out = learnable.read(options.data)
    pictures = len(learned.captions)
    assert len(held_out.captions) <= 128  # one batch of dev, whose loss is the mean over its words
    epochs, batch_size = options.epochs, options.batch_size
    # No patience: the captions on dev, which it goes by, are not scored.
    config = TrainConfig(epochs=epochs, patience=epochs, batch_size=batch_size, accelerator="cpu", devices=1)
    sizes = DecoderSizes((learned.features.shape[1],), options.vocabulary, special.pad)
    decoder = DecoderConfig(inject="merge", embed=options.units, hidden=options.units)
    model = build_caption_model(decoder, sizes, seed=config.seed)
    task = CaptionTask(model, config, special, lambda _: 0.0, learnable.MAX_WORDS, sizes)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = FeatureStore(folder, sizes.feature_shape, "float16", {"rows": "made up"})
        rows = np.concatenate((learned.features, held_out.features))
        store.append([number.to_bytes(32, "big") for number in range(len(rows))], rows)
        PreparedSplit.save(folder / "train", _numbered(learned, 0))
        PreparedSplit.save(folder / "dev", _numbered(held_out, pictures))
        splits = (PreparedSplit(folder / name) for name in ("train", "dev"))
        read = TimedReader(store.reader(), pictures)
        data = CaptionData(*splits, read, special, batch_size=batch_size, seed=config.seed)
        record = fit(task, data, config, folder / "checkpoints", threads=options.threads)
    return {"epoch_seconds": read.epoch_seconds, "losses": [row[DEV_LOSS] for row in record.history]}


def _numbered(split: Split, first: int) -> list[tuple[list[int], list[list[int]]]]:
    """Row of the features, and captions, of each picture."""
    return [([first + place], captions) for place, captions in enumerate(split.captions)]


def caption(options: argparse.Namespace) -> dict[str, Any]:
    """Pictures/s from JPEG files to captions of a set length, after the first few."""
    import captioner

    length = {"beam": options.beam, "max_length": options.tokens, "min_length": options.tokens - 1}
    model = captioner.load(options.bundle, threads=options.threads if options.one_by_one else 1)

    def work(pictures: Sequence[Path]) -> None:
        if options.one_by_one:
            for picture in pictures:
                model.caption(picture, **length)
        else:  # as `captioner caption` goes about many
            list(model.iter_captions(pictures, workers=options.threads, **length))

    work(options.pictures[:16])
    started = time.perf_counter()
    work(options.pictures)
    return {"pictures_per_second": len(options.pictures) / (time.perf_counter() - started)}


if __name__ == "__main__":
    sys.exit(main())
