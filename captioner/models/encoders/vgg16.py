"""VGG16 without its classifier (Simonyan and Zisserman 2015, arXiv 1409.1556, configuration D): 512 channels.

The weights come from a file (`vgg16_weights.py`), or from the Keras file, which is fetched once. Knows nothing of how
the weights are stored.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from captioner.cache import cache_folder
from captioner.errors import ConfigError
from captioner.images import PreprocessSpec
from captioner.models.encoders.base import Encoder, pool_or_flatten
from captioner.models.encoders.download import fetch
from captioner.models.encoders.vgg16_weights import CHANNELS, read_vgg16_weights

KERAS_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
    "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
)
"""The weights that are fetched when no file is named."""
KERAS_MD5 = "6d6bbae143d832006294945121d1f1fc"
KERAS_BYTES = 58_889_256

_SIZE, _STRIDE = 224, 32  # five poolings halve 224 to 7


class Vgg16(Encoder):
    """The 13 convolutions and five poolings of VGG16, with published weights that stay as they are.

    `pooled` is the mean over all positions, (batch, 512); `grid` has a vector a position, (batch, 49, 512) at
    224 × 224.

    Args:
        weights_file: torchvision .pth, timm .safetensors or Keras .h5; None fetches the Keras file into the cache.
        features: `pooled` or `grid`.
        framing: `whole`, or `center`: the shorter side becomes 256 and the middle 224 × 224 are cut out.
        size: side of the pictures, 32 at least; 0 is 224. Another one changes both figures of `center` alike.

    Raises `WeightsError` when the weights cannot be had or are not those of VGG16, `ConfigError` for a smaller size.
    """

    def __init__(self, weights_file: Path | None, *, features: str, framing: str, size: int = 0) -> None:
        super().__init__()
        size = size or _SIZE
        if size < _STRIDE:
            raise ConfigError(f"vgg16 cannot look at pictures of {size} × {size}; the side must be {_STRIDE} at least")
        path = weights_file or fetch(
            KERAS_URL, cache_folder() / Path(KERAS_URL).name, checksum=KERAS_MD5, size=KERAS_BYTES
        )
        weights = read_vgg16_weights(path)
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            self.features = _convolution_blocks()
        self.load_state_dict(weights.tensors, assign=True)
        self.name = "vgg16"
        self.preprocess = _preprocess(framing, size, keras=weights.keras)
        self.feature_shape = (512,) if features == "pooled" else ((size // _STRIDE) ** 2, 512)
        self.trained_with_decoder = False
        with path.open("rb") as file:
            self.origin = f"{path.name} sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        self._kind = features

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of preprocessed pixels (batch, 3, side, side), where side is a multiple of 32."""
        return pool_or_flatten(self.features(pixels), self._kind)  # (batch, 512) or (batch, regions, 512)


def _convolution_blocks() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for widths in CHANNELS:
        for width in widths:
            layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(kernel_size=2))
    return nn.Sequential(*layers)


def _preprocess(framing: str, size: int, *, keras: bool) -> PreprocessSpec:
    """How the pixels were prepared when the weights were trained."""
    crop_share = 224 / 256 if framing == "center" else 1.0
    if not keras:
        return PreprocessSpec(size=size, framing=framing, crop_share=crop_share)  # with the mean and std of ImageNet
    return PreprocessSpec(
        size=size,
        framing=framing,
        crop_share=crop_share,
        channel_order="bgr",
        scale=1.0,
        mean=(103.939, 116.779, 123.68),
        std=(1.0, 1.0, 1.0),
    )
