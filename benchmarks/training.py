"""How much of the machine's matrix rate training reaches, for each decoder; writes training.json. See README.md.

python benchmarks/training.py [--threads 2]
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from made_up import CAPTIONS_EACH, MAX_WORDS, SPECIAL
from measure import Figure, figure, load_average, parser, passive_threads, positive, report, timed
from torch.utils._python_dispatch import TorchDispatchMode

from captioner.config.build import DecoderConfig
from captioner.models.caption_model import CaptionModel
from captioner.models.decoders.base import DecoderSizes
from captioner.models.decoders.registry import build_decoder
from captioner.training.data import caption_arrays
from captioner.training.losses import caption_loss

VOCABULARY, REGIONS, CHANNELS = 2540, 49, 1280
DECODERS = {
    "lstm": (DecoderConfig(inject="par", embed=256, hidden=512), (CHANNELS,)),
    "attention": (DecoderConfig(decoder="attention", embed=256, hidden=384), (REGIONS, CHANNELS)),
    "transformer": (DecoderConfig(decoder="transformer", hidden=256, layers=3, heads=8), (REGIONS, CHANNELS)),
}
_PRODUCTS = ("aten.mm.default", "aten.addmm.default", "aten.bmm.default", "aten.baddbmm.default")
_ATTENTION = "aten._scaled_dot_product_flash_attention_for_cpu.default"
_ATTENTION_BACKWARD = "aten._scaled_dot_product_flash_attention_for_cpu_backward.default"
_WARM_UP = 3

Shape = tuple[tuple[int, ...], tuple[int, ...]]


class Products(TorchDispatchMode):
    """Counts the matrix products that are computed while it is on, by the shapes of their two sides."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[Shape] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called for every operation, those of the backward pass too."""
        if str(func) in _PRODUCTS:
            left, right = args[-2:] if "add" in str(func) else args[:2]
            self.shapes[tuple(left.shape), tuple(right.shape)] += 1
        elif str(func) == _ATTENTION:
            self._count_attention(*args[:2], times=1)
        elif str(func) == _ATTENTION_BACKWARD:  # that of the forward pass once more, and four of its own
            self._count_attention(*args[1:3], times=2)
            query, key = args[1:3]
            batch, time, length = query.shape[0] * query.shape[1], query.shape[2], key.shape[2]
            self.shapes[(batch, length, time), (batch, time, query.shape[3])] += 2
        return func(*args, **(kwargs or {}))

    def _count_attention(self, query: torch.Tensor, key: torch.Tensor, *, times: int) -> None:
        """Scores and answers of a fused attention, (batch, heads, length, width) each; a causal mask saves nothing."""
        batch, time, length, width = query.shape[0] * query.shape[1], query.shape[2], key.shape[2], query.shape[3]
        self.shapes[(batch, time, width), (batch, width, length)] += times
        self.shapes[(batch, time, length), (batch, length, width)] += 1


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns the exit status."""
    passive_threads()
    options = _parser().parse_args(argv)
    load = load_average()
    torch.set_num_threads(options.threads)
    figures: dict[str, Figure] = {}
    for name in DECODERS:
        figures |= measure(name, options)
    settings = {
        "batch": f"{options.batch_size} pictures, {options.batch_size * CAPTIONS_EACH} captions",
        "vocabulary": VOCABULARY,
        "grid": f"{REGIONS} regions of {CHANNELS} numbers; one vector for lstm",
        **{
            name: ", ".join(f"{key} {getattr(config, key)}" for key in ("embed", "hidden", "layers", "heads"))
            for name, (config, _) in DECODERS.items()
        },
    }
    report("training", figures, settings, threads=options.threads, load=load, out=options.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure training steps of every decoder beside bare matrix products of their shapes.")
    options.add_argument("--batch-size", type=positive, default=16, metavar="N", help="pictures in a training batch")
    options.add_argument("--steps", type=positive, default=12, metavar="N", help="training steps in a run")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="repetitions of everything")
    return options


def measure(name: str, options: argparse.Namespace) -> dict[str, Figure]:
    """Captions/s of a decoder's training steps, and which part of a step its matrix products take by themselves.

    A step is forward and backward pass, clipping and AdamW, on features that are there. Its products are those that
    torch computes for it, forward and backward, each measured alone, in turns with the steps; fused attention counts as
    the products that it consists of.
    """
    config, shape = DECODERS[name]
    torch.manual_seed(0)
    model = CaptionModel(build_decoder(config, DecoderSizes(shape, VOCABULARY, SPECIAL.pad)))
    step = training_step(model)
    random = np.random.default_rng(0)
    batches = [made_up_batch(random, shape, options.batch_size) for _ in range(options.steps)]
    for batch in batches[:_WARM_UP]:
        step(batch)
    with Products() as products:
        for batch in batches:
            step(batch)
    flops = sum(count * _flops(each) for each, count in products.shapes.items()) / len(batches)
    rates, shares, speeds = [], [], []
    for _ in range(options.runs):
        seconds = [timed(lambda: step(batch)) for batch in batches]  # noqa: B023 - called at once
        alone = sum(count * _seconds_of_product(each) for each, count in products.shapes.items()) / len(batches)
        rates.append(options.batch_size * CAPTIONS_EACH * len(batches) / sum(seconds))
        shares.append(alone * len(batches) / sum(seconds))
        speeds.append(flops / alone / 1e9)
    return {
        f"{name}, training": figure(rates, "captions/s"),
        f"{name}, its products alone": figure(speeds, "GFLOP/s"),
        f"{name}, share of the matrix rate": figure(shares, "ratio"),
    }


def training_step(model: CaptionModel) -> Callable[[Sequence[torch.Tensor]], None]:
    """What is done with a batch: forward and backward pass, clipping and AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(batch: Sequence[torch.Tensor]) -> None:
        features, owner, tokens, lengths = batch
        optimizer.zero_grad(set_to_none=True)
        logits, _ = model(features, owner, tokens[:, :-1], lengths)
        caption_loss(logits, tokens, lengths).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return step


def made_up_batch(random: np.random.Generator, shape: tuple[int, ...], pictures: int) -> tuple[torch.Tensor, ...]:
    """Features and captions as long as people's for Flickr8k: 10.8 ± 3.8 words."""
    lengths = np.clip(np.rint(random.normal(10.8, 3.8, pictures * CAPTIONS_EACH)), 2, MAX_WORDS).astype(int)
    captions = [[*random.integers(4, VOCABULARY, length).tolist(), SPECIAL.eos] for length in lengths]
    tokens, counts = caption_arrays(captions, SPECIAL)
    owner = np.repeat(np.arange(pictures), CAPTIONS_EACH)
    features = random.random((pictures, *shape), np.float32)
    return tuple(map(torch.from_numpy, (features, owner, tokens, counts)))


def _flops(shape: Shape) -> float:
    left, right = shape
    return 2.0 * float(np.prod(left)) * right[-1]


def _seconds_of_product(shape: Shape) -> float:
    left, right = (torch.rand(side) for side in shape)
    product = torch.matmul(left, right)
    return median(timed(lambda: torch.matmul(left, right, out=product)) for _ in range(5))


if __name__ == "__main__":
    sys.exit(main())
