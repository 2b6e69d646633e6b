"""The firmware's link over TLS, against real servers: `tls_link.py CA NAME KIND:PORT...`

For each KIND one JSON line: what the link logged until it gave up or was online, how long it waits then, how long each
call into the TLS handshake took, and what a write and a read allocate. `KIND:PORT:TIMES` tries so often. Board's time
runs twenty times as fast, so that deadlines come soon.
"""

import gc
import json
import sys

import utime
from device import wire
from device.clock import Clock, ticks_diff
from device.commands import Commands
from device.executed import Executed
from device.link import BACKOFF, ONLINE, Identity, Link
from device.net import Net
from device.outbox import Boot, Outbox
from device.places import Places
from device.secure import Secure
from device.tokens import Tokens

FASTER = 20


class Log:
    def __init__(self):
        self.lines = []

    def __call__(self, level, text):
        self.lines.append(text)

    def next_line(self):
        return None


class Timed(Net):
    """Notes how long the handshake held up everything else."""

    def shake(self, buf):
        start = utime.ticks_us()
        try:
            return super().shake(buf)
        finally:
            self.held_us.append(utime.ticks_diff(utime.ticks_us(), start))


def ticks():
    return utime.ticks_ms() * FASTER & 0x3FFFFFFF


def urandom(size):
    return b"\0" * size  # the shortest wait between tries


def attempt(secure, kind, port, times):
    """`times` tries at most, or until it is online."""
    log = Log()
    clock = Clock(ticks)
    columns = wire.Columns([[wire.Column("temperature", 2)]], 4096)
    box = Outbox(Boot(1, "9f3c11d2c01b6a55", "5a0f9c3be1d27718"), 16, 1, columns=columns)
    net = Timed([], Places("/nowhere", {"host": "127.0.0.1", "tls": False}), port, secure, log)
    net.held_us = []
    who = Identity("greenhouse", "a4cf12b0c3d4", "node", Tokens("/dev/null", "T" * 43), "127.0.0.1", port)
    link = Link(who, box, None, Commands(clock, None, Executed("/dev/null")), net, clock, urandom, log)
    link.start()
    waits = []
    while len(waits) < times and link.state != ONLINE:
        state = link.state
        wait_ms = link.poll(clock.ticks())
        if link.state == BACKOFF and state != BACKOFF:
            waits.append(ticks_diff(link._deadline, clock.ticks()))
            link._deadline = clock.ticks()
        net.wait(wait_ms // FASTER, link.sending())
    found = {"kind": kind, "lines": log.lines, "waits": waits, "held_us": net.held_us, "until": secure._until}
    if link.state == ONLINE:
        found["bytes"] = allocated(net)
    net.close()
    print(json.dumps(found))


def allocated(net):
    """Bytes of 50 writes, and of 50 reads where there is nothing."""
    pong = b"\x8a\x80\0\0\0\0"
    buf = bytearray(64)
    while net.read_into(buf):
        pass
    found = []
    for call in (lambda: net.write(pong, 0, 6), lambda: net.read_into(buf)):
        gc.collect()
        gc.disable()
        before = gc.mem_alloc()
        i = 0
        while i < 50:
            call()
            i += 1
        found.append(gc.mem_alloc() - before)
        gc.enable()
    return found


with open(sys.argv[1], "rb") as file:
    ca = file.read()
for argument in sys.argv[3:]:
    kind, port, times = (argument + ":1").split(":")[:3]
    attempt(Secure(ca, sys.argv[2]), kind, int(port), int(times))
