"""esptool's real command line against a ROM loader of ours.

What this cannot show: that a board's reset circuit brings the loader up (DTR and RTS do nothing on a pseudo-terminal),
that the stub runs on the chip, that the chip starts what was written, and how long flash takes.
"""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path

import pytest

from gateway.provision import esptool
from gateway.provision.esptool import Chip, EsptoolError, NoLoader, erase_flash, fetch, read_chip, write_micropython
from gateway.provision.micropython import BadImage, Release
from tests.gateway.provision.images import CHIP_IDS, OFFSETS, esp_image
from tests.gateway.provision.rom_loader import MAC, RomLoader

NAMES = {"esp32": "ESP32-D0WDQ6", "esp32c3": "ESP32-C3", "esp32s3": "ESP32-S3"}


@pytest.fixture(autouse=True)
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As esptool's own configuration file has it."""
    settings = tmp_path / "esptool.cfg"
    settings.write_text(
        "[esptool]\ntimeout = 0.5\nconnect_attempts = 1\nwrite_block_attempts = 1\n"
        "erase_write_timeout_per_mb = 1\nmd5_timeout_per_mb = 1\n"
    )
    monkeypatch.setenv("ESPTOOL_CFGFILE", str(settings))


@pytest.mark.parametrize("chip", CHIP_IDS)
def test_a_chip_says_what_it_is_and_holds_what_was_written(chip: str, tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(esp_image(chip))
    done: list[float] = []
    with RomLoader(chip, flash_bytes=8 << 20) as loader:
        found = read_chip(loader.port)
        write_micropython(loader.port, image, chip, erase=False, progress=done.append)
        flash = bytes(loader.flash)
    assert found == Chip(chip, found.description, MAC.hex(), 8 << 20)
    assert found.description.startswith(NAMES[chip])
    assert flash[OFFSETS[chip] :][: image.stat().st_size] == image.read_bytes()
    assert done[-1] == 1.0
    assert done == sorted(done)
    assert {0x10, 0x11, 0x13} <= set(loader.commands)  # compressed, and its MD5 asked for


def test_erasing_first_leaves_nothing_of_what_was_there(tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(esp_image("esp32", compressible=False))
    with RomLoader() as loader:
        write_micropython(loader.port, image, "esp32", erase=True)
        flash = bytes(loader.flash)
    assert flash == (b"\xff" * 0x1000 + image.read_bytes()).ljust(4 << 20, b"\xff")
    assert {0x02, 0x03} <= set(loader.commands)  # what cannot be compressed goes as it is


def test_the_rom_loader_alone_takes_it_too(tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(esp_image("esp32c3"))
    with RomLoader("esp32c3") as loader:
        esptool._run(loader.port, ["--chip", "esp32c3", "--no-stub", "write-flash", "0", str(image)], 60)
        assert bytes(loader.flash[: image.stat().st_size]) == image.read_bytes()
    assert not {0x06, 0x10} & set(loader.commands)


def test_another_chip_than_expected_is_not_written(tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(esp_image("esp32"))
    with RomLoader("esp32s3") as loader, pytest.raises(EsptoolError, match="has an ESP32-S3, and ESP32 was expected"):
        write_micropython(loader.port, image, "esp32", erase=True)
    assert not {0x02, 0x10, 0xD0} & set(loader.commands)


def test_a_loader_that_does_not_answer_needs_a_hand() -> None:
    with RomLoader(deaf=True) as loader, pytest.raises(NoLoader, match="hold the board's BOOT button, press EN"):
        read_chip(loader.port)


def test_a_board_that_goes_half_way_is_written_anew(tmp_path: Path) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(esp_image("esp32"))
    with RomLoader(dies_after=2) as loader:
        with pytest.raises(EsptoolError, match=r"stopped answering in the middle.*run the same command again"):
            write_micropython(loader.port, image, "esp32", erase=False)
        loader.deaf, loader.dies_after, loader.is_stub = False, None, False  # plugged in again
        write_micropython(loader.port, image, "esp32", erase=False)
        assert bytes(loader.flash[0x1000:][: image.stat().st_size]) == image.read_bytes()


def test_worn_out_flash_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "image.bin"
    image.write_bytes(esp_image("esp32"))
    monkeypatch.setattr(RomLoader, "_erase", lambda self, offset, size: None)  # bits that were cleared stay so
    with RomLoader() as loader, pytest.raises(EsptoolError, match="is not what was written"):
        write_micropython(loader.port, image, "esp32", erase=False)


def test_a_port_that_is_taken_or_gone_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import serial  # type: ignore[import-untyped]

    with RomLoader() as loader:
        with serial.Serial(loader.port, exclusive=True), pytest.raises(EsptoolError, match="in use by another program"):
            read_chip(loader.port)
        gone = loader.port
    monkeypatch.setattr(esptool, "BACK_S", 0.1)
    with pytest.raises(EsptoolError, match="has gone: plug the board in again"):
        read_chip(f"{gone}0000")


def test_all_of_a_flash_is_erased() -> None:
    with RomLoader() as loader:
        erase_flash(loader.port)
        assert bytes(loader.flash) == b"\xff" * (4 << 20)


def test_an_esptool_that_hangs_is_ended() -> None:
    with RomLoader(deaf=True) as loader, pytest.raises(EsptoolError, match="failed with the board"):
        esptool._run(loader.port, ["--connect-attempts", "0", "flash-id"], 1.5)
    assert all(thread.name != "rom-loader" for thread in threading.enumerate())


# Downloads


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the official site has."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(Release, "url", property(lambda self: f"file://{folder / self.file}"))
    return folder


def release_of(content: bytes) -> Release:
    return Release("1.29.0", "image.bin", hashlib.sha256(content).hexdigest(), 0x1000)


def test_an_image_is_fetched_once(site: Path, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(200_000)
    (site / "image.bin").write_bytes(content)
    done: list[float] = []
    found = fetch(release_of(content), tmp_path / "kept", done.append)
    assert found.read_bytes() == content
    assert done[-1] == 1.0
    (site / "image.bin").unlink()
    assert fetch(release_of(content), tmp_path / "kept") == found


def test_another_file_than_pinned_is_never_kept(site: Path, tmp_path: Path) -> None:
    (site / "image.bin").write_bytes(b"something else")
    with pytest.raises(BadImage, match="is not the file that is meant"):
        fetch(release_of(b"abc"), tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "image.bin").write_bytes(b"changed since")
    with pytest.raises(BadImage):
        fetch(release_of(b"abc"), tmp_path / "kept")


def test_where_it_cannot_be_fetched_there_is_another_way(site: Path, tmp_path: Path) -> None:
    with pytest.raises(EsptoolError, match=r"cannot be fetched .*name it with --image"):
        fetch(release_of(b"abc"), tmp_path / "kept")


def test_what_never_ends_is_not_taken(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(esptool, "_MOST_BYTES", 100_000)
    (site / "image.bin").write_bytes(bytes(200_000))
    with pytest.raises(BadImage, match="larger than any image"):
        fetch(release_of(bytes(200_000)), tmp_path / "kept")


def test_esptool_is_never_part_of_this_program() -> None:
    """It is under the GPL."""
    root = Path(__file__).parents[3] / "gateway"
    lines = [line.strip() for path in root.rglob("*.py") for line in path.read_text().splitlines()]
    assert not [line for line in lines if line.startswith(("import esptool", "from esptool", "import esp_"))]
