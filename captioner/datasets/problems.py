"""What can be wrong with a data set: problems, gathered once each, counted, and weighed against the whole.

Knows no format: readers add what they find, later stages add pictures that turn out to be corrupt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from captioner.errors import DataError, printable

NAMES_SHOWN = 5
"""How many names of each kind a summary gives."""


class ProblemKind(StrEnum):
    """The kinds of problem; the value is how a summary names them."""

    MISSING_PICTURE = "listed picture without a file"
    MISSING_CAPTIONS = "listed picture without a caption"
    CORRUPT_PICTURE = "corrupt picture"
    IN_TWO_SPLITS = "picture in more than one split"
    CAPTION_WITHOUT_PICTURE = "caption for a picture without a file"
    EMPTY_CAPTION = "empty caption"
    UNDECODABLE_BYTES = "line that is not UTF-8"
    DUPLICATE = "listed or numbered twice"
    MALFORMED_LINE = "malformed line"


PICTURE_KINDS = frozenset(
    {
        ProblemKind.MISSING_PICTURE,
        ProblemKind.MISSING_CAPTIONS,
        ProblemKind.CORRUPT_PICTURE,
        ProblemKind.IN_TWO_SPLITS,
    }
)
"""The kinds that take a listed picture out of a split; their problems bear the image id as name."""


LINE_KINDS = frozenset({ProblemKind.UNDECODABLE_BYTES, ProblemKind.MALFORMED_LINE})
"""The kinds that lose a line whose picture nobody knows; their problems bear file and line as name."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and therefore left out."""

    name: str
    """The image id, or the file and line where there is no image."""
    kind: ProblemKind
    """What is wrong, for counting."""
    reason: str
    """What is wrong and what was done about it, in one line."""


class ProblemLog:
    """Gathers problems in the order found; a second one of the same name and kind is not taken."""

    def __init__(self, problems: Iterable[Problem] = ()) -> None:
        self._problems: dict[tuple[str, ProblemKind], Problem] = {}
        for problem in problems:
            self.add(problem)

    def add(self, problem: Problem) -> None:
        """Take a problem, unless one of this name and kind is known already."""
        self._problems.setdefault((problem.name, problem.kind), problem)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, in the order found."""
        return tuple(self._problems.values())

    @property
    def bad_pictures(self) -> frozenset[str]:
        """The ids of the listed pictures that were taken out of a split, whatever the reason."""
        return frozenset(name for name, kind in self._problems if kind in PICTURE_KINDS)

    def counts(self) -> dict[ProblemKind, int]:
        """How many problems there are of each kind that occurs, in the order of `ProblemKind`."""
        kinds = [kind for _, kind in self._problems]
        return {kind: kinds.count(kind) for kind in ProblemKind if kind in kinds}

    def summary(self) -> str:
        """One line a kind, with the count and the first few names; empty when there are no problems."""
        lines = []
        for kind, count in self.counts().items():
            names = [printable(problem.name) for problem in self.problems if problem.kind is kind]
            more = f" and {count - NAMES_SHOWN:,} more" if count > NAMES_SHOWN else ""
            lines.append(f"{count:,} × {kind}: {', '.join(names[:NAMES_SHOWN])}{more}")
        return "\n".join(lines)

    def check_lines(self, captions: int, max_bad_share: float) -> None:
        """Refuse data of which too many lines could not be read, beside so many captions that were.

        Raises:
            DataError: a greater share than `max_bad_share` was lost; the message names the first line, and why.
        """
        lost = [problem for problem in self.problems if problem.kind in LINE_KINDS]
        if len(lost) > max_bad_share * (captions + len(lost)):
            raise DataError(
                f"{len(lost):,} lines cannot be read, beside {captions:,} captions, more than the {max_bad_share:.0%} "
                f"allowed (for example {lost[0].name}: {lost[0].reason}); mend the data, as `captioner doctor` tells, "
                "or allow more with --max-bad-share"
            )

    def check(self, total: int, max_bad_share: float) -> None:
        """Refuse data of which too much is bad.

        Args:
            total: how many different pictures are listed, bad ones included.
            max_bad_share: the greatest share of them that may be bad, for example 0.05.

        Raises:
            DataError: more are bad; the message says how many of which kind, and names one.
        """
        bad = self.bad_pictures
        if len(bad) <= max_bad_share * total:
            return
        counts = "; ".join(f"{count:,} × {kind}" for kind, count in self.counts().items() if kind in PICTURE_KINDS)
        example = next(problem for problem in self.problems if problem.kind in PICTURE_KINDS)
        raise DataError(
            f"{len(bad):,} of {total:,} pictures are bad, more than the {max_bad_share:.0%} allowed ({counts}; "
            f"for example {example.name}: {example.reason}); mend the data, or allow more with --max-bad-share"
        )
