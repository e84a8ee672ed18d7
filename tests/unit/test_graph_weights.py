"""Weights come out of exported graphs as they went in: exactly, or as int8 rounded them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import onnx  # noqa: E402
from onnx import numpy_helper  # noqa: E402

from captioner.bundle import DECODER_START, DECODER_STEP  # noqa: E402
from captioner.config.build import DecoderConfig, EncoderConfig  # noqa: E402
from captioner.errors import WeightsError  # noqa: E402
from captioner.export import export_decoder, load_weights  # noqa: E402
from captioner.models.caption_model import build_caption_model, start_from  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.models.torch_step import TorchStepModel  # noqa: E402
from captioner.quantize import quantize_decoder  # noqa: E402
from captioner.runtime.onnx_step import OnnxStepModel  # noqa: E402

SIZES = DecoderSizes((4, 6), 11, pad=0)
VARIANTS = {
    "lstm": {"decoder": "lstm"},
    "tied lstm": {"decoder": "lstm", "tie_weights": True},
    "tied attention": {"decoder": "attention", "tie_weights": True},
    "transformer": {"decoder": "transformer", "layers": 2, "heads": 2},
}


def model_of(seed=1, **options):
    model = build_caption_model(DecoderConfig(**{"embed": 5, "hidden": 8, **options}), SIZES, seed=seed)
    for weight in model.parameters():  # fresh ones have equal values, which an exporter keeps once; trained ones do not
        torch.nn.init.normal_(weight)
    return model.eval()


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_in_float_come_out_as_they_went_in(variant, tmp_path):
    model = model_of(**VARIANTS[variant])
    export_decoder(model.decoder, SIZES, tmp_path)
    fresh = model_of(2, **VARIANTS[variant])
    start_from(fresh, load_weights(tmp_path, fresh))
    found = fresh.state_dict()
    assert all(torch.equal(weight, found[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("variant", ["tied attention", "transformer"])
def test_a_network_with_the_weights_of_a_graph_in_int8_writes_what_the_graph_writes(variant, tmp_path):
    model = model_of(**VARIANTS[variant])
    export_decoder(model.decoder, SIZES, tmp_path)
    features = np.random.default_rng(0).standard_normal((3, 4, 6)).astype(np.float32)
    paths = (tmp_path / DECODER_START, tmp_path / DECODER_STEP)
    quantize_decoder(*paths, [(features, [[1, 5, 6], [1, 7, 8], [1, 9, 10]])])
    fresh = model_of(2, **VARIANTS[variant])
    start_from(fresh, load_weights(tmp_path, fresh))
    answers = []
    for steps in (OnnxStepModel(*paths), TorchStepModel(fresh)):
        log_probs, _ = steps.step(np.array([1, 5, 7]), steps.start(features))
        answers.append(log_probs)
    np.testing.assert_allclose(
        np.exp(answers[0]), np.exp(answers[1]), atol=0.05
    )  # the graph rounds what it is given too
    largest = max(
        float((weight - fresh.state_dict()[name]).abs().max() / weight.abs().max())
        for name, weight in model.state_dict().items()
    )
    assert 0 < largest < 1 / 127


def test_graphs_of_another_network_are_refused(tmp_path):
    export_decoder(model_of(decoder="attention").decoder, SIZES, tmp_path)
    with pytest.raises(WeightsError, match=r"no weight decoder\.picture_projection\.weight in the graphs"):
        load_weights(tmp_path, model_of(decoder="lstm"))
    with pytest.raises(WeightsError, match=r"the weight decoder\.\S+ in the graphs is of shape"):
        load_weights(tmp_path, model_of(decoder="attention", hidden=16))


def test_graphs_with_constants_that_have_no_names_are_refused(tmp_path):
    model = model_of(decoder="attention")
    export_decoder(model.decoder, SIZES, tmp_path)
    graph = onnx.load(tmp_path / DECODER_STEP)
    square = next(each for each in graph.graph.initializer if each.name.startswith("decoder.query"))
    np.testing.assert_array_equal(numpy_helper.to_array(square), model.decoder.query.weight.detach().numpy().T)
    square.name = "val_3"
    onnx.save(graph, tmp_path / DECODER_STEP)
    with pytest.raises(WeightsError, match=r"no weight decoder\.query\.weight in the graphs: .* of an earlier version"):
        load_weights(tmp_path, model)


def test_graphs_have_no_encoder_to_train_further(tmp_path):
    model = build_caption_model(
        DecoderConfig(decoder="attention", embed=5, hidden=8),
        DecoderSizes((64, 128), 11, pad=0),
        EncoderConfig(encoder="small_cnn", features="grid"),
    )
    with pytest.raises(WeightsError, match="take its encoder as it is, with --encoder"):
        load_weights(tmp_path, model)
