"""A small Transformer decoder: every word looks back at the words before it and across at the regions of the picture.

A. Vaswani et al., "Attention is all you need", 2017, arXiv 1706.03762, section 3, with the normalisation before each
part instead of after it (Xiong et al. 2020, "On layer normalization in the Transformer architecture", arXiv
2002.04745), which needs no careful warm-up. Word vectors are the rows of the word layer (section 3.4 of the former).
In use, keys and values of earlier words are kept in the state and not computed again.

Captions of different lengths are kept as rows, a word each: four rows in ten would be padding otherwise. They stand
side by side only while they look, back by captions, across by pictures, so that no picture is copied for each of its
captions. Knows nothing of how the next word is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioner.config.build import DecoderConfig
from captioner.models.decoders.base import Decoder, DecoderSizes, Reading, State
from captioner.models.decoders.dropout import Dropout

_LONGEST_WAVE = 10_000.0
_SUBLAYERS = 3


@dataclass(frozen=True)
class _Layout:
    """Where rows stand when those that look at the same things stand side by side."""

    spread: Callable[[Tensor], Tensor]
    """(rows, width) → (groups, longest, width)"""
    gather: Callable[[Tensor], Tensor]
    """(groups, longest, width) → (rows, width)"""

    @classmethod
    def of(cls, group: Tensor, groups: int) -> _Layout:
        """The layout of rows that belong to these groups, int64 (rows,); within a group they keep their order."""
        counts = torch.bincount(group, minlength=groups)  # (groups,)
        longest = int(counts.max())
        order = torch.argsort(group, stable=True)
        first = counts.cumsum(0) - counts
        index = torch.empty_like(group)
        index[order] = torch.arange(len(group), device=group.device) - first[group[order]]
        index += group * longest

        def spread(rows: Tensor) -> Tensor:
            places: Tensor = rows.new_zeros(groups * longest, rows.shape[1]).index_copy(0, index, rows)
            return places.view(groups, longest, -1)

        return cls(spread, lambda places: places.flatten(0, 1).index_select(0, index))


_ONE_WORD = _Layout(lambda rows: rows.unsqueeze(1), lambda places: places.squeeze(1))
"""One word of each caption, which looks alone."""


class _Heads(nn.Module):
    """Multi-head attention to keys and values that are given (section 3.2.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_and_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def remember(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of what can be looked at: (…, width) → (…, width) each."""
        keys, values = self.key_and_value(inputs).chunk(2, dim=-1)
        return keys, values

    def forward(self, rows: Tensor, layout: _Layout, keys: Tensor, values: Tensor, *, back: bool = False) -> Tensor:
        """What the rows find among keys and values (groups, length, width): (rows, width).

        `back`: a word sees itself and those before it.
        """
        sides = (layout.spread(self.query(rows)), keys, values)
        query, keys, values = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in sides)
        found = F.scaled_dot_product_attention(query, keys, values, is_causal=back)
        answer: Tensor = self.out(layout.gather(found.transpose(1, 2).flatten(2)))
        return answer


class _Block(nn.Module):
    """Look back, look across, think."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_back, self.norm_across, self.norm_think = (nn.LayerNorm(width) for _ in range(_SUBLAYERS))
        self.back, self.across = _Heads(width, heads), _Heads(width, heads)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = Dropout(dropout)

    def look_across_and_think(self, rows: Tensor, layout: _Layout, regions: tuple[Tensor, Tensor]) -> Tensor:
        """The second and third part of a layer; `regions` are keys and values (groups, regions, width)."""
        rows = rows + self.dropout(self.across(self.norm_across(rows), layout, *regions))
        after: Tensor = rows + self.dropout(self.think(self.norm_think(rows)))
        return after

    def forward(self, rows: Tensor, captions: _Layout, pictures: _Layout, regions: tuple[Tensor, Tensor]) -> Tensor:
        """One layer over whole captions: (rows, width) → the same; rows look back by captions, across by pictures."""
        normed = self.norm_back(rows)
        words = [captions.spread(each) for each in self.back.remember(normed)]
        rows = rows + self.dropout(self.back(normed, captions, *words, back=True))
        return self.look_across_and_think(rows, pictures, regions)

    def step(
        self, rows: Tensor, words: tuple[Tensor, Tensor], regions: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One layer over the next word of each caption: (batch, width) → the same, and keys and values with it."""
        normed = self.norm_back(rows)
        key, value = self.back.remember(normed)
        keys = torch.cat((words[0], key.unsqueeze(1)), dim=1)  # (batch, time, width)
        values = torch.cat((words[1], value.unsqueeze(1)), dim=1)
        rows = rows + self.dropout(self.back(normed, _ONE_WORD, keys, values))
        return self.look_across_and_think(rows, _ONE_WORD, regions), (keys, values)


class TransformerDecoder(Decoder):
    """Writes with a look back at every word and across at every region.

    The state is the keys and values of the words so far, which grow by one word a step, and those of the regions, all
    (batch, layers, length, width).
    """

    waves: Tensor
    """Angular frequencies of the places in the caption (section 3.5), (width / 2,)."""
    state_names = ("word_keys", "word_values", "region_keys", "region_values")
    growing: ClassVar = {"word_keys": 2, "word_values": 2}
    steady: ClassVar = frozenset({"region_keys", "region_values"})

    def __init__(self, config: DecoderConfig, sizes: DecoderSizes) -> None:
        super().__init__()
        width = config.hidden
        self.width = width
        self.dropout = Dropout(config.dropout)
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
            for block in self._layers:  # what all parts add up to begins as large as what one of them adds
                for part in (block.back.out, block.across.out, cast("nn.Linear", block.think[-1])):
                    part.weight.mul_((_SUBLAYERS * config.layers) ** -0.5)
        waves = torch.exp(torch.arange(0, width, 2) / width * -torch.log(torch.tensor(_LONGEST_WAVE)))
        self.register_buffer("waves", waves, persistent=False)

    @property
    def _layers(self) -> list[_Block]:
        return [cast("_Block", block) for block in self.blocks]

    def _see(self, features: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of the regions for each layer, (pictures, regions, width)."""
        regions = self.region_norm(self.region_projection(self.dropout(self.feature_norm(features))))
        return [block.across.remember(regions) for block in self._layers]

    def _read(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Words at their places in the caption, int64 (rows,) each → (rows, width)."""
        angles = places.unsqueeze(1) * self.waves  # (rows, width / 2)
        position = torch.cat((torch.sin(angles), torch.cos(angles)), dim=-1)
        words: Tensor = self.dropout(self.word_vectors(tokens) * self.width**0.5 + position)
        return words

    def forward(self, features: Tensor, owner: Tensor, tokens: Tensor, lengths: Tensor) -> Reading:
        """See `Decoder.forward`."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        mask = places < lengths.to(tokens.device).unsqueeze(1)  # (batch, time)
        caption = mask.nonzero()[:, 0]  # (rows,)
        captions, pictures = _Layout.of(caption, len(tokens)), _Layout.of(owner[caption], len(features))
        rows = self._read(tokens[mask], places.expand_as(mask)[mask])
        for block, regions in zip(self._layers, self._see(features), strict=True):
            rows = block(rows, captions, pictures, regions)
        return Reading(self.dropout(self.last_norm(rows)), None)

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
        rows = self._read(tokens, place)  # (batch, width)
        words = []
        for layer, block in enumerate(self._layers):
            rows, after = block.step(
                rows,
                (word_keys[:, layer], word_values[:, layer]),
                (region_keys[:, layer], region_values[:, layer]),
            )
            words.append(after)
        keys, values = (torch.stack(each, dim=1) for each in zip(*words, strict=True))
        log_probs = F.log_softmax(self.logits(self.last_norm(rows)), dim=-1)
        return log_probs, (keys, values, region_keys, region_values)
