"""What a board remembers through deep sleep: that it comes back as it was, and that nothing else ever does."""

from array import array

import check
from device import asleep
from device.outbox import Boot, Outbox

DEVICE = "soil-1"


def boot():
    made = Boot(7, "00000000000000aa", "5a0f9c3be1d27718")
    made.freed_from, made.freed_to, made.freed_samples = 3, 9, 5
    made.forgotten = [2, 40]
    return made


def board(records=10, columns=3):
    box = Outbox(boot(), 128, columns)
    for i in range(records):
        if i % 4 == 3:
            box.put_event(i * 600000, b'"code":"x.%d"' % i)
        else:
            box.put_sample(i % 2, i * 600000, array("i", [i, -i, 2**29]), columns)
    return box


def remember(box):
    """Its memory as bytes, with all fields set to something of their own."""
    box.running.next = box.next
    memory = asleep.Memory(box.running, 64)
    memory.strict = memory.written = True
    memory.uptime_ms, memory.rtc_ms, memory.sleep_ms = 1 << 40, 837_000_000_123, 600_000
    memory.tries, memory.due_ms = 3, (1 << 40) + 5
    memory.plans = [(599_000, 0, 1000, False), (-20, 45_000, 60_000, True)]
    return memory.pack(DEVICE, box.ring)


def back(data):
    """The outbox that goes on from it."""
    memory = asleep.unpack(data, DEVICE)
    box = Outbox(memory.boot, 128, 3)
    box.go_on(memory)
    return box


def everything(ring):
    found = []
    for seq in range(ring.first, ring.next):
        if ring.kind(seq):
            found.append((seq, ring.t_ms(seq), ring.event(seq)))
        else:
            values = [ring.value(seq, i) for i in range(ring.count(seq))]
            found.append((seq, ring.t_ms(seq), ring.sensor(seq), values))
    return found


def test_all_of_it_comes_back():
    box = board()
    box.ack(7, -1)
    data = remember(box)
    memory = asleep.unpack(data, DEVICE)
    check.true(memory.asleep)
    check.equal((memory.below, memory.strict, memory.written), (64, True, True))
    check.equal((memory.uptime_ms, memory.rtc_ms, memory.sleep_ms), (1 << 40, 837_000_000_123, 600_000))
    check.equal((memory.tries, memory.due_ms), (3, (1 << 40) + 5))
    check.equal(memory.plans, [(599_000, 0, 1000, 0), (-20, 45_000, 60_000, 1)])
    check.equal(vars_of(memory.boot), vars_of(box.running))
    check.equal(everything(back(data).ring), everything(box.ring))


def vars_of(boot):
    names = ("number", "id", "profile", "base", "next", "kept", "freed_from", "freed_to", "freed_samples", "forgotten")
    return [getattr(boot, name) for name in names]


def test_what_is_acknowledged_or_on_flash_is_left_out_and_counting_goes_on():
    box = board()
    box.load(100)
    box.mark_sent()
    check.true(box.ack(7, 1))
    box.running.kept = 5
    again = back(remember(box))
    check.equal(again.ring.first, 5)
    check.equal(again.running.base, 2)
    check.equal(everything(again.ring), everything(box.ring)[3:])
    again.put_sample(0, 1, array("i", [1]), 1)
    check.equal(again.next, 11)


def test_nothing_held_is_remembered_too():
    box = board()
    while box.load(100):
        box.mark_sent()
    box.ack(7, 9)
    again = back(remember(box))
    check.equal((again.ring.first, again.next, again.backlog()), (10, 10, 0))


def test_more_than_fits_is_not_remembered_in_part():
    held = 0
    while remember(board(held)) is not None:
        held += 1
    check.true(60 < held < 100, "%d records fit" % held)
    check.true(len(remember(board(held - 1))) <= asleep.SIZE)
    box = board(held)
    box.ring.give_up()
    check.equal(back(remember(box)).ring.first, 1)


def test_a_memory_is_gone_on_with_once():
    data = remember(board())
    taken_up = asleep.unpack(asleep.taken_up(data), DEVICE)
    check.equal(taken_up.asleep, False)
    check.equal(taken_up.records, asleep.unpack(data, DEVICE).records)
    check.equal(asleep.taken_up(asleep.taken_up(data)), asleep.taken_up(data))


def test_whatever_is_damaged_is_nobodys_memory():
    data = remember(board())
    for at in range(len(data)):
        for bit in (1, 128):
            damaged = bytearray(data)
            damaged[at] ^= bit
            check.equal(asleep.unpack(bytes(damaged), DEVICE), None)
    for end in range(0, len(data), 7):
        check.equal(asleep.unpack(data[:end], DEVICE), None)
    check.equal(asleep.unpack(data + b"\x00", DEVICE), None)
    check.equal(asleep.unpack(bytes(2048), DEVICE), None)


def test_another_devices_memory_is_not_ours():
    check.equal(asleep.unpack(remember(board()), "soil-2"), None)


def test_a_sound_checksum_over_nonsense_is_nobodys_memory():
    """As another firmware could have written: lengths that lead out of it."""
    from binascii import crc32
    from struct import pack

    data = remember(board())[:-4]
    for at in range(151, len(data)):  # behind header and boot, which have checksums or harmless numbers
        for value in (0, 255):
            changed = bytearray(data)
            changed[at] = value
            found = asleep.unpack(bytes(changed) + pack("<I", crc32(changed)), DEVICE)
            if found is not None:
                back(bytes(changed) + pack("<I", crc32(changed)))


check.run(globals())
