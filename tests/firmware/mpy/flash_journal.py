"""Journal, outbox and boot record over restarts, on a littlefs in RAM."""

import os
from array import array

import check
import ramflash
from device import wire
from device.journal import MAX_BOOTS, Journal
from device.outbox import Outbox
from device.ring import EVENT, GAP, SAMPLE
from ramflash import ROOT, Flash

COLUMNS = (("temperature", 2), ("humidity", 1))
PROFILE = "5a0f9c3be1d27718"
OTHER = "00000000000000ff"


class Board:
    def __init__(self, blocks=64, each=False, flash_bytes=65536, slots=64):
        self.each, self.flash_bytes, self.slots = each, flash_bytes, slots
        self.lines = []
        self.starts = 0
        self.profile = PROFILE
        self.columns = COLUMNS
        self.flash = Flash(blocks)
        ramflash.unmount()
        ramflash.mount(self.flash, fresh=True)
        self.now = 0
        self.start()

    def start(self):
        self.starts += 1
        self.journal = Journal(ROOT, self.flash_bytes, 64, self.each, lambda level, text: self.lines.append(text))
        columns = wire.Columns([[wire.Column(*column) for column in self.columns]], 4096)
        running, held = self.journal.begin(self.profile, f"{self.starts:016x}", columns.as_lists())
        self.box = Outbox(running, self.slots, len(self.columns), self.journal, held, columns)

    def cut(self):
        self.flash = ramflash.power_up(self.flash)
        self.start()

    def samples(self, count):
        for _ in range(count):
            seq = self.box.next
            values = array("i", [seq + 1000 * self.starts + i for i in range(len(self.columns))])
            self.box.put_sample(0, seq * 1000, values, len(values))

    def turn(self, ms=1000, online=False, times=1):
        for _ in range(times):
            self.now += ms
            self.box.poll(self.now, online)

    def sent(self, limit=1000):
        """All frames there are to send: (boot_id's number, kind, first, last, what else)."""
        found = []
        while self.box.load(limit):
            box = self.box
            source, seq = box.source, box.seq
            kind = source.kind(seq)
            more = None
            if kind == GAP:
                more = (source.why(seq), source.samples_lost(seq, box.count), source.at_most(seq))
            elif kind == SAMPLE:
                for i in range(box.count):
                    wanted = seq + i + 1000 * int(box.boot.id, 16)
                    check.equal((source.t_ms(seq + i), source.value(seq + i, 0)), ((seq + i) * 1000, wanted))
            else:
                more = source.event(seq)
            found.append((int(box.boot.id, 16), kind, seq, seq + box.count - 1, more))
            box.mark_sent()
        return found

    def held(self):
        return [(int(boot.id, 16), boot.base, boot.next) for boot in self.box.boots()]


def samples(boot, first, last):
    return (boot, SAMPLE, first, last, None)


def gap(boot, first, last, why, lost, at_most=None):
    return (boot, GAP, first, last, (why, lost, at_most))


def joined(frames):
    """Neighbouring frames of samples as one: pages are as large as they are."""
    found = []
    for frame in frames:
        if found and frame[1] == SAMPLE == found[-1][1] and (frame[0], frame[2]) == (found[-1][0], found[-1][3] + 1):
            found[-1] = samples(frame[0], found[-1][2], frame[3])
        else:
            found.append(frame)
    return found


def test_while_the_gateway_is_there_nothing_is_written_but_the_promise():
    board = Board()
    before = board.flash.erases
    for _ in range(1000):
        board.samples(1)
        board.turn(online=True)
        board.sent()
        board.box.ack(1, board.box.next - 1)
    check.true(board.flash.erases - before < 5, board.flash.erases - before)
    check.equal([path for path in ramflash.files() if "segments" in path], [])


def test_after_2_s_without_a_gateway_what_is_held_goes_to_flash_and_survives():
    board = Board()
    board.samples(10)
    board.box.put_event(5, b'"code":"x"')
    board.turn(times=4)
    board.samples(3)
    board.cut()
    check.equal(board.held(), [(1, 0, 11), (2, 0, 0)])
    check.equal(board.sent(), [samples(1, 0, 9), (1, EVENT, 10, 10, b'"code":"x"'), gap(1, 11, 11, b"power_loss", 0, 53)])
    check.true(board.box.ack(1, 11))
    check.equal(board.held(), [(2, 0, 0)])
    board.cut()
    check.equal(board.held(), [(2, 0, 0), (3, 0, 0)])


def test_while_it_stays_away_the_rest_follows_every_10_s():
    board = Board()
    for _ in range(60):
        board.samples(1)
        board.turn()
    board.cut()
    end = board.held()[0][2]
    check.true(50 <= end <= 60, end)


def test_a_clean_end_leaves_no_gap_and_everything_is_delivered_later():
    board = Board()
    board.samples(30)
    board.sent()
    board.box.ack(1, 9)
    check.equal(board.box.save(), 0)
    board.cut()
    check.equal(joined(board.sent()), [samples(1, 10, 29)])
    check.true(board.box.resume({1: 19, 2: -1}))
    check.equal(joined(board.sent()), [samples(1, 20, 29)])
    check.true(board.box.ack(1, 29))
    check.equal(board.held(), [(2, 0, 0)])


def test_a_clean_end_with_nothing_held_leaves_nothing():
    board = Board()
    board.samples(3)
    board.sent()
    board.box.ack(1, 2)
    check.equal(board.box.save(), 0)
    board.cut()
    check.equal(board.held(), [(2, 0, 0)])
    check.equal(board.box.running.number, 2)


def test_who_takes_another_record_after_the_end_takes_it_back():
    board = Board()
    board.samples(3)
    board.box.save()
    board.samples(1)
    board.cut()
    check.equal(joined(board.sent())[-1], gap(1, 3, 3, b"power_loss", 0, 64))


def test_what_the_gateway_has_shortens_the_end_and_may_leave_nothing_of_it():
    board = Board()
    board.samples(20)
    board.cut()
    check.equal(board.held(), [(1, 0, 0), (2, 0, 0)])
    check.true(board.box.resume({1: 19, 2: -1}))
    check.equal(board.sent(), [gap(1, 0, 0, b"power_loss", 0, 64)])
    check.true(board.box.ack(1, 20))
    check.equal(board.held(), [(2, 0, 0)])
    board = Board()
    board.samples(20)
    board.cut()
    board.box.resume({1: 63})  # it has all that could be
    check.equal(board.held(), [(2, 0, 0)])


def test_no_record_reaches_what_was_promised():
    board = Board()
    for _ in range(500):
        board.samples(1)
        files = board.journal._files
        check.true(board.box.next <= files.running()[0].below, (board.box.next, files.running()[0].below))


def test_old_boots_come_before_new_ones_and_each_is_forgotten_when_it_is_acknowledged():
    board = Board()
    for _ in range(3):
        board.samples(5)
        board.turn(times=4)
        board.cut()
    board.samples(2)
    ends = [gap(i, 5, 5, b"power_loss", 0, 59) for i in (1, 2, 3)]
    wanted = [samples(1, 0, 4), ends[0], samples(2, 0, 4), ends[1], samples(3, 0, 4), ends[2], samples(4, 0, 1)]
    check.equal(joined(board.sent()), wanted)
    board.box.rewind()
    check.equal(joined(board.sent()), wanted)
    check.true(board.box.ack(1, 4))
    check.true(board.box.ack(1, 5))
    check.true(board.box.ack(2, 5))
    board.box.rewind()
    check.equal(joined(board.sent()), wanted[4:])
    check.equal(board.box.backlog(), 8)


def test_more_than_the_ring_holds_is_read_back_in_order():
    board = Board(slots=32)
    for _ in range(500):
        board.samples(1)
        board.turn(100)
    check.equal(joined(board.sent()), [samples(1, 0, 499)])
    board.box.rewind()
    seen = 0
    while board.box.load(7):
        check.equal(board.box.seq, seen)
        seen += board.box.count
        board.box.mark_sent()
        if seen % 3 == 0:
            board.box.ack(1, seen - 1)
    check.equal(seen, 500)
    board.box.ack(1, 499)
    check.equal([path for path in ramflash.files() if "segments" in path], [])


def test_a_full_ring_goes_to_flash_even_when_nobody_polls():
    board = Board(slots=16)
    board.samples(100)
    check.equal(joined(board.sent()), [samples(1, 0, 99)])


def test_many_events_are_all_kept():
    board = Board()
    for i in range(300):
        board.box.put_event(i, b'"code":"e%d"' % i)
        board.turn(100, online=True)
    check.equal([frame[4] for frame in board.sent()], [b'"code":"e%d"' % i for i in range(300)])


def test_when_the_flash_is_full_the_oldest_go_and_leave_a_gap_that_counts_samples():
    for cut in (False, True):
        board = Board(blocks=40, flash_bytes=32768, slots=32)
        for i in range(3000):
            board.samples(1)
            if i % 100 == 50:
                board.box.put_event(5, b'"code":"x"')
            board.turn(100)
        if cut:
            board.cut()
        used = sum(-(-os.stat(path)[6] // 4096) for path in ramflash.files() if "segments" in path)
        check.true(used <= 8, used)
        frames = joined(board.sent())
        kind, first, last, (why, lost, _) = frames[0][1:]
        check.equal((kind, first, why), (GAP, 0, b"full"))
        rest = [frame for frame in frames[1:] if frame[0] == 1]
        check.equal(rest[0][2], last + 1)
        events = sum(1 for frame in rest if frame[1] == EVENT)
        check.true(last + 1 - lost == 30 - events, (last, lost, events))
        check.true(board.box.ack(1, last))
        board.box.rewind()
        check.equal(joined(board.sent())[0], rest[0])


def test_a_gap_that_grows_while_it_is_under_way():
    board = Board(blocks=40, flash_bytes=32768, slots=32)
    for _ in range(2000):
        board.samples(1)
        board.turn(100)
    board.box.load(100)
    check.equal(board.box.source.why(0), b"full")
    first = board.box.count
    board.box.mark_sent()
    for _ in range(600):
        board.samples(1)
        board.turn(100)
    check.true(board.box.ack(1, first - 1))
    board.box.rewind()
    kind, seq, last, (why, lost, _) = joined(board.sent())[0][1:]
    check.equal((kind, seq, why, lost), (GAP, first, b"full", last - first + 1))


def test_a_wrong_byte_ends_its_segment_and_what_follows_is_a_counted_gap():
    board = Board(slots=32)
    board.samples(25)
    board.turn(times=4)
    board.box.save()
    (path,) = [path for path in ramflash.files() if "segments" in path]
    with open(path, "rb") as file:
        data = bytearray(file.read())
    data[36 + 24 * 10 + 12] ^= 1  # in the eleventh record: 6 + 10 + 8 bytes each
    with open(path, "wb") as file:
        file.write(data)
    board.cut()
    check.equal(joined(board.sent()), [samples(1, 0, 9), gap(1, 10, 24, b"other", 15)])
    board.box.load(1)
    check.true(board.box.ack(1, 24))
    check.equal(board.held(), [(2, 0, 0)])


def test_a_torn_last_record_is_cut_off_and_never_appended_to():
    for cut_off in (1, 5, 23, 24, 30):
        board = Board(slots=32)
        board.samples(10)
        board.turn(times=4)
        (path,) = [path for path in ramflash.files() if "segments" in path]
        with open(path, "rb") as file:
            data = file.read()
        with open(path, "wb") as file:
            file.write(data[:-cut_off])
        board.cut()
        whole = 10 - (cut_off + 23) // 24
        end = gap(1, whole, whole, b"power_loss", 0, 64 - whole)
        check.equal(joined(board.sent()), [samples(1, 0, whole - 1), end])


def test_behind_a_part_of_a_record_a_new_segment_begins():
    board = Board(slots=32)
    board.samples(10)
    board.turn(times=4)
    (path,) = [path for path in ramflash.files() if "segments" in path]
    with open(path, "ab") as file:
        file.write(b"\x12\x00torn")
    board.journal._segments._end.clear()  # as an append that failed leaves it
    board.samples(5)
    board.turn(11000)
    board.cut()
    check.equal(joined(board.sent()), [samples(1, 0, 14), gap(1, 15, 15, b"power_loss", 0, 49)])


def with_each_byte_wrong(name, setting):
    """For each byte of the one file that has `name` in its path: a board started after a cut, with that byte wrong."""
    at = size = 0
    while at <= size:
        board = Board(slots=32, each=setting)
        board.samples(10)
        board.turn(times=4)
        (path,) = [path for path in ramflash.files() if name in path]
        with open(path, "rb") as file:
            data = bytearray(file.read())
        size = len(data) - 1
        if at <= size:
            data[at] ^= 1 << at % 8
            with open(path, "wb") as file:
                file.write(data)
            yield board, at
        at += 1


def test_a_wrong_byte_in_a_header_gives_no_boot_another_identity():
    for board, at in with_each_byte_wrong("segments", False):
        if at < 36:
            os.remove(ROOT + "/outbox/boots/running")
            board.cut()
            check.equal((at, board.sent()), (at, []))


def test_a_wrong_byte_in_the_file_of_a_boot_hides_nothing_that_is_on_flash():
    for board, at in with_each_byte_wrong("running", False):
        board.cut()
        check.equal((at, joined(board.sent())), (at, [samples(1, 0, 9), gap(1, 10, 10, b"power_loss", 0, 64)]))


def test_none_a_wrong_byte_in_one_of_the_newest_records_is_no_other_record():
    for board, at in with_each_byte_wrong("tails/9", True):
        board.cut()
        check.equal((at, joined(board.sent())), (at, [samples(1, 0, 8), gap(1, 9, 9, b"power_loss", 0, 1)]))


def test_every_length_of_a_torn_file_is_read_up_to_its_last_whole_record():
    board = Board(slots=32)
    board.samples(5)
    board.turn(times=4)
    (path,) = [path for path in ramflash.files() if "segments" in path]
    with open(path, "rb") as file:
        data = file.read()
    for size in range(len(data)):
        with open(path, "wb") as file:
            file.write(data[:size])
        segments = Journal(ROOT, 65536, 64, False, None)._segments
        check.equal(segments.end(board.box.running), max(0, (size - 36) // 24))


def test_a_flash_that_fails_stops_nothing_and_is_used_again_later():
    board = Board(slots=32)
    board.samples(5)
    board.flash.fails = -5
    board.turn(times=5)
    board.samples(100)
    check.true(board.journal.failing)
    check.equal(len([line for line in board.lines if "flash" in line]), 1)
    frames = joined(board.sent())
    check.equal(frames, [gap(1, 0, 72, b"full", 73), samples(1, 73, 104)])
    board.box.rewind()
    board.flash.fails = 0
    board.turn(times=20)
    check.true(not board.journal.failing)
    board.cut()
    check.equal(joined(board.sent())[:2], [gap(1, 0, 72, b"full", 73), samples(1, 73, 104)])


def test_a_flash_without_room_keeps_the_newest_and_counts_what_went():
    board = Board(blocks=24, flash_bytes=262144, slots=32)  # more is promised than there is
    for _ in range(6000):
        board.samples(1)
        board.turn(100)
    frames = joined(board.sent())
    check.equal([frame[1] for frame in frames], [GAP, SAMPLE])
    check.equal((frames[0][2], frames[0][4][:2]), (0, (b"full", frames[0][3] + 1)))
    check.equal((frames[1][2], frames[1][3]), (frames[0][3] + 1, 5999))


def test_samples_of_another_profile_are_sent_with_their_own_columns():
    board = Board()
    board.samples(5)
    board.box.save()
    board.profile, board.columns = OTHER, (("level", 0),)
    board.cut()
    board.box.load(100)
    check.equal(board.box.boot.profile, PROFILE)
    out = wire.Writer(bytearray(4096), 0)
    wire.record(out, board.box)
    text = bytes(out.buf[: out.at]).decode()
    check.true('"temperature":[10.00,10.01,10.02,10.03,10.04],"humidity":[100.1,' in text, text)
    os.remove(ROOT + "/outbox/boots/" + PROFILE + ".json")
    board.cut()
    check.equal(joined(board.sent())[0], gap(1, 0, 4, b"other", 5))


def test_columns_that_no_boot_needs_are_forgotten():
    board = Board()
    board.box.save()
    board.profile, board.columns = OTHER, (("level", 0),)
    board.cut()
    names = [path.rsplit("/")[-1] for path in ramflash.files()]
    check.true(OTHER + ".json" in names and PROFILE + ".json" not in names, names)


def test_what_is_refused_on_flash_becomes_a_gap():
    board = Board()
    board.samples(5)
    board.box.save()
    board.cut()
    board.box.load(3)
    board.box.mark_sent()
    board.box.refuse()
    check.equal(joined(board.sent()), [gap(1, 0, 2, b"refused", 3), samples(1, 3, 4)])


def test_the_counter_of_an_older_firmware_goes_on():
    board = Board()
    for path in ramflash.files():
        os.remove(path)
    with open(ROOT + "/boot.json", "w") as file:
        file.write('{"boot": 41}')
    board.cut()
    check.equal(board.box.running.number, 42)
    check.true(ROOT + "/boot.json" not in ramflash.files())


def test_after_a_wiped_flash_everything_begins_anew_and_numbers_of_held_boots_are_not_used_again():
    board = Board()
    board.samples(3)
    board.box.save()
    os.remove(ROOT + "/outbox/boots/running")
    board.cut()
    check.equal([boot.number for boot in board.box.boots()], [1, 2])
    check.equal(joined(board.sent()), [samples(1, 0, 2), gap(1, 3, 3, b"power_loss", 0, 64)])


def test_of_too_many_boots_those_that_hold_most_are_kept_and_the_rest_is_counted():
    board = Board(blocks=128)
    board.samples(40)
    board.box.save()
    for _ in range(MAX_BOOTS + 5):
        board.cut()
        board.samples(1)
        board.turn(times=4)
    board.cut()
    check.equal(len(board.box.boots()), MAX_BOOTS + 1)
    check.equal(board.held()[0], (1, 0, 40))
    check.equal(board.journal.forgotten, (6, 6 * 64))  # all of them: none of these boots came to tell of its own
    board.box.save()  # nor did this one, but the event would be on flash now
    board.samples(2)
    board.box.save()
    board.cut()
    check.equal(board.journal.forgotten, (1, 64))


def test_a_new_name_counts_what_lay_only_on_flash():
    board = Board(slots=16)
    board.samples(100)
    board.sent()
    board.box.ack(1, 9)
    running = board.box.running
    board.box.rename(type(running)(running.number, "0000000000000001", PROFILE))
    frames = board.box.load(1000)
    check.equal((board.box.source.kind(0), board.box.seq, frames), (GAP, 0, 74))
    check.equal(board.box.backlog(), 90)


def test_none_keeps_each_record_before_it_is_sent():
    board = Board(each=True)
    for _ in range(100):
        board.samples(1)
        board.turn(online=True)
        board.sent()
        board.box.ack(1, board.box.next - 3)
    check.equal([path for path in ramflash.files() if "segments" in path], [])
    board.cut()
    frames = joined(board.sent())
    check.equal(frames[-2:], [samples(1, frames[-2][2], 99), gap(1, 100, 100, b"power_loss", 0, 1)])
    check.true(frames[-2][2] <= 98)


def test_none_without_acks_loses_nothing():
    for count in (1, 15, 16, 17, 40, 100, 1000):
        board = Board(each=True, slots=32)
        board.samples(count)
        board.cut()
        frames = joined(board.sent())
        check.equal(frames, [samples(1, 0, count - 1), gap(1, count, count, b"power_loss", 0, 1)])
        board.cut()
        check.equal(joined(board.sent())[: len(frames)], frames)


def test_none_keeps_long_events_too():
    board = Board(each=True)
    board.samples(3)
    board.box.put_event(5, b'"code":"' + b"x" * 300 + b'"')
    board.samples(2)
    board.cut()
    frames = joined(board.sent())
    check.equal([frame[1:4] for frame in frames], [(SAMPLE, 0, 2), (EVENT, 3, 3), (SAMPLE, 4, 5), (GAP, 6, 6)])


def test_none_with_a_flash_that_fails_goes_on_in_memory_and_comes_back():
    board = Board(each=True, slots=32)
    board.samples(5)
    board.flash.fails = -5
    board.samples(10)
    board.turn(times=3)
    board.flash.fails = 0
    board.turn(times=20)
    board.samples(1)
    board.cut()
    check.equal(joined(board.sent())[:2], [samples(1, 0, 15), gap(1, 16, 16, b"power_loss", 0, 1)])


def test_none_loses_nothing_to_a_cut_while_the_newest_records_are_put_into_a_new_segment():
    cuts = 0
    while True:
        board = Board(each=True)
        board.samples(5)
        board.sent()
        board.box.ack(1, 4)
        board.samples(16)  # all that the small files take: the next one puts them into a segment
        board.flash.cut_at = board.flash.operations + cuts
        board.flash.tear = cuts % 3 / 2
        try:
            board.samples(1)
        except ramflash.PowerCut:  # a file that is closed on the way out may put an OSError in its place
            pass
        if not board.flash.dead:
            break
        cuts += 1
        board.cut()
        first = joined(board.sent())[0]
        check.true(first in (samples(1, 5, 20), samples(1, 5, 21)), (cuts, first))
        board.cut()  # and they are still there after another start
        check.equal(joined(board.sent())[0], first)
    check.true(cuts > 5, cuts)


def test_none_loses_nothing_where_the_segment_ends_among_the_newest_records():
    for count in range(310, 345):
        board = Board(each=True, slots=32)
        board.box.put_event(5, b'"code":"' + b"x" * 300 + b'"')
        board.samples(count)
        board.cut()
        frames = joined(board.sent())[1:]
        check.equal(frames, [samples(1, 1, count), gap(1, count + 1, count + 1, b"power_loss", 0, 1)])


def test_none_gives_up_only_what_cannot_be_read_where_one_of_the_newest_records_is_damaged():
    board = Board(each=True, slots=32)
    board.samples(79)
    end = board.box.running.kept
    check.true(end < 77, end)
    with open(ROOT + "/outbox/tails/%d" % (77 % 16), "wb") as file:
        file.write(b"worn")
    board.cut()
    frames = joined(board.sent())
    check.equal(frames[0], samples(1, 0, end - 1))
    wanted = [gap(1, end, 77, b"other", 78 - end), samples(1, 78, 78), gap(1, 79, 79, b"power_loss", 0, 1)]
    check.equal(frames[1:], wanted)


def test_none_does_not_promise_what_lies_in_memory_when_a_failing_flash_is_back():
    cuts = 0
    while True:
        board = Board(each=True, slots=64)
        board.samples(5)
        board.flash.fails = -5
        board.samples(60)
        board.turn()
        board.flash.fails = 0
        board.flash.cut_at = board.flash.operations + cuts
        try:
            board.turn(11000)
        except (OSError, ramflash.PowerCut):
            pass
        if not board.flash.dead:
            break
        cuts += 1
        board.cut()
        frames = joined(board.sent())
        bound = frames[-1][4][2] if frames[-1][1] == GAP else 0
        have = sum(frame[3] + 1 - frame[2] for frame in frames) - (bound > 0)
        check.true(have + bound >= 65 or cuts <= 6, (cuts, have, bound))  # 6: until the promise is on flash
    check.true(cuts > 12, cuts)


def test_what_was_freed_and_acknowledged_hides_nothing_that_came_after():
    board = Board(blocks=40, flash_bytes=32768, slots=32)
    while not board.box.running.freed_to:
        board.samples(1)
        board.turn(100)
    board.turn(online=True)
    board.sent()
    board.box.ack(1, board.box.next - 1)
    end = board.box.next
    board.samples(3)
    board.turn(online=True)
    board.cut()
    kind, seq, _, (why, _, at_most) = joined(board.sent())[-1][1:]
    check.equal((kind, why), (GAP, b"power_loss"))
    check.true(seq <= end and seq + at_most >= end + 3, (seq, at_most, end))


def test_ctrl_c_between_a_record_and_its_count_loses_nothing():
    board = Board()
    board.samples(3)
    board.sent()
    board.box.ack(1, 2)
    board.box.ring.put_sample(0, 3000, array("i", [1003, 1004]), 2)  # Ctrl-C comes right behind it
    check.equal(board.box.save(), 0)
    board.cut()
    check.equal(joined(board.sent()), [samples(1, 3, 3)])


def test_numbers_go_on_from_held_boots_where_the_file_of_the_last_one_is_damaged():
    board = Board()
    for _ in range(3):
        board.samples(3)
        board.box.save()
        board.cut()
    os.remove(ROOT + "/outbox/boots/running")
    os.remove(ROOT + "/outbox/boots/1")
    board.cut()
    check.equal([boot.number for boot in board.box.boots()], sorted(boot.number for boot in board.box.boots()))
    board.samples(3)
    board.cut()
    check.equal([int(boot.id, 16) for boot in board.box.boots()][-2:], [5, 6])


def test_a_start_on_a_flash_without_room_samples_on_and_uses_the_flash_once_there_is_room():
    for each in (False, True):
        board = Board(each=each)
        board.flash = Flash(64)
        ramflash.unmount()
        ramflash.mount(board.flash, fresh=True)
        try:
            with open(ROOT + "/big", "wb") as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            pass
        board.start()
        board.samples(30)
        board.turn(times=5)
        check.equal(joined(board.sent()), [samples(2, 0, 29)])
        board.box.rewind()
        os.remove(ROOT + "/big")
        board.turn(times=30)
        board.samples(1)
        board.turn(times=30)
        board.cut()
        check.equal(joined(board.sent())[0], samples(2, 0, 30))


check.run(globals())
