"""When a level at a pin is a press: contacts that bounce, spikes, presses while the board was busy."""

from time import Hand

import check
import machine


class Pin:
    """A pin in the hands of the test; `press` and `let_go` interrupt as a board does."""

    IN, PULL_DOWN, PULL_UP, IRQ_RISING, IRQ_FALLING = 1, 1, 2, 1, 2
    made = None

    def __init__(self, number, mode, pull):
        self.pull = pull
        self.level = Pin.held if Pin.held is not None else 1 if pull == Pin.PULL_UP else 0
        self.handler = None
        Pin.made = self

    held = None

    def __call__(self):
        return self.level

    def irq(self, handler, trigger):
        self.handler = handler

    def go(self, level):
        if level != self.level:
            self.level = level
            self.handler(self)


machine.Pin = Pin

from device.buttons import Buttons  # noqa: E402


class Lamp:
    name = "lamp"
    toggles = 0
    switched = 0

    def toggle(self):
        self.toggles += 1


class Bench:
    def __init__(self, held=None, active="low"):
        Pin.held = held
        self.hand = Hand(before_wrap_ms=100)
        self.lamp = Lamp()
        config = {"name": "button", "pin": 4, "active": active, "toggles": "lamp"}
        self.buttons = Buttons([config], [self.lamp], self.hand.now)
        self.pin = Pin.made
        self.down, self.up = (0, 1) if active == "low" else (1, 0)

    def looks(self, ms):
        """The loop goes on for so long."""
        for _ in range(0, ms, 20):
            self.hand.turn(20)
            check.equal(self.buttons.poll(self.hand.now), 20)

    def blind(self, ms):
        """The board is busy for so long."""
        self.hand.turn(ms)

    def presses(self):
        presses = self.buttons.all[0].presses
        check.equal(self.lamp.toggles, presses)
        return presses


def test_each_press_counts_once_however_long_it_is():
    for active in ("low", "high"):
        bench = Bench(active=active)
        check.equal(bench.pin.pull, Pin.PULL_UP if active == "low" else Pin.PULL_DOWN)
        for number, ms in enumerate((60, 200, 5000)):
            bench.pin.go(bench.down)
            bench.looks(ms)
            check.equal(bench.presses(), number + 1)
            bench.pin.go(bench.up)
            bench.looks(100)
            check.equal(bench.presses(), number + 1)


def test_contacts_that_bounce_are_one_press():
    bench = Bench()
    for _ in range(4):
        bench.pin.go(0)
        bench.hand.turn(1)
        bench.pin.go(1)
        bench.looks(20)
    bench.pin.go(0)
    bench.looks(100)
    check.equal(bench.presses(), 1)
    for _ in range(4):
        bench.pin.go(1)
        bench.hand.turn(1)
        bench.pin.go(0)
        bench.looks(20)
    bench.pin.go(1)
    bench.looks(100)
    check.equal(bench.presses(), 1)


def test_a_spike_is_no_press_also_where_a_look_falls_into_it():
    bench = Bench()
    bench.looks(100)
    bench.pin.go(0)
    bench.looks(20)
    bench.pin.go(1)
    bench.looks(200)
    check.equal(bench.presses(), 0)


def test_who_pressed_while_the_board_was_busy_is_heard_afterwards_once():
    bench = Bench()
    bench.looks(100)
    bench.pin.go(0)
    bench.blind(1000)
    bench.pin.go(1)
    bench.looks(200)
    check.equal(bench.presses(), 1)
    bench.pin.go(0)  # and who still presses when it is free again, too
    bench.blind(1000)
    bench.looks(200)
    check.equal(bench.presses(), 2)
    bench.pin.go(1)
    bench.looks(100)
    bench.blind(1000)
    bench.pin.go(0)
    bench.looks(20)  # it is let go soon after that
    bench.pin.go(1)
    bench.looks(100)
    check.equal(bench.presses(), 3)
    bench.pin.go(0)
    bench.looks(100)
    bench.pin.go(1)
    bench.blind(1000)  # letting go is none
    bench.looks(200)
    check.equal(bench.presses(), 4)
    bench.blind(1000)
    bench.looks(200)
    check.equal(bench.presses(), 4)


def test_the_pulse_of_a_relay_that_a_slow_command_switched_is_no_press():
    bench = Bench()
    bench.looks(100)
    bench.lamp.switched += 1
    bench.pin.go(0)
    bench.pin.go(1)
    bench.blind(100)  # the command is written to flash
    bench.looks(200)
    check.equal(bench.presses(), 0)
    bench.lamp.switched += 1  # who holds the button is heard all the same
    bench.pin.go(0)
    bench.blind(100)
    bench.looks(200)
    check.equal(bench.presses(), 1)


def test_a_button_that_is_held_at_the_start_counts_from_the_next_press_on():
    bench = Bench(held=0)
    bench.looks(1000)
    check.equal(bench.presses(), 0)
    bench.pin.go(1)
    bench.looks(100)
    bench.pin.go(0)
    bench.looks(100)
    check.equal(bench.presses(), 1)


check.run(globals())
