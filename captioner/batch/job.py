"""A job: pictures from a source, captions into a sink, until all are done. It may be stopped at any time, and goes on.

What the sink has, and what failed before, is not tried again. Captions are handed to the sink a few at a time, in the
order of the source; each of them is safe as soon as the sink has it. A picture that cannot be captioned is logged, and
the others go on. Knows no kind of source or sink.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from captioner.batch.failures import Failures
from captioner.batch.keys import Keys
from captioner.batch.lock import locked
from captioner.batch.sinks.base import Sink
from captioner.batch.sources import Source
from captioner.batch.work import Item, Outcome, UnsureError, outcome_of
from captioner.errors import CaptionerError
from captioner.progress import Progress
from captioner.runtime.captioner import BATCH, Captioner

_SETTLED = 2.0
"""Seconds without a change after which a file is taken to be whole."""
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Plan:
    """How a job is done."""

    workers: int = 1
    """Batches that are captioned side by side."""
    retry: str = "changed"
    """Which failures of earlier runs are tried again, one of `failures.RETRIES`."""
    min_confidence: float = 0.0
    """Captions that are acceptable with a lower probability are withheld."""
    settled: bool = False
    """Whether files that changed in the last seconds are left for the next run: they may be half copied."""
    options: dict[str, Any] = field(default_factory=dict)
    """How captions are searched for, as `Captioner.caption` takes it."""
    tell: Callable[[str], None] = lambda _: None
    """Is told of what is left out, in one line each."""


@dataclass
class Summary:
    """What became of the pictures of one run."""

    captioned: int = 0
    """Have a caption now that had none before."""
    there: int = 0
    """Had one."""
    failed_before: int = 0
    """Failed in an earlier run, and were not tried again."""
    failed: Counter[str] = field(default_factory=Counter)
    """Failed now, by the code of the error."""
    unsure: int = 0
    """Have no caption because none was sure enough."""
    left_out: int = 0
    """Links, special files and folders that cannot be read."""

    @property
    def status(self) -> int:
        """The exit status: 0 when every picture has a caption, or was to have none; 1 when some failed."""
        return 1 if self.failed or self.failed_before else 0


def failures_of(papers: Path) -> Path:
    """The log of failures of a job whose own files' names begin with `papers`."""
    return papers.with_name(f"{papers.name}.failures.jsonl")


def run_job(source: Source, captioner: Captioner, sink: Sink, plan: Plan) -> Summary:
    """Caption what has no caption yet, and say what became of it.

    Raises:
        CaptionerError: another job writes there, or the output cannot be written; what it has is safe, and the same job
            goes on from there.
        ConfigError: an option is out of range.
    """
    captioner.check_options(**plan.options)
    with ExitStack() as stack:
        failures = None
        if sink.papers is not None:
            stack.enter_context(locked(sink.papers.with_name(f"{sink.papers.name}.lock")))
        stack.enter_context(_opened(sink))
        if sink.papers is not None:
            log, by = failures_of(sink.papers), _identity(captioner, plan.options)
            failures = Failures(log, sink.place, by, retry=plan.retry, min_confidence=plan.min_confidence)
            stack.enter_context(failures)
        return _Run(source, captioner, sink, failures, plan).run()


def _identity(captioner: Captioner, options: Mapping[str, Any]) -> str:
    """What tells a captioner and its options from others."""
    return hashlib.sha256(json.dumps([captioner.fingerprint, options], sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def _opened(sink: Sink) -> Iterator[None]:
    """A sink, entered and exited; what the system refuses is said in words."""
    _in_words(sink.__enter__, sink.place)
    try:
        yield
    except BaseException as error:
        sink.__exit__(type(error), error, error.__traceback__)
        raise
    _in_words(lambda: sink.__exit__(None, None, None), sink.place)


def _in_words(work: Callable[[], _Result], place: str) -> _Result:
    """Do it, and say what a person can do when the system refuses."""
    try:
        return work()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CaptionerError(
            f"cannot write {place}: {error.strerror or error}; what is there is whole, and the same command goes on",
            code="output",
        ) from None


class _Run:
    """One run over a source, with everything open."""

    def __init__(self, source: Source, captioner: Captioner, sink: Sink, failures: Failures | None, plan: Plan) -> None:
        self._source, self._captioner, self._plan = source, captioner, plan
        self._sink, self._failures = sink, failures
        self._summary = Summary()
        self._waiting: deque[Item] = deque()

    def run(self) -> Summary:
        """Do all that is left to do."""
        results = self._captioner.iter_results(
            (item.source for item in self._left_to_do()), workers=self._plan.workers, **self._plan.options
        )
        outcomes: list[Outcome] = []
        # Closed here, and not by whichever thread happens to clear up: its threads wait for one another.
        with (
            closing(cast("Generator[object]", results)),
            Progress("captioning", 0, " pictures") as progress,
            ExitStack() as stack,
        ):
            count = None
            if progress.is_shown and self._source.can_be_asked_again:
                count = stack.enter_context(_Count(self._source))
            for result in results:
                outcomes.append(outcome_of(self._waiting.popleft(), result, self._plan.min_confidence))
                if len(outcomes) == BATCH:
                    self._write(outcomes)
                    outcomes = []
                if count is not None and count.is_whole:
                    progress.total = max(0, count.items - self._summary.there - self._summary.failed_before)
                progress.advance()
            self._write(outcomes)
        return self._summary

    def _left_to_do(self) -> Iterator[Item]:
        """The items that are to be captioned; each is also put among those that wait for their result."""
        met = Keys()
        for item in self._source.items(self._leave_out):
            if item.key in met:
                continue
            met.add(item.key)
            if self._sink.has(item):
                self._summary.there += 1
                if self._failures is not None:
                    self._failures.forget(item)
            elif self._failures is not None and self._failures.has(item):
                if self._failures.is_unsure(item):
                    self._summary.unsure += 1
                else:
                    self._summary.failed_before += 1
            elif not (self._plan.settled and _is_new(item)):
                self._waiting.append(item)
                yield item

    def _leave_out(self, path: str, reason: str) -> None:
        self._summary.left_out += 1
        self._plan.tell(f"{path}: {reason}; left out")

    def _write(self, outcomes: list[Outcome]) -> None:
        good = [outcome for outcome in outcomes if not isinstance(outcome.result, CaptionerError)]
        refused = _in_words(lambda: self._sink.write(good), self._sink.place) if good else ()
        bad = [outcome for outcome in outcomes if isinstance(outcome.result, CaptionerError)]
        if self._failures is not None:
            self._log(self._failures, bad, refused)
        self._summary.captioned += len(good) - len(refused)
        if self._failures is not None:
            unwritten = {outcome.item.key for outcome in refused}
            for outcome in good:
                if outcome.item.key not in unwritten:
                    self._failures.forget(outcome.item)
        for outcome in (*bad, *refused):
            assert isinstance(outcome.result, CaptionerError)
            if isinstance(outcome.result, UnsureError):
                self._summary.unsure += 1
                continue
            self._summary.failed[outcome.result.code] += 1
            self._plan.tell(outcome.result.message)

    def _log(self, failures: Failures, bad: Sequence[Outcome], refused: Sequence[Outcome]) -> None:
        def write() -> None:
            failures.write(bad)
            failures.write(refused, of_output=True)

        _in_words(write, str(failures.path))


def _is_new(item: Item) -> bool:
    """Whether an item's file changed within the last seconds."""
    try:
        return bool(item.path) and time.time() - Path(item.path).stat().st_mtime < _SETTLED
    except OSError:
        return False


class _Count:
    """Counts the items of a source in a thread beside the work, so that the time that is left can be told."""

    def __init__(self, source: Source) -> None:
        self.items = 0
        """So many, when `is_whole`."""
        self.is_whole = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(source,), daemon=True)

    def __enter__(self) -> _Count:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self, source: Source) -> None:
        with suppress(CaptionerError, OSError):  # the job itself is told of it
            for _ in source.items(lambda path, reason: None):
                if self._stopped.is_set():
                    return
                self.items += 1
            self.is_whole = True
