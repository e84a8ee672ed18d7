"""One step of an LSTM from its gates, written out so that every exporter understands it."""

from __future__ import annotations

import torch
from torch import Tensor


def lstm_cell(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The state after a step (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    Args:
        gates: float (batch, 4·hidden) before their nonlinearities, in torch's order: in, forget, new, out.
        cell: float (batch, hidden).

    Returns:
        Hidden and cell, (batch, hidden) each.
    """
    write, keep, new, show = gates.chunk(4, dim=-1)  # (batch, hidden) each
    cell = torch.sigmoid(keep) * cell + torch.sigmoid(write) * torch.tanh(new)
    return torch.sigmoid(show) * torch.tanh(cell), cell


def open_forget_gate(bias: Tensor) -> None:
    """Begin with memory: a forget gate that starts open lets gradients reach the first words.

    Jozefowicz, Zaremba and Sutskever 2015, section 2.2. `bias`: (4·hidden,), changed in place.
    """
    hidden = len(bias) // 4
    with torch.no_grad():
        bias[hidden : 2 * hidden].fill_(1.0)
