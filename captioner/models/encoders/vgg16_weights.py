"""Reads the convolution weights of VGG16 from the three formats in which they are published, and checks every one.

    torchvision   `.pth`: a state dict, read as tensors alone; code in the file is refused, never run
    timm          `.safetensors`: the same names
    Keras         `.h5`, "notop" or the whole network: kernels are height × width × in × out

The content of a file says which it is, not its name. What is read has the names and the layout of torchvision. Knows
nothing of the network that the weights go into, but its shapes.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from captioner.errors import WeightsError

CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the convolutions, block by block (Simonyan and Zisserman 2015, arXiv 1409.1556, table 1, D)."""

FORMATS = 'torchvision .pth, timm .safetensors or Keras "notop" .h5'
"""The formats in words, for messages."""

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ZIP_SIGNATURE = b"PK\x03\x04"
_PICKLE_PROTOCOL = b"\x80"
_NAMES_IN_MESSAGE = 3


@dataclass(frozen=True)
class Vgg16Weights:
    """The 13 convolutions of VGG16, complete and of the right shapes."""

    tensors: Mapping[str, Tensor]
    """By torchvision's names, `features.0.weight` …: float32, kernels (out, in, height, width), biases (out,)."""
    keras: bool
    """Whether they come from Keras, and so want blue, green, red and the Caffe means instead of red, green, blue."""


@dataclass(frozen=True)
class _Convolution:
    """One convolution as both families call it."""

    torch_name: str
    keras_name: str
    in_channels: int
    out_channels: int


def _convolutions() -> list[_Convolution]:
    convolutions = []
    index, channels = 0, 3
    for block, widths in enumerate(CHANNELS, start=1):
        for number, width in enumerate(widths, start=1):
            convolutions.append(
                _Convolution(
                    f"features.{index}", f"block{block}_conv{number}", in_channels=channels, out_channels=width
                )
            )
            index, channels = index + 2, width  # a convolution and its ReLU
        index += 1  # the pooling that ends the block
    return convolutions


def read_vgg16_weights(path: Path) -> Vgg16Weights:
    """Read the 13 convolutions from `path`; a classifier in the file is ignored.

    Raises `WeightsError` when the file is missing, damaged, of no format that is understood, contains code, or does not
    hold all the tensors in their shapes.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise WeightsError(f"cannot read the weights {path}: {error.strerror}; expected {FORMATS}") from error
    if head.startswith(_HDF5_SIGNATURE):
        return Vgg16Weights(_checked(_read_keras(path), path, lambda c: c.keras_name), keras=True)
    if head[8:9] == b"{":  # eight bytes of length, then the JSON header
        return Vgg16Weights(_checked(_read_safetensors(path), path, lambda c: c.torch_name), keras=False)
    if head.startswith((_ZIP_SIGNATURE, _PICKLE_PROTOCOL)):
        return Vgg16Weights(_checked(_read_pth(path), path, lambda c: c.torch_name), keras=False)
    raise WeightsError(f"{path} is no weights file that is understood; expected VGG16 as {FORMATS}")


def _checked(found: Mapping[str, Tensor], path: Path, spelling: Callable[[_Convolution], str]) -> dict[str, Tensor]:
    """The tensors of VGG16 among `found`, as float32; `spelling` is what the file calls a convolution."""
    tensors, missing = {}, []
    for convolution in _convolutions():
        kernel_shape = (convolution.out_channels, convolution.in_channels, 3, 3)
        for part, shape in (("weight", kernel_shape), ("bias", kernel_shape[:1])):
            name = f"{convolution.torch_name}.{part}"
            if name not in found:
                missing.append(f"{spelling(convolution)} {part}")
                continue
            tensor = found[name]
            if tuple(tensor.shape) != shape:
                raise WeightsError(
                    f"{path} is not VGG16: {spelling(convolution)} {part} has the shape {tuple(tensor.shape)} "
                    f"instead of {shape} (out, in, height, width)"
                )
            if not torch.isfinite(tensor).all():
                raise WeightsError(f"{path} is damaged: {spelling(convolution)} {part} has values that are no numbers")
            tensors[name] = tensor.to(torch.float32).contiguous()
    if missing:
        first = ", ".join(missing[:_NAMES_IN_MESSAGE]) + (" …" if len(missing) > _NAMES_IN_MESSAGE else "")
        raise WeightsError(f"{path} lacks {len(missing)} of 26 tensors of VGG16: {first}; expected {FORMATS}")
    return tensors


def _torch_names() -> list[str]:
    return [f"{convolution.torch_name}.{part}" for convolution in _convolutions() for part in ("weight", "bias")]


def _read_pth(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wonders about foreign pickles; what matters is raised
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds Python objects besides tensors, or is damaged, and was not loaded; "
            f"expected a plain state dict, or {FORMATS}"
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise WeightsError(f"{path} is damaged and cannot be loaded; fetch it again") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no state dict but a {type(content).__name__}; expected {FORMATS}")
    return {name: content[name] for name in _torch_names() if isinstance(content.get(name), Tensor)}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            present = set(file.keys())
            return {name: file.get_tensor(name) for name in _torch_names() if name in present}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged and cannot be loaded; fetch it again") from error


def _read_keras(path: Path) -> dict[str, Tensor]:
    tensors = {}
    try:
        with h5py.File(path, "r") as file:
            layers = file.get("model_weights", file)
            for convolution in _convolutions():
                for values in _datasets(layers, convolution.keras_name):
                    tensor = torch.from_numpy(values[()])
                    if values.ndim == 4:  # (height, width, in, out) → (out, in, height, width)
                        tensors[f"{convolution.torch_name}.weight"] = tensor.permute(3, 2, 0, 1)
                    elif values.ndim == 1:
                        tensors[f"{convolution.torch_name}.bias"] = tensor
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is damaged and cannot be loaded; fetch it again") from error
    return tensors


def _datasets(layers: h5py.Group, name: str) -> list[h5py.Dataset]:
    """All the arrays of one layer, however deep: the versions of Keras nest and name them differently."""
    found: list[h5py.Dataset] = []
    if name in layers:
        layers[name].visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found
