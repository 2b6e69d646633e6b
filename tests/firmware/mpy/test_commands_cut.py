"""Power cut at every flash operation, and between storing, acting and answering: no command acts twice, each ends.

A board on a flash in RAM, and a gateway that does what WIRE.md says: after each start it sends again what has no result.
Arguments: how much of the operation that is cut gets done. (Lines `OSError: ... EIO`: the collector closes files of a flash
without power.)
"""

import json
import sys
from time import Hand

import check
import ramflash
from device.clock import Clock
from device.commands import Commands
from device.executed import Executed
from ramflash import Flash, PowerCut

PATH = ramflash.ROOT + "/executed.bin"
BLOCKS = 8
POINTS = ("begun", "acted", "executed", "sent", "acknowledged")


class World:
    """Commands, what they did, and what the gateway heard. Power goes once, in one place."""

    def __init__(self, memory, ids, cut_at=-1, torn=0.0, point=None, id=None):
        self.memory = bytearray(memory)
        self.ids = ids
        self.acts = {}
        self.restarts = {}
        self.results = {}
        self._flash = None
        self._cut_at, self._torn = cut_at, torn  # which of all operations, over all starts
        self._point = (point, id) if point else None
        self.cuts = 0
        self.erases = 0

    def run(self):
        """Until every command has its result. Power-ups as they come."""
        operations = 0
        for _ in range(2 + 2 * len(self.ids)):
            flash = self._flash = Flash(BLOCKS, self.memory)
            ramflash.mount(flash)
            flash.cut_at, flash.tear = self._cut_at - operations, self._torn
            try:
                self._power_up()
            except PowerCut:
                self.cuts += 1
                self._cut_at, self._point = -1, None
            ramflash.unmount()
            flash.dead = True
            operations += flash.operations
            self.erases += flash.erases
            if len(self.results) == len(self.ids):
                return
        raise AssertionError("not every command ended: %s" % self.results)

    def _power_up(self):
        """One boot: until a restart, or all is answered."""
        commands = Commands(Clock(Hand(before_wrap_ms=1000)), None, Executed(PATH))
        commands._actions["water"] = lambda id, args, now: self._water(commands, id)
        for id in self.ids:
            if id not in self.results:
                name = "restart" if id[0] == "r" else "water"
                for _ in range(2):  # and each is delivered twice
                    commands.execute({"id": id, "name": name, "args": {}, "deadline_ms": 9000}, 0)
                    if self._flash.dead:  # an error of closing a file took the place of the cut
                        raise PowerCut
                self._at("executed", id)
                while True:
                    frame = commands.next_result()
                    if frame is None:
                        break
                    result = json.loads(frame)
                    self._at("sent", id)
                    check.true(result["id"] not in self.results or self.results[result["id"]] == result["status"])
                    self.results[result["id"]] = result["status"]
                    commands.ack(result["id"])
                    self._at("acknowledged", id)
            if commands.restart_due(0):
                self.restarts[id] = self.restarts.get(id, 0) + 1
                return

    def _water(self, commands, id):
        """An act that must not be done twice, as an action of commands.py does it."""
        commands._begin(id)
        self._at("begun", id)
        if not self._flash.dead:
            self.acts[id] = self.acts.get(id, 0) + 1
        self._at("acted", id)
        commands._end(id)

    def _at(self, point, id):
        if (point, id) == self._point:
            self._flash.dead = True
            raise PowerCut

    def judge(self, what):
        for id in self.ids:
            done, status = self.acts.get(id, 0), self.results[id]
            if id[0] == "r":
                # A cut before the restart is one: then its result says done, and it need not restart again.
                check.true(self.restarts.get(id, 0) <= 1, what + ": %s restarted twice" % id)
                check.equal(status, "done")
                check.true(self.restarts.get(id, 0) + self.cuts >= 1, what + ": %s never restarted" % id)
            else:
                check.true(done <= 1, what + ": %s acted %d times" % (id, done))
                check.true(status in ("done", "unknown"), what + ": %s is %s" % (id, status))
                check.true(status != "done" or done == 1, what + ": %s is done, and did nothing" % id)
                check.true(status != "unknown" or self.cuts, what + ": %s is unknown without a cut" % id)
        unknown = [id for id in self.ids if self.results[id] == "unknown"]
        check.true(len(unknown) <= 1, what + ": %s are unknown" % unknown)


def used(writes):
    """A flash whose directory log has so many writes in it, so that it is folded up (erased) in the middle."""
    flash = Flash(BLOCKS)
    ramflash.mount(flash, fresh=True)
    executed = Executed(PATH)
    for number in range(writes):
        executed.begin("old%d" % number, ended=True)
    ramflash.unmount()
    return flash.data


IDS = ["w0", "w1", "r2", "w3", "w4", "r5", "w6", "w7"]


def test_a_cut_at_every_flash_operation():
    fractions = [float(word) for word in sys.argv[1:]] or [0.0, 0.5, 0.97]
    tried = erases = 0
    for writes in (16, 28, 48):
        memory = used(writes)
        for torn in fractions:
            at = 0
            while True:
                world = World(memory, IDS, cut_at=at, torn=torn)
                world.run()
                world.judge("cut at operation %d, %g done, after %d writes" % (at, torn, writes))
                if not world.cuts:
                    erases += world.erases
                    break
                tried += 1
                at += 1
    print("%d cuts" % tried)
    check.true(tried > 70 * len(fractions) and erases == 2 * len(fractions), "%d, %d" % (tried, erases))


def test_a_cut_between_storing_acting_and_answering():
    memory = used(3)
    tried = 0
    for point in POINTS:
        for id in IDS:
            world = World(memory, IDS, point=point, id=id)
            world.run()
            world.judge("cut at %s of %s" % (point, id))
            if point in ("begun", "acted"):
                check.equal(world.cuts, int(id[0] == "w"))
                if world.cuts:
                    check.equal((world.results[id], world.acts.get(id, 0)), ("unknown", int(point == "acted")))
            else:
                check.equal(world.cuts, 1)
                check.equal(world.results[id], "done")
            tried += world.cuts
    print("%d cuts" % tried)


check.run(globals())
