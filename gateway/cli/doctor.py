"""`mpy-gateway doctor`: looks at everything that keeps boards from a page, and says what to do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from gateway.cli import ConfigFile, StateDir, app

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.doctor import Device, Disk, Port

_TRIES: Final = 5
_EVENTS: Final = 500


@app.command("doctor")
def doctor(
    target: Annotated[
        str | None, typer.Argument(metavar="DEVICE|PORT", help="Look at this device, or at this port, too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
    config: ConfigFile = None,
    state: StateDir = None,
) -> None:
    """Check everything between a board and its page, and say what to do.

    Gateway, network, brokers, who was refused, clock, disk, certificates, ports; of a device its last boot and its
    sensors. Nothing is changed, and no board is disturbed. Exit 1 where there is a fault.

    Example: mpy-gateway doctor greenhouse
    """
    from gateway.cli.common import read_config
    from gateway.doctor import Level, findings, worst

    found = findings(_facts(read_config(config, state, None, "error"), target))
    level = worst(found)
    if as_json:
        typer.echo(json.dumps({"worst": level, "findings": [asdict(one) for one in found]}, indent=2))
    else:
        for one in found:
            typer.echo(f"{one.level:<8} {one.about:<12} {one.text}")
            if one.todo:
                typer.echo(f"{'':<21} {one.todo}")
    if level is Level.FAULT:
        raise typer.Exit(1)


def _facts(config: Config, target: str | None) -> Any:
    from gateway.cli.common import RunningGateway
    from gateway.cli.logs import is_port
    from gateway.clock import kernel_is_synchronised
    from gateway.config import is_loopback
    from gateway.doctor import Facts
    from gateway.errors import ConfigError

    unanswered, status, url, running = "", {}, _url_of(config), None
    try:
        running = RunningGateway(config.state)
        status = running.call("GET", "/api/status")
        url = status["devices_url"]
    except ConfigError as error:
        unanswered = str(error)
    port = target if target is not None and is_port(target) else None
    device = None
    if target is not None and port is None:
        device = _device(running if not unanswered else None, target)
    return Facts(
        now_ms=time.time_ns() // 1_000_000,
        state=str(config.state),
        unanswered=unanswered,
        devices_url=url,
        is_loopback=is_loopback(url.partition("://")[2].rpartition(":")[0].strip("[]")),
        status=status,
        synchronised=kernel_is_synchronised(),
        disk=_disk(config.state),
        certificates=_certificates(config.state),
        name=f"{_name(status)}.local" if config.gateway.announce and status else "",
        ports=_ports(port),
        device=device,
    )


def _url_of(config: Config) -> str:
    scheme = "wss" if config.devices.uses_tls else "ws"
    return f"{scheme}://{config.devices.host}:{config.devices.port}"


def _name(status: dict[str, Any]) -> str:
    from gateway.mdns import local_name

    return local_name(status["gateway"]).removesuffix(".").removesuffix(".local")


def _device(running: Any, name: str) -> Device:
    from urllib.parse import quote

    from gateway.doctor import Device
    from gateway.errors import ConfigError

    if running is None:
        return Device(name, None)
    path = f"/api/devices/{quote(name, safe='')}"
    try:
        return Device(name, running.call("GET", path), running.call("GET", f"{path}/events?limit={_EVENTS}")["rows"])
    except ConfigError:
        return Device(name, None)


def _disk(state: Path) -> Disk | None:
    from gateway.doctor import Disk

    if not state.exists():
        return None
    usage = shutil.disk_usage(state)
    return Disk(usage.free, usage.total, _write_ms(state), _kind(state))


def _write_ms(state: Path) -> float | None:
    """The median of a few 4 KB writes that are made to stay."""
    took = []
    try:
        with tempfile.TemporaryFile(dir=state) as file:
            for _ in range(_TRIES):
                began = time.perf_counter()
                file.write(os.urandom(4096))
                file.flush()
                os.fsync(file.fileno())
                took.append((time.perf_counter() - began) * 1000)
    except OSError:
        return None
    return statistics.median(took)


def _kind(state: Path) -> str:
    """Of what Linux says of the block device below; empty elsewhere, and where it says nothing."""
    number = os.stat(state).st_dev
    device = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    disk = device if (device / "queue").exists() else device.parent
    if disk.name.startswith("mmcblk"):
        return "an SD card"
    try:
        return "a hard disk" if (disk / "queue" / "rotational").read_text().strip() == "1" else "an SSD"
    except OSError:
        return ""


def _certificates(state: Path) -> dict[str, int]:
    """Of our own: the authority's and the doors'."""
    from datetime import UTC, datetime

    from gateway.errors import ConfigError
    from gateway.tls.authority import DEVICES, PEOPLE
    from gateway.tls.files import read_authority, read_door

    if not (state / "tls").exists():
        return {}
    found = {f"of the {kind.name} door": read_door(state, kind) for kind in (DEVICES, PEOPLE)}
    with contextlib.suppress(ConfigError):
        found["of the authority"] = read_authority(state).certificate
    now = datetime.now(UTC)
    return {name: (one.not_valid_after_utc - now).days for name, one in found.items() if one is not None}


def _ports(port: str | None) -> list[Port]:
    from gateway.doctor import Port
    from gateway.provision.ports import boards, problem

    found = [Port(one.port, one.what, one.problem) for one in boards()]
    if port is None or any(one.port == port for one in found):
        return [one for one in found if port in (None, one.port)]
    path = port if "/" in port else f"/dev/{port}"
    return [Port(path, "serial port", problem(path) if Path(path).exists() else "it is not there: is it plugged in?")]
