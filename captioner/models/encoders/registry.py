"""From the name of an encoder to the encoder. Knows the names, and nothing of how the networks are made."""

from __future__ import annotations

import re
from pathlib import Path

from captioner.config.build import AUTO, BUILTIN, ENCODERS, EncoderConfig
from captioner.errors import ConfigError
from captioner.models.encoders.base import Encoder
from captioner.models.encoders.small_cnn import SmallCnn
from captioner.models.encoders.transformers_backbone import TransformersBackbone
from captioner.models.encoders.vgg16 import Vgg16

_VGG16 = (AUTO, "vgg16")  # what else `auto` may be, the pipeline knows
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def build_encoder(config: EncoderConfig) -> Encoder:
    """The encoder that `config` asks for, with its weights.

    One with pretrained weights comes frozen and in evaluation mode, unless it is to be trained further; one that is
    trained with the decoder comes in training mode, with weights drawn from torch's default generator if it has none.

    Raises `ConfigError` when the name means nothing, or an encoder is given what it does not take, and `WeightsError`
    when the weights cannot be had.
    """
    if config.encoder_weights and config.encoder not in _VGG16:
        raise ConfigError(f"--encoder-weights is for vgg16 alone; leave it empty for --encoder {config.encoder}")
    if config.encoder == BUILTIN:
        raise ConfigError("--encoder builtin is there as a graph alone, which computes features and cannot be trained")
    encoder = _construct(config)
    if config.finetune and encoder.trained_with_decoder:
        raise ConfigError(f"--finetune is for pretrained encoders; {config.encoder} is trained in any case")
    if config.finetune:
        encoder.finetune(config.frozen)
    if not encoder.trained_with_decoder:
        encoder.eval().requires_grad_(False)
    return encoder


def _construct(config: EncoderConfig) -> Encoder:
    if config.encoder in _VGG16:
        weights_file = Path(config.encoder_weights) if config.encoder_weights else None
        return Vgg16(weights_file, features=config.features, framing=config.framing, size=config.picture_size)
    if config.encoder == "small_cnn":
        return SmallCnn(features=config.features, framing=config.framing, size=config.picture_size)
    if Path(config.encoder).is_dir() or _HUB_ID.fullmatch(config.encoder):
        return TransformersBackbone(
            config.encoder, features=config.features, framing=config.framing, size=config.picture_size
        )
    raise ConfigError(
        f"--encoder is {config.encoder!r}; expected one of {', '.join(ENCODERS)}, an existing folder with a captioner "
        "or a transformers vision model, or a hub id such as google/vit-base-patch16-224"
    )
