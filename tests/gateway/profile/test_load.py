"""Each mistake in a profile, and the line that says so."""

from __future__ import annotations

import re
import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.profile import ProfileError, hardware_dir, load_board, load_profile
from tests.gateway.profile.node import CLIMATE, DRIVERS, line_of, problems, write_node
from tests.toml_text import toml

BOARD = (hardware_dir() / "boards" / "esp32-devkitc.toml").read_text("utf-8")
LED = '[outputs.led]\nkind = "led"\npin = "GPIO2"\n'
ONEWIRE = """[buses.onewire0]
kind = "onewire"
data = "GPIO4"
[sensors.water]
chip = "vitals"
bus = "onewire0"
period_ms = 1000
quantities = { uptime2 = { unit = "s", range = [0, 1], precision = 1 } }
"""
TEMPERATURE = 'temperature = { unit = "°C", range = [-40, 85], precision = 0.01,'


def temperature(unit="°C", span="[-40, 85]", precision="0.01"):
    return TEMPERATURE, f'temperature = {{ unit = "{unit}", range = {span}, precision = {precision},'


ONEWIRE_TWO = """[sensors.ground]
chip = "ds18b20"
bus = "onewire0"
period_ms = 1000
quantities = { ground = { unit = "°C", range = [-55, 125], precision = 0.1, measures = "temperature" } }
"""


def soil(pin=None):
    where = f'pin = "{pin}"\n' if pin else ""
    return (
        "[sensors.vitals]\n",
        f"""[sensors.soil]
chip = "soil"
{where}period_ms = 1000
quantities = {{ moisture = {{ unit = "%", range = [0, 100], precision = 0.1 }} }}
[sensors.vitals]
""",
    )


def switched(quantity, span="[0, 100]", precision="1"):
    """A dimmer called lamp, and a sensor of outputs that tells of `quantity`."""
    return (
        "[outputs.led]",
        f"""[sensors.switched]
chip = "outputs"
period_ms = 1000
quantities = {{ {quantity} = {{ unit = "", range = {span}, precision = {precision} }} }}
[outputs.lamp]
kind = "dimmer"
pin = "GPIO4"
[outputs.led]""",
    )


def test_a_problem_names_file_line_and_key(tmp_path):
    path = write_node(tmp_path, ("period_ms = 1000\n", "period_ms = 5\n"))
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    line = line_of("period_ms = 1000")
    assert str(caught.value) == f"{path}:{line}: sensors.climate.period_ms: must be at least 10, not 5"


def test_all_problems_come_together_in_the_order_of_the_file(tmp_path):
    found = problems(
        tmp_path,
        ('title = "Climate node"', 'titel = "Climate node"'),
        ("frequency_hz = 400000", "frequency_hz = 5"),
        ("period_ms = 1000\n", "period_ms = 5\n"),
        temperature(unit="C"),
        ("range = [0, 100]", "range = [100, 0]"),
        ('chip = "vitals"', 'chip = "vitels"'),
        ('pin = "GPIO2"', 'pin = "GPIO34"'),
        ("ram_samples = 512", "ram_samples = 5"),
    )
    assert [line.split(": ")[0] for line in found] == [
        "node.title",
        "node.titel",
        "buses.i2c0.frequency_hz",
        "sensors.climate.period_ms",
        "sensors.climate.quantities.temperature.unit",
        "sensors.climate.quantities.humidity.range",
        "sensors.vitals.chip",
        "delivery.ram_samples",
    ]  # nothing is said of the LED's pin: which board it is on is not known while [node] is wrong


@pytest.mark.parametrize(
    ("change", "says"),
    [
        # keys
        (('active = "high"', 'activ = "high"'), 'outputs.led.activ: unknown key; did you mean "active"?'),
        (("[delivery]", "[delivry]"), 'delivry: unknown key; did you mean "delivery"?'),
        (
            ("precision = 0.01, max_change_per_s = 20", "precison = 0.01"),
            '.precison: unknown key; did you mean "precision"?',
        ),
        (('board = "esp32-devkitc"', ""), "node.board: is missing"),
        (('chip = "bme280"', "chip = 5"), 'sensors.climate.chip: must be text in "quotes", not 5'),
        (("period_ms = 1000\n", 'period_ms = "1 s"\n'), 'sensors.climate.period_ms: must be a whole number, not "1 s"'),
        (("period_ms = 1000\n", "period_ms = 1000.5\n"), "must be a whole number, not 1000.5"),
        (("period_ms = 1000\n", "period_ms = true\n"), "must be a whole number, not true"),
        (("period_ms = 1000\n", "period_ms = 86_400_001\n"), "must be at most 86_400_000, not 86400001"),
        (
            ("[sensors.vitals]\n", '[sensors.vitals]\nname = "x"\n'),
            "sensors.vitals.name: a table's name is its key: leave this out",
        ),
        (
            ('[outputs.led]\nkind = "led"', '[outputs]\nled = 5\n[outputs.lamp]\nkind = "led"'),
            "outputs.led: must be a table, not 5",
        ),
        (('kind = "i2c"', 'kind = "spi"'), 'buses.i2c0.kind: must be "i2c" or "onewire", not "spi"'),
        (
            ('kind = "led"', 'kind = "lamp"'),
            'outputs.led.kind: must be "led", "relay", "dimmer" or "pixels", not "lamp"',
        ),
        (('"unsent"', '"everything"'), 'delivery.power_loss: must be "none" or "unsent", not "everything"'),
        (("ram_samples = 512", "ram_samples = 15"), "delivery.ram_samples: must be at least 16, not 15"),
        # names
        (("[sensors.vitals]\n", '[sensors."Vi tals"]\nx = 1\n[sensors.vitals]\n'), '"Vi tals" is not a name'),
        (("\nhumidity =", "\nHumidity ="), '"Humidity" is not a name: a small letter'),
        (('name = "climate-node"', 'name = "climate/node"'), 'node.name: "climate/node" is not a name'),
        (("[buses.i2c0]", "[buses.wires]"), '"wires" is not a bus: it is called after its kind and number'),
        (('chip = "bme280"', 'chip = "../x"'), '"../x" is not a name'),
        (('board = "esp32-devkitc"', 'board = "../x"'), 'node.board: "../x" is not a name'),
        (
            ('title = "Climate node"', 'title = "a\\u001Bb"'),
            "node.title: must be 1 to 64 characters that can be printed",
        ),
        (('title = "Air pressure"', 'title = ""'), "must be 1 to 64 characters"),
        # quantities
        (temperature(span="[85, -40]"), "range: the low end, 85, must be below the high end, -40"),
        (temperature(span="[0, 0]"), "range: the low end, 0, must be below"),
        (temperature(span="[0]"), "range"),
        (temperature(span="[-inf, inf]"), "range[0]: must be a number, and finite, not -inf"),
        (temperature(precision="0.05"), "precision: must be 0.1, 0.01 ... 0.000001 or a whole number, not 0.05"),
        (temperature(precision="0"), "precision: must be 0.1"),
        (temperature(precision="-1"), "precision: must be 0.1"),
        (temperature(precision="1.5"), "precision: must be 0.1"),
        (temperature(precision="nan"), "precision: must be a number, and finite"),
        (("max_change_per_s = 5", "max_change_per_s = 0"), "max_change_per_s: must be above 0, not 0"),
        (("range = [0, 1e9]", "range = [0, 2e9]"), "uptime.range: 2000000000 in steps of 1 does not fit the 30 bits"),
        (temperature(span="[-11e6, 0]"), "does not fit the 30 bits a board counts with: stay below 10737418.24"),
        (("\nhumidity =", "\nrssi ="), "sensors.vitals.quantities.rssi: sensor climate measures a rssi already"),
        (("\nhumidity =", "\nseq ="), "sensors.climate.quantities.seq: stands for something else on MQTT"),
        (("labels = { 0 =", "labels = { 16 ="), "labels: 16 is outside the range 0 to 15"),
        (("labels = { 0 =", "labels = { zero ="), "labels.zero: must be a whole number"),
        (
            ('title = "Temperature"', 'labels = { 1 = "one" }'),
            "labels: are for whole numbers, and the precision is 0.01",
        ),
        # units
        (temperature(unit="C"), 'unit: "C" is not a unit that Home Assistant knows; did you mean "°C"?'),
        # buses
        (('bus = "i2c0"', 'bus = "i2c1"'), 'sensors.climate.bus: there is no [buses.i2c1]; did you mean "i2c0"?'),
        (("address = 0x76\n", ""), "sensors.climate.address: is missing: a sensor on an I2C bus has one"),
        (('bus = "i2c0"\n', ""), "sensors.climate.address: is for a sensor on a bus, and no bus is named"),
        (("address = 0x76", "address = 0x78"), "sensors.climate.address: must be at most 119, not 120"),
        (
            ("[buses.i2c0]", '[buses.i2c5]\nkind = "i2c"\nscl = "GPIO4"\nsda = "GPIO5"\n[buses.i2c0]'),
            "buses.i2c5: ESP32-DevKitC V4 has no such controller; it has: i2c0, i2c1",
        ),
        (
            ('[sensors.vitals]\nchip = "vitals"', '[sensors.vitals]\nchip = "vitals"\nbus = "i2c0"\naddress = 118'),
            "sensors.vitals.address: sensor climate answers to 0x76 on i2c0 already",
        ),
        (('scl = "GPIO22"\n', ""), 'buses.i2c0.scl: is missing: a bus of kind "i2c" has this wire'),
        (
            ('scl = "GPIO22"', 'scl = "GPIO22"\ndata = "GPIO4"'),
            'buses.i2c0.data: is no wire of a bus of kind "i2c"; it has scl and sda',
        ),
        (
            ("[buses.i2c0]", '[buses.onewire0]\nkind = "i2c"\nscl = "GPIO4"\nsda = "GPIO5"\n[buses.i2c0]'),
            'buses.onewire0.kind: is "i2c", so the bus is called i2c0',
        ),
        (
            ("[buses.i2c0]", '[buses.onewire0]\nkind = "onewire"\ndata = "GPIO34"\n[buses.i2c0]'),
            "buses.onewire0.data: GPIO34 is input only",
        ),
        (
            ("[sensors.vitals]\n", ONEWIRE + "address = 0x28\n[sensors.vitals]\n"),
            'sensors.water.address: is for I2C; on 1-Wire, options.rom = "28..." names one of several',
        ),
        # what is known of a chip
        (("address = 0x76", "address = 0x75"), "sensors.climate.address: 0x75: a BME280 can only have 0x76 or 0x77"),
        (
            ('bus = "i2c0"\naddress = 0x76\n', ""),
            "sensors.climate.bus: is missing: a BME280 is on a bus of kind i2c",
        ),
        (
            ('chip = "vitals"\n', 'chip = "vitals"\ncurrent_ma = 300\n'),
            "node.board: ESP32-DevKitC V4 gives 500 mA, and all of this takes up to 540.72 mA "
            "(sensor vitals 300, ESP32-DevKitC V4 240, sensor climate 0.72): give something",
        ),
        (
            ("[sensors.vitals]\n", ONEWIRE.replace("vitals", "bme280") + "[sensors.vitals]\n"),
            "sensors.water.bus: is of kind onewire, and a BME280 is on a bus of kind i2c",
        ),
        (
            ("[sensors.vitals]\n", ONEWIRE.replace("vitals", "ds18b20") + ONEWIRE_TWO + "[sensors.vitals]\n"),
            "sensors.ground.options.rom: is missing: there are 2 chips on onewire0",
        ),
        (soil("GPIO25"), "sensors.soil.pin: GPIO25 measures no voltage while Wi-Fi is on (it is on ADC2)"),
        (soil("GPIO23"), "sensors.soil.pin: GPIO23 measures no voltage (no ADC)"),
        (soil(), "sensors.soil.pin: is missing: a Capacitive soil probe has a pin of its own"),
        # outputs and inputs
        (('active = "high"', "count = 3"), "outputs.led.count: is for outputs of kind pixels, and this is a led"),
        (
            ("[outputs.led]", '[outputs.restart]\nkind = "relay"\npin = "GPIO4"\n[outputs.led]'),
            "outputs.restart: is the name of a command that every node has",
        ),
        (
            ("[outputs.led]", '[inputs.key]\nkind = "button"\npin = "GPIO4"\ntoggles = "lad"\n[outputs.led]'),
            'inputs.key.toggles: there is no [outputs.lad]; did you mean "led"?',
        ),
        (
            ("[outputs.led]", '[inputs.key]\nkind = "button"\npin = "GPIO4"\ntoggles = "led"\n[outputs.led]'),
            "inputs.key.toggles: an LED is for what the board itself has to show",
        ),
        (
            ("[outputs.led]", '[outputs.row]\nkind = "pixels"\nactive = "low"\npin = "GPIO4"\n[outputs.led]'),
            "outputs.row.active: pixels know no other way round",
        ),
        (switched("lump"), 'lump: nothing under [outputs] that can be told is called lump; did you mean "lamp"?'),
        (switched("led"), "led: nothing under [outputs] that can be told is called led"),
        (switched("lamp", precision="0.1"), "quantities.lamp.precision: must be 1: it is counted in whole numbers"),
        (switched("lamp", span="[0, 99]"), "quantities.lamp.range: must reach from 0 to 100: it can have all of these"),
        (
            ("[outputs.led]", '[inputs.key]\nkind = "button"\npin = "GPIO34"\n[outputs.led]'),
            "inputs.key.pin: GPIO34 has no pull resistor of its own, which a button needs",
        ),
        (
            ("[outputs.led]", '[inputs.key]\nkind = "button"\npin = "GPIO2"\n[outputs.led]'),
            "inputs.key.pin: GPIO2 must be low while the chip starts, and the circuit here pulls it high",
        ),
        # power
        (("[delivery]", '[power]\nsupply = "battery"\n[delivery]'), "power.battery_mah: is missing: how long"),
        (("[delivery]", "[power]\nbattery_mah = 2000\n[delivery]"), 'power.battery_mah: is for supply = "battery"'),
        (("[delivery]", "[power]\nsend_every_s = 60\n[delivery]"), "power.send_every_s: is for nodes that sleep"),
        (
            ("[delivery]", "[power]\ndeep_sleep = true\n[delivery]"),
            "sensors.climate.period_ms: a board that sleeps between samples starts anew for each: 5000 at least",
        ),
        (
            (
                "[outputs.led]",
                '[power]\ndeep_sleep = true\n[outputs.lamp]\nkind = "relay"\npin = "GPIO4"\n[outputs.led]',
            ),
            "outputs.lamp: a board in deep sleep drives no output and sees no button",
        ),
        (
            ('board = "esp32-devkitc"', 'board = "rp2-pico-w"\n[power]\ndeep_sleep = true'),
            "power.deep_sleep: Raspberry Pi Pico W forgets everything in deep sleep",
        ),
        # pins
        (('scl = "GPIO22"', 'scl = "GPIO2"'), "buses.i2c0.scl: GPIO2 must be low while the chip starts"),
        (('scl = "GPIO22"', 'scl = "GPIO21"'), "buses.i2c0.sda: GPIO21 is used by buses.i2c0.scl already"),
        (('pin = "GPIO2"', 'pin = "GPIO21"'), "outputs.led.pin: GPIO21 is used by buses.i2c0.sda already"),
        (('pin = "GPIO2"', 'pin = "GPIO99"'), "outputs.led.pin: ESP32-DevKitC V4 has no GPIO99"),
        (('pin = "GPIO2"', 'pin = "2"'), 'outputs.led.pin: "2" is not a pin: write it as the board file does'),
        (('pin = "GPIO2"', 'pin = "GPIO1"'), "outputs.led.pin: GPIO1 is reserved: USB serial, TX"),
        (('pin = "GPIO2"', 'pin = "GPIO6"'), "outputs.led.pin: GPIO6 is reserved: flash"),
        (('pin = "GPIO2"', 'pin = "GPIO34"'), "outputs.led.pin: GPIO34 is input only"),
        (('sda = "GPIO21"', 'sda = "GPIO39"'), "buses.i2c0.sda: GPIO39 is input only"),
        (('chip = "vitals"\n', 'chip = "vitals"\npin = "GPIO15"\n'), "nobody knows what the circuit here does"),
        (
            ('active = "high"', 'active = "low"'),
            "GPIO2 must be low while the chip starts, and the circuit here pulls it high",
        ),
        (('sda = "GPIO21"', 'sda = "GPIO12"'), "(high at reset selects 1.8 V flash: the board does not start)"),
        # memory
        (("ram_samples = 512", "ram_samples = 4096"), "take more than a quarter of the 163840 bytes"),
        (
            ('power_loss = "unsent"', 'power_loss = "unsent"\nflash_bytes = 4000000'),
            "delivery.flash_bytes: 4000000 bytes for samples do not fit beside the firmware",
        ),
        # drivers
        (('chip = "bme280"', 'chip = "bme281"'), 'sensors.climate.chip: no driver for "bme281": there is neither '),
        (
            ("\nhumidity =", "\nwetness ="),
            'quantities.wetness: the driver of "bme280" does not measure this; it measures temperature',
        ),
        (temperature(precision="0.001"), 'a precision of 0.001 is finer than the driver of "bme280" gives, 0.01'),
        # boards
        (
            ('board = "esp32-devkitc"', 'board = "esp32-devkit"'),
            'no board is called "esp32-devkit"; did you mean "esp32-devkitc"?',
        ),
        (
            ('board = "esp32-devkitc"', 'board = "z80"'),
            'no board is called "z80"; there are: esp32-c3, esp32-devkitc, esp32-s3, rp2-pico-w',
        ),
    ],
)  # fmt: skip - one mistake a line
def test_a_mistake_is_said_once_with_its_key(tmp_path, change, says):
    found = problems(tmp_path, change)
    assert len([line for line in found if says in line]) == 1, found


@pytest.mark.parametrize(
    "change",
    [
        ('scl = "GPIO22"', 'scl = "GPIO15"'),  # pulled up, as the chip wants it
        ('pin = "GPIO2"\nactive = "high"', 'pin = "GPIO5"\nactive = "low"'),
        ('pin = "GPIO2"\nactive = "high"', 'pin = "GPIO15"\nallow_strap = true'),
        ('chip = "vitals"\n', 'chip = "vitals"\npin = "GPIO34"\n'),
        ('chip = "vitals"\n', 'chip = "vitals"\npin = "GPIO15"\nallow_strap = true\n'),
        ('chip = "vitals"\n', 'chip = "vitals"\noptions = { gain = 2, mode = "fast", on = true, k = 0.5 }\n'),
        ("period_ms = 1000\n", "period_ms = 10\n"),
        ("period_ms = 1000\n", "period_ms = 86_400_000\n"),
    ],
)
def test_what_is_harmless_is_allowed(tmp_path, change):
    assert problems(tmp_path, change) == []


def test_a_chip_that_wants_another_supply_than_the_board_gives_is_refused(tmp_path):
    (tmp_path / "chips").mkdir()
    facts = '[chip]\ntitle = "BME281"\ndatasheet = "none"\nbus = "i2c"\nsupply_v = [4.5, 5.5]\n[pins]\nVCC = "3V3"\n'
    (tmp_path / "chips" / "bme280.toml").write_text(facts)
    assert problems(tmp_path) == ["sensors.climate.chip: a BME281 wants 4.5 to 5.5 V, and the board gives 3.3 V"]
    (tmp_path / "chips" / "bme280.toml").write_text(facts.replace("3V3", "5V"))
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("node", "period_ms", "more", "says"),
    [("motion-node", 20, "", ""), ("motion-node", 300, "", "MPU-6050 measures each 1 to 256 ms"),
     ("air-node", 1000, "", "SCD41 measures each 5000 to 86400000 ms"),
     ("air-node", 5000, "[power]\ndeep_sleep = true\n", "so the board would never sleep: more than 5000"),
     ("air-node", 60000, "[power]\ndeep_sleep = true\n", "")],
)  # fmt: skip
def test_a_chip_measures_as_often_as_it_can_and_some_keep_the_board_awake(tmp_path, node, period_ms, more, says):
    text = (hardware_dir() / node / "profile.toml").read_text()
    path = tmp_path / "profile.toml"
    path.write_text(re.sub(r"period_ms = \d+", f"period_ms = {period_ms}", text, count=1) + more)
    if not says:
        assert load_profile(path).sensors
        return
    with pytest.raises(ProfileError, match=says):
        load_profile(path)


@pytest.mark.parametrize(
    ("scl", "sda", "says"),
    [("GP5", "GP4", ""), ("GP4", "GP5", "buses.i2c0.scl: GP4 cannot be scl of i2c0 on this board"),
     ("GP3", "GP2", "buses.i2c0.scl: GP3 cannot be scl of i2c0 on this board"),
     ("GP23", "GP4", "buses.i2c0.scl: GP23 is reserved: radio")],
)  # fmt: skip
def test_on_a_pico_each_controller_reaches_only_some_pins(tmp_path, scl, sda, says):
    found = problems(
        tmp_path,
        ('board = "esp32-devkitc"', 'board = "rp2-pico-w"'),
        ('scl = "GPIO22"', f'scl = "{scl}"'),
        ('sda = "GPIO21"', f'sda = "{sda}"'),
        ('pin = "GPIO2"', 'pin = "GP15"'),
        ("ram_samples = 512", "ram_samples = 512\nflash_bytes = 262144"),
    )
    assert len([line for line in found if says and says in line]) == bool(says), found
    assert bool(found) == bool(says)


def test_options_are_flat(tmp_path):
    (line,) = problems(tmp_path, ('chip = "vitals"\n', 'chip = "vitals"\noptions = { a = { b = 1 } }\n'))
    assert line == "sensors.vitals.options.a: must be text, a number, true or false"


def test_an_empty_profile_says_what_belongs_into_one(tmp_path):
    assert problems(tmp_path, text="") == [
        "node.board: is missing",
        "node.name: is missing",
        "node.title: is missing",
        "sensors: is missing: a node has at least one sensor, such as [sensors.climate]",
    ]


def test_a_sensor_without_quantities_says_so_once(tmp_path):
    assert problems(tmp_path, text=f'{CLIMATE}[sensors.extra]\nchip = "vitals"\nperiod_ms = 10\n') == [
        "sensors.extra.quantities: is missing: a sensor measures at least one quantity"
    ]


@pytest.mark.parametrize("key", ["node", "buses", "sensors", "outputs", "delivery"])
def test_a_value_where_a_table_belongs_is_one_problem(tmp_path, key):
    found = problems(tmp_path, text=f"{key} = 5\n")
    assert len([line for line in found if line.startswith(f"{key}: must be a table")]) == 1, found


ANYTHING = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.sampled_from(["", "GPIO2", "i2c0", "°C", "x" * 99]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "x", "unit", "1"]), inner),
    max_leaves=5,
)


@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_stands_anywhere_is_answered_with_a_sentence(tmp_path, data):
    document = tomllib.loads(CLIMATE)
    table = document
    while True:
        key = data.draw(st.sampled_from(sorted(table)))
        if not isinstance(table[key], dict) or not table[key] or data.draw(st.booleans()):
            break
        table = table[key]
    table[data.draw(st.sampled_from([key, "other", ""]))] = data.draw(ANYTHING)
    path = write_node(tmp_path, text=toml(document))
    try:
        load_profile(path)
    except ProfileError as error:
        for line in str(error).splitlines():
            assert re.match(rf"{path}:\d+: .+: .+", line)


def test_a_syntax_error_names_file_and_line(tmp_path):
    path = tmp_path / "profile.toml"
    path.write_text("[node]\nname = climate\n")
    with pytest.raises(ProfileError, match=rf"^{path}:2: not valid TOML: Invalid value$"):
        load_profile(path)


def test_a_file_that_is_not_there_or_not_text_is_one_line(tmp_path):
    with pytest.raises(ProfileError, match=r"profile.toml: cannot be read: No such file or directory$"):
        load_profile(tmp_path / "profile.toml")
    (tmp_path / "profile.toml").write_bytes(b"\xff")
    with pytest.raises(ProfileError, match=r"profile.toml: is not UTF-8 text$"):
        load_profile(tmp_path / "profile.toml")


def test_a_missing_driver_names_both_places(tmp_path):
    path = write_node(tmp_path, ('chip = "bme280"', 'chip = "sht99"'))
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert str(tmp_path / "sensors" / "sht99.py") in str(caught.value)
    assert "firmware/device/sensors/sht99.py" in str(caught.value)


def test_a_driver_is_looked_at_and_never_run(tmp_path):
    path = write_node(tmp_path)
    driver = tmp_path / "sensors" / "bme280.py"
    driver.write_text('import machine\nraise SystemExit("was run")\n' + DRIVERS["bme280"])
    load_profile(path)
    driver.write_text("import machine\nQUANTITIES = make()\n")  # not written out: nothing to compare with
    load_profile(path)
    for no_text in (b"\xff\xfe", b"a = '\x00'"):
        driver.write_bytes(no_text)
        with pytest.raises(ProfileError, match=r"is not valid Python"):
            load_profile(path)
    driver.write_text("def f(:\n")
    with pytest.raises(ProfileError, match=r'climate.chip: the driver of "bme280" is not valid Python: line 1'):
        load_profile(path)


# -- boards


def board_problems(tmp_path, *changes):
    text = BOARD
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path / "esp32-devkitc.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ProfileError) as caught:
        load_board(path)
    return str(caught.value).replace(str(path), "board")


def test_the_board_is_right():
    board = load_board(hardware_dir() / "boards" / "esp32-devkitc.toml")
    assert board.pins["GPIO12"].strap == "low"
    assert board.pins["GPIO34"].can == ("in", "adc")
    headers = [pin.header for pin in board.pins.values()]
    assert len(set(headers)) == len(headers), "two pins at one place"


def test_a_boards_mistakes_come_together_with_their_lines(tmp_path):
    text = board_problems(
        tmp_path,
        ("heap_bytes = 163840", "heap = 163840"),
        ('can = ["in", "adc"], pulls = false, header = "J2-5"', 'can = ["in", "digital"], header = "J2-5"'),
        ('strap = "high", header = "J3-10"', 'strap = 1, header = "J3-10"'),
    )
    lines = text.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "board.heap_bytes",
        "board.heap",
        "pins.GPIO5.strap",
        "pins.GPIO34.can[1]",
    ]
    assert lines[3].startswith(f"board:{line_of('GPIO34', BOARD)}: ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('name = "esp32-devkitc"', 'name = "other"'), 'board.name: must be "esp32-devkitc", as the file is called'),
        (("[pins]", "[pinz]"), 'pinz: unknown key; did you mean "pins"?'),
        (("GPIO4 =", "D4x ="), '"D4x" is not a pin'),
        (
            ('chip = "esp32"', 'chip = "avr"'),
            'board.chip: must be "esp32", "esp32c3", "esp32s3" or "rp2040", not "avr"',
        ),
    ],
)
def test_a_boards_mistake_is_said(tmp_path, change, says):
    assert says in board_problems(tmp_path, change)


def test_a_broken_board_beside_the_profile_is_reported_with_the_profiles_own_mistakes(tmp_path):
    (tmp_path / "esp32-devkitc.toml").write_text(BOARD.replace("heap_bytes", "heap"))
    path = write_node(tmp_path, ("period_ms = 1000\n", "period_ms = 5\n"))
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    files = {line.split(":")[0] for line in str(caught.value).splitlines()}
    assert files == {str(path), str(tmp_path / "esp32-devkitc.toml")}


def test_nothing_of_a_file_reaches_the_terminal_raw(tmp_path):
    path = write_node(tmp_path, text='[node]\n"\\u001b[2J" = 1\nname = "\\u001b]0;x\\u0007"\nboard = 5\n')
    with pytest.raises(ProfileError) as caught:
        load_profile(path)
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert 'node."?[2J": unknown key' in str(caught.value)
