"""What sinks share that write into people's own files: what is there, what becomes of it, where changes are noted.

    .captioner.journal.jsonl    in the folder of the job: every change, for `--undo`
    .captioner.job.json         see `under_way`

Knows no kind of file.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from captioner.batch.changes import OF_ONE_FILE, Journal
from captioner.batch.keys import Keys
from captioner.batch.sinks.under_way import UnderWay
from captioner.batch.work import Item, Outcome
from captioner.errors import CaptionerError

EXISTING = ("skip", "overwrite", "append", "prepend")
"""What becomes of a caption that is there: it stays; it is replaced; the new one comes behind it, or before."""
_IN_WORDS = {"skip": "", "overwrite": ", written over", "append": ", appended", "prepend": ", put before"}
"""The same as the end of what is said of a place. It is part of the place: what fails one way may not fail another."""
PAPERS = ".captioner"
JOURNAL = f"{PAPERS}.journal.jsonl"


class OwnFiles:
    """A `Sink` that changes or makes one file for each picture."""

    def __init__(self, folder: Path, place: str, existing: str, facts: Mapping[str, Any] | None) -> None:
        """Write into files below `folder`.

        Args:
            folder: where the job's own files are.
            place: where captions go, for a person.
            existing: one of `EXISTING`.
            facts: what tells the job from others, see `UnderWay`.
        """
        self.place = f"{place}{_IN_WORDS[existing]}"
        self.papers = folder / PAPERS
        self.existing = existing
        self._folder_of_papers = folder
        self._done = Keys()
        self._note = UnderWay(self.papers, {"place": self.place, **(facts or {})})

    @abstractmethod
    def is_captioned(self, item: Item) -> bool:
        """Whether the picture has a caption where this sink puts it. Raises `CaptionerError` when it can have none."""

    @abstractmethod
    def write_one(self, outcome: Outcome, journal: Journal, **notes: str) -> None:
        """Write one caption by way of the journal. Raises `CaptionerError` or OSError when that cannot be."""

    def __enter__(self) -> OwnFiles:
        self._folder_of_papers.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(self._folder_of_papers / JOURNAL)
        self._job = ""
        if self.existing == "skip":
            self._note.end()  # whatever was under way: this job finishes it in its own way
        else:
            self._job = self._begin_or_go_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        self._journal.__exit__()
        if kind is None:
            self._note.end()

    def peek(self) -> Callable[[Item], bool]:
        """See `Sink.peek`."""
        return self.has

    def has(self, item: Item) -> bool:
        """See `Sink.has`."""
        if self.existing != "skip":
            return item.key in self._done
        try:
            return self.is_captioned(item)
        except (CaptionerError, OSError):
            return False  # writing says what is wrong

    def write(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """See `Sink.write`."""
        refused = []
        for outcome in outcomes:
            try:
                self.write_one(outcome, self._journal, key=json.dumps(outcome.item.key), job=self._job)
            except OSError as error:
                if error.errno not in OF_ONE_FILE:
                    raise
                refused.append(Outcome(outcome.item, _unwritable(outcome.item, error)))
            except CaptionerError as error:
                refused.append(Outcome(outcome.item, error))
            else:
                self._done.add(outcome.item.key)
        return refused

    def _begin_or_go_on(self) -> str:
        """The name of the job: that of one that was killed, whose finished pictures are left alone, or a new one."""
        job = self._note.stopped_job()
        if job:
            self._take_up(job)
            return job
        return self._note.begin()

    def _take_up(self, job: str) -> None:
        """Note which pictures a killed job has finished; of its last change it is not known whether it was made."""
        is_last = True
        for target, fields in self._journal.last_first():
            if fields.get("job") != job:
                return
            if not is_last or self._journal.was_made(target, fields):
                self._done.add(json.loads(fields["key"]))
            is_last = False


def _unwritable(item: Item, error: OSError) -> CaptionerError:
    message = f"{item.source.name}: its caption cannot be written ({error.strerror}); check names and permissions"
    return CaptionerError(message, code="unwritable")
