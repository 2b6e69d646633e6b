"""Commands that come in from one broker: bounded, checked like any other input, carried out, answered.

Whoever may publish below `<base>/<device>/command/` may send anything at any pace. So there is a limit for how many
come, what one may hold, and how many are under way; and nothing of theirs makes the gateway publish more than they did.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.clock import Clock
from gateway.command.dispatch import Dispatcher
from gateway.device.bucket import Bucket
from gateway.errors import StoreError
from gateway.logs import clean
from gateway.mqtt.connection import Received
from gateway.mqtt.topics import BadRequest, Message, Request, ResultMessage, Topics, answer, refusal
from gateway.store.devices import Devices

log = logging.getLogger("mqtt")

MAX_COMMANDS = 32
"""Commands under way from this broker; more are refused."""
COMMAND_S = 10
COMMANDS_PER_S, BURST_S = 20, 3
"""Messages that are looked at: 20 a second, 60 at once. More are dropped without an answer: answers would only drive
states out of the queue that both go through."""
MAX_CORRELATION_BYTES = 256
TELL_EVERY_MS = 60_000
"""What only somebody hostile or broken does is said this often at most."""


class Commands:
    """`received` with every message that came in; `answer` is called with what is to be published."""

    def __init__(
        self,
        name: str,
        topics: Topics,
        devices: Devices,
        dispatcher: Dispatcher,
        clock: Clock,
        answer: Callable[[Message], None],
    ) -> None:
        self._name = name
        self._topics = topics
        self._devices = devices
        self._dispatcher = dispatcher
        self._clock = clock
        self._answer = answer
        self._bucket = Bucket(COMMANDS_PER_S, seconds=BURST_S, now_ms=clock.monotonic_ms())
        self._told_ms: dict[str, int] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        """What is under way. Whoever stops cancels it."""
        self.dropped = 0
        """Messages beyond the limit, or to no device."""

    def received(self, event: Received) -> None:
        if not self._bucket.try_take(self._clock.monotonic_ms()):
            self._drop("flood", f"more than {COMMANDS_PER_S} commands a second come in; what is beyond is dropped")
            return
        correlation = event.correlation
        if correlation is not None and len(correlation) > MAX_CORRELATION_BYTES:
            correlation = None
        try:
            request = self._topics.request(event.topic, event.payload)
            self._check(request, event)
        except BadRequest as bad:
            self._answer(self._topics.result(bad.answer, correlation))
        except ValueError:
            self._drop("stray", f"a command to no device: {clean(event.topic)}")
        else:
            task = asyncio.create_task(self._carry_out(request, correlation))
            self.tasks.add(task)
            task.add_done_callback(self._ended)

    def _check(self, request: Request, event: Received) -> None:
        """Raises BadRequest."""
        if event.retain:
            text = "a command must not be retained: it would be carried out at every connection"
            raise BadRequest(refusal(request, "command.retained", text))
        if len(event.correlation or b"") > MAX_CORRELATION_BYTES:
            text = f"correlation data may have {MAX_CORRELATION_BYTES} bytes"
            raise BadRequest(refusal(request, "command.payload", text))
        if len(self.tasks) >= MAX_COMMANDS:
            raise BadRequest(refusal(request, "command.busy", f"{MAX_COMMANDS} commands are under way"))

    async def _carry_out(self, request: Request, correlation: bytes | None) -> None:
        reply = await self._refused(request)
        if reply is None:
            result = await self._dispatcher.send(
                request.device, request.name, request.args, COMMAND_S, asked_by=f"mqtt.{self._name}"
            )
            reply = answer(request, result)
        self._answer(self._topics.result(reply, correlation))

    async def _refused(self, request: Request) -> ResultMessage | None:
        """The answer where there is no such device, or it has no such command: nothing is sent to it then."""
        try:
            info = await self._devices.get(request.device)
            profile = await self._devices.profile(info.profile_hash) if info else None
        except StoreError as error:
            return refusal(request, "store.unavailable", str(error))
        if info is None:
            return refusal(request, "device.unknown", "there is no such device")
        spec = profile.command(request.name) if profile else None
        if spec is None:
            return refusal(request, "command.unknown", f"no command '{request.name}'")
        if problem := spec.problem(request.args):
            return refusal(request, "command.args", problem)
        return None

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s: a command was not carried out", self._name, exc_info=error)

    def _drop(self, kind: str, sentence: str) -> None:
        self.dropped += 1
        now_ms = self._clock.monotonic_ms()
        told_ms = self._told_ms.get(kind)
        if told_ms is None or now_ms - told_ms >= TELL_EVERY_MS:
            self._told_ms[kind] = now_ms
            log.warning("%s: %s", self._name, sentence)
