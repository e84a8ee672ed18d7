"""What training makes small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def caption_loss(logits: Tensor, tokens: Tensor, lengths: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of every word and end token given the true words before it, in nats.

    Args:
        logits: float (predictions, vocab), caption by caption as `Decoder.forward` orders them.
        tokens: int64 (batch, time + 1): begin token, words, end token, padding.
        lengths: int64 (batch,): predictions in each caption.
        label_smoothing: mass spread evenly over the vocabulary (Szegedy et al. 2016, section 7).
    """
    targets = tokens[:, 1:]  # (batch, time)
    mask = torch.arange(targets.shape[1], device=tokens.device) < lengths.unsqueeze(1)  # (batch, time)
    return F.cross_entropy(logits, targets[mask], label_smoothing=label_smoothing)
