"""Chunks come in order and in time, whatever the threads; nothing is worked on that nobody asks for."""

import threading
import time
from itertools import count, islice

import pytest

from captioner.chunks import map_chunks


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_results_come_in_the_order_of_the_items(size, threads):
    def work(chunk):
        time.sleep(0.01 if chunk[0] % 3 == 0 else 0)  # some take longer than those after them
        return chunk

    chunks = list(map_chunks(work, range(23), size=size, threads=threads))
    assert [item for chunk in chunks for item in chunk] == list(range(23))
    assert all(len(chunk) == size for chunk in chunks[:-1])
    assert list(map_chunks(work, [], size=size, threads=threads)) == []


def test_threads_work_side_by_side():
    meeting = threading.Barrier(3)  # which none passes alone
    assert list(map_chunks(lambda chunk: meeting.wait(20) >= 0, range(6), size=1, threads=3)) == [True] * 6


@pytest.mark.parametrize("threads", [1, 2])
def test_items_without_end_are_taken_a_few_ahead(threads):
    taken = count()
    found = map_chunks(sum, taken, size=5, threads=threads)
    assert list(islice(found, 2)) == [0 + 1 + 2 + 3 + 4, 5 + 6 + 7 + 8 + 9]
    found.close()
    assert next(taken) <= 5 * (2 + threads + 1)


@pytest.mark.parametrize("threads", [1, 3])
def test_items_that_break_off_give_what_came_before(threads):
    def items():
        yield from range(2)
        raise OSError("no more")

    found = map_chunks(sum, items(), size=1, threads=threads)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(OSError, match="no more"):
        next(found)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_comes_where_its_result_would_be(threads):
    found = map_chunks(lambda chunk: 1 // chunk[0], [1, 1, 0, 1], size=1, threads=threads)
    assert [next(found), next(found)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(found)
