"""Learning from captions that the model draws itself, by how well they score: self-critical sequence training.

S. Rennie et al., "Self-critical sequence training for image captioning", CVPR 2017, arXiv 1612.00563: a caption that
scores better than a baseline becomes more probable, word by word, a worse one less (equation 8). The baseline is the
model's own greedy caption there; here it may also be the mean of the other captions drawn for the picture (R. Luo, "A
better variant of self-critical sequence training", 2020, arXiv 2003.09971), which takes no further search.

The reward is CIDEr-D against the captions of training, document frequencies from there too, the end token counted as a
word: without it captions that stop in the middle score best (Hu et al. 2023, "SacreEOS", arXiv 2305.12254). On a few
thousand pictures the reward alone is soon learned by heart; a little of the loss on the true captions beside it
(`--ground`) keeps the captions long and the words apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from captioner.config.decode import DecodeConfig
from captioner.decoding.decode import decode
from captioner.decoding.sample import draw, gumbel
from captioner.decoding.step import StepModel
from captioner.metrics.cider import CiderD
from captioner.training.data import caption_arrays
from captioner.training.prepared import PreparedSplit
from captioner.types import Candidate, SpecialTokens


class Drawn(NamedTuple):
    """Captions that a model has drawn, and what they are worth."""

    owner: Tensor
    """int64 (batch,): which of the pictures each caption belongs to"""
    tokens: Tensor
    """int64 (batch, time + 1): begin token, words, end token unless the caption did not end, padding"""
    lengths: Tensor
    """int64 (batch,): predictions in each caption; on the CPU"""
    rewards: Tensor
    """float32 (batch,): CIDEr-D on the paper's scale, 0 to 10"""
    advantages: Tensor
    """float32 (batch,): reward less baseline"""


class SelfCritic:
    """Draws captions for training pictures and says how much better they are than the baseline."""

    def __init__(
        self, split: PreparedSplit, special: SpecialTokens, *, samples: int, baseline: str, max_length: int
    ) -> None:
        """Weigh the captions of the training pictures.

        Args:
            split: the training pictures.
            special: the tokens that are no words.
            samples: captions drawn for each picture.
            baseline: `mean` or `greedy`.
            max_length: drawn captions end after this many tokens, the end token counted.
        """
        self._special = special
        self._baseline = baseline
        self._config = DecodeConfig(
            beam=1, n_best=samples, max_length=max_length, no_repeat_ngram=0, length_penalty=0.0, temperature=1.0
        )
        # The reward takes words; to count them, their ids do as well.
        end = str(special.eos)
        self._reward = CiderD(
            [[(*map(str, caption.tolist()), end) for caption in split.captions(row)] for row in range(len(split))]
        )

    def draw(self, model: StepModel, inputs: np.ndarray, pictures: np.ndarray, seed: Sequence[int]) -> Drawn:
        """Captions of some training pictures, `samples` of each.

        Args:
            model: the model as it is, without dropout.
            inputs: what it looks at, float32 (pictures, …).
            pictures: int64 (pictures,), their places in the training split.
            seed: of the draws.
        """
        generator, samples = np.random.default_rng(seed), self._config.n_best
        found = draw(
            model,
            inputs,
            self._config,
            self._special,
            lambda vocab: gumbel(generator, (len(pictures), samples, vocab)),
        )
        captions = [self._told(each) for candidates in found for each in candidates]
        owner = np.repeat(np.arange(len(pictures)), samples)
        rewards = self._scores(captions, pictures[owner]).reshape(len(pictures), samples)
        if self._baseline == "greedy":
            greedy = decode(model, inputs, replace(self._config, n_best=1, temperature=0.0), self._special)
            baseline = self._scores([self._told(candidates[0]) for candidates in greedy], pictures)[:, None]
        else:
            baseline = (rewards.sum(axis=1, keepdims=True) - rewards) / (samples - 1)
        tokens, lengths = caption_arrays(captions, self._special)
        return Drawn(
            torch.from_numpy(owner),
            torch.from_numpy(tokens),
            torch.from_numpy(lengths),
            torch.from_numpy(rewards.ravel().astype(np.float32)),
            torch.from_numpy((rewards - baseline).ravel().astype(np.float32)),
        )

    def _told(self, caption: Candidate) -> tuple[int, ...]:
        """All that was said, the end token included."""
        return (*caption.tokens, self._special.eos) if caption.finished else caption.tokens

    def _scores(self, captions: Sequence[Sequence[int]], pictures: np.ndarray) -> np.ndarray:
        return self._reward([list(map(str, caption)) for caption in captions], pictures)
