"""Learning from captioners that are finished, beside learning from people: knowledge distillation, word by word.

G. Hinton, O. Vinyals and J. Dean, "Distilling the knowledge in a neural network", 2015, arXiv 1503.02531, section 2;
for sequences Y. Kim and A. Rush 2016, arXiv 1606.07947, section 3.1: at every word of a true caption the teachers'
probabilities are the target. Several teachers are an ensemble, the mean of their probabilities, and the student learns
to be as good as all of them at the cost of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from captioner.config.build import DecoderConfig
from captioner.errors import WeightsError
from captioner.models.caption_model import CaptionModel
from captioner.models.decoders.base import DecoderSizes
from captioner.models.decoders.registry import build_decoder


class Teachers:
    """Finished captioners that look at the features that the student looks at."""

    def __init__(self, models: Sequence[CaptionModel], share: float) -> None:
        """Take at least one model, and the share of the loss that is learning from them; they learn nothing more."""
        self._models = [model.eval().requires_grad_(False) for model in models]
        self.share = share

    @torch.inference_mode()
    def probabilities(self, features: Tensor, owner: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
        """What they expect at every word, on average: float (predictions, vocab). Arguments as in `Decoder.forward`."""
        total = torch.zeros((), device=features.device)
        for model in self._models:
            model.to(features.device)
            logits, _ = model.write(features, owner, tokens, lengths)
            total = total + torch.softmax(logits.float(), dim=-1)
        return total / len(self._models)


def teacher_network(decoder: Mapping[str, Any], sizes: DecoderSizes) -> CaptionModel:
    """The network of a finished captioner, which its weights are still to be put into.

    Args:
        decoder: its decoder's options, as its manifest has them.
        sizes: what the student has for features and vocabulary.

    Raises:
        WeightsError: it cannot look at these features.
    """
    if tuple(decoder.get("feature_shape", ())) != tuple(sizes.feature_shape):
        raise WeightsError(f"it looks at features of shape {decoder.get('feature_shape')}, not {sizes.feature_shape}")
    names = DecoderConfig.__dataclass_fields__
    options = {name: value for name, value in decoder.items() if name in names}
    return CaptionModel(build_decoder(DecoderConfig(**options), sizes))


def distillation_loss(logits: Tensor, expected: Tensor) -> Tensor:
    """Mean over words of the cross-entropy with what the teachers expect, in nats (Kim and Rush 2016, equation 5).

    Args:
        logits: float (predictions, vocab), the student's.
        expected: float (predictions, vocab), probabilities.
    """
    return F.cross_entropy(logits, expected.clone())  # a clone: gradients may not meet what inference mode made
