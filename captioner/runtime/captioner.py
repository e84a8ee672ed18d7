"""The captioner of a finished bundle: picture → features → words → text, over ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from captioner.bundle import (
    DECODER_START,
    DECODER_STEP,
    ENCODER,
    RUNS,
    Bundle,
    load_bundle,
    newest_bundle,
    pretrained_bundle,
)
from captioner.config import DecodeConfig, check_threads
from captioner.decoding.decode import decode
from captioner.errors import BundleError, ConfigError
from captioner.images import Picture, load_image
from captioner.runtime.onnx_step import OnnxStepModel
from captioner.runtime.session import OnnxEncoder, Shape
from captioner.types import Candidate, Caption, CaptionCandidate, Word

MAX_FEATURE = 2**24
"""Numbers in the feature of one picture; the largest vision transformers come to a million."""


class Captioner:
    """Describes pictures. Loading takes a fraction of a second; one captioner may be used from several threads."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """Open the graphs of a verified bundle; see `load`."""
        check_threads(threads)
        self.bundle = bundle
        self._encoder = OnnxEncoder(bundle.path(ENCODER), threads)
        self._steps = OnnxStepModel(bundle.path(DECODER_START), bundle.path(DECODER_STEP), threads)
        self._check_graphs()

    def _check_graphs(self) -> None:
        """Hold what the graphs declare to each other and to the manifest, before any picture is read."""
        size = self.bundle.manifest.preprocess.size
        self._require("the encoder takes pixels", self._encoder.input_shape, (3, size, size))
        feature = self._encoder.output_shape[1:]
        sizes = [side for side in feature if isinstance(side, int) and side > 0]
        if not 1 <= len(feature) <= 2 or len(sizes) != len(feature) or prod(sizes) > MAX_FEATURE:
            raise BundleError(
                f"{self.bundle.folder}: the encoder gives features of shape {feature}; expected one or two sizes, "
                f"of at most {MAX_FEATURE:,} numbers in all"
            )
        self._require("the decoder takes features", self._steps.features_shape, feature)
        self._require("the decoder gives words", self._steps.log_probs_shape, (len(self.bundle.vocabulary),))

    def _require(self, what: str, shape: Shape, expected: Shape) -> None:
        if not shape or isinstance(shape[0], int) or shape[1:] != expected:
            raise BundleError(
                f"{self.bundle.folder}: {what} of shape {shape}; expected a free batch and {expected}: its graphs, "
                "preprocessing and vocabulary are not of one captioner; export it again"
            )

    def caption(self, picture: Picture, **options: Any) -> Caption:
        """Caption one picture.

        Args:
            picture: a path, the bytes of a file, a uint8 array (height, width, 3), or a Pillow image.
            options: fields of `DecodeConfig` that shall differ from the bundle's own, for example `beam=5, n_best=3`.

        Raises:
            ImageError: the picture cannot be read.
            ConfigError: an option is unknown, of the wrong type or out of range.
            BundleError: a graph fails at its work.
        """
        return self.caption_batch([picture], **options)[0]

    def caption_batch(self, pictures: Sequence[Picture], **options: Any) -> list[Caption]:
        """Caption several pictures together; arguments and errors as for `caption`, one bad picture raises."""
        spec = self.bundle.manifest.preprocess
        squares = [spec.resize(load_image(picture, at_least=spec.decode_side)) for picture in pictures]
        return self._caption_squares(np.stack(squares), self._decode_config(options)) if squares else []

    def iter_captions(self, pictures: Iterable[Picture], *, batch: int = 16, **options: Any) -> Iterator[Caption]:
        """The lazy form of `caption_batch`: reads `batch` pictures ahead, holds no more, keeps the order."""
        remaining = iter(pictures)
        while chunk := list(islice(remaining, batch)):
            yield from self.caption_batch(chunk, **options)

    def check_options(self, **options: Any) -> None:
        """Raise ConfigError when one of the options for `caption` is unknown, of the wrong type or out of range."""
        self._decode_config(options)

    def _decode_config(self, options: dict[str, Any]) -> DecodeConfig:
        config = self.bundle.manifest.decode
        # Of beam and n_best, the one that was not asked for makes room for the other.
        beam, n_best = options.get("beam"), options.get("n_best")
        if "beam" not in options and isinstance(n_best, int):
            options = {**options, "beam": max(config.beam, n_best)}
        elif "n_best" not in options and isinstance(beam, int):
            options = {**options, "n_best": max(1, min(config.n_best, beam))}
        return config.changed(options)

    def _caption_squares(self, squares: np.ndarray, config: DecodeConfig) -> list[Caption]:
        pixels = self.bundle.manifest.preprocess.normalize(squares)  # (batch, 3, size, size)
        features = self._encoder(pixels)  # (batch, *feature_shape)
        candidates = decode(self._steps, features, config, self.bundle.vocabulary.special)
        return [self._caption(found) for found in candidates]

    def _caption(self, found: Sequence[Candidate]) -> Caption:
        vocabulary = self.bundle.vocabulary
        candidates = tuple(CaptionCandidate(vocabulary.decode(each.tokens), each.log_prob) for each in found)
        best = found[0]
        words = tuple(
            Word(vocabulary.decode([token]), log_prob)
            for token, log_prob in zip(best.tokens, best.token_log_probs, strict=False)  # the end token has one too
        )
        return Caption(candidates[0].text, candidates[0].log_prob, words, candidates)


def load(folder: str | Path | None = None, *, threads: int = 1) -> Captioner:
    """Load a finished captioner.

    Args:
        folder: the bundle's folder; None takes the newest one in `runs/`, or else the one that ships with the package.
        threads: processor threads for one picture, 1 to 256.

    Raises:
        BundleError: it is not a bundle, incomplete, changed since it was saved, of a newer format, or its graphs do not
            fit its manifest and vocabulary.
        ConfigError: too few threads, or too many; or there is no bundle at all.
    """
    return Captioner(load_bundle(Path(folder) if folder is not None else default_bundle()), threads)


def default_bundle() -> Path:
    """The newest bundle in `runs/`, or else the one that ships with the package. Raises ConfigError without any."""
    folder = newest_bundle(RUNS) or pretrained_bundle()
    if folder is None:
        raise ConfigError(
            f"no captioner in {RUNS}/: train one with `python build_and_run.py`, or name one with --model DIR"
        )
    return folder
