"""Which devices there are, and who may speak as one. Kept in the registry, under these keys:

device/<id>       JSON of what is known of it
token/<sha256>    id of the device it was made for; valid while that device says so too
profile/<hash>    canonical JSON of a profile, for as long as samples of it are kept
seen/<id>         when it was last heard of, in Unix milliseconds
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from gateway.errors import ConfigError, Conflict
from gateway.profile import Profile
from gateway.store.port import Entry

log = logging.getLogger("store")

SEEN_EVERY_MS = 600_000
"""`seen` is written this often at most per device: every write wears the SD card."""
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_TAKEN_NAMES = frozenset({"bridge"})
"""Topics of the gateway itself stand where those of a device do."""


class DeviceInfo(msgspec.Struct, frozen=True):
    """A registered device. `hardware` is the chip's own id, once it has connected."""

    id: str
    node: str
    profile_hash: str
    hardware: str | None
    added_ms: int
    last_seen_ms: int | None


class RegistryPort(Protocol):
    """The part of `Store` that is used here."""

    async def get(self, key: str) -> Entry | None: ...

    async def put(self, key: str, value: bytes) -> int: ...

    async def create(self, key: str, value: bytes) -> int: ...

    async def cas(self, key: str, value: bytes, revision: int) -> int: ...

    async def delete(self, key: str, revision: int | None = None) -> bool: ...

    async def list(self, prefix: str) -> list[Entry]: ...


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of device/<id>."""

    node: str
    profile: str
    token: str
    added_ms: int
    hardware: str | None = None


_decode = msgspec.json.Decoder(_Record).decode
_encode = msgspec.json.Encoder().encode


class Devices:
    """All changes are seen by a second process at its next look-up."""

    def __init__(self, registry: RegistryPort, wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000):
        self._registry = registry
        self._wall_ms = wall_ms
        self._seen: dict[str, int] = {}
        self._seen_written: dict[str, int] = {}

    async def add(self, device: str, profile: Profile) -> str:
        """Register `device` and return its token, which is kept nowhere but in the device. Raises ConfigError."""
        if not _ID.fullmatch(device):
            raise ConfigError(
                f'"{device[:40]}" is no device name: use 1 to 32 of a-z, 0-9, "_" and "-", a letter or digit first'
            )
        if device in _TAKEN_NAMES:
            raise ConfigError(f'"{device}" names the gateway itself on MQTT; choose another name')
        token = secrets.token_urlsafe(32)
        record = _Record(profile.node.name, await self.keep_profile(profile), _hash(token), self._wall_ms())
        # The token first: alone it opens nothing, and a crash in between leaves no device without one.
        await self._registry.put(f"token/{record.token}", device.encode())
        try:
            await self._registry.create(f"device/{device}", _encode(record))
        except Conflict:
            await self._registry.delete(f"token/{record.token}")
            raise ConfigError(f'there is a device "{device}" already; choose another name') from None
        return token

    async def keep_profile(self, profile: Profile) -> str:
        """Keep `profile` for checking samples taken under it. Returns its hash."""
        await self._registry.put(f"profile/{profile.hash}", profile.to_json())
        return profile.hash

    async def by_token(self, token: str) -> DeviceInfo | None:
        """Whom `token` was made for. None for a token that is unknown, revoked or replaced."""
        entry = await self._registry.get(f"token/{_hash(token)}")
        if entry is None:
            return None
        device = entry.value.decode()
        found = await self._registry.get(f"device/{device}")
        record = _read(found) if found else None
        if record is None or record.token != _hash(token):
            return None
        return self._info(device, record, await self._last_seen(device))

    async def get(self, device: str) -> DeviceInfo | None:
        found = await self._registry.get(f"device/{device}")
        record = _read(found) if found else None
        return self._info(device, record, await self._last_seen(device)) if record else None

    async def profile(self, hash: str) -> Profile | None:
        """None for one that is unknown, or was written by a version with other rules: whoever asks can do without."""
        entry = await self._registry.get(f"profile/{hash}")
        try:
            return Profile.from_json(entry.value) if entry else None
        except ValueError as error:
            log.error("the profile %s cannot be read: %s", hash, " ".join(str(error).split())[:300])
            return None

    async def set_hardware(self, device: str, hardware: str) -> None:
        """Remember which piece of hardware `device` is."""
        await self._set_hardware(device, hardware)

    async def replace(self, device: str) -> None:
        """Forget which piece of hardware `device` is: the next one that comes with its token takes its place. Raises
        ConfigError where there is no such device."""
        if not await self._set_hardware(device, None):
            raise _no_such(device)

    async def _set_hardware(self, device: str, hardware: str | None) -> bool:
        """False: no such device."""
        while found := await self._registry.get(f"device/{device}"):
            record = _read(found)
            if record is None:
                return False
            if record.hardware == hardware:
                return True
            try:
                value = _encode(msgspec.structs.replace(record, hardware=hardware))
                await self._registry.cas(f"device/{device}", value, found.revision)
            except Conflict:
                continue
            return True
        return False

    async def seen(self, device: str, at_ms: int) -> None:
        """It was heard of at `at_ms`: known here at once, and written when ten minutes newer than what is written."""
        self._seen[device] = max(at_ms, self._seen.get(device, 0))
        if at_ms - self._seen_written.get(device, 0) >= SEEN_EVERY_MS:
            await self._write_seen(device)

    async def revoke(self, device: str) -> bool:
        """Its token opens nothing any more, its name is free again, its samples stay. False: no such device."""
        found = await self._registry.get(f"device/{device}")
        if found is None:
            return False
        await self._registry.delete(f"device/{device}")
        if record := _read(found):
            await self._registry.delete(f"token/{record.token}")
        await self._registry.delete(f"seen/{device}")
        self._seen.pop(device, None)
        self._seen_written.pop(device, None)
        return True

    async def remove(self, device: str) -> None:
        """`revoke`, where that there is none is an error. Raises ConfigError."""
        if not await self.revoke(device):
            raise _no_such(device)

    async def list(self) -> list[DeviceInfo]:
        """All devices, by id."""
        seen = {entry.key.removeprefix("seen/"): _number(entry) for entry in await self._registry.list("seen/")}
        found = []
        for entry in await self._registry.list("device/"):
            device = entry.key.removeprefix("device/")
            last_seen_ms = max(self._seen.get(device, 0), seen.get(device, 0)) or None
            if record := _read(entry):
                found.append(self._info(device, record, last_seen_ms))
        return found

    async def _last_seen(self, device: str) -> int | None:
        if device in self._seen:
            return self._seen[device]
        entry = await self._registry.get(f"seen/{device}")
        return (_number(entry) or None) if entry else None

    async def _write_seen(self, device: str) -> None:
        if await self._registry.get(f"device/{device}") is None:  # removed while it was connected
            return
        at_ms = self._seen_written[device] = self._seen[device]
        await self._registry.put(f"seen/{device}", str(at_ms).encode())

    def _info(self, device: str, record: _Record, last_seen_ms: int | None) -> DeviceInfo:
        return DeviceInfo(device, record.node, record.profile, record.hardware, record.added_ms, last_seen_ms)


def _read(entry: Entry) -> _Record | None:
    """None where it cannot be read: one broken entry must not stop the start for all."""
    try:
        return _decode(entry.value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("%s cannot be read, so that device cannot connect; remove it and add it again: %s", entry.key, error)
        return None


def _number(entry: Entry) -> int:
    return int(entry.value) if entry.value.isdigit() else 0


def _no_such(device: str) -> ConfigError:
    return ConfigError(f'there is no device "{device[:40]}"; `mpy-gateway devices list` shows all')


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
