"""One session with a board, on a real MicroPython behind a serial port (`pytest --device PORT`: on a real board)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from gateway.provision.plan import Found
from gateway.provision.usb import BoardError, BoardFull, BoardGone, NoPort, NoRepl, Session, Silent
from tests.bench_board import BenchBoard, bench_board

BUSY = b"while True:\n    pass\n"
STUBBORN = b"""
import time
while True:
    try:
        while True:
            pass
    except KeyboardInterrupt:
        print("not me")
        time.sleep_ms(150)
"""
DEAF = b"import micropython\nmicropython.kbd_intr(-1)\nwhile True:\n    print('deaf')\n"
TALKATIVE = b"n = 0\nwhile True:\n    n += 1\n    print('line', n, '>' * 30)\n"
BROKEN = b"def main(:\n"
BOOT_LOOP = b"import machine, time\nprint('boot')\ntime.sleep_ms(30)\nmachine.reset()\n"
WATCHED = b"""
import machine
dog = machine.WDT(timeout=1000)
while True:
    dog.feed()
"""

FILL = """
for size in (65536, 4096):
    for n in range(600):
        try:
            with open("/big%d-%d" % (size, n), "wb") as f:
                for _ in range(size // 4096):
                    f.write(bytes(4096))
        except OSError:
            break
"""


@pytest.fixture(scope="module")
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchBoard]:
    with bench_board(request, tmp_path_factory.mktemp("usb") / "board") as bench:
        yield bench


def test_a_board_says_what_it_is(board: BenchBoard) -> None:
    with Session(board.port) as session:
        session.enter()
        facts = session.facts()
    assert facts.version >= (1, 25, 0)
    assert facts.chip.startswith(("esp32", "rp2"))
    assert facts.mpy == 6
    assert len(facts.hardware) >= 12
    assert 0 < facts.free_bytes <= facts.files_bytes


def test_a_file_comes_back_as_it_was_written(board: BenchBoard) -> None:
    content = bytes(range(256)) * 20 + b"the end"
    seen: list[int] = []
    with Session(board.port) as session:
        session.enter()
        session.write("/a/b/odd name.bin", content, seen.append)
        session.write("/empty", b"")
        files = session.files()
        assert files["/a/b/odd name.bin"] == Found.of(content)
        assert files["/empty"] == Found.of(b"")
        assert "/flash.new" not in files
        assert session.read("/a/b/odd name.bin", 8192) == content
        assert session.read("/nothing") is None
        session.remove(["/a/b/odd name.bin", "/empty"])
        assert not {"/a/b/odd name.bin", "/empty"} & session.files().keys()
    assert sum(seen) == len(content)


@pytest.mark.parametrize(
    ("boot", "main"),
    [
        pytest.param(b"", BUSY, id="busy"),
        pytest.param(b"", STUBBORN, id="catches Ctrl-C"),
        pytest.param(b"", TALKATIVE, id="never quiet"),
        pytest.param(b"", BROKEN, id="syntax error"),
        pytest.param(BOOT_LOOP, b"", id="boot loop"),
        pytest.param(STUBBORN, BUSY, id="boot.py never ends", marks=pytest.mark.campaign),
    ],
)
def test_the_prompt_is_had_from_whatever_runs(board: BenchBoard, boot: bytes, main: bytes) -> None:
    board.wipe(boot=boot, main=main)
    with Session(board.port, answer_s=1, polite_s=0.2) as session:
        session.enter()
        assert session.files().keys() == {"/boot.py", "/main.py"}
        session.remove(["/boot.py", "/main.py"])


@pytest.mark.parametrize(
    "left", [b"\x01", b"\x01print(1", b"\x05", b"\r\x01\x05A\x01x = 'half"], ids=["raw", "line", "paste", "raw paste"]
)
def test_the_prompt_is_had_from_whatever_was_left_behind(board: BenchBoard, left: bytes) -> None:
    board.wipe()
    with Session(board.port) as session:
        session._send(left)
        session._stopped = False
    with Session(board.port) as session:
        session.enter()
        assert session.files() == {}


def test_a_program_that_cannot_be_stopped_is_a_sentence_within_its_deadline(board: BenchBoard) -> None:
    _ = board.emulated  # a real board would have to be erased by hand
    board.wipe(main=DEAF)
    began = time.monotonic()
    with (
        Session(board.port, polite_s=0.2) as session,
        pytest.raises(NoRepl, match=r"does not stop at Ctrl-C.*reset button.*deaf"),
    ):
        session.enter(1.5)
    assert time.monotonic() - began < 8
    board.wipe()


def test_a_board_without_power_is_silent(board: BenchBoard) -> None:
    board.power_cut()
    with Session(board.port) as session, pytest.raises(Silent, match="nothing answers on"):
        session.enter(1)
    board.power_on()


def test_a_port_that_is_not_there_or_in_use_is_a_sentence(board: BenchBoard) -> None:
    with pytest.raises(NoPort, match="is the board plugged in"):
        Session("/dev/ttyUSB987")
    with Session(board.port), pytest.raises(NoPort, match="another program uses it"):
        Session(board.port)


def test_a_board_whose_power_goes_is_noticed(board: BenchBoard) -> None:
    board.wipe()
    with Session(board.port, answer_s=0.3) as session:
        session.enter()
        board.power_cut()
        with pytest.raises(BoardGone, match=r"while /x was written.*run the same command again"):
            session.write("/x", b"x" * 5000)
    board.power_on()


def test_writing_for_longer_than_the_watchdogs_time_does_not_wake_it(board: BenchBoard) -> None:
    board.wipe(main=WATCHED)
    with Session(board.port) as session:
        session.enter()
        session.remove(["/main.py"])
        began = time.monotonic()
        while time.monotonic() - began < 1.3:  # the watchdog's second is over
            session.write("/x", b"x" * 3000, lambda _: time.sleep(0.2))
        assert "/x" in session.files()  # and not a board that has just started


def test_a_full_flash_is_a_sentence_and_leaves_nothing_half(board: BenchBoard) -> None:
    board.wipe()
    with Session(board.port) as session:
        session.enter()
        session._run(FILL)
        with pytest.raises(BoardFull):
            session.write("/x", b"x" * 30_000)
        assert "/x" not in session.files()
        session.remove(path for path in session.files() if path.startswith("/big"))
        session.write("/x", b"x" * 30_000)


def test_what_the_board_cannot_do_is_said_in_its_own_words(board: BenchBoard) -> None:
    with Session(board.port) as session:
        session.enter()
        with pytest.raises(BoardError, match="ENOENT"):
            session.remove(["/not/there"])
