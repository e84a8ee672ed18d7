"""The captioner of a finished bundle: picture → features → words → text, over ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from captioner.bundle import DECODER_START, DECODER_STEP, ENCODER, Bundle, load_bundle
from captioner.config import DecodeConfig
from captioner.decoding.decode import decode
from captioner.images import Picture, load_image
from captioner.runtime.onnx_step import OnnxStepModel
from captioner.runtime.session import OnnxEncoder
from captioner.types import Candidate, Caption, CaptionCandidate, Word


class Captioner:
    """Describes pictures. Loading takes a fraction of a second; one captioner may be used from several threads."""

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """Open the graphs of a verified bundle; see `load`."""
        self.bundle = bundle
        self._encoder = OnnxEncoder(bundle.path(ENCODER), threads)
        self._steps = OnnxStepModel(bundle.path(DECODER_START), bundle.path(DECODER_STEP), threads)

    def caption(self, picture: Picture, **options: Any) -> Caption:
        """Caption one picture.

        Args:
            picture: a path, the bytes of a file, a uint8 array (height, width, 3), or a Pillow image.
            options: fields of `DecodeConfig` that shall differ from the bundle's own, for example `beam=5, n_best=3`.

        Raises:
            ImageError: the picture cannot be read.
            ConfigError: an option is out of range.
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


def load(folder: str | Path, *, threads: int = 1) -> Captioner:
    """Load a finished captioner.

    Args:
        folder: the bundle's folder.
        threads: processor threads for one picture.

    Raises:
        BundleError: it is not a bundle, incomplete, changed since it was saved, or of a newer format.
    """
    return Captioner(load_bundle(Path(folder)), threads)
