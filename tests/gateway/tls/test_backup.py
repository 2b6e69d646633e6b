"""A gateway moved to another machine is the one that its boards pinned."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509

from gateway.errors import ConfigError
from gateway.store import archive, backup, restore
from gateway.store.sqlite import SqliteStore
from gateway.tls import files
from gateway.tls.authority import DEVICES, Authority
from tests.aio import run
from tests.gateway.tls.shake import NOW, NOW_MS, issued

PASSPHRASE = "four words do well"


def gateway(state: Path, *, tls: bool = True) -> Authority | None:
    """The data of a gateway that ran once."""

    async def once() -> None:
        store = SqliteStore(state, commit_ms=1)
        await store.open()
        await store.close()

    run(once())
    if not tls:
        return None
    authority = files.open_authority(state, "gw-test")
    files.write_door(state, DEVICES, issued(authority, DEVICES)[0])
    return authority


def moved(state: Path, to: Path, **how: bool) -> Path | None:
    file = to.with_suffix(".backup")
    backup.make(state, file, now_ms=NOW_MS, passphrase=PASSPHRASE)
    return restore.restore(to, file, now_ms=NOW_MS, passphrase=PASSPHRASE, **how).aside


def test_the_authority_travels_and_the_doors_certificates_are_made_anew(tmp_path: Path) -> None:
    authority = gateway(tmp_path / "old")
    assert authority is not None
    assert moved(tmp_path / "old", tmp_path / "new") is None
    assert files.read_authority(tmp_path / "new").key_pem == authority.key_pem
    directory = tmp_path / "new" / "tls"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (directory, *directory.iterdir())}
    assert modes == {"tls": 0o700, "ca.key": 0o600, "ca.pem": 0o600}


def test_another_authority_in_its_place_is_kept_aside_whole(tmp_path: Path) -> None:
    theirs, ours = gateway(tmp_path / "old"), gateway(tmp_path / "new")
    assert theirs is not None
    assert ours is not None
    aside = moved(tmp_path / "old", tmp_path / "new", replace=True)
    assert aside is not None
    assert files.read_authority(tmp_path / "new").pem == theirs.pem
    assert {(aside / name).read_bytes() for name in archive.AUTHORITY} == {ours.pem, ours.key_pem}
    left = files.read_door(tmp_path / "new", DEVICES)
    assert isinstance(left, x509.Certificate)
    assert theirs.why_renew(left, DEVICES, [], NOW) == "another authority has signed it"


def test_a_gateway_that_never_spoke_tls_is_moved_too(tmp_path: Path) -> None:
    gateway(tmp_path / "old", tls=False)
    ours = gateway(tmp_path / "new")
    assert ours is not None
    moved(tmp_path / "old", tmp_path / "new", replace=True)
    assert files.read_authority(tmp_path / "new").pem == ours.pem, "boards of this machine may have pinned it"


def test_half_an_authority_is_no_backup(tmp_path: Path) -> None:
    gateway(tmp_path / "old")
    (tmp_path / "old" / "tls" / "ca.pem").unlink()
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        backup.make(tmp_path / "old", tmp_path / "file", now_ms=NOW_MS, passphrase=PASSPHRASE)
    assert not (tmp_path / "file").exists()
