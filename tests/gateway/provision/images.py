"""Files that look like MicroPython's images from outside."""

from __future__ import annotations

import random
import struct

CHIP_IDS = {"esp32": 0, "esp32c3": 5, "esp32s3": 9}
OFFSETS = {"esp32": 0x1000, "esp32c3": 0, "esp32s3": 0}


def esp_image(chip: str, size_bytes: int = 150_000, *, compressible: bool = True) -> bytes:
    """Header, partition table where it belongs, and something in between."""
    content = bytearray(random.Random(7).randbytes(size_bytes))
    if compressible:
        content[size_bytes // 2 :] = bytes(size_bytes - size_bytes // 2)
    content[:8] = struct.pack("<BBBBI", 0xE9, 1, 2, 0x20, 0x40080000)
    content[8:24] = struct.pack("<B3sHBHH4xB", 0xEE, b"", CHIP_IDS[chip], 0, 0, 0xFFFF, 0)
    table = 0x8000 - OFFSETS[chip]
    content[table : table + 2] = b"\xaa\x50"
    return bytes(content)


def uf2_image(family: int = 0xE48BFF56) -> bytes:
    """One block."""
    head = struct.pack("<8I", 0x0A324655, 0x9E5D5157, 0x2000, 0x10000000, 256, 0, 1, family)
    return head + bytes(476) + struct.pack("<I", 0x0AB16F30)
