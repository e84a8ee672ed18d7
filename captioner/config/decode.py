"""The options of decoding, apart from those of a build: a finished captioner needs no others, and starts sooner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from captioner.config.checks import check_types, require
from captioner.errors import ConfigError

MAX_BEAM = 100
MAX_LENGTH = 1000
"""Longest caption in tokens, the end token counted."""


@dataclass(frozen=True)
class DecodeConfig:
    """How captions are searched for.

    Args:
        beam: captions kept side by side while searching; 1 is greedy.
        n_best: candidates returned for each picture, best first; at most `beam`.
        max_length: captions end after this many tokens at the latest, the end token counted.
        min_length: the end token is not allowed before this many words.
        length_penalty: candidates are ranked by log-probability divided by length to this power (Wu et al. 2016,
            arXiv 1609.08144, without the constant); 0 ranks by log-probability alone.
        no_repeat_ngram: no run of this many words occurs twice in a caption; 0 allows repeats.
        groups: search in so many groups that avoid one another's words, `beam` / `groups` captions in each, for
            candidates that differ (diverse beam search, Vijayakumar et al. 2018).
        diversity: what a word loses in log-probability for each time that an earlier group has chosen it at this place.
        temperature: 0 searches for the most probable captions; above 0 captions are drawn at random, at 1 as often as
            the model finds them probable, below 1 more of the probable ones.
        top_k: draw each word from so many of the most probable ones only; 0 from all.
        top_p: draw each word from the fewest of the most probable ones that have together this share; 1 from all.
        seed_of_draws: of the drawing; the same seed draws the same captions.
    """

    beam: int = 3
    n_best: int = 1
    max_length: int = 30
    min_length: int = 0
    length_penalty: float = 0.7
    no_repeat_ngram: int = 3
    groups: int = 1
    diversity: float = 0.5
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed_of_draws: int = 1

    def __post_init__(self) -> None:
        check_types(self)
        require(1 <= self.n_best <= MAX_BEAM, "n_best", self.n_best, f"1 to {MAX_BEAM}")
        require(1 <= self.beam <= MAX_BEAM, "beam", self.beam, f"1 to {MAX_BEAM}")
        if self.temperature == 0:
            require(self.n_best <= self.beam, "n_best", self.n_best, f"1 to the beam size, {self.beam}")
        require(
            self.groups >= 1 and self.beam % self.groups == 0,
            "groups",
            self.groups,
            f"a divisor of the beam size, {self.beam}",
        )
        require(0 <= self.diversity <= 1000, "diversity", self.diversity, "0 to 1000")
        require(0 <= self.temperature <= 100, "temperature", self.temperature, "0 (search) to 100")
        require(self.top_k >= 0, "top_k", self.top_k, "0 (all words) or more")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "more than 0, at most 1")
        require(0 <= self.seed_of_draws < 2**32, "seed_of_draws", self.seed_of_draws, "0 to 4294967295")
        require(1 <= self.max_length <= MAX_LENGTH, "max_length", self.max_length, f"1 to {MAX_LENGTH} tokens")
        longest = self.max_length
        require(0 <= self.min_length <= longest, "min_length", self.min_length, f"0 to max_length, {longest}")
        require(0 <= self.length_penalty <= 10, "length_penalty", self.length_penalty, "0 to 10")
        require(self.no_repeat_ngram >= 0, "no_repeat_ngram", self.no_repeat_ngram, "0 (off) or more")

    def changed(self, options: Mapping[str, Any]) -> DecodeConfig:
        """This, with other values for the fields that `options` names. Raises ConfigError, also for unknown names."""
        valid = [field.name for field in fields(self)]
        for name in options:
            if name not in valid:
                raise ConfigError(f"there is no option {name!r} for decoding; the options are {', '.join(valid)}")
        return replace(self, **options)
