"""A torch caption model behind the step protocol of `decoding`, so that one decoding engine serves torch and ONNX."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from captioner.models.caption_model import CaptionModel
from captioner.models.decoders.base import State


class TorchStepModel:
    """`StepModel` over a `CaptionModel` in evaluation mode; numpy in, numpy out, the state stays on the device.

    `start` takes what the model takes: pixels when an encoder is trained with the decoder, else features.
    """

    def __init__(self, model: CaptionModel) -> None:
        if model.training:
            raise ValueError("call model.eval() first: dropout would make captions random")
        self._model = model
        self._device = next(model.parameters()).device

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    @torch.inference_mode()
    def start(self, features: np.ndarray) -> State:
        """See `StepModel.start`."""
        return self._model.decoder.start(self._model.look(self._tensor(features)))

    @torch.inference_mode()
    def step(self, tokens: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """See `StepModel.step`."""
        log_probs, state = self._model.decoder.step(self._tensor(tokens), state)
        return log_probs.float().cpu().numpy(), state

    @torch.inference_mode()
    def reorder(self, state: State, rows: np.ndarray) -> State:
        """See `StepModel.reorder`."""
        index = self._tensor(rows)
        return tuple(tensor[index] for tensor in state)
