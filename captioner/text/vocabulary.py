"""The vocabulary: words to ids and back, and the one home of the special tokens. Knows nothing of networks."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from captioner.errors import VocabularyError
from captioner.text.normalize import RULES
from captioner.text.normalize import words as split_words
from captioner.types import SpecialTokens

SPECIAL_TOKENS = ("<pad>", "<startseq>", "<endseq>", "<unk>")
"""The tokens that are not words, in the order of their ids; no caption contains them, as words have no brackets."""

SUBWORD_RULES = "subwords-v1"
"""The rules of `SubwordVocabulary`: those of words, and then merges (`captioner/text/subwords.py`)."""

FORMAT = 1
"""The version of `vocabulary.json` that this file writes and reads."""

_SPECIAL = SpecialTokens(pad=0, bos=1, eos=2, unk=3)
_NEVER_IN_WORDS = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # a terminal or a file could not show them
_MAX_TOKENS = 1_000_000
_MAX_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Vocabulary:
    """The words that a captioner can say; their ids follow those of the special tokens.

    `SubwordVocabulary` has pieces of words in their place; what reads and writes captions need not know which it is.

    Raises `VocabularyError` when there are no words or too many, or when one is empty, has spaces or control characters
    in it, or is there twice.
    """

    words: tuple[str, ...]
    """The words, the most frequent first, without the special tokens."""
    _ids: dict[str, int] = field(init=False, repr=False, compare=False)

    rules: ClassVar[str] = RULES
    """The name of the rules by which captions are cut."""
    unit: ClassVar[str] = "words"
    """What they are cut into."""

    def __post_init__(self) -> None:
        _require(len(self.words) >= 1, "tokens", "has no words")
        _require(len(self) <= _MAX_TOKENS, "tokens", f"has {len(self)} entries; at most {_MAX_TOKENS} are allowed")
        ids = {token: place for place, token in enumerate(SPECIAL_TOKENS)}
        for place, word in enumerate(self.words, start=len(ids)):
            if type(word) is not str or not word or _NEVER_IN_WORDS.search(word):
                raise VocabularyError(f"field tokens has {word!r}, which is not a word")
            if word in ids:
                raise VocabularyError(f"field tokens has {word!r} twice")
            ids[word] = place
        object.__setattr__(self, "_ids", ids)

    @classmethod
    def build(cls, captions: Iterable[str], min_count: int) -> Vocabulary:
        """The words that occur at least `min_count` times in `captions`, which are those of the training split alone.

        Ordered by falling count, words of equal count by code point: the same captions, in any order, give the same
        vocabulary. Raises `VocabularyError` when no word is frequent enough.
        """
        return cls.from_counts(count_words(captions), min_count)

    @classmethod
    def from_counts(cls, counts: Counter[str], min_count: int) -> Vocabulary:
        """The same of words that are counted already."""
        kept = [word for word, count in counts.items() if count >= min_count]
        if not kept:
            raise VocabularyError(
                f"no word occurs {min_count} times in the training captions; lower --min-count or add captions"
            )
        return cls(tuple(sorted(kept, key=lambda word: (-counts[word], word))))

    def extended(self, captions: Iterable[str], min_count: int) -> Vocabulary:
        """These words with their ids, and behind them the words of `captions` that `build` would take and are not here.

        With no new word it is the same vocabulary.
        """
        counts = Counter(word for caption in captions for word in split_words(caption) if word not in self._ids)
        new = sorted((word for word, count in counts.items() if count >= min_count), key=lambda w: (-counts[w], w))
        return Vocabulary((*self.words, *new))

    @property
    def special(self) -> SpecialTokens:
        """The ids of the tokens that are not words."""
        return _SPECIAL

    @property
    def pad(self) -> int:
        """Fills captions up to the length of their batch."""
        return _SPECIAL.pad

    @property
    def bos(self) -> int:
        """Begins every caption."""
        return _SPECIAL.bos

    @property
    def eos(self) -> int:
        """Ends every caption."""
        return _SPECIAL.eos

    @property
    def unk(self) -> int:
        """Stands for words that are not here."""
        return _SPECIAL.unk

    def __len__(self) -> int:
        """How many ids there are, those of the special tokens included."""
        return len(SPECIAL_TOKENS) + len(self.words)

    def encode(self, text: str) -> list[int]:
        """The ids of the words of a caption, without begin and end; `unk` for words that are not here."""
        return [self._ids.get(word, _SPECIAL.unk) for word in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The words with these ids, with spaces between them; special tokens are left out.

        Raises `VocabularyError` when an id is out of range.
        """
        said = []
        for token in ids:
            if not 0 <= token < len(self):
                raise VocabularyError(
                    f"token id {token} is out of range; this vocabulary has the ids 0 to {len(self) - 1}: are model "
                    "and vocabulary of the same bundle?"
                )
            if token >= len(SPECIAL_TOKENS):
                said.append(self.words[token - len(SPECIAL_TOKENS)])
        return self._join(said)

    def split(self, text: str) -> list[str]:
        """The pieces of a caption: one for each id of `encode`, also those that are not here."""
        return split_words(text)

    def _join(self, said: list[str]) -> str:
        return " ".join(said)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of all that gives ids their meaning; weights are refused with any other."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """What `vocabulary.json` holds; the place of a token in the list is its id."""
        return {"format": FORMAT, "rules": self.rules, "tokens": [*SPECIAL_TOKENS, *self.words]}

    @staticmethod
    def from_json(data: object) -> Vocabulary:
        """The mirror of `to_json`, for either kind. Raises `VocabularyError` that names the field which is wrong."""
        if not isinstance(data, dict) or data.keys() - {"merges"} != {"format", "rules", "tokens"}:
            raise VocabularyError("a vocabulary is a JSON object with the fields format, rules and tokens")
        version, rules, tokens = data["format"], data["rules"], data["tokens"]
        _require(type(version) is int and version >= 1, "format", f"is {version!r}; expected {FORMAT}")
        _require(version <= FORMAT, "format", f"is {version}, newer than this captioner reads; upgrade captioner")
        expected = f"{RULES!r} or {SUBWORD_RULES!r}"
        known = rules in (RULES, SUBWORD_RULES)
        _require(known, "rules", f"is {rules!r}, which this captioner does not know; expected {expected}")
        _require(("merges" in data) == (rules == SUBWORD_RULES), "merges", f"goes with the rules {SUBWORD_RULES} alone")
        _require(isinstance(tokens, list), "tokens", "is not a list")
        beginning = tuple(tokens[: len(SPECIAL_TOKENS)])
        _require(beginning == SPECIAL_TOKENS, "tokens", "does not begin with " + " ".join(SPECIAL_TOKENS))
        entries = tuple(tokens[len(SPECIAL_TOKENS) :])
        if rules == RULES:
            return Vocabulary(entries)
        from captioner.text.subwords import SubwordVocabulary  # only for captioners that have them

        _require(isinstance(data["merges"], list), "merges", "is not a list")
        return SubwordVocabulary(entries, tuple(data["merges"]))

    def save(self, path: Path) -> None:
        """Write `vocabulary.json`, one token a line, whole or not at all.

        Raises `VocabularyError` when it cannot be written.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise VocabularyError(f"cannot write the vocabulary {path}: {error.strerror}") from error
        finally:
            if temporary.exists():
                temporary.unlink()

    @staticmethod
    def load(path: Path) -> Vocabulary:
        """Read what `save` wrote, of either kind.

        Raises `VocabularyError` when it is missing, damaged or of a newer format.
        """
        try:
            size = path.stat().st_size
            if size > _MAX_BYTES:
                raise VocabularyError(f"the vocabulary {path} has {size} bytes; at most {_MAX_BYTES} are allowed")
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise VocabularyError(f"cannot read the vocabulary {path}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise VocabularyError(f"the vocabulary {path} is damaged: it is not JSON in UTF-8") from error
        try:
            return Vocabulary.from_json(data)
        except VocabularyError as error:
            raise VocabularyError(f"the vocabulary {path} cannot be used: {error.message}") from error


def count_words(captions: Iterable[str]) -> Counter[str]:
    """How often each word occurs. Raises `VocabularyError` when there is none."""
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(split_words(caption))
    if not counts:
        raise VocabularyError("there are no words in the training captions; check that the data set has captions")
    return counts


def _require(condition: bool, name: str, problem: str) -> None:
    if not condition:
        raise VocabularyError(f"field {name} {problem}")
