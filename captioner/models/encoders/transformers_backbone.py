"""Any vision model of the `transformers` library as an encoder, from a local folder or from the Hugging Face hub.

Takes the vision tower of models that also read text, the features before any classifier or pooler, and the weights from
safetensors alone; no code that comes with a model is run. How pixels are prepared is `transformers_preprocessing.py`'s
business.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from captioner.errors import WeightsError
from captioner.models.encoders.base import Encoder, pool_or_flatten
from captioner.models.encoders.transformers_preprocessing import first_line, preprocess_spec

_HUB_FILES = ["config.json", "p*processor_config.json", "model.safetensors*", "model-*.safetensors"]
_UNUSED_WEIGHTS = re.compile(r"(^|\.)pooler\.|\.num_batches_tracked$|\.position_ids$")
"""Weights that the features do not depend on: a checkpoint may lack them."""
_NAMES_IN_MESSAGE = 3
_CHUNK_BYTES = 1 << 20


class TransformersBackbone(Encoder):
    """A pretrained vision model of `transformers`, whose weights stay as they are.

    `grid` has a vector a position, (batch, regions, channels): the last convolution map, or the patch tokens without
    the class and register tokens. `pooled`, (batch, channels), is the mean of the grid.

    Args:
        source: a local folder as `save_pretrained` writes it (read without network), or a hub id `owner/name`.
        features: `pooled` or `grid`.
        framing: `whole`, or `center`: cut the middle out as the model's own image processor does.
        size: side of the pictures; 0 is what the model was trained at. Convolutions take others too.

    Raises `WeightsError` when the model cannot be had, is not complete, runs only with code of its own, or is no vision
    model.
    """

    def __init__(self, source: str, *, features: str, framing: str, size: int = 0) -> None:
        super().__init__()
        local = Path(source).is_dir()
        folder = Path(source).resolve() if local else _fetch_from_hub(source)
        with _quiet_transformers():
            config = _load_config(folder)
            recipe = preprocess_spec(folder, config, framing=framing)
            self.preprocess = replace(recipe, size=size or recipe.size)
            self.backbone = _load_complete(folder, getattr(config, "vision_config", None) or config)
        self.name = folder.name if local else source
        self.origin = f"{folder.name} sha256:{_weights_digest(folder)}" if local else f"{source}@{folder.name}"
        self.trained_with_decoder = False
        self._kind = features
        self._prefix_tokens = 0
        self._probe()

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of preprocessed pixels (batch, 3, size, size)."""
        hidden: Tensor = self.backbone(pixel_values=pixels, return_dict=True).last_hidden_state
        if hidden.ndim == 4:  # a convolution map (batch, channels, height, width)
            return pool_or_flatten(hidden, self._kind)
        patches = hidden[:, self._prefix_tokens :]  # (batch, regions, channels)
        return patches.mean(dim=1) if self._kind == "pooled" else patches

    @torch.no_grad()
    def _probe(self) -> None:
        """Learn the shape of the features, and which tokens are no patches, from one empty picture."""
        side = self.preprocess.size
        pixels = torch.zeros(1, 3, side, side)
        self.backbone.eval()
        try:
            hidden = self.backbone(pixel_values=pixels, return_dict=True).last_hidden_state
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"{self.name} gives no features for pictures of {side} × {side}: {first_line(error)}"
            ) from error
        if hidden.ndim == 3:
            self._prefix_tokens = _prefix_tokens(hidden.shape[1], side, self.backbone.config, self.name)
        elif hidden.ndim != 4 or hidden.shape[2] != hidden.shape[3]:
            raise WeightsError(
                f"{self.name} gives features of the shape {tuple(hidden.shape)}; "
                "expected (batch, tokens, channels) or (batch, channels, height, width)"
            )
        self.feature_shape = tuple(self(pixels).shape[1:])


def _prefix_tokens(tokens: int, side: int, config: Any, name: str) -> int:
    """How many tokens stand before the patches: class, distillation and register tokens.

    The patches are the largest square that fits, unless the configuration says how many there are.
    """
    registers = getattr(config, "num_register_tokens", None) or 0
    patch = getattr(config, "patch_size", None)
    squares = [isqrt(tokens) ** 2]
    if isinstance(patch, int):
        squares.insert(0, (side // patch) ** 2)  # hierarchical models, as Swin, merge patches: then it does not fit
    for patches in squares:
        if 0 <= tokens - patches <= 2 + registers:
            return tokens - patches
    raise WeightsError(f"{name} gives {tokens} tokens for a picture, and it cannot be told which of them are patches")


def _fetch_from_hub(hub_id: str) -> Path:
    """The files of the model in the hub's cache on this machine, downloaded when they are not there yet."""
    from huggingface_hub import snapshot_download

    sys.stderr.write(f"looking for {hub_id} on the Hugging Face hub\n")
    try:
        return Path(snapshot_download(hub_id, allow_patterns=_HUB_FILES))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{hub_id} is no folder here and cannot be fetched from the Hugging Face hub: {first_line(error)}; "
            "check the name and the network, or give a local folder with config.json and model.safetensors"
        ) from error


def _load_config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder} holds no model that transformers knows: {first_line(error)}; "
            "expected config.json and model.safetensors"
        ) from error


def _load_complete(folder: Path, config: Any) -> nn.Module:
    """The network with all its weights; transformers itself would fill what is missing with random numbers."""
    from safetensors import SafetensorError
    from transformers import AutoModel

    try:
        model, report = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as error:
        raise WeightsError(
            f"the weights of {folder.name} cannot be loaded: {first_line(error)}; "
            "expected model.safetensors (pickled weights are not read) of the network in config.json"
        ) from error
    lacking = report["missing_keys"] | {name for name, *_ in report["mismatched_keys"]}
    lost = sorted(name for name in lacking if not _UNUSED_WEIGHTS.search(name))
    if lost:
        first = ", ".join(lost[:_NAMES_IN_MESSAGE]) + (" …" if len(lost) > _NAMES_IN_MESSAGE else "")
        raise WeightsError(
            f"the weights of {folder.name} lack {len(lost)} tensors of the network in config.json, or have them in "
            f"another shape: {first}; get the complete model"
        )
    network: nn.Module = model
    return network


def _weights_digest(folder: Path) -> str:
    """SHA-256 of what makes the network: its configuration, and the weights, be they in one file or in several."""
    digest = hashlib.sha256()
    for path in (folder / "config.json", *sorted(folder.glob("model*.safetensors"))):
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No reports and progress bars of transformers meanwhile: what matters is checked here and raised."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
