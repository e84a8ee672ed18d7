"""What every decoder is: features and words so far in, next words out; in one pass for training, in steps for use.

Knows nothing of pictures, of text, or of how the next word is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What a decoder remembers between steps: tensors with one row a caption, in the order of `Decoder.state_names`."""


@dataclass(frozen=True)
class DecoderSizes:
    """What a decoder must know of the encoder and the vocabulary to be built."""

    feature_shape: tuple[int, ...]
    """(channels,) or (regions, channels)."""
    vocabulary: int
    """Number of token ids, the four special ones included."""
    pad: int
    """The id that fills short captions."""


class Reading(NamedTuple):
    """What a decoder makes of captions that it is given whole."""

    outputs: Tensor
    """float (predictions, width): for every token that is not padding, caption by caption, word by word."""
    attended: Tensor | None
    """float (batch, regions): how much each caption looked at each region, over all its words; None without attention.
    """


class Decoder(nn.Module):
    """A language model that looks at a picture.

    Training uses `forward` and `logits`; generation uses `start` and `step`, which are what is exported. Both ways give
    the same probabilities (tested in `tests/parity`).
    """

    state_names: tuple[str, ...]
    """The names of the tensors of the state, in order; the exported graphs use them."""

    growing: ClassVar[Mapping[str, int]] = {}
    """Tensors of the state that get longer with every step, and along which axis."""

    steady: ClassVar[frozenset[str]] = frozenset()
    """Tensors of the state that follow from the picture alone, and stay what they are from word to word."""

    def forward(self, features: Tensor, owner: Tensor, tokens: Tensor, lengths: Tensor) -> Reading:
        """Teacher forcing: read whole captions, each word predicted from the true words before it.

        Args:
            features: float (pictures, *feature_shape).
            owner: int64 (batch,), the row of `features` that each caption belongs to.
            tokens: int64 (batch, time), the begin token and the words, padded.
            lengths: int64 (batch,), on the CPU: how many of the tokens of each caption are not padding.

        Returns:
            The outputs for all tokens that are not padding, in the order of `tokens[mask]`, which `logits` turns into
            words; and what the captions looked at.
        """
        raise NotImplementedError

    def logits(self, outputs: Tensor) -> Tensor:
        """Outputs (…, width) as unnormalised log-probabilities of the next token (…, vocab)."""
        raise NotImplementedError

    def start(self, features: Tensor) -> State:
        """The state before the first token, one row a picture; features: float (batch, *feature_shape)."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Feed one token to each row: int64 (batch,) → log-probabilities float (batch, vocab) and the next state."""
        raise NotImplementedError
