"""What training makes small."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def caption_loss(logits: Tensor, tokens: Tensor, lengths: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of every word and end token given the true words before it, in nats.

    Args:
        logits: float (predictions, vocab), caption by caption as `Decoder.forward` orders them.
        tokens: int64 (batch, time + 1): begin token, words, end token, padding.
        lengths: int64 (batch,), on any device: predictions in each caption.
        label_smoothing: mass spread evenly over the vocabulary (Szegedy et al. 2016, section 7).
    """
    return F.cross_entropy(logits, _targets(tokens, lengths), label_smoothing=label_smoothing)


def policy_loss(logits: Tensor, tokens: Tensor, lengths: Tensor, advantages: Tensor) -> Tensor:
    """What has the policy gradient as its gradient: the mean over words of -advantage · log-probability.

    Williams 1992, "REINFORCE", equation 11; for captions Rennie et al. 2017, arXiv 1612.00563, equation 8.

    Args:
        logits: float (predictions, vocab), as for `caption_loss`.
        tokens: int64 (batch, time + 1): drawn captions, each after the begin token.
        lengths: int64 (batch,), on any device: predictions in each caption.
        advantages: float (batch,): what each caption is worth beyond the baseline.
    """
    surprise = F.cross_entropy(logits, _targets(tokens, lengths), reduction="none")  # (predictions,)
    return (advantages.repeat_interleave(lengths.to(advantages.device)) * surprise).mean()


def _targets(tokens: Tensor, lengths: Tensor) -> Tensor:
    """The tokens to be predicted, caption by caption: (predictions,)."""
    targets = tokens[:, 1:]  # (batch, time)
    steps = torch.arange(targets.shape[1], device=tokens.device)  # (time,)
    mask = steps < lengths.to(tokens.device).unsqueeze(1)  # (batch, time)
    return targets[mask]


def attend_all_loss(attended: Tensor) -> Tensor:
    """How unevenly captions look at the regions: Σ over regions of (τ - attention over all words)², mean over captions.

    The doubly stochastic term of Xu et al. 2015, arXiv 1502.03044, equation 14, with τ such that it can be 0: words
    divided by regions, where the equation has 1.

    Args:
        attended: float (batch, regions), the attention of each caption summed over its words.
    """
    fair = attended.sum(dim=1, keepdim=True) / attended.shape[1]  # words / regions, (batch, 1)
    return ((fair - attended) ** 2).sum(dim=1).mean()


class WordPresence(nn.Module):
    """A further task for the encoder: say from the features alone which words the captions of a picture have.

    An encoder that starts from scratch learns little through a decoder that has only just learned to write; asked for
    the words directly, it learns to see within a few epochs. The words of captions as labels of the picture: Wu, Shen,
    Liu, Dick and van den Hengel 2016, arXiv 1506.01144, section 3.1. The layer is not part of the captioner.
    """

    def __init__(self, feature_shape: tuple[int, ...], vocabulary: int) -> None:
        super().__init__()
        self.layer = nn.Linear(feature_shape[-1], vocabulary)

    def forward(self, features: Tensor, owner: Tensor, tokens: Tensor) -> Tensor:
        """Binary cross-entropy in nats with the share of a picture's captions that have a word, summed over all words.

        Args:
            features: float (pictures, *feature_shape); a grid is averaged over its regions.
            owner: int64 (batch,), the picture of each caption.
            tokens: int64 (batch, time + 1); begin, end and padding count as words like others.

        Returns the mean over the pictures.
        """
        pooled = features.mean(dim=1) if features.dim() == 3 else features  # (pictures, channels)
        logits = self.layer(pooled).float()  # (pictures, vocab)
        present = torch.zeros(len(tokens), logits.shape[1], device=logits.device)  # (batch, vocab)
        present.scatter_(1, tokens, 1.0)
        counts = torch.bincount(owner, minlength=len(features)).unsqueeze(1)  # (pictures, 1)
        shares = torch.zeros_like(logits).index_add_(0, owner, present) / counts  # (pictures, vocab)
        return F.binary_cross_entropy_with_logits(logits, shares, reduction="sum") / len(features)
