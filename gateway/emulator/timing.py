"""How long a chip stands still where an emulated board goes on at once. Its program is not asked meanwhile: what was
due is late, or missed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Timing:
    """In milliseconds; 0: as fast as this computer is."""

    boot_ms: int = 0
    """From a reset to /boot.py."""
    name_ms: int = 0
    """A name is looked up, by DNS or mDNS."""
    tls_ms: int = 0
    """What mbedtls reckons in a handshake: two signatures and a key exchange."""
    erase_ms: int = 0
    """One block of the flash is erased."""


CHIP: Final = Timing(boot_ms=500, name_ms=200, tls_ms=1000, erase_ms=45)
"""About an ESP32. The erase is from the flash's data sheet (Winbond W25Q32JV, "AC electrical characteristics": 45 ms
typically, 400 at most); the others are estimates: only a chip can show them."""
AT_ONCE: Final = Timing()
TIMINGS: Final = {"fast": AT_ONCE, "chip": CHIP}
"""By the name that `emulate --timing` takes."""
