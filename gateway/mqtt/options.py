"""What the embedded broker's process is told: one line of JSON on its standard input. Pure."""

from __future__ import annotations

import msgspec

from gateway.mqtt.gate import Login


class DoorOptions(msgspec.Struct):
    """`descriptor` is a listening socket that was handed over."""

    descriptor: int
    tls: bool


class Options(msgspec.Struct):
    """`config` is rumqttd's, `upstream` the address it listens on, `inner` the login it wants there. `certificate` and
    `key`: files, for doors with TLS."""

    config: str
    upstream: tuple[str, int]
    inner: Login
    own: Login
    login: Login | None
    base: str
    doors: list[DoorOptions]
    certificate: str | None
    key: str | None
    max_bytes: int
