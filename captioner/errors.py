"""Every error that captioner raises on purpose; knows nothing of where they are raised.

    CaptionerError                 catch this one to catch them all
    ├── ConfigError                an option is unknown, of the wrong type or out of range
    ├── DataError                  the data set cannot be read, or too much of it is bad
    ├── ImageError                 one picture cannot be read; `code` says why
    ├── VocabularyError            text and ids do not fit together
    ├── WeightsError               pretrained weights are missing, damaged or of another network
    ├── FeatureError               the feature store is damaged or in use
    ├── TrainingError              training cannot start or cannot go on
    ├── ExportError                an exported graph does not agree with the network it came from
    ├── BundleError                a bundle is incomplete, damaged, or of a newer format
    ├── MetricError                predictions and references do not fit together
    ├── MetadataError              a caption cannot be put into the metadata of a picture; `code` says why
    └── MissingDependencyError     an optional library is not installed

A message is one line: what happened, and what to do next. Names in it may come from anywhere; they go through
`printable`, which whatever prints other text that it did not write itself uses too.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f"  # control codes: colours, cursor, bell, line breaks
    r"\u2028\u2029"  # line and paragraph separator
    r"\u202a-\u202e\u2066-\u2069"  # what turns the direction of the text around it, and so shows other names
    r"\ud800-\udfff]"  # bytes of a name that are not UTF-8
)


def printable(text: str) -> str:
    """The text in one line that a terminal only shows and never obeys: what is unsafe appears as an escape."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class CaptionerError(Exception):
    """Base of all errors of this package.

    `code` is a short machine-readable word, stable between releases; `message` is one `printable` line for people.
    """

    code = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        self.message = printable(message)
        super().__init__(self.message)
        if code is not None:
            self.code = code


class ConfigError(CaptionerError):
    """An option is unknown, of the wrong type or out of range."""

    code = "config"


class DataError(CaptionerError):
    """The data set cannot be read, or too much of it is bad."""

    code = "data"


class ImageError(CaptionerError):
    """One picture cannot be read.

    `code` is one of `missing`, `not_a_file`, `unreadable`, `too_large`, `too_many_pixels`, `unsupported`, `corrupt`
    and `bad_array`.
    """

    code = "image"


class VocabularyError(CaptionerError):
    """Text and token ids do not fit together."""

    code = "vocabulary"


class WeightsError(CaptionerError):
    """Pretrained weights are missing, damaged, or belong to another network."""

    code = "weights"


class FeatureError(CaptionerError):
    """The feature store is damaged, or in use by another process."""

    code = "features"


class TrainingError(CaptionerError):
    """Training cannot start or cannot go on."""

    code = "training"


class ExportError(CaptionerError):
    """An exported graph does not agree with the network that it came from."""

    code = "export"


class BundleError(CaptionerError):
    """A bundle is incomplete, damaged, or of a newer format than this version reads."""

    code = "bundle"


class MetricError(CaptionerError):
    """Predictions and references do not fit together."""

    code = "metric"


class MetadataError(CaptionerError):
    """A caption cannot be put into the metadata of a picture file; the file stays as it is.

    `code` is `metadata` when the file or its metadata is broken, `metadata_unsupported` when it cannot hold the
    caption, so that a sidecar file must.
    """

    code = "metadata"


class MissingDependencyError(CaptionerError):
    """An optional library is not installed; the message names the extra that brings it."""

    code = "missing_dependency"
