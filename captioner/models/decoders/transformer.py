"""A small Transformer decoder: every word looks back at the words before it and across at the regions of the picture.

A. Vaswani et al., "Attention is all you need", 2017, arXiv 1706.03762, section 3, with the normalisation before each
part instead of after it (Xiong et al. 2020, "On layer normalization in the Transformer architecture", arXiv
2002.04745), which needs no careful warm-up. Word vectors are the rows of the word layer (section 3.4 of the former).
In use, keys and values of earlier words are kept in the state and not computed again.

Knows nothing of how the next word is chosen.
"""

from __future__ import annotations

from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioner.config import DecoderConfig
from captioner.models.decoders.base import Decoder, DecoderSizes, Reading, State

_LONGEST_WAVE = 10_000.0


class _Heads(nn.Module):
    """Multi-head attention from keys and values that are given (section 3.2.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_and_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def remember(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of what can be looked at: (batch, length, width) → (batch, length, width) each."""
        keys, values = self.key_and_value(inputs).chunk(2, dim=-1)
        return keys, values

    def forward(self, inputs: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """What is found: (batch, time, width); `mask` (time, length) is true where there may be looked."""
        sides = (self.query(inputs), keys, values)
        query, keys, values = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in sides)
        found = F.scaled_dot_product_attention(query, keys, values, mask)  # (batch, heads, time, width / heads)
        answer: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return answer


class _Block(nn.Module):
    """Look back, look across, think."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_back, self.norm_across, self.norm_think = (nn.LayerNorm(width) for _ in range(3))
        self.back, self.across = _Heads(width, heads), _Heads(width, heads)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, inputs: Tensor, words: tuple[Tensor, Tensor], regions: tuple[Tensor, Tensor], mask: Tensor | None = None
    ) -> Tensor:
        """One layer: (batch, time, width) → the same; `words` and `regions` are keys and values."""
        inputs = inputs + self.dropout(self.back(self.norm_back(inputs), *words, mask))
        inputs = inputs + self.dropout(self.across(self.norm_across(inputs), *regions))
        after: Tensor = inputs + self.dropout(self.think(self.norm_think(inputs)))
        return after


class TransformerDecoder(Decoder):
    """Writes with a look back at every word and across at every region.

    The state is the keys and values of the words so far, which grow by one word a step, and those of the regions, all
    (batch, layers, length, width).
    """

    waves: Tensor
    """Angular frequencies of the places in the caption (section 3.5), (width / 2,)."""
    state_names = ("word_keys", "word_values", "region_keys", "region_values")
    growing: ClassVar = {"word_keys": 2, "word_values": 2}

    def __init__(self, config: DecoderConfig, sizes: DecoderSizes) -> None:
        super().__init__()
        width = config.hidden
        self.width = width
        self.dropout = nn.Dropout(config.dropout)
        self.feature_norm = nn.LayerNorm(sizes.feature_shape[-1])
        self.region_projection = nn.Linear(sizes.feature_shape[-1], width)
        self.region_norm = nn.LayerNorm(width)
        self.word_vectors = nn.Embedding(sizes.vocabulary, width, padding_idx=sizes.pad)
        self.blocks = nn.ModuleList(_Block(width, config.heads, config.dropout) for _ in range(config.layers))
        self.last_norm = nn.LayerNorm(width)
        self.word_layer = nn.Linear(width, sizes.vocabulary)
        self.word_layer.weight = self.word_vectors.weight
        nn.init.normal_(self.word_vectors.weight, std=width**-0.5)
        with torch.no_grad():
            self.word_vectors.weight[sizes.pad].zero_()
            for block in self._layers:  # what all layers add up to begins as large as what one of them adds
                block.back.out.weight.mul_((3 * config.layers) ** -0.5)
                block.across.out.weight.mul_((3 * config.layers) ** -0.5)
        waves = torch.exp(torch.arange(0, width, 2) / width * -torch.log(torch.tensor(_LONGEST_WAVE)))
        self.register_buffer("waves", waves, persistent=False)  # (width / 2,)

    @property
    def _layers(self) -> list[_Block]:
        return [cast("_Block", block) for block in self.blocks]

    def _see(self, features: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of the regions for each layer, (pictures, regions, width)."""
        regions = self.region_norm(self.region_projection(self.dropout(self.feature_norm(features))))
        return [block.across.remember(regions) for block in self._layers]

    def _read(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Words at their places in the caption: int64 (batch, time) and (time,) → (batch, time, width)."""
        angles = places.unsqueeze(1) * self.waves  # (time, width / 2)
        position = torch.cat((torch.sin(angles), torch.cos(angles)), dim=-1)[:, : self.width]
        words: Tensor = self.dropout(self.word_vectors(tokens) * self.width**0.5 + position)
        return words

    def forward(self, features: Tensor, owner: Tensor, tokens: Tensor, lengths: Tensor) -> Reading:
        """See `Decoder.forward`."""
        time = tokens.shape[1]
        places = torch.arange(time, device=tokens.device)
        before = places.unsqueeze(1) >= places  # (time, time): words look at themselves and back
        outputs = self._read(tokens, places)
        for block, (keys, values) in zip(self._layers, self._see(features), strict=True):
            words = block.back.remember(block.norm_back(outputs))
            outputs = block(outputs, words, (keys[owner], values[owner]), before)
        mask = places < lengths.to(tokens.device).unsqueeze(1)  # (batch, time)
        return Reading(self.dropout(self.last_norm(outputs[mask])), None)

    def logits(self, outputs: Tensor) -> Tensor:
        """See `Decoder.logits`."""
        logits: Tensor = self.word_layer(outputs)  # (…, vocab)
        return logits

    def start(self, features: Tensor) -> State:
        """See `Decoder.start`."""
        keys, values = (torch.stack(each, dim=1) for each in zip(*self._see(features), strict=True))
        nothing = keys[:, :, :0]
        return nothing, nothing.clone(), keys, values

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Decoder.step`."""
        word_keys, word_values, region_keys, region_values = state
        place = torch.full((1,), word_keys.shape[2], device=tokens.device)
        outputs = self._read(tokens.unsqueeze(1), place)  # (batch, 1, width)
        all_keys, all_values = [], []
        for layer, block in enumerate(self._layers):
            key, value = block.back.remember(block.norm_back(outputs))
            keys = torch.cat((word_keys[:, layer], key), dim=1)  # (batch, time, width)
            values = torch.cat((word_values[:, layer], value), dim=1)
            outputs = block(outputs, (keys, values), (region_keys[:, layer], region_values[:, layer]))
            all_keys.append(keys)
            all_values.append(values)
        log_probs = F.log_softmax(self.logits(self.last_norm(outputs[:, 0])), dim=-1)
        return log_probs, (torch.stack(all_keys, dim=1), torch.stack(all_values, dim=1), region_keys, region_values)
