"""Scores as a table for people: a line a metric, a column a set of captions, the protocol once below.

Knows how scores look, not how they are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from captioner.types import Score


def format_table(columns: Mapping[str, Sequence[Score]]) -> str:
    """One line a metric: its name and its value to one decimal in each column, with its interval where it has one.

    `columns`: scores by heading, for example `test, greedy`; a column may lack a metric. What all signatures share
    stands once, below; what only some have stands behind it by name.
    """
    names = list(dict.fromkeys(score.name for scores in columns.values() for score in scores))
    found = {(heading, score.name): score for heading, scores in columns.items() for score in scores}
    cells = {heading: [_cell(found.get((heading, name))) for name in names] for heading in columns}
    widths = {heading: max(map(len, [heading, *column])) for heading, column in cells.items()}
    left = max(map(len, names), default=0)
    lines = ["  ".join([" " * left, *(f"{heading:>{widths[heading]}}" for heading in columns)])]
    for row, name in enumerate(names):
        values = [f"{cells[heading][row]:>{widths[heading]}}" for heading in columns]
        lines.append("  ".join([f"{name:<{left}}", *values]).rstrip())
    return "\n".join([*lines, *_protocol(columns)])


def _cell(score: Score | None) -> str:
    if score is None:
        return ""
    if score.interval is None:
        return f"{score.value:.1f}"
    low, high = score.interval
    return f"{score.value:.1f} ({low:.1f} to {high:.1f})"


def _protocol(columns: Mapping[str, Sequence[Score]]) -> list[str]:
    """The signatures in few lines: what all share, how many references each column has, and what is left by metric."""
    scores = [score for column in columns.values() for score in column]
    fields = {score.signature: score.signature.split("|")[1:] for score in scores if "|" in score.signature}
    shared = [field for field in next(iter(fields.values()), []) if all(field in each for each in fields.values())]
    lines = [f"protocol: {'|'.join(shared)}"] if shared else []
    references: dict[str, list[str]] = {}
    own: dict[str, list[str]] = {}
    for heading, column in columns.items():
        for score in column:
            rest = [field for field in fields.get(score.signature, [score.signature]) if field not in shared]
            counts = [field for field in rest if field.startswith("refs:")]
            _note(references, "|".join(counts), heading)
            _note(own, "|".join(field for field in rest if field not in counts), score.name)
    lines += [f"  {', '.join(headings)}: {field}" for field, headings in references.items()]
    lines += [f"  {', '.join(names)}: {rest}" for rest, names in own.items()]
    if any(score.interval for score in scores):
        lines.append("in brackets: 95 % interval, bootstrap over pictures")
    return lines


def _note(groups: dict[str, list[str]], key: str, name: str) -> None:
    if key and name not in groups.setdefault(key, []):
        groups[key].append(name)
