"""Graphs in int8 say nearly what the float ones say, in less room, for any batch; what fails leaves the graph alone."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from captioner.bundle import DECODER_START, DECODER_STEP  # noqa: E402
from captioner.config.build import DecoderConfig  # noqa: E402
from captioner.export import export_decoder, export_encoder  # noqa: E402
from captioner.models.decoders.base import DecoderSizes  # noqa: E402
from captioner.models.decoders.registry import build_decoder  # noqa: E402
from captioner.models.encoders.small_cnn import SmallCnn  # noqa: E402
from captioner.quantize import quantize_decoder, quantize_encoder  # noqa: E402
from captioner.runtime.onnx_step import OnnxStepModel  # noqa: E402
from captioner.runtime.session import OnnxEncoder, open_session  # noqa: E402

SIZES = DecoderSizes((4, 32), 60, pad=0)


def pictures(count: int, seed: int) -> np.ndarray:
    """Smooth random pixels float32 (count, 3, 64, 64), as preprocessing makes them of photographs."""
    random = np.random.default_rng(seed).uniform(-1, 1, (count, 3, 8, 8)).astype(np.float32)
    return random.repeat(8, axis=2).repeat(8, axis=3)


def test_an_encoder_in_int8_sees_nearly_the_same(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "encoder.onnx"
    export_encoder(SmallCnn(features="grid"), path)
    size, expected = path.stat().st_size, OnnxEncoder(path)(pictures(5, seed=1))
    quantize_encoder(path, [pictures(8, seed) for seed in (2, 3)])
    assert path.stat().st_size < 0.4 * size
    found = OnnxEncoder(path)(pictures(5, seed=1))
    assert found.shape == expected.shape
    cosine = (found * expected).sum() / np.linalg.norm(found) / np.linalg.norm(expected)
    assert 0.98 < cosine < 1
    assert [each.name for each in tmp_path.iterdir()] == ["encoder.onnx"]


def test_rounded_weights_do_not_shift_what_an_encoder_sees(tmp_path):
    """One convolution, nearly all of whose weights are rounded down by 0.4 of a step: all it gives would be lower."""
    weights = np.full((4, 3, 3, 3), 10.4 / 127, np.float32)
    weights[:, 0, 0, 0] = 1  # the largest one says how large a step is
    shape = ["batch", 3, 16, 16]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["pixels", "weights"], ["features"])],
        "encoder",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 4, 14, 14])],
        [numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path / "encoder.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    random = np.random.default_rng(0)
    examples = [random.uniform(0, 1, (8, 3, 16, 16)).astype(np.float32) for _ in range(4)]

    def answer():
        return open_session(path).run(None, {"pixels": examples[0]})[0]

    expected = answer()
    quantize_encoder(path, examples)
    lost = 26 * 0.4 / 127 * 0.5  # of 26 weights, for inputs of 0.5 on average
    assert abs((answer() - expected).mean()) < 0.2 * lost


def examples(count: int = 6) -> list:
    """Made-up features, and captions of different lengths."""
    random = np.random.default_rng(1)
    features = random.normal(size=(count, 4, *SIZES.feature_shape)).astype(np.float32)
    captions = [[[1, *random.integers(4, 60, length).tolist()] for length in (3, 7, 5, 2)] for _ in range(count)]
    return list(zip(features, captions, strict=True))


OPTIONS = {
    "lstm": {},
    "attention": {"decoder": "attention"},
    "transformer": {"decoder": "transformer", "layers": 2, "heads": 4},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_decoder_in_int8_says_nearly_the_same(tmp_path, options):
    torch.manual_seed(0)
    export_decoder(build_decoder(DecoderConfig(**options, embed=64, hidden=96), SIZES).eval(), SIZES, tmp_path)
    paths = [tmp_path / DECODER_START, tmp_path / DECODER_STEP]
    size = sum(path.stat().st_size for path in paths)
    features, tokens = np.random.default_rng(0).normal(size=(3, *SIZES.feature_shape)), np.array([1, 5, 9])

    def answer():
        model = OnnxStepModel(*paths)
        return model.step(tokens, model.start(features.astype(np.float32)))[0]

    expected = answer()
    quantize_decoder(*paths, examples())
    found = answer()
    assert sum(path.stat().st_size for path in paths) < 0.45 * size
    divergence = (np.exp(expected) * (expected - found)).sum(axis=1)
    assert 0 < divergence.max() < 0.01
    assert np.exp(found).sum(axis=1) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_decoder_in_int8_says_of_each_picture_what_it_says_alone(tmp_path, options):
    """Whatever else is in the batch, and however far its numbers go."""
    torch.manual_seed(0)
    export_decoder(build_decoder(DecoderConfig(**options, embed=64, hidden=96), SIZES).eval(), SIZES, tmp_path)
    paths = [tmp_path / DECODER_START, tmp_path / DECODER_STEP]
    quantize_decoder(*paths, examples())
    model = OnnxStepModel(*paths)
    features = np.random.default_rng(0).normal(size=(3, *SIZES.feature_shape)).astype(np.float32)
    features[1:] *= 10

    def written(rows):
        state = model.start(features[rows])
        found = []
        for word in (1, 7, 9):
            log_probs, state = model.step(np.full(len(rows), word), state)
            found.append(log_probs[0])
        return np.stack(found)

    np.testing.assert_allclose(written([0]), written([0, 1, 2]), atol=1e-5)


def test_graphs_that_cannot_be_quantised_stay(tmp_path):
    torch.manual_seed(0)
    export_decoder(build_decoder(DecoderConfig(embed=64, hidden=96), SIZES).eval(), SIZES, tmp_path)
    paths = [tmp_path / DECODER_START, tmp_path / DECODER_STEP]
    before = [path.read_bytes() for path in paths]
    with pytest.raises(Exception, match=r".+"):
        quantize_decoder(*paths, [(np.zeros((1, 4, 32), np.float32), [[1, 10**6]])])  # no such word
    assert [path.read_bytes() for path in paths] == before
    assert len(list(tmp_path.iterdir())) == 2
