"""The certificates of a running gateway: what is made anew is shown at the next handshake, without a restart."""

from __future__ import annotations

import asyncio
import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from gateway.clock import HandClock
from gateway.config import Config, load_config
from gateway.errors import ConfigError
from gateway.tls import doors, files
from gateway.tls.authority import names_of
from gateway.tls.context import exact_context
from gateway.tls.doors import Doors, Shown
from tests.aio import run, until
from tests.gateway.mqtt.certificates import Authority
from tests.gateway.tls.shake import DAY_MS, NAME, NOW_MS, shake


@pytest.fixture(autouse=True)
def name_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "pi")
    monkeypatch.setattr("gateway.tls.names.own_address", lambda: "192.168.1.5")


def load(folder: Path, *overrides: str) -> Config:
    return load_config(None, overrides=overrides, environ={"HOME": str(folder)}, state=folder)


def open_doors(folder: Path, clock: HandClock, *overrides: str) -> Doors:
    return Doors(load(folder, *(overrides or ("devices.tls=true", "people.tls=true"))), "gw-test", clock)


def shown(of: Shown | None) -> int:
    """Serial number of what the door shows now, to a client that accepts what is on disk."""
    assert of is not None
    return shake(of.context, exact_context(of.file)).serial_number


def test_a_door_in_the_clear_has_no_certificate_and_none_is_made(tmp_path) -> None:
    both = open_doors(tmp_path, HandClock(), "log.level=info")
    assert (both.devices, both.people, both.concerns()) == (None, None, [])
    both.look()
    assert not (tmp_path / "tls").exists()
    assert open_doors(tmp_path, HandClock(), "people.tls=true").devices is None


def test_a_door_on_all_addresses_is_for_those_of_this_machine(tmp_path) -> None:
    both = open_doors(tmp_path, HandClock(), "people.host=0.0.0.0", "people.allowed_hosts=attic.lan")
    assert both.people is not None
    certificate = shake(both.people.context, exact_context(both.people.file))
    assert names_of(certificate) == [
        NAME,
        "pi",
        "pi.local",
        "localhost",
        "attic.lan",
        "127.0.0.1",
        "::1",
        "192.168.1.5",
    ]


def test_a_restart_shows_the_same_certificate(tmp_path) -> None:
    first = open_doors(tmp_path, HandClock())
    again = open_doors(tmp_path, HandClock())
    assert shown(again.devices) == shown(first.devices)
    assert shown(again.people) == shown(first.people)


def test_a_gateway_with_another_id_is_still_what_its_boards_verify(tmp_path) -> None:
    config, clock = load(tmp_path, "devices.tls=true"), HandClock()
    for number, id in enumerate(("gw-test", "gw-attic", "gw-cellar")):
        door = Doors(config, id, clock).devices
        assert door is not None
        names = names_of(shake(door.context, exact_context(door.file)))
        assert names[0] == f"{id}.mpy-gateway"
        assert NAME in names
        assert len([name for name in names if name.endswith(".mpy-gateway")]) == number + 1


def test_each_is_made_anew_in_its_time_while_both_are_open(tmp_path) -> None:
    clock = HandClock(wall_ms=NOW_MS)
    both = open_doors(tmp_path, clock)
    authority = files.read_authority(tmp_path).pem
    devices, people = shown(both.devices), shown(both.people)
    clock.advance(260 * DAY_MS)
    both.look()
    assert (shown(both.devices), shown(both.people)) == (devices, people), "more than a third is left of both"
    clock.advance(10 * DAY_MS)
    both.look()
    assert shown(both.devices) == devices
    assert shown(both.people) != people
    clock.advance(230 * DAY_MS)
    both.look()
    assert shown(both.devices) != devices
    assert files.read_authority(tmp_path).pem == authority, "boards notice nothing"


def test_what_is_open_goes_on_when_the_certificate_changes(tmp_path) -> None:
    async def check() -> None:
        clock = HandClock(wall_ms=NOW_MS)
        both = open_doors(tmp_path, clock)
        assert both.devices is not None

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        async def serial(writer: asyncio.StreamWriter) -> int:
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return x509.load_der_x509_certificate(shown).serial_number

        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=both.devices.context)
        port = server.sockets[0].getsockname()[1]

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            trust = exact_context(both.devices.file)  # type: ignore[union-attr]
            return await asyncio.open_connection("127.0.0.1", port, ssl=trust)

        reader, writer = await connect()
        before = await serial(writer)
        clock.advance(600 * DAY_MS)
        both.look()
        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        newer, more = await connect()
        assert await serial(more) != before
        more.write(b"me too\n")
        assert await newer.readline() == b"me too\n"
        for each in (writer, more):
            each.close()
        server.close()

    run(check())


def test_a_new_address_gets_into_the_peoples_certificate(tmp_path, monkeypatch) -> None:
    """As when DHCP answers after the start."""
    both = open_doors(tmp_path, HandClock(), "people.host=0.0.0.0")
    before = shown(both.people)
    both.look()
    assert shown(both.people) == before
    monkeypatch.setattr("gateway.tls.names.own_address", lambda: "10.0.0.7")
    both.look()
    renewed = shown(both.people)
    assert renewed != before
    monkeypatch.setattr("gateway.tls.names.own_address", lambda: "")  # the cable is out
    both.look()
    assert shown(both.people) == renewed


def test_a_first_start_without_a_date_is_put_right_when_it_is_known(tmp_path) -> None:
    clock = HandClock(wall_ms=0, trusted=False)
    both = open_doors(tmp_path, clock)
    before = shown(both.people)
    both.look()
    assert shown(both.people) == before
    clock.set_wall(NOW_MS + 800 * DAY_MS)
    clock.trusted = True
    both.look()
    assert shown(both.people) != before
    assert both.concerns() == []


def test_a_date_that_was_years_ahead_locks_no_board_out_that_was_told_it(tmp_path) -> None:
    """A board keeps the date of its last welcome until it loses power."""
    clock = HandClock(wall_ms=NOW_MS)
    both = open_doors(tmp_path, clock)
    clock.set_wall(NOW_MS + 9 * 365 * DAY_MS)
    told = datetime.fromtimestamp(clock.wall_ms() / 1000, UTC)
    both.look()
    clock.set_wall(NOW_MS)
    both.look()
    assert ends(both.devices) > told
    clock.advance(20 * DAY_MS)
    both = Doors(load(tmp_path, "devices.tls=true", "people.tls=true"), "gw-other", clock)  # made anew, for its name
    assert ends(both.devices) > told


def ends(of: Shown | None) -> datetime:
    assert of is not None
    return x509.load_pem_x509_certificate(of.file.read_bytes()).not_valid_after_utc


def test_certificates_of_a_restored_or_exchanged_authority_are_made_anew(tmp_path) -> None:
    first = open_doors(tmp_path, HandClock())
    before = shown(first.devices)
    other = tmp_path / "other"
    other.mkdir()
    files.open_authority(other, "gw-test")
    for name in ("ca.key", "ca.pem"):
        (other / "tls" / name).replace(tmp_path / "tls" / name)
    assert shown(open_doors(tmp_path, HandClock()).devices) != before


def test_a_disk_that_is_full_keeps_the_old_certificate_and_says_so_once(tmp_path, monkeypatch, caplog) -> None:
    clock = HandClock(wall_ms=NOW_MS)
    both = open_doors(tmp_path, clock)
    before = shown(both.people)
    clock.advance(300 * DAY_MS)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk, caplog.at_level(logging.WARNING):
        disk.setattr(files, "write_private", full)
        both.look()
        both.look()
        assert shown(both.people) == before
        assert "No space left" in both.concerns()[0]
        assert len([r for r in caplog.records if "people.pem" in r.getMessage()]) == 1
        restarted = open_doors(tmp_path, clock)
        assert shown(restarted.people) == before, "what there is, is better than no door"
        assert "No space left" in restarted.concerns()[0]
        door_file = tmp_path / "tls" / "people.pem"
        kept = door_file.read_bytes()
        door_file.unlink()
        with pytest.raises(ConfigError, match="No space left"):
            open_doors(tmp_path, clock)
        door_file.write_bytes(kept)
    both.look()
    assert shown(both.people) != before
    assert both.concerns() == []


def test_a_new_certificate_that_could_not_be_loaded_is_loaded_at_the_next_look(tmp_path, monkeypatch) -> None:
    clock = HandClock(wall_ms=NOW_MS)
    both = open_doors(tmp_path, clock)
    clock.advance(700 * DAY_MS)

    def no_file_left(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(doors, "load", no_file_left)
        both.look()
        assert len(both.concerns()) == 2, "one door does not keep the other from being looked at"
    both.look()
    for door in (both.devices, both.people):
        shown(door)  # what is on disk
    assert both.concerns() == []


def test_a_certificate_of_ones_own_is_taken_anew_when_its_files_change(tmp_path, caplog) -> None:
    theirs = Authority(tmp_path)
    theirs.issue("door", "a.example.com")
    own = [
        f"people.{key}={tmp_path / name}" for key, name in (("certificate_file", "door.pem"), ("key_file", "door.key"))
    ]
    both = open_doors(tmp_path, HandClock(), "people.tls=true", *own)
    assert not (tmp_path / "tls").exists()
    before = shown(both.people)
    good = (tmp_path / "door.pem").read_bytes(), (tmp_path / "door.key").read_bytes()
    theirs.issue("door", "a.example.com")
    (tmp_path / "door.key").write_bytes(good[1])  # as if we came between the two files
    both.look()
    assert "KEY_VALUES_MISMATCH" in both.concerns()[0]
    (tmp_path / "door.pem").write_bytes(good[0])
    both.look()
    assert shown(both.people) == before, "the one before is still shown"
    theirs.issue("door", "a.example.com")
    both.look()
    assert shown(both.people) != before
    assert both.concerns() == []


def test_the_running_gateway_looks_by_itself_and_outlives_a_fault(tmp_path, monkeypatch) -> None:
    async def check() -> None:
        clock = HandClock(wall_ms=NOW_MS)
        both = open_doors(tmp_path, clock)
        before = shown(both.people)
        monkeypatch.setattr(doors, "LOOK_S", 0.01)
        real, faults = both.look, iter([ssl.SSLError("a fault")])

        def look() -> None:
            for fault in faults:
                raise fault
            real()

        monkeypatch.setattr(both, "look", look)
        both.start()
        clock.advance(300 * DAY_MS)
        await until(lambda: shown(both.people) != before, what="a new certificate")
        both.stop()

    run(check())
