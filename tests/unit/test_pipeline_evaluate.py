"""What frames the scores of a build: the nearest picture is the nearest one, and likelihoods are of the right pairs."""

import json
from dataclasses import dataclass, field

import numpy as np
import pytest

pytest.importorskip("tqdm")
pytestmark = pytest.mark.torch  # tqdm comes with the extra `train`

from fakes import SPECIAL, TableModel, log_softmax  # noqa: E402

from captioner.metrics.base import CaptionPairs  # noqa: E402
from captioner.pipeline import evaluate  # noqa: E402
from captioner.pipeline.workspace import Workspace, write_text  # noqa: E402
from captioner.text.vocabulary import Vocabulary  # noqa: E402

TRAINING = ["a red ball", "two black cats", "snow on hills", "a boy jumps"]
DEV = ["a blue ball", "one grey cat", "snow falls"]
VOCABULARY = Vocabulary.build([*TRAINING, *DEV], min_count=1)
FEATURES = np.array([[1, 0, 0.1], [0, 1, 0], [0, 0.1, 1], [-1, 0, 0], [9, 0, 0], [0.1, 5, 0.2], [0, 0, 2]], np.float32)
"""Four training pictures, then three of dev: near the first, the second and the third, but of another length."""


def knows_its_captions(picture: int, history: tuple[int, ...]) -> np.ndarray:
    """Picture p finds the words of its own caption probable, in order."""
    words = [*VOCABULARY.encode(DEV[picture]), SPECIAL.eos]
    logits = np.zeros(len(VOCABULARY), np.float32)
    logits[words[min(len(history), len(words) - 1)]] = 3.0
    return log_softmax(logits)


@dataclass
class Seen:
    """What `Exported` offers, over a table."""

    vocabulary: Vocabulary = VOCABULARY
    steps: TableModel = field(default_factory=lambda: TableModel(knows_its_captions))
    by_number: bool = False

    def see(self, rows: np.ndarray) -> np.ndarray:
        return (rows - len(TRAINING)).astype(np.float32)[:, None] if self.by_number else FEATURES[rows]


@pytest.fixture
def workspace(tmp_path) -> Workspace:

    workspace = Workspace(tmp_path, tmp_path)
    lines = [json.dumps({"image_id": str(row), "row": row, "captions": [text]}) for row, text in enumerate(TRAINING)]
    write_text(workspace.pictures("train"), lines)
    return workspace


def pictures() -> list[dict]:
    return [
        {"image_id": f"d{number}", "row": len(TRAINING) + number, "captions": [text]} for number, text in enumerate(DEV)
    ]


def test_the_nearest_picture_is_the_one_in_the_same_direction(workspace) -> None:
    pairs = CaptionPairs.from_texts({f"d{n}": "" for n in range(3)}, {f"d{n}": [text] for n, text in enumerate(DEV)})
    line = evaluate._nearest(Seen(), pictures(), pairs, workspace)
    expected = CaptionPairs.from_texts(
        {f"d{n}": TRAINING[n] for n in range(3)}, {f"d{n}": [text] for n, text in enumerate(DEV)}
    )
    by_hand = evaluate.score_with_intervals(expected)
    assert [(one.name, one.value) for one in line.scores] == [(one.name, one.value) for one in by_hand]


def test_likelihoods_are_those_of_each_caption_with_its_own_picture() -> None:
    perplexity, *recalls = evaluate._likelihoods(Seen(by_number=True), pictures())
    sure = float(np.exp(-log_softmax(np.array([3.0] + [0.0] * (len(VOCABULARY) - 1)))[0]))
    assert perplexity.value == pytest.approx(sure, rel=1e-5)
    assert {score.name: score.value for score in recalls} == {"R@1 text-to-image": 100, "R@1 image-to-text": 100}
