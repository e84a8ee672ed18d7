"""The exported captioner of a build with the features of its pictures: what evaluation works with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from captioner.bundle import DECODER_START, DECODER_STEP, ENCODER
from captioner.pipeline.features import Features
from captioner.pipeline.workspace import Workspace
from captioner.runtime.onnx_step import OnnxStepModel
from captioner.runtime.session import OnnxEncoder
from captioner.text.vocabulary import Vocabulary

AT_ONCE = 64
"""Pictures that are captioned together."""


@dataclass(frozen=True)
class Exported:
    """The exported captioner, and the features it looks at."""

    features: Features
    vocabulary: Vocabulary
    steps: OnnxStepModel
    encoder: OnnxEncoder | None
    """None when the features are stored already."""

    @classmethod
    def open(cls, workspace: Workspace, threads: int) -> Exported:
        """Open the graphs of a build."""
        features = Features.load(workspace.features)
        return cls(
            features,
            Vocabulary.load(workspace.vocabulary),
            OnnxStepModel(workspace.graphs / DECODER_START, workspace.graphs / DECODER_STEP, threads),
            OnnxEncoder(workspace.graphs / ENCODER, threads) if features.encoder.trained_with_decoder else None,
        )

    def see(self, rows: np.ndarray) -> np.ndarray:
        """The features of rows of the store, float32 (rows, *shape)."""
        inputs = self.features.inputs(rows)
        return self.encoder(inputs) if self.encoder else inputs


def batches(pictures: Sequence[Mapping[str, Any]], size: int = AT_ONCE) -> Iterator[np.ndarray]:
    """The rows of pictures, as `Workspace.pictures` lists them, so many at a time: int64 (n,) each."""
    rows = np.array([picture["row"] for picture in pictures], np.int64)
    return (rows[begin : begin + size] for begin in range(0, len(rows), size))
