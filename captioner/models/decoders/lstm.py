"""The LSTM decoder and the four ways to show it the picture: `par`, `init`, `pre` and `merge`.

M. Tanti, A. Gatt and K. P. Camilleri, "Where to put the image in an image caption generator", Natural Language
Engineering 24(3), 2018, arXiv 1703.09137, section 3. The names are theirs:

    par    the picture is shown beside every word            input at step t: [word t ; picture]
    init   the picture is the state that the LSTM begins with
    pre    the picture is shown as if it were the first word
    merge  the LSTM sees words alone; the picture joins its output before the next word is predicted

Knows nothing of how the next word is chosen.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from captioner.config.build import DecoderConfig
from captioner.models.decoders.base import Decoder, DecoderSizes, Reading, State
from captioner.models.decoders.cell import lstm_cell, open_forget_gate


class LstmDecoder(Decoder):
    """One LSTM layer over word vectors, with the picture injected as `config.inject` says.

    Grid features are averaged over their regions first: this decoder looks at the picture as a whole.
    """

    steady: ClassVar = frozenset({"picture"})

    def __init__(self, config: DecoderConfig, sizes: DecoderSizes) -> None:
        super().__init__()
        self.inject = config.inject
        channels = sizes.feature_shape[-1]
        keeps_picture = self.inject in ("par", "merge")
        self.state_names = ("hidden", "cell", "picture") if keeps_picture else ("hidden", "cell")

        self.dropout = nn.Dropout(config.dropout)
        # Encoders differ in scale by orders of magnitude; normalised features need no tuning of their own.
        self.feature_norm = nn.LayerNorm(channels)
        self.word_vectors = nn.Embedding(sizes.vocabulary, config.embed, padding_idx=sizes.pad)
        picture_width = 2 * config.hidden if self.inject == "init" else config.embed
        self.picture_projection = nn.Linear(channels, picture_width)
        lstm_input = 2 * config.embed if self.inject == "par" else config.embed
        self.lstm = nn.LSTM(lstm_input, config.hidden, batch_first=True)

        width = config.hidden + (config.embed if self.inject == "merge" else 0)
        self.to_word_space = nn.Linear(width, config.embed) if config.tie_weights else None
        self.word_layer = nn.Linear(config.embed if config.tie_weights else width, sizes.vocabulary)
        if config.tie_weights:
            self.word_layer.weight = self.word_vectors.weight
        # Words enter the LSTM with a variance of 1, but as rows of the word layer they must be small (Vaswani et al.
        # 2017, arXiv 1706.03762, section 3.4).
        self.word_scale = config.embed**0.5 if config.tie_weights else 1.0
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.word_vectors.weight, std=1 / self.word_scale)
        with torch.no_grad():
            self.word_vectors.weight[self.word_vectors.padding_idx].zero_()
            hidden = self.lstm.hidden_size
            _, _, input_bias, hidden_bias = self._lstm_weights
            open_forget_gate(input_bias)
            hidden_bias[hidden : 2 * hidden].fill_(0.0)

    @property
    def _lstm_weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Input and hidden weights (4·hidden, …), input and hidden biases (4·hidden,); gates in, forget, new, out."""
        return tuple(self.lstm.all_weights[0])  # type: ignore[return-value]

    def _look(self, features: Tensor) -> Tensor:
        """What the LSTM is shown: (batch, *feature_shape) → (batch, embed), or (batch, 2·hidden) for `init`."""
        pooled = features.mean(dim=1) if features.dim() == 3 else features  # (batch, channels)
        projected: Tensor = self.picture_projection(self.dropout(self.feature_norm(pooled)))
        return projected

    def _first_state(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """The state before the first word, as `picture` (batch, …) gives it: hidden and cell, (batch, hidden) each."""
        if self.inject == "init":
            hidden, cell = picture.chunk(2, dim=-1)  # (batch, hidden) each
            return torch.tanh(hidden), cell
        zeros = picture.new_zeros(picture.shape[0], self.lstm.hidden_size)  # (batch, hidden)
        if self.inject == "pre":
            return self._cell(torch.tanh(picture), zeros, zeros)
        return zeros, zeros.clone()

    def _cell(self, inputs: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the LSTM on (batch, input)."""
        input_weight, hidden_weight, input_bias, hidden_bias = self._lstm_weights
        gates = F.linear(inputs, input_weight, input_bias)  # (batch, 4·hidden)
        return lstm_cell(gates + F.linear(hidden, hidden_weight, hidden_bias), cell)

    def _read(self, tokens: Tensor) -> Tensor:
        """Word vectors (…, embed) of tokens (…), with dropout."""
        words: Tensor = self.dropout(self.word_vectors(tokens) * self.word_scale)
        return words

    def forward(self, features: Tensor, owner: Tensor, tokens: Tensor, lengths: Tensor) -> Reading:
        """See `Decoder.forward`."""
        picture = self._look(features)  # (pictures, embed)
        words = self._read(tokens)  # (batch, time, embed)
        hidden, cell = self._first_state(picture)  # (pictures, hidden) each
        if self.inject == "par":
            beside = torch.tanh(picture)[owner].unsqueeze(1).expand(-1, tokens.shape[1], -1)  # (batch, time, embed)
            words = torch.cat((words, beside), dim=-1)  # (batch, time, 2·embed)
        packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
        state = (hidden[owner].unsqueeze(0), cell[owner].unsqueeze(0))  # (1, batch, hidden) each
        unpacked, _ = pad_packed_sequence(self.lstm(packed, state)[0], batch_first=True)  # (batch, time, hidden)
        mask = torch.arange(unpacked.shape[1], device=tokens.device) < lengths.to(tokens.device).unsqueeze(1)
        outputs: Tensor = self.dropout(unpacked[mask])  # (predictions, hidden)
        if self.inject == "merge":
            beside = torch.tanh(picture)[owner].repeat_interleave(lengths.to(tokens.device), dim=0)
            outputs = torch.cat((outputs, beside), dim=-1)  # (predictions, hidden + embed)
        return Reading(outputs, None)

    def logits(self, outputs: Tensor) -> Tensor:
        """See `Decoder.logits`."""
        if self.to_word_space is not None:
            outputs = self.to_word_space(outputs)  # (…, embed)
        logits: Tensor = self.word_layer(outputs)  # (…, vocab)
        return logits

    def start(self, features: Tensor) -> State:
        """See `Decoder.start`."""
        picture = self._look(features)
        hidden, cell = self._first_state(picture)
        return (hidden, cell, torch.tanh(picture)) if "picture" in self.state_names else (hidden, cell)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """See `Decoder.step`."""
        hidden, cell, *picture = state
        inputs = self._read(tokens)  # (batch, embed)
        if self.inject == "par":
            inputs = torch.cat((inputs, picture[0]), dim=-1)  # (batch, 2·embed)
        hidden, cell = self._cell(inputs, hidden, cell)  # (batch, hidden) each
        outputs = self.dropout(hidden)
        if self.inject == "merge":
            outputs = torch.cat((outputs, picture[0]), dim=-1)  # (batch, hidden + embed)
        return F.log_softmax(self.logits(outputs), dim=-1), (hidden, cell, *picture)
