"""VGG16's weights in their three formats, and how the file is fetched. The network is a server in this process."""

import hashlib
import os
import pickle
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

import h5py  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from captioner.config.build import EncoderConfig  # noqa: E402
from captioner.errors import WeightsError  # noqa: E402
from captioner.models.encoders import download, vgg16  # noqa: E402
from captioner.models.encoders.download import fetch  # noqa: E402
from captioner.models.encoders.registry import build_encoder  # noqa: E402
from captioner.models.encoders.vgg16 import Vgg16  # noqa: E402
from captioner.models.encoders.vgg16_weights import read_vgg16_weights  # noqa: E402

# Written down once more, independently of the package: Keras layer, torchvision index, input and output channels.
LAYERS = [
    ("block1_conv1", 0, 3, 64),
    ("block1_conv2", 2, 64, 64),
    ("block2_conv1", 5, 64, 128),
    ("block2_conv2", 7, 128, 128),
    ("block3_conv1", 10, 128, 256),
    ("block3_conv2", 12, 256, 256),
    ("block3_conv3", 14, 256, 256),
    ("block4_conv1", 17, 256, 512),
    ("block4_conv2", 19, 512, 512),
    ("block4_conv3", 21, 512, 512),
    ("block5_conv1", 24, 512, 512),
    ("block5_conv2", 26, 512, 512),
    ("block5_conv3", 28, 512, 512),
]


# --- VGG16 ------------------------------------------------------------------------------------------------------------


def write_keras(path, layers, spelling="{0}/{0}_W_1:0 {0}/{0}_b_1:0", prefix=""):
    kernel_name, bias_name = spelling.split()
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in layers.items():
            file[prefix + kernel_name.format(name)] = kernel
            file[prefix + bias_name.format(name)] = bias
        file.require_group(prefix + "block5_pool")  # layers without weights have empty groups
    return path


@pytest.fixture(scope="module")
def keras_layers():
    """Kernels (height, width, in, out) and biases of a random network whose activations neither vanish nor explode."""
    random = np.random.default_rng(5)
    return {
        name: (
            random.standard_normal((3, 3, inputs, outputs), np.float32) * np.float32(np.sqrt(2 / (9 * inputs))),
            random.standard_normal(outputs, np.float32) * np.float32(0.1),
        )
        for name, _, inputs, outputs in LAYERS
    }


@pytest.fixture(scope="module")
def state_dict(keras_layers):
    tensors = {}
    for name, index, _, _ in LAYERS:
        kernel, bias = keras_layers[name]
        tensors[f"features.{index}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        tensors[f"features.{index}.bias"] = torch.from_numpy(bias)
    return tensors


@pytest.fixture(scope="module")
def files(tmp_path_factory, keras_layers, state_dict):
    folder = tmp_path_factory.mktemp("vgg16")
    torch.save({**state_dict, "classifier.0.weight": torch.zeros(2, 2)}, folder / "vgg16.pth")
    save_file({**state_dict, "head.fc.weight": torch.zeros(2, 2)}, folder / "vgg16.safetensors")
    write_keras(folder / "vgg16.h5", keras_layers)
    return {path.suffix[1:]: path for path in folder.iterdir()}


def numpy_vgg16(layers, pixels):
    """VGG16 after its definition, in numpy, channels last: (height, width, 3) → (height/32, width/32, 512)."""
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1, convolutions + 1):
            kernel, bias = layers[f"block{block}_conv{number}"]
            padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))  # (h, w, in, 3, 3)
            pixels = np.maximum(np.einsum("hwiyx,yxio->hwo", windows, kernel, optimize=True) + bias, 0)
        height, width, channels = pixels.shape
        pixels = pixels.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
    return pixels


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "h5"])
def test_each_format_gives_the_network_of_the_definition(files, keras_layers, suffix):
    pixels = np.random.default_rng(1).standard_normal((64, 96, 3), np.float32)
    expected = numpy_vgg16(keras_layers, pixels)  # (2, 3, 512)
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    with torch.no_grad():
        grid = Vgg16(files[suffix], features="grid", framing="whole")(batch)
        pooled = Vgg16(files[suffix], features="pooled", framing="whole")(batch)
    assert np.abs(expected).max() > 0.5  # the comparison would be empty if the activations had died away
    np.testing.assert_allclose(grid[0].numpy(), expected.reshape(6, 512), atol=2e-4)
    np.testing.assert_allclose(pooled[0].numpy(), expected.mean(axis=(0, 1)), atol=2e-4)


def test_keras_weights_see_blue_first_and_the_means_of_caffe(files, keras_layers):
    picture = np.random.default_rng(2).integers(0, 256, (32, 32, 3), np.uint8)
    encoder = Vgg16(files["h5"], features="pooled", framing="whole")
    blue_green_red = picture[:, :, ::-1].astype(np.float32) - np.array([103.939, 116.779, 123.68], np.float32)
    expected = numpy_vgg16(keras_layers, blue_green_red)[0, 0]
    with torch.no_grad():
        features = encoder(torch.from_numpy(encoder.preprocess.normalize(picture))[None])[0].numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-2)


def test_torch_weights_see_red_first_and_the_means_of_imagenet(files):
    spec = Vgg16(files["pth"], features="pooled", framing="whole").preprocess
    expected = (np.array([255, 0, 51]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    pixel = spec.normalize(np.array([[[255, 0, 51]]], np.uint8))[:, 0, 0]
    np.testing.assert_allclose(pixel, expected, rtol=1e-5)


def test_what_the_encoder_says_of_itself(files):
    encoder = build_encoder(EncoderConfig(encoder="vgg16", encoder_weights=str(files["h5"]), framing="center"))
    assert encoder.name == "vgg16"
    assert encoder.feature_shape == (512,)
    assert encoder.origin == "vgg16.h5 sha256:" + hashlib.sha256(files["h5"].read_bytes()).hexdigest()
    assert encoder.preprocess.size == 224
    assert encoder.preprocess.framing == "center"
    assert encoder.preprocess.crop_share == 224 / 256
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert Vgg16(files["pth"], features="grid", framing="whole").preprocess.crop_share == 1.0


def test_the_declared_shape_is_the_real_one(files):
    encoder = build_encoder(EncoderConfig(encoder_weights=str(files["safetensors"]), features="grid"))
    features = encoder(torch.zeros(1, 3, encoder.preprocess.size, encoder.preprocess.size))
    assert tuple(features.shape) == (1, *encoder.feature_shape) == (1, 49, 512)


def test_without_a_file_the_keras_weights_are_those_in_the_cache(files, tmp_path, monkeypatch):
    content = files["h5"].read_bytes()
    (tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(content)
    monkeypatch.setenv("CAPTIONER_CACHE", str(tmp_path))
    monkeypatch.setattr(vgg16, "KERAS_MD5", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(vgg16, "KERAS_URL", "http://127.0.0.1:9/" + vgg16.KERAS_URL.rsplit("/", 1)[1])  # nobody there
    assert build_encoder(EncoderConfig()).preprocess.channel_order == "bgr"


def same(weights, state_dict):
    return weights.tensors.keys() == state_dict.keys() and all(
        torch.equal(weights.tensors[name], tensor) for name, tensor in state_dict.items()
    )


@pytest.mark.parametrize(
    ("spelling", "prefix"),
    [
        ("{0}/{0}_W_1:0 {0}/{0}_b_1:0", ""),
        ("{0}/{0}/kernel:0 {0}/{0}/bias:0", ""),
        ("{0}/{0}/kernel:0 {0}/{0}/bias:0", "model_weights/"),
    ],
)
def test_every_layout_of_keras(tmp_path, keras_layers, state_dict, spelling, prefix):
    weights = read_vgg16_weights(write_keras(tmp_path / "w.h5", keras_layers, spelling, prefix))
    assert weights.keras
    assert same(weights, state_dict)


def test_the_content_tells_the_format_not_the_name(tmp_path, files, state_dict):
    for number, (suffix, path) in enumerate(files.items()):
        renamed = tmp_path / ["weights.h5", "weights", "weights.pth"][number]
        renamed.symlink_to(path)
        weights = read_vgg16_weights(renamed)
        assert weights.keras == (suffix == "h5")
        assert same(weights, state_dict)


def test_the_older_form_of_pth_in_half_precision(tmp_path, state_dict):
    half = {name: tensor.half() for name, tensor in state_dict.items()}
    torch.save(half, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    weights = read_vgg16_weights(tmp_path / "old.pth")
    assert same(weights, {name: tensor.float() for name, tensor in half.items()})


def test_missing_tensors_are_named_as_the_file_would(tmp_path, keras_layers, state_dict):
    save_file({name: state_dict[name] for name in list(state_dict)[:4]}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"lacks 22 of 26 .* features\.5 weight, features\.5 bias.*Keras") as caught:
        read_vgg16_weights(tmp_path / "w.safetensors")
    assert "\n" not in caught.value.message
    write_keras(tmp_path / "w.h5", {"block1_conv1": keras_layers["block1_conv1"]})
    with pytest.raises(WeightsError, match=r"lacks 24 of 26 .* block1_conv2 weight"):
        read_vgg16_weights(tmp_path / "w.h5")


def test_a_tensor_of_another_shape_is_refused(tmp_path, keras_layers):
    torch.save({"features.0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"features\.0 weight has the shape \(64, 3, 5, 5\) instead of \(64, 3, 3, 3\)"
    ):
        read_vgg16_weights(tmp_path / "w.pth")
    kernel, bias = keras_layers["block1_conv1"]
    write_keras(tmp_path / "w.h5", {"block1_conv1": (kernel.transpose(3, 2, 0, 1), bias)})  # torch's layout
    with pytest.raises(WeightsError, match="block1_conv1 weight has the shape"):
        read_vgg16_weights(tmp_path / "w.h5")


def test_values_that_are_no_numbers_are_refused(tmp_path):
    save_file({"features.0.weight": torch.full((64, 3, 3, 3), torch.nan)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="no numbers"):
        read_vgg16_weights(tmp_path / "w.safetensors")


class Payload:
    """Unpickling an instance runs a command that creates a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, form):
    marker, path = tmp_path / "marker", tmp_path / "evil.pth"
    content = {"features.0.weight": Payload(marker)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match="Python objects besides tensors"):
        read_vgg16_weights(path)
    assert not marker.exists()
    torch.load(path, weights_only=False) if form != "bare pickle" else pickle.loads(path.read_bytes())
    assert marker.exists()  # the payload works: it was the reader that did not run it


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "h5"])
@pytest.mark.parametrize("kept", [20, 700, 5_000_000])
def test_a_file_that_is_cut_off_is_refused(tmp_path, files, suffix, kept):
    with files[suffix].open("rb") as file:
        (tmp_path / "cut").write_bytes(file.read(kept))
    with pytest.raises(WeightsError, match="damaged"):
        read_vgg16_weights(tmp_path / "cut")


def test_files_that_are_something_else(tmp_path):
    for name, content in [("empty", b""), ("page", b"<!doctype html><title>Not found</title>"), ("zero", bytes(64))]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=r"no weights file .* torchvision \.pth, timm \.safetensors or Keras"):
            read_vgg16_weights(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="no state dict but a list"):
        read_vgg16_weights(tmp_path / "list.pth")
    for unreadable in (tmp_path, tmp_path / "absent.h5"):
        with pytest.raises(WeightsError, match="cannot read the weights"):
            read_vgg16_weights(unreadable)


# --- download ---------------------------------------------------------------------------------------------------------

CONTENT = np.random.default_rng(3).bytes(1_500_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one file, in good and in bad ways; keeps the Range of every request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.ranges = True
        self.bytes_a_request = None
        self.status = None
        self.silence_seconds = 0.0
        self.requested = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/weights.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requested.append(wanted)
        time.sleep(server.silence_seconds)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if server.status or start >= len(server.content):
            self.send_error(server.status or 416)
            return
        self.send_response(206 if wanted and server.ranges else 200)
        if wanted and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        end = None if server.bytes_a_request is None else start + server.bytes_a_request
        self.wfile.write(server.content[start:end])  # and the connection closes

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cache" / "weights.bin"


def begin(place, content):
    place.parent.mkdir(parents=True)
    place.with_name("weights.bin.part").write_bytes(content)


def is_complete(place):
    return place.read_bytes() == CONTENT and not place.with_name("weights.bin.part").exists()


def test_a_file_is_fetched_and_announced(server, place, capsys):
    assert fetch(server.url, place, checksum=MD5.upper(), size=1_500_000) == place
    assert is_complete(place)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"fetching weights.bin (2 MB) from {server.url} into {place.parent}\n"  # no terminal, no bar


def test_a_file_that_is_there_needs_no_network(server, place):
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    fetch(server.url, place, checksum=MD5)
    assert server.requested == []
    assert list(place.parent.iterdir()) == [place]  # nor anything written beside it


def test_a_damaged_file_is_replaced(server, place, capsys):
    place.parent.mkdir()
    place.write_bytes(CONTENT[:-1])
    fetch(server.url, place, checksum=MD5)
    assert is_complete(place)
    assert "the file that is there is damaged" in capsys.readouterr().err


def test_a_download_is_resumed(server, place):
    begin(place, CONTENT[:1_000_000])
    fetch(server.url, place, checksum=MD5)
    assert is_complete(place)
    assert server.requested == ["bytes=1000000-"]


def test_a_server_that_does_not_resume_starts_anew(server, place):
    server.ranges = False
    begin(place, CONTENT[:1_000_000])
    fetch(server.url, place, checksum=MD5)
    assert is_complete(place)
    assert server.requested == ["bytes=1000000-"]


def test_a_file_that_changed_meanwhile_starts_anew(server, place):
    begin(place, b"of an older file" * 1000)
    fetch(server.url, place, checksum=MD5)
    assert is_complete(place)
    assert server.requested == ["bytes=16000-", None]


@pytest.mark.parametrize(("surplus", "requests"), [(b"", 1), (b"too much", 2)])
def test_nothing_left_to_fetch(server, place, surplus, requests):
    begin(place, CONTENT + surplus)
    fetch(server.url, place, checksum=MD5)
    assert is_complete(place)
    assert len(server.requested) == requests


def test_a_connection_that_breaks_is_taken_up_again(server, place):
    server.bytes_a_request = 600_000
    fetch(server.url, place, checksum=MD5)
    assert is_complete(place)
    assert server.requested == [None, "bytes=600000-", "bytes=1200000-"]


def test_a_connection_that_brings_nothing_more_keeps_what_came(server, place):
    server.bytes_a_request = 100_000
    with pytest.raises(WeightsError, match=r"ended after 500000 of 1500000 bytes.*what has arrived is kept"):
        fetch(server.url, place, checksum=MD5)
    assert len(server.requested) == download.MAX_ATTEMPTS
    server.bytes_a_request = 0
    with pytest.raises(WeightsError, match="ended after 500000"):
        fetch(server.url, place, checksum=MD5)
    assert len(server.requested) == download.MAX_ATTEMPTS + 1
    server.bytes_a_request = None
    fetch(server.url, place, checksum=MD5)
    assert is_complete(place)
    assert server.requested[-1] == "bytes=500000-"


def test_other_content_than_expected_is_not_kept(server, place):
    server.content = b"<html>please log in</html>"
    with pytest.raises(WeightsError, match="another file than expected") as caught:
        fetch(server.url, place, checksum=MD5)
    assert str(place) in caught.value.message
    assert not place.exists()
    assert not place.with_name("weights.bin.part").exists()


def test_the_error_says_what_from_where_and_where_to_put_it(server, place):
    server.status = 404
    with pytest.raises(WeightsError, match="404 Not Found") as caught:
        fetch(server.url, place, checksum=MD5)
    for word in ("weights.bin", server.url, str(place)):
        assert word in caught.value.message
    assert "\n" not in caught.value.message


def test_nobody_listens(server, place):
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match="Connection refused") as caught:
        fetch(server.url, place, checksum=MD5)
    for word in ("weights.bin", server.url, str(place)):
        assert word in caught.value.message


def test_a_silent_server_is_not_waited_for_for_ever(server, place, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.1)
    server.silence_seconds = 0.5
    with pytest.raises(WeightsError, match="timed out"):
        fetch(server.url, place, checksum=MD5)
    assert len(server.requested) == 1


def test_a_place_that_cannot_be_written(server, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match=r"cannot write .* CAPTIONER_CACHE"):
        fetch(server.url, tmp_path / "cache" / "weights.bin", checksum=MD5)


def test_only_http_is_spoken(tmp_path, place):
    (tmp_path / "local.bin").write_bytes(CONTENT)
    with pytest.raises(WeightsError, match="http or https"):
        fetch(f"file://{tmp_path}/local.bin", place, checksum=MD5)


def test_two_processes_download_once_and_without_torch(server, place):
    server.silence_seconds = 0.3
    program = (
        "import sys; from pathlib import Path; from captioner.models.encoders.download import fetch;"
        f"fetch({server.url!r}, Path({str(place)!r}), checksum={MD5!r}); sys.exit('torch' in sys.modules)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert server.requested == [None]
    assert is_complete(place)
