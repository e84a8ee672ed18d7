"""The workers of the service: processes that are started, given batches, watched, and started again when they die.

A batch that a worker dies over is not tried again when it is one picture: that one fails, and only that one. Of a batch
of several, each is tried once more alone, which shows whose fault it was. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import captioner
from captioner.errors import CaptionerError, ImageError
from captioner.serve import frames
from captioner.serve.batcher import Batcher, Job
from captioner.serve.limits import Limits
from captioner.serve.log import Log

DEPTH = 2
"""Batches that a worker may have: the one it works on, and a full one that it finds when it is done."""
START_SECONDS = 60.0
"""A worker that has not loaded its captioner by then is ended."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds before a worker that died while loading is started again: doubled each time."""
_TRIES = 3
"""A service whose first worker cannot be started so often ends."""
_WATCH_SECONDS = 0.25


@dataclass
class _Batch:
    jobs: list[Job]
    begun: float = field(default_factory=time.monotonic)


class Worker:
    """One worker process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self.batches: dict[int, _Batch] = {}
        """What it was given and has not answered, by number, oldest first."""
        self.is_leaving = False
        """Whether it gets no more batches."""
        self.attention = False
        """Whether its captioner can tell where it looks."""
        self._numbers = count()

    @classmethod
    async def start(cls, folders: Sequence[Path]) -> Worker:
        """Start a process. Raises CaptionerError when its captioner cannot be loaded, or it dies before."""
        root = str(Path(captioner.__file__).parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "captioner.serve.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            limit=2**20,
            start_new_session=True,  # Ctrl-C in a terminal is for the service alone
        )
        worker = cls(process)
        try:
            worker._write({"folders": [str(folder.resolve()) for folder in folders]}, [])
            async with asyncio.timeout(START_SECONDS):
                said = await frames.read_async(worker._stdout)
        except (asyncio.IncompleteReadError, ValueError, OSError, TimeoutError):
            worker.kill()
            await process.wait()
            raise CaptionerError("a worker ended before it was ready", code="worker_lost") from None
        except BaseException:
            worker.kill()
            raise
        if "failed" in said:
            await process.wait()
            raise CaptionerError(said["failed"], code=said["code"])
        worker.attention = said["attention"]
        return worker

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def give(self, jobs: list[Job]) -> None:
        """Hand it a batch of jobs with one head."""
        number = next(self._numbers)
        self.batches[number] = _Batch(jobs)
        self._write({"id": number, **jobs[0].head}, [job.picture for job in jobs])

    async def answers(self, after: Callable[[], None]) -> None:
        """Settle jobs as answers come, and call `after` for each; returns when the process says no more."""
        with suppress(asyncio.IncompleteReadError, ValueError, KeyError, OSError):
            while True:
                said = await frames.read_async(self._stdout)
                batch = self.batches.pop(said["id"])
                if self.batches:  # the next one begins only now
                    next(iter(self.batches.values())).begun = time.monotonic()
                _settle(batch.jobs, said)
                after()

    def silent_seconds(self) -> float:
        """For how long the batch that it works on has been with it."""
        oldest = next(iter(self.batches.values()), None)
        return 0.0 if oldest is None else time.monotonic() - oldest.begun

    def megabytes(self) -> float:
        """Resident memory, in 10⁶ bytes; 0 where the system does not tell."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self.process.kill()

    def close(self) -> None:
        """End it by closing its stdin."""
        with suppress(OSError, RuntimeError):
            self._stdin.close()

    def _write(self, head: dict[str, Any], parts: Sequence[bytes]) -> None:
        with suppress(OSError, RuntimeError):  # it has died; `answers` ends too
            for piece in frames.pack(head, parts):
                self._stdin.write(piece)


def _settle(jobs: Sequence[Job], said: dict[str, Any]) -> None:
    if "failed" in said:
        kind = ImageError if said.get("is_of_picture") else CaptionerError
        for job in jobs:
            fail(job, kind(said["failed"], code=said["code"]))
        return
    answers = said["captions"] if "captions" in said else [said["answer"]]
    for job, answer in zip(jobs, answers, strict=True):
        if not job.result.done():
            job.result.set_result(answer)


def fail(job: Job, error: CaptionerError) -> None:
    """End a job that is still wanted with an error."""
    if not job.result.done():
        job.result.set_exception(error)


class WorkerPool:
    """All workers, and the way from the queue to them."""

    def __init__(self, folders: Sequence[Path], number: int, limits: Limits, batcher: Batcher, log: Log) -> None:
        self._folders, self._limits, self._batcher, self._log = folders, limits, batcher, log
        self.number = number
        """How many there shall be."""
        self.restarts = 0
        """How many were started in place of others."""
        self.attention = False
        """Whether the captioner can tell where it looks."""
        self.was_ready = asyncio.Event()
        """Set when the first one is ready, or none will ever be."""
        self.failure: CaptionerError | None = None
        """Why none will ever be."""
        self.on_batch: Callable[[int], None] = lambda _: None
        """Told of the size of each batch."""
        self._workers: dict[int, Worker] = {}
        self._tasks: list[asyncio.Task[None]] = []
        batcher.on_change = self.dispatch

    @property
    def ready(self) -> list[Worker]:
        """Those that take work."""
        return [worker for worker in self._workers.values() if not worker.is_leaving]

    def start(self) -> None:
        """Start all, and go on watching them."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep_up(slot)) for slot in range(self.number)]
        self._tasks.append(loop.create_task(self._watch()))

    async def stop(self) -> None:
        """End all; what is not done is failed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for job in self._batcher.drop():
            fail(job, CaptionerError("the service is stopping", code="worker_lost"))

    def dispatch(self) -> None:
        """Give batches to workers that want one."""
        while ready := self.ready:
            worker = min(ready, key=lambda each: len(each.batches))
            if len(worker.batches) >= DEPTH:
                return
            jobs = self._batcher.take(only_full=bool(worker.batches))
            if not jobs:
                return
            worker.give(jobs)
            self.on_batch(len(jobs))

    async def _keep_up(self, slot: int) -> None:
        """Have a worker in this place, whatever happens to it."""
        pause, failed = _FIRST_PAUSE, 0
        while True:
            try:
                worker = await Worker.start(self._folders)
            except (CaptionerError, OSError) as error:
                failed += 1
                self._log.note(f"worker {slot}: cannot be started: {error}")
                self._give_up(error, failed)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self.restarts += 1
                continue
            pause, failed = _FIRST_PAUSE, 0
            self.attention = worker.attention
            self._workers[slot] = worker
            self.was_ready.set()
            try:
                self.dispatch()
                await worker.answers(self.dispatch)
            finally:
                del self._workers[slot]
                worker.kill()
                self._after_death(worker)
            status = await worker.process.wait()
            if not worker.is_leaving:
                self._log.note(f"worker {slot}: ended with status {status}; another is started")
            self.restarts += 1

    def _give_up(self, error: Exception, failed: int) -> None:
        """When none was ever ready, and another try would help as little, say so to whoever waits for the first."""
        if self.was_ready.is_set():
            return
        is_final = isinstance(error, CaptionerError) and error.code != "worker_lost"
        if is_final or failed >= _TRIES:
            self.failure = error if isinstance(error, CaptionerError) else CaptionerError(f"no worker starts: {error}")
            self.was_ready.set()

    def _after_death(self, worker: Worker) -> None:
        """What it was working on has failed, or is tried again alone; what it had not begun is put back."""
        again: list[Job] = []
        for place, batch in enumerate(worker.batches.values()):
            for job in batch.jobs:
                if place > 0:
                    again.append(job)
                elif len(batch.jobs) > 1 and job.tries == 0:
                    job.alone, job.tries = True, 1
                    again.append(job)
                else:
                    message = "the worker that had this picture ended; try it again, or leave it out"
                    fail(job, CaptionerError(message, code="worker_lost"))
        worker.batches.clear()
        self._batcher.put_back(again)

    async def _watch(self) -> None:
        """End workers that hang, and let those go that have grown too large."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for slot, worker in list(self._workers.items()):
                if worker.silent_seconds() > self._limits.worker_seconds:
                    self._log.note(f"worker {slot}: silent for {worker.silent_seconds():.0f} s; ended")
                    worker.kill()
                elif worker.megabytes() > self._limits.worker_megabytes and not worker.is_leaving:
                    self._log.note(f"worker {slot}: holds {worker.megabytes():.0f} MB; another takes its place")
                    worker.is_leaving = True
                if worker.is_leaving and not worker.batches:
                    worker.close()
