"""Whether a file is MicroPython for that board."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

from gateway.provision.micropython import RELEASES, BadImage, check_hash, check_image
from tests.gateway.provision.images import CHIP_IDS, esp_image, uf2_image

MB = 1 << 20
ROOT = Path(__file__).parents[3]


def test_every_board_of_ours_has_an_image() -> None:
    boards = (ROOT / "hardware/boards").glob("*.toml")
    assert {tomllib.loads(path.read_text())["board"]["chip"] for path in boards} == set(RELEASES)
    for release in RELEASES.values():
        assert len(bytes.fromhex(release.sha256)) == 32
        assert f"v{release.version}." in release.file


@pytest.mark.parametrize("chip", CHIP_IDS)
def test_an_image_for_the_chip_is_taken(chip: str) -> None:
    check_image(esp_image(chip), chip, 4 * MB, "image.bin")
    check_image(uf2_image(), "rp2040", 2 * MB, "image.uf2")


@pytest.mark.parametrize(
    ("content", "chip", "sentence"),
    [
        (esp_image("esp32s3"), "esp32", r"image is for esp32s3, and the board has an esp32: take ESP32_GENERIC-"),
        (esp_image("esp32"), "esp32c3", r"image is for esp32, and the board has an esp32c3: take ESP32_GENERIC_C3-"),
        (b"<!DOCTYPE html>" + bytes(100), "esp32", "is no image for an ESP32"),
        (b"", "esp32", "is no image for an ESP32"),
        (b"\xe9" + bytes(10), "esp32", "is no image for an ESP32"),
        (esp_image("esp32")[:20000], "esp32", "is the program alone"),
        (esp_image("esp32", 300_000).replace(b"\xaa\x50", b"\0\0"), "esp32", "is the program alone"),
        (esp_image("esp32") + bytes(4 * MB), "esp32", "the board's flash 4.0 MB: it does not fit"),
        (uf2_image(), "esp32s3", r"is a \.uf2 file, and a esp32s3 needs the \.bin"),
        (esp_image("esp32"), "rp2040", r"is no \.uf2 file"),
        (uf2_image(0xE48BFF59), "rp2040", "is for rp2350, and the board has a rp2040"),
        (uf2_image()[:30], "rp2040", "is for another chip"),
    ],
)
def test_what_would_not_run_there_is_refused(content: bytes, chip: str, sentence: str) -> None:
    with pytest.raises(BadImage, match=sentence):
        check_image(content, chip, 4 * MB, "image")


def test_another_file_than_meant_is_told_by_its_hash() -> None:
    check_hash(b"abc", hashlib.sha256(b"abc").hexdigest().upper() + "\n", "image")
    with pytest.raises(BadImage, match="its SHA-256 is ba7816bf8f01cfea"):
        check_hash(b"abc", 64 * "0", "image")
