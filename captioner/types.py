"""The records that cross borders between the rooms of the package: plain, frozen, without behaviour.

Knows nothing of files, pictures, words or networks; imports the standard library alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class ImageSource(Protocol):
    """Where the bytes of one picture come from: a file, an archive member, a drawing made on demand."""

    @property
    def name(self) -> str:
        """How to name the picture to a person: a path, or an id."""
        ...

    @property
    def version(self) -> str:
        """Another text when the picture may be another one; known without reading it (a file's size and time)."""
        ...

    def read_bytes(self) -> bytes:
        """The encoded picture (JPEG, PNG, …). Raises `ImageError` when there is none."""
        ...


@dataclass(frozen=True)
class Record:
    """One picture of a data set with the captions that people wrote for it."""

    image_id: str
    """Unique within the data set."""
    source: ImageSource
    """Where the picture is."""
    captions: tuple[str, ...]
    """As written, before any normalisation."""
    split: str
    """`train`, `dev`, `test`, or a further name that the data set defines."""


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of the four tokens that are not words; defined by the vocabulary, used by decoding and training."""

    pad: int
    """Fills captions up to the length of their batch; never predicted."""
    bos: int
    """Begins every caption (`<startseq>`)."""
    eos: int
    """Ends every caption (`<endseq>`)."""
    unk: int
    """Stands for words that are not in the vocabulary; never generated."""


@dataclass(frozen=True)
class Candidate:
    """One caption that decoding proposes, as token ids without begin and end tokens."""

    tokens: tuple[int, ...]
    """Word ids, in order; may be empty when a model ends at once."""
    token_log_probs: tuple[float, ...]
    """Natural-log probability of each token of `tokens`, then of the end token when `finished`."""
    log_prob: float
    """Sum of `token_log_probs`."""
    score: float
    """What candidates are ranked by: `log_prob` after length normalisation."""
    finished: bool
    """Whether the end token was reached before the maximum length."""


@dataclass(frozen=True)
class CaptionCandidate:
    """One caption that a captioner proposes, as text."""

    text: str
    """The words, joined."""
    log_prob: float
    """Natural-log probability of the caption, the end token included."""


@dataclass(frozen=True)
class Word:
    """One word of a caption and how sure the model was of it."""

    text: str
    """The word."""
    log_prob: float
    """Its natural-log probability given the picture and the words before it."""


@dataclass(frozen=True)
class Caption:
    """What a captioner says of one picture: the best candidate, and the others."""

    text: str
    """The best caption."""
    log_prob: float
    """Its natural-log probability."""
    words: tuple[Word, ...]
    """Its words, one by one."""
    candidates: tuple[CaptionCandidate, ...]
    """All candidates asked for (`n_best`), best first; the first is the caption itself."""
    confidence: float | None = None
    """The probability that the caption is acceptable, 0 to 1; None when the captioner was not calibrated."""


@dataclass(frozen=True)
class Score:
    """The value of one metric over a set of predictions, with all that is needed to compare it with another."""

    name: str
    """For example `CIDEr` or `BLEU-4`."""
    value: float
    """On the scale of 0 to 100 (CIDEr may exceed 100)."""
    per_image: tuple[float, ...]
    """One value a picture, in the order of the predictions, on the same scale; for BLEU a smoothed sentence score."""
    signature: str
    """Protocol in one line, for example `CIDEr|tok:ptb|refs:5|n:4|version:1`."""
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval over pictures, on the same scale; None where none was computed."""
