"""Every way of showing the picture to the decoder can learn: eight captions by heart, with a gradient everywhere."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from captioner.config.build import INJECT, DecoderConfig  # noqa: E402
from captioner.config.decode import DecodeConfig  # noqa: E402
from captioner.datasets.scenes import ScenesDataset  # noqa: E402
from captioner.decoding.decode import decode  # noqa: E402
from captioner.images import decode_image  # noqa: E402
from captioner.models.caption_model import CaptionModel  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.models.decoders.registry import build_decoder  # noqa: E402
from captioner.models.encoders.small_cnn import SmallCnn  # noqa: E402
from captioner.models.torch_step import TorchStepModel  # noqa: E402
from captioner.text.vocabulary import Vocabulary  # noqa: E402
from captioner.training.losses import caption_loss  # noqa: E402

CAPTIONS = (
    "a dog runs over the grass",
    "a dog runs over the snow",
    "two dogs run",
    "a cat",
    "a cat sleeps on a chair",
    "the grass",
    "two cats sleep and two dogs run over the snow",
    "a chair on the grass",
)
"""Some begin alike, some are short: the picture alone tells which goes on."""
FEATURE_SHAPES = {"pooled": (16,), "grid": (4, 16)}
GREEDY = DecodeConfig(beam=1, max_length=20, no_repeat_ngram=0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch_of(captions, vocabulary):
    """Token ids padded to one length, int64 (batch, time + 1), and the number of predictions of each."""
    rows = [[vocabulary.bos, *vocabulary.encode(caption), vocabulary.eos] for caption in captions]
    tokens = np.full((len(rows), max(map(len, rows))), vocabulary.pad)
    for padded, row in zip(tokens, rows, strict=True):
        padded[: len(row)] = row
    return torch.from_numpy(tokens), torch.tensor([len(row) - 1 for row in rows])


def loss_of(model, inputs, tokens, lengths):
    logits, _ = model(inputs, torch.arange(len(tokens)), tokens[:, :-1], lengths)
    return caption_loss(logits, tokens, lengths)


def learn_by_heart(model, inputs, captions, vocabulary, *, steps, rate):
    """Train on the same batch; returns the loss at the end, in nats a word."""
    tokens, lengths = batch_of(captions, vocabulary)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss = loss_of(model, inputs, tokens, lengths)
        loss.backward()
        optimiser.step()
    return loss.item()


def captions_of(model, inputs, vocabulary):
    found = decode(TorchStepModel(model.eval()), inputs.numpy(), GREEDY, vocabulary.special)
    return tuple(vocabulary.decode(candidates[0].tokens) for candidates in found)


VARIANTS = {
    **{inject: {"inject": inject} for inject in INJECT},
    "attention": {"decoder": "attention"},
    "transformer": {"decoder": "transformer", "layers": 2, "heads": 2},
}
KINDS = [(variant, kind) for variant in VARIANTS for kind in FEATURE_SHAPES if variant in INJECT or kind == "grid"]
"""Those that look for something have nothing to choose from in a pooled picture."""


def features_and_model(variant, kind, **options):
    """Eight pictures, no two alike, and a fresh decoder without dropout."""
    vocabulary = Vocabulary.build(CAPTIONS, min_count=1)
    torch.manual_seed(0)
    features = torch.randn(len(CAPTIONS), *FEATURE_SHAPES[kind])
    sizes = DecoderSizes(FEATURE_SHAPES[kind], len(vocabulary), vocabulary.pad)
    config = DecoderConfig(**VARIANTS[variant], embed=24, hidden=32, dropout=0.0, **options)
    return features, CaptionModel(build_decoder(config, sizes)), vocabulary


@pytest.mark.parametrize(("variant", "kind"), KINDS)
def test_eight_captions_are_learned_by_heart(variant, kind):
    features, model, vocabulary = features_and_model(variant, kind, tie_weights=kind == "grid")
    assert captions_of(model, features, vocabulary) != CAPTIONS
    loss = learn_by_heart(model, features, CAPTIONS, vocabulary, steps=150, rate=0.02)
    assert loss < 0.05
    assert captions_of(model, features, vocabulary) == CAPTIONS
    order = [3, 0, 7, 5]  # the caption follows the picture, not its place in the batch
    assert captions_of(model, features[order], vocabulary) == tuple(CAPTIONS[place] for place in order)


@pytest.mark.parametrize(("variant", "kind"), KINDS)
def test_the_picture_alone_tells_the_captions_apart(variant, kind):
    """Without the picture, equal beginnings cannot be told apart: the loss stays where guessing leaves it."""
    features, model, vocabulary = features_and_model(variant, kind)
    blind = torch.zeros_like(features)
    assert learn_by_heart(model, blind, CAPTIONS, vocabulary, steps=150, rate=0.02) > 0.2


@pytest.mark.parametrize(("variant", "kind"), KINDS)
@pytest.mark.parametrize("tie_weights", [False, True])
def test_a_gradient_reaches_every_parameter_of_the_decoder(variant, kind, tie_weights):
    features, model, vocabulary = features_and_model(variant, kind, tie_weights=tie_weights)
    loss_of(model, features, *batch_of(CAPTIONS, vocabulary)).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().max() > 0, name


# ---- encoder and decoder together -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenes():
    """Eight drawn scenes as the encoder sees them, and one caption each, no two alike."""
    spec = SmallCnn(features="pooled").preprocess
    records, captions = [], []
    for record in ScenesDataset().records("train"):
        caption = max(record.captions, key=len)
        if caption not in captions and len(records) < 8:
            records.append(record)
            captions.append(caption)
        if len(records) == 8:
            break
    pixels = np.stack([spec.apply(decode_image(record.source.read_bytes())) for record in records])
    vocabulary = Vocabulary.build(captions, min_count=1)
    return (
        torch.from_numpy(pixels),
        tuple(" ".join(vocabulary.decode(vocabulary.encode(text)).split()) for text in captions),
        vocabulary,
    )


def together(features, vocabulary):
    torch.manual_seed(0)
    encoder = SmallCnn(features=features)
    sizes = DecoderSizes(encoder.feature_shape, len(vocabulary), vocabulary.pad)
    return CaptionModel(build_decoder(DecoderConfig(embed=32, hidden=48, dropout=0.0), sizes), encoder)


@pytest.mark.parametrize("features", ["pooled", "grid"])
def test_a_gradient_reaches_every_parameter_of_encoder_and_decoder(scenes, features):
    pixels, captions, vocabulary = scenes
    model = together(features, vocabulary)
    loss_of(model, pixels, *batch_of(captions, vocabulary)).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.abs().max() > 0, name


def test_eight_scenes_are_learned_by_heart_from_pixels(scenes):
    pixels, captions, vocabulary = scenes
    model = together("pooled", vocabulary)
    loss = learn_by_heart(model, pixels, captions, vocabulary, steps=120, rate=0.005)
    # Batch normalisation uses in evaluation what it has averaged in training; the weights stand still meanwhile.
    model.train()
    with torch.no_grad():
        for _ in range(60):
            model.look(pixels)
    assert loss < 0.05
    assert captions_of(model, pixels, vocabulary) == captions
