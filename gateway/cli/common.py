"""What several commands share: the configuration, a loop that runs until told to stop, and the running gateway."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from gateway import logs
from gateway.config import Config, load_config
from gateway.errors import ConfigError

T = TypeVar("T")


def read_config(
    config: Path | None,
    state: Path | None,
    settings: list[str] | None,
    log_level: str | None = None,
    log_json: bool = False,
) -> Config:
    """The effective configuration: file, then environment, then command line. Sets up logging."""
    overrides = list(settings or [])
    if log_level:
        overrides.append(f"log.level={log_level}")
    if log_json:
        overrides.append("log.format=json")
    effective = load_config(config, overrides=overrides, state=state)
    logs.setup(effective.log.level, effective.log.format)
    return effective


def run_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where it is installed: half the CPU per frame."""
    try:
        import uvloop  # optional: no wheel for some platforms
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


def stop_on_signal() -> asyncio.Event:
    """An event that SIGTERM or Ctrl-C sets. A second one hurries the end, a third does without one."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    caller = asyncio.current_task()
    signals = 0

    def on_signal(number: int) -> None:
        nonlocal signals
        signals += 1
        stop.set()
        if signals == 2 and caller is not None:
            caller.cancel()
        elif signals > 2:
            os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    return stop


def devices_tls(config: Config) -> bool:
    """Whether the devices' door speaks TLS: that of the gateway that runs, else that of the settings."""
    url = _devices_url(config)
    return config.devices.uses_tls if url is None else url.startswith("wss:")


def devices_port(config: Config) -> int:
    """Of the devices' door: the settings', or where that is another one at each start, that of the gateway that runs.
    Raises ConfigError where it cannot be known."""
    if config.devices.port:
        return config.devices.port
    if (url := _devices_url(config)) is None:
        raise ConfigError("the gateway takes another port at each start (devices.port = 0): set devices.port")
    return urlsplit(url).port or 0


def _devices_url(config: Config) -> str | None:
    """None: no gateway runs."""
    try:
        return str(json.loads((config.state / "run.json").read_text())["devices_url"])
    except (OSError, ValueError, KeyError):
        return None


class NotRunning(ConfigError):
    """There is no gateway to ask."""


class RunningGateway:
    """The gateway on a state directory, through its people's door. Raises `NotRunning` when none runs."""

    def __init__(self, state: Path) -> None:
        try:
            self.run = json.loads((state / "run.json").read_text())
            self.token = (state / "cli.token").read_text().strip()
        except FileNotFoundError:
            raise NotRunning(
                f"no gateway runs on {state}. Start one with: mpy-gateway run (or name its directory with --state DIR)"
            ) from None
        except PermissionError:
            raise ConfigError(f"{state} belongs to another user: run this command as the gateway's user") from None
        self.url: str = self.run["people_url"]
        self.tls = _tls_context(self.run.get("people_certificate"))

    def call(self, method: str, path: str, body: object = None, *, timeout_s: float = 15) -> Any:
        """One REST call. Returns the JSON answer (None: an empty one); raises `ConfigError` with its sentence."""
        request = urllib.request.Request(  # noqa: S310  # the address is our own gateway's, read from its state directory
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s, context=self.tls) as answer:  # noqa: S310  # as above
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise ConfigError(_sentence(error)) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                raise ConfigError(
                    f"what answers at {self.url} is not this gateway: its certificate is another"
                ) from None
            refused = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
            kind = NotRunning if refused else ConfigError
            raise kind(f"the gateway at {self.url} does not answer: it was stopped, or is starting") from None

    @property
    def feed_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/api/live"


def _tls_context(certificate: str | None) -> ssl.SSLContext | None:
    """For the people's door, which shows what is in the file `certificate`."""
    if certificate is None:
        return None
    from gateway.tls.context import exact_context

    return exact_context(Path(certificate))


_SHOWN_BY: Final = {"device.unknown": "devices", "user.unknown": "users", "token.unknown": "tokens"}


def with_hint(sentence: str, code: object) -> str:
    """Of a name that nobody has: which command shows those there are."""
    group = _SHOWN_BY.get(str(code))
    return sentence if group is None else f"{sentence} `mpy-gateway {group} list` shows all"


def _sentence(error: urllib.error.HTTPError) -> str:
    with suppress(ValueError, AttributeError):
        body = json.load(error)
        for key in ("text", "message", "detail", "error"):
            if isinstance(body.get(key), str):
                return str(body[key])
            if isinstance(body.get(key), dict):
                return with_hint(str(body[key].get("text") or body[key].get("message")), body[key].get("code"))
    return f"the gateway refused: HTTP {error.code}"
