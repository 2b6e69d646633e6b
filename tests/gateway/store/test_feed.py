from __future__ import annotations

import asyncio
import gc

from gateway.model import Batch, Refusal, Sample
from gateway.store.feed import TAIL_RECORDS, Feed, Live
from tests.aio import run
from tests.gateway.store.samples import batch, sample, samples


def published(feed: Feed, *batches: Batch) -> Feed:
    feed.publish(list(batches))
    return feed


def test_the_tail_answers_as_far_as_it_reaches() -> None:
    feed = published(Feed(newest=10), batch(sample(0)), batch(sample(1), device="cellar"), batch(sample(2)))
    assert feed.newest == 13
    assert feed.after(9, None, 100) is None
    assert [one.first for one in feed.after(10, None, 100) or []] == [0, 1, 2]
    assert [one.first for one in feed.after(10, None, 2) or []] == [0, 1]
    assert [one.first for one in feed.after(11, "greenhouse", 100) or []] == [2]
    assert feed.after(13, None, 100) == []


def test_the_tail_is_bounded_by_records() -> None:
    feed = Feed()
    for start in range(0, 20_000, 500):
        published(feed, batch(*samples(start, start + 499)))
    reach = next(back for back in range(100) if feed.after(feed.newest - back - 1, None, 1) is None)
    assert reach * 500 == TAIL_RECORDS


def test_refusals_count_for_what_they_take() -> None:
    refusals = tuple(Refusal("x", "1", "value.unknown", "y") for _ in range(1_000))
    heavy = [batch(Sample(seq, 0, {}, refusals)) for seq in range(100)]
    feed = published(Feed(), *heavy)
    assert feed.after(99, None, 100) is not None
    assert feed.after(98, None, 100) is None

    async def work() -> None:
        live = Live(None)
        for each in heavy:
            live.offer(each)
        assert live.skipped == 96
        assert [(await anext(live)).first for _ in range(4)] == [96, 97, 98, 99]
        for each in heavy[:4]:  # what was read weighs nothing any more
            live.offer(each)
        assert live.skipped == 96

    run(work())


def test_a_subscriber_that_is_forgotten_costs_nothing() -> None:
    async def work() -> None:
        feed = Feed()
        live: Live | None = feed.subscribe(None)
        assert live is not None
        assert len(feed._subscribers) == 1
        live = None
        gc.collect()
        assert len(feed._subscribers) == 0

    run(work())


def test_a_full_queue_is_skipped_at_once() -> None:
    async def work() -> None:
        live = Live(None, most=3)
        for seq in range(5):
            live.offer(batch(sample(seq)))
        assert live.skipped == 3
        assert [(await anext(live)).first for _ in range(2)] == [3, 4]

    run(work())


def test_a_closed_subscription_gives_what_waits_and_ends() -> None:
    async def work() -> None:
        live = Live(None)
        live.offer(batch(sample(0)))
        await live.aclose()
        live.offer(batch(sample(1)))
        assert [one.first async for one in live] == [0]

    run(work())


def test_waiters_go_when_they_are_cancelled() -> None:
    async def work() -> None:
        feed = Feed()
        waiting = asyncio.create_task(feed.wait(0, 60))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert not feed._waiters
        assert await published(feed, batch(sample(0))).wait(0, 0)

    run(work())


def test_of_a_forgotten_device_nothing_is_given_out_and_the_file_is_asked_for_the_rest() -> None:
    async def work() -> None:
        feed = Feed(newest=10)
        live = feed.subscribe(None)
        published(feed, batch(sample(0)), batch(sample(1), device="cellar"))
        feed.forget("cellar")
        assert feed.after(10, None, 100) is None
        assert feed.after(12, None, 100) == []
        published(feed, batch(sample(2)))
        assert [one.first for one in feed.after(12, None, 100) or []] == [2]
        live.close()
        assert [one.first async for one in live] == [0, 2]

    run(work())
