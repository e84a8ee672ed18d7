"""A small network for small pictures, learned from scratch together with the decoder; knows nothing of weights on disk.

Four convolutions with a stride of two, each followed by batch normalisation: about 13 million multiply-adds for a
picture of 64 × 64, so that two slow cores train on hundreds of pictures a second.
"""

from __future__ import annotations

from torch import Tensor, nn

from captioner.errors import ConfigError
from captioner.images import PreprocessSpec
from captioner.models.encoders.base import Encoder, pool_or_flatten

_WIDTHS = (32, 64, 128, 128)
_POOLED = 256
_STRIDE = 2 ** len(_WIDTHS)


class SmallCnn(Encoder):
    """Four strided convolutions: 64 × 64 pixels become a map of 4 × 4 positions and 128 channels.

    `grid` has a vector a position, (batch, 16, 128) at 64 × 64. `pooled`, (batch, 256), is a learned projection of the
    whole map and not its mean: a mean is the same wherever a thing stands, and with it the captions could not tell left
    from right, nor above from below. (A pretrained network has hundreds of channels and receptive fields that see the
    border; this one has neither.)

    The first weights are drawn from torch's default generator: seed it (`torch.manual_seed`) before.

    Args:
        size: side of the pictures, a multiple of 16.
        features: `pooled` or `grid`.
        framing: `whole` or `center`; both are the same for square pictures.

    Raises `ConfigError` when `size` is no multiple of 16.
    """

    def __init__(self, size: int = 64, *, features: str, framing: str = "whole") -> None:
        super().__init__()
        if size < _STRIDE or size % _STRIDE:
            raise ConfigError(
                f"small_cnn cannot look at pictures of {size} × {size}; the side must be a multiple of {_STRIDE}"
            )
        regions = (size // _STRIDE) ** 2
        self.convolutions = _strided_convolutions()
        self.projection: nn.Module | None = None
        if features == "pooled":
            self.projection = nn.Sequential(nn.Flatten(), nn.Linear(_WIDTHS[-1] * regions, _POOLED), nn.ReLU())
        self.name = "small_cnn"
        self.preprocess = PreprocessSpec(size=size, framing=framing, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        self.feature_shape = (_POOLED,) if features == "pooled" else (regions, _WIDTHS[-1])
        self.trained_with_decoder = True
        self.origin = "scratch"

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of preprocessed pixels (batch, 3, size, size)."""
        positions: Tensor = self.convolutions(pixels)  # (batch, 128, size / 16, size / 16)
        if self.projection is None:
            return pool_or_flatten(positions, "grid")  # (batch, regions, 128)
        pooled: Tensor = self.projection(positions)  # (batch, 256)
        return pooled


def _strided_convolutions() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for width in _WIDTHS:
        layers += [
            nn.Conv2d(channels, width, kernel_size=3, stride=2, padding=1, bias=False),  # the norm brings the bias
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels = width
    return nn.Sequential(*layers)
