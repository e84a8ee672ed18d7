"""The encoders that are learned, and those of `transformers`; VGG16 is in `test_weights.py`.

The models of `transformers` are tiny ones with random weights, made here.
"""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import onnx  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import nn  # noqa: E402

from captioner.config.build import EncoderConfig  # noqa: E402
from captioner.encoder_graphs import write_mirrored, write_pooled  # noqa: E402
from captioner.errors import ConfigError, WeightsError  # noqa: E402
from captioner.export import export_encoder  # noqa: E402
from captioner.images import PreprocessSpec  # noqa: E402
from captioner.models.encoders.base import pool_or_flatten  # noqa: E402
from captioner.models.encoders.folding import fold_batch_norms  # noqa: E402
from captioner.models.encoders.registry import build_encoder  # noqa: E402
from captioner.models.encoders.small_cnn import SmallCnn, summary  # noqa: E402
from captioner.models.encoders.transformers_preprocessing import preprocess_spec  # noqa: E402
from captioner.runtime.session import OnnxEncoder  # noqa: E402

TINY = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY_VISION = {**TINY, "image_size": 32, "patch_size": 8}
SHARED_MODEL = Path(__file__).parents[3] / "shared/weights/mobilenet_v2_1.0_224"


# --- base and small_cnn -----------------------------------------------------------------------------------------------


def test_a_map_is_pooled_to_its_mean_and_flattened_row_by_row():
    positions = torch.arange(12.0).reshape(1, 2, 2, 3)  # channel 0 holds 0 … 5, channel 1 holds 6 … 11
    assert pool_or_flatten(positions, "pooled").tolist() == [[2.5, 8.5]]
    assert pool_or_flatten(positions, "grid").tolist() == [[[i, i + 6] for i in range(6)]]


@pytest.mark.parametrize(("features", "shape"), [("pooled", (256,)), ("grid", (64, 128))])
def test_small_cnn_is_learned_from_scratch(features, shape):
    encoder = build_encoder(EncoderConfig(encoder="small_cnn", features=features))
    spec = encoder.preprocess
    assert encoder.feature_shape == shape
    assert tuple(encoder(torch.randn(3, 3, spec.size, spec.size)).shape) == (3, *shape)
    assert encoder.trained_with_decoder
    assert encoder.training
    assert (encoder.name, encoder.origin, spec.size, spec.framing) == ("small_cnn", "scratch", 64, "whole")
    encoder(torch.randn(2, 3, 64, 64)).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())


def test_small_cnn_of_another_size():
    assert SmallCnn(features="grid", size=96).feature_shape == (144, 128)
    with pytest.raises(ConfigError, match="multiple of 8"):
        SmallCnn(features="grid", size=100)


def test_pooled_features_of_small_cnn_tell_left_from_right():
    """The same square in either half: after a few steps a linear reader of the features knows which."""

    def draw(random, count):
        pictures, right = torch.zeros(count, 3, 64, 64), torch.from_numpy(random.integers(0, 2, count))
        for picture, half in zip(pictures, right.tolist(), strict=True):
            x, y = int(random.integers(0, 20)) + 32 * half, int(random.integers(0, 52))
            picture[:, y : y + 12, x : x + 12] = 1
        return pictures, right

    torch.manual_seed(1)
    random = np.random.default_rng(1)
    model = nn.Sequential(SmallCnn(features="pooled"), nn.Linear(256, 2))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        pictures, right = draw(random, 32)
        loss = nn.functional.cross_entropy(model(pictures), right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pictures, right = draw(random, 100)
    with torch.no_grad():
        assert (model.eval()(pictures).argmax(1) == right).sum() >= 95


# --- transformers -----------------------------------------------------------------------------------------------------


def save(model, folder, processor=None):
    # transformers wonders about the token ids of tiny text models, and draws bars
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model.eval().save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    transformers.utils.logging.enable_progress_bar()
    transformers.utils.logging.set_verbosity_warning()
    return folder


@pytest.fixture(scope="module")
def models():
    """Models by name; those with heads are as their checkpoints on the hub usually are."""
    torch.manual_seed(3)
    text = {**TINY, "vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
    vit = transformers.ViTConfig(**TINY_VISION)
    clip = transformers.CLIPConfig(text_config=text, vision_config=TINY_VISION, projection_dim=16)
    siglip = transformers.SiglipConfig(text_config=text, vision_config=TINY_VISION)
    resnet = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    swin = transformers.SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1], num_heads=[1, 2, 2], window_size=4
    )
    registers = transformers.Dinov2WithRegistersConfig(**{**TINY_VISION, "image_size": 16}, num_register_tokens=4)
    return {
        "vit": transformers.ViTForImageClassification(vit),  # has no pooler
        "deit": transformers.DeiTModel(transformers.DeiTConfig(**TINY_VISION)),
        "swin": transformers.SwinModel(swin),
        "registers": transformers.Dinov2WithRegistersModel(registers),
        "clip": transformers.CLIPModel(clip),
        "siglip": transformers.SiglipModel(siglip),
        "resnet": transformers.ResNetForImageClassification(resnet),
        "mobilenet": transformers.MobileNetV2Model(transformers.MobileNetV2Config(depth_multiplier=0.35)),
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory, models):
    root = tmp_path_factory.mktemp("models")
    processors = {
        "resnet": transformers.ConvNextImageProcessorPil(size={"shortest_edge": 64}, crop_pct=0.8, resample=2),
        "registers": transformers.BitImageProcessorPil(
            size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16}
        ),
    }
    return {name: save(model, root / name, processors.get(name)) for name, model in models.items()}


def build(folder, features="grid", framing="whole"):
    return build_encoder(EncoderConfig(encoder=str(folder), features=features, framing=framing))


def patch_tokens(prefix):
    return lambda hidden: hidden[:, prefix:]


def positions(hidden):
    return torch.stack([hidden[:, :, y, x] for y in range(hidden.shape[2]) for x in range(hidden.shape[3])], dim=1)


@pytest.mark.parametrize(
    ("name", "tower", "grid_of", "shape"),
    [
        ("vit", "vit", patch_tokens(1), (16, 16)),
        ("deit", "", patch_tokens(2), (16, 16)),
        ("swin", "", patch_tokens(0), (16, 32)),
        ("registers", "", patch_tokens(5), (4, 16)),  # 9 tokens: a square number, but 2 × 2 patches
        ("clip", "vision_model", patch_tokens(1), (16, 16)),
        ("siglip", "vision_model", patch_tokens(0), (16, 16)),
        ("resnet", "resnet", positions, (64, 16)),
        ("mobilenet", "", positions, (49, 1280)),
    ],
)
def test_features_are_those_of_the_model_itself(models, folders, name, tower, grid_of, shape):
    network = models[name].get_submodule(tower)
    encoder = build(folders[name])
    pixels = torch.randn(2, 3, encoder.preprocess.size, encoder.preprocess.size)
    with torch.no_grad():
        expected = grid_of(network(pixel_values=pixels).last_hidden_state)
        grid, pooled = encoder(pixels), build(folders[name], features="pooled")(pixels)
    assert encoder.feature_shape == shape
    torch.testing.assert_close(grid, expected)
    torch.testing.assert_close(pooled, expected.mean(dim=1))
    assert encoder.name == name
    assert encoder.origin.startswith(f"{name} sha256:")
    assert not encoder.training
    assert not encoder.trained_with_decoder
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_an_encoder_that_is_trained_further_sees_what_it_saw_and_learns_all_but_batch_norm(folders):
    frozen = build(folders["resnet"])
    encoder = build_encoder(EncoderConfig(encoder=str(folders["resnet"]), features="grid", finetune=True))
    assert encoder.trained_with_decoder
    assert encoder.origin.endswith(", trained further")
    pixels = torch.randn(2, 3, encoder.preprocess.size, encoder.preprocess.size)
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(pixels), frozen(pixels), atol=1e-4, rtol=1e-4)
    encoder.train()(pixels).square().mean().backward()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    convolutions = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    assert all(convolution.weight.grad.abs().sum() > 0 for convolution in convolutions)
    assert all(convolution.bias.grad is None for convolution in convolutions)  # that is batch norm's shift


def test_the_first_layers_may_stay_as_they_are(folders):
    options = EncoderConfig(encoder=str(folders["mobilenet"]), features="grid", finetune=True, frozen=0.5)
    learns = [
        module.weight.requires_grad for module in build_encoder(options).modules() if isinstance(module, nn.Conv2d)
    ]
    half = len(learns) // 2
    assert learns == [False] * half + [True] * (len(learns) - half)


def test_batch_norm_is_folded_only_into_a_convolution_that_it_follows():
    """One after a convolution; one before; and one that runs after a convolution for the second time."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again, self.last = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(3))
            self.after, self.before, self.shared = (nn.BatchNorm2d(3) for _ in range(3))

        def forward(self, x):
            x = self.after(self.first(x)).relu()
            x = self.again(self.again(x))
            return self.last(self.before(self.shared(x).relu()))

    torch.manual_seed(0)
    network = Network().eval()
    for norm in (network.after, network.before, network.shared):
        for values in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            values.uniform_(0.5, 2)
    pixels = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = network(pixels)
        assert fold_batch_norms(network, pixels[:1]) == 1
        torch.testing.assert_close(network(pixels), expected, atol=1e-5, rtol=1e-5)
    assert isinstance(network.after, nn.Identity)
    assert isinstance(network.before, nn.BatchNorm2d)
    assert isinstance(network.shared, nn.BatchNorm2d)


@pytest.mark.parametrize(("name", "side", "regions"), [("mobilenet", 96, 9), ("resnet", 96, 144), ("swin", 96, 36)])
def test_pictures_may_be_larger_than_those_of_its_training(folders, name, side, regions):
    """Larger pictures give more regions, and the pixels are prepared as before."""
    options = EncoderConfig(encoder=str(folders[name]), features="grid", picture_size=side)
    encoder = build_encoder(options)
    assert encoder.preprocess == replace(build(folders[name]).preprocess, size=side)
    assert encoder.feature_shape[0] == regions
    assert encoder(torch.zeros(1, 3, side, side)).shape[1:] == encoder.feature_shape


def test_a_network_for_pictures_of_one_size_says_so(folders):
    with pytest.raises(WeightsError, match=r"vit gives no features for pictures of 96 × 96: "):
        build_encoder(EncoderConfig(encoder=str(folders["vit"]), features="grid", picture_size=96))


def test_what_is_learned_from_scratch_cannot_be_trained_further():
    with pytest.raises(ConfigError, match="--finetune is for pretrained encoders"):
        build_encoder(EncoderConfig(encoder="small_cnn", finetune=True))


def test_only_the_vision_tower_is_kept(models, folders):
    tower = models["clip"].vision_model
    assert sum(p.numel() for p in build(folders["clip"]).parameters()) == sum(p.numel() for p in tower.parameters())


def test_another_file_has_another_origin(folders, tmp_path):
    other = shutil.copytree(folders["vit"], tmp_path / "vit")
    weights = load_file(other / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, other / "model.safetensors", {"format": "pt"})
    assert build(other).origin != build(folders["vit"]).origin


def test_loading_is_silent_and_leaves_the_settings_of_transformers(folders, capfd):
    transformers.utils.logging.set_verbosity_info()
    try:
        build(folders["clip"])
        assert transformers.utils.logging.get_verbosity() == transformers.utils.logging.INFO
        assert transformers.utils.logging.is_progress_bar_enabled()
    finally:
        transformers.utils.logging.set_verbosity_warning()
    assert capfd.readouterr() == ("", "")


def test_missing_weights_are_an_error_and_not_random_numbers(folders, tmp_path):
    broken = shutil.copytree(folders["vit"], tmp_path / "vit")
    weights = load_file(broken / "model.safetensors")
    lost = sorted(name for name in weights if "layernorm_before" in name or "norm1" in name)
    assert lost
    kept = {name: tensor for name, tensor in weights.items() if name not in lost}
    save_file(kept, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=rf"lack {len(lost)} tensors"):
        build(broken)


def test_pickled_weights_are_not_read(folders, models, tmp_path):
    pickled = shutil.copytree(folders["vit"], tmp_path / "vit")
    (pickled / "model.safetensors").unlink()
    torch.save(models["vit"].state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pickled weights are not read"):
        build(pickled)


def edit_config(source, destination, **changes):
    shutil.copytree(source, destination)
    config = json.loads((destination / "config.json").read_text())
    (destination / "config.json").write_text(json.dumps({**config, **changes}))
    return destination


def test_folders_that_hold_no_usable_model(folders, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"expected config\.json and model\.safetensors"):
        build(tmp_path / "empty")
    with pytest.raises(WeightsError, match=r"another shape: embeddings\.cls_token"):
        build(edit_config(folders["vit"], tmp_path / "wider", hidden_size=32))
    cut = shutil.copytree(folders["vit"], tmp_path / "cut")
    (cut / "model.safetensors").write_bytes((folders["vit"] / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(WeightsError, match="cannot be loaded"):
        build(cut)
    larger = shutil.copytree(folders["vit"], tmp_path / "larger")
    transformers.ViTImageProcessorPil(size={"height": 48, "width": 48}).save_pretrained(larger)
    with pytest.raises(WeightsError, match="gives no features for pictures of 48 × 48"):
        build(larger)


def test_a_model_of_words_is_refused(tmp_path):
    bert = transformers.BertModel(transformers.BertConfig(**TINY, vocab_size=50))
    with pytest.raises(WeightsError, match="choose a vision model"):
        build(save(bert, tmp_path / "bert"))


def test_code_that_comes_with_a_model_is_not_run(folders, tmp_path):
    marker = tmp_path / "marker"
    folder = edit_config(
        folders["vit"],
        tmp_path / "custom",
        model_type="own",
        auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Own"},
    )
    (folder / "own.py").write_text(f"import pathlib; pathlib.Path({str(marker)!r}).touch()\nclass Own: pass\n")
    with pytest.raises(WeightsError):
        build(folder)
    assert not marker.exists()


def test_the_hub_out_of_reach(monkeypatch, tmp_path, capsys):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="no folder here and cannot be fetched from the Hugging Face hub") as caught:
        build("somebody/some-model")
    assert "\n" not in caught.value.message
    assert "somebody/some-model" in capsys.readouterr().err


def test_a_model_in_the_cache_of_the_hub_needs_no_network(folders, monkeypatch, tmp_path):
    import huggingface_hub.constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--somebody--some-model"
    shutil.copytree(folders["vit"], cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    encoder = build("somebody/some-model")
    assert (encoder.name, encoder.origin) == ("somebody/some-model", f"somebody/some-model@{commit}")


# --- preprocessing of transformers ------------------------------------------------------------------------------------


PROCESSORS = {
    "clip": transformers.CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 48, "width": 48}),
    "convnext": transformers.ConvNextImageProcessorPil(size={"shortest_edge": 48}, crop_pct=0.75, resample=3),
    "convnext, large": transformers.ConvNextImageProcessorPil(size={"shortest_edge": 384}),
    "vit": transformers.ViTImageProcessorPil(size={"height": 48, "width": 48}, resample=1),
    "mobilevit": transformers.MobileViTImageProcessorPil(
        size={"shortest_edge": 60}, crop_size={"height": 48, "width": 48}
    ),
    "efficientnet": transformers.EfficientNetImageProcessorPil(
        size={"height": 48, "width": 48}, rescale_offset=True, image_mean=[0.1, 0.2, 0.3], image_std=[0.5, 0.6, 0.7]
    ),
    "neither scaled nor normalised": transformers.ViTImageProcessorPil(do_rescale=False, do_normalize=False),
}


def spec_of(processor, folder, framing="center"):
    processor.save_pretrained(folder)
    return preprocess_spec(folder, transformers.ViTConfig(), framing=framing)


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_processor_and_its_spec_make_the_same_pixels(name, tmp_path):
    processor = PROCESSORS[name]
    spec = spec_of(processor, tmp_path)
    size = spec.size
    square = np.random.default_rng(4).integers(0, 256, (size, size, 3), np.uint8)
    expected = processor(square, do_resize=False, do_center_crop=False)["pixel_values"][0]
    np.testing.assert_allclose(spec.normalize(square), expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["clip", "convnext", "convnext, large", "mobilevit"])
def test_a_processor_and_its_spec_cut_out_the_same_part(name, tmp_path):
    processor = PROCESSORS[name]
    spec = spec_of(processor, tmp_path)
    across = np.linspace(0, 255, 600)  # as wide as high, since the large ConvNeXt squeezes where `center` cuts
    ramp = np.stack(np.broadcast_arrays(across[None, :], across[:, None], 128.0), axis=-1).astype(np.uint8)
    expected = np.asarray(processor(ramp)["pixel_values"][0])
    assert np.abs(spec.apply(ramp) - expected).max() < 4 / 255 / min(
        spec.std
    )  # some grey levels; a wrong share: dozens


def test_whole_frames_have_no_crop(tmp_path):
    spec = spec_of(PROCESSORS["clip"], tmp_path, framing="whole")
    assert (spec.size, spec.framing, spec.crop_share, spec.resample) == (48, "whole", 1.0, "bicubic")


def test_without_a_processor_the_family_decides(folders):
    assert build(folders["mobilenet"], framing="center").preprocess == PreprocessSpec(
        size=224, framing="center", crop_share=224 / 256, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    assert build(folders["vit"]).preprocess.size == 32  # as the network is, not as ViTs usually are
    assert build(folders["clip"]).preprocess.mean[0] == pytest.approx(0.48145466)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"do_pad": True}, "the preprocessing step do_pad"),
        ({"size": {"height": 32, "width": 48}}, "only squares"),
        ({"size": {"longest_edge": 48}}, "only squares"),
        ({"resample": 0}, "Pillow's method 0"),
        ({"image_mean": [0.5]}, "three numbers"),
        ({"do_flip_channel_order": True}, "flips and normalises"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path, settings, message):
    transformers.ViTImageProcessorPil().save_pretrained(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    with pytest.raises(WeightsError, match=message):
        preprocess_spec(tmp_path, transformers.ViTConfig(), framing="whole")


def test_a_processor_file_that_cannot_be_read(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"image processor of .* cannot be loaded"):
        preprocess_spec(tmp_path, transformers.ViTConfig(), framing="whole")


# --- registry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg19", "smallcnn", "./missing", "models/my/folder", "/missing/folder"])
def test_an_unknown_name_lists_what_there_is(name):
    with pytest.raises(ConfigError, match=r"vgg16, builtin, small_cnn, an existing folder .* or a hub id") as caught:
        build(name)
    assert repr(name) in caught.value.message


def test_a_weights_file_is_for_vgg16_alone():
    with pytest.raises(ConfigError, match="--encoder-weights is for vgg16 alone"):
        build_encoder(EncoderConfig(encoder="small_cnn", encoder_weights="vgg16.pth"))


# --- export -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip", "swin", "shared"])
def test_backbones_export_to_onnx_for_any_batch(folders, tmp_path, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    if name == "shared" and not SHARED_MODEL.is_dir():
        pytest.skip("../shared/weights is not there")
    encoder = build(SHARED_MODEL if name == "shared" else folders[name])
    size = encoder.preprocess.size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about its own pytree
        torch.onnx.export(
            encoder,
            (torch.randn(2, 3, size, size),),
            tmp_path / "encoder.onnx",
            input_names=["pixels"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        pixels = torch.randn(batch, 3, size, size)
        exported = session.run(None, {"pixels": pixels.numpy()})[0]
        assert np.abs(exported - encoder(pixels).numpy()).max() <= 1e-3


def test_the_summary_of_a_map_says_what_how_much_and_where():
    positions = torch.zeros(1, 2, 3, 5)
    positions[0, 0, 2, 4] = 50.0  # channel 0: one strong answer, bottom right
    positions[0, 1] = 1.0  # channel 1: the same everywhere
    largest, mean, down, right = summary(positions).reshape(4, 2).tolist()
    assert largest == [50.0, 1.0]
    assert mean == pytest.approx([50 / 15, 1.0])
    assert down == pytest.approx([1.0, 0.0], abs=1e-6)
    assert right == pytest.approx([1.0, 0.0], abs=1e-6)


def test_the_graph_of_a_grid_becomes_one_of_its_mean(tmp_path):
    export_encoder(SmallCnn(features="grid"), tmp_path / "grid.onnx")
    write_pooled(tmp_path / "grid.onnx", tmp_path / "folder" / "pooled.onnx")
    pixels = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    grid, pooled = (OnnxEncoder(tmp_path / name)(pixels) for name in ("grid.onnx", "folder/pooled.onnx"))
    assert (grid.shape, pooled.shape) == ((3, 64, 128), (3, 128))
    np.testing.assert_allclose(pooled, grid.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("kind", ["grid", "pooled"])
def test_a_mirrored_graph_sees_the_mean_of_picture_and_mirror_image(tmp_path, kind):
    """As two looks and a mean by hand; it takes and gives the same as before, and looks at mirror images alike."""
    export_encoder(SmallCnn(features=kind), tmp_path / "once.onnx")
    write_mirrored(tmp_path / "once.onnx", tmp_path / "folder" / "twice.onnx")
    pixels = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    once, twice = (OnnxEncoder(tmp_path / name) for name in ("once.onnx", "folder/twice.onnx"))
    picture, image = once(pixels), once(np.ascontiguousarray(pixels[..., ::-1]))
    if kind == "grid":
        image = image.reshape(3, 8, 8, 128)[:, :, ::-1].reshape(3, 64, 128)
    np.testing.assert_allclose(twice(pixels), (picture + image) / 2, atol=1e-5)
    assert np.abs(picture - image).max() > 1e-3  # a hundred times the tolerance
    assert (twice.input_shape, twice.output_shape) == (once.input_shape, once.output_shape)


def test_a_grid_that_is_no_square_cannot_be_turned_round(tmp_path):
    export_encoder(SmallCnn(features="grid"), tmp_path / "grid.onnx")
    model = onnx.load(tmp_path / "grid.onnx")
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 63
    onnx.save(model, tmp_path / "grid.onnx")
    with pytest.raises(ConfigError, match="a grid of 63 regions is no square"):
        write_mirrored(tmp_path / "grid.onnx", tmp_path / "twice.onnx")


def test_the_builtin_encoder_is_no_network_to_train():
    with pytest.raises(ConfigError, match="graph alone"):
        build_encoder(EncoderConfig(encoder="builtin", finetune=True))
