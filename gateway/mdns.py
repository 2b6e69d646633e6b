"""Says on the local network where the doors are (multicast DNS, RFC 6762; DNS-SD, RFC 6763), so that boards find the
gateway by its name though its address changes. A hint and no more: whoever answers under that name must still prove
who it is by its certificate.

Doors that only this machine reaches are not told of.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway import __version__
from gateway.config import Door, is_loopback
from gateway.tls.names import WILDCARDS

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncZeroconf

log = logging.getLogger("mdns")

BOARDS: Final = "_mpy-gateway._tcp.local."
PAGE: Final = "_http._tcp.local."
PAGE_TLS: Final = "_https._tcp.local."
LOOK_S: Final = 30.0
"""How often we look whether this machine has another address, and try again where telling failed."""


@dataclass(frozen=True, slots=True)
class Service:
    """One door, as it is told of."""

    kind: str
    host: str
    """Where it listens: an address, or 0.0.0.0 for all of this machine's."""
    port: int
    txt: Mapping[str, str]

    def addresses(self, own: Iterable[str]) -> list[str]:
        """Those of `own` at which the door is reached. A host that is a name may be any of them."""
        host = self.host.strip("[]")
        if host in WILDCARDS or not _is_address(host):
            return list(own)
        return [address for address in own if address == host]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def local_name(gateway_id: str) -> str:
    """What a board looks up: the name of the machine behind the doors."""
    return f"{gateway_id}.local"


def services(
    gateway_id: str, devices: Door, devices_port: int, people: Door, people_port: int, fp: str
) -> list[Service]:
    """What to tell of the doors that others reach. `fp`: SHA-256 of the authority boards pin, in hex; empty without
    TLS. The keys of TXT: ../shared/conventions.md, section 7."""
    told = []
    if not is_loopback(devices.host):
        txt = {"txtvers": "1", "version": __version__, "id": gateway_id, "path": "/", "tls": str(int(devices.uses_tls))}
        told.append(Service(BOARDS, devices.host, devices_port, txt | ({"fp": fp} if fp else {})))
    if not is_loopback(people.host):
        kind = PAGE_TLS if people.uses_tls else PAGE
        told.append(Service(kind, people.host, people_port, {"txtvers": "1", "path": "/"}))
    return told


def _own_addresses() -> list[str]:
    """The addresses of this machine that others can reach: without loopback, and without those of a link alone, which
    say nothing on another link."""
    import ifaddr  # noqa: PLC0415 - comes with zeroconf, and only a gateway that tells needs it

    found = []
    for adapter in ifaddr.get_adapters():
        for entry in adapter.ips:
            address = ipaddress.ip_address(entry.ip if isinstance(entry.ip, str) else entry.ip[0])
            if not address.is_loopback and not address.is_link_local:
                found.append(str(address))
    return sorted(found)


class Announcer:
    """Tells of `told` for as long as it runs, and anew when the addresses change."""

    def __init__(
        self, gateway_id: str, told: list[Service], addresses: Callable[[], list[str]] = _own_addresses
    ) -> None:
        self._id = gateway_id
        self._told = told
        self._own_addresses = addresses
        self._task: asyncio.Task[None] | None = None
        self.concern = ""
        """Why the gateway cannot be found by name now; empty where it can."""

    def start(self) -> None:
        if self._told:
            self._task = asyncio.create_task(self._run(), name="mdns")

    async def stop(self) -> None:
        """Takes back what was told."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        before: list[str] = []
        zeroconf: AsyncZeroconf | None = None
        try:
            while True:
                now = self._addresses()
                if now != before or (now and zeroconf is None):
                    if zeroconf is not None:
                        await zeroconf.async_close()
                    zeroconf = await self._tell(now)
                    before = now
                await asyncio.sleep(LOOK_S)
        finally:
            if zeroconf is not None:
                await zeroconf.async_unregister_all_services()
                await zeroconf.async_close()

    def _addresses(self) -> list[str]:
        """None where the system does not say: that is looked at again, too."""
        try:
            return self._own_addresses()
        except OSError as error:
            log.debug("the addresses of this machine cannot be read: %s", error)
            return []

    async def _tell(self, addresses: list[str]) -> AsyncZeroconf | None:
        """Begin to answer on `addresses`. None where that cannot be done now."""
        from zeroconf import Error  # noqa: PLC0415 - not loaded by a gateway on loopback
        from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf  # noqa: PLC0415

        if not addresses:
            return None
        zeroconf = None
        try:
            zeroconf = AsyncZeroconf(interfaces=_per_interface(addresses))
            for service in filter(lambda service: service.addresses(addresses), self._told):
                await zeroconf.async_register_service(
                    AsyncServiceInfo(
                        service.kind,
                        f"{self._id}.{service.kind}",
                        port=service.port,
                        properties=dict(service.txt),
                        server=f"{local_name(self._id)}.",
                        parsed_addresses=service.addresses(addresses),
                    )
                )
        except (OSError, Error) as error:
            if zeroconf is not None:
                await zeroconf.async_close()
            sentence = f"the gateway cannot be found by its name {local_name(self._id)} (mDNS): {_why(error)}"
            if sentence != self.concern:
                log.warning("%s; tried again every %d s", sentence, LOOK_S)
            self.concern = sentence
            return None
        self.concern = ""
        log.info("found as %s on %s", local_name(self._id), ", ".join(addresses))
        return zeroconf


def _per_interface(addresses: list[str]) -> list[str]:
    """zeroconf takes IPv4 addresses as they are; multicast over IPv6 wants interface numbers, and is left out: a board
    asks over IPv4."""
    return [address for address in addresses if ipaddress.ip_address(address).version == 4]


def _why(error: Exception) -> str:
    from zeroconf import NonUniqueNameException  # noqa: PLC0415

    if isinstance(error, NonUniqueNameException):
        return "another gateway on this network has the same id: give one of them a gateway.id of its own"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
