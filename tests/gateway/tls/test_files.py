"""The authority is made once, by one, whole, for its owner alone; what cannot be read is never replaced in silence."""

from __future__ import annotations

import os
import resource
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.tls import files
from gateway.tls.authority import DEVICES
from gateway.tls.files import door_file, open_authority, read_authority, read_door, write_door
from tests.gateway.tls.shake import issued


@pytest.fixture
def umask_0():
    """So that only what we say ourselves keeps others out."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The mode of each file in the moment it was made."""
    modes: dict[str, int] = {}
    real = os.open

    def watched(path, flags, mode=0o777, **more):
        if not flags & os.O_CREAT:
            return real(path, flags, mode, **more)
        descriptor = real(path, flags, mode, **more)
        modes[Path(path).name] = stat.S_IMODE(os.fstat(descriptor).st_mode)
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    return modes


@pytest.mark.usefixtures("umask_0")
def test_directory_and_files_are_for_the_owner_alone_from_their_first_moment(tmp_path, opened) -> None:
    authority = open_authority(tmp_path, "gw-test")
    write_door(tmp_path, DEVICES, issued(authority, DEVICES)[0])
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert made == {"tls": 0o700, "ca.key": 0o600, "ca.pem": 0o600, "devices.pem": 0o600}
    assert len(opened) == 3
    assert set(opened.values()) == {0o600}


def test_the_same_authority_comes_back_for_ever(tmp_path) -> None:
    first = open_authority(tmp_path, "gw-test")
    assert open_authority(tmp_path, "gw-test").pem == first.pem
    assert open_authority(tmp_path, "gw-renamed").pem == first.pem
    assert read_authority(tmp_path).key_pem == first.key_pem


def test_of_many_who_make_it_at_once_one_wins_and_all_have_the_same(tmp_path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = {authority.pem for authority in pool.map(lambda _: open_authority(tmp_path, "gw-test"), range(24))}
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tls"], "what the others made is gone"


def test_a_power_cut_leaves_a_whole_authority_or_none(tmp_path, monkeypatch) -> None:
    """Wherever it ends, there is no directory with a part of one."""
    real, budget = files._write_new, 0

    def dying(path: Path, content: bytes) -> None:
        nonlocal budget
        if budget == 0:
            raise KeyboardInterrupt  # nothing of ours runs after this, as after a cut
        budget -= 1
        real(path, content)

    monkeypatch.setattr(files, "_write_new", dying)
    for budget in (0, 1):  # noqa: B007 - read by `dying`
        with pytest.raises(KeyboardInterrupt):
            open_authority(tmp_path, "gw-test")
        assert not (tmp_path / "tls").exists()
    budget = 2
    assert open_authority(tmp_path, "gw-test").pem == read_authority(tmp_path).pem


@pytest.mark.parametrize("name", ["ca.key", "ca.pem"])
@pytest.mark.parametrize("damage", ["gone", "cut short", "another's"])
def test_an_authority_that_cannot_be_read_is_an_error_and_stays_as_it_is(tmp_path, name, damage) -> None:
    open_authority(tmp_path, "gw-test")
    path = tmp_path / "tls" / name
    if damage == "gone":
        path.unlink()
    elif damage == "cut short":
        path.write_bytes(path.read_bytes()[:40])
    else:
        other = open_authority(_made(tmp_path / "other"), "gw-test")
        path.write_bytes(other.key_pem if name == "ca.key" else other.pem)
    before = {file: file.read_bytes() for file in (tmp_path / "tls").iterdir()}
    with pytest.raises(ConfigError, match=r"give every board the new ca\.der"):
        open_authority(tmp_path, "gw-test")
    assert {file: file.read_bytes() for file in (tmp_path / "tls").iterdir()} == before


def test_a_door_without_a_usable_certificate_has_none(tmp_path) -> None:
    authority = open_authority(tmp_path, "gw-test")
    assert read_door(tmp_path, DEVICES) is None
    pem, certificate = issued(authority, DEVICES)
    write_door(tmp_path, DEVICES, pem)
    assert read_door(tmp_path, DEVICES) == certificate
    other_key = issued(authority, DEVICES)[0].partition(b"-----BEGIN CERT")[0]
    for content in (b"", pem[:100], other_key + pem[pem.index(b"-----BEGIN CERT") :]):
        door_file(tmp_path, DEVICES).write_bytes(content)
        assert read_door(tmp_path, DEVICES) is None


def test_a_state_directory_that_cannot_be_written_is_said(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot make"):
        open_authority(tmp_path / "missing", "gw-test")


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def test_a_certificate_that_finds_no_room_leaves_no_scratch_file(tmp_path: Path) -> None:
    """It is tried again every minute, and what is left in between would have a key in it."""
    authority = open_authority(tmp_path, "gw-test")
    pem = issued(authority, DEVICES)[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most_bytes in (0, 100):  # a real disk that ends at once, or in the middle
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
        try:
            with pytest.raises(ConfigError, match=r"cannot write .*devices\.pem"):
                write_door(tmp_path, DEVICES, pem)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == ["ca.key", "ca.pem"]
