"""A model that starts from another: its weights are taken where they belong, and refused where they do not."""

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from captioner.config.build import DecoderConfig, EncoderConfig  # noqa: E402
from captioner.errors import WeightsError  # noqa: E402
from captioner.export import load_weights, save_weights  # noqa: E402
from captioner.models.caption_model import build_caption_model, start_from  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402

SIZES = DecoderSizes((64, 128), 11, pad=0)
SMALL = DecoderConfig(decoder="attention", embed=5, hidden=7)
CNN = EncoderConfig(encoder="small_cnn", features="grid")


def test_saved_weights_start_another_model(tmp_path):
    trained, fresh = (build_caption_model(SMALL, SIZES, seed=seed) for seed in (1, 2))
    save_weights(trained, tmp_path / "weights.safetensors")
    start_from(fresh, load_weights(tmp_path, fresh))
    assert all(torch.equal(one, other) for one, other in zip(trained.parameters(), fresh.parameters(), strict=True))


def test_a_decoder_alone_starts_a_model_with_an_encoder_and_leaves_that_alone():
    decoder, whole = build_caption_model(SMALL, SIZES, seed=1), build_caption_model(SMALL, SIZES, CNN, seed=2)
    before = {name: weight.clone() for name, weight in whole.encoder.state_dict().items()}
    start_from(whole, decoder.state_dict())
    assert all(torch.equal(weight, before[name]) for name, weight in whole.encoder.state_dict().items())
    assert torch.equal(whole.decoder.query.weight, decoder.decoder.query.weight)


def test_a_whole_model_starts_a_whole_model():
    one, other = (build_caption_model(SMALL, SIZES, CNN, seed=seed) for seed in (1, 2))
    start_from(other, one.state_dict())
    assert all(torch.equal(weight, other.state_dict()[name]) for name, weight in one.state_dict().items())


def test_several_models_start_one_with_the_mean_of_their_weights():
    one, other, fresh = (build_caption_model(SMALL, SIZES, CNN, seed=seed) for seed in (1, 2, 3))
    start_from(fresh, one.state_dict(), other.state_dict())
    for mean, *weights in zip(fresh.parameters(), one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mean, (weights[0] + weights[1]) / 2)


def test_another_decoder_is_refused():
    small, large = build_caption_model(SMALL, SIZES), build_caption_model(DecoderConfig(embed=5, hidden=7), SIZES)
    with pytest.raises(WeightsError, match="the decoder to take weights from is another one"):
        start_from(large, small.state_dict())
    with pytest.raises(WeightsError, match="the decoder to take weights from is another one"):
        start_from(large, large.state_dict(), small.state_dict())


def test_damaged_weights_are_refused(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(tmp_path, build_caption_model(SMALL, SIZES))
