"""Where a broker is, who we are there, how TLS is spoken to it, and what a person can do where it lets us not in."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config import MqttConfig
from gateway.errors import ConfigError

CONNECT_WITHIN_S = 10
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}

_NOT_YET_VALID, _EXPIRED, _OTHER_NAME, _OTHER_IP = 9, 10, 62, 64
"""OpenSSL's X509_V_ERR_... (x509_vfy.h), as `SSLCertVerificationError.verify_code` has them."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is and who we are there. `name` is that of its table in the settings."""

    url: str
    client_id: str
    name: str = "broker"
    username: str | None = None
    password: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def of(cls, name: str, config: MqttConfig, client_id: str) -> Address:
        """As it is configured, with the password as it is in its file now. Raises ConfigError."""
        return cls(
            config.url,
            client_id,
            name,
            config.username,
            config.password(),
            config.password_file,
            config.ca_file,
            config.certificate_file,
            config.key_file,
        )

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or _DEFAULT_PORTS[parts.scheme]

    @property
    def tls(self) -> bool:
        return urlsplit(self.url).scheme == "mqtts"

    def context(self) -> ssl.SSLContext:
        """How TLS is spoken there: the broker's certificate is verified, always. Reads files: not on the loop. Raises
        ConfigError."""
        context = ssl.create_default_context(cafile=self._authority())
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate_file:
            try:
                context.load_cert_chain(self.certificate_file, self.key_file, password=_no_password)
            except OSError as error:  # ssl.SSLError is one
                raise ConfigError(
                    f"mqtt.{self.name}.certificate_file, key_file: {self.certificate_file} and {self.key_file} cannot "
                    f"be used: {_reason(error)}; both must be PEM, belong together, and have no password"
                ) from error
        return context

    def _authority(self) -> Path | None:
        if self.ca_file is None:
            return None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.ca_file)
        except OSError as error:
            raise ConfigError(
                f"mqtt.{self.name}.ca_file: {self.ca_file} cannot be used: {_reason(error)}; it must hold the "
                "certificate (PEM) of the authority that signed the broker's"
            ) from error
        return self.ca_file

    # what a person can do
    def unreachable(self, error: Exception) -> str:
        """Why a connection could not be made."""
        match error:
            case socket.gaierror():
                return f"the name {self.host} is not known here"
            case ssl.SSLCertVerificationError():
                return self._not_trusted(error)
            case ssl.SSLError() if is_alert(error.reason):
                return self.alerted(error.reason)
            case ssl.SSLError():
                return f"there is no TLS at port {self.port} ({_reason(error)}): name its TLS port, usually 8883"
            case ConnectionResetError() if self.tls:
                return f"the connection broke while TLS was set up: is {self.port} its TLS port (usually 8883)?"
            case TimeoutError():
                return f"no answer within {CONNECT_WITHIN_S} s"
            case ConnectionRefusedError():
                return "nothing listens there"
            case OSError():
                return error.strerror or str(error)
            case _:
                return str(error)

    def _not_trusted(self, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code == _EXPIRED:
            return "the broker's certificate has expired: renew it at the broker, or set this machine's clock right"
        if error.verify_code == _NOT_YET_VALID:
            return "the broker's certificate is not valid yet: set this machine's clock right, or the broker's"
        if error.verify_code in (_OTHER_NAME, _OTHER_IP):
            return f"the broker's certificate is not for {self.host}: use a name in mqtt.{self.name}.url that it is for"
        if self.ca_file:
            return (
                f"the broker's certificate is not from the authority in {self.ca_file} ({error.verify_message}): "
                f"name the right one in mqtt.{self.name}.ca_file"
            )
        return (
            f"the broker's certificate is from no authority this machine knows ({error.verify_message}): name the file "
            f"with its authority's certificate in mqtt.{self.name}.ca_file"
        )

    def refused_login(self) -> str:
        """The broker does not accept name and password, or the lack of them."""
        if self.username is None:
            files = "password_file (or certificate_file and key_file)" if self.tls else "password_file"
            return f"the broker wants a login: set mqtt.{self.name}.username and {files}"
        where = f"the password in {self.password_file}" if self.password_file else "give a password_file"
        return f"the broker does not accept this login: put right mqtt.{self.name}.username, or {where}"

    def alerted(self, reason: str | None) -> str:
        """The broker has ended TLS with an alert: it says so of our certificate, or of the lack of one."""
        said = (reason or "").removeprefix("TLSV1_ALERT_").removeprefix("TLSV13_ALERT_").removeprefix("SSLV3_ALERT_")
        words = said.replace("_", " ").lower()
        if self.certificate_file:
            return (
                f"the broker does not accept our certificate ({words}): name one that it knows in "
                f"mqtt.{self.name}.certificate_file and key_file"
            )
        return (
            f"the broker ends TLS ({words}): it may want a certificate of ours, in mqtt.{self.name}.certificate_file "
            "and key_file"
        )

    def silent(self) -> str:
        """The broker has closed the connection before it said anything."""
        hint = "" if self.tls else f"; if it wants TLS: mqtts:// in mqtt.{self.name}.url"
        return f"the broker closed the connection without an answer{hint}"


def is_alert(reason: str | None) -> bool:
    """Whether OpenSSL's `reason` is something that the other side has said."""
    return "ALERT" in (reason or "")


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or str(error)
    return str(reason).replace("_", " ").lower()


def _no_password() -> str:
    """OpenSSL would ask at the terminal."""
    raise ssl.SSLError("it is locked with a password")
