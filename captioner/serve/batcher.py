"""Dynamic micro-batching: requests that wait are worked on together, as far as they want the same.

A batch is taken when a worker has nothing to do; batches grow by themselves while all are busy, and nobody waits for
company who is alone (adaptive batching as in Clipper, Crankshaw et al. 2017, section 4.3, with a fixed largest size).
Knows nothing of HTTP, and nothing of what a worker is.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

BATCH = 4
"""Pictures that a worker gets together: more of them were no quicker, and the last ones wait longer."""
LINGER_SECONDS = 0.002
"""How long a batch that is not full waits for requests whose bodies are being read just now."""


@dataclass(eq=False)
class Job:
    """One picture's work.

    Args:
        key: jobs of equal keys may be worked on together.
        head: what a worker is told of it; the same for all jobs of a key.
        picture: the encoded picture.
        result: what comes of it, or a CaptionerError; cancelled when nobody wants it any more.
        alone: whether it must have a batch for itself.
        tries: how often it was given to a worker that died over it.
    """

    key: Hashable
    head: dict[str, Any]
    picture: bytes
    result: asyncio.Future[dict[str, Any]]
    alone: bool = False
    tries: int = 0
    arrived: float = field(default_factory=time.monotonic)


class Batcher:
    """The queue in front of the workers, in order of arrival."""

    def __init__(self, *, size: int = BATCH, linger: float = LINGER_SECONDS) -> None:
        self.size = size
        """The most jobs in a batch."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when there may be a batch to take."""
        self.are_more_coming: Callable[[], bool] = lambda: False
        """Whether other requests are about to be put in."""
        self._linger = linger
        self._jobs: deque[Job] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(not job.result.done() for job in self._jobs)

    def put(self, jobs: Sequence[Job]) -> None:
        """Add jobs at the end."""
        self._jobs.extend(jobs)
        self.on_change()

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Add jobs at the front, which were taken before."""
        self._jobs.extendleft(reversed(jobs))
        self.on_change()

    def drop(self) -> list[Job]:
        """Take out all jobs that are still wanted."""
        left = [job for job in self._jobs if not job.result.done()]
        self._jobs.clear()
        return left

    def take(self, *, only_full: bool = False) -> list[Job]:
        """The next batch: the oldest job, and those of its key behind it; none when there is no reason to start yet.

        Args:
            only_full: only one of the largest size, for a worker that is still busy with another.
        """
        while self._jobs and self._jobs[0].result.done():  # nobody waits for it any more
            self._jobs.popleft()
        if not self._jobs:
            return []
        batch = self._first_batch()
        is_full = len(batch) == self.size or batch[0].alone
        if not is_full and (only_full or self._waits_for_more(batch[0])):
            return []
        taken = set(map(id, batch))
        self._jobs = deque(job for job in self._jobs if id(job) not in taken)
        return batch

    def _first_batch(self) -> list[Job]:
        first = self._jobs[0]
        if first.alone:
            return [first]
        batch = []
        for job in self._jobs:
            if job.key == first.key and not job.alone and not job.result.done():
                batch.append(job)
                if len(batch) == self.size:
                    break
        return batch

    def _waits_for_more(self, first: Job) -> bool:
        left = first.arrived + self._linger - time.monotonic()
        if left <= 0 or not self.are_more_coming():
            return False
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(left, self._linger_is_over)
        return True

    def _linger_is_over(self) -> None:
        self._timer = None
        self.on_change()


class Places:
    """How many requests are in the service: workers and queue together have so many places, and no more."""

    def __init__(self, places: int) -> None:
        self.places = places
        """How many there are."""
        self.taken = 0
        """How many are taken."""

    @property
    def are_free(self) -> bool:
        """Whether one more request is let in."""
        return self.taken < self.places

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place, which the caller has seen to be free."""
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
