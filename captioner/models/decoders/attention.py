"""Two LSTMs with a look at the picture between them: soft attention over the regions of a grid.

The form is that of P. Anderson et al., "Bottom-up and top-down attention for image captioning and visual question
answering", CVPR 2018, arXiv 1707.07998, section 3.2: an attention LSTM reads the word, the mean region and what the
language LSTM said last; its output asks the regions; the language LSTM reads the answer and predicts the next word.
The attention is the deterministic soft one of K. Xu et al., "Show, attend and tell", ICML 2015, arXiv 1502.03044,
section 4.2, with one difference: a region's score is the dot product of query and region (Luong et al. 2015,
arXiv 1508.04025, equation 8, "general") rather than a small network on their sum. That makes it a matrix product, where
the sum would need a hyperbolic tangent for every region, unit and word.

Knows nothing of how the next word is chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioner.config.build import DecoderConfig
from captioner.models.decoders.base import Decoder, DecoderSizes, Reading, State
from captioner.models.decoders.cell import lstm_cell, open_forget_gate
from captioner.models.decoders.dropout import Dropout

Memory: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]
"""Hidden state and cell of the attention LSTM, then of the language LSTM: (batch, hidden) each."""
Look: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


class AttentionDecoder(Decoder):
    """Writes with a fresh look at the regions for every word.

    The state carries, besides the two LSTMs, what does not change from word to word: the projected regions, and
    `picture`, what their mean adds to the gates (batch, 4·hidden). And `attended`, the sum of all attention so far
    (batch, regions): the difference of two steps is where the decoder looked for the word between them.
    """

    state_names = ("asking_hidden", "asking_cell", "telling_hidden", "telling_cell", "regions", "picture", "attended")
    steady: ClassVar = frozenset({"regions", "picture"})

    def __init__(self, config: DecoderConfig, sizes: DecoderSizes) -> None:
        super().__init__()
        channels, hidden = sizes.feature_shape[-1], config.hidden
        self.hidden = hidden
        self.dropout = Dropout(config.dropout)
        # Encoders differ in scale by orders of magnitude; normalised features need no tuning of their own.
        self.feature_norm = nn.LayerNorm(channels)
        self.region_projection = nn.Linear(channels, hidden)
        self.word_vectors = nn.Embedding(sizes.vocabulary, config.embed, padding_idx=sizes.pad)

        # The gates of each LSTM, with what does not change from word to word apart: it is multiplied once a caption.
        self.ask_word = nn.Linear(config.embed, 4 * hidden, bias=False)
        self.ask_picture = nn.Linear(hidden, 4 * hidden)
        self.ask_state = nn.Linear(2 * hidden, 4 * hidden, bias=False)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.tell = nn.Linear(3 * hidden, 4 * hidden)

        self.to_word_space = nn.Linear(hidden, config.embed) if config.tie_weights else None
        self.word_layer = nn.Linear(config.embed if config.tie_weights else hidden, sizes.vocabulary)
        if config.tie_weights:
            self.word_layer.weight = self.word_vectors.weight
        # Words enter with a variance of 1, but as rows of the word layer they must be small (Vaswani et al. 2017,
        # arXiv 1706.03762, section 3.4).
        self.word_scale = config.embed**0.5 if config.tie_weights else 1.0
        nn.init.normal_(self.word_vectors.weight, std=1 / self.word_scale)
        with torch.no_grad():
            self.word_vectors.weight[sizes.pad].zero_()
        open_forget_gate(self.ask_picture.bias)
        open_forget_gate(self.tell.bias)

    def _see(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Projected regions (pictures, regions, hidden), and what their mean adds to the gates (pictures, 4·hidden)."""
        regions = torch.relu(self.region_projection(self.dropout(self.feature_norm(features))))
        picture: Tensor = self.ask_picture(regions.mean(dim=1))
        return regions, picture

    def _read(self, tokens: Tensor) -> Tensor:
        """What words add to the gates: tokens (…) → (…, 4·hidden)."""
        words: Tensor = self.ask_word(self.dropout(self.word_vectors(tokens) * self.word_scale))
        return words

    def _attend(self, regions: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Ask regions (pictures, regions, hidden) by queries (pictures, captions, hidden).

        Returns answers (pictures, captions, hidden) and attention (pictures, captions, regions).
        """
        scores = torch.bmm(self.query(query), regions.transpose(1, 2)) * self.hidden**-0.5
        attention = torch.softmax(scores, dim=-1)
        return torch.bmm(attention, regions), attention

    def _advance(self, gates: Tensor, memory: Memory, look: Look) -> tuple[Memory, Tensor]:
        """One word further.

        Args:
            gates: what word and picture add to the gates of the attention LSTM, (batch, 4·hidden).
            memory: hidden state and cell of both LSTMs, (batch, hidden) each.
            look: takes what the attention LSTM says, (batch, hidden), to answers of the same shape and to attention,
                (batch, regions).

        Returns the memory after the word, and the attention.
        """
        asking, asking_cell, telling, telling_cell = memory
        gates = gates + self.ask_state(torch.cat((telling, asking), dim=-1))
        asking, asking_cell = lstm_cell(gates, asking_cell)  # (batch, hidden) each
        answer, attention = look(asking)
        telling, telling_cell = lstm_cell(self.tell(torch.cat((answer, asking, telling), dim=-1)), telling_cell)
        return (asking, asking_cell, telling, telling_cell), attention

    def forward(self, features: Tensor, owner: Tensor, tokens: Tensor, lengths: Tensor) -> Reading:
        """See `Decoder.forward`."""
        regions, picture = self._see(features)
        # Longest first: the captions that have a word left at each step are the first so many rows.
        order = torch.argsort(lengths, descending=True, stable=True)
        left = (lengths.unsqueeze(0) > torch.arange(tokens.shape[1]).unsqueeze(1)).sum(dim=1).tolist()  # (time,)
        order = order.to(tokens.device)
        # By time first, and taken apart at once: a slice for each step would have a gradient as large as the whole.
        gates = (self._read(tokens[order].T) + picture[owner[order]]).unbind()  # time × (batch, 4·hidden)
        place, places = _places(owner[order], len(regions))

        def look(said: Tensor) -> tuple[Tensor, Tensor]:
            # The captions of a picture ask it together: a copy of the regions for each caption, and a gradient for each
            # copy, would take most of the time of a step.
            rows = place[: len(said)]
            queries = said.new_zeros(len(regions) * places, self.hidden).index_copy(0, rows, said)
            answers, attention = self._attend(regions, queries.unflatten(0, (len(regions), places)))
            return answers.flatten(0, 1)[rows], attention.flatten(0, 1)[rows]

        memory = self._blank(len(order), regions)
        attended = regions.new_zeros(len(order), regions.shape[1])
        outputs, all_attended = [], []
        for words, rows in zip(gates, left, strict=True):
            if rows < len(attended):
                all_attended.append(attended[rows:])  # these captions have ended
                memory, attended = _first(rows, memory), attended[:rows]
            memory, attention = self._advance(words[:rows], memory, look)
            attended = attended + attention
            outputs.append(F.pad(memory[2], (0, 0, 0, len(order) - rows)))
        all_attended.append(attended)
        back = torch.argsort(order)
        padded = torch.stack(outputs, dim=1)[back]  # (batch, time, hidden)
        mask = torch.arange(padded.shape[1], device=tokens.device) < lengths.to(tokens.device).unsqueeze(1)
        return Reading(self.dropout(padded[mask]), torch.cat(all_attended[::-1])[back])

    def logits(self, outputs: Tensor) -> Tensor:
        """See `Decoder.logits`."""
        if self.to_word_space is not None:
            outputs = self.to_word_space(outputs)  # (…, embed)
        logits: Tensor = self.word_layer(outputs)  # (…, vocab)
        return logits

    def _blank(self, captions: int, regions: Tensor) -> Memory:
        """The memory before the first word."""
        zeros = regions.new_zeros(captions, self.hidden)
        return zeros, zeros, zeros, zeros

    def start(self, features: Tensor) -> State:
        """See `Decoder.start`."""
        regions, picture = self._see(features)
        memory = (zeros.clone() for zeros in self._blank(regions.shape[0], regions))
        return *memory, regions, picture, regions.new_zeros(regions.shape[:2])

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Decoder.step`."""
        asking, asking_cell, telling, telling_cell, regions, picture, attended = state

        def look(said: Tensor) -> tuple[Tensor, Tensor]:
            answer, attention = self._attend(regions, said.unsqueeze(1))
            return answer.squeeze(1), attention.squeeze(1)

        gates = self._read(tokens) + picture  # (batch, 4·hidden)
        memory, attention = self._advance(gates, (asking, asking_cell, telling, telling_cell), look)
        log_probs = F.log_softmax(self.logits(self.dropout(memory[2])), dim=-1)
        return log_probs, (*memory, regions, picture, attended + attention)


def _places(owner: Tensor, pictures: int) -> tuple[Tensor, int]:
    """Where each caption stands in a table of (pictures × captions of the richest picture), and that number."""
    told = F.one_hot(owner, pictures).cumsum(dim=0)  # (batch, pictures): captions of each picture up to each row
    nth = told.gather(1, owner.unsqueeze(1)).squeeze(1) - 1
    places = int(told[-1].max())
    return owner * places + nth, places


def _first(rows: int, memory: Memory) -> Memory:
    asking, asking_cell, telling, telling_cell = memory
    return asking[:rows], asking_cell[:rows], telling[:rows], telling_cell[:rows]
