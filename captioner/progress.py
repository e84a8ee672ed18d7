"""A line on stderr that says how far long work has come; nothing where nobody is looking. Needs no library."""

from __future__ import annotations

import sys
import time
from types import TracebackType

_EVERY = 0.2  # seconds between two lines


class Progress:
    """Counts what is done: `with Progress("looking at pictures", 100, " pictures") as progress: progress.advance(1)`.

    Args:
        what: is being done.
        total: how much there is to do; 0 when nobody knows.
        unit: of what is counted, with the blank before it.
    """

    def __init__(self, what: str, total: int, unit: str = "") -> None:
        self.total = total
        """How much there is to do; may change, as it is found out."""
        self._what, self._unit = what, unit
        self._done = 0
        self._began = time.monotonic()
        self._told = 0.0
        self.is_shown = sys.stderr is not None and sys.stderr.isatty()
        """Whether somebody is looking."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_shown and self._told:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def advance(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        now = time.monotonic()
        if not self.is_shown or now - self._told < _EVERY or now - self._began < _EVERY:
            return
        self._told = now
        rate = self._done / (now - self._began)
        text = f"  {self._what}: {self._done:,}"
        if self.total:
            left = max(0, self.total - self._done) / rate
            text += f" of {self.total:,}{self._unit}, {rate:,.0f}/s, {_duration(left)} left"
        else:
            text += f"{self._unit}, {rate:,.0f}/s"
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
