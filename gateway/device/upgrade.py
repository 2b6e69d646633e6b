"""Between a connection's upgrade request and our answer to it, where the library trusts the client too far."""

from __future__ import annotations

from http import HTTPStatus

from websockets.exceptions import InvalidHandshake, InvalidHeader
from websockets.http11 import Response
from websockets.server import ServerProtocol


class RequestOnly:
    """Lets nothing but the request come to the protocol until it is answered. A client waits for that (RFC 6455, 4.1);
    the library parses at once what comes behind, and fails over it with a traceback in the log, for any stranger."""

    def __init__(self, protocol: ServerProtocol) -> None:
        self.too_early = False
        """More has come than the request."""
        self._end = b""
        """The last bytes of a request that is not complete."""
        self._complete = False
        self._protocol = protocol
        self._receive_data = protocol.receive_data
        vars(protocol)["receive_data"] = self._receive

    def answered(self) -> None:
        """The answer is on its way: what comes from now on is the protocol's."""
        vars(self._protocol).pop("receive_data", None)

    def objection(self, response: Response) -> str | None:
        """What to say with a 400 instead of `response`: to who did not wait for it, and where the library would quote
        what it was sent (a token, maybe). None where it may go out."""
        if self.too_early and response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            return "Wait for the answer to your request before you go on."
        fault = self._protocol.handshake_exc
        if isinstance(fault, InvalidHandshake) and response.status_code == HTTPStatus.BAD_REQUEST:
            header = fault.name if isinstance(fault, InvalidHeader) else None
            return f"This is no WebSocket handshake: {f'its header {header}' if header else 'a header'} is not right."
        return None

    def _receive(self, data: bytes) -> None:
        if self._complete:
            self.too_early = True
            return
        seen = self._end + data
        blank = seen.find(b"\r\n\r\n")
        self._complete = blank >= 0
        if self._complete:
            size = blank + 4 - len(self._end)
            self.too_early = size < len(data)
            data = data[:size]
        self._end = seen[-3:]
        self._receive_data(data)
