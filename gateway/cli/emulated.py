"""Emulated boards for `demo` and `emulate`: given an identity, started, stopped, counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gateway.emulator import EmulatedBoard
from gateway.emulator.board import hardware_id
from gateway.emulator.signalpage import Given
from gateway.emulator.timing import AT_ONCE, Timing
from gateway.errors import ConfigError
from gateway.profile import Profile
from gateway.provision.identity import gateway_settings
from gateway.store.devices import Devices
from gateway.tls.boards import CA_ON_BOARD, BoardTrust

WIFI = {"ssid": "emulated", "password": "emulated-password"}


def board_names(profile: Profile, count: int) -> list[str]:
    """climate-1, climate-2 ... for climate-node."""
    stem = profile.node.name.removesuffix("-node")[:24]
    return [f"{stem}-{number}" for number in range(1, count + 1)]


async def board_settings(
    devices: Devices, name: str, profile: Profile, directory: Path, url: str, trust: BoardTrust | None = None
) -> dict[str, object]:
    """What /settings.json on the board says. A board made earlier in `directory` keeps its identity."""
    file = directory / "settings.json"
    address = urlsplit(url)
    if file.exists():
        token = json.loads(file.read_text())["token"]
        if await devices.by_token(token) is None:
            raise ConfigError(
                f"the gateway does not know the board kept in {directory}: delete that directory or use another --state"
            )
    elif await devices.get(name):
        raise ConfigError(f"there is a device {name} already, and it is not an emulated board: use another --name")
    else:
        token = await devices.add(name, profile)
    settings: dict[str, object] = {
        "device": name,
        "token": token,
        "gateway": gateway_settings(address.hostname or "", address.port or 0, trust),
        "wifi": [WIFI],
    }
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)
    file.write_text(json.dumps(settings))
    return settings


class Boards:
    """Several emulated boards, started and stopped together."""

    def __init__(self, timing: Timing = AT_ONCE) -> None:
        self.boards: dict[str, EmulatedBoard] = {}
        self._timing = timing

    def add(
        self,
        name: str,
        profile: Profile,
        node_dir: Path,
        settings: dict[str, object],
        *,
        directory: Path,
        seed: int,
        trust: BoardTrust | None = None,
        console: Callable[[str], None] | None = None,
        signals: Mapping[str, Given] | None = None,
        serial: bool = False,
    ) -> None:
        files = {} if trust is None else {CA_ON_BOARD: trust.ca_der}
        self.boards[name] = EmulatedBoard(
            profile,
            node_dir,
            settings,
            directory=directory,
            seed=seed,
            files=files,
            console=console,
            signals=signals,
            serial=serial,
            timing=self._timing,
        )

    def add_blank(
        self,
        profile: Profile,
        node_dir: Path,
        places: Path,
        *,
        seed: int,
        console: Callable[[str], Callable[[str], None]],
        signals: Mapping[str, Given] | None = None,
    ) -> None:
        """A board without files, called by its hardware id, which its seed makes; it is kept in a directory
        below `places`. What was put onto it in an earlier run is still there."""
        name = hardware_id(seed).hex()
        self.boards[name] = EmulatedBoard(
            profile,
            node_dir,
            {},
            directory=places / f"{profile.node.name}-{name}",
            seed=seed,
            console=console(name),
            signals=signals,
            serial=True,
            blank=True,
            timing=self._timing,
        )

    def report(self) -> dict[str, object]:
        """Which board is behind which port; null for a board without."""
        return {
            "boards": [
                {"port": board.port if board.serial else None, "id": name, "hardware": board.unique_id.hex()}
                for name, board in self.boards.items()
            ]
        }

    async def start(self) -> None:
        for board in self.boards.values():  # one after the other: starting all at once only makes each slower
            await board.start()

    async def stop(self) -> None:
        await asyncio.gather(*(board.stop() for board in self.boards.values()))

    def taken(self) -> dict[str, int]:
        """Samples taken per device, as the emulated chips counted them."""
        return {name: sum(board.taken().values()) for name, board in self.boards.items()}
