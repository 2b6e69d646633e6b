"""MicroPython onto a board, by esptool's real command line against a ROM loader of ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gateway.cli.micropython import Source, put_micropython
from gateway.errors import ConfigError
from gateway.provision.micropython import RELEASES, BadImage, Release
from tests.gateway.provision.images import esp_image
from tests.gateway.provision.rom_loader import RomLoader

WHY = "the board has no MicroPython"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(esp_image("esp32"))
    return path


def source_of(image: Path | None, sha256: str | None = None) -> Source:
    return Source(image, sha256, Path("/nowhere"))


def test_an_image_of_ones_own_is_written(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
    with RomLoader() as loader:
        put_micropython(loader.port, "esp32", source_of(image, sha256), why=WHY, erase=True, yes=True)
        assert bytes(loader.flash[0x1000:][: image.stat().st_size]) == image.read_bytes()
    said = capsys.readouterr().out
    assert "ESP32-D0WDQ6 (revision v0.0), 4 MB of flash, chip 240ac4123456" in said
    assert "all that is on its flash goes" in said


def test_nothing_is_written_without_asking_or_with_a_wrong_image(image: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(esp_image("esp32s3"))
    with RomLoader() as loader:
        with pytest.raises(ConfigError, match=r"no MicroPython\. Say --yes"):
            put_micropython(loader.port, "esp32", source_of(image), why=WHY, erase=True, yes=False)
        with pytest.raises(BadImage, match="is for esp32s3, and the board has an esp32"):
            put_micropython(loader.port, "esp32", source_of(other), why=WHY, erase=True, yes=True)
        with pytest.raises(BadImage, match="its SHA-256 is"):
            put_micropython(loader.port, "esp32", source_of(image, 64 * "0"), why=WHY, erase=True, yes=True)
        with pytest.raises(ConfigError, match=r"is an ESP32-D0WDQ6 .* where an esp32c3 is wanted"):
            put_micropython(loader.port, "esp32c3", source_of(image), why=WHY, erase=True, yes=True)
    assert not {0x02, 0x10, 0xD0} & set(loader.commands)


def test_the_official_image_is_fetched_and_checked(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = Release("1.29.0", image.name, hashlib.sha256(image.read_bytes()).hexdigest(), 0x1000)
    monkeypatch.setattr(Release, "url", image.as_uri())
    monkeypatch.setitem(RELEASES, "esp32", release)
    with RomLoader() as loader:
        put_micropython(loader.port, "esp32", Source(None, None, tmp_path / "kept"), why=WHY, erase=False, yes=True)
        assert bytes(loader.flash[0x1000:][: image.stat().st_size]) == image.read_bytes()
    assert (tmp_path / "kept" / image.name).exists()


def test_a_pico_says_what_to_do_by_hand() -> None:
    with pytest.raises(ConfigError, match=r"Hold the BOOTSEL button .*/RPI_PICO_W-.*\.uf2, then run the same"):
        put_micropython("/dev/ttyACM0", "rp2040", source_of(None), why=WHY, erase=True, yes=True)
