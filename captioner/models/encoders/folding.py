"""Batch norm that no longer learns becomes part of the convolution before it; knows nothing of encoders.

With constant statistics it is a scale and a shift for each channel. As an operation of its own it reads and writes the
whole map once more, forwards and backwards, and so does an activation that does not work in place: together nearly half
of the time of a training step of MobileNetV2.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)
"""Those that can work in place."""


@torch.no_grad()
def fold_batch_norms(network: nn.Module, example: Tensor) -> int:
    """Multiply every 2-d batch norm that reads a convolution into that convolution; return how many there were.

    The network computes the same as before in evaluation mode. Activations that read such a batch norm work in place
    from now on. What reads what is seen by running `example`, an input of the network, through it; a convolution that
    is run more than once is left alone.
    """
    last: dict[int, tuple[nn.Module, Tensor]] = {}  # who wrote a tensor, by its identity; it is kept alive for that
    runs: Counter[nn.Module] = Counter()
    reads: list[tuple[nn.Module, nn.Module]] = []

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in last:
            reads.append((module, last[id(inputs[0])][0]))

    def after(module: nn.Module, _: Any, output: Tensor) -> None:
        runs[module] += 1
        last[id(output)] = module, output

    watched = [module for module in network.modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, *_ACTIVATIONS))]
    hooks = [module.register_forward_pre_hook(before) for module in watched]
    hooks += [module.register_forward_hook(after) for module in watched]
    network.eval()
    network(example)
    for hook in hooks:
        hook.remove()

    folded = set()
    for norm, convolution in reads:
        if isinstance(norm, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d) and runs[convolution] == 1:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            convolution.weight, convolution.bias = fuse_conv_bn_weights(
                convolution.weight,
                convolution.bias,
                norm.running_mean,
                norm.running_var,
                norm.eps,
                norm.weight,
                norm.bias,
            )
            folded.add(norm)
    for activation, norm in reads:
        if isinstance(activation, _ACTIVATIONS) and norm in folded:
            activation.inplace = True
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if child in folded:
                setattr(parent, name, nn.Identity())
    return len(folded)
