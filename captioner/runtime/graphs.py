"""The graphs of one bundle, opened and held to one another: pictures in, features and words out."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from captioner.bundle import DECODER_START, DECODER_STEP, ENCODER, Bundle
from captioner.errors import BundleError
from captioner.runtime.onnx_step import OnnxStepModel
from captioner.runtime.session import OnnxEncoder, Shape

MAX_FEATURE = 2**24
"""Numbers in the feature of one picture; the largest vision transformers come to a million."""


class CaptionGraphs:
    """Encoder and decoder of one captioner."""

    def __init__(self, bundle: Bundle, threads: int, device: str = "cpu") -> None:
        """Open the graphs. Raises BundleError when they do not fit together, ConfigError without such a device."""
        self.bundle = bundle
        self.encoder = OnnxEncoder(bundle.path(ENCODER), threads, device)
        # A step of one caption is too little work for two threads to share: 1 ms was lost in 9.
        self.steps = OnnxStepModel(bundle.path(DECODER_START), bundle.path(DECODER_STEP), device=device)
        self.feature_shape = self._checked()

    def _checked(self) -> tuple[int, ...]:
        """Hold what the graphs declare to each other and to the manifest, before any picture is read."""
        size = self.bundle.manifest.preprocess.size
        self._require("the encoder takes pixels", self.encoder.input_shape, (3, size, size))
        feature = self.encoder.output_shape[1:]
        sizes = [side for side in feature if isinstance(side, int) and side > 0]
        if not 1 <= len(feature) <= 2 or len(sizes) != len(feature) or prod(sizes) > MAX_FEATURE:
            raise BundleError(
                f"{self.bundle.folder}: the encoder gives features of shape {feature}; expected one or two sizes, "
                f"of at most {MAX_FEATURE:,} numbers in all"
            )
        self._require("the decoder takes features", self.steps.features_shape, feature)
        self._require("the decoder gives words", self.steps.log_probs_shape, (len(self.bundle.vocabulary),))
        return tuple(sizes)

    def _require(self, what: str, shape: Shape, expected: Shape) -> None:
        if not shape or isinstance(shape[0], int) or shape[1:] != expected:
            raise BundleError(
                f"{self.bundle.folder}: {what} of shape {shape}; expected a free batch and {expected}: its graphs, "
                "preprocessing and vocabulary are not of one captioner; export it again"
            )

    def fit(self, picture: np.ndarray) -> np.ndarray:
        """A picture, uint8 (height, width, 3), as the encoder wants to see it: uint8 (size, size, 3)."""
        return self.bundle.manifest.preprocess.resize(picture)

    def see(self, squares: Sequence[np.ndarray]) -> np.ndarray:
        """The features of pictures that `fit` gave → float32 (batch, *feature_shape)."""
        spec, at_once = self.bundle.manifest.preprocess, self.encoder.at_once
        parts = [squares[first : first + at_once] for first in range(0, len(squares), at_once)]
        return np.concatenate([self.encoder(spec.normalize(np.stack(part))) for part in parts])
