"""Which devices there are, and who may speak as one. Kept in the registry, under these keys:

device/<id>       JSON of what is known of it
token/<sha256>    id of the device it was made for; valid while that device says so too
profile/<hash>    canonical JSON of a profile, for as long as samples of it are kept
seen/<id>         when it was last heard of, in Unix milliseconds

A token is 256 random bits and kept as its SHA-256 only. A plain hash is right for that: nobody can try 2^256 of them,
so a slow hash would only slow the boards down. It is looked up by that hash: what the time of a search may give away is
a part of a hash, and of no use to whoever would need a token that has it. What is found is compared in constant time.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from gateway.errors import ConfigError, Conflict, StoreError
from gateway.profile import Profile
from gateway.store.port import Entry

log = logging.getLogger("store")

SEEN_EVERY_MS = 600_000
"""`seen` is written this often at most per device: every write wears the SD card."""
DEVICES, PROFILES, PROFILE_BYTES = 1_000, 1_000, 65_536
"""What is registered at most, where `Devices` is not told otherwise: a script in a loop must not fill the disk."""
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_TAKEN_NAMES = frozenset({"bridge"})
"""Topics of the gateway itself stand where those of a device do."""


class Rotation(enum.StrEnum):
    """How far a device is with a new token."""

    NONE = ""
    ASKED = "asked"
    """It gets one as soon as it is connected."""
    SENT = "sent"
    """It was sent one. Both are valid until the new one is used."""


class DeviceInfo(msgspec.Struct, frozen=True):
    """A registered device. `hardware` is the chip's own id, once it has connected. A `revoked` one has no token."""

    id: str
    node: str
    profile_hash: str
    hardware: str | None
    added_ms: int
    last_seen_ms: int | None
    revoked: bool = False
    rotation: Rotation = Rotation.NONE


class RegistryPort(Protocol):
    """The part of `Store` that is used here."""

    async def get(self, key: str) -> Entry | None: ...

    async def put(self, key: str, value: bytes) -> int: ...

    async def create(self, key: str, value: bytes) -> int: ...

    async def cas(self, key: str, value: bytes, revision: int) -> int: ...

    async def delete(self, key: str, revision: int | None = None) -> bool: ...

    async def list(self, prefix: str) -> list[Entry]: ...

    async def purge(self, match: Callable[[str, bytes], bool]) -> None: ...


class _Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of device/<id>."""

    node: str
    profile: str
    token: str
    """Hash of its token; empty once it was revoked."""
    added_ms: int
    hardware: str | None = None
    rotate: bool = False
    """It is to have a new token."""
    next: str = ""
    """Hash of the one that was sent to it and not used yet."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """Hashes of what opens it."""
        return tuple(hashed for hashed in (self.token, self.next) if hashed)

    def opened_by(self, hashed: str) -> bool:
        return any(hmac.compare_digest(hashed, known) for known in self.tokens)


_decode = msgspec.json.Decoder(_Record).decode
_encode = msgspec.json.Encoder().encode


class Devices:
    """All changes are seen by a second process at its next look-up. `devices`: how many there may be."""

    def __init__(
        self,
        registry: RegistryPort,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        devices: int = DEVICES,
    ):
        self._registry = registry
        self._wall_ms = wall_ms
        self._most = devices
        self._seen: dict[str, int] = {}
        self._seen_written: dict[str, int] = {}

    # Who there is

    async def add(self, device: str, profile: Profile) -> str:
        """Register `device` and return its token, which is kept nowhere but in the device. Raises ConfigError."""
        check_name(device)
        if len(await self._registry.list("device/")) >= self._most:
            raise ConfigError(
                f"there are {self._most} devices already (limits.devices): `mpy-gateway devices forget` makes room"
            )
        token = secrets.token_urlsafe(32)
        record = _Record(profile.node.name, await self.keep_profile(profile), hash_of(token), self._wall_ms())
        # The token first: alone it opens nothing, and a crash in between leaves no device without one.
        await self._registry.put(f"token/{record.token}", device.encode())
        try:
            await self._registry.create(f"device/{device}", _encode(record))
        except Conflict:
            await self._erase_tokens(record.token)
            raise taken(device) from None
        return token

    async def get(self, device: str) -> DeviceInfo | None:
        found = await self._registry.get(f"device/{device}")
        record = _read(found) if found else None
        return self._info(device, record, await self._last_seen(device)) if record else None

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

    async def seen(self, device: str, at_ms: int) -> None:
        """It was heard of at `at_ms`: known here at once, and written when ten minutes newer than what is written."""
        self._seen[device] = max(at_ms, self._seen.get(device, 0))
        if at_ms - self._seen_written.get(device, 0) >= SEEN_EVERY_MS:
            await self._write_seen(device)

    async def close(self) -> None:
        """Write what `seen` has kept back: the page would show values that are younger than their device."""
        try:
            for device, at_ms in self._seen.items():
                if at_ms > self._seen_written.get(device, 0):
                    await self._write_seen(device)
        except StoreError as error:
            log.warning("when devices were last seen cannot be written: %s", error)

    async def remove(self, device: str) -> bool:
        """Delete its identity, and with it its tokens: the name is free again. False: no such device."""
        found = await self._registry.get(f"device/{device}")
        self._seen.pop(device, None)
        self._seen_written.pop(device, None)
        if found is None:
            return False
        await self._registry.delete(f"device/{device}")
        await self._delete_tokens(_read(found))
        await self._registry.delete(f"seen/{device}")
        return True

    # What it measures

    async def keep_profile(self, profile: Profile) -> str:
        """Keep `profile` for checking samples taken under it. Returns its hash. Raises ConfigError."""
        key, value = f"profile/{profile.hash}", profile.to_json()
        if len(value) > PROFILE_BYTES:
            raise ConfigError(f"the profile has {len(value):,} bytes; at most {PROFILE_BYTES:,} are kept")
        if await self._registry.get(key) is None:
            if len(await self._registry.list("profile/")) >= PROFILES:
                raise ConfigError(f"{PROFILES} profiles are kept already, which is the most")
            await self._registry.put(key, value)
        return profile.hash

    async def profile(self, hash: str) -> Profile | None:
        """None for one that is unknown, or was written by a version with other rules: whoever asks can do without."""
        entry = await self._registry.get(f"profile/{hash}")
        try:
            return Profile.from_json(entry.value) if entry else None
        except ValueError as error:
            log.error("the profile %s cannot be read: %s", hash, " ".join(str(error).split())[:300])
            return None

    async def describe(self, device: str, profile: Profile) -> None:
        """`profile` is what `device` measures from now on. Raises ConfigError where there is no such device."""
        changes = {"node": profile.node.name, "profile": await self.keep_profile(profile)}
        _known(device, await self._change(device, lambda _: changes))

    # Which board it is

    async def set_hardware(self, device: str, hardware: str) -> None:
        """Remember which piece of hardware `device` is."""
        await self._change(device, lambda _: {"hardware": hardware})

    async def replace(self, device: str) -> None:
        """Forget which piece of hardware `device` is: the next one that comes with its token takes its place. Raises
        ConfigError where there is no such device."""
        _known(device, await self._change(device, lambda _: {"hardware": None}))

    # Its token

    async def by_token(self, token: str) -> DeviceInfo | None:
        """Whom `token` was made for. None for a token that is unknown, revoked or replaced."""
        hashed = hash_of(token)
        entry = await self._registry.get(f"token/{hashed}")
        return await self.opened_by(entry.value.decode(), hashed) if entry else None

    async def opened_by(self, device: str, hashed: str) -> DeviceInfo | None:
        """`device`, where the token with that hash opens it now."""
        found = await self._registry.get(f"device/{device}")
        record = _read(found) if found else None
        if record is None or not record.opened_by(hashed):
            return None
        return self._info(device, record, await self._last_seen(device))

    async def renew(self, device: str, profile: Profile | None = None) -> str:
        """A new token for `device`, to be put on a board by hand; those before open nothing any more, and any board may
        come with it. `profile`: what it measures from now on. Raises ConfigError where there is no such device."""
        token = secrets.token_urlsafe(32)
        changes: dict[str, Any] = {"token": hash_of(token), "hardware": None, "rotate": False, "next": ""}
        if profile is not None:
            changes |= {"node": profile.node.name, "profile": await self.keep_profile(profile)}
        await self._registry.put(f"token/{hash_of(token)}", device.encode())
        before = await self._change(device, lambda _: changes)
        if before is None:
            await self._erase_tokens(hash_of(token))
        await self._delete_tokens(_known(device, before))
        return token

    async def revoke(self, device: str) -> None:
        """Its tokens open nothing any more; its name and its samples stay. Raises ConfigError where there is no such
        device."""
        nothing = {"token": "", "rotate": False, "next": ""}
        await self._delete_tokens(_known(device, await self._change(device, lambda _: nothing)))

    async def rotate(self, device: str) -> None:
        """`device` is to have a new token, over its own connection. Raises ConfigError where there is no such device,
        or none that could connect."""
        before = _known(device, await self._change(device, lambda record: {"rotate": bool(record.token)}))
        if not before.token:
            raise ConfigError(
                f'"{device}" is revoked: give it a new token with `mpy-gateway devices add {device} --again`'
            )

    async def mint(self, device: str) -> str | None:
        """The new token of a device that is to have one, to be sent to it at once: it is kept nowhere. Valid beside the
        old one from now on; one that was sent before is not any more. None where it is to have none."""
        token = secrets.token_urlsafe(32)
        hashed = hash_of(token)
        await self._registry.put(f"token/{hashed}", device.encode())
        before = await self._change(device, lambda record: {"next": hashed} if record.rotate else {})
        if before is None or not before.rotate:
            await self._erase_tokens(hashed)
            return None
        if before.next:
            await self._erase_tokens(before.next)
        return token

    async def used(self, device: str, hashed: str) -> bool:
        """`device` has come with the token of that hash. Where that is the new one, the old one opens nothing any more;
        returns whether it is."""

        def change(record: _Record) -> dict[str, Any]:
            return {"token": hashed, "next": "", "rotate": False} if hashed == record.next else {}

        before = await self._change(device, change)
        if before is None or before.next != hashed:
            return False
        await self._erase_tokens(before.token)
        return True

    # Parts of these

    async def _change(self, device: str, change: Callable[[_Record], dict[str, Any]]) -> _Record | None:
        """Change some fields of its record; returns it as it was before. None: no such device."""
        while found := await self._registry.get(f"device/{device}"):
            record = _read(found)
            if record is None:
                return None
            changed = msgspec.structs.replace(record, **change(record))
            try:
                if changed != record:
                    await self._registry.cas(f"device/{device}", _encode(changed), found.revision)
            except Conflict:
                continue
            return record
        return None

    async def _delete_tokens(self, record: _Record | None) -> None:
        """Those of `record`, which open nothing any more."""
        if record and record.tokens:
            await self._erase_tokens(*record.tokens)

    async def _erase_tokens(self, *hashes: str) -> None:
        """Wholly: what remembers a deleted entry would stay for ever, one for each token that was ever minted, and a
        board that never uses its new one is sent another at each connection."""
        keys = {f"token/{hashed}" for hashed in hashes}
        await self._registry.purge(lambda key, _: key in keys)

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
        rotation = Rotation.SENT if record.next else Rotation.ASKED if record.rotate else Rotation.NONE
        return DeviceInfo(
            device,
            record.node,
            record.profile,
            record.hardware,
            record.added_ms,
            last_seen_ms,
            revoked=not record.token,
            rotation=rotation,
        )


def check_name(device: str) -> None:
    """Raises ConfigError where no device can be called so."""
    if not _ID.fullmatch(device):
        raise ConfigError(
            f'"{device[:40]}" is no device name: use 1 to 32 of a-z, 0-9, "_" and "-", a letter or digit first'
        )
    if device in _TAKEN_NAMES:
        raise ConfigError(f'"{device}" names the gateway itself on MQTT; choose another name')


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _read(entry: Entry) -> _Record | None:
    """None where it cannot be read: one broken entry must not stop the start for all."""
    try:
        return _decode(entry.value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        log.error("%s cannot be read, so that device cannot connect; forget it and add it again: %s", entry.key, error)
        return None


def _number(entry: Entry) -> int:
    return int(entry.value) if entry.value.isdigit() else 0


def _known(device: str, record: _Record | None) -> _Record:
    if record is None:
        raise no_such(device)
    return record


def taken(device: str) -> ConfigError:
    return ConfigError(
        f'there is a device "{device}" already; choose another name, or give it a new token with --again'
    )


def no_such(device: str) -> ConfigError:
    return ConfigError(f'there is no device "{device[:40]}"; `mpy-gateway devices list` shows all')
