"""The whole system on one machine, each part in a process of its own that can be killed: broker, gateway, emulated
boards, and an independent subscriber. Nothing here asks the gateway what it has."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from gateway.emulator import EmulatedBoard
from gateway.profile import load_profile
from tests.flow.commands import FREE_PORTS, command, environment, mpy_gateway, set_options
from tests.nodes import plain_climate
from tests.programs import free_port, need_program
from tests.reckoning import Delivered, End, Reckoning, reckon, truth

WIFI = {"ssid": "emulated", "password": "emulated-password"}
BASE = "mpy-gateway"
ROOT = Path(__file__).resolve().parents[1]


def quick_node(directory: Path, *, period_ms: int = 100, power_loss: str = "unsent", ram_samples: int = 512) -> Path:
    """The climate node with another pace: its profile.toml. Checked for wear like any profile."""
    text = plain_climate()
    for old, new in (
        ("period_ms = 1000\n", f"period_ms = {period_ms}\n"),
        ("period_ms = 10000\n", f"period_ms = {period_ms * 10}\n"),
        ('power_loss = "unsent"', f'power_loss = "{power_loss}"'),
        ("ram_samples = 512 ", f"ram_samples = {ram_samples} "),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    node = directory / "quick-node"
    node.mkdir(parents=True, exist_ok=True)
    (node / "profile.toml").write_text(text)
    return node / "profile.toml"


def add_device(name: str, profile_file: Path, state: Path) -> str:
    """A new identity; returns its token."""
    added = mpy_gateway("devices", "add", name, "--node", str(profile_file), "--state", str(state))
    token = re.search(r"token\s+(\S+)", added.stdout)
    assert token, added.stderr
    return token[1]


def sleepy_node(
    directory: Path, *, period_s: int = 5, send_every_s: int = 15, power_loss: str = "unsent", ram_samples: int = 64
) -> Path:
    """The climate node as one that sleeps between its samples: its profile.toml."""
    node = quick_node(directory, period_ms=period_s * 1000, power_loss=power_loss, ram_samples=ram_samples)
    with node.open("a") as file:
        file.write(f"\n[power]\ndeep_sleep = true\nsend_every_s = {send_every_s}\n")
    return node


def sleepless(first_awake_ms: int = 300, patience_ms: int = 1500) -> dict[str, str]:
    """Files for a board: the firmware with less patience where a test would wait in real time: after a start, and for a
    gateway that is away."""
    files = {}
    for name, constant, ms in (("doze", "_FIRST_AWAKE_MS", first_awake_ms), ("errand", "_PATIENCE_MS", patience_ms)):
        text = (ROOT / "firmware" / "device" / f"{name}.py").read_text()
        files[f"/device/{name}.py"], times = re.subn(
            rf"^{constant} = const\(\d+\)", f"{constant} = {ms}", text, flags=re.M
        )
        assert times == 1, constant
    return files


class NamedBoots(EmulatedBoard):
    """A board of which we read on the console which boot_id each of its starts has: of a boot that delivered nothing
    but its end, nothing else would tell. A start out of deep sleep belongs to the one that began the boot."""

    def __init__(self, *words: Any, console: Callable[[str], None] | None = None, **more: Any) -> None:
        self.boot_ids: dict[str, int] = {}
        self.began_in: dict[int, int] = {}

        def listen(line: str) -> None:
            if named := re.search(r" info \S+, boot \d+ \(([0-9a-f]{16})\)$", line):
                self.boot_ids[named[1]] = self.boots
            elif woken := re.search(r" info boot \d+ \(([0-9a-f]{16})\) goes on after", line):
                self.began_in[self.boots] = self.boot_ids[woken[1]]
            if console is not None:
                console(line)

        super().__init__(*words, console=listen, **more)


def make_board(
    directory: Path,
    profile_file: Path,
    token: str,
    port: int,
    *,
    device: str = "greenhouse",
    seed: int = 7,
    **more: Any,
) -> NamedBoots:
    """A board for a gateway (or a fault proxy) on `port`, with a truth log. Its files are in `directory`."""
    settings = {
        "device": device,
        "token": token,
        "gateway": {"host": "127.0.0.1", "port": port, "tls": False},
        "wifi": [WIFI],
    }
    profile = load_profile(profile_file)
    return NamedBoots(profile, profile_file.parent, settings, directory=directory, seed=seed, truth=True, **more)


def hurried(factor: int) -> dict[str, str]:
    """Files for a board: the firmware's link with its deadlines for a dead connection, its memory of failed ones and
    its longest wait `factor` times as short. All else is as it is."""
    text = (ROOT / "firmware" / "device" / "link.py").read_text()
    for name, ms in (
        ("_PING_MS", 15000),
        ("_PONG_MS", 10000),
        ("_STUCK_MS", 25000),
        ("_STEADY_MS", 10000),
        ("_LONGEST_WAIT_MS", 30000),
    ):
        assert text.count(f"{name} = const({ms})") == 1, name
        text = text.replace(f"{name} = const({ms})", f"{name} = const({ms // factor})")
    return {"/device/link.py": text}


class Program:
    """A program in a process group of its own; `kill` leaves nothing of it."""

    def __init__(self, words: list[str], log: Path, env: dict[str, str] | None = None) -> None:
        self._words, self._log, self._env = words, log, env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )

    def send(self, number: int) -> None:
        if self.running:
            os.killpg(self.pid, number)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 15) -> int:
        """Ask it to end, and wait. Returns its exit code."""
        assert self._process is not None
        self.send(number)
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def text(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Mosquitto(Program):
    """Debian's broker, which keeps sessions and messages over a restart."""

    def __init__(self, directory: Path, port: int) -> None:
        directory.mkdir(exist_ok=True, parents=True)
        config = directory / "mosquitto.conf"
        config.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {directory}/\n"
            "user root\nautosave_interval 1\nautosave_on_changes true\n"
            "max_queued_messages 0\nmax_inflight_messages 0\n"
        )
        self.port = port
        super().__init__([need_program("mosquitto"), "-c", str(config)], directory / "mosquitto.log")

    def start(self) -> None:
        super().start()
        wait_for(lambda: _answers(self.port), "mosquitto's start", self)


class GatewayProgram(Program):
    """`mpy-gateway run` on ports of ours, with a wall clock that can be moved."""

    def __init__(self, state: Path, *settings: str, log: Path | None = None) -> None:
        self.state = state
        log = log or state.parent / f"{state.name}.log"
        self.clock_file = log.with_suffix(".clock")
        words = command("run", "--state", str(state), *set_options(*FREE_PORTS, *settings))
        words[1:3] = ["-m", "tests.moved_clock", str(self.clock_file)]
        super().__init__(words, log, environment() | {"PYTHONPATH": str(ROOT)})

    def start(self) -> None:
        """Returns when it has written its run file, which is when its doors are open."""
        (self.state / "run.json").unlink(missing_ok=True)
        super().start()
        wait_for((self.state / "run.json").exists, "the gateway's start", self)

    def try_start(self, timeout_s: float = 20) -> bool:
        """Whether it came up: on a full disk it may not."""
        (self.state / "run.json").unlink(missing_ok=True)
        Program.start(self)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.running:
            if (self.state / "run.json").exists():
                return True
            time.sleep(0.02)
        self.kill()
        return False

    def move_wall_clock(self, ms: int) -> None:
        """From now on the gateway's wall clock is `ms` off the machine's."""
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(str(ms))
        fresh.rename(self.clock_file)


class Subscriber:
    """What a broker brings, by an MQTT client of its own that keeps its session (QoS 1, 3.1.1)."""

    TOPICS = ("samples", "event", "gap", "quarantine", "corrected")

    def __init__(self, port: int, name: str = "witness") -> None:
        self.delivered: dict[str, Delivered] = {}
        self.subscribed = False
        self.states: dict[str, list[dict[str, Any]]] = {}
        self._newest_s: dict[str, float] = {}
        self._longest_s: Counter[str] = Counter()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.on_disconnect = lambda *_: setattr(self, "subscribed", False)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port, keepalive=5)
        self._client.loop_start()

    def of(self, device: str = "greenhouse") -> Delivered:
        return self.delivered.setdefault(device, Delivered())

    def longest_silence_s(self) -> float:
        """The longest any device was not heard of, between two of its samples."""
        return max(self._longest_s.values(), default=0.0)

    def _on_connect(self, client: paho.Client, *_: object) -> None:
        topics = [(f"{BASE}/+/{topic}", 1) for topic in (*self.TOPICS, "state")]
        client.subscribe(topics)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        _, device, topic = message.topic.split("/")
        if device == "bridge" or not message.payload:
            return
        body = json.loads(message.payload)
        if topic == "state":
            self.states.setdefault(device, []).append(body)
            return
        self.of(device).take(topic, body)
        if topic == "samples":
            now_s = time.monotonic()
            silence_s = now_s - self._newest_s.get(device, now_s)
            self._longest_s[device] = max(self._longest_s[device], silence_s)  # type: ignore[assignment]
            self._newest_s[device] = now_s

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def system(tmp_path: Path, *settings: str, door: int | None = None) -> Iterator[tuple[Mosquitto, GatewayProgram, int]]:
    """Broker and gateway that run, and the port of the devices' door; killed at the end, whatever happens."""
    broker = Mosquitto(tmp_path / "broker", free_port())
    port = door or free_port()
    gateway = GatewayProgram(
        tmp_path / "state", f"devices.port={port}", f"mqtt.home.url=mqtt://127.0.0.1:{broker.port}", *settings
    )
    try:
        broker.start()
        gateway.start()
        yield broker, gateway, port
    finally:
        gateway.kill()
        broker.kill()


def wait_for(condition: Any, what: str, program: Program | None = None, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline or (program is not None and not program.running):
            raise AssertionError(f"{what} did not come about:\n{program.text()[-3000:] if program else ''}")
        time.sleep(0.02)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def outcome_of(board: EmulatedBoard, subscriber: Subscriber, power_loss: str = "unsent") -> Reckoning:
    """What became of everything `board` measured so far."""
    began_in = board.began_in if isinstance(board, NamedBoots) else {}
    measured = truth(board.truth_log.read_text().splitlines())
    return reckon(
        [replace(entry, boot=began_in.get(entry.boot, entry.boot)) for entry in measured],
        [End(began_in.get(end.boot, end.boot), end.wdt_feeds) for end in board.endings],
        subscriber.of(board.name),
        power_loss=power_loss,
        taken=sum(board.taken().values()),
        boot_ids=board.boot_ids if isinstance(board, NamedBoots) else {},
    )


async def settle(
    board: EmulatedBoard, subscriber: Subscriber, power_loss: str = "unsent", timeout_s: float = 15
) -> Reckoning:
    """Wait until everything of a board that was stopped is accounted for, or for `timeout_s`; what became of it."""
    deadline = time.monotonic() + timeout_s
    while True:
        outcome = outcome_of(board, subscriber, power_loss)
        measured = outcome.delivered - outcome.not_measured
        accounted = measured + outcome.in_gaps + outcome.unknown_tail + outcome.interrupted
        if (accounted >= outcome.taken and not outcome.holes) or time.monotonic() > deadline:
            return outcome
        await asyncio.sleep(0.1)
