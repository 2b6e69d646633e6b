"""`--signal` and `--signals`: read, refused with file, line and key, and followed while the boards run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.cli import scripts
from gateway.emulator import EmulatedBoard
from gateway.emulator.signals import Constant, Recorded, Signal, Step
from gateway.errors import ConfigError
from tests.aio import run, until


def test_options_come_over_the_file_and_recordings_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("0,1\n9,2\n")
    file = tmp_path / "signals.toml"
    file.write_text('[climate]\ntemperature = "csv:day.csv"\nhumidity = 45\npressure = "1000"\n')
    assert scripts.signals_of(["climate.humidity=step:1,2,at=3s"], file) == {
        "climate.temperature": Signal((Recorded(((0, 1), (9, 2))),)),
        "climate.humidity": Signal((Step(1, 2, 3),)),
        "climate.pressure": Signal((Constant(1000),)),
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[climate]\n\nhumidity = true\n", ":3: climate.humidity: must be a number or a text"),
        ("temperature = 3\n", ":1: temperature: must be a number or a text"),
        ('[climate]\ntemperature = "steep"\n', ':2: climate.temperature: the signal "steep"'),
        ('[climate]\ntemperature = "csv:none"\n', "none cannot be read: No such file"),
        ("[climate]\nhumidity = \n", ":2: "),
    ],
)
def test_a_wrong_file_is_named_with_line_and_key(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "signals.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        scripts.signals_of([], file)
    assert sentence in str(caught.value)
    assert str(file) in str(caught.value) or "none" in text


def test_an_option_without_a_name_says_its_form() -> None:
    with pytest.raises(ConfigError, match=r"--signal 21: it is SENSOR.QUANTITY=SIGNAL"):
        scripts.signals_of(["21"], None)


class Board:
    def __init__(self) -> None:
        self.given: list[Any] = []

    def signal(self, name: str, given: Any) -> None:
        self.given.append((name, given))


def test_what_changes_in_the_file_goes_to_the_boards_and_a_mistake_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts, "LOOK_S", 0.01)
    file = tmp_path / "signals.toml"
    file.write_text("[climate]\ntemperature = 20\nhumidity = 45\n")
    board, said = Board(), list[str]()

    async def scenario() -> None:
        task = asyncio.create_task(scripts.follow(file, [cast(EmulatedBoard, board)], said.append))
        await asyncio.sleep(0)
        file.write_text("[climate]\ntemperature = 2x\n")
        await until(lambda: len(said) == 1, what="the mistake")
        file.write_text("[climate]\ntemperature = 21\n")
        await until(lambda: len(said) == 2, what="the change")
        task.cancel()

    run(scenario())
    assert board.given == [("climate.humidity", None), ("climate.temperature", Signal((Constant(21),)))]
    assert "nothing changed: " in said[0]
    assert f"{file}:2" in said[0]
