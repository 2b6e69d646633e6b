"""The fault proxy itself: an instrument that lies proves nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults import FaultProxy


class Echo:
    """A server that gives back what it gets, and remembers how each connection ended: "fin" or "rst"."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.heard: list[bytearray] = []
        self.ended: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = self._listener.accept()
                self.heard.append(bytearray())
                threading.Thread(target=self._serve, args=(end, self.heard[-1]), daemon=True).start()

    def _serve(self, end: socket.socket, heard: bytearray) -> None:
        with end:
            try:
                while data := end.recv(65536):
                    heard += data
                    end.sendall(data)
                self.ended.append("fin")
            except OSError:
                self.ended.append("rst")

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


def dial(proxy: FaultProxy) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy.port), 5)
    client.settimeout(5)
    return client


def exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (part := client.recv(size - len(data))):
        data += part
    return data


def wait_for(condition: object, what: str) -> None:
    deadline = time.monotonic() + 5
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_what_passes_is_unchanged_in_both_directions(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, dial(proxy) as client:
        sent = bytes(range(256)) * 2000
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        assert exactly(client, len(sent)) == sent
        writer.join()
        assert (proxy.up_bytes, proxy.down_bytes) == (len(sent), len(sent))


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_a_cut_reaches_both_sides(echo: Echo, how: str) -> None:
    with FaultProxy(echo.port) as proxy, dial(proxy) as client:
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        proxy.cut(how)  # type: ignore[arg-type]
        if how == "rst":
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        else:
            assert client.recv(1) == b""
        wait_for(lambda: echo.ended == [how], "the server's end")
        with dial(proxy) as again:
            again.sendall(b"y")
            assert again.recv(1) == b"y"


def test_a_stall_holds_back_and_then_gives_everything(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, dial(proxy) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        proxy.stall()
        client.sendall(b"b" * 1000)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.heal()
        client.settimeout(5)
        assert exactly(client, 1000) == b"b" * 1000


def test_half_open_is_silent_on_one_side_and_a_reset_on_the_other(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, dial(proxy) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        proxy.half_open("gateway")
        wait_for(lambda: echo.ended == ["rst"], "the server's end")
        client.sendall(b"b" * 10_000)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert echo.heard == [bytearray(b"a")]
        client.close()
        wait_for(lambda: proxy.connections == 0, "the end of the half-open connection")
        assert len(proxy.given_up_s) == 1


def test_a_half_open_board_leaves_the_server_waiting(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, dial(proxy) as client:
        client.sendall(b"a")
        assert client.recv(1) == b"a"
        proxy.half_open("board")
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert echo.ended == []


def test_a_slow_line_keeps_to_its_speed(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, dial(proxy) as client:
        proxy.slow(10_000)
        began = time.monotonic()
        client.sendall(b"c" * 4000)
        assert exactly(client, 4000) == b"c" * 4000
        assert 0.35 < time.monotonic() - began < 3


def test_a_duplicate_says_everything_once_more(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, dial(proxy) as client:
        client.sendall(b"hello")
        assert exactly(client, 5) == b"hello"
        proxy.duplicate()
        wait_for(lambda: echo.heard == [bytearray(b"hello")] * 2, "the second connection")
        client.sendall(b"more")
        assert exactly(client, 4) == b"more"  # and nothing of the other one's answers


def test_refused_and_healed(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy:
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            dial(proxy)
        proxy.heal()
        with dial(proxy) as client:
            client.sendall(b"d")
            assert client.recv(1) == b"d"
        assert proxy.faults == {"refuse": 1}


def test_a_target_that_is_not_there_is_a_reset() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The proxy may know that nobody listens there before connect() has returned: then it is connect() that raises.
    with FaultProxy(port) as proxy, pytest.raises(ConnectionResetError), dial(proxy) as client:
        client.recv(1)


def test_the_end_of_the_proxy_ends_everything_and_its_thread(echo: Echo) -> None:
    threads = threading.active_count()
    with FaultProxy(echo.port) as proxy:
        clients = [dial(proxy) for _ in range(3)]
        proxy.stall()
    assert all(client.recv(1) == b"" for client in clients)
    wait_for(lambda: threading.active_count() <= threads, "the end of the threads")
    for client in clients:
        client.close()
