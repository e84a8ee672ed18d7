"""Checkpoints without pickle: tensors as safetensors, everything around them as JSON in the same file's header.

The header also has the SHA-256 of both, so that damage is recognised wherever it is. A file is written beside its
target, synced and renamed; the one that it replaces is kept as `NAME.previous`, so that a damaged file costs one epoch
and not the run. Knows nothing of what the values mean.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from captioner.errors import TrainingError

_TENSOR, _TUPLE, _PAIRS = "__tensor__", "__tuple__", "__pairs__"


def previous_of(path: Path) -> Path:
    """Where the checkpoint that `path` replaced is kept."""
    return path.with_name(path.name + ".previous")


def save_checkpoint(path: Path, values: Any) -> None:
    """Write nested dicts, lists, tuples, tensors and JSON scalars; all or nothing.

    Raises:
        TrainingError: a value cannot be stored, or the disk is full; what was there before is left.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_flatten(values, "", tensors))
    header = {"checkpoint": f"{_sha256(text, tensors)} {text}"}  # one entry: safetensors has them in any order
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary, metadata=header)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if path.exists():
            path.replace(previous_of(path))
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot save the checkpoint {path}: {error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def load_checkpoint(path: Path, device: str | torch.device = "cpu") -> Any:
    """What `save_checkpoint` wrote.

    Raises:
        TrainingError: there is no such file, or it is damaged.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            header = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error}") from None
    digest, _, text = header.get("checkpoint", "").partition(" ")
    if digest != _sha256(text, tensors):
        raise TrainingError(f"the checkpoint {path} is damaged: its checksum is not the one that it was saved with")
    return _restore(json.loads(text), tensors)


def newest_readable(path: Path) -> tuple[Path | None, str]:
    """The checkpoint to go on from: `path`, else the one that it replaced; and a sentence when the first is damaged."""
    damage = ""
    for candidate in (path, previous_of(path)):
        if not candidate.exists():
            continue
        try:
            load_checkpoint(candidate)
        except TrainingError as error:
            damage = damage or error.message
            continue
        return candidate, damage
    return None, damage


class SafetensorsIO(CheckpointIO):
    """Lightning's checkpoints in this file's format."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """See `save_checkpoint`."""
        save_checkpoint(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See `load_checkpoint`; the strategy moves the values to its device."""
        values: dict[str, Any] = load_checkpoint(Path(path))
        return values

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON, its tensors put into `tensors` under their path."""
    if isinstance(value, Tensor):
        unique = f"{len(tensors)}{name}"  # {"a/b": …} and {"a": {"b": …}} have the same path
        # A clone each: tied weights share memory, which safetensors refuses.
        tensors[unique] = value.detach().cpu().clone().contiguous()
        return {_TENSOR: unique}
    if isinstance(value, dict):
        # As pairs: JSON would turn the integer keys of an optimiser's state into strings.
        for key in value:
            if not isinstance(key, (int, float, str)):
                raise TrainingError(f"cannot store {name}: a {type(key).__name__} cannot be a key")
        return {_PAIRS: [[key, _flatten(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {_TUPLE: [_flatten(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [_flatten(item, f"{name}/{i}", tensors) for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TrainingError(f"cannot store {name}: a {type(value).__name__} is neither a tensor nor JSON")


def _restore(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restore(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    if _TUPLE in value:
        return tuple(_restore(item, tensors) for item in value[_TUPLE])
    return {key: _restore(item, tensors) for key, item in value[_PAIRS]}


def _sha256(text: str, tensors: dict[str, Tensor]) -> str:
    """Of the values and of every tensor: name, dtype, shape and bytes."""
    total = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.cpu().reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # Windows cannot open folders, and does not need to
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
