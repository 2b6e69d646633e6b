"""What a loaded profile offers, and how it is kept."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import ValidationError

from gateway.profile import Profile, find_node, load_profile
from tests.gateway.profile.node import CLIMATE, write_node


@pytest.fixture
def profile(tmp_path) -> Profile:
    return load_profile(write_node(tmp_path))


def test_the_climate_node_is_right():
    profile = load_profile(find_node("climate-node"))
    assert profile.node.title == "Climate node"
    assert profile.board.title == "ESP32-DevKitC V4"
    assert list(profile.sensors) == ["climate", "light", "vitals"]
    assert profile.sensors["climate"].address == 0x76
    assert profile.outputs["led"].pin == "GPIO2"
    assert profile.delivery.power_loss == "unsent"


def test_quantities_come_in_the_order_of_the_file_with_what_follows_from_them(profile):
    assert list(profile.quantities)[:4] == ["temperature", "humidity", "pressure", "rssi"]
    temperature = profile.quantities["temperature"]
    assert (temperature.low, temperature.high, temperature.decimals, temperature.max_change_per_s) == (-40, 85, 2, 5)
    assert profile.quantities["rssi"].decimals == 0
    assert profile.quantities["reset_cause"].labels[3] == "watchdog"
    assert profile.sensor_of("uptime") == "vitals"
    with pytest.raises(KeyError):
        profile.sensor_of("wind")


@pytest.mark.parametrize(
    ("precision", "decimals"), [("1", 0), ("5", 0), ("100.0", 0), ("0.1", 1), ("0.001", 3), ("1e-6", 6)]
)
def test_decimals_follow_from_precision(tmp_path, precision, decimals):
    text = f'{CLIMATE}[sensors.extra]\nchip = "extra"\nperiod_ms = 10\n[sensors.extra.quantities]\n'
    path = write_node(tmp_path, text=text + f'x = {{ unit = "V", range = [0, 100], precision = {precision} }}\n')
    (tmp_path / "sensors" / "extra.py").touch()
    assert load_profile(path).quantities["x"].decimals == decimals


def test_a_title_left_out_is_the_name_in_words(tmp_path):
    path = write_node(tmp_path, (', title = "Free memory"', ""), ('title = "LED"', ""))
    profile = load_profile(path)
    assert profile.quantities["free_heap"].title == "Free heap"
    assert profile.outputs["led"].title == "Led"


def test_every_node_has_the_commands_of_the_firmware(profile):
    assert [command.name for command in profile.commands] == ["ping", "identify", "restart"]
    (seconds,) = profile.commands[1].args
    assert (seconds.name, seconds.low, seconds.high, seconds.default) == ("seconds", 1, 60, 5)


def test_a_profile_cannot_be_changed(profile):
    with pytest.raises(ValidationError):
        profile.node.name = "other"


def test_a_profile_comes_back_from_its_json_as_it_was(profile):
    again = Profile.from_json(profile.to_json())
    assert again.sensors == profile.sensors
    assert again.board.pins == profile.board.pins
    assert again.hash == profile.hash
    assert list(again.quantities) == list(profile.quantities)
    assert again.quantities["reset_cause"].labels == profile.quantities["reset_cause"].labels
    assert again.to_json() == profile.to_json()


def test_json_that_is_no_profile_is_refused(profile):
    data = json.loads(profile.to_json())
    for change in ({"node": {}}, {"sensors": {"climate": {}}}, {"more": 1}):
        with pytest.raises(ValidationError):
            Profile.from_json(json.dumps(data | change).encode())


# -- the hash


def test_the_hash_is_16_hex_digits(profile):
    assert re.fullmatch(r"[0-9a-f]{16}", profile.hash)


@pytest.mark.parametrize(
    "change",
    [
        ("[node]", "# another comment\n\n[node]"),
        ('chip = "bme280"\nbus = "i2c0"\n', 'bus = "i2c0"\n# why\nchip = "bme280"\n'),
        ('kind = "i2c"\nscl = "GPIO22"\nsda = "GPIO21"', 'sda = "GPIO21"\nscl = "GPIO22"\nkind = "i2c"'),
        ("address = 0x76", "address = 118"),
        ("range = [-40, 85]", "range = [-40.0, 85.0]"),
        ("range = [0, 1e9]", "range = [0, 1_000_000_000]"),
        ('active = "high"\n', ""),
        ("frequency_hz = 400000\n", ""),
        (', title = "Temperature"', ""),
        ("[sensors.climate.quantities]\ntemperature =", "[sensors.climate]\nquantities.temperature ="),
        ("\n[delivery]", "allow_strap = false\n[delivery]"),
    ],
)
def test_the_hash_stays_when_the_same_is_written_differently(tmp_path, profile, change):
    if "quantities.temperature" in change[1]:
        text = CLIMATE.replace("\nhumidity =", "\nquantities.humidity =").replace(
            "\npressure =", "\nquantities.pressure ="
        )
        text = text.replace("[sensors.climate.quantities]\n", "").replace(
            "\ntemperature =", "\nquantities.temperature ="
        )
        assert load_profile(write_node(tmp_path, text=text)).hash == profile.hash
    else:
        assert load_profile(write_node(tmp_path, change)).hash == profile.hash


def test_the_hash_stays_when_tables_change_places_and_their_order_is_kept_for_the_page(tmp_path, profile):
    temperature, humidity = (next(x for x in CLIMATE.splitlines(True) if x.startswith(n)) for n in ("temp", "humid"))
    swapped = load_profile(write_node(tmp_path, (temperature + humidity, humidity + temperature)))
    assert swapped.hash == profile.hash
    assert list(swapped.quantities)[:2] == ["humidity", "temperature"]
    assert list(Profile.from_json(swapped.to_json()).quantities)[:2] == ["humidity", "temperature"]


@pytest.mark.parametrize(
    "change",
    [
        ("range = [-40, 85]", "range = [-40, 84]"),
        ("period_ms = 1000\n", "period_ms = 1001\n"),
        ('"Temperature"', '"Heat"'),
        ('"GPIO22"', '"GPIO23"'),
        ("ram_samples = 512", "ram_samples = 511"),
    ],
)
def test_the_hash_changes_with_what_is_said(tmp_path, profile, change):
    assert load_profile(write_node(tmp_path, change)).hash != profile.hash


def test_the_hash_covers_the_board(tmp_path, profile):
    board = (find_node("climate-node").parent.parent / "boards/esp32-devkitc.toml").read_text()
    (tmp_path / "esp32-devkitc.toml").write_text(board.replace("heap_bytes = 163840", "heap_bytes = 163841"))
    assert load_profile(write_node(tmp_path)).hash != profile.hash
