"""Batch norm over the whole batch where several processes have a share of it each; knows nothing of who deals it out.

Torch's own, `SyncBatchNorm`, is for GPUs alone.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class WholeBatchNorm2d(nn.BatchNorm2d):
    """As in torch, bit by bit; in training in several processes with the statistics of all shares together."""

    counts: bool = True
    """Whether this process's share is part of the batch, or of no weight and only keeps it in step."""

    def forward(self, values: Tensor) -> Tensor:
        """Normalise (batch, channels, height, width) channel by channel."""
        if not (self.training and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
            normalised: Tensor = super().forward(values)
            return normalised
        dims, shape = (0, 2, 3), (1, -1, 1, 1)
        exact = values.float()
        number = exact.new_tensor([values.numel() / values.shape[1]])
        total = all_reduce(torch.cat([exact.sum(dims), number]) * self.counts)  # (channels + 1,)
        mean, number = total[:-1] / total[-1], total[-1].detach()
        centered = exact - mean.view(shape)
        variance = all_reduce(centered.square().sum(dims) * self.counts) / number  # (channels,)
        self._remember(mean.detach(), variance.detach() * number / (number - 1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        whole: Tensor = (centered * scale.view(shape) + self.bias.view(shape)).to(values.dtype)
        return whole

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the statistics for use towards those of this batch."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def count_share(network: nn.Module, counts: bool) -> None:
    """Say for the next step whether this process's share of the batch counts."""
    for module in network.modules():
        if isinstance(module, WholeBatchNorm2d):
            module.counts = counts
