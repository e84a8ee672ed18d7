"""Which requests are worked on together, in which order, and what becomes of those that nobody wants any more."""

from __future__ import annotations

import asyncio

from captioner.serve.batcher import Batcher, Job, Places


def job(key, *, alone=False):
    return Job(key, {}, b"", asyncio.get_running_loop().create_future(), alone)


def run(work):
    asyncio.run(asyncio.wait_for(work(), 10))


def test_batches_have_one_key_and_keep_the_order():
    async def work():
        batcher = Batcher(size=3)
        jobs = [job(key) for key in "abaabba"]
        batcher.put(jobs)
        taken = [batcher.take() for _ in range(4)]
        places = [[jobs.index(each) for each in batch] for batch in taken]
        assert places == [[0, 2, 3], [1, 4, 5], [6], []]
        assert len(batcher) == 0

    run(work)


def test_a_worker_that_is_busy_gets_full_batches_only():
    async def work():
        batcher = Batcher(size=2)
        batcher.put([job("a")])
        assert batcher.take(only_full=True) == []
        batcher.put([job("a")])
        assert len(batcher.take(only_full=True)) == 2

    run(work)


def test_what_nobody_wants_is_never_taken():
    async def work():
        batcher = Batcher(size=4)
        jobs = [job("a") for _ in range(6)]
        batcher.put(jobs)
        for each in jobs[::2]:
            each.result.cancel()
        assert len(batcher) == 3
        assert batcher.take() == jobs[1::2]
        assert batcher.take() == []

    run(work)


def test_one_that_must_be_alone_is_and_others_pass_it_by():
    async def work():
        batcher = Batcher(size=4)
        jobs = [job("a"), job("a", alone=True), job("a")]
        batcher.put(jobs)
        assert batcher.take() == [jobs[0], jobs[2]]
        assert batcher.take() == [jobs[1]]

    run(work)


def test_what_is_put_back_comes_first_in_its_order():
    async def work():
        batcher = Batcher(size=2)
        jobs = [job("a") for _ in range(4)]
        batcher.put(jobs)
        batcher.put_back(batcher.take())
        assert [batcher.take(), batcher.take()] == [jobs[:2], jobs[2:]]

    run(work)


def test_nobody_waits_for_company_who_is_alone():
    async def work():
        batcher = Batcher(size=4, linger=5)
        batcher.put([job("a")])
        assert len(batcher.take()) == 1

    run(work)


def test_a_batch_waits_a_moment_for_those_that_are_coming():
    async def work():
        batcher = Batcher(size=4, linger=0.05)
        batcher.are_more_coming = lambda: True
        changed = asyncio.Event()
        batcher.put([job("a")])
        assert batcher.take() == []
        batcher.on_change = changed.set
        await changed.wait()
        assert len(batcher.take()) == 1
        batcher.put([job("a") for _ in range(4)])
        assert len(batcher.take()) == 4  # full: it need not wait

    run(work)


def test_places_are_given_back_whatever_happens():
    places = Places(2)
    try:
        with places.one(), places.one():
            assert not places.are_free
            raise ValueError
    except ValueError:
        pass
    assert (places.taken, places.are_free) == (0, True)
