"""A device as people see it: what registry, profile, connection, history and live feed know of it, in one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.dashboard import shapes
from gateway.dashboard.live import Live
from gateway.dashboard.messages import PresenceMessage

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.presence import ConnectionInfo, Presence
    from gateway.profile import Profile
    from gateway.store.devices import DeviceInfo, Devices
    from gateway.store.history import History


class View:
    """Puts `shapes.Device` together. Profiles never change under one hash, so each is read once."""

    def __init__(self, devices: Devices, history: History, presence: Presence, live: Live, clock: Clock) -> None:
        self._devices = devices
        self._clock = clock
        self._history = history
        self._presence = presence
        self._live = live
        self._profiles: dict[str, Profile] = {}
        self._loaded: set[str] = set()

    async def infos(self) -> list[DeviceInfo]:
        """Who is registered now, by id."""
        return sorted(await self._devices.list(), key=lambda info: info.id)

    async def find(self, device_id: str) -> DeviceInfo | None:
        return await self._devices.get(device_id)

    async def profile(self, info: DeviceInfo) -> Profile | None:
        known = self._profiles.get(info.profile_hash)
        if known is None and (known := await self._devices.profile(info.profile_hash)):
            self._profiles[info.profile_hash] = known
        return known

    async def device(self, info: DeviceInfo) -> shapes.Device:
        profile = await self.profile(info)
        counts = await self.counts(info.id)
        latest = await self._latest(info.id)
        presence = self.presence(info.id)
        return shapes.Device(
            id=info.id,
            node=info.node,
            title=profile.node.title if profile else info.node,
            hardware=info.hardware,
            added_ms=info.added_ms,
            online=presence.online,
            since_ms=presence.since_ms,
            last_seen_ms=presence.last_seen_ms or info.last_seen_ms,
            newest_at_ms=max((value.at_ms for value in latest.values() if not value.provisional), default=None),
            sensors=_sensors(profile) if profile else [],
            latest=latest,
            counts=counts,
            connection=presence.connection,
            commands=_commands(profile) if profile else [],
            waits_ms=profile.power.send_every_s * 1000 if profile else 0,
            asleep_until_ms=presence.asleep_until_ms,
        )

    async def counts(self, device_id: str) -> shapes.Counts:
        counts = await self._history.counts(device_id)
        return shapes.Counts(
            counts.samples, counts.events, counts.gaps, counts.lost, counts.quarantined, counts.uncertain
        )

    def presence(self, device_id: str) -> PresenceMessage:
        """Whether it is connected, and how that connection does."""
        info = self._presence.get(device_id)
        if info is None:
            return PresenceMessage(device_id, False, None, None, None, self._asleep_until_ms(device_id))
        return PresenceMessage(device_id, True, info.since_ms, info.last_seen_ms, _connection(info))

    def asleep(self) -> dict[str, int]:
        """Who sleeps as announced, and is expected again when (Unix ms)."""
        found = {device: self._asleep_until_ms(device) for device in self._presence.asleep()}
        return {device: until_ms for device, until_ms in found.items() if until_ms is not None}

    def _asleep_until_ms(self, device_id: str) -> int | None:
        until_s = self._presence.asleep_until_s(device_id)
        return None if until_s is None else self._clock.wall_ms() + round((until_s - time.monotonic()) * 1000)

    def connections(self) -> list[shapes.ConnectionRow]:
        """Everyone connected, by id."""
        rows = []
        for info in sorted(self._presence.all(), key=lambda info: info.device):
            connection = _connection(info)
            rows.append(
                shapes.ConnectionRow(
                    device=info.device,
                    node=info.node,
                    address=connection.address,
                    since_ms=info.since_ms,
                    last_seen_ms=info.last_seen_ms or info.since_ms,
                    frames=connection.frames,
                    bytes_in=connection.bytes_in,
                    samples=connection.samples,
                    errors=connection.errors,
                    rate=connection.rate,
                    rtt_ms=connection.rtt_ms,
                    clock=connection.clock,
                    firmware=connection.firmware,
                )
            )
        return rows

    def forget(self, device_id: str) -> None:
        """It is not registered any more."""
        self._loaded.discard(device_id)
        self._live.forget(device_id)

    async def _latest(self, device_id: str) -> dict[str, shapes.Latest]:
        if device_id not in self._loaded:
            rows = await self._history.latest(device_id)
            self._live.load(device_id, rows, self._clock.wall_ms())
            self._loaded.add(device_id)
        return self._live.latest(device_id)


def _connection(info: ConnectionInfo) -> shapes.Connection:
    return shapes.Connection(
        address=info.address,
        firmware=info.firmware,
        frames=info.frames,
        bytes_in=info.bytes_in,
        samples=info.samples,
        errors=dict(info.errors),
        rate=round(info.rate, 2),
        rtt_ms=info.rtt_ms,
        clock=info.quality,
    )


def _sensors(profile: Profile) -> list[shapes.Sensor]:
    return [
        shapes.Sensor(
            sensor.name,
            sensor.chip,
            sensor.period_ms,
            [
                shapes.Quantity(
                    name=quantity.name,
                    title=quantity.title,
                    unit=quantity.unit,
                    decimals=quantity.decimals,
                    low=quantity.low,
                    high=quantity.high,
                    labels={str(value): words for value, words in quantity.labels.items()},
                    sensor=sensor.name,
                    chip=sensor.chip,
                )
                for quantity in sensor.quantities.values()
            ],
        )
        for sensor in profile.sensors.values()
    ]


def _commands(profile: Profile) -> list[shapes.Command]:
    return [
        shapes.Command(
            command.name,
            command.title,
            [shapes.Argument(a.name, a.title, "integer", a.low, a.high, a.default) for a in command.args],
        )
        for command in profile.commands
    ]
