"""What every encoder is: pixels in, features out, with the preprocessing that its weights want.

Knows nothing of decoders, training or files on disk.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from captioner.images import PreprocessSpec
from captioner.models.encoders.folding import fold_batch_norms

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Encoder(nn.Module):
    """A network that turns pixels into features.

    `forward` takes float32 pixels (batch, 3, size, size), preprocessed by `preprocess`, and returns features
    (batch, *feature_shape): (batch, channels) when pooled, (batch, regions, channels) when a grid.
    """

    name: str
    """What the manifest calls it, for example `vgg16`."""
    preprocess: PreprocessSpec
    """The one right way to make pixels for these weights."""
    feature_shape: tuple[int, ...]
    """(channels,) or (regions, channels)."""
    trained_with_decoder: bool
    """True when the weights are learned together with the decoder; False when they are pretrained and stay."""
    origin: str
    """Where the weights come from, for the manifest: file name and checksum, hub id, or `scratch`."""
    is_finetuned: bool = False
    """Whether pretrained weights are trained further, together with the decoder."""

    def finetune(self, frozen: float = 0.0) -> None:
        """Let pretrained weights be trained together with the decoder, all but those of batch norm.

        The statistics of a few pictures at a time would take the place of those of a million, and the network would be
        another one in use than in training. Being constant, batch norm becomes part of the convolution before it.

        Args:
            frozen: share of the layers, counted from the picture on, that stay as they are too.
        """
        self.is_finetuned = self.trained_with_decoder = True
        self.origin += ", trained further"
        side = self.preprocess.size
        fold_batch_norms(self, torch.zeros(1, 3, side, side))
        for module in self.modules():
            if isinstance(module, _BATCH_NORMS):
                module.requires_grad_(False)
        layers = [module for module in self.modules() if any(True for _ in module.parameters(recurse=False))]
        for layer in layers[: round(frozen * len(layers))]:
            layer.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster to train on a CPU
        self.train()

    def train(self, mode: bool = True) -> Encoder:
        """As in torch; batch norm that is not to learn stays in evaluation mode."""
        super().train(mode)
        if self.is_finetuned:
            for module in self.modules():
                if isinstance(module, _BATCH_NORMS):
                    module.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (batch, 3, size, size) → features (batch, *feature_shape)."""
        raise NotImplementedError


def pool_or_flatten(grid: Tensor, features: str) -> Tensor:
    """A convolution map (batch, channels, height, width) as `pooled` (batch, channels) or `grid` features.

    Pooling is the mean over all positions; a grid lists the positions row by row, (batch, regions, channels).
    """
    if features == "pooled":
        return grid.mean(dim=(2, 3))  # (batch, channels)
    return grid.flatten(2).transpose(1, 2)  # (batch, regions, channels)
