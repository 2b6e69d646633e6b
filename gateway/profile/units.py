"""The units Home Assistant knows, and what somebody probably meant who wrote another. Pure.

Source: Home Assistant, `homeassistant/components/sensor/const.py` and `homeassistant/const.py`, mid-2025. An entity
whose unit does not fit its device class is refused there, so a profile is refused here first. The degree sign is
U+00B0, micro is Greek mu, U+03BC (since August 2025; the older micro sign, U+00B5, looks the same).
"""

from __future__ import annotations

import unicodedata

_MEASURES: dict[str, str] = {
    "temperature": "°C °F K",
    "humidity, moisture, battery": "%",
    "pressure": "mPa Pa hPa kPa mbar cbar bar mmHg inHg inH₂O psi",
    "illuminance": "lx",
    "irradiance": "W/m² BTU/(h⋅ft²)",
    "concentration": "ppm ppb μg/m³ mg/m³ μg/ft³ p/m³ g/m³ mg/dL mmol/L",
    "voltage": "μV mV V kV MV",
    "current": "mA A",
    "power": "mW W kW MW GW TW BTU/h",
    "apparent power": "mVA VA kVA",
    "reactive power": "mvar var kvar",
    "energy": "J kJ MJ GJ mWh Wh kWh MWh GWh TWh cal kcal Mcal Gcal",
    "reactive energy": "varh kvarh",
    "frequency": "Hz kHz MHz GHz",
    "signal strength": "dB dBm",
    "sound pressure": "dB dBA",
    "duration": "d h min s ms μs",
    "distance": "mm cm m km in ft yd mi nmi",
    "speed": "mm/s m/s m/min km/h in/s ft/s mph kn Beaufort",
    "acceleration": "m/s²",  # it and the next have no device class there: an entity without one may have any unit
    "angular velocity": "°/s",
    "rain": "mm/h mm/d in/h in/d",
    "volume": "mL L m³ ft³ CCF MCF gal fl. oz.",
    "volume flow": "mL/s L/s L/min L/h m³/s m³/min m³/h ft³/min gal/min",
    "weight": "μg mg g kg oz lb st",
    "conductivity": "μS/cm mS/cm S/cm",
    "angle": "°",
    "blood glucose": "mg/dL mmol/L",
    "area": "mm² cm² m² km² ha",
    "light": "UV index",
    "rotation": "rpm",
    "data size": "bit kbit Mbit Gbit B kB MB GB TB KiB MiB GiB TiB",
    "data rate": "bit/s kbit/s Mbit/s Gbit/s B/s kB/s MB/s GB/s KiB/s MiB/s GiB/s",
}
_WITH_SPACES = ("fl. oz.", "UV index")

UNITS: frozenset[str] = frozenset(
    {unit for units in _MEASURES.values() for unit in units.split()} - {"fl.", "oz.", "UV", "index"}
    | {"oz", *_WITH_SPACES, ""}
)
"""What a profile may write. `""` is for what has no unit: a count, a pH, an air quality index, a code with labels."""

_WORDS = {
    "°C": "celsius centigrade degc",
    "°F": "fahrenheit degf",
    "K": "kelvin",
    "°": "deg degree degrees",
    "%": "percent rh %rh",
    "lx": "lux",
    "V": "volt volts",
    "A": "ampere amperes amps",
    "W": "watt watts",
    "Pa": "pascal",
    "Hz": "hertz",
    "s": "sec second seconds",
    "min": "minute minutes",
    "h": "hour hours",
    "d": "day days",
    "m": "metre meter metres meters",
    "L": "litre liter litres liters",
    "g": "gram grams",
    "B": "byte bytes",
    "": "- 1 none ph aqi",
}
_MEANT = {word: unit for unit, words in _WORDS.items() for word in words.split()}


def unit_problem(unit: str) -> str | None:
    """What is wrong with `unit`, as a sentence with a hint; None where Home Assistant takes it."""
    if unit in UNITS:
        return None
    return f'"{unit}" is not a unit that Home Assistant knows{_hint(unit)}'


def _hint(unit: str) -> str:
    if (meant := _MEANT.get(unit.strip().casefold())) is not None:
        return f'; did you mean "{meant}"?' if meant else '; what has no unit is written ""'
    same = sorted(known for known in UNITS if _plain(known) == _plain(unit))
    exact_case = [known for known in same if _plain(known, fold=False) == _plain(unit, fold=False)]
    if meant_any := exact_case or same:
        return "; did you mean " + " or ".join(f'"{known}"' for known in meant_any) + "?" + _unseen(unit, meant_any[0])
    return '; hardware/README.md lists them, and what has no unit is written ""'


def _plain(unit: str, *, fold: bool = True) -> str:
    """As somebody types it without the special characters: `°C` is `C`, `μg/m³` is `ug/m3`."""
    text = unicodedata.normalize("NFKC", unit.replace("º", "")).replace("μ", "u")
    text = "".join(char for char in text if char not in "°^·⋅ ")
    return text.casefold() if fold else text


def _unseen(wrong: str, right: str) -> str:
    """Names the characters where two units look alike."""
    look_alikes = {
        "\u00b5": "U+00B5, the micro sign; Home Assistant wants U+03BC, Greek mu",
        "\u00ba": "U+00BA, the ordinal sign; the degree sign is U+00B0",
    }
    return "".join(f" (this has {text})" for char, text in look_alikes.items() if char in wrong and char not in right)
