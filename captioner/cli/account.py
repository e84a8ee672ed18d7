"""What jobs tell on stderr: the first reasons one by one, and what the others failed of. Knows no kind of job."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable

from captioner.errors import printable

_SHOWN = 20
"""Pictures that are left out or failed are named; after so many only the log has them."""


def teller() -> Callable[[str], None]:
    """Prints the first lines that it is given, then that there are more, then nothing."""
    told = 0

    def tell(line: str) -> None:
        nonlocal told
        told += 1
        if told <= _SHOWN:
            print(printable(line), file=sys.stderr)
        elif told == _SHOWN + 1:
            print("… and more, which are only counted here", file=sys.stderr)

    return tell


def failures_in_words(failed: Counter[str], log: object) -> str:
    """How many failed, by the code of the error; `log` names them all, None when none is kept."""
    reasons = ", ".join(f"{count:,} × {code}" for code, count in failed.most_common())
    where = "" if log is None else f", in {log}"
    return f"{failed.total():,} failed ({reasons}{where})"
