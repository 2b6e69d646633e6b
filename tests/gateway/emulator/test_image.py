"""The flash is littlefs on both sides, and it stays."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gateway.emulator import Interpreter
from gateway.emulator.image import FlashImage
from gateway.errors import ConfigError
from tests.aio import run, until
from tests.gateway.emulator.bench import make_board, output, powered, printed


def test_what_the_host_wrote_micropython_reads_and_the_other_way_round(
    tmp_path: Path, interpreter: Interpreter
) -> None:
    program = """
import os
print(sorted(os.listdir("/")), os.getcwd(), os.statvfs("/")[:3], open("/lib/big.txt").read() == "0123456789" * 3000)
os.mkdir("/journal")
with open("/journal/0001.bin", "wb") as file:
    file.write(bytes(range(256)) * 40)
with open("/small", "w") as file:
    file.write("kept")
os.rename("/lib/big.txt", "/lib/bigger.txt")
"""
    lines = output(tmp_path, interpreter, program, files={"/lib/big.txt": "0123456789" * 3000})
    assert lines == ["['lib', 'main.py', 'profile.json', 'settings.json'] / (4096, 4096, 512) True"]
    files = FlashImage(tmp_path / "board" / "flash.img").files()
    assert files["/journal/0001.bin"] == bytes(range(256)) * 40
    assert files["/small"] == b"kept"
    assert files["/lib/bigger.txt"] == b"0123456789" * 3000
    assert "/lib/big.txt" not in files


def test_the_program_sees_the_flash_and_nothing_of_the_host(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import os, sys
print(sys.path, "chip" in sys.modules, "hardware" in sys.modules, sorted(name for name in dir() if name[0] != "_"))
for path in ("/etc/passwd", "/rom", "/tmp"):
    try:
        os.stat(path)
    except OSError as error:
        print(error.errno)
import flash
print(flash.MINE)
"""
    lines = output(tmp_path, interpreter, program, files={"/flash.py": "MINE = 1"})
    assert lines == ["['', '.frozen', '/lib'] False False ['os', 'sys']", "2", "2", "2", "1"]


def test_only_what_changed_at_the_host_is_written(tmp_path: Path) -> None:
    image, record = FlashImage(tmp_path / "flash.img"), tmp_path / "installed.json"
    source = tmp_path / "a.py"
    source.write_text("a = 1")
    assert image.install({"/a.py": source, "/lib/b.py": b"b", "/c": "c"}, record) == ["/a.py", "/lib/b.py", "/c"]
    assert image.install({"/a.py": source, "/lib/b.py": b"b", "/c": "c"}, record) == []
    source.write_text("a = 2")
    assert image.install({"/a.py": source, "/lib/b.py": b"b"}, record) == ["/a.py", "/c"]
    assert image.files() == {"/a.py": b"a = 2", "/lib/b.py": b"b"}
    image.erase()  # a new chip: everything is missing
    assert image.install({"/a.py": source, "/lib/b.py": b"b"}, record) == ["/a.py", "/lib/b.py"]


def test_what_the_board_changed_itself_stays(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
print(open("/config.txt").read())
with open("/config.txt", "w") as file:
    file.write("the board's")
"""
    given = {"files": {"/config.txt": "the host's"}}
    assert output(tmp_path, interpreter, program, **given) == ["the host's"]
    assert output(tmp_path, interpreter, program, **given) == ["the board's"]
    assert output(tmp_path, interpreter, program, files={"/config.txt": "the host's, newer"}) == ["the host's, newer"]


def test_files_that_do_not_fit_are_one_clear_error(tmp_path: Path) -> None:
    image = FlashImage(tmp_path / "flash.img")
    with pytest.raises(ConfigError, match="do not fit the 2 MB"):
        image.install({f"/{number}": bytes(300_000) for number in range(8)}, tmp_path / "installed.json")


def test_a_power_cut_keeps_what_was_synced(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import os
print("kept", [name for name in os.listdir("/") if name[0] == "n"])
number = 0
while True:
    with open("/n", "w") as file:
        file.write("%d" % number)
    if number == 20:
        print("twenty")
    number += 1
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await printed(board, "twenty")
            await board.power_cut()
            assert int(board.flash.read("/n")) >= 20
            await board.start()
            await printed(board, "kept ['n']")

    run(scenario())


def test_a_file_that_was_never_closed_is_closed_by_the_collector(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
import gc, os
file = open("/lost", "w"); file.write("x" * 1000); file = None
[bytes(10) for _ in range(100)]
gc.collect(); gc.collect()
print(os.stat("/lost")[6])
"""
    assert output(tmp_path, interpreter, program) == ["1000"]


def test_a_blank_flash_gets_a_file_system_as_on_a_board(tmp_path: Path, interpreter: Interpreter) -> None:
    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, "print('here')\nimport machine\nmachine.reset()")
        async with powered(board):
            await printed(board, "here")
            board.flash.erase()  # while it runs: it comes back from its next reset to a blank chip
            await until(lambda: board.ended, what="a boot without main.py")
            assert (board.ended, board.running) == ("done", True)
        assert board.flash.files() == {}

    run(scenario())


def test_erases_are_counted(tmp_path: Path, interpreter: Interpreter) -> None:
    program = """
for _ in range(20):
    with open("/journal", "ab") as file:
        file.write(bytes(2000))
"""

    async def scenario() -> None:
        board = make_board(tmp_path, interpreter, program)
        async with powered(board):
            await until(lambda: board.ended, what="the end of main.py")
        assert board.flash_erases >= 10

    run(scenario())


def test_what_a_board_leaves_on_disk_is_its_owners_alone(tmp_path: Path, interpreter: Interpreter) -> None:
    """Its flash has the device's token."""

    async def scenario() -> None:
        board = make_board(tmp_path / "boards" / "one", interpreter, "print('here')")
        async with powered(board):
            await printed(board, "here")

    before = os.umask(0)
    try:
        run(scenario())
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "boards" / "one").rglob("*") if path.is_file()]
    assert any(path.stat().st_size > 1 << 20 for path in files)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files} == {path.name: 0o600 for path in files}
