"""The firmware's WebSocket against a server that is not ours: peer.py PORT PATH MESSAGES. Prints what it saw as JSON.

Sends numbered messages, text and binary in turn, as fast as the socket takes them, while it receives; then closes.
"""

import json
import os
import select
import socket
import sys

from device.websocket import BINARY, CLOSE, PING, PONG, TEXT, Opening, WebSocket

PROTOCOL = "mpy-gateway.v1"


class Peer:
    def __init__(self, port, path, messages):
        self.messages = messages
        self.sent = self.echoed = self.own = 0
        self.ws = WebSocket(os.urandom, 1024)
        self.rx = bytearray(512)
        self.socket = socket.socket()
        self.socket.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        opening = Opening("127.0.0.1", port, PROTOCOL, os.urandom, path)
        self.socket.write(opening.request)
        while not opening.done:
            self.socket.readinto(self.rx, 1)
            opening.feed(self.rx, 0, 1)
        self.socket.setblocking(False)
        self.poller = select.poll()
        self.poller.register(self.socket, select.POLLIN | select.POLLOUT)

    def message(self, number):
        text = (f"message {number} ° ").encode() * (1 + number % 40)
        return (BINARY, b"\x00\xff" + text) if number & 1 else (TEXT, text)

    def run(self):
        at = end = 0
        while True:
            if not self.ws.idle():
                size = self.socket.write(self.ws.tx, self.ws.tx_at, self.ws.tx_end - self.ws.tx_at)
                self.ws.tx_at += size or 0
            if at == end:
                at, end = 0, self.socket.readinto(self.rx) or 0
                if end == 0 and self.ws.close_code:
                    return
            while at < end and self.ws.idle() and not self.ws.close_code:
                at = self.ws.feed(self.rx, at, end)
                self.heard()
            if self.ws.idle() and not self.ws.close_sent:
                self.speak()
            self.poller.modify(self.socket, select.POLLIN if self.ws.idle() else select.POLLIN | select.POLLOUT)
            if not self.poller.poll(5000):
                raise OSError("nothing happens any more")

    def heard(self):
        event, payload = self.ws.event, bytes(self.ws.payload()) if self.ws.event else b""
        if event == PING:
            self.ws.send(PONG, payload)
        elif event == CLOSE and not self.ws.close_sent:
            self.ws.send_close(self.ws.close_code)
        elif event == TEXT and payload.startswith(b"own "):
            if payload != b"own %d" % self.own:
                raise ValueError(payload)
            self.own += 1
        elif event in (TEXT, BINARY):
            if (event, payload) != self.message(self.echoed):
                raise ValueError(payload)
            self.echoed += 1

    def speak(self):
        if self.sent < self.messages:
            self.ws.send(*self.message(self.sent))
            self.sent += 1
        elif self.echoed == self.messages and self.own in (0, 500):
            self.ws.send_close(1000, b"done")


peer = Peer(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
peer.run()
print(
    json.dumps({"echoed": peer.echoed, "own": peer.own, "code": peer.ws.close_code, "reason": peer.ws.close_reason()})
)
