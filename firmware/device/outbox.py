"""Pure: what the gateway does not have on its disk yet, in the order in which it is sent: boots that have ended (they
lie in the journal), then the running one, whose older records may lie there, too, and whose newest are in RAM.

Each record has a sequence number, counting from 0 in each boot. What was lost, or refused for good, is not forgotten:
it goes out as a gap that takes the place of its numbers.

`load` finds the next frame: `count` records of `boot` from `seq` on, read from `source`, with `columns`. `sent` moves
on.
"""

from micropython import const

from device.bootfile import Boot  # noqa: F401  # for those who import it from here
from device.clock import ticks_diff
from device.records import Run
from device.ring import EVENT, GAP, SAMPLE, Ring  # noqa: F401

_DOWN_MS = const(2000)  # so long without a gateway, and what is held goes to flash
_SPILL_MS = const(10000)  # and then what came meanwhile, so often
_SPILL = const(64)  # records at once: some 1.4 erases, and as long as sampling can wait
_RETRY_MS = const(10000)  # after the flash has failed
_NO_LIMIT = const(0x3FFFFFFF)


class Gap:
    """A source that has nothing but a gap."""

    def __init__(self):
        self.because = b""
        self.lost = 0  # samples
        self._at_most = None

    def be(self, because, lost, at_most=None):
        self.because = because
        self.lost = lost
        self._at_most = at_most
        return self

    def kind(self, seq):
        return GAP

    def why(self, seq):
        return self.because

    def at_most(self, seq):
        """Not None: nobody knows how many were lost, and the boot has ended here."""
        return self._at_most

    def samples_lost(self, seq, count):
        return min(self.lost, count)


class Outbox:
    def __init__(self, boot, slots, width, journal=None, held=(), columns=None):
        """`boot` runs; `held` are ended ones, oldest first. A ring of `slots` records, samples with up to `width`
        values. Without a journal all lies in RAM. `columns` are those of the running boot (`wire.Columns`)."""
        self.ring = Ring(slots, width)
        self.running = boot
        self.columns = columns
        self.own_columns = columns
        self._boots = list(held) + [boot]
        self._journal = journal
        self._gap = Gap()
        self._down = None  # since when there has been no gateway; True: for long enough
        self._spilled = None  # when all went to flash, if that was just now
        self._retry = None  # when the flash failed, True: just now
        self._behind = False  # records of a boot that keeps each are not on flash
        self._lost = 0  # samples in the frame that was sent last
        self.boot = boot
        self.source = self.ring
        self.seq = self.count = 0

    @property
    def next(self):
        """What the next record will get."""
        return self.ring.next

    # -- through deep sleep --------------------------------------------------------------------------------------------

    def go_on(self, memory):
        """What the board remembers (an `asleep.Memory`) is where it goes on."""
        self.ring.go_on(memory.first, Run(memory.records) if memory.records else None)

    def open(self):
        """From now on the journal itself is needed, and not a stand-in."""
        self._journal.open()

    def opened(self, journal, held):
        """The journal, which a stand-in was there for, and the ended boots that it holds."""
        self._journal = journal
        self._boots[:-1] = held

    def speak(self, columns):
        """What it takes to make frames: a board that only wakes to measure does without."""
        self.columns = self.own_columns = columns

    def unsaved(self):
        """How many records are in RAM alone."""
        return self.ring.next - max(self.running.kept, self.running.base)

    def remember(self, memory):
        """What `go_on` is to find."""
        self.running.next = self.ring.next
        self._journal.remember(memory)

    def spill(self):
        """Writes all that is held in RAM to flash. Whether it is there, or nothing was held."""
        boot = self.running
        boot.kept = max(boot.kept, boot.base)
        if boot.kept < self.ring.next and self._journal is not None:
            self._spill(self.ring.next)
        return boot.kept >= self.ring.next

    # -- in ------------------------------------------------------------------------------------------------------------

    def put_sample(self, sensor, t_ms, values, count):
        """Keeps `count` values that sensor number `sensor` measured at `t_ms`. Allocates nothing unless the journal
        writes."""
        self._before_put()
        self.ring.put_sample(sensor, t_ms, values, count)
        self._after_put()

    def put_event(self, t_ms, body):
        """Keeps an event; `body` is its JSON from `columns.event_body`."""
        self._before_put()
        self.ring.put_event(t_ms, body)
        self._after_put()

    def _before_put(self):
        if self._journal is None:
            return
        ring = self.ring
        if not self._journal.below:  # it had been said that there is no more to come
            self._journal.reserve(self.running, ring.next, self._retry is None)
        if ring.full() and ring.first >= self.running.kept:
            self._spill(ring.first + _SPILL)

    def _after_put(self):
        self.running.next = self.ring.next
        journal = self._journal
        if journal is None:
            return
        if self.ring.next >= journal.below:  # behind this one, as the next may be measured before it is put
            journal.reserve(self.running, self.ring.next, self._retry is None)
        if journal.each and self._retry is None:
            if not journal.keep_newest(self.running, self.ring, self._boots):
                self._give_up()

    # -- to flash ------------------------------------------------------------------------------------------------------

    def poll(self, now, online):
        """Writes to flash what must not wait any longer. `online`: the gateway is there."""
        journal = self._journal
        if journal is None:
            return
        if self._retry is True:
            self._retry = now
        if self._retry is not None:
            if ticks_diff(now, self._retry) < _RETRY_MS:
                return
            self._retry = None
        ring = self.ring
        boot = self.running
        if self._behind or ring.next + journal.ahead >= journal.below:  # behind: the last promise may not be on flash
            journal.reserve(boot, ring.next, not self._behind)
        pending = ring.next - max(boot.kept, boot.base)
        self._watch(now, online)
        if journal.each:
            if self._behind:
                self._behind = not self._spill(ring.next)
        elif pending > ring.size - ring.size // 4 or pending and ring.many_events():
            self._spill(boot.kept + _SPILL)
        elif pending and self._down is True and (pending >= _SPILL or self._spilled is None):
            if self._spill(boot.kept + _SPILL) and boot.kept == ring.next:
                self._spilled = now

    def _watch(self, now, online):
        """Keeps spans short: ticks of more than 6 days ago mean nothing."""
        if online:
            self._down = None
        elif self._down is None:
            self._down = now
        elif self._down is not True and ticks_diff(now, self._down) >= _DOWN_MS:
            self._down = True
        if self._spilled is not None and ticks_diff(now, self._spilled) >= _SPILL_MS:
            self._spilled = None

    def save(self):
        """The end: everything goes to flash. How many records do not. 0: and it is said that the boot ended in
        order."""
        journal = self._journal
        boot = self.running
        if journal is None:
            return self.backlog()
        self._retry = None
        boot.next = self.ring.next  # Ctrl-C may have come between the two
        self._spill(self.ring.next)
        left = self.ring.next - max(boot.kept, boot.base)
        if not left:
            try:
                journal.end(boot)
            except OSError:
                pass  # then the next boot reports what may be missing, which is nothing
        return left

    def _spill(self, end):
        """Writes the oldest records in RAM to the journal, up to `end` - 1. Whether it worked."""
        boot = self.running
        if self._retry is not None:
            return False
        boot.kept = max(boot.kept, boot.base)
        if self._journal.keep(boot, self.ring, min(end, self.ring.next), self._boots):
            return True
        self._give_up()
        return False

    def _give_up(self):
        self._retry = True  # `poll` puts the time in its place
        if self._journal.each:
            self._behind = True
            self._journal.reserve(self.running, self.ring.next, False)

    # -- out -----------------------------------------------------------------------------------------------------------

    def boots(self):
        """Every boot that still has something to be sent, oldest first, and the running one."""
        return self._boots

    def newest_ms(self, boot):
        """When the newest record that is held of a boot was taken, None where that is not known."""
        ring = self.ring
        if boot is self.running:
            return ring.t_ms(ring.next - 1) if ring.next > ring.first else None
        return boot.t_ms

    def backlog(self):
        """Sequence numbers that are not acknowledged."""
        count = 0
        for boot in self._boots:
            count += boot.end() - boot.base
        return count

    def under_way(self):
        """Sequence numbers that were sent and are not acknowledged."""
        count = 0
        for boot in self._boots:
            count += boot.sent - boot.base
        return count

    def load(self, limit):
        """Finds the next frame, of `limit` samples at most. Returns `count`, 0 where there is nothing to send."""
        for boot in self._boots:
            if boot.sent < boot.end():
                return self._load(boot, limit)
        self.count = 0
        return 0

    def _load(self, boot, limit):
        seq = boot.sent
        self.boot = boot
        self.columns = self.own_columns
        ring = self.ring
        if seq < boot.refused_to:
            self._be_gap(seq, boot.refused_to, b"refused", boot.refused_samples)
        elif boot.freed_from <= seq < boot.freed_to:
            self._be_gap(seq, boot.freed_to, b"full", boot.freed_samples)
        elif boot is self.running and seq >= ring.first:
            self._from(ring, seq, limit)
        elif seq < boot.kept:
            page = self._journal.load(boot, seq)
            if page is not None:
                self._from_page(page, boot, seq, limit)
            elif self._journal.first(boot) is None:  # somebody removed the files
                self._be_gap(seq, boot.kept, b"other", boot.kept - seq)
            else:  # what lies before was acknowledged in an earlier boot
                boot.sent = self._journal.first(boot)
                if boot.base == seq:
                    boot.base = boot.sent
                return self.load(limit)
        elif boot is self.running:
            self._be_gap(seq, ring.first, b"full", ring.samples_lost(seq, ring.first - seq))
        else:
            self._gap.be(b"power_loss", 0, boot.below - boot.next)
            self._be(self._gap, seq, 1)
        return self.count

    def _from(self, source, seq, limit):
        if self.columns is not None:
            limit = min(limit, self.columns.limit)
        self._be(source, seq, source.run(seq, limit))

    def _from_page(self, page, boot, seq, limit):
        if boot is not self.running and boot.profile != self.running.profile and page.kind(seq) == SAMPLE:
            if boot.columns is None:
                columns = self._journal.columns(boot)
                boot.columns = self.own_columns.other(columns) if columns else False
            if not boot.columns:  # nobody knows any more what these numbers mean
                count = page.run(seq, _NO_LIMIT)
                self._be_gap(seq, seq + count, b"other", count)
                return
            self.columns = boot.columns
        self._from(page, seq, limit)

    def _be_gap(self, seq, end, why, lost):
        self._be(self._gap.be(why, lost), seq, end - seq)

    def _be(self, source, seq, count):
        self.source = source
        self.seq = seq
        self.count = count

    def mark_sent(self):
        """The frame that `load` found is under way."""
        self.boot.sent += self.count
        kind = self.source.kind(self.seq)
        if kind == SAMPLE:
            self._lost = self.count
        else:
            self._lost = self.source.samples_lost(self.seq, self.count) if kind == GAP else 0

    # -- what the gateway says -----------------------------------------------------------------------------------------

    def ack(self, number, seq):
        """Everything of a boot through `seq` is on the gateway's disk. False for what was never sent: that is not
        believed."""
        for boot in self._boots:
            if boot.number == number:
                if seq >= boot.sent and (boot is self.running or boot.sent < boot.end()):
                    return False  # of an ended boot that is sent wholly, the gateway may know more than we do
                self._free(boot, seq)
                return True
        return True  # of a boot that was forgotten meanwhile

    def resume(self, committed):
        """A new connection: what the gateway has, by boot number (left out or -1: nothing). False where that is more
        than the running boot has. Less than was acknowledged is believed: it was restored from a backup, and counts
        the hole."""
        if committed.get(self.running.number, -1) >= self.ring.next:
            return False
        for boot in list(self._boots):
            seq = committed.get(boot.number, -1)
            if boot is not self.running:
                if seq + 1 < boot.below:
                    seq = min(seq, boot.next - 1)  # not the place of the open gap: that it ended there is news
            self._free(boot, seq)
        self.rewind()
        return True

    def rewind(self):
        """Sends again from the first that is not acknowledged."""
        for boot in self._boots:
            boot.sent = boot.base

    def refuse(self):
        """The gateway cannot read the one frame that is under way: it becomes a gap."""
        boot = self.boot
        boot.refused_to = boot.sent
        boot.refused_samples = self._lost
        if boot is not self.running and boot.sent > boot.next:  # not even how it ended: that is all there was to say
            self._free(boot, boot.sent)
        self.rewind()

    def rename(self, boot):
        """Goes on under a new identity, counting from 0 again: the gateway says it knows more than there is. What lies
        only on flash, under the old identity, is lost, and counted."""
        old = self.running
        ring = self.ring
        shift = old.base
        ring.renumber(shift)
        boot.next = ring.next
        boot.kept = 0
        if self._journal is not None:
            self._journal.rename(boot)
        self._boots[-1] = self.running = self.boot = boot

    def _free(self, boot, seq):
        """Everything through `seq` is acknowledged."""
        if seq < boot.base:
            return
        if boot.freed_from <= seq < boot.freed_to - 1:  # the gap has grown since it was sent
            boot.freed_samples = min(boot.freed_samples, boot.freed_to - 1 - seq)
            boot.freed_from = seq + 1
        boot.base = seq + 1
        boot.sent = max(boot.sent, boot.base)
        if boot is self.running:
            self.ring.free_through(seq)
            boot.kept = max(boot.kept, boot.base)
        if self._journal is not None:
            if boot is not self.running and boot.base >= boot.end():
                self._journal.forget(boot)
                self._boots.remove(boot)
            else:
                self._journal.free_through(boot, seq)
