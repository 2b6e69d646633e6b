"""The bytes of a connection at the devices' door, from the first of its HTTP request on, through the library as our
listener sets it up, then through the session. No socket: `play` fails where something is raised or let in."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from gateway.config import Limits
from gateway.device.listener import _select_subprotocol, offered_subprotocols, token_of
from gateway.device.upgrade import RequestOnly
from gateway.device.wire import SUBPROTOCOL
from tests.fuzz.talk import Broken, Talk

TOKEN: Final = "G" + "reenhouse-token-of-43-characters-0123456789A"[:42]
"""The one token that opens."""
_QUIET: Final = logging.getLogger("tests.fuzz")
_QUIET.setLevel(logging.ERROR)


class Opening:
    """One connection."""

    def __init__(self) -> None:
        self._protocol = ServerProtocol(
            select_subprotocol=_select_subprotocol, max_size=Limits().frame_bytes, logger=_QUIET
        )  # as Listener._make_socket does
        self._request_only = RequestOnly(self._protocol)
        self._talk = Talk()
        self.heard = self._talk.heard
        self._message: bytearray | None = None
        self._binary = False

    def play(self, data: bytes, *, pieces: int = 1) -> Counter[str]:
        """All of `data`, then its end. What is behind the request comes once that is answered, where there is more than
        one piece; else it comes with the request."""
        head, blank, rest = data.partition(b"\r\n\r\n")
        parts = [data] if pieces == 1 else [head[:30], head[30:] + blank, rest]
        for part in filter(None, parts):
            self._protocol.receive_data(part)
            self._take_events()
        self._protocol.receive_eof()
        self._take_events()
        return self.heard

    def _take_events(self) -> None:
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._answer(event)
            else:
                assert isinstance(event, Frame)
                self._frame(event)
        sent = b"".join(self._protocol.data_to_send())
        if TOKEN.encode() in sent:
            raise Broken("the token was sent back")

    def _answer(self, request: Request) -> None:
        """As `Listener._process_request, DeviceServer._admit` and the library do, in that order."""
        token = token_of(request)
        if "Upgrade" in request.headers and SUBPROTOCOL not in offered_subprotocols(request):
            response = self._protocol.reject(400, "no subprotocol")
        elif "Upgrade" in request.headers and token != TOKEN:
            response = self._protocol.reject(401, "no token")
        else:
            response = self._protocol.accept(request)
        self._request_only.answered()
        if (sentence := self._request_only.objection(response)) is not None:
            response = self._protocol.reject(400, sentence)
        self._protocol.send_response(response)
        self.heard[str(response.status_code)] += 1
        if self._protocol.state is OPEN and token != TOKEN:
            raise Broken("let in without a token")
        if self._protocol.state is OPEN and self._protocol.extensions:
            raise Broken("an extension was negotiated")

    def _frame(self, frame: Frame) -> None:
        """Messages, as asyncio/messages.py of the library puts them together."""
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._message, self._binary = bytearray(), frame.opcode is Opcode.BINARY
        elif frame.opcode is not Opcode.CONT or self._message is None:
            return
        self._message += frame.data
        if len(self._message) > Limits().frame_bytes:
            raise Broken("a message beyond the limit")
        if not frame.fin:
            return
        message, self._message = bytes(self._message), None
        try:
            self._talk.hear(message if self._binary else message.decode())
        except UnicodeDecodeError:
            self.heard["1007"] += 1
