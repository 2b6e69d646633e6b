"""`mpy-gateway flash`, as far as it needs no board: where a board is told that its gateway is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.cli import flash
from gateway.config import load_config
from gateway.errors import ConfigError
from gateway.tls import names

USB, EMULATED = "/dev/ttyUSB0", "/dev/pts/7"


@pytest.fixture(autouse=True)
def own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "own_address", lambda: "192.168.1.20")


def running(url: str) -> Any:
    return SimpleNamespace(run={"devices_url": url})


def config(tmp_path: Path, *settings: str) -> Any:
    return load_config(None, overrides=list(settings), state=tmp_path)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("wss://0.0.0.0:8765", ("192.168.1.20", 8765)),
        ("wss://[::]:8765", ("192.168.1.20", 8765)),
        ("wss://192.168.1.33:9000", ("192.168.1.33", 9000)),
        ("wss://gateway.local:9000", ("gateway.local", 9000)),
    ],
)
def test_a_board_is_told_where_the_running_gateway_is(tmp_path: Path, url: str, address: tuple[str, int]) -> None:
    assert flash._address(config(tmp_path), running(url), USB) == address


def test_where_none_runs_the_settings_say_it(tmp_path: Path) -> None:
    settings = config(tmp_path, "devices.host=0.0.0.0", "devices.port=8800")
    assert flash._address(settings, None, USB) == ("192.168.1.20", 8800)
    with pytest.raises(ConfigError, match=r"another port at each start.*mpy-gateway run"):
        flash._address(config(tmp_path, "devices.port=0"), None, EMULATED)


def test_only_an_emulated_board_reaches_a_gateway_on_loopback(tmp_path: Path) -> None:
    assert flash._address(config(tmp_path), running("ws://127.0.0.1:8765"), EMULATED) == ("127.0.0.1", 8765)
    with pytest.raises(
        ConfigError, match=r'cannot reach the gateway at 127\.0\.0\.1: set devices\.host = "0\.0\.0\.0"'
    ):
        flash._address(config(tmp_path), running("ws://127.0.0.1:8765"), USB)


def test_a_machine_without_a_network_reaches_emulated_boards_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "own_address", lambda: "")
    assert flash._address(config(tmp_path), running("wss://0.0.0.0:8765"), EMULATED) == ("127.0.0.1", 8765)
    with pytest.raises(ConfigError, match="cannot reach the gateway"):
        flash._address(config(tmp_path), running("wss://0.0.0.0:8765"), USB)
