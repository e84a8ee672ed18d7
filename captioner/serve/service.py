"""One service: its workers, its queue, its limits, and how it begins and ends. Knows nothing of routes."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from captioner.errors import CaptionerError
from captioner.serve.access import Access
from captioner.serve.batcher import Batcher, Job, Places
from captioner.serve.limits import Limits
from captioner.serve.log import Log
from captioner.serve.metrics import Metrics
from captioner.serve.problems import CLIENT_LEFT, Problem, busy, of_error
from captioner.serve.uploads import Budget
from captioner.serve.workers import WorkerPool

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Service:
    """What all requests share."""

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        workers: int,
        limits: Limits,
        access: Access,
        log: Log,
        options: dict[str, Any] | None = None,
    ) -> None:
        """`folders`: bundles that write together. `options`: for decoding, where a request has none of its own."""
        self.folders, self.limits, self.access, self.log = folders, limits, access, log
        self.options = options or {}
        """Options of decoding for all requests that do not say otherwise."""
        self.metrics = Metrics()
        self.batcher = Batcher()
        self.pool = WorkerPool(folders, workers, limits, self.batcher, log)
        self.places = Places(workers + limits.queue)
        self.budget = Budget(limits.buffered_bytes)
        self.is_draining = False
        """Whether it was told to stop."""
        self.connections: Callable[[], int] = lambda: 0
        """How many are open."""
        self.reading = 0
        """Requests whose bodies are being read."""
        self.batcher.are_more_coming = lambda: self.reading > 0
        self.pool.on_batch = self.metrics.batches.observe

    @property
    def is_ready(self) -> bool:
        """Whether it takes work."""
        return bool(self.pool.ready) and not self.is_draining

    @staticmethod
    def new_request_id(asked: str = "") -> str:
        """The client's own id where it is sane, or a new one."""
        return asked if _SANE_ID.fullmatch(asked) else secrets.token_hex(8)

    def check_open(self) -> None:
        """Raise Problem when no more work is taken now; before a body is read, as what has begun is finished."""
        if self.is_draining:
            raise Problem(503, "draining", "the service is stopping", headers={"retry-after": "5"})
        if not self.pool.was_ready.is_set():
            raise Problem(503, "not_ready", "the captioner is being loaded", headers={"retry-after": "1"})
        if not self.places.are_free:
            raise busy()

    async def work(
        self, head: dict[str, Any], pictures: Sequence[bytes], gone: Callable[[], Awaitable[None]]
    ) -> list[dict[str, Any]]:
        """What workers answer for each picture, in order.

        Args:
            head: the job; requests with equal ones are batched together.
            pictures: encoded.
            gone: returns when the client has left.

        Raises:
            Problem: the queue is full, the client has left, or a worker failed.
        """
        if not self.places.are_free:  # they were taken while its body came
            raise busy()
        loop = asyncio.get_running_loop()
        key = tuple(sorted((name, repr(value)) for name, value in head.items()))
        alone = head["job"] != "caption"
        jobs = [Job(key, head, picture, loop.create_future(), alone) for picture in pictures]
        with self.places.one():
            self.batcher.put(jobs)
            answers = asyncio.gather(*(job.result for job in jobs))
            leaving = asyncio.ensure_future(gone())
            try:
                await asyncio.wait((answers, leaving), return_when=asyncio.FIRST_COMPLETED)
                if not answers.done():
                    raise Problem(CLIENT_LEFT, "client_left", "the client has left")
                return list(answers.result())
            except CaptionerError as error:
                raise of_error(error) from None
            finally:
                leaving.cancel()
                answers.cancel()  # and with it what is still waiting: it is dropped from the queue
                for job in jobs:
                    job.result.cancel()
