"""Which device is online, which is retained; and that nothing stays retained of one that was removed. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.mqtt.topics import Message, Topics, publishable


class Presences:
    """What every device's availability topic should say."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._online: dict[str, bool] = {}
        self._changed: dict[str, None] = {}
        self._gone: dict[str, set[str]] = {}
        """Topics of removed devices of which the broker has not acknowledged yet that they are empty."""

    def set(self, device: str, online: bool) -> None:
        if publishable(device) and self._online.get(device) is not online:
            self._online[device] = online
            self._changed[device] = None

    def knows(self, device: str) -> bool:
        return device in self._online

    def online(self) -> list[str]:
        return [device for device, online in self._online.items() if online]

    def devices(self) -> list[str]:
        """Of whom something may be retained at the broker."""
        return sorted({*self._online, *self._gone})

    def due(self, most: int) -> list[Message]:
        """What to publish now: availabilities, and what is to be cleared; about `most` messages."""
        messages: list[Message] = []
        while self._changed and len(messages) < most:
            device = next(iter(self._changed))
            del self._changed[device]
            # The clearing first, also where its name is in use again: nothing old is to show under it.
            messages += [m for m in self._topics.forgotten(device) if m.topic in self._gone.get(device, ())]
            if device in self._online:
                messages.append(self._topics.availability(device, self._online[device]))
        return messages

    def uncleared(self) -> list[str]:
        """Removed devices of which the broker may still retain something."""
        return list(self._gone)

    def all_again(self) -> None:
        """A new session with the broker."""
        self._changed = dict.fromkeys([*self._online, *self._gone])

    def forget(self, *devices: str) -> None:
        """They are no more: what is retained of them is to be cleared."""
        for device in devices:
            if publishable(device):
                self._online.pop(device, None)
                self._gone[device] = {message.topic for message in self._topics.forgotten(device)}
                self._changed[device] = None

    def acked(self, message: Message) -> None:
        """The broker has it. What was to be cleared is clear then."""
        if message.payload or not message.retain:
            return
        for device, topics in list(self._gone.items()):
            topics.discard(message.topic)
            if not topics:
                del self._gone[device]

    def load(self, devices: Iterable[str], known: Iterable[str]) -> None:
        """`devices()` of the last time: who is not known any more was removed in between."""
        self.forget(*sorted(set(devices) - set(known)))
