"""Shell: what outlives a power cut, kept in /outbox on the flash: segments, tails and the records of the boots.

At power-up `begin` finds out how the boot before ended, and what is still held of it and of older ones. While it runs,
`keep` writes records to segments, `keep_newest` to the tails, `reserve` the promise that bounds what a cut may cost.

Nothing in here stops the sampling: where the flash is full or fails, records stay in RAM, and it is tried again later.
"""

import json
import os
from micropython import const

from device.bootfile import Boot, BootFiles, free_number
from device.records import Run
from device.segments import BLOCK, Segments
from device.tails import SLOTS, Tails

MAX_BOOTS = const(24)  # ended ones: a hello that lists them fits into a frame
_MAX_SEGMENTS = const(100)
_LARGEST_SEGMENT = const(16384)
_FOREVER = const(0x3FFFFFFF)
_ENOSPC = const(28)


class Journal:
    def __init__(self, root, flash_bytes, step, each, log):
        """`root`: where the flash is mounted, "" on a board. `flash_bytes`: for segments. `step`: how many records are
        promised at a time. `each`: every record is on flash before it is sent."""
        self._folder = folder = root + "/outbox"
        self._make_folders()
        self._old_counter = root + "/boot.json"
        self._files = BootFiles(folder + "/boots")
        segment_bytes = min(_LARGEST_SEGMENT, flash_bytes // 8 // BLOCK * BLOCK)
        self._segments = Segments(folder + "/segments", segment_bytes)
        self._tails = Tails(folder + "/tails")
        self._most_blocks = flash_bytes // BLOCK
        self._step = step
        self.ahead = step // 2
        """So many records before the promise ends it is time to make it anew."""
        self.each = each
        self._log = log
        self._strict = False  # what stands in the file of the running boot
        self._written = False  # whether it is there at all
        self.below = 0  # no record may reach this before `reserve` is called
        self.failing = False
        self.failures = 0
        self.forgotten = None  # (boots, records) that were held and are not any more, for an event

    # -- power-up ------------------------------------------------------------------------------------------------------

    def begin(self, profile, id, columns, memory=None):
        """(running Boot, [ended Boots that are still held, oldest first]). `columns`: of the running profile, as
        `BootFiles.write_columns` takes them. `memory`: what the RTC remembers of a boot that slept."""
        held = self._files.ended()
        before = self._files.running()
        if before is None and memory is not None:  # its file cannot be read: the RTC's memory knows as much
            before = memory.as_boot(), False, memory.strict
        number = self._counter()
        new = []
        if before:
            number = before[0].number
            held = [other for other in held if other.id != before[0].id]  # a cut struck between the two files
            self._find_end(*before, memory)
            new.append(before[0])
        orphans = self._orphans(held + new)
        held = sorted(held + orphans, key=lambda boot: boot.number) + new
        new += orphans
        held = [boot for boot in held if self._settle(boot)]
        surplus = _surplus(held)
        number = max([number] + [other.number for other in held])
        boot = Boot(free_number(number + 1, held + surplus), id, profile)
        self._count_forgotten(boot, surplus, before[0] if before else None)
        for other in new:
            if other in held:
                self._try(self._files.write_ended, other)
        self.reserve(boot, 0, True)
        for other in surplus:  # now that it is written down
            self.forget(other)
        if self._written:
            try:
                os.remove(self._old_counter)
            except OSError:
                pass
        self._files.keep_columns([boot.profile for boot in held] + [profile])
        self._try(self._files.write_columns, profile, columns)
        return boot, held

    def go_on(self, boot, memory):
        """The ended boots that are still held, oldest first, where `boot` did not end but slept: what `begin` did for
        it still stands."""
        self.below = memory.below
        self._strict = memory.strict
        self._written = memory.written
        return [other for other in self._files.ended() if other.id != boot.id and self._settle(other)]

    def open(self):
        """It is: see `doze`, where something else may stand in its place."""

    def remember(self, memory):
        """What `go_on` is to find."""
        memory.below = self.below
        memory.strict = self._strict
        memory.written = self._written

    def _counter(self):
        """The last boot's number where only the file of an older firmware says it."""
        try:
            with open(self._old_counter) as file:
                number = json.load(file)["boot"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return number if type(number) is int else 0

    def _find_end(self, boot, clean, strict, memory):
        """How the boot before this one ended.

        After an unclean end, nobody knows how many records it took beyond those on flash: fewer than `below`, which it
        promised before it took them. The gap begins behind all that is known here: on flash, or acknowledged when the
        file was last written. Behind that the gateway may have more; it cuts off what it has, so the gap is the same
        each time it is sent. This holds even where the gateway was restored from an old backup: a record it lost then
        lies below `from`, where the gateway sees a hole and counts it, or between `from` and `below`, where it is in
        the bound.

        Where it has slept, the RTC's memory may have more of it; and where it never woke, its end is known."""
        if clean:
            boot.below = 0
            self._segments.end(boot)  # for the time of the newest
            return
        if memory is not None and memory.boot.id != boot.id:
            memory = None
        below = boot.below
        kept = self._segments.end(boot)
        found = self._tails.read(boot)
        run = Run(found) if found else None
        if run and run.first > kept and run.next - run.first == SLOTS:
            boot.base = max(boot.base, run.first)  # what lies before was acknowledged before a tail was used again
        if memory:
            boot.base = max(boot.base, memory.boot.base)
            found.update(memory.records)
            run = Run(found) if found else None
            if memory.asleep:
                below = memory.boot.next
        if run and run.next > kept:
            if boot.base >= run.first > kept:
                self._drop(boot)
            try:
                kept = max(kept, run.first)
                while kept < run.next:  # a segment may end among them
                    kept = self._segments.append(boot, run, kept, run.next)
                boot.t_ms = run.t_ms(run.next - 1) if run.kind(run.next - 1) < 2 else boot.t_ms
            except OSError as error:  # then they are lost: `below` says how many
                self._failed(error)
            below = max(below, run.next + 1) if kept < run.next else below
        boot.next = boot.kept = max(kept, boot.base, boot.freed_to)
        if strict and not (memory and memory.asleep):  # one record at most was taken and not yet written
            below = max(boot.next, run.next if run else 0) + 1
        boot.below = below if below > boot.next else 0

    def _orphans(self, held):
        """Boots of which only segments are left, their file being unreadable."""
        found = []
        numbers = [boot.number for boot in held]
        for number in self._segments.numbers():
            if number in numbers:
                continue
            owner = self._segments.owner(number)
            if owner is None or owner[0] in [boot.id for boot in held]:
                self._drop(Boot(number, "", ""))
                continue
            boot = Boot(number, owner[0], owner[1])
            boot.next = boot.kept = self._segments.end(boot)
            boot.below = boot.next + self._step
            found.append(boot)
        return found

    def _settle(self, boot):
        """Finds where what is held of an ended boot begins. False where nothing is held: it is forgotten."""
        segments = self._segments
        first = segments.first(boot.number)
        try:
            while first is not None and segments.first_end(boot.number, boot.next) <= boot.freed_to:
                segments.remove_first(boot.number)  # a cut struck while it was freed
                first = segments.first(boot.number)
        except OSError as error:
            self._failed(error)
        if boot.base >= boot.end():
            pass  # a cut struck while it was forgotten
        elif boot.freed_to > boot.base:
            boot.base = max(boot.base, boot.freed_from)
        elif first is not None:
            boot.base = max(boot.base, first)
        elif boot.below > boot.next:
            boot.base = boot.next
        boot.sent = boot.base
        if boot.base < boot.end():
            return True
        self.forget(boot)
        return False

    def _count_forgotten(self, boot, surplus, before):
        """What `boot` has to tell: the `surplus`, and what those of them, or the boot before, did not come to tell."""
        for other in surplus:
            boot.forgotten[0] += 1
            boot.forgotten[1] += max(other.next, other.below) - other.base
            if other.base < 2 and other is not before:
                self._pass_on(other, boot)
        if before and (before.next < 2 or before in surplus and before.base < 2):
            self._pass_on(before, boot)
        if boot.forgotten[0]:
            self.forgotten = tuple(boot.forgotten)

    @staticmethod
    def _pass_on(other, boot):
        boot.forgotten[0] += other.forgotten[0]
        boot.forgotten[1] += other.forgotten[1]
        other.forgotten = [0, 0]

    # -- while it runs -------------------------------------------------------------------------------------------------

    def reserve(self, boot, next, strict):
        """Promises that no record reaches `below` before this is called again. With `strict`, that every record is on
        flash before the next is taken."""
        strict = strict and self.each
        below = _FOREVER if strict else next + self._step
        if self.failing and not self._written:
            self._make_folders()  # there was no room for them
        try:
            self._files.write_running(boot, next + 1 if strict else below, strict=strict)
            self._written = True
            self._strict = strict
        except OSError as error:
            # The promise cannot be kept, and sampling goes on: a flash that takes no small file will hardly give back
            # what a later boot would have to reckon with.
            self._failed(error)
        self.below = below

    def end(self, boot):
        """A clean end: all of `boot` is on flash or acknowledged. OSError."""
        self._files.write_running(boot, 0, clean=True)
        self.below = 0  # whoever takes another record after all takes the word back first

    def keep(self, boot, ring, end, boots):
        """Writes the records of `ring` from `boot.kept` to `end` - 1 to the journal, freeing the oldest of `boots`
        where there is no room. False where it fails."""
        if not self._written:  # else they would be found without their boot
            self.reserve(boot, ring.next, False)
            if not self._written:
                return False
        try:
            while boot.kept < end:
                self._make_room(boots)
                try:
                    kept = self._segments.append(boot, ring, boot.kept, end)
                except OSError as error:
                    if error.errno != _ENOSPC or not self._free_oldest(boots):
                        raise
                    self._most_blocks = max(2, min(self._most_blocks, self._segments.blocks + 2))
                    continue
                boot.kept = kept
                ring.keep_through(kept - 1)
            if self.each and not self._strict and boot.kept == ring.next:
                self.reserve(boot, ring.next, True)
        except OSError as error:
            self._failed(error)
            return False
        if self.failing:
            self.failing = False
            self._log("info", "flash: works again")
        return True

    def keep_newest(self, boot, ring, boots):
        """Of a boot that keeps each: the newest record, before anything else is done. False where it fails."""
        seq = ring.next - 1
        if self._strict and seq - SLOTS < max(boot.base, boot.kept):
            try:
                if self._tails.write(boot, ring, seq):
                    return True
            except OSError as error:
                self._failed(error)
        return self.keep(boot, ring, ring.next, boots)

    def _make_room(self, boots):
        segments = self._segments
        while segments.blocks + 2 > self._most_blocks or segments.count() >= _MAX_SEGMENTS:
            if not self._free_oldest(boots):
                break

    def _free_oldest(self, boots):
        """The oldest segment makes way. Its boot's file says so first: a cut in between leaves a file that is removed
        at the next start."""
        segments = self._segments
        for boot in boots:
            first = segments.first(boot.number)
            if first is None:
                continue
            end = segments.first_end(boot.number, boot.kept)
            if boot is boots[-1] and end == boot.kept:
                return False  # what is being written: the ring has room for more than that
            start = max(boot.base, first)
            before = boot.freed_from, boot.freed_to, boot.freed_samples
            if boot.freed_to <= boot.base:
                boot.freed_from = start
                boot.freed_samples = 0
            uncounted = max(start, boot.freed_to)  # where it could not be removed last time, it has been counted
            boot.freed_samples += segments.samples(boot, uncounted, end)
            boot.freed_to = end
            try:
                if boot is boots[-1]:
                    self._files.write_running(boot, boot.next + 1 if self._strict else self.below, strict=self._strict)
                else:
                    self._files.write_ended(boot)
            except OSError:
                boot.freed_from, boot.freed_to, boot.freed_samples = before
                raise
            segments.remove_first(boot.number)
            return True
        return False

    def load(self, boot, seq):
        """The page with record `seq`, as `Segments.load`."""
        return self._segments.load(boot, seq, boot.kept)

    def first(self, boot):
        return self._segments.first(boot.number)

    def columns(self, boot):
        return self._files.columns(boot.profile)

    def free_through(self, boot, seq):
        """Everything of `boot` through `seq` is acknowledged."""
        self._try(self._segments.free_through, boot, seq, boot.kept)

    def forget(self, boot):
        """An ended boot holds nothing any more. Its file says so before the segments go, and goes last: segments
        without one are of a boot whose end is unknown."""
        boot.base = boot.end()
        if self._segments.first(boot.number) is not None:
            self._try(self._files.write_ended, boot)
            self._drop(boot)
        self._files.remove(str(boot.number))

    def rename(self, boot):
        """The running boot goes on under another identity: nothing is on flash of that."""
        self._drop(boot)
        self.reserve(boot, boot.next, False)

    def _make_folders(self):
        for path in ("", "/boots", "/segments", "/tails"):
            try:
                os.mkdir(self._folder + path)
            except OSError:
                pass  # it is there; or the flash fails, which will show

    def _drop(self, boot):
        try:
            while self._segments.first(boot.number) is not None:
                self._segments.remove_first(boot.number)
        except OSError as error:
            self._failed(error)

    def _try(self, write, *arguments):
        try:
            write(*arguments)
        except OSError as error:
            self._failed(error)

    def _failed(self, error):
        self.failures += 1
        if not self.failing:
            self.failing = True
            self._log("warning", "flash: %s: samples stay in memory" % error)


def _surplus(held):
    """Takes out of `held` what is too much: a device that starts again and again keeps the boots that hold most."""
    surplus = []
    while len(held) > MAX_BOOTS:
        boot = min(held, key=lambda boot: boot.next - boot.base)
        held.remove(boot)
        surplus.append(boot)
    return surplus
