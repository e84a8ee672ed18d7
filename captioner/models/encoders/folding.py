"""Batch norm that no longer learns becomes part of the convolution before it; knows nothing of encoders.

With constant statistics it is a scale and a shift for each channel. As an operation of its own it reads and writes the
whole map twice, which takes a quarter of the time of a training step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_batch_norms(network: nn.Module, example: Tensor) -> int:
    """Multiply every 2-d batch norm that reads a convolution into that convolution; return how many there were.

    The network computes the same as before in evaluation mode. Which batch norm reads which convolution is seen by
    running `example`, an input of the network, through it; a convolution that is run more than once is left alone.
    """
    wrote: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the identity of the output, which is kept alive for that
    runs: dict[nn.Conv2d, int] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after_convolution(module: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        wrote[id(output)] = (module, output)
        runs[module] = runs.get(module, 0) + 1

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        if id(inputs[0]) in wrote:
            pairs.append((wrote[id(inputs[0])][0], module))

    hooks = [
        module.register_forward_hook(after_convolution)
        if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(before_norm)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    network.eval()
    network(example)
    for hook in hooks:
        hook.remove()
    folded = {norm: convolution for convolution, norm in pairs if runs[convolution] == 1}
    for norm, convolution in folded.items():
        assert norm.running_mean is not None and norm.running_var is not None
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child in folded:
                setattr(parent, name, nn.Identity())
    return len(folded)
