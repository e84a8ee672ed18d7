"""The name of a decoder → its class: one dict, nothing else."""

from __future__ import annotations

from collections.abc import Callable

from captioner.config.build import DecoderConfig
from captioner.models.decoders.attention import AttentionDecoder
from captioner.models.decoders.base import Decoder, DecoderSizes
from captioner.models.decoders.lstm import LstmDecoder
from captioner.models.decoders.transformer import TransformerDecoder

_DECODERS: dict[str, Callable[[DecoderConfig, DecoderSizes], Decoder]] = {
    "lstm": LstmDecoder,
    "attention": AttentionDecoder,
    "transformer": TransformerDecoder,
}


def build_decoder(config: DecoderConfig, sizes: DecoderSizes) -> Decoder:
    """A decoder with fresh random weights, drawn from torch's global generator."""
    return _DECODERS[config.decoder](config, sizes)
