"""What a driver says it measures. It is a MicroPython file: its source is looked at, never run. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gateway.profile.model import Quantity, Sensor


def measured(source: str) -> dict[str, int] | None:
    """Quantity -> decimals, from `QUANTITIES = (("temperature", 2), ...)`; None: not written out like this.

    Raises SyntaxError."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign) and [ast.unparse(target) for target in statement.targets] == [
            "QUANTITIES"
        ]:
            try:
                return {str(name): int(decimals) for name, decimals in ast.literal_eval(statement.value)}
            except (ValueError, TypeError):
                return None
    return None


def problems(sensor: Sensor, source: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """What of `sensor` its driver cannot do: key path inside the sensor's table, and a sentence."""
    try:
        gives = measured(source)
    except SyntaxError as error:
        yield ("chip",), f'the driver of "{sensor.chip}" is not valid Python: line {error.lineno}: {error.msg}'
        return
    except ValueError as error:  # null bytes, before Python 3.12
        yield ("chip",), f'the driver of "{sensor.chip}" is not valid Python: {error}'
        return
    for quantity in sensor.quantities.values() if gives is not None else ():
        if sentence := _quantity_problem(sensor, quantity, gives or {}):
            yield ("quantities", quantity.name), sentence


def _quantity_problem(sensor: Sensor, quantity: Quantity, gives: dict[str, int]) -> str | None:
    if quantity.of_chip not in gives:
        return f'the driver of "{sensor.chip}" does not measure this; it measures {", ".join(gives) or "nothing"}'
    if quantity.decimals > gives[quantity.of_chip]:
        step = 10.0 ** -gives[quantity.of_chip]
        return f'a precision of {quantity.precision:g} is finer than the driver of "{sensor.chip}" gives, {step:g}'
    return None
