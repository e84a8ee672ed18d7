"""An LSTM over captions of different lengths, its gradient written out, for training on a CPU.

What torch does step by step is done once for all steps wherever it can be: the derivatives of the gates, and the
gradient of the weights as a single product. Beside torch's own LSTM that is a fifth to a third less time. Knows nothing
of words and pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class StepOrder:
    """The words of captions step by step: the first word of every caption, then the second of those that have one.

    Captions are ordered longest first, so that those with a word left at a step are the first so many.
    """

    rows: Tensor
    """int64 (time,), on the CPU: how many captions have each step."""
    captions: Tensor
    """int64 (batch,): the captions in their order."""
    caption: Tensor
    """int64 (predictions,): the caption of each word."""
    step: Tensor
    """int64 (predictions,): its place there."""
    back: Tensor
    """int64 (predictions,): where each word is found, caption by caption."""


def step_order(lengths: Tensor, device: torch.device) -> StepOrder:
    """The order for captions of so many words: `lengths` is int64 (batch,), on the CPU, each 1 or more."""
    time = int(lengths.max())
    captions = torch.argsort(lengths, descending=True, stable=True)
    has_step = torch.arange(time).unsqueeze(1) < lengths[captions]  # (time, batch)
    step, place = has_step.nonzero(as_tuple=True)
    caption = captions[place]
    back = torch.argsort(caption * time + step)
    return StepOrder(has_step.sum(dim=1), *(each.to(device) for each in (captions, caption, step, back)))


def recur(gates: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor, rows: Sequence[int]) -> Tensor:
    """Run an LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000) over packed captions.

    Args:
        gates: float (predictions, 4·hidden), step by step: what inputs and biases add to the gates before their
            nonlinearities, in torch's order: in, forget, new, out.
        weight: float (4·hidden, hidden), what the hidden state adds to them.
        hidden: float (batch, hidden) before the first step.
        cell: float (batch, hidden) before the first step.
        rows: how many captions have a step, for each step: the first so many rows; never more than at
            the step before.

    Returns:
        The hidden state after each step, float (predictions, hidden), in the order of `gates`.
    """
    outputs: Tensor = _Recurrence.apply(gates, weight, hidden, cell, rows)
    return outputs


class _Recurrence(Function):
    """The forward and the backward pass of `recur`."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, gates: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor, rows: Sequence[int]) -> Tensor:
        width = weight.shape[1]
        opened = torch.empty_like(gates)  # the gates after their nonlinearities, (predictions, 4·hidden)
        hidden_before, cell_before, told, outputs = (gates.new_empty(len(gates), width) for _ in range(4))
        first = 0
        for count in rows:
            now = slice(first, first + count)
            first += count
            hidden_before[now], cell_before[now] = hidden[:count], cell[:count]
            step = torch.addmm(gates[now], hidden_before[now], weight.T, out=opened[now])
            write, keep, new, show = step.chunk(4, dim=1)  # (count, hidden) each
            step[:, : 2 * width].sigmoid_()
            new.tanh_()
            show.sigmoid_()
            cell = (keep * cell_before[now]).addcmul_(write, new)
            torch.tanh(cell, out=told[now])
            hidden = torch.mul(show, told[now], out=outputs[now])
        ctx.rows = rows
        ctx.save_for_backward(opened, weight, hidden_before, cell_before, told)
        return outputs

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, by_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        opened, weight, hidden_before, cell_before, told = ctx.saved_tensors
        width = weight.shape[1]
        write, keep, new, show = opened.chunk(4, dim=1)  # (predictions, hidden) each
        # How much the cell changes with the first three gates before their nonlinearities; the output with the last.
        slopes = torch.cat(
            (
                new * write * (1 - write),
                cell_before * keep * (1 - keep),
                write * (1 - new * new),
                told * show * (1 - show),
            ),
            dim=1,
        )  # (predictions, 4·hidden)
        cell_in_output = show * (1 - told * told)
        by_gates = torch.empty_like(opened)
        by_hidden, by_cell = by_outputs.new_zeros(2, ctx.rows[0], width)
        last = len(opened)
        for count in reversed(ctx.rows):
            now = slice(last - count, last)
            last -= count
            of_hidden, of_cell = by_hidden[:count], by_cell[:count]
            of_hidden += by_outputs[now]
            of_cell.addcmul_(of_hidden, cell_in_output[now])
            torch.mul(
                slopes[now, : 3 * width].unflatten(1, (3, width)),
                of_cell.unsqueeze(1),
                out=by_gates[now, : 3 * width].unflatten(1, (3, width)),
            )
            torch.mul(slopes[now, 3 * width :], of_hidden, out=by_gates[now, 3 * width :])
            of_cell *= keep[now]
            torch.mm(by_gates[now], weight, out=of_hidden)
        return by_gates, by_gates.T @ hidden_before, by_hidden, by_cell, None
