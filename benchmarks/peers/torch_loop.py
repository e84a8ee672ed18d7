"""A plain PyTorch loop over the network of a bundle: a picture at a time, float32, eager, greedy; pictures/s.

    python benchmarks/peers/torch_loop.py BUNDLE ENCODER PICTURE … --write FILE

What one writes when the networks are there and captions are wanted: read, look, and ask for one word after another. The
encoder is the folder of a MobileNetV2 and the decoder has random weights; both have the shapes of the bundle's. Knows
nothing of what it is compared with.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from captioner.bundle import Bundle, load_bundle
from captioner.config.build import DecoderConfig, EncoderConfig
from captioner.models.decoders.base import Decoder, DecoderSizes
from captioner.models.decoders.registry import build_decoder
from captioner.models.encoders.base import Encoder
from captioner.models.encoders.registry import build_encoder


def main(argv: Sequence[str] | None = None) -> int:
    """Caption, and write what was measured; returns the exit status."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    bundle = load_bundle(options.bundle)
    networks = encoder_like(bundle, options.encoder), decoder_like(bundle)
    for picture in options.pictures[:2]:
        caption(bundle, *networks, picture, options.tokens)
    started = time.perf_counter()
    for picture in options.pictures:
        caption(bundle, *networks, picture, options.tokens)
    rate = len(options.pictures) / (time.perf_counter() - started)
    options.write.write_text(json.dumps({"pictures_per_second": rate}), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("bundle", type=Path)
    options.add_argument("encoder", type=Path, help="folder of a MobileNetV2, as transformers saves it")
    options.add_argument("pictures", type=Path, nargs="+")
    options.add_argument("--tokens", type=int, default=12, help="of a caption, its end counted")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--write", type=Path, required=True, help="JSON file for what was measured")
    return options


def encoder_like(bundle: Bundle, folder: Path) -> Encoder:
    """The encoder in `folder`, for pictures of the size that the bundle's wants."""
    manifest = bundle.manifest
    size, features = manifest.preprocess.size, manifest.encoder["features"]
    encoder = build_encoder(EncoderConfig(encoder=str(folder), features=features, picture_size=size))
    assert list(encoder.feature_shape) == manifest.encoder["feature_shape"]
    return encoder


def decoder_like(bundle: Bundle) -> Decoder:
    """A decoder of the bundle's kind and sizes, with random weights."""
    facts = bundle.manifest.decoder
    config = DecoderConfig(**{name: facts[name] for name in DecoderConfig.__dataclass_fields__})
    sizes = DecoderSizes(tuple(facts["feature_shape"]), len(bundle.vocabulary), bundle.vocabulary.pad)
    return build_decoder(config, sizes).eval()


@torch.inference_mode()
def caption(bundle: Bundle, encoder: Encoder, decoder: Decoder, picture: Path, tokens: int) -> str:
    """The greedy caption of a picture, which ends with the last of so many tokens."""
    vocabulary = bundle.vocabulary
    state = decoder.start(_look(bundle, encoder, picture))
    words = [vocabulary.bos]
    for _ in range(tokens - 1):
        log_probs, state = decoder.step(torch.tensor(words[-1:]), state)
        log_probs[:, [vocabulary.pad, vocabulary.bos, vocabulary.eos]] = -torch.inf
        words.append(int(log_probs.argmax()))
    decoder.step(torch.tensor(words[-1:]), state)  # which gives the end
    return vocabulary.decode(words[1:])


def _look(bundle: Bundle, encoder: Encoder, picture: Path) -> Tensor:
    """Features (1, *feature_shape) of a picture, and of its mirror image too where the bundle's encoder has them."""
    side = bundle.manifest.preprocess.size
    image = Image.open(picture).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(bundle.manifest.preprocess.normalize(np.asarray(image)[None]))  # (1, 3, side, side)
    if not bundle.manifest.encoder.get("mirrored"):
        return encoder(pixels)
    first, second = encoder(torch.cat((pixels, pixels.flip(3))))
    if second.dim() == 2:  # the rows of a grid, (regions, channels), are turned back
        places = round(len(second) ** 0.5)
        second = second.unflatten(0, (places, places)).flip(1).flatten(0, 1)
    return ((first + second) / 2).unsqueeze(0)


if __name__ == "__main__":
    sys.exit(main())
