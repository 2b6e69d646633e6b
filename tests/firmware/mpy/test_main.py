"""How main.py ends: everything around it is the test's, and what it does is written down in order."""

import sys
import time

import check
from device import config, node, port

RESTART, RELAX = "restart", "relax"
did = []
slept_ms = 0


class Restarted(BaseException):
    """No code runs behind machine.reset()."""


class Node:
    building = running = finishing = None  # what each raises

    def __init__(self, settings, profile):
        self._turn("build", self.building)

    def run(self):
        self._turn("run", self.running)

    def finish(self):
        self._turn("finish", self.finishing)

    @staticmethod
    def _turn(name, error):
        did.append(name)
        if error:
            raise error


def restart():
    did.append(RESTART)
    raise Restarted


def sleep_ms(ms):
    global slept_ms
    slept_ms += ms
    if ctrl_c_after_ms is not None and slept_ms >= ctrl_c_after_ms:
        raise KeyboardInterrupt


def start(building=None, running=None, finishing=None, ctrl_c=None, profile=None, outputs=()):
    """What main.py did, in order."""
    global slept_ms, ctrl_c_after_ms
    Node.building, Node.running, Node.finishing = building, running, finishing
    slept_ms, ctrl_c_after_ms = 0, ctrl_c
    did.clear()

    def load():
        if profile:
            raise profile
        return {"gateway": {"ca": None}}, {"outputs": outputs, "delivery": {"ram_samples": 4000}}

    config.load = load
    sys.modules.pop("main", None)
    try:
        import main  # noqa: F401
    except (Restarted, KeyboardInterrupt):
        pass
    # The watchdog's time is of no importance where the board restarts.
    return [what for what in did if what != RELAX] if RESTART in did else did


node.Node = Node
port.restart = restart
port.rest = lambda outputs: None
port.relax_watchdog = lambda: did.append(RELAX)
time.sleep_ms = sleep_ms


def test_ctrl_c_ends_in_order_and_relaxes_the_watchdog():
    check.equal(start(running=KeyboardInterrupt()), ["build", "run", "finish", RELAX])


def test_a_second_ctrl_c_relaxes_the_watchdog_too():
    check.equal(start(running=KeyboardInterrupt(), finishing=KeyboardInterrupt()), ["build", "run", "finish", RELAX])


def test_ctrl_c_while_the_node_is_built_or_while_it_blinks_is_the_repl():
    check.equal(start(building=KeyboardInterrupt()), ["build", RELAX])
    check.equal(start(running=OSError(5), ctrl_c=1000), ["build", "run", RELAX])
    check.equal(start(building=MemoryError(), ctrl_c=30000), ["build", RELAX])


def test_a_wrong_file_is_the_repl_and_relaxes_a_watchdog_left_from_before():
    check.equal(start(profile=config.ConfigError("/profile.json is missing")), [RELAX])
    for error in (ValueError("x"), KeyError("x"), TypeError("x")):
        check.equal(start(building=error), ["build", RELAX])


def test_what_may_pass_ends_in_a_restart_after_5_s():
    for error in (OSError("Wifi Out of Memory"), RuntimeError("Wifi Unknown Error"), AttributeError("x")):
        check.equal(start(building=error), ["build", RESTART])
        check.equal(slept_ms, 5000)
    for error in (OSError(5), ValueError("x"), MemoryError()):
        check.equal(start(running=error), ["build", "run", RESTART])
        check.equal(start(running=KeyboardInterrupt(), finishing=error), ["build", "run", "finish", RESTART])
        check.equal(slept_ms, 5000)
    check.equal(start(profile=MemoryError()), [RESTART])


def test_too_little_memory_to_start_is_a_restart_with_time_to_read_why():
    check.equal(start(building=MemoryError()), ["build", RESTART])
    check.equal(slept_ms, 60000)


def test_an_led_that_cannot_be_lit_does_not_stop_the_restart():
    check.equal(start(building=OSError(5), outputs=[{"kind": "led"}]), ["build", RESTART])


check.run(globals())
