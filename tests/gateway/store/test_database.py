from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.store import sqlite as sqlite_module
from gateway.store.database import StateLock, is_flash_card, make_state_directory, measure_fsync_ms
from gateway.store.sqlite import SqliteStore
from tests.aio import run


def block_device(sys_dev_block: Path, directory: Path, real: str) -> Path:
    """Pretend that `directory` lies on the block device `real`; returns its entry."""
    number = directory.stat().st_dev
    (sys_dev_block / real).mkdir(parents=True)
    entry = sys_dev_block / f"{os.major(number)}:{os.minor(number)}"
    entry.symlink_to(sys_dev_block / real)
    return entry


@pytest.mark.parametrize(
    ("real", "card"),
    [("devices/mmc0/mmc0:0001/block/mmcblk0/mmcblk0p2", True), ("devices/pci0/nvme/nvme0n1/nvme0n1p2", False)],
)
def test_a_flash_card_is_known_by_its_block_device(tmp_path: Path, real: str, card: bool) -> None:
    block_device(tmp_path / "sys", tmp_path, real)
    assert is_flash_card(tmp_path, tmp_path / "sys") is card


def test_a_flash_card_below_an_encrypted_device_is_known(tmp_path: Path) -> None:
    entry = block_device(tmp_path / "sys", tmp_path, "devices/virtual/block/dm-0")
    (entry / "slaves").mkdir()
    (tmp_path / "sys" / "mmcblk0").mkdir()
    (entry / "slaves" / "mmcblk0p2").symlink_to(tmp_path / "sys" / "mmcblk0")
    assert is_flash_card(tmp_path, tmp_path / "sys")


def test_a_directory_without_a_block_device_is_no_card(tmp_path: Path) -> None:
    assert not is_flash_card(tmp_path, tmp_path / "nothing")


@pytest.mark.parametrize(
    ("fsync_ms", "card", "window_ms"),
    [(0.5, False, 20), (12.0, False, 60), (12.0, True, 2_000), (600.0, True, 3_000), (9_000.0, False, 5_000)],
)
def test_the_commit_window_suits_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fsync_ms: float, card: bool, window_ms: float
) -> None:
    monkeypatch.setattr(sqlite_module, "measure_fsync_ms", lambda directory: fsync_ms)
    monkeypatch.setattr(sqlite_module, "is_flash_card", lambda directory: card)

    async def work() -> None:
        store = SqliteStore(tmp_path / "state")
        await store.open()
        assert store.stats()["commit_ms"] == window_ms
        await store.close()

    run(work())


def test_measuring_leaves_nothing_behind(tmp_path: Path) -> None:
    assert measure_fsync_ms(tmp_path) >= 0
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_for_one_and_free_again(tmp_path: Path) -> None:
    one, two = StateLock(tmp_path), StateLock(tmp_path)
    one.take()
    with pytest.raises(ConfigError):
        two.take()
    one.release()
    two.take()
    two.release()


def test_a_directory_that_is_there_is_narrowed(tmp_path: Path) -> None:
    """systemd makes it 0755. More: test_private.py."""
    directory = tmp_path / "state"
    directory.mkdir()
    directory.chmod(0o750)
    make_state_directory(directory)
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"cannot make the state directory .*--state$") as caught:
            make_state_directory(directory)
        assert "\n" not in str(caught.value)
