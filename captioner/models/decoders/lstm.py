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
from torch.nn.utils.rnn import PackedSequence

from captioner.config.build import DecoderConfig
from captioner.models.decoders.base import Decoder, DecoderSizes, Reading, State
from captioner.models.decoders.cell import lstm_cell, open_forget_gate
from captioner.models.decoders.dropout import Dropout
from captioner.models.decoders.recurrence import recur, step_order


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

        self.dropout = Dropout(config.dropout)
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
        hidden, cell = self._first_state(picture)  # (pictures, hidden) each
        beside = torch.tanh(picture) if "picture" in self.state_names else None  # (pictures, embed)

        order = step_order(lengths, tokens.device)
        word_owner = owner[order.caption]  # (predictions,)
        words = self._read(tokens[order.caption, order.step])  # (predictions, embed)
        first = owner[order.captions]  # (batch,)
        told = self._run(words, beside, word_owner, (hidden[first], cell[first]), order.rows)
        outputs: Tensor = self.dropout(told.index_select(0, order.back))  # (predictions, hidden)
        if beside is not None and self.inject == "merge":
            shown = beside.index_select(0, word_owner[order.back])  # (predictions, embed)
            outputs = torch.cat((outputs, shown), dim=-1)  # (predictions, hidden + embed)
        return Reading(outputs, None)

    def _run(
        self, words: Tensor, beside: Tensor | None, owner: Tensor, state: tuple[Tensor, Tensor], rows: Tensor
    ) -> Tensor:
        """The LSTM over words (predictions, embed) in the order of steps, each of the picture `owner` (predictions,).

        `beside` is shown beside every word, (pictures, embed); `state` is (batch, hidden) twice, and `rows` (time,) how
        many captions have each step. Returns the outputs in the same order, (predictions, hidden).
        """
        hidden, cell = state
        shown = beside if self.inject == "par" else None
        if words.is_cuda:  # cuDNN has kernels for the whole of it
            inputs = words if shown is None else torch.cat((words, shown[owner]), dim=-1)
            told: Tensor = self.lstm(PackedSequence(inputs, rows), (hidden.unsqueeze(0), cell.unsqueeze(0)))[0].data
            return told
        input_weight, hidden_weight, input_bias, hidden_bias = self._lstm_weights
        of_word, of_picture = input_weight[:, : words.shape[1]], input_weight[:, words.shape[1] :]
        gates = F.linear(words, of_word, input_bias + hidden_bias)  # (predictions, 4·hidden)
        if shown is not None:  # multiplied once a picture, not once a word
            gates = gates + F.linear(shown, of_picture).index_select(0, owner)
        return recur(gates, hidden_weight, hidden, cell, rows.tolist())

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
