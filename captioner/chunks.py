"""Work on many things a few at a time, on several threads, in order; knows nothing of what the things are."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_chunks(
    work: Callable[[list[Item]], Result], items: Iterable[Item], *, size: int, threads: int = 1
) -> Iterator[Result]:
    """Cut items into chunks, and yield what `work` makes of each, in their order.

    No more than one chunk a thread is worked on, and one more is ready or waiting: whatever the number of items, memory
    stays the same. Items are taken, and results given, in the thread of the caller; with one thread work is done there
    too. What `work` raises is raised where its result would be.

    Args:
        work: may be called from several threads at once.
        items: may be without end.
        size: items in a chunk, 1 or more; the last one may have fewer.
        threads: 1 or more.
    """
    remaining = iter(items)
    if threads == 1:
        while chunk := list(islice(remaining, size)):
            yield work(chunk)
        return
    from concurrent.futures import (  # not needed where there is one thread, and slow to import
        Future,
        ThreadPoolExecutor,
    )

    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            broken_off = None
            while True:
                try:
                    chunk = list(islice(remaining, size))
                except Exception as error:  # raised when what was taken before it has been given
                    broken_off = error
                    break
                if not chunk:
                    break
                waiting.append(pool.submit(work, chunk))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            if broken_off is not None:
                raise broken_off
        finally:
            for future in waiting:  # nobody will ask for them any more
                future.cancel()
