"""MicroPython's own images: which one for which chip, and whether a file is one. Pure."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from gateway.errors import ConfigError
from gateway.words import size


class BadImage(ConfigError):
    """A file that would not run on that board. The text says which to take."""


@dataclass(frozen=True, slots=True)
class Release:
    """An official image."""

    version: str
    file: str
    sha256: str
    offset: int
    """Where in flash it begins. Of a .uf2, which says that itself: 0."""

    @property
    def url(self) -> str:
        return f"https://micropython.org/resources/firmware/{self.file}"


RELEASES: Final[dict[str, Release]] = {
    "esp32": Release(
        "1.29.0",
        "ESP32_GENERIC-20260824-v1.29.0.bin",
        "e67ad6015a0a504c1fec9aa9bbf589d0432ed28e62546f4f8dd8a147f8bd95f6",
        0x1000,
    ),
    "esp32c3": Release(
        "1.29.0",
        "ESP32_GENERIC_C3-20260824-v1.29.0.bin",
        "bf72ed9eb88ad3a8f49d02c3d371f9ea34c90a8a303aeb9e324d8efd4a2a655a",
        0,
    ),
    "esp32s3": Release(
        "1.29.0",
        "ESP32_GENERIC_S3-20260824-v1.29.0.bin",
        "1dd9dcd27ba2d6a1cb7f7b49a063f46d3d807d68b0151161233920228285e300",
        0,
    ),
    "rp2040": Release(
        "1.29.0",
        "RPI_PICO_W-20260824-v1.29.0.uf2",
        "f918c0a082c6daf53e27998b7f990ba5f065db2e298b21a34024532a20786794",
        0,
    ),
}
"""By chip, as hardware/boards has it. MicroPython publishes no hashes. Each of these was written down by at least two
projects that know nothing of each other and had downloaded that file (public repositories, November 2026); a file with
another hash is refused. 1.28 has a fault in the RP2's I2C (micropython issue 19514)."""

_MAGIC: Final = 0xE9
_CHIP_IDS: Final = {
    0: "esp32", 2: "esp32s2", 5: "esp32c3", 9: "esp32s3", 12: "esp32c2", 13: "esp32c6", 16: "esp32h2", 18: "esp32p4",
    20: "esp32c61", 23: "esp32c5",
}  # fmt: skip
"""Of the extended header, bytes 12 and 13 (ESP-IDF, esp_app_format.h)."""
_TABLE_AT: Final = 0x8000
_TABLE_MAGIC: Final = b"\xaa\x50"
"""Where in flash the partition table is, and how it begins (ESP-IDF, Partition Tables)."""
_UF2: Final = struct.pack("<II", 0x0A324655, 0x9E5D5157)
_UF2_FAMILIES: Final = {0xE48BFF56: "rp2040", 0xE48BFF59: "rp2350"}


def check_hash(content: bytes, sha256: str, what: str) -> None:
    """Raises BadImage where it is another file."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.strip().lower():
        raise BadImage(f"{what} is not the file that is meant: its SHA-256 is {found}, and should be {sha256}")


def check_image(content: bytes, chip: str, flash_bytes: int, what: str) -> None:
    """Whether `content` is a whole image for that chip, and fits. `what` is the file's name, for the error; raises
    BadImage. `flash_bytes`: 0 where it is not known."""
    meant = RELEASES[chip].file if chip in RELEASES else f"one for the {chip}"
    is_uf2 = content.startswith(_UF2)
    if chip.startswith("rp2"):
        if not is_uf2:
            raise BadImage(f"{what} is no .uf2 file, which a {chip} needs: {meant}")
        family = _UF2_FAMILIES.get(struct.unpack_from("<I", content, 28)[0]) if len(content) >= 32 else None
        if family != chip:
            raise BadImage(f"{what} is for {family or 'another chip'}, and the board has a {chip}: take {meant}")
        return
    if is_uf2:
        raise BadImage(f"{what} is a .uf2 file, and a {chip} needs the .bin file: {meant}")
    if len(content) < 24 or content[0] != _MAGIC:
        raise BadImage(f"{what} is no image for an ESP32 (it does not begin with 0xE9): take {meant}")
    found = _CHIP_IDS.get(struct.unpack_from("<H", content, 12)[0], "another chip")
    if found != chip:
        raise BadImage(f"{what} is for {found}, and the board has an {chip}: take {meant}")
    offset = RELEASES[chip].offset if chip in RELEASES else 0
    table = content[_TABLE_AT - offset :][:2]
    if table != _TABLE_MAGIC:
        raise BadImage(
            f"{what} is the program alone, as for an update over the air: the whole image is needed, {meant}"
        )
    if flash_bytes and offset + len(content) > flash_bytes:
        raise BadImage(f"{what} has {size(len(content))}, and the board's flash {size(flash_bytes)}: it does not fit")
