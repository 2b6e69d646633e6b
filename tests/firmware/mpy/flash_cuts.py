"""Power cuts at every flash operation: journal, outbox and boot record on a littlefs in RAM, and a gateway of a few lines.

    flash_cuts.py SETTING FIRST_SEED SCENARIOS EVERY [full]

A scenario is a seeded run of samples, events, polls, frames, acknowledgements (some of which get lost), restarts with
and without a clean end, deep sleeps that end in a wake, a reset or a power cut, and a gateway restored from an old
backup. With `full` records are long and the gateway is
rarely there, so that the oldest segments make way. It is run once to count its flash operations; then again and again,
and each time the power goes in another of them: before it, in its middle, or right behind it. Every EVERY-th cut is
tried; in every other the program dies there and the RTC's memory stays, as a watchdog would have it. What the chip took is written down before the outbox hears of it. After a cut the board is powered again,
everything is delivered, and then there must be

    nothing lost that was promised: all that was on flash, and with "none" all that `put` has returned from
    nothing invented: whatever was delivered is what was taken under that identity
    nothing given up for another reason: a gap that is no end says `full`
    nothing uncounted: what is not delivered lies in a gap, and what nobody counted within the bound of the gap that
    ends its boot

Prints one JSON object: how many cuts were tried and what they cost.
"""

import gc
import json
import sys
from array import array

import ramflash
from device import asleep, wire
from device.journal import Journal
from device.outbox import Outbox
from ramflash import ROOT, Flash, PowerCut

BLOCKS = 40
PROFILES = ("5a0f9c3be1d27718", "00000000000000ff")
COLUMNS = [["a", 0], ["b", 0]]
TEARS = (0.0, 0.5, 1.0)
STEP = 16  # a small promise, so that it is made anew often
FLASH_BYTES = 32768
STEPS = {False: 40, True: 14}  # full or not
LONG = 900  # bytes of an event that fills the flash
DEVICE = "greenhouse"


class Chance:
    """The same numbers from the same seed, on every port."""

    def __init__(self, seed):
        self.state = seed * 2654435761 + 12345 & 0xFFFFFFFF
        for _ in range(4):
            self.below(2)

    def below(self, end):
        self.state = self.state * 1664525 + 1013904223 & 0xFFFFFFFF
        return (self.state >> 8) % end


class Gateway:
    """Keeps what comes, as the real one does: what it has is cut off, a hole is its own gap, an end is an end."""

    def __init__(self, boots=None):
        # id: [through, ended, {seq: record}, [(from, to, count or None, "gateway" or why)], open gap]
        self.boots = boots or {}

    def copy(self):
        return Gateway({id: [b[0], b[1], dict(b[2]), list(b[3]), b[4]] for id, b in self.boots.items()})

    def boot(self, id):
        return self.boots.setdefault(id, [-1, False, {}, [], None])

    def take(self, id, frame):
        """Returns what is committed then."""
        boot = self.boot(id)
        if frame["type"] == "gap":
            seq, last = frame["from"], frame["to"]
        else:
            seq = frame["seq"]
            last = seq + len(frame["t"]) - 1 if frame["type"] == "samples" else seq
        open_end = frame["type"] == "gap" and last is None
        if boot[1]:
            expect(open_end or last <= boot[0], "a record behind the end of its boot", id, frame)
            return boot[0]
        if seq > boot[0] + 1:
            boot[3].append((boot[0] + 1, seq - 1, None, "gateway"))
            boot[0] = seq - 1
        if open_end:
            at_most = frame["at_most"] - (boot[0] + 1 - seq)
            boot[1] = True
            if at_most > 0:
                boot[0] += 1
                boot[4] = (boot[0], at_most)
        elif frame["type"] == "gap":
            expect(0 <= frame["count"] <= last + 1 - seq, "a gap that counts too much", id, frame)
            if last > boot[0]:
                boot[3].append((boot[0] + 1, last, frame["count"] if seq == boot[0] + 1 else None, frame["why"]))
                boot[0] = last
        else:
            for i in range(last + 1 - seq):
                record = self._record(frame, i)
                before = boot[2].get(seq + i)
                expect(before is None or before == record, "a repeat that differs", id, seq + i, record, before)
                if seq + i > boot[0]:
                    boot[2][seq + i] = record
            boot[0] = max(boot[0], last)
        return boot[0]

    @staticmethod
    def _record(frame, i):
        if frame["type"] == "event":
            return (frame["t"], frame["code"])
        row = []
        for name, _ in COLUMNS:
            column = frame["values"].get(name)
            row.append(column[i] if column else None)
        return (frame["t"][i],) + tuple(row)


class Wrong(Exception):
    pass


def expect(true, *what):
    if not true:
        raise Wrong(what)


class World:
    """The board, its flash, the gateway, and the truth."""

    def __init__(self, each, full, flash, gateway, taken, starts):
        self.each = each
        self.full = full
        self.flash = flash
        self.gateway = gateway
        self.taken = taken  # id: [record], by seq
        self.promised = {}  # id: below this nothing may be lost
        self.acked = {}  # id: below this the device was told that it is on disk
        self.restored = False  # the gateway, from a backup: what it had acknowledged since is its own loss
        self.starts = starts
        self.now = 0
        self.online = False
        self.out = wire.Writer(bytearray(4096), 0)
        self.box = None
        self.rtc = b""  # its memory
        self.remembered = {}  # id: below this, what is not on flash or acknowledged is in the RTC's memory

    def copy(self):
        world = World(
            self.each,
            self.full,
            Flash(BLOCKS, bytearray(self.flash.data)),
            self.gateway.copy(),
            {id: list(records) for id, records in self.taken.items()},
            self.starts,
        )
        world.promised = dict(self.promised)
        world.acked = dict(self.acked)
        world.rtc = self.rtc
        world.remembered = dict(self.remembered)
        world.restored = self.restored
        return world

    # -- the board -----------------------------------------------------------------------------------------------------

    def start(self, woken=False, shut=False):
        """A start of the chip; the flash is mounted. `woken`: out of deep sleep. `shut`: the journal is opened when it
        is needed."""
        self.starts += 1
        self.online = False
        self.box = None
        gc.collect()
        profile = PROFILES[self.starts // 3 & 1]
        columns = wire.Columns([[wire.Column(*column) for column in COLUMNS]], 1024)
        memory = asleep.unpack(self.rtc, DEVICE)
        if memory and memory.asleep and woken and memory.boot.profile == profile:
            self._go_on(memory, columns, shut)
        else:
            self._begin(memory, profile, columns)

    def _journal(self):
        return Journal(ROOT, FLASH_BYTES, STEP, self.each, lambda level, text: None)

    def _go_on(self, memory, columns, shut):
        self.rtc = asleep.taken_up(self.rtc)
        boot = memory.boot

        def open():
            journal = self._journal()
            box.opened(journal, journal.go_on(boot, memory))
            self.flash.alive()
            return journal

        stand_in = asleep.Shut(open, memory, STEP // 2)
        self.box = box = Outbox(boot, 24, 2, stand_in, [], columns)
        box.go_on(memory)
        if self.each or not shut:
            box.open()

    def _begin(self, memory, profile, columns):
        journal = self._journal()
        running, held = journal.begin(profile, f"{self.starts:016x}", [COLUMNS], memory)
        self.flash.alive()
        self.box = Outbox(running, 24, 2, journal, held, columns)
        self.taken[running.id] = []
        if memory:  # now it is on flash
            id = memory.boot.id
            self.promised[id] = max(self.promised.get(id, 0), self.remembered.get(id, 0))
            for boot in held:
                known = memory.asleep and boot.id == id and not self.full
                expect(not known or not boot.below, "the end of a boot that slept is known", id, boot.below)
        self.rtc = b""
        numbers = [boot.number for boot in self.box.boots()]
        expect(len(set(numbers)) == len(numbers), "a boot number twice", numbers)

    def sample(self, event):
        box = self.box
        records = self.taken[box.running.id]
        seq = box.next
        expect(seq == len(records), "a sequence number that was left out", seq, len(records))
        t_ms = self.now + seq
        if event:
            code = "e%d" % seq
            if self.full:
                code += "x" * LONG
            records.append((t_ms, code))
            box.put_event(t_ms, b'"code":"%s"' % code.encode())
        else:
            records.append((t_ms, self.starts, seq))
            box.put_sample(0, t_ms, array("i", [self.starts, seq]), 2)
        self._note()

    def turn(self, ms):
        self.now += ms
        self.box.poll(self.now, self.online)
        self._note()

    def _note(self):
        self.flash.alive()
        running = self.box.running
        self.promised[running.id] = running.next if self.each else max(running.kept, self.promised.get(running.id, 0))

    def connect(self):
        self.box.open()
        committed = {boot.number: self.gateway.boot(boot.id)[0] for boot in self.box.boots()}
        expect(self.box.resume(committed), "4010")
        self.flash.alive()
        self.online = True

    def send(self, frames, limit):
        """That many frames; the newest acknowledgement of each boot."""
        box = self.box
        acks = {}
        while frames and box.load(limit):
            wire.record(self.out.clear(), box)
            frame = json.loads(bytes(self.out.buf[: self.out.at]))
            expect(frame["boot"] == box.boot.number, "a frame of another boot")
            acks[box.boot.number, box.boot.id] = self.gateway.take(box.boot.id, frame)
            box.mark_sent()
            self.flash.alive()
            frames -= 1
        return acks

    def ack(self, acks):
        for (number, id), seq in acks.items():
            ended = self.gateway.boot(id)[1]
            self.acked[id] = max(self.acked.get(id, 0), 1 << 28 if ended else seq + 1)
            expect(self.box.ack(number, seq), "an ack that is not believed", number, seq)
            self.flash.alive()

    def restart(self, clean):
        if clean:
            self.box.save()
            self._note()
        self.flash_again()
        self.start()

    def sleep(self, spill, ends, shut):
        """Deep sleep, which `ends` in a wake, a reset or a power cut."""
        box = self.box
        if spill:
            box.spill()
            self._note()
        rtc = asleep.remember(box, DEVICE, lambda memory: None)
        self._note()  # raises where the cut struck: nothing came behind it
        self.rtc = rtc
        self.remembered[box.running.id] = box.next
        if ends == "power":
            self.rtc = b""
        self.flash_again()
        self.start(ends == "wake", shut)

    def flash_again(self):
        cut_at, operations = self.flash.cut_at, self.flash.operations
        tear = self.flash.tear
        self.flash = ramflash.power_up(self.flash)
        self.flash.cut_at, self.flash.operations, self.flash.tear = cut_at, operations, tear

    # -- what must hold ------------------------------------------------------------------------------------------------

    def check(self, cost):
        """Everything has been delivered."""
        for id, records in self.taken.items():
            if id == self.box.running.id:
                continue
            through, ended, have, gaps, end = self.gateway.boot(id)
            for seq, record in have.items():
                expect(seq < len(records) and records[seq] == record, "invented", id, seq, record)
            missing = [seq for seq in range(len(records)) if seq not in have]
            cost["records"] += len(records)
            for first, last, count, whose in gaps:
                inside = [seq for seq in missing if first <= seq <= last]
                missing = [seq for seq in missing if not first <= seq <= last]
                if whose == "gateway":  # it lost them itself, after it had said that it has them
                    expect(last < self.acked.get(id, 0), "a hole that no gap explains", id, first, last)
                else:
                    expect(self.full and whose == "full", "a gap for no reason", id, first, last, whose)
                    samples = sum(1 for seq in inside if len(records[seq]) == 3)
                    if count is not None:  # where a part was under way when it was freed, it may count too much
                        right = samples <= count <= last + 1 - first
                        expect(right, "a gap that counts wrongly", id, first, last, count, samples)
                        cost["more"] += count - samples
                    cost["gaps"] += 1
            if self.restored:
                missing = [seq for seq in missing if seq >= self.acked.get(id, 0)]
            for seq in missing:
                expect(seq >= self.promised.get(id, 0), "lost", id, seq, self.promised.get(id, 0), len(records))
                expect(end and seq >= end[0], "lost without a gap", id, seq, end)
            if missing:
                expect(len(missing) <= end[1], "more lost than the gap says", id, missing, end)
            if end and self.each:
                expect(end[1] <= 1, "the bound of what each record's way to flash can cost", end)
            cost["unknown"] += len(missing)


def act(world, chance, backups):
    """One step of a scenario."""
    what = chance.below(24)
    if world.full and 12 <= what < 17 and chance.below(6):
        what = 0
    if what < 7:
        for _ in range(1 + chance.below(12)):
            world.sample(chance.below(2 if world.full else 9) == 0)
    elif what < 11:
        for _ in range(1 + chance.below(3)):
            world.turn(1000 + 500 * chance.below(8))
    elif what < 12:
        world.online = False
    elif what < 17:
        if not world.online or chance.below(8) == 0:
            world.connect()
        acks = world.send(1 + chance.below(6), 1 + chance.below(20))
        if chance.below(4):
            world.ack(acks)
        world.turn(200)
    elif what < 19:
        world.restart(chance.below(2) == 0)
    elif what < 23:
        ends = ("wake", "wake", "wake", "wake", "reset", "power")[chance.below(6)]
        world.sleep(chance.below(4) == 0, ends, chance.below(2) == 0)
    elif chance.below(3) == 0:
        backups.append(world.gateway.copy())
    elif backups and chance.below(3) == 0:
        world.gateway = backups[chance.below(len(backups))].copy()
        world.restored = True
        for id in world.taken:
            world.gateway.boot(id)
        world.online = False


def scenario(world, seed, steps):
    chance = Chance(seed)
    backups = []
    for _ in range(steps):
        act(world, chance, backups)


def deliver(world, chance, crashed=False):
    """The board is powered again; the power may go once more meanwhile. Then all is delivered and acknowledged.
    `crashed`: the power had not gone at all, and the RTC remembers."""
    if not crashed:
        world.rtc = b""
    world.flash_again()
    world.flash.cut_at = -1
    if chance.below(4) == 0:
        world.flash.operations = 0
        world.flash.cut_at = chance.below(12)
        world.flash.tear = TEARS[chance.below(3)]
    try:
        world.start()
        drain(world, chance)
    except PowerCut:
        world.flash.cut_at = -1
        world.rtc = b""
        world.flash_again()
        world.flash.cut_at = -1
        world.start()
        drain(world, chance)
    world.flash.cut_at = -1
    world.sample(False)
    world.turn(100)
    boots = world.box.boots()
    expect(len(boots) == 1, "held although all is acknowledged", [boot.number for boot in boots])


def drain(world, chance):
    world.connect()
    while True:
        acks = world.send(8, 1 + chance.below(30))
        if not acks:
            return
        world.ack(acks)


def main(each, full, seed, scenarios, every):
    cost = {"cuts": 0, "operations": 0, "scenarios": 0, "gaps": 0, "more": 0, "unknown": 0, "records": 0}
    start = fresh(each, full)
    for number in range(scenarios):
        if number % 3 == 0:
            start = fresh(each, full)
        before = start
        whole = before.copy()
        ramflash.unmount()
        ramflash.mount(whole.flash)
        whole.start()
        scenario(whole, seed + number, STEPS[full])
        operations = whole.flash.operations
        cost["operations"] += operations
        cost["scenarios"] += 1
        start = whole
        for cut in range(number % every, operations * len(TEARS), every):
            one(before, seed + number, cut, cost)
        gc.collect()
    print(json.dumps(cost))


def fresh(each, full):
    flash = Flash(BLOCKS)
    ramflash.unmount()
    ramflash.mount(flash, fresh=True)
    flash.operations = 0
    world = World(each, full, flash, Gateway(), {}, 0)
    return world


def one(before, seed, cut, cost):
    world = before.copy()
    world.flash.cut_at = cut // len(TEARS)
    world.flash.tear = TEARS[cut % len(TEARS)]
    ramflash.unmount()
    try:
        try:
            ramflash.mount(world.flash)
            world.start()
            scenario(world, seed, STEPS[world.full])
            raise Wrong("no cut")
        except PowerCut:
            pass
        deliver(world, Chance(seed * 1000 + cut), cut & 1 == 1)
        world.check(cost)
        cost["cuts"] += 1
    except Exception:
        print(f"each={world.each} full={world.full} seed={seed} cut={cut} of operation {cut // len(TEARS)}")
        raise


if __name__ == "__main__":
    main(sys.argv[1] == "none", sys.argv[5:] == ["full"], *(int(argument) for argument in sys.argv[2:5]))
