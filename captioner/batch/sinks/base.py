"""What every sink offers. Knows no kind of output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from captioner.batch.work import Item, Outcome


class Sink(AbstractContextManager["Sink"], Protocol):
    """Takes captions, and keeps them safe: what `write` has taken survives a kill of the process right after it.

    Made for one output and entered before anything else: that is when the output is opened, what a killed job left half
    written is repaired, and what is in it already is found. Entering raises `CaptionerError` when the output cannot be
    written.
    """

    @property
    def place(self) -> str:
        """Where captions go, for a person."""
        ...

    @property
    def papers(self) -> Path | None:
        """What the names of the job's own files begin with: its lock and its log of failures lie beside the output.

        None where nothing is kept.
        """
        ...

    def peek(self) -> Callable[[Item], bool]:
        """What `has` would say, without entering: nothing is opened for writing, made or mended."""
        ...

    def has(self, item: Item) -> bool:
        """Whether the item was dealt with before, and is to be left alone."""
        ...

    def write(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Take captions, in order; none of them is an error.

        Returns those that it could not take because of their pictures' own files, with the error in place of the
        caption. Raises `CaptionerError` or OSError when it cannot take any.
        """
        ...
