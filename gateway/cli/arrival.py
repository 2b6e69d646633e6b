"""What becomes of a board that was flashed: its console on one side, the gateway's live feed on the other."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from gateway.cli.common import RunningGateway
from gateway.cli.tail import lines
from gateway.logs import clean
from gateway.provision.reasons import Reason, why
from gateway.provision.usb import Session

WAIT_S: Final = 60.0
"""Until the first sample: to join Wi-Fi takes 3 to 15 s, TLS one."""
PATIENCE_S: Final = 1.0
"""What only a person can mend is waited for so long."""
NEXT_NETWORK_S: Final = 20.0
"""... where there is another network, which the board tries next."""
_LOOK_S: Final = 0.05
_LINES: Final = 200


@dataclass(slots=True)
class Outcome:
    """`sample`: the first one, as `mpy-gateway tail` shows it. Empty: there was none, and `reason` may say why."""

    sample: str = ""
    said_hello: bool = False
    reason: Reason | None = None
    console: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))


def wait_for_sample(
    session: Session,
    gateway: RunningGateway,
    device: str,
    quantities: Collection[str],
    *,
    patience_s: float = PATIENCE_S,
    hello: Callable[[], None] = lambda: None,
) -> Outcome:
    """Restart the board and wait until a sample of `device` with one of `quantities` is committed. `hello` is called
    when it is connected."""
    outcome = Outcome()
    sample = ""  # may be told before the connection it came over
    with _Feed(gateway, device) as feed, _Console(session, outcome.console) as console:
        session.restart()
        until_s = time.monotonic() + WAIT_S
        while not outcome.sample and time.monotonic() < until_s:
            console.listen(_LOOK_S)
            for message in feed.messages(_LOOK_S):
                if message["type"] == "presence" and feed.is_new(message) and not outcome.said_hello:
                    outcome.said_hello = True
                    hello()
                elif message["type"] == "samples":
                    sample = sample or _first(message, quantities)
            outcome.sample = sample if outcome.said_hello else ""
            outcome.reason = why(outcome.console)
            if outcome.reason and outcome.reason.lasting and not outcome.said_hello:
                until_s = min(until_s, console.first_reason_s + patience_s)
    return outcome


def _first(message: dict[str, Any], quantities: Collection[str]) -> str:
    return next((line for line in lines(message) if any(f" {name}=" in line for name in quantities)), "")


class _Console:
    """The board's console, in lines."""

    def __init__(self, session: Session, lines: deque[str]) -> None:
        self._session = session
        self._lines = lines
        self._rest = b""
        self.first_reason_s = time.monotonic()

    def __enter__(self) -> _Console:
        return self

    def __exit__(self, *_: object) -> None:
        self._take(b"\n")

    def listen(self, wait_s: float) -> None:
        self._take(self._session.console(wait_s))

    def _take(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-1000:]
        for line in lines:
            self._lines.append(clean(line.decode("utf-8", "replace").strip()))
            if (found := why(self._lines)) is None or not found.lasting:
                self.first_reason_s = time.monotonic()


class _Feed:
    """The gateway's live feed, as far as one device is concerned."""

    def __init__(self, gateway: RunningGateway, device: str) -> None:
        self._gateway = gateway
        self._device = device
        self._since_ms = 0
        self._stack = ExitStack()

    def __enter__(self) -> _Feed:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def messages(self, wait_s: float) -> list[dict[str, Any]]:
        """What came within `wait_s` of the device."""
        try:
            found: list[dict[str, Any]] = json.loads(self._feed.recv(timeout=wait_s))
        except TimeoutError:
            return []
        except (OSError, WebSocketException):  # the gateway restarts, perhaps
            self._open()
            return []
        return [one for one in found if one.get("device") == self._device]

    def is_new(self, presence: dict[str, Any]) -> bool:
        """Whether it is a connection that began after the board was restarted."""
        return bool(presence["online"]) and presence["since_ms"] > self._since_ms

    def _open(self) -> None:
        """Raises ConfigError where the gateway does not answer."""
        self._stack.close()
        self._gateway.call("GET", "/api/session")
        headers = {"Authorization": f"Bearer {self._gateway.token}"}
        self._feed: ClientConnection = self._stack.enter_context(
            connect(self._gateway.feed_url, ssl=self._gateway.tls, additional_headers=headers, max_size=None)
        )
        snapshot = json.loads(self._feed.recv(timeout=10))[0]
        self._since_ms = self._since_ms or snapshot["at_ms"]
