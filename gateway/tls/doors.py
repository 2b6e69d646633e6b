"""The certificate of each door while the gateway runs: made or read at the start, looked at every minute, and shown at
the next handshake when it has changed. Connections that are open keep theirs, and nothing is restarted."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509

from gateway.clock import Clock
from gateway.config import Config, Door
from gateway.errors import ConfigError
from gateway.tls import files, given
from gateway.tls.authority import BROKER, DEVICES, PEOPLE, Authority, Date, Kind, names_of
from gateway.tls.context import load, server_context
from gateway.tls.names import certificate_names, is_board_name

log = logging.getLogger("tls")

LOOK_S: Final = 60.0
"""How often we look whether a certificate must be made anew, or was exchanged."""


class Shown(Protocol):
    """The certificate of one door."""

    context: ssl.SSLContext
    file: Path
    """Has the certificate, perhaps with more behind it and a key."""
    key: Path | None
    """Has the key where `file` has not."""
    concern: str
    """What a person should know of it now; empty where there is nothing."""

    def look(self, date: Date) -> None:
        """Bring `context` up to date. Raises ConfigError or OSError: it stays as it was."""


class Issued:
    """A certificate that our own authority makes. Raises ConfigError where there is none and none can be written."""

    def __init__(
        self, authority: Authority, kind: Kind, state: Path, gateway_id: str, hosts: list[str], date: Date
    ) -> None:
        self.file = files.door_file(state, kind)
        self.key: Path | None = None
        self.concern = ""
        self._authority, self._kind, self._state = authority, kind, state
        self._gateway_id, self._hosts = gateway_id, hosts
        self._certificate = files.read_door(state, kind)
        try:
            self._renew(date)
        except ConfigError as error:
            if self._certificate is None:
                raise
            self.concern = str(error)
        self.context = server_context(self.file, tickets=kind is PEOPLE)
        self._shown = self._certificate

    def look(self, date: Date) -> None:
        self._renew(date)
        if self._shown is not self._certificate:
            load(self.context, self.file)
            self._shown = self._certificate
        self.concern = ""

    def _renew(self, date: Date) -> None:
        """Make a new one where it is time. Raises ConfigError: then the old one stays."""
        names = self._names()
        why = "there was none that can be used"
        if self._certificate is not None:
            why = self._authority.why_renew(self._certificate, self._kind, names, date)
        if not why:
            return
        pem = self._authority.issue(self._kind, names, date, before=self._certificate)
        files.write_door(self._state, self._kind, pem)
        self._certificate = x509.load_pem_x509_certificate(pem)
        log.info("a new certificate was made for the door of %s: %s", self._kind.name, why)

    def _names(self) -> list[str]:
        """Those of now, and what boards verified before: a gateway that gets another id must not lock them out."""
        before = [] if self._certificate is None else names_of(self._certificate)
        names = certificate_names(self._gateway_id, self._hosts)
        return list(dict.fromkeys([*names, *filter(is_board_name, before)]))


class Given:
    """A certificate of one's own, taken anew when its files change (as by certbot). Raises ConfigError."""

    def __init__(self, name: str, door: Door, date: Date) -> None:
        self._name, self._door = name, door
        self._seen, certificate = self._read()
        self.key: Path | None
        self.file, self.key = given.files_of(door)
        self.context = server_context(self.file, self.key)
        self.concern = given.concern(name, certificate, date)

    def look(self, date: Date) -> None:
        seen, certificate = self._read()
        if seen != self._seen:
            load(self.context, self.file, self.key)
            self._seen = seen
            log.info("%s.certificate_file has changed: it is shown from now on", self._name)
        self.concern = given.concern(self._name, certificate, date)

    def _read(self) -> tuple[bytes, x509.Certificate]:
        """What tells whether the files have changed, and the certificate."""
        if sentence := given.why_unusable(self._door):
            raise ConfigError(f"{self._name}.certificate_file: {sentence}")
        certificate, key = (path.read_bytes() for path in given.files_of(self._door))
        return hashlib.sha256(certificate + key).digest(), x509.load_pem_x509_certificate(certificate)


class Doors:
    """The certificates of all doors; None where a door speaks no TLS. Raises ConfigError."""

    def __init__(self, config: Config, gateway_id: str, clock: Clock) -> None:
        self._clock = clock
        self._looking: asyncio.Task[None] | None = None
        broker = config.broker
        doors: list[Door] = [config.devices, config.people, *([] if config.mqtt else [broker])]
        own = [door for door in doors if door.uses_tls and not door.certificate_file]
        self.has_new_authority = bool(own) and not (config.state / files.DIRECTORY).exists()
        authority = files.open_authority(config.state, gateway_id) if own else None

        def shown(name: str, door: Door, kind: Kind, hosts: list[str]) -> Shown | None:
            if not door.uses_tls:
                return None
            if authority is None or door.certificate_file:
                return Given(name, door, self._date())
            return Issued(authority, kind, config.state, gateway_id, hosts, self._date())

        people = config.people
        self.devices = shown("devices", config.devices, DEVICES, [config.devices.host])
        self.people = shown("people", people, PEOPLE, [people.host, *people.allowed_hosts])
        self.broker = None if config.mqtt else shown("broker", broker, BROKER, [broker.host])
        """Of the embedded broker, whose process reads the file itself."""

    def concerns(self) -> list[str]:
        """What a person should know of the certificates now, a sentence each."""
        return [
            shown.concern for shown in (self.devices, self.people, self.broker) if shown is not None and shown.concern
        ]

    def start(self) -> None:
        """Look after them from now on."""
        self._looking = asyncio.create_task(self._keep_looking(), name="certificates")

    def stop(self) -> None:
        if self._looking is not None:
            self._looking.cancel()

    def look(self) -> None:
        """Bring all up to date. What cannot be done is said once, and tried again at the next look."""
        for shown in filter(None, (self.devices, self.people, self.broker)):
            before = shown.concern
            try:
                shown.look(self._date())
            except (ConfigError, OSError) as error:
                shown.concern = str(error)
            if shown.concern and shown.concern != before:
                log.warning("%s", shown.concern)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.look()
            except Exception:  # the edge of our task: a fault of ours is not to end it
                log.exception("a fault while the certificates were looked at")

    def _date(self) -> Date:
        _, wall_ms, trusted = self._clock.both()
        return Date(wall_ms, trusted)
