"""An output that is begun anew: emptied once for each job, and not again when that was stopped and goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from captioner.batch.sinks.base import Sink
from captioner.batch.sinks.under_way import UnderWay
from captioner.batch.work import Item, Outcome


class Anew:
    """See `Sink`."""

    def __init__(self, make: Callable[[bool], Sink], papers: Path, existing: str, facts: Mapping[str, Any]) -> None:
        """Wrap an output.

        Args:
            make: the output, emptied when it is entered or as it is.
            papers: what the names of the job's own files begin with.
            existing: `overwrite` begins anew, `skip` never does.
            facts: what the job is asked for.
        """
        self._make, self._sink = make, make(existing == "overwrite")
        self._is_to_begin = existing == "overwrite"
        self._note = UnderWay(papers, facts)
        self.place, self.papers = self._sink.place, self._sink.papers

    def __enter__(self) -> Anew:
        goes_on = self._is_to_begin and bool(self._note.stopped_job())
        if goes_on:
            self._sink = self._make(False)
        self._sink.__enter__()
        try:
            if not self._is_to_begin:
                self._note.end()  # whatever was under way: this job finishes it in its own way
            elif not goes_on:
                self._note.begin()  # not before it is empty: else a kill in between would keep what was to go
        except OSError:
            self._sink.__exit__(None, None, None)
            raise
        self._is_to_begin = False  # entered again, as when a folder is watched, it goes on
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        self._sink.__exit__(kind, *error)
        if kind is None:
            self._note.end()

    def peek(self) -> Callable[[Item], bool]:
        """See `Sink.peek`."""
        return self._sink.peek()

    def has(self, item: Item) -> bool:
        """See `Sink.has`."""
        return self._sink.has(item)

    def write(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """See `Sink.write`."""
        return self._sink.write(outcomes)
