"""BLIP-base in transformers, from JPEG files to captions of a set length, a picture at a time; pictures/s.

    python benchmarks/peers/blip.py PICTURE … --write FILE

J. Li, D. Li, C. Xiong and S. Hoi, "BLIP: Bootstrapping language-image pre-training for unified vision-language
understanding and generation", ICML 2022, arXiv 2201.12086; the library's default configuration is the base one. The
weights are random, on which neither time nor memory depends, so nothing is downloaded and the words mean nothing. Knows
nothing of captioner.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BlipConfig, BlipForConditionalGeneration

# Of the pixels that BLIP was trained on, as those of CLIP: mean and standard deviation of red, green and blue.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def main(argv: Sequence[str] | None = None) -> int:
    """Caption, and write what was measured; returns the exit status."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    options.write.write_text(json.dumps(measure(options)), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("pictures", type=Path, nargs="+")
    options.add_argument("--tokens", type=int, default=12, help="of a caption")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--write", type=Path, required=True, help="JSON file for what was measured")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Pictures/s after the first one, and how large the network is."""
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(BlipConfig()).eval()
    caption(model, options.pictures[0], options.tokens)
    started = time.perf_counter()
    for picture in options.pictures:
        caption(model, picture, options.tokens)
    rate = len(options.pictures) / (time.perf_counter() - started)
    parameters = sum(weight.numel() for weight in model.parameters())
    return {"pictures_per_second": rate, "parameters": parameters, "side": model.config.vision_config.image_size}


@torch.inference_mode()
def caption(model: BlipForConditionalGeneration, picture: Path, tokens: int) -> torch.Tensor:
    """Token ids of a greedy caption, (tokens,) and the one that it begins with."""
    side = model.config.vision_config.image_size
    square = Image.open(picture).convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    pixels = (np.asarray(square, np.float32) / 255 - _MEAN) / _DEVIATION
    inputs = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
    return model.generate(pixel_values=inputs, max_new_tokens=tokens, min_new_tokens=tokens, num_beams=1)[0]


if __name__ == "__main__":
    sys.exit(main())
