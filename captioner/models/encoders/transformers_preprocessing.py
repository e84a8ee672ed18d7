"""How a `transformers` vision model wants its pixels: from its image processor to a `PreprocessSpec`.

Reads `preprocessor_config.json` when the model comes with one; else takes what the image processor of its family does
by default. A step that `PreprocessSpec` does not have is an error, never left out. Knows nothing of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from captioner.errors import WeightsError
from captioner.images import PreprocessSpec

_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_flip_channel_order"}
_HARMLESS_STEPS = {"do_reduce_labels"}  # concerns segmentation maps alone
_RESAMPLE = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # by Pillow's numbers
_SQUEEZED_FROM = 384  # ConvNeXt processors cut nothing off from this size on


def preprocess_spec(folder: Path, config: Any, *, framing: str) -> PreprocessSpec:
    """The preprocessing of the model in `folder`, whose `transformers` configuration is `config`.

    Raises `WeightsError` when nothing tells how pixels are to be prepared, or a step is asked for that there is not.
    """
    image_size = getattr(getattr(config, "vision_config", None) or config, "image_size", None)
    if any((folder / name).is_file() for name in _PROCESSOR_FILES):
        settings = _settings_of_model(folder)
        side = _input_side(settings, folder) or _side(image_size, folder)
    else:
        settings = _settings_of_family(config, folder)
        side = _side(image_size, folder) or _input_side(settings, folder)
    if side is None:
        raise WeightsError(
            f"{folder.name} does not say how large its pictures are; add `size` to {_PROCESSOR_FILES[0]}"
        )
    _refuse_other_steps(settings, folder)
    mean, std = _mean_and_std(settings, folder)
    return PreprocessSpec(
        size=side,
        framing=framing,
        crop_share=_crop_share(settings, folder) if framing == "center" else 1.0,
        resample=_resample(settings, folder),
        channel_order="bgr" if settings.get("do_flip_channel_order") else "rgb",
        scale=float(settings.get("rescale_factor") or 1 / 255) if settings.get("do_rescale", True) else 1.0,
        mean=mean,
        std=std,
    )


def _settings_of_model(folder: Path) -> Mapping[str, Any]:
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError, KeyError, TypeError) as error:
        raise WeightsError(f"the image processor of {folder.name} cannot be loaded: {first_line(error)}") from error
    settings: dict[str, Any] = processor.to_dict()
    return settings


def _settings_of_family(config: Any, folder: Path) -> Mapping[str, Any]:
    from transformers import IMAGE_PROCESSOR_MAPPING

    backends: Any = IMAGE_PROCESSOR_MAPPING.get(type(config), {})  # backend → class
    processor_class = backends.get("pil") or backends.get("torchvision")  # the same settings for two libraries
    if processor_class is None or getattr(processor_class, "is_dummy", False):
        raise WeightsError(
            f"{folder.name} has no {_PROCESSOR_FILES[0]}, and models of the type {config.model_type} have no image "
            "processor to go by; add the file, or choose a vision model"
        )
    settings: dict[str, Any] = processor_class().to_dict()
    return settings


def _refuse_other_steps(settings: Mapping[str, Any], folder: Path) -> None:
    asked = {name for name, value in settings.items() if name.startswith("do_") and value is True}
    unknown = sorted(asked - _STEPS - _HARMLESS_STEPS)
    if unknown:
        raise WeightsError(f"{folder.name} asks for the preprocessing step {unknown[0]}, which captioner does not have")
    if {"do_flip_channel_order", "do_normalize"} <= asked:
        raise WeightsError(f"{folder.name} both flips and normalises channels, in an order that captioner cannot tell")


def _input_side(settings: Mapping[str, Any], folder: Path) -> int | None:
    return _side(settings.get("crop_size" if settings.get("do_center_crop") else "size"), folder)


def _side(size: Any, folder: Path) -> int | None:
    """The side of the square that `size` means, in any of the ways in which `transformers` writes it."""
    if size is None:
        return None
    if isinstance(size, Mapping):
        sides = {size[key] for key in ("height", "width", "shortest_edge") if size.get(key)}
    else:
        sides = set(size) if isinstance(size, (list, tuple)) else {size}
    if len(sides) != 1:
        raise WeightsError(f"{folder.name} wants pictures of the size {size}; only squares can be made")
    return int(sides.pop())


def _crop_share(settings: Mapping[str, Any], folder: Path) -> float:
    """The share of the shorter side that is left after the middle has been cut out."""
    resized = _side(settings.get("size"), folder)
    crop_pct = settings.get("crop_pct")
    if resized is None:
        return 1.0
    if settings.get("do_center_crop"):
        cropped = _side(settings.get("crop_size"), folder) or resized
        return min(1.0, cropped / resized * (crop_pct or 1.0))
    return float(crop_pct) if crop_pct and resized < _SQUEEZED_FROM else 1.0


def _resample(settings: Mapping[str, Any], folder: Path) -> str:
    method = settings.get("resample")
    if method is None:
        return "bilinear"
    if int(method) not in _RESAMPLE:
        raise WeightsError(f"{folder.name} resizes with Pillow's method {int(method)}, which captioner does not have")
    return _RESAMPLE[int(method)]


Channels = tuple[float, float, float]


def _mean_and_std(settings: Mapping[str, Any], folder: Path) -> tuple[Channels, Channels]:
    if not settings.get("do_normalize"):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = (_channels(settings.get(key), key, folder) for key in ("image_mean", "image_std"))
    if settings.get("rescale_offset"):  # EfficientNet: pixels from -1 to 1 before the mean is subtracted
        mean = (mean[0] + 1, mean[1] + 1, mean[2] + 1)
    if settings.get("include_top"):  # EfficientNet: divided by the deviation a second time
        std = (std[0] ** 2, std[1] ** 2, std[2] ** 2)
    return mean, std


def _channels(value: Any, key: str, folder: Path) -> Channels:
    values = [float(value)] * 3 if isinstance(value, (int, float)) else [float(number) for number in value or ()]
    if len(values) != 3:
        raise WeightsError(f"{folder.name} normalises pixels but gives {value} as {key}; expected three numbers")
    return values[0], values[1], values[2]


def first_line(error: Exception) -> str:
    """What the messages of `transformers`, often pages long, begin with."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if len(line) <= 200 else line[:199] + "…"
