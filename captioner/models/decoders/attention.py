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

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioner.config import DecoderConfig
from captioner.models.decoders.base import Decoder, DecoderSizes, Reading, State
from captioner.models.decoders.cell import lstm_cell, open_forget_gate
from captioner.models.decoders.dropout import Dropout


class AttentionDecoder(Decoder):
    """Writes with a fresh look at the regions for every word.

    The state carries, besides the two LSTMs, the projected regions, and `attended`, the sum of all attention so far
    (batch, regions): the difference of two steps is where the decoder looked for the word between them.
    """

    state_names = ("asking_hidden", "asking_cell", "telling_hidden", "telling_cell", "regions", "attended")

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

    def _advance(self, gates: Tensor, state: State) -> State:
        """One word further; `gates` (batch, 4·hidden) are what word and picture add to those of the attention LSTM."""
        asking, asking_cell, telling, telling_cell, regions, attended = state
        gates = gates + self.ask_state(torch.cat((telling, asking), dim=-1))
        asking, asking_cell = lstm_cell(gates, asking_cell)  # (batch, hidden) each
        query = self.query(asking).unsqueeze(2)  # (batch, hidden, 1)
        scores = torch.bmm(regions, query).squeeze(2) * self.hidden**-0.5  # (batch, regions)
        attention = torch.softmax(scores, dim=-1)
        answer = torch.bmm(attention.unsqueeze(1), regions).squeeze(1)  # (batch, hidden)
        telling, telling_cell = lstm_cell(self.tell(torch.cat((answer, asking, telling), dim=-1)), telling_cell)
        return asking, asking_cell, telling, telling_cell, regions, attended + attention

    def forward(self, features: Tensor, owner: Tensor, tokens: Tensor, lengths: Tensor) -> Reading:
        """See `Decoder.forward`."""
        regions, picture = self._see(features)
        # Longest first: the captions that have a word left at each step are the first so many rows.
        order = torch.argsort(lengths, descending=True, stable=True)
        left = (lengths.unsqueeze(0) > torch.arange(tokens.shape[1]).unsqueeze(1)).sum(dim=1).tolist()  # (time,)
        order = order.to(tokens.device)
        gates = self._read(tokens[order]) + picture[owner[order]].unsqueeze(1)  # (batch, time, 4·hidden)
        state = self._blank(regions[owner[order]])
        outputs, attended = [], []
        for time, rows in enumerate(left):
            if rows < len(state[0]):
                attended.append(state[-1][rows:])  # these captions have ended
                state = tuple(tensor[:rows] for tensor in state)
            state = self._advance(gates[:rows, time], state)
            outputs.append(F.pad(state[2], (0, 0, 0, len(order) - rows)))
        attended.append(state[-1])
        back = torch.argsort(order)
        padded = torch.stack(outputs, dim=1)[back]  # (batch, time, hidden)
        mask = torch.arange(padded.shape[1], device=tokens.device) < lengths.to(tokens.device).unsqueeze(1)
        return Reading(self.dropout(padded[mask]), torch.cat(attended[::-1])[back])

    def logits(self, outputs: Tensor) -> Tensor:
        """See `Decoder.logits`."""
        if self.to_word_space is not None:
            outputs = self.to_word_space(outputs)  # (…, embed)
        logits: Tensor = self.word_layer(outputs)  # (…, vocab)
        return logits

    def _blank(self, regions: Tensor) -> State:
        """The state before the first word, over projected regions (batch, regions, hidden)."""
        zeros = regions.new_zeros(regions.shape[0], self.hidden)  # (batch, hidden)
        return zeros, zeros, zeros, zeros, regions, regions.new_zeros(regions.shape[:2])

    def start(self, features: Tensor) -> State:
        """See `Decoder.start`."""
        regions, _ = self._see(features)
        zeros, *_, attended = self._blank(regions)
        return zeros, zeros.clone(), zeros.clone(), zeros.clone(), regions, attended

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Decoder.step`."""
        picture = self.ask_picture(state[4].mean(dim=1))  # (batch, 4·hidden)
        state = self._advance(self._read(tokens) + picture, state)
        return F.log_softmax(self.logits(self.dropout(state[2])), dim=-1), state
