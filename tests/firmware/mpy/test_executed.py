import os

import check
import ramflash
from device.executed import Executed
from ramflash import Flash

PATH = ramflash.ROOT + "/executed.bin"


def with_flash(work):
    """What `work(flash)` returns, with an empty file system mounted at /flash."""
    flash = Flash(8)
    ramflash.mount(flash, fresh=True)
    try:
        return work(flash)
    finally:
        ramflash.unmount()


def test_what_was_begun_and_ended_is_known_after_a_restart():
    def work(flash):
        executed = Executed(PATH)
        check.equal(executed.look("a"), None)
        executed.begin("a")
        executed.begin("b")
        executed.end("b")
        executed.begin("c", ended=True)
        for known in (executed, Executed(PATH)):
            check.equal([known.look(id) for id in ("a", "b", "c", "d")], [False, True, True, None])
        Executed(PATH).end("a")
        check.equal(Executed(PATH).look("a"), True)

    with_flash(work)


def test_32_are_remembered_and_the_file_stays_inline():
    def work(flash):
        executed = Executed(PATH)
        for number in range(100):
            executed.begin(f"c{number}")
            if number % 2:
                executed.end(f"c{number}")
        known = Executed(PATH)
        check.equal([known.look(f"c{number}") for number in range(67, 100)], [None] + [False, True] * 16)
        check.equal(os.stat(PATH)[6], 128)

    with_flash(work)


def test_a_file_of_any_bytes_is_no_error():
    def work(flash):
        for content in (b"", b"\x80", b"12345", bytes(range(256)) * 4):
            with open(PATH, "wb") as file:
                file.write(content)
            executed = Executed(PATH)
            check.equal(executed.look("a"), None)
            executed.begin("a")
            check.equal(Executed(PATH).look("a"), False)
            check.equal(os.stat(PATH)[6] % 4, 0)

    with_flash(work)


def test_ids_of_every_length_of_the_wire_are_told_apart():
    def work(flash):
        executed = Executed(PATH)
        executed.begin("x" * 31)
        check.equal(executed.look("x" * 31), False)
        check.equal(executed.look("x" * 32), None)

    with_flash(work)


def test_a_flash_that_cannot_be_written_is_an_error_and_leaves_what_was_known():
    executed = Executed("/no such folder/executed.bin")
    check.raises(OSError, executed.begin, "a")
    check.equal(executed.look("a"), None)


def test_wear_is_what_the_documentation_says():
    def work(flash):
        executed = Executed(PATH)
        for number in range(40):
            executed.begin(f"old{number}", ended=True)
        before = flash.erases
        for number in range(500):
            executed.begin(f"c{number}")
            executed.end(f"c{number}")
        return (flash.erases - before) / 1000

    erases = with_flash(work)
    print("erases per write: %.3f" % erases)
    check.true(0.01 < erases < 0.065, "%.3f erases per write" % erases)


check.run(globals())
