import json
from time import Hand

import check
from device.clock import Clock
from device.commands import Commands


class Bench:
    def __init__(self):
        self.hand = Hand(before_wrap_ms=1000)
        self.lit = []
        self.commands = Commands(Clock(self.hand), self.lit.append)

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
    for i in range(40):
        check.equal(bench.execute("ping", id=f"c{i}")["status"], "done")
    check.equal(bench.execute("restart", id="more")["error"]["code"], "command.busy")
    check.true(not bench.commands.restart_due(bench.hand.turn(5000)))
    check.equal(len(kept(bench)), 40)
    bench.commands.ack("c7")
    check.equal(bench.execute("restart", id="more")["status"], "done")
    check.equal(kept(bench), [f"c{i}" for i in range(40) if i != 7] + ["more"])


def test_acknowledged_results_are_bounded_too_the_oldest_go():
    bench = Bench()
    first = bench.execute("ping", id="c0")
    for i in range(1, 50):
        bench.commands.ack(f"c{i - 1}")
        bench.execute("ping", id=f"c{i}")
    bench.hand.turn(1000)
    check.equal(len(bench.commands._results), 8)
    check.true(bench.execute("ping", id="c0") != first, "forgotten, so done anew")


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


check.run(globals())
