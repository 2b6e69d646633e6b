"""What the firmware costs, measured inside the interpreter; prints one JSON object. Run by tests/bench/firmware.py."""

import gc
import json
import os
from array import array

import utime
from device import fast, wire
from device.clock import Clock, ticks_add
from device.commands import Commands
from device.executed import Executed
from device.link import Identity, Link
from device.log import Log
from device.outbox import Boot, Outbox
from device.places import Places
from device.sampler import Sampler, Sensor
from device.sensors import mpu6050
from device.tokens import Tokens

CLIMATE = (("temperature", 2), ("humidity", 2), ("pressure", 2))
UPGRADE = (
    b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: mpy-gateway.v1\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Driver:
    def __call__(self, config):
        return CLIMATE, self

    def read_into(self, values):
        values[0] = 2150
        values[1] = 4812
        values[2] = 100653


class MotionBus:
    """An MPU-6050 with five samples in its FIFO whenever it is asked."""

    def __init__(self):
        self.samples = bytes(range(7, 247, 4))  # of all sizes and signs

    def readfrom_mem_into(self, address, register, buf):
        if register == 0x74:
            fast.put(buf, 0, self.samples)
            return
        buf[0] = 0
        if register == 0x72:
            buf[1] = 60
        elif register == 0x75:
            buf[0] = 0x68

    def writeto_mem(self, address, register, data):
        pass


def motion(config):
    return mpu6050.QUANTITIES, mpu6050.Sensor(MotionBus(), config)


class Net:
    """Takes everything, says what it is told to, allocates nothing."""

    secure = None
    trouble = 0
    places = Places("/nowhere", {"host": "gw", "tls": False})

    def __init__(self):
        self.incoming = None
        self.written = 0

    def wifi(self, now):
        return True

    def connect(self, tries):
        pass

    def connected(self):
        return True

    def proved(self):
        pass

    def read_into(self, buf):
        if self.incoming is None:
            return None
        size = fast.put(buf, 0, self.incoming)
        self.incoming = None
        return size

    def write(self, buf, at, size):
        self.written += size
        return size

    def close(self):
        pass


def frame(text):
    size = len(text)
    return (bytes((0x81, size)) if size < 126 else bytes((0x81, 126, size >> 8, size & 255))) + text


class Parts:
    def __init__(self, quantities=CLIMATE, driver=None, period_ms=1, turn_ms=1):
        self.now = 5
        self.turn_ms = turn_ms
        self.clock = Clock(self.ticks)
        columns = [wire.Column(name, decimals) for name, decimals in quantities]
        self.box = Outbox(Boot(1, "00" * 8, "00" * 8), 512, len(columns), columns=wire.Columns([columns], 4096))
        config = {"name": "climate", "period_ms": period_ms}
        config["quantities"] = [{"name": name, "decimals": decimals} for name, decimals in quantities]
        self.sampler = Sampler([Sensor(config, driver or Driver(), self.now)], self.box, self.clock)
        self.net = Net()
        self.link = Link(
            Identity("a", "b", "c", Tokens("/dev/null", "t" * 43), "h", 80),
            self.box,
            self.sampler,
            Commands(self.clock, None, Executed("/dev/null")),
            self.net,
            self.clock,
            self.urandom,
            Log(self.clock),
        )

    def ticks(self):
        return self.now

    def urandom(self, size):
        return b"the sample nonce" if size == 16 else os.urandom(size)

    def connect(self, window=256):
        self.link.start()
        self.poll(3)
        self.net.incoming = UPGRADE
        self.poll(3)
        text = '{"type":"welcome","time":null,"window":%d,"boots":[]}' % window  # noqa: UP031 - braces
        self.net.incoming = frame(text.encode())
        self.poll(8)
        if self.link.state != "online":
            raise OSError(self.link.state)

    def poll(self, times):
        for _ in range(times):
            self.link.poll(self.now)

    def ack(self, seq):
        self.net.incoming = frame(b'{"type":"ack","boot":1,"seq":%d}' % seq)

    def sample(self):
        """One turn of the main loop at which a sample is due."""
        self.now = ticks_add(self.now, self.turn_ms)
        self.sampler.poll(self.now)
        self.link.poll(self.now)


def us(function, times):
    start = utime.ticks_us()
    for _ in range(times):
        function()
    return utime.ticks_diff(utime.ticks_us(), start) / times


def allocated(function, times):
    """Bytes per call."""
    function()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(times):
        function()
    after = gc.mem_alloc()
    gc.enable()
    return (after - before) / times


def steady():
    """Bytes and time per sample, taken, framed, masked and sent; and what an ack adds."""
    parts = Parts()
    parts.connect()
    alone = allocated(parts.sample, 100)
    parts.ack(parts.box.next - 1)
    parts.poll(1)

    def acknowledged():
        parts.sample()
        parts.ack(parts.box.next - 1)
        parts.link.poll(parts.now)

    def making_the_ack():
        parts.ack(parts.box.next - 1)
        parts.net.incoming = None

    with_ack = allocated(acknowledged, 50) - allocated(making_the_ack, 50)
    return {
        "bytes_per_sample": alone,
        "bytes_per_sample_with_ack": with_ack,
        "us_per_sample_with_ack": us(acknowledged, 500),
    }


def fifo():
    """The same of a motion node: 6 quantities 50 times a second, five samples at each turn, acknowledged."""
    parts = Parts([(name, 2) for name, _ in mpu6050.QUANTITIES], motion, period_ms=20, turn_ms=100)
    parts.connect()
    parts.sample()  # starts the chip

    def turn():
        parts.sample()
        parts.box.ack(1, parts.box.next - 1)

    return {"motion_bytes_per_sample": allocated(turn, 20) / 5, "motion_us_per_sample": us(turn, 200) / 5}


def backlog():
    """Samples a second, from a full ring in frames as large as they get."""
    parts = Parts()
    for _ in range(512):
        parts.now = ticks_add(parts.now, 1)
        parts.sampler.poll(parts.now)
    parts.connect(window=1000)
    rounds = 0
    start = utime.ticks_us()
    while rounds < 20:
        parts.box.rewind()
        while parts.box.running.sent < parts.box.next:
            parts.link.poll(parts.now)
        rounds += 1
    seconds = utime.ticks_diff(utime.ticks_us(), start) / 1000000
    return {"backlog_samples_per_s": 512 * rounds / seconds}


def loops():
    buf = bytearray(1024)
    key = b"abcd"
    text = b"x" * 1024
    found = {}
    numbers = (7, -215, 4812, 100653)
    for name, (mask, utf8, _, number) in (("plain", fast.plain), ("fast", fast.chosen)):
        found["number_us_" + name] = us(lambda number=number: [number(buf, 0, n, 2) for n in numbers], 300) / 4
        found["mask_us_per_kb_" + name] = us(lambda mask=mask: mask(buf, 0, 1024, key), 300)
        found["utf8_us_per_kb_" + name] = us(lambda utf8=utf8: utf8(0, text, 0, 1024), 300)
    return found


result = steady()
gc.collect()
result.update(fifo())
gc.collect()
result.update(backlog())
gc.collect()
result.update(loops())
values = array("i", [0])
print(json.dumps(result))
