"""An independent witness of what leaves the gateway: an MQTT subscriber and a live-feed client in their own process.

    python -m gateway.cli.witness < settings.json

Reads one line of JSON: {"mqtt_url", "base", "feed_url", "certificate", "token"}; prints `ready` once both listen. For
every further line it prints what it has counted, {"published": {device: n}, "seen": {device: n}, "repeated": n,
"first_seen": s}, and ends when its standard input closes. Distinct (boot_id, seq) per device: repeats do not count
twice.
It shares no state with the gateway, only its wires.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from websockets.asyncio.client import connect

from gateway.tls.context import exact_context

Seen = dict[str, set[tuple[str, int]]]


class Witness:
    """What was seen, by either way out."""

    def __init__(self) -> None:
        self.published: Seen = {}
        self.seen: Seen = {}
        self.repeated = 0
        self.first_seen: float | None = None

    def on_mqtt(self, payload: bytes | bytearray) -> None:
        message = json.loads(payload)
        samples = self.published.setdefault(message["device"], set())
        for seq in message["seq"]:
            identity = (message["boot_id"], seq)
            self.repeated += identity in samples
            samples.add(identity)

    def on_feed(self, text: str | bytes) -> None:
        for message in json.loads(text):
            if message["type"] == "samples":
                if self.first_seen is None:
                    self.first_seen = time.time()
                samples = self.seen.setdefault(message["device"], set())
                samples.update((message["boot_id"], seq) for seq in message["seq"])

    def report(self) -> dict[str, Any]:
        return {
            "published": {device: len(samples) for device, samples in self.published.items()},
            "seen": {device: len(samples) for device, samples in self.seen.items()},
            "repeated": self.repeated,
            "first_seen": self.first_seen,
        }


async def watch(settings: dict[str, Any]) -> None:
    witness = Witness()
    loop = asyncio.get_running_loop()
    subscribed = asyncio.Event()

    def on_subscribe(*_: Any) -> None:
        loop.call_soon_threadsafe(subscribed.set)

    def on_message(_client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        loop.call_soon_threadsafe(witness.on_mqtt, message.payload)

    mqtt = paho.Client(CallbackAPIVersion.VERSION2)  # MQTT 3.1.1 on purpose: the plainest client there is
    mqtt.on_connect = lambda client, *_: client.subscribe(f"{settings['base']}/+/samples", qos=1)
    mqtt.on_subscribe = on_subscribe
    mqtt.on_message = on_message
    broker = urlsplit(settings["mqtt_url"])
    mqtt.connect(broker.hostname or "127.0.0.1", broker.port or 1883)
    mqtt.loop_start()

    headers = {"Authorization": f"Bearer {settings['token']}"}
    certificate = settings["certificate"]
    tls = exact_context(Path(certificate)) if certificate else None
    async with connect(settings["feed_url"], ssl=tls, additional_headers=headers, max_size=None) as feed:
        await subscribed.wait()
        reader = asyncio.create_task(_read(feed, witness))
        print("ready", flush=True)
        while True:
            line = await loop.run_in_executor(None, sys.stdin.readline)
            if not line or line.strip() == "end":
                break
            print(json.dumps(witness.report()), flush=True)
        reader.cancel()
    mqtt.disconnect()
    mqtt.loop_stop()


async def _read(feed: Any, witness: Witness) -> None:
    async for text in feed:
        witness.on_feed(text)


if __name__ == "__main__":
    asyncio.run(watch(json.loads(sys.stdin.readline())))
