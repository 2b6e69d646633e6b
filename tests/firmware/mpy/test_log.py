import json
from time import Hand

import check
from device.clock import Clock
from device.log import Log, clean


def test_what_comes_from_outside_is_made_harmless():
    check.equal(clean("21 °C: €\x1b[31m\r\n\x7f\x9b"), "21 °C: €?[31m????")
    check.equal(clean(json.loads('"a\\ud800b"')), "a?b")
    check.equal(len(clean("x" * 1000)), 200)


def test_the_newest_warnings_wait_for_the_gateway():
    log = Log(Clock(Hand()))
    log("info", "not for the gateway")
    for i in range(20):
        log("warning", str(i))
    check.equal([log.next_line()[2] for _ in range(8)], [str(i) for i in range(12, 20)])
    check.equal(log.next_line(), None)


def test_an_outage_of_many_attempts_is_told_with_its_cause():
    log = Log(Clock(Hand()))
    log("warning", "closed by the gateway")
    for _ in range(20):
        log("warning", "lost: ECONNREFUSED")
    check.equal([log.next_line()[2] for _ in range(2)], ["closed by the gateway", "lost: ECONNREFUSED"])
    check.equal(log.next_line(), None)
    log("warning", "lost: ECONNREFUSED")
    check.equal(log.next_line()[2], "lost: ECONNREFUSED")


check.run(globals())
