"""The whole of `mpy-gateway flash`: a board behind its serial port, a gateway, and the first sample.

`pytest --device PORT -n 0` runs it on a real board, with the Wi-Fi of MPY_GATEWAY_WIFI_SSID and _PASSWORD.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import pytest

from gateway import cli
from gateway.cli import arrival
from gateway.cli.devices import registry
from gateway.config import load_config
from gateway.emulator import EmulatedBoard
from gateway.profile import find_node, load_profile
from gateway.profile.locate import nodes
from gateway.provision import usb
from gateway.provision.firmware import board_files
from gateway.provision.plan import MAIN, Found, is_ours
from gateway.provision.usb import Progress, Session
from gateway.store.devices import DeviceInfo, Devices
from tests.bench_board import PATH, PROFILE, WIFI, BenchBoard, EmulatedBench, bench_board
from tests.flow.commands import command, running_gateway
from tests.gateway.provision.images import esp_image
from tests.gateway.provision.rom_loader import RomLoader
from tests.gateway.provision.test_usb import FILL

T = TypeVar("T")
NAME = "greenhouse"
FILES = board_files(PROFILE, PATH.parent)
SENT = {path: Found.of(content) for path, content in FILES.items()}


class House(SimpleNamespace):
    """A gateway that speaks TLS, and a board."""

    board: BenchBoard
    state: Path
    environment: dict[str, str]

    def words(self, *more: str, name: str = NAME) -> list[str]:
        line = ["flash", self.board.port, "--node", "climate-node", "--name", name, "--state", str(self.state)]
        return [*line, *(more or ["--yes"])]

    def devices(self) -> dict[str, DeviceInfo]:
        """All that the gateway knows."""
        return {info.id: info for info in self.ask(lambda devices: devices.list())}

    def ask(self, what: Callable[[Devices], Awaitable[T]]) -> T:
        async def work() -> T:
            async with registry(load_config(None, state=self.state)) as devices:
                return await what(devices)

        return asyncio.run(work())


@pytest.fixture(scope="module")
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("flash")
    real = request.config.getoption("--device")
    host = ("devices.host=0.0.0.0",) if real else ()
    given = {} if real else {"MPY_GATEWAY_WIFI_SSID": WIFI["ssid"], "MPY_GATEWAY_WIFI_PASSWORD": WIFI["password"]}
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in given.items():
            patch.setenv(variable, value)
        with (
            bench_board(request, folder / "board") as board,
            running_gateway(folder / "state", "devices.tls=true", *host) as running,
        ):
            yield House(board=board, state=running.state, run=running)


@pytest.fixture
def flash(house: House, capsys: pytest.CaptureFixture[str]):
    """Runs the command in this process; returns exit code and what was said."""

    def run(*more: str, name: str = NAME) -> tuple[int, str]:
        code = cli.run(house.words(*more, name=name))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def on_board(board: BenchBoard) -> dict[str, Found]:
    with Session(board.port) as session:
        session.enter()
        return session.files()


def assert_works(said: str) -> None:
    assert re.search(r"hello +it is connected\nsample +[\d:.]+ greenhouse #\d+ temperature=", said), said


def test_a_blank_board_is_flashed_to_its_first_sample(house: House) -> None:
    """As its user runs it: a process of its own, whose arguments everybody can read."""
    house.board.wipe()
    ended = mpy_gateway_here(*house.words())
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert_works(ended.stdout)
    assert re.search(r"files +\d+ to write", ended.stdout)
    assert f"/#/device/{NAME}" in ended.stdout
    assert list(house.devices()) == [NAME]


def test_again_nothing_is_written_and_it_stays_the_same_device(house: House, flash) -> None:
    before = house.devices()
    code, said = flash()
    assert code == 0, said
    assert re.search(r"files +all \d+ are as they should be", said)
    assert "the same device as before" in said
    assert_works(said)
    after = house.devices()
    assert after.keys() == before.keys()
    assert after[NAME].hardware == before[NAME].hardware


def test_what_is_on_the_board_is_what_is_shipped(house: House) -> None:
    found = on_board(house.board)
    assert SENT.items() <= found.items()
    extra = {path for path in found if is_ours(path)} - FILES.keys()
    assert extra == {"/settings.json", "/profile.json", "/ca.der"}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(house: House, flash) -> None:
    with Session(house.board.port) as session:
        session.enter()
        session.write("/device/link.mpy", b"old")
        session.write("/device/gone.py", b"old")
        before = session.files()
    code, said = flash("--dry-run", "--yes")
    assert code == 0, said
    assert re.search(r"files +2 to write .*2 to remove", said), said
    assert "flashed" not in said
    changed = {path for path, file in on_board(house.board).items() if before.get(path) != file}
    assert not {path for path in changed if is_ours(path)}


def test_an_old_firmware_is_brought_up_to_date_and_a_file_of_the_users_stays(house: House, flash) -> None:
    with Session(house.board.port) as session:
        session.enter()
        session.write("/device/wire.py", b"raise SystemExit('the old one would come first')\n")
        session.write("/device/outbox.mpy", b"old")
        session.write("/notes.txt", b"mine")
    code, said = flash()
    assert code == 0, said
    assert_works(said)
    found = on_board(house.board)
    assert "/device/wire.py" not in found
    assert found["/notes.txt"] == Found.of(b"mine")


@pytest.mark.parametrize(
    "main",
    [
        pytest.param(b"def main(:\n", id="syntax error"),
        pytest.param(b"while True:\n    pass\n", id="endless loop", marks=pytest.mark.campaign),
        pytest.param(b"import machine\nmachine.reset()\n", id="boot loop", marks=pytest.mark.campaign),
    ],
)
def test_a_broken_main_is_repaired(house: House, flash, main: bytes) -> None:
    house.board.put(main=main)
    code, said = flash()
    assert code == 0, said
    assert_works(said)
    assert on_board(house.board)[MAIN] == Found.of(FILES[MAIN])


class Cut:
    """Takes the board's power away in the middle of writing one file."""

    def __init__(self, house: House, path: str, chance: random.Random, patch: pytest.MonkeyPatch) -> None:
        write = Session.write

        def cut_in_it(session: Session, written: str, content: bytes, progress: Progress = lambda _: None) -> None:
            if written == path:
                house.board.emulated.cut_power_at(chance.randint(1, 3), chance.random())
            write(session, written, content, progress)

        patch.setattr(Session, "write", cut_in_it)
        patch.setattr(usb, "ANSWER_S", 0.5)


def cut_and_repair(house: House, flash, path: str, chance: random.Random) -> None:
    house.board.wipe()
    with pytest.MonkeyPatch.context() as patch:
        Cut(house, path, chance, patch)
        code, said = flash()
    assert code == 1, said
    assert re.search(r"stopped answering.*run the same command again", said), said
    if path != MAIN:  # no half firmware runs
        assert MAIN not in house.board.emulated.flash.files()
    house.board.power_on()
    code, said = flash()
    assert code == 0, said
    assert_works(said)


@pytest.mark.parametrize(
    "path", ["/settings.json", *(pytest.param(path, marks=pytest.mark.campaign) for path in ("/device/link.mpy", MAIN))]
)
def test_a_power_cut_in_mid_flash_is_repaired_by_the_same_command(house: House, flash, path: str) -> None:
    cut_and_repair(house, flash, path, random.Random(path))
    assert list(house.devices()) == [NAME]


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_power_cuts_in_every_file_are_repaired(house: House, flash) -> None:
    chance = random.Random(1)
    for path in [*FILES, "/profile.json", "/ca.der", "/settings.json"]:
        cut_and_repair(house, flash, path, chance)
    assert list(house.devices()) == [NAME]


def test_a_board_that_is_unplugged_half_way_is_repaired(house: House, flash, monkeypatch: pytest.MonkeyPatch) -> None:
    house.board.wipe()
    write = Session.write

    def unplug(session: Session, path: str, content: bytes, progress: Progress = lambda _: None) -> None:
        if path == "/device/node.mpy":
            session._close_port()
        write(session, path, content, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "write", unplug)
        code, said = flash()
    assert code == 1
    assert re.search(r"stopped answering while /device/node.mpy was written.*run the same command again", said), said
    code, said = flash()
    assert code == 0, said
    assert_works(said)


def test_somebody_elses_program_is_not_replaced_without_a_word(
    house: House, flash, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = b"print('mine')\n"
    house.board.wipe(main=mine, boot=b"# This file is executed on every boot\n")
    code, said = flash("--name", NAME)
    assert code == 1
    assert "the board has a program of its own (/main.py): say --yes" in said
    assert on_board(house.board)[MAIN] == Found.of(mine)
    answers = person(monkeypatch, "y")
    monkeypatch.delenv("MPY_GATEWAY_WIFI_SSID")
    answers += [WIFI["ssid"], WIFI["password"]]
    code, said = flash("--name", NAME)
    assert code == 0, said
    assert_works(said)


def person(patch: pytest.MonkeyPatch, confirms: str) -> list[str]:
    """Somebody at a terminal, who says what is in the list that is returned, and confirms so."""
    says: list[str] = []
    patch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    patch.setattr("typer.prompt", lambda *_, **options: says.pop(0) or options["default"])
    patch.setattr("typer.confirm", lambda *_, **__: confirms == "y")
    return says


def test_a_person_at_a_terminal_is_offered_what_the_board_knows(
    house: House, flash, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = person(monkeypatch, "n")
    monkeypatch.delenv("MPY_GATEWAY_WIFI_SSID")
    answers += ["", ""]  # Enter twice
    code, said = flash("--name", NAME)
    assert code == 0, said
    assert re.search(r"files +all \d+ are as they should be", said), said


def test_a_token_that_the_gateway_takes_no_more_is_replaced(house: House, flash) -> None:
    house.ask(lambda devices: devices.revoke(NAME))
    code, said = flash()
    assert code == 0, said
    assert "the same device, with a new token" in said
    assert_works(said)
    assert list(house.devices()) == [NAME]


@pytest.mark.campaign
def test_an_erased_board_is_still_the_same_device(house: House, flash) -> None:
    house.board.wipe()
    code, said = flash()
    assert code == 0, said
    assert "the same device, with a new token" in said
    assert_works(said)
    assert list(house.devices()) == [NAME]


@pytest.mark.campaign
def test_a_full_flash_is_a_sentence_and_with_room_it_works(house: House, flash) -> None:
    house.board.wipe()
    with Session(house.board.port) as session:
        session.enter()
        session._run(FILL)
    code, said = flash()
    assert code == 1
    assert re.search(
        r"the board's flash is full: .* more are needed.*/big65536-\d+ \(64.0 KB\).*mpy-gateway erase", said
    )
    with Session(house.board.port) as session:
        session.enter()
        session.remove(sorted(path for path in session.files() if path.startswith("/big")))
    code, said = flash()
    assert code == 0, said
    assert_works(said)


def test_a_wrong_wifi_password_is_a_sentence_and_the_right_one_mends_it(
    house: House, flash, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = os.environ["MPY_GATEWAY_WIFI_PASSWORD"]
    monkeypatch.setenv("MPY_GATEWAY_WIFI_PASSWORD", "not-the-password")
    code, said = flash()
    assert code == 1
    assert f'cannot join "{os.environ["MPY_GATEWAY_WIFI_SSID"]}": the password is wrong' in said
    assert "Traceback" not in said
    monkeypatch.setenv("MPY_GATEWAY_WIFI_PASSWORD", right)
    code, said = flash()
    assert code == 0, said
    assert_works(said)


def test_a_gateway_that_is_not_reached_is_a_sentence(house: House, flash, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port is closed to the board, by a firewall, say: here the board is given another one."""
    file = house.state / "run.json"
    written = file.read_text()
    run = json.loads(written)
    monkeypatch.setattr(arrival, "WAIT_S", 3)
    file.write_text(json.dumps(run | {"devices_url": re.sub(r":\d+$", ":9", run["devices_url"])}))
    try:
        code, said = flash()
    finally:
        file.write_text(written)
    assert code == 1
    assert re.search(r"is flashed, but the board does not reach the gateway: .*port open in the firewall", said), said


@pytest.mark.campaign
def test_a_token_that_is_refused_is_a_sentence(house: House, flash, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway that runs there is not the one whose data this command found."""
    house.board.wipe()

    async def settle(*_: object) -> str:
        return "x" * 43

    with monkeypatch.context() as patch:
        patch.setattr("gateway.provision.identity.settle", settle)
        code, said = flash()
    assert code == 1
    assert "the gateway does not know the board's token" in said
    code, said = flash()
    assert code == 0, said
    assert_works(said)


@pytest.mark.campaign
def test_another_gateway_at_that_address_is_a_sentence(house: House, flash, tmp_path: Path) -> None:
    """Its certificate is not of the authority that the board was given."""
    file = house.state / "run.json"
    written = file.read_text()
    with running_gateway(tmp_path / "other", "devices.tls=true") as other:
        file.write_text(json.dumps(json.loads(written) | {"devices_url": other.run["devices_url"]}))
        try:
            code, said = flash()
        finally:
            file.write_text(written)
    assert code == 1
    assert "another gateway answers at the address the board was given" in said
    code, said = flash()
    assert code == 0, said


@pytest.mark.campaign
@pytest.mark.parametrize("node", nodes())
def test_every_node_is_flashed_to_its_first_sample(house: House, tmp_path: Path, node: str) -> None:
    path = find_node(node)
    board = EmulatedBoard(
        load_profile(path), path.parent, {}, directory=tmp_path / "b", seed=5, serial=True, blank=True, air=[WIFI]
    )
    bench = EmulatedBench(board)
    try:
        ended = mpy_gateway_here(
            "flash", bench.port, "--node", node, "--name", node, "--state", str(house.state), "--yes"
        )
    finally:
        bench.end()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(rf"sample +[\d:.]+ {node} #\d+ \w+=", ended.stdout), ended.stdout


def mpy_gateway_here(*words: str) -> subprocess.CompletedProcess[str]:
    """With the Wi-Fi of this environment."""
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=120, check=False, env=os.environ)


def test_a_taken_name_is_refused_unless_the_board_takes_its_place(house: House, flash) -> None:
    house.ask(lambda devices: devices.add("other", PROFILE))
    house.ask(lambda devices: devices.set_hardware("other", "a4cf12b0c3d4"))
    code, said = flash(name="other")
    assert code == 1
    assert re.search(r'"other" is another board \(its chip is a4cf12b0c3d4, this one \w+\).*--replace', said)
    assert house.devices()["other"].hardware == "a4cf12b0c3d4"


def test_an_empty_chip_gets_micropython_and_then_everything_else(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """esptool's real command line against our ROM loader; what starts then is the emulated board."""
    _ = house.board.emulated
    house.board.wipe()
    image = tmp_path / "image.bin"
    image.write_bytes(esp_image("esp32"))
    with RomLoader("esp32", then=house.board.port) as loader:
        words = ["flash", loader.port, "--node", "climate-node", "--name", NAME, "--state", str(house.state)]
        assert cli.run([*words, "--image", str(image)]) == 1
        assert "there is no MicroPython" in (said := capsys.readouterr().err), said
        assert "Say --yes if it may be written" in said
        assert 0xD0 not in loader.commands
        assert cli.run([*words, "--image", str(image), "--yes"]) == 0, capsys.readouterr()
        assert bytes(loader.flash[0x1000:][: image.stat().st_size]) == image.read_bytes()
    out = capsys.readouterr().out
    assert out.index("written  MicroPython") < out.index("flashed  ") < out.index("sample   ")
