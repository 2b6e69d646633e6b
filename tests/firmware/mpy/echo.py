"""A client that echoes, around the firmware's WebSocket: what the conformance and peer tests talk to.

echo.py HOST PORT PATH [MAX_MESSAGE [PROTOCOL]]     one connection
echo.py HOST PORT autobahn MAX_MESSAGE              all cases of an Autobahn fuzzing server
"""

import os
import select
import socket
import sys

from device.websocket import CLOSE, PING, PONG, Opening, ProtocolError, WebSocket

AGENT = "mpy-gateway"


class Connection:
    """`on_message(opcode, payload)` returns what is to be sent back, or None."""

    def __init__(self, host, port, path, ws, protocol=None):
        self.ws = ws
        self.rx = bytearray(65536)
        self.socket = socket.socket()
        self.socket.connect(socket.getaddrinfo(host, port)[0][-1])
        opening = Opening(host, port, protocol, os.urandom, path)
        self.socket.write(opening.request)
        while not opening.done:
            size = self.socket.readinto(self.rx, 1)
            if not size:
                raise OSError("closed in the handshake")
            opening.feed(self.rx, 0, 1)
        self.socket.setblocking(False)
        self.poller = select.poll()
        self.poller.register(self.socket, select.POLLIN)
        ws.reset()

    def run(self, on_message):
        """Until the other side has closed. Returns the close code it sent, or ours where it broke the protocol."""
        try:
            self._exchange(on_message)
        except OSError:  # the server may reset a connection it has failed
            pass
        except ProtocolError as error:
            self._fail(error.code)
            return error.code
        finally:
            self.socket.close()
        return self.ws.close_code

    def _exchange(self, on_message):
        ws, rx = self.ws, self.rx
        at = end = 0
        while True:
            if not ws.idle():
                self._flush()
            elif at < end and not ws.close_sent:
                at = ws.feed(rx, at, end)
                self._answer(on_message)
            else:
                self.poller.modify(self.socket, select.POLLIN)
                self.poller.poll(10000)
                at, end = 0, self.socket.readinto(rx)
                if end == 0:
                    return

    def _answer(self, on_message):
        ws = self.ws
        if ws.event == PING:
            ws.send(PONG, ws.payload())
        elif ws.event == CLOSE:
            ws.send_close(ws.close_code)
        elif ws.event and ws.event != PONG:
            answer = on_message(ws.event, ws.payload())
            if answer is not None:
                ws.send(ws.event, answer)

    def _flush(self):
        ws = self.ws
        self.poller.modify(self.socket, select.POLLOUT)
        self.poller.poll(10000)
        ws.tx_at += self.socket.write(ws.tx, ws.tx_at, ws.tx_end - ws.tx_at) or 0

    def _fail(self, code):
        """Says why, if it still can, and takes what comes until the server closes: our words might be lost else."""
        ws = self.ws
        try:
            while not ws.idle():
                self._flush()
            if not ws.close_sent:
                ws.send_close(code)
            while not ws.idle():
                self._flush()
            self.poller.modify(self.socket, select.POLLIN)
            while self.poller.poll(2000):
                if not self.socket.readinto(self.rx):
                    break
        except OSError:
            pass


def echo(opcode, payload):
    return payload


def autobahn(host, port, ws):
    count = []
    Connection(host, port, "/getCaseCount", ws).run(lambda opcode, payload: count.append(int(bytes(payload))))
    for case in range(1, count[0] + 1):
        Connection(host, port, f"/runCase?case={case}&agent={AGENT}", ws).run(echo)
    Connection(host, port, "/updateReports?agent=" + AGENT, ws).run(lambda opcode, payload: None)


def main(host, port, path, max_message=16384, protocol=None):
    ws = WebSocket(os.urandom, int(max_message), int(max_message))
    if path == "autobahn":
        autobahn(host, int(port), ws)
    else:
        print("closed", Connection(host, int(port), path, ws, protocol).run(echo))


if __name__ == "__main__":
    main(*sys.argv[1:])
