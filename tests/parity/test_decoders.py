"""The two ways through a decoder agree: whole captions at once in training, word by word in use, and exported."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from captioner.bundle import DECODER_START, DECODER_STEP  # noqa: E402
from captioner.config.build import INJECT, DecoderConfig  # noqa: E402
from captioner.export import export_decoder  # noqa: E402
from captioner.models.caption_model import CaptionModel  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.models.decoders.registry import build_decoder  # noqa: E402
from captioner.models.torch_step import TorchStepModel  # noqa: E402
from captioner.runtime.onnx_step import OnnxStepModel  # noqa: E402

SIZES = {"pooled": DecoderSizes((6,), 11, pad=0), "grid": DecoderSizes((4, 6), 11, pad=0)}
CAPTIONS = [[1, 4, 5, 6, 7], [1, 8], [1, 9, 10, 4], [1, 5, 5, 5, 4, 6, 9]]
OWNER = torch.tensor([0, 0, 1, 2])
LENGTHS = torch.tensor([len(caption) for caption in CAPTIONS])


VARIANTS = {
    **{inject: {"inject": inject} for inject in INJECT},
    "attention": {"decoder": "attention"},
    "transformer": {"decoder": "transformer", "layers": 2, "heads": 2},
}
KINDS = [(variant, kind) for variant in VARIANTS for kind in SIZES if variant in INJECT or kind == "grid"]
"""Those that look for something have nothing to choose from in a pooled picture."""


def decoder_of(variant, sizes, **options):
    torch.manual_seed(3)
    return build_decoder(DecoderConfig(**VARIANTS[variant], embed=5, hidden=8, **options), sizes).eval()


def tokens():
    padded = np.zeros((len(CAPTIONS), int(LENGTHS.max())), np.int64)
    for row, caption in zip(padded, CAPTIONS, strict=True):
        row[: len(caption)] = caption
    return torch.from_numpy(padded)


def forced(step_model, features):
    """Log-probabilities of every next word by feeding the true words one at a time: list of (time, vocab)."""
    found = []
    for caption, owner in zip(CAPTIONS, OWNER.tolist(), strict=True):
        state = step_model.start(features[owner : owner + 1])
        rows = []
        for token in caption:
            log_probs, state = step_model.step(np.array([token]), state)
            rows.append(log_probs[0])
        found.append(np.stack(rows))
    return found


@pytest.mark.parametrize(("variant", "kind"), KINDS)
@pytest.mark.parametrize("tie_weights", [False, True])
def test_word_by_word_gives_what_teacher_forcing_gives(variant, kind, tie_weights):
    decoder = decoder_of(variant, SIZES[kind], tie_weights=tie_weights)
    features = torch.randn(3, *SIZES[kind].feature_shape)
    with torch.no_grad():
        logits = decoder.logits(decoder(features, OWNER, tokens(), LENGTHS).outputs)
    at_once = torch.log_softmax(logits, dim=-1).numpy()
    stepwise = np.concatenate(forced(TorchStepModel(CaptionModel(decoder).eval()), features.numpy()))
    np.testing.assert_allclose(at_once, stepwise, atol=1e-5)


@pytest.mark.parametrize(("variant", "kind"), KINDS)
def test_the_exported_graphs_give_what_torch_gives(variant, kind, tmp_path):
    decoder = decoder_of(variant, SIZES[kind])
    export_decoder(decoder, SIZES[kind], tmp_path)
    features = torch.randn(3, *SIZES[kind].feature_shape).numpy()
    onnx = forced(OnnxStepModel(tmp_path / DECODER_START, tmp_path / DECODER_STEP), features)
    ours = forced(TorchStepModel(CaptionModel(decoder).eval()), features)
    for left, right in zip(onnx, ours, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


@pytest.mark.parametrize(("variant", "kind"), KINDS)
def test_padding_changes_nothing(variant, kind):
    decoder = decoder_of(variant, SIZES[kind])
    features = torch.randn(3, *SIZES[kind].feature_shape)
    with torch.no_grad():
        short = decoder(features, OWNER[1:2], tokens()[1:2, :2], LENGTHS[1:2]).outputs
        padded = decoder(features, OWNER, tokens(), LENGTHS).outputs[5:7]
    np.testing.assert_allclose(short.numpy(), padded.numpy(), atol=1e-6)


@pytest.mark.parametrize(("variant", "kind"), KINDS)
def test_another_picture_gives_other_words(variant, kind):
    decoder = decoder_of(variant, SIZES[kind])
    model = TorchStepModel(CaptionModel(decoder).eval())
    features = torch.randn(2, *SIZES[kind].feature_shape).numpy()
    log_probs, _ = model.step(np.array([1, 1]), model.start(features))
    assert np.abs(log_probs[0] - log_probs[1]).max() > 1e-4


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="eval"):
        TorchStepModel(CaptionModel(decoder_of("par", SIZES["pooled"])).train())


def test_attention_is_shared_out_over_the_regions_word_by_word():
    """The state adds up where the decoder looked: every word gives 1, and training counts the same."""
    decoder = decoder_of("attention", SIZES["grid"])
    features = torch.randn(3, *SIZES["grid"].feature_shape)
    with torch.no_grad():
        reading = decoder(features, OWNER, tokens(), LENGTHS)
        for row, (caption, owner) in enumerate(zip(CAPTIONS, OWNER.tolist(), strict=True)):
            state = decoder.start(features[owner : owner + 1])
            for words, token in enumerate(caption, start=1):
                before = state[-1]
                _, state = decoder.step(torch.tensor([token]), state)
                assert (state[-1] > before).all()
                assert state[-1].sum().item() == pytest.approx(words, abs=1e-5)
            np.testing.assert_allclose(reading.attended[row], state[-1][0], atol=1e-5)


def test_attention_follows_the_region_wherever_it_stands():
    """The regions of a picture in another order: the same words, and the attention in that order."""
    decoder = decoder_of("attention", SIZES["grid"])
    features = torch.randn(1, *SIZES["grid"].feature_shape)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        (one, state), (other, moved) = (
            decoder.step(torch.tensor([1]), decoder.start(each)) for each in (features, features[:, order])
        )
    np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_allclose(state[-1][:, order], moved[-1], atol=1e-6)
