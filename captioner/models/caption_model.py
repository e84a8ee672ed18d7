"""An encoder and a decoder as one network, and how the two meet.

Knows nothing of training, of text, or of where features are kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from captioner.config.build import DecoderConfig, EncoderConfig
from captioner.errors import WeightsError
from captioner.models.decoders.base import Decoder, DecoderSizes
from captioner.models.decoders.registry import build_decoder
from captioner.models.encoders.base import Encoder
from captioner.models.encoders.registry import build_encoder
from captioner.text.vocabulary import SPECIAL_TOKENS


class CaptionModel(nn.Module):
    """What training changes: the decoder, and the encoder too when it is trained together with it.

    `inputs` are pixels (pictures, 3, size, size) when there is an encoder inside, else features that a frozen encoder
    computed before: (pictures, *feature_shape).
    """

    def __init__(self, decoder: Decoder, encoder: Encoder | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def look(self, inputs: Tensor) -> Tensor:
        """Inputs as features (pictures, *feature_shape)."""
        features: Tensor = inputs if self.encoder is None else self.encoder(inputs)
        return features

    def write(self, features: Tensor, owner: Tensor, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """Unnormalised log-probabilities of every next word (predictions, vocab), and what the captions looked at.

        Arguments as in `Decoder.forward`, the second value as in `Reading`.
        """
        reading = self.decoder(features, owner, tokens, lengths)
        return self.decoder.logits(reading.outputs), reading.attended

    def forward(self, inputs: Tensor, owner: Tensor, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        """`look`, then `write`."""
        return self.write(self.look(inputs), owner, tokens, lengths)


def start_from(model: CaptionModel, *trained: Mapping[str, Tensor]) -> None:
    """Put the weights of trained models into a fresh one: the decoder's, and the encoder's where all have one.

    Of several models it is the mean of the weights (M. Wortsman et al., "Model soups", ICML 2022, arXiv 2203.05482,
    the uniform soup), which is worth something where they began with the same weights and went different ways.

    Raises `WeightsError` when the decoders differ, or the encoders.
    """
    wanted = model.state_dict()
    known = [name for name in wanted if all(name in weights for weights in trained)]
    for part in ("decoder.", "encoder."):
        ours = {name: weight.shape for name, weight in wanted.items() if name.startswith(part)}
        for weights in trained:
            theirs = {name: weight.shape for name, weight in weights.items() if name.startswith(part)}
            if part == "encoder." and not (ours and theirs):
                continue  # frozen, before or now: its pretrained weights are where they belong
            if ours != theirs:
                raise WeightsError(
                    f"the {part[:-1]} to take weights from is another one; build both with the same options"
                )
    mean = {name: torch.stack([weights[name].float() for weights in trained]).mean(dim=0) for name in known}
    model.load_state_dict({**wanted, **{name: weight.to(wanted[name].dtype) for name, weight in mean.items()}})


def grow_from(model: CaptionModel, trained: Mapping[str, Tensor], vocabulary: int) -> None:
    """Put the decoder of a trained model with fewer words into a fresh one, whose further words come behind them.

    What belongs to a word that both have is the trained one, bit by bit. A new word begins as the mean of the others,
    with a little of its own from torch's generator to tell it from the other new ones (J. Hewitt, "Initializing new
    word embeddings for pretrained language models", 2021): as probable as a word is in the mean.

    Args:
        model: is changed in place; its encoder, if it has one, stays as it is.
        trained: the weights of the other.
        vocabulary: how many token ids the other has.

    Raises `WeightsError` when the decoders differ in more than the number of words.
    """
    wanted = {name: weight for name, weight in model.state_dict().items() if name.startswith("decoder.")}
    theirs = {name: weight for name, weight in trained.items() if name.startswith("decoder.")}
    if wanted.keys() != theirs.keys():
        raise WeightsError("the decoder to go on from is of another kind; build both with the same options")
    grown = {}
    for name, weight in wanted.items():
        old = theirs[name]
        if old.shape == weight.shape:
            grown[name] = old
        elif old.shape[1:] == weight.shape[1:] and len(old) == vocabulary < len(weight):
            words = old[len(SPECIAL_TOKENS) :].float()
            noise = 0.1 * words.std(dim=0) * torch.randn(len(weight) - vocabulary, *old.shape[1:])
            grown[name] = torch.cat([old, (words.mean(dim=0) + noise).to(old.dtype)])
        else:
            raise WeightsError(f"{name} of the decoder to go on from is of shape {tuple(old.shape)}")
    model.load_state_dict({**model.state_dict(), **grown})


def build_caption_model(
    decoder: DecoderConfig, sizes: DecoderSizes, encoder: EncoderConfig | None = None, *, seed: int = 0
) -> CaptionModel:
    """A model with fresh weights, which follow from the seed alone; `encoder` is one that is to be trained too."""
    torch.manual_seed(seed)
    return CaptionModel(build_decoder(decoder, sizes), build_encoder(encoder) if encoder else None)
