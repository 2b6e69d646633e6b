from array import array

import check
from device.outbox import EVENT, GAP, SAMPLE, Boot, Outbox

VALUES = array("i", [0, 0])


def outbox(slots=8):
    return Outbox(Boot(7, "00000000000000aa", "5a0f9c3be1d27718"), slots, 2)


def fill(box, count):
    for _ in range(count):
        VALUES[0] = box.next * 10
        VALUES[1] = -box.next
        box.put_sample(0, box.next * 1000, VALUES, 2)


def send(box, limit=100):
    """Everything there is, as (kind, first, last)."""
    frames = []
    while box.load(limit):
        name = {SAMPLE: "samples", EVENT: "event", GAP: "gap"}[box.source.kind(box.seq)]
        frames.append((name, box.seq, box.seq + box.count - 1))
        box.mark_sent()
    return frames


def held(box):
    """(first, next) of the running boot."""
    boot = box.boots()[-1]
    return boot.base, boot.next


def resume(box, committed):
    return box.resume({7: committed})


def test_samples_keep_their_values_until_they_are_acknowledged():
    box = outbox()
    fill(box, 3)
    check.equal(send(box), [("samples", 0, 2)])
    check.equal(
        [(box.ring.t_ms(i), box.ring.value(i, 0), box.ring.value(i, 1)) for i in range(3)], [(0, 0, 0), (1000, 10, -1), (2000, 20, -2)]
    )
    check.true(box.ack(7, 1))
    check.equal(box.backlog(), 1)
    check.equal(held(box), (2, 3))


def test_frames_end_at_an_event_and_at_the_limit():
    box = outbox()
    fill(box, 3)
    box.put_event(5, b'"code":"x"')
    fill(box, 2)
    check.equal(send(box, 2), [("samples", 0, 1), ("samples", 2, 2), ("event", 3, 3), ("samples", 4, 5)])
    check.equal(box.ring.event(3), b'"code":"x"')


def test_when_full_the_oldest_become_a_gap_that_takes_their_place():
    box = outbox(4)
    fill(box, 10)
    box.load(100)
    check.equal((box.source.why(0), box.source.samples_lost(0, 6)), (b"full", 6))
    check.equal(send(box), [("gap", 0, 5), ("samples", 6, 9)])
    check.true(box.ack(7, 5))
    check.equal(box.backlog(), 4)
    check.true(box.ack(7, 9))
    check.equal(box.backlog(), 0)


def test_a_gap_grows_while_it_is_under_way():
    box = outbox(4)
    fill(box, 6)
    check.equal(box.load(10), 2)
    box.mark_sent()
    fill(box, 3)
    check.equal(send(box), [("gap", 2, 4), ("samples", 5, 8)])
    box.rewind()
    check.equal(send(box), [("gap", 0, 4), ("samples", 5, 8)])


def test_what_was_sent_and_freed_is_not_sent_twice():
    box = outbox(4)
    fill(box, 4)
    send(box)
    fill(box, 2)
    check.equal(send(box), [("samples", 4, 5)])
    box.rewind()
    check.equal(send(box), [("gap", 0, 1), ("samples", 2, 5)])


def test_a_gap_counts_samples_and_not_events():
    box = outbox(4)
    fill(box, 1)
    box.put_event(5, b"e")
    fill(box, 1)
    box.put_event(5, b"e")
    fill(box, 4)
    box.load(100)
    check.equal(box.source.samples_lost(0, 4), 2)
    box.ack(7, -1)
    box.mark_sent()
    check.true(box.ack(7, 1))
    box.rewind()
    check.equal(box.load(100), 2)
    check.equal(box.source.samples_lost(2, 2), 1)


def test_too_many_events_become_gaps_one_by_one():
    box = outbox(200)
    for _ in range(70):
        box.put_event(1, b"e")
    fill(box, 1)
    frames = send(box)
    check.equal(frames[0], ("gap", 0, 5))
    check.equal(frames[1:], [("event", i, i) for i in range(6, 70)] + [("samples", 70, 70)])
    check.equal(box.ring.why(3), b"full")
    check.equal(box.ring.samples_lost(0, 6), 0)


def test_what_is_refused_becomes_a_gap_in_its_place():
    box = outbox()
    fill(box, 4)
    box.put_event(1, b"e")
    fill(box, 2)
    box.load(3)
    box.mark_sent()
    box.refuse()
    check.equal(send(box), [("gap", 0, 2), ("samples", 3, 3), ("event", 4, 4), ("samples", 5, 6)])
    box.ack(7, 3)
    box.rewind()
    box.load(3)
    box.mark_sent()
    box.refuse()
    box.load(3)
    check.equal((box.source.why(4), box.source.samples_lost(4, 1)), (b"refused", 0))
    check.equal(send(box), [("gap", 4, 4), ("samples", 5, 6)])


def test_after_a_reconnect_it_goes_on_behind_what_is_committed():
    box = outbox()
    fill(box, 6)
    send(box)
    check.true(resume(box, 3))
    check.equal(send(box), [("samples", 4, 5)])
    check.true(resume(box, -1), "a gateway restored from a backup knows less")
    check.equal(send(box), [("samples", 4, 5)])
    check.true(resume(box, 5))
    check.equal(send(box), [])


def test_nobody_is_believed_who_acknowledges_more_than_was_sent():
    box = outbox()
    fill(box, 4)
    check.true(not box.ack(7, 0))
    box.load(2)
    box.mark_sent()
    check.true(not box.ack(7, 2))
    check.true(not resume(box, 4))
    check.equal(box.backlog(), 4)


def test_an_ack_inside_a_gap_shortens_it():
    box = outbox(4)
    fill(box, 9)
    box.load(9)
    box.mark_sent()
    check.true(box.ack(7, 2))
    box.rewind()
    check.equal(send(box), [("gap", 3, 4), ("samples", 5, 8)])


def test_a_new_name_keeps_every_record_and_counts_from_0():
    for before in range(12):
        box = outbox(5)
        fill(box, before)
        send(box)
        box.ack(7, before - 1)
        fill(box, 3)
        box.put_event(77, b"mine")
        fill(box, 3)
        values = [box.ring.value(i, 0) for i in range(before + 2, before + 7) if i != before + 3]
        box.rename(Boot(7, "00000000000000bb", "5a0f9c3be1d27718"))
        check.equal(held(box), (0, 7))
        check.equal(send(box), [("gap", 0, 1), ("samples", 2, 2), ("event", 3, 3), ("samples", 4, 6)])
        check.equal(box.ring.event(3), b"mine")
        check.equal([box.ring.value(i, 0) for i in (2, 4, 5, 6)], values)
        fill(box, 2)
        check.true(box.ack(7, 6))
        check.equal(send(box), [("samples", 7, 8)])


def test_times_of_64_bits():
    box = outbox()
    for t_ms in (0, (1 << 28) - 1, 1 << 28, 1 << 30, (1 << 53) - 1):
        box.put_sample(0, t_ms, VALUES, 2)
        check.equal(box.ring.t_ms(box.next - 1), t_ms)


def test_putting_a_sample_allocates_nothing():
    import gc

    box = outbox(16)
    fill(box, 20)
    gc.collect()
    before = gc.mem_alloc()
    for _ in range(100):
        box.put_sample(0, 5, VALUES, 2)
    check.equal(gc.mem_alloc() - before, 0)


check.run(globals())
