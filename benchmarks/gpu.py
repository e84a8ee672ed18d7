"""Absolute speed on a GPU: encoder, captions from features, and training of every decoder; writes gpu.json.

    python benchmarks/gpu.py [--device cuda] [--batch 256]

Everything runs in torch on the device, in bf16 where it learns; the words are chosen by the decoding engine of the
package, to which the log-probabilities of each step come back. `--device cpu` runs the same, to try it. See README.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from made_up import SPECIAL, write_encoder
from measure import Figure, figure, load_average, parser, passive_threads, positive, report
from training import DECODERS, VOCABULARY, made_up_batch, training_step

from captioner.config.build import EncoderConfig
from captioner.config.decode import DecodeConfig
from captioner.decoding.decode import decode
from captioner.models.caption_model import CaptionModel
from captioner.models.decoders.base import DecoderSizes
from captioner.models.decoders.registry import build_decoder
from captioner.models.encoders.registry import build_encoder
from captioner.models.torch_step import TorchStepModel

STEPS_A_CAPTION = 12
"""Tokens of a decoded caption, Flickr8k's mean; words drawn by random weights would not end by themselves."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write, print; returns the exit status."""
    passive_threads()
    options = _parser().parse_args(argv)
    try:
        device = torch.device(options.device)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        print(f"gpu.py: no {options.device} here ({reason}); --device cpu runs the same", file=sys.stderr)
        return 2
    load = load_average()
    torch.set_num_threads(options.threads)
    figures = {**measure_encoder(device, options)}
    for name in DECODERS:
        figures |= measure_decoding(name, device, options)
        figures |= measure_training(name, device, options)
    settings = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "encoder": f"MobileNetV2, random weights, {options.size} x {options.size}",
        "batch": f"{options.batch} pictures; in training {options.batch} pictures with 5 captions each",
        "vocabulary": VOCABULARY,
        "decode_steps": STEPS_A_CAPTION,
    }
    report("gpu", figures, settings, threads=options.threads, load=load, out=options.out)
    return 0


def _parser() -> argparse.ArgumentParser:
    options = parser("Measure encoder, decoding and training on a GPU.")
    options.add_argument("--device", default="cuda", metavar="NAME", help="as torch calls it")
    options.add_argument("--batch", type=positive, default=256, metavar="N", help="pictures")
    options.add_argument("--size", type=positive, default=224, metavar="N", help="side of a picture")
    options.add_argument("--steps", type=positive, default=20, metavar="N", help="batches in a run")
    options.add_argument("--runs", type=positive, default=3, metavar="N", help="repetitions of everything")
    return options


def measure_encoder(device: torch.device, options: argparse.Namespace) -> dict[str, Figure]:
    """Pictures/s that the encoder sees, pixels already on the device."""
    with tempfile.TemporaryDirectory() as folder:
        write_encoder(Path(folder) / "encoder", options.size)
        encoder = build_encoder(EncoderConfig(encoder=str(Path(folder) / "encoder"), features="grid")).eval()
    encoder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # as in fine-tuning
    pixels = torch.rand(options.batch, 3, options.size, options.size, device=device)

    @torch.inference_mode()
    def work() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            encoder(pixels)

    return {"encoder, bf16": figure(_rates(work, options.batch, device, options), "pictures/s")}


def measure_decoding(name: str, device: torch.device, options: argparse.Namespace) -> dict[str, Figure]:
    """Captions/s from features, greedy and beam 3."""
    config, shape = DECODERS[name]
    torch.manual_seed(0)
    model = CaptionModel(build_decoder(config, DecoderSizes(shape, VOCABULARY, SPECIAL.pad))).to(device).eval()
    features = np.random.default_rng(0).random((options.batch, *shape), np.float32)
    figures = {}
    for search, beam in (("greedy", 1), ("beam 3", 3)):
        chosen = DecodeConfig(beam=beam, max_length=STEPS_A_CAPTION, min_length=STEPS_A_CAPTION - 1)
        rates = _rates(
            lambda: decode(TorchStepModel(model), features, chosen, SPECIAL),  # noqa: B023 - called at once
            options.batch,
            device,
            options,
        )
        figures[f"{name}, captions, {search}"] = figure(rates, "captions/s")
    return figures


def measure_training(name: str, device: torch.device, options: argparse.Namespace) -> dict[str, Figure]:
    """Captions/s of training steps in bf16, features already on the device."""
    config, shape = DECODERS[name]
    torch.manual_seed(0)
    model = CaptionModel(build_decoder(config, DecoderSizes(shape, VOCABULARY, SPECIAL.pad))).to(device)
    step = training_step(model)
    features, owner, tokens, lengths = made_up_batch(np.random.default_rng(0), shape, options.batch)
    batch = (features.to(device), owner.to(device), tokens.to(device), lengths)

    def work() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            step(batch)

    return {f"{name}, training, bf16": figure(_rates(work, len(lengths), device, options), "captions/s")}


def _rates(work: Callable[[], object], count: int, device: torch.device, options: argparse.Namespace) -> list[float]:
    """How many of `count` things a call are done in a second, in each run."""
    rates = []
    for run in range(options.runs + 1):
        _finish(device)
        started = time.perf_counter()
        for _ in range(options.steps):
            work()
        _finish(device)
        if run:  # the first one warms up
            rates.append(count * options.steps / (time.perf_counter() - started))
    return rates


def _finish(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
