"""Inputs that the benchmarks make up: pictures, captions, features, an encoder, and a decoder trained on all that.

What is made up has the sizes of the real thing, on which speed and memory depend, and no meaning, on which they do not.
Torch is imported only by the functions that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from captioner.config.build import DecoderConfig, TrainConfig
from captioner.features import FeatureStore, RowReader
from captioner.training.prepared import PreparedSplit
from captioner.types import SpecialTokens

SPECIAL = SpecialTokens(pad=0, bos=1, eos=2, unk=3)
CAPTIONS_EACH = 5
MAX_WORDS = 30
_FIRST_WORD = 4
_BLOCK = 256
_SYLLABLES = [consonant + vowel + end for consonant in "bdfglmnprst" for vowel in "aeiou" for end in ("", "n")]


@dataclass(frozen=True)
class DecoderTraining:
    """A decoder and the made-up data that it is trained on."""

    decoder: DecoderConfig
    vocabulary: int
    """Number of token ids, the special ones included."""
    channels: int
    """Numbers in a feature."""
    pictures: int
    """Training pictures; each has `CAPTIONS_EACH` captions."""
    dev_pictures: int
    batch_size: int
    """Pictures."""

    def prepare(self, folder: Path) -> None:
        """Write captions and a feature store below `folder`, a block at a time; `read` and `train` find them there."""
        random = np.random.default_rng(0)
        store = FeatureStore(folder, (self.channels,), "float16", {"rows": "made up"})
        for start in range(0, self._rows, _BLOCK):
            keys = [row.to_bytes(32, "big") for row in range(start, min(start + _BLOCK, self._rows))]
            store.append(keys, random.random((len(keys), self.channels), np.float32))
        PreparedSplit.save(folder / "train", self._captions(random, range(self.pictures)))
        PreparedSplit.save(folder / "dev", self._captions(random, range(self.pictures, self._rows)))

    def reader(self, folder: Path) -> RowReader:
        """Of the features that `prepare` wrote; without their keys, as training has it."""
        return RowReader(next(folder.glob("*/rows.bin")), self._rows, (self.channels,), "float16")

    def train(self, folder: Path, read: Callable[[np.ndarray], np.ndarray], checkpoints: Path, threads: int) -> None:
        """One epoch of `captioner.training.fit` over what `prepare` wrote.

        Args:
            folder: where `prepare` wrote it.
            read: rows of the store, int (n,) → features float32 (n, channels).
            checkpoints: an empty folder.
            threads: processor threads.
        """
        import torch

        from captioner.models.caption_model import CaptionModel
        from captioner.models.decoders.base import DecoderSizes
        from captioner.models.decoders.registry import build_decoder
        from captioner.training.data import CaptionData
        from captioner.training.fit import fit
        from captioner.training.module import CaptionTask

        config = TrainConfig(epochs=1, batch_size=self.batch_size, accelerator="cpu", devices=1)
        torch.manual_seed(config.seed)
        sizes = DecoderSizes((self.channels,), self.vocabulary, SPECIAL.pad)
        model = CaptionModel(build_decoder(self.decoder, sizes))
        task = CaptionTask(model, config, SPECIAL, lambda captions: float(len(captions)), MAX_WORDS, sizes)
        split = PreparedSplit(folder / "train")
        data = CaptionData(
            split, PreparedSplit(folder / "dev"), read, SPECIAL, batch_size=config.batch_size, seed=config.seed
        )
        fit(task, data, config, checkpoints, threads=threads)

    @property
    def _rows(self) -> int:
        return self.pictures + self.dev_pictures

    def _captions(self, random: np.random.Generator, rows: range) -> Iterator[tuple[list[int], list[list[int]]]]:
        """Row and captions of each picture, in as many words as people use for Flickr8k: 10.8 ± 3.8, 2 to 30."""
        for row in rows:
            lengths = np.clip(np.rint(random.normal(10.8, 3.8, CAPTIONS_EACH)), 2, MAX_WORDS).astype(int)
            yield [row], [random.integers(_FIRST_WORD, self.vocabulary, length).tolist() for length in lengths]


def caption_texts(random: np.random.Generator, count: int) -> Iterator[str]:
    """Captions with the punctuation, and with about the lengths and the frequencies of words, of Flickr8k's."""
    words = np.array([f"{first}{second}" for first in _SYLLABLES for second in _SYLLABLES])
    frequency = 1 / np.arange(2, len(words) + 2)  # Zipf's law
    lengths = np.clip(np.rint(random.normal(10.8, 3.8, count)), 2, MAX_WORDS).astype(int)
    drawn = iter(random.choice(words, lengths.sum(), p=frequency / frequency.sum()).tolist())
    odd = random.random(count)
    for length, chance in zip(lengths, odd, strict=True):
        first, *rest = islice(drawn, length)
        if chance < 0.1:  # as many as have a comma, an apostrophe or a hyphen
            rest.append(("man 's hat", "t-shirt", "snow , waiting", "doesn't")[int(40 * chance)])
        yield " ".join(["A", first, *rest]) + (" ." if chance < 0.9 else "")


def write_pictures(folder: Path, count: int) -> list[Path]:
    """JPEG files of 500 × 375 pixels, all different, about as large as photographs of that size are."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    noise = random.normal(scale=40, size=(750, 1000, 3)).astype(np.float32)
    down = np.linspace(0, 1, 375, dtype=np.float32)[:, None, None]
    right = np.linspace(0, 1, 500, dtype=np.float32)[None, :, None]
    paths = [folder / f"{number:05}.jpg" for number in range(count)]
    for path in paths:
        corner, vertical, horizontal = random.uniform(-128, 256, (3, 3)).astype(np.float32)
        top, left = random.integers(0, (375, 500))
        pixels = corner + vertical * down + horizontal * right + noise[top : top + 375, left : left + 500]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return paths


def jpeg_files(folder: Path) -> list[Path]:
    """Real pictures in place of made-up ones, in the order of their names. Raises SystemExit when there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not found:
        raise SystemExit(f"no .jpg or .jpeg files in {folder}")
    return found


def write_vgg16(path: Path) -> None:
    """The convolutions of VGG16 with random weights, as timm saves them."""
    import torch
    from safetensors.torch import save_file

    from captioner.models.encoders.vgg16_weights import CHANNELS

    torch.manual_seed(0)
    tensors, place, before = {}, 0, 3
    for block in CHANNELS:
        for width in block:
            tensors[f"features.{place}.weight"] = torch.nn.init.kaiming_normal_(torch.empty(width, before, 3, 3))
            tensors[f"features.{place}.bias"] = torch.zeros(width)
            place, before = place + 2, width  # a convolution and its ReLU
        place += 1  # the pooling that ends the block
    save_file(tensors, path)


def write_encoder(folder: Path, size: int) -> None:
    """A MobileNetV2 of full width with random weights, for pictures of `size` × `size`, as `transformers` saves it."""
    import torch
    from transformers import MobileNetV2Config, MobileNetV2Model
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    model = MobileNetV2Model(MobileNetV2Config(image_size=size))
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            # Activations keep their scale: at the library's own first weights they fade to numbers so small that
            # processors are slow with them.
            torch.nn.init.kaiming_normal_(module.weight)
    model.save_pretrained(folder)
