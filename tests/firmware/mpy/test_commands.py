import json
from time import Hand

import check
import ramflash
from device.clock import Clock
from device.commands import Commands
from device.executed import Executed
from ramflash import Flash

PATH = ramflash.ROOT + "/executed.bin"


class Bench:
    """The commands of a board from one start on. `path`: where what was begun is remembered; here, for no longer."""

    def __init__(self, path="/dev/null"):
        self.hand = Hand(before_wrap_ms=1000)
        self.lit = []
        self.commands = Commands(Clock(self.hand), self.lit.append, Executed(path))

    def execute(self, name, args=None, id="c1", deadline_ms=10000):
        command = {"id": id, "name": name, "args": args or {}, "deadline_ms": deadline_ms}
        frame = self.commands.execute(command, self.hand.now) or self.commands.next_result()
        return json.loads(frame) if frame else None


def test_ping_tells_how_the_board_is():
    result = Bench().execute("ping")
    check.equal((result["type"], result["id"], result["status"]), ("result", "c1", "done"))
    check.equal(sorted(result["data"]), ["free_heap", "uptime_ms"])


def test_unknown_expired_and_wrong_arguments():
    bench = Bench()
    check.equal(bench.execute("dance", id="a")["error"]["code"], "command.unknown")
    check.equal(bench.execute("ping", id="b", deadline_ms=0)["error"]["code"], "command.expired")
    for i, seconds in enumerate((0, 61, "5", 2.5, True, None, -1)):
        check.equal(bench.execute("identify", {"seconds": seconds}, id=f"c{i}")["error"]["code"], "command.args")
    check.equal(bench.lit, [])


def test_identify_blinks_without_stopping_anything_else_and_ends_dark():
    bench = Bench()
    check.equal(bench.execute("identify", {"seconds": 2})["status"], "done")
    for _ in range(300):
        wait_ms = bench.commands.poll(bench.hand.now)
        check.true(0 < wait_ms <= 1000)
        bench.hand.turn(min(wait_ms, 10))
    check.equal(bench.lit, [True, False] * 8)


def test_a_repeated_command_gets_its_result_again_and_is_not_executed_again():
    bench = Bench()
    first = bench.execute("ping")
    bench.commands.ack("c1")
    bench.hand.turn(5000)
    check.equal(bench.execute("ping"), first)


def test_results_are_sent_again_after_a_reconnect_until_they_are_acknowledged():
    bench = Bench()
    bench.execute("ping", id="a")
    bench.execute("ping", id="b")
    check.equal(bench.commands.next_result(), None)
    bench.commands.ack("a")
    bench.commands.resume()
    check.equal(json.loads(bench.commands.next_result())["id"], "b")
    check.true(bench.commands.pending())
    bench.commands.ack("b")
    check.true(not bench.commands.pending())


def kept(bench):
    """Ids of the results that a new connection gets."""
    bench.commands.resume()
    ids = []
    while frame := bench.commands.next_result():
        ids.append(json.loads(frame)["id"])
    return ids


def test_of_a_burst_no_result_is_lost_before_it_is_acknowledged():
    bench = Bench()
    for i in range(32):
        bench.execute("ping", id=f"c{i}")
    check.equal(kept(bench), [f"c{i}" for i in range(32)])


def test_a_command_beyond_the_bound_is_refused_and_not_begun_until_there_is_room():
    bench = Bench()
    for i in range(32):
        check.equal(bench.execute("ping", id=f"c{i}")["status"], "done")
    check.equal(bench.execute("restart", id="more")["error"]["code"], "command.busy")
    check.true(not bench.commands.restart_due(bench.hand.turn(5000)))
    check.equal(len(kept(bench)), 32)
    bench.commands.ack("c7")
    check.equal(bench.execute("restart", id="more")["status"], "done")
    check.equal(kept(bench), [f"c{i}" for i in range(32) if i != 7] + ["more"])


def test_acknowledged_results_are_bounded_too_the_oldest_go():
    bench = Bench()
    first = bench.execute("ping", id="c0")
    for i in range(1, 50):
        bench.commands.ack(f"c{i - 1}")
        bench.execute("ping", id=f"c{i}")
    bench.hand.turn(1000)
    check.equal(len(bench.commands._results), 8)
    check.true(bench.execute("ping", id="c0") != first, "it has no effect, so it is simply done anew")


def test_restart_waits_for_the_ack_of_its_result():
    bench = Bench()
    check.equal(bench.execute("restart")["status"], "done")
    check.true(not bench.commands.restart_due(bench.hand.now))
    bench.commands.ack("c1")
    check.true(bench.commands.restart_due(bench.hand.now))


def test_restart_does_not_wait_for_ever():
    bench = Bench()
    bench.execute("restart")
    check.true(not bench.commands.restart_due(bench.hand.turn(2999)))
    check.true(bench.commands.restart_due(bench.hand.turn(1)))


def on_flash(work):
    """`work(flash)` with a file system mounted at /flash."""
    flash = Flash(8)
    ramflash.mount(flash, fresh=True)
    try:
        work(flash)
    finally:
        ramflash.unmount()


def test_what_acted_before_a_restart_is_answered_and_not_done_again():
    def work(flash):
        bench = Bench(PATH)
        check.equal(bench.execute("identify", id="i")["status"], "done")
        check.equal(bench.execute("restart", id="r")["status"], "done")
        for _ in range(3):
            bench = Bench(PATH)
            for name, id in (("identify", "i"), ("restart", "r")):
                result = bench.execute(name, id=id)
                check.equal((result["id"], result["status"]), (id, "done"))
            check.equal((bench.commands.poll(bench.hand.now), bench.lit), (1000, []))
            check.true(not bench.commands.restart_due(bench.hand.turn(4000)))
        check.equal(bench.execute("identify", id="another")["status"], "done")

    on_flash(work)


def test_what_a_restart_interrupted_is_unknown_and_not_done_again():
    def work(flash):
        Executed(PATH).begin("i")
        for _ in range(2):
            bench = Bench(PATH)
            result = bench.execute("identify", id="i")
            check.equal((result["status"], result["error"]["code"]), ("unknown", "command.interrupted"))
            check.equal((bench.commands.poll(bench.hand.now), bench.lit), (1000, []))

    on_flash(work)


def test_what_has_no_effect_writes_nothing():
    def work(flash):
        bench = Bench(PATH)
        before = flash.operations
        bench.execute("ping", id="a")
        bench.execute("dance", id="b")
        bench.execute("identify", {"seconds": 0}, id="c")
        bench.execute("restart", id="d", deadline_ms=0)
        check.equal(flash.operations, before)

    on_flash(work)


def test_what_cannot_be_written_to_flash_is_not_carried_out():
    bench = Bench("/no such folder/executed.bin")
    for name in ("identify", "restart"):
        check.equal(bench.execute(name, id=name)["error"]["code"], "command.flash")
    check.equal((bench.commands.poll(bench.hand.now), bench.lit), (1000, []))
    check.true(not bench.commands.restart_due(bench.hand.turn(4000)))
    check.equal(bench.execute("ping")["status"], "done")


def test_all_the_gateway_can_have_open_is_known_after_a_restart():
    def work(flash):
        bench = Bench(PATH)
        for i in range(32):
            bench.execute("identify", id=f"c{i}")
        bench = Bench(PATH)
        for i in range(32):
            check.equal(bench.execute("identify", id=f"c{i}")["status"], "done")
        check.equal((bench.commands.poll(bench.hand.now), bench.lit), (1000, []))
        check.equal(bench.execute("ping", id="more")["error"]["code"], "command.busy")
        check.equal(bench.commands.execute({"id": "c0", "name": "identify", "args": {}, "deadline_ms": 1}, 0), None)

    on_flash(work)


check.run(globals())
