"""One tree of errors. Ours against theirs, each with a stable code and the answer to give.

`GatewayError`
  - `ConfigError`   our own user wrote something wrong: one line on the terminal, exit 1 (2 for wrong command lines)
  - `DeviceError`   a device or browser sent something wrong: `code` goes back to it (device/WIRE.md, section 8)
  - `StoreError`    the store could not do it; subclasses say what the caller should do
"""

from __future__ import annotations

from typing import ClassVar


class GatewayError(Exception):
    """Base of all errors this project raises on purpose. `str(error)` is one sentence for a person."""

    code: ClassVar[str] = "error"


class ConfigError(GatewayError):
    """A file, key, option or surrounding of ours is wrong. The text says what to do; the program ends with
    `exit_code`."""

    code = "config"
    exit_code: ClassVar[int] = 1


class WrongUse(ConfigError):
    """What was typed is wrong, and nothing else."""

    exit_code = 2


class DeviceError(GatewayError):
    """A frame was not acceptable. `code` is stable and travels to the device (WIRE.md, section 8)."""

    def __init__(self, code: str, text: str, *, retry: bool = False, boot: int | None = None, seq: int | None = None):
        super().__init__(text)
        self.wire_code = code
        self.retry = retry
        self.boot = boot
        self.seq = seq


class CloseConnection(DeviceError):
    """The connection must end: `close_code` is one of WIRE.md, section 8."""

    def __init__(self, close_code: int, code: str, text: str):
        super().__init__(code, text)
        self.close_code = close_code


class StoreError(GatewayError):
    """The store could not do what was asked."""

    code = "store"


class Fenced(StoreError):
    """A newer connection has claimed this device: stop, and send nothing more for it."""

    code = "store.fenced"


class Conflict(StoreError):
    """`cas` or `create` met another revision: read again and decide again."""

    code = "store.conflict"


class NoHolder(StoreError):
    """No connection holds this device now."""

    code = "store.no_holder"


class Unavailable(StoreError):
    """Outcome unknown or impossible for now (disk full, locked): call again with the same arguments."""

    code = "store.unavailable"


class TooLarge(StoreError):
    """More than the store takes at once: split it."""

    code = "store.too_large"
