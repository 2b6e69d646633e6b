"""Commands from whoever asks (page, MQTT, command line) to the connection that holds the device, and results back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.clock import Clock
from gateway.command.ledger import ANSWER_GRACE_S, failed, new_id, no_answer
from gateway.device import wire
from gateway.errors import NoHolder, StoreError
from gateway.model import Command, Result
from gateway.store.port import Store

log = logging.getLogger("command")


class Dispatcher:
    """Sends commands. Every one of them ends in exactly one `Result`, and nothing is sent twice."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def send(
        self, device: str, name: str, args: Mapping[str, Any] | None = None, timeout_s: float = 10
    ) -> Result:
        """Ask `device` to carry out `name`, to be begun within `timeout_s`. Its answer is waited for a little longer
        (`ANSWER_GRACE_S`). What goes wrong is in the result.

        Codes: `device.offline`, `command.invalid`, `command.busy`, `command.unanswered`, `store.unavailable`, and those
        of the device."""
        command_id = new_id()
        wait_s = timeout_s + ANSWER_GRACE_S
        began_ms = self._clock.monotonic_ms()
        try:
            command = Command(
                id=command_id,
                name=msgspec.convert(name, wire.Name),
                args=msgspec.convert(dict(args or {}), wire.Flat),
                deadline_ms=int(timeout_s * 1000),
            )
            async with asyncio.timeout(wait_s + 1):  # the store keeps the time; this is for one that does not
                result = await self._store.send(device, command, wait_s)
        except msgspec.ValidationError as error:
            result = failed(command_id, "command.invalid", f"not a command: {error}")
        except NoHolder:
            result = failed(command_id, "device.offline", f"{device} is not connected")
        except StoreError as error:
            result = failed(command_id, "store.unavailable", str(error))
        except TimeoutError:
            result = no_answer(command_id)
        took_ms = self._clock.monotonic_ms() - began_ms
        log.info("%s %s: %s after %d ms %s", device, wire.clean(name, 40), result.status, took_ms, result.error_text)
        return result
