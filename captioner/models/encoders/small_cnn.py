"""A small network for small pictures, learned from scratch together with the decoder; knows nothing of weights on disk.

Five convolutions, each followed by batch normalisation: about 19 million multiply-adds for a picture of 64 × 64, so
that two slow cores train on hundreds of pictures a second.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captioner.errors import ConfigError
from captioner.images import PreprocessSpec
from captioner.models.encoders.base import Encoder, pool_or_flatten
from captioner.models.encoders.batch_norm import WholeBatchNorm2d

_LAYERS = ((32, 5, 2), (64, 3, 2), (96, 3, 2), (128, 3, 1), (128, 1, 1))
"""Channels, kernel and stride of each convolution; the last one lets colour and shape meet in one channel."""
_CHANNELS = _LAYERS[-1][0]
_POOLED = 256
_SIZE, _STRIDE = 64, 8


class SmallCnn(Encoder):
    """Five convolutions: 64 × 64 pixels become a map of 8 × 8 positions and 128 channels.

    `grid` has a vector a position, (batch, 64, 128) at 64 × 64. `pooled`, (batch, 256), is learned from what `summary`
    says of each channel.

    The first weights are drawn from torch's default generator: seed it (`torch.manual_seed`) before.

    Args:
        features: `pooled` or `grid`.
        framing: `whole` or `center`; both are the same for square pictures.
        size: side of the pictures, a multiple of 8; 0 is 64.

    Raises `ConfigError` when `size` is no multiple of 8.
    """

    def __init__(self, *, features: str, framing: str = "whole", size: int = 0) -> None:
        super().__init__()
        size = size or _SIZE
        if size < _STRIDE or size % _STRIDE:
            raise ConfigError(
                f"small_cnn cannot look at pictures of {size} × {size}; the side must be a multiple of {_STRIDE}"
            )
        regions = (size // _STRIDE) ** 2
        self.convolutions = _convolutions()
        self.projection: nn.Module | None = None
        if features == "pooled":
            self.projection = nn.Sequential(nn.Linear(4 * _CHANNELS, _POOLED), nn.ReLU())
        self.name = "small_cnn"
        self.preprocess = PreprocessSpec(size=size, framing=framing, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        self.feature_shape = (_POOLED,) if features == "pooled" else (regions, _CHANNELS)
        self.trained_with_decoder = True
        self.origin = "scratch"

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of preprocessed pixels (batch, 3, size, size)."""
        positions: Tensor = self.convolutions(pixels)  # (batch, 128, size / 8, size / 8)
        if self.projection is None:
            return pool_or_flatten(positions, "grid")  # (batch, regions, 128)
        pooled: Tensor = self.projection(summary(positions))  # (batch, 256)
        return pooled


def summary(positions: Tensor) -> Tensor:
    """What there is in a map, how much of it, and where: (batch, channels, height, width) → (batch, 4·channels).

    The maximum and the mean of each channel are the same wherever a thing stands, so that a shape learned in one place
    is known in all; the expected position (the spatial soft-argmax of Levine et al. 2016, arXiv 1504.00702, section
    4.2) tells left from right and above from below.
    """
    height, width = positions.shape[2:]
    weights = torch.softmax(positions.flatten(2), dim=-1).unflatten(
        2, (height, width)
    )  # (batch, channels, height, width)
    down = torch.linspace(-1, 1, height, device=positions.device)
    right = torch.linspace(-1, 1, width, device=positions.device)
    parts = (
        positions.amax(dim=(2, 3)),
        positions.mean(dim=(2, 3)),
        (weights.sum(dim=3) * down).sum(dim=2),
        (weights.sum(dim=2) * right).sum(dim=2),
    )  # (batch, channels) each
    return torch.cat(parts, dim=1)


def _convolutions() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for width, kernel, stride in _LAYERS:
        layers += [
            nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2, bias=False),  # the norm brings the bias
            WholeBatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
    return nn.Sequential(*layers)
