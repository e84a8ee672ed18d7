"""The log of the service: one line a request on stderr, and now and then a summary of what went wrong.

Lines hold no bytes of pictures, and nothing that a client sent goes into one unescaped. Knows nothing of routes.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from captioner.errors import printable

SUMMARY_SECONDS = 10.0
"""A summary covers so many seconds at least."""
_LONGEST_TARGET = 200


class Log:
    """Where lines go."""

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        """`quiet` leaves out the lines of requests; summaries and notes stay."""
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._errors: Counter[str] = Counter()
        self._since = time.monotonic()

    def request(self, method: str, target: str, status: int, seconds: float, request_id: str, code: str = "") -> None:
        """A request has ended."""
        if not self._quiet:
            if len(target) > _LONGEST_TARGET:
                target = target[:_LONGEST_TARGET] + "…"
            what = f" {code}" if code else ""
            self._write(f"{status} {method} {target} {1000 * seconds:.0f} ms{what} id={request_id}")
        if status >= 400:
            self._since = self._since if self._errors else time.monotonic()
            self._errors[f"{status} {code}".strip()] += 1
        self.summarise()

    def note(self, text: str) -> None:
        """Something happened that is no request."""
        self._write(text)

    def summarise(self, *, now: bool = False) -> None:
        """Say how many requests failed and why, when there were any and the last summary is old enough."""
        passed = time.monotonic() - self._since
        if not self._errors or (passed < SUMMARY_SECONDS and not now):
            return
        counts = ", ".join(f"{number} × {what}" for what, number in self._errors.most_common(8))
        self._write(f"refused or failed in the last {passed:.0f} s: {counts}")
        self._errors.clear()

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads it: the service goes on
            print(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), printable(text), file=self._stream, flush=True)


class OneLine(logging.Handler):
    """What libraries log, from warnings up, as notes of one line."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        text = record.getMessage().strip()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            text += f": {type(error).__name__}: {error}"
        self._log.note(f"{record.name}: {text}")


def place_of(error: BaseException) -> str:
    """Where an error was raised, as file and line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
