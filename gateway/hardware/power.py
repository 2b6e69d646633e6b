"""What a node takes, and how long its battery lasts. Pure: reckoned from data sheets, not measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.profile import ChipFacts, Profile
from gateway.profile.check import sensor_ma

AWAKE_S: Final = 1.0
"""From the end of deep sleep to the next, without the radio: start of MicroPython and one sample."""
AWAKE_MA: Final = 40.0
"""An ESP32's processor at 160 MHz, radio off ("ESP32 Series Datasheet", table 5-5)."""
SEND_S: Final = 5.0
"""What Wi-Fi and TLS take more, until all is acknowledged."""
USABLE: Final = 0.8
"""Of a battery's capacity: its own discharge, the cold, its age."""


@dataclass(frozen=True, slots=True)
class Load:
    """One consumer, in mA."""

    what: str
    usual_ma: float
    most_ma: float
    asleep_ma: float


def loads(profile: Profile, chips: Mapping[str, ChipFacts]) -> list[Load]:
    """The board first. `usual` is while the node runs, Wi-Fi on."""
    board = profile.board
    found = [Load(board.title, board.idle_ma, board.radio_ma, board.sleep_ma)]
    for sensor in profile.sensors.values():
        facts = chips.get(sensor.chip)
        most = sensor_ma(sensor, chips)
        if most:
            asleep = facts.sleep_ma if facts is not None else most
            found.append(Load(f"{sensor.name} ({facts.title if facts else sensor.chip})", most, most, asleep))
    found += [Load(output.name, output.current_ma, output.current_ma, 0) for output in profile.outputs.values()
              if output.current_ma]  # fmt: skip
    return found


def battery_days(profile: Profile, chips: Mapping[str, ChipFacts]) -> float | None:
    """How long the battery lasts. None: there is none."""
    power = profile.power
    if power.supply != "battery" or power.battery_mah is None:
        return None
    found = loads(profile, chips)
    if not power.deep_sleep:
        return USABLE * power.battery_mah / sum(load.usual_ma for load in found) / 24
    wake_s = min(sensor.period_ms for sensor in profile.sensors.values()) / 1000
    send_s = max(power.send_every_s, wake_s)
    chips_ma = sum(load.usual_ma for load in found[1:])
    average_ma = (
        sum(load.asleep_ma for load in found)
        + (AWAKE_MA + chips_ma) * AWAKE_S / wake_s
        + (found[0].usual_ma + chips_ma) * SEND_S / send_s
    )
    return USABLE * power.battery_mah / average_ma / 24
