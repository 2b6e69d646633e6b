"""Power cut at every flash operation while a board is given new tokens: whenever it goes, a valid one is left.

The gateway is the one of WIRE.md: the old token is valid until the new one was used. (Lines `OSError: ... EIO`: the
collector closes files of a flash without power.)
"""

import json
import os

import check
import ramflash
from device.tokens import Tokens
from ramflash import Flash, PowerCut

PATH = ramflash.ROOT + "/token.json"
BLOCKS = 8
TOKENS = tuple(letter * 43 for letter in "abcd")
FIRST = TOKENS[0]  # that of /settings.json


class World:
    """A board and a gateway. Power goes in operation `cut_at`, when the part `torn` of it is done."""

    def __init__(self, memory, cut_at=-1, torn=0.0):
        self.memory = bytearray(memory)
        self.cut_at = cut_at
        self.torn = torn
        self.valid = [FIRST]
        self.rotations = 0
        self.operations = 0
        self.cuts = 0
        self.flash = None

    def run(self):
        """Until every token was given; power-ups as they come."""
        while self.rotations < len(TOKENS) - 1:
            self.flash = Flash(BLOCKS, self.memory)
            ramflash.mount(self.flash)
            self.flash.cut_at, self.flash.tear = self.cut_at - self.operations, self.torn
            try:
                self.power_up()
            except PowerCut:
                self.cuts += 1
                self.cut_at = -1
            ramflash.unmount()
            self.flash.dead = True
            self.operations += self.flash.operations

    def power_up(self):
        tokens = Tokens(PATH, FIRST)
        self.flash.alive()
        self.connect(tokens)
        while self.rotations < len(TOKENS) - 1:
            new = TOKENS[self.rotations + 1]
            if new not in self.valid:
                self.valid.append(new)
            try:
                tokens.rotate(new)
            finally:
                self.flash.alive()
            self.connect(tokens)

    def connect(self, tokens):
        """The token shown first must be one that is valid: no cut may cost even one refusal."""
        check.true(tokens.now() in self.valid, (tokens.now()[0], [token[0] for token in self.valid]))
        if tokens.now() == self.valid[-1] and len(self.valid) > 1:
            self.valid = self.valid[-1:]
            self.rotations += 1


def blank():
    flash = Flash(BLOCKS)
    ramflash.unmount()
    ramflash.mount(flash, fresh=True)
    ramflash.unmount()
    return flash.data


def test_whenever_the_power_goes_the_token_shown_next_is_valid():
    memory = blank()
    whole = World(memory)
    whole.run()
    cuts = 0
    for operation in range(whole.operations):
        for torn in (0.0, 0.5, 1.0):
            world = World(memory, operation, torn)
            world.run()
            cuts += world.cuts
    check.equal(cuts, whole.operations * 3)
    check.true(cuts > 30, cuts)


def tokens(settings=FIRST):
    return Tokens(PATH, settings)


def mounted(test):
    """Runs `test` on a flash of its own."""
    ramflash.unmount()
    ramflash.mount(Flash(BLOCKS), fresh=True)
    try:
        test()
    finally:
        ramflash.unmount()


def test_a_new_one_is_shown_from_then_on_and_after_a_restart():
    def test():
        one = tokens()
        check.equal(one.now(), FIRST)
        one.rotate(TOKENS[1])
        check.equal(one.now(), TOKENS[1])
        check.equal(tokens().now(), TOKENS[1])
        with open(PATH) as file:
            found = json.load(file)
        check.equal((found["token"], found["previous"]), (TOKENS[1], FIRST))
        check.equal(len(found["of"]), 8)
        check.equal([name for name in os.listdir(ramflash.ROOT) if "token" in name], ["token.json"])

    mounted(test)


def test_who_refuses_one_is_shown_the_others_in_turn():
    def test():
        one = tokens()
        one.rotate(TOKENS[1])
        one.rotate(TOKENS[2])
        shown = [one.now()]
        soon = []
        for _ in range(5):
            soon.append(one.refused())
            shown.append(one.now())
        new, previous = TOKENS[2], TOKENS[1]
        check.equal(shown, [new, previous, FIRST, new, previous, FIRST])
        check.equal(soon, [True, True, False, True, True])
        one.taken()
        check.equal(one.now(), FIRST)
        check.equal([one.refused() for _ in range(3)], [True, True, False])

    mounted(test)


def test_the_one_it_was_let_in_with_is_kept_however_many_come():
    def test():
        one = tokens()
        one.rotate(TOKENS[1])
        one.refused()  # a restored gateway: it knows the first only
        check.equal(one.now(), FIRST)
        one.rotate(TOKENS[2])
        check.equal(one.now(), TOKENS[2])
        one.refused()
        check.equal(one.now(), FIRST)

    mounted(test)


def test_settings_written_anew_win():
    def test():
        tokens().rotate(TOKENS[1])
        check.equal(tokens(TOKENS[3]).now(), TOKENS[3])
        check.equal(tokens(TOKENS[3]).refused(), False)
        tokens(TOKENS[3]).rotate(TOKENS[2])
        check.equal(tokens(TOKENS[3]).now(), TOKENS[2])
        check.equal(tokens().now(), FIRST)

    mounted(test)


def test_a_file_that_cannot_be_read_leaves_that_of_the_settings():
    def test():
        one = tokens()
        one.rotate(TOKENS[1])
        with open(PATH) as file:
            right = json.load(file)
        wrong = [b"", b"{", b"\xff\xfe", b"[]", b"7"]
        for key in ("token", "previous", "of"):
            for value in (None, 1, "", "x\r\nHost: evil" + "a" * 32):
                wrong.append(json.dumps({name: value if name == key else right[name] for name in right}).encode())
        for content in wrong:
            with open(PATH, "wb") as file:
                file.write(content)
            check.equal(tokens().now(), FIRST)

    mounted(test)


def test_where_flash_fails_nothing_changes():
    def test():
        flash = Flash(BLOCKS)
        ramflash.unmount()
        ramflash.mount(flash, fresh=True)
        one = tokens()
        flash.fails = -28
        check.raises(OSError, one.rotate, TOKENS[1])
        check.equal(one.now(), FIRST)
        flash.fails = 0
        check.equal(tokens().now(), FIRST)
        one.rotate(TOKENS[1])
        check.equal(tokens().now(), TOKENS[1])

    mounted(test)


check.run(globals())
