"""What a device measured, against the profile it was measured under: accepted, or refused with a code. Pure.

`compile` turns a profile into msgspec types once, so that a frame of good values is checked in C while it is decoded. A
frame that those types refuse comes as `Rough` and is sorted here value by value: bad ones are kept apart with their
reason, their good neighbours go on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.device import wire
from gateway.errors import DeviceError
from gateway.model import Record, Refusal, Refused, Sample

MORE_COLUMNS: Final = 64
"""Columns a frame may have beyond those of its profile, as that of a newer firmware has. What is more would take memory
and a row in quarantine each."""


_to_json = json.JSONEncoder(ensure_ascii=False).encode  # kept: making one costs more than a value does


class Limits(Protocol):
    """What is known of a quantity: the part of `gateway.profile.Quantity` that matters here."""

    @property
    def unit(self) -> str: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def max_change_per_s(self) -> float | None: ...


class Sampled(Protocol):
    """The part of `gateway.profile.Sensor` that matters here."""

    @property
    def period_ms(self) -> int: ...


class ProfileLimits(Protocol):
    """The part of `gateway.profile.Profile` that matters here."""

    @property
    def hash(self) -> str: ...
    @property
    def quantities(self) -> Mapping[str, Limits]: ...
    @property
    def sensors(self) -> Mapping[str, Sampled]: ...
    @property
    def sleeps(self) -> bool: ...


class Base(NamedTuple):
    """From what the next value of a quantity is judged: the newest accepted one, and a newer one that jumped."""

    t_ms: int
    value: float
    jump: tuple[int, float] | None = None


Trend: TypeAlias = Mapping[str, Base]
"""`Base` of each quantity with a rate limit, within one boot. Never changed: each check returns the next one."""


class Checked(NamedTuple):
    """Records to keep, in order of seq and without a hole; what to tell the device; what to judge its next frame by."""

    records: tuple[Record, ...]
    error: DeviceError | None
    trend: Trend


class CheckedLatest(NamedTuple):
    values: dict[str, float]
    error: DeviceError | None


def compile(profile: ProfileLimits) -> Checker:
    """The checker for samples taken under `profile`. Costs milliseconds: keep it as long as the profile."""
    return Checker(profile)


class Checker:
    """Checks frames of one profile. Holds no state: one serves any number of devices."""

    def __init__(self, profile: ProfileLimits) -> None:
        self.profile = profile.hash
        self.periods_ms = tuple(sensor.period_ms for sensor in profile.sensors.values())
        """How often each sensor is read."""
        self.sleeps = profile.sleeps
        """Whether the board sleeps between samples."""
        self._limits = dict(profile.quantities)
        self._names = tuple(self._limits)
        self._rates = {n: q.max_change_per_s for n, q in self._limits.items() if q.max_change_per_s is not None}
        value: dict[str, Any] = {name: _bounded(quantity) | None for name, quantity in self._limits.items()}
        self.decoder = wire.decoder(
            _values_type("Columns", {name: list[kind] | UnsetType for name, kind in value.items()}),  # type: ignore[valid-type]  # made at run time
            _values_type("Newest", {name: kind | UnsetType for name, kind in value.items()}),
        )

    def samples(self, message: wire.Samples[Any] | wire.Rough, text: str, trend: Trend) -> Checked:
        """The samples of one frame, whose text is `text`. A frame refused as a whole becomes one `Refused`."""
        try:
            if isinstance(message, wire.Rough):
                return self._sort(message, trend)
            columns = self._columns(message)
        except DeviceError as error:
            body = message.body if isinstance(message, wire.Rough) else msgspec.to_builtins(message)
            return Checked((refused(message.boot, message.seq, length(body), text, error),), error, trend)
        return self._finish(message.boot, message.seq, message.t, columns, {}, trend)

    def latest(self, message: wire.Latest[Any] | wire.Rough) -> CheckedLatest:
        """The values that are good, and the error of the first that is not. Raises DeviceError for a bad frame."""
        if isinstance(message, wire.Rough):
            return self._sort_latest(message)
        values = zip(self._names, msgspec.structs.astuple(message.values), strict=True)
        return CheckedLatest({name: value for name, value in values if value is not UNSET and value is not None}, None)

    def _columns(self, message: wire.Samples[Any]) -> list[tuple[str, list[float | None]]]:
        columns = []
        for name, column in zip(self._names, msgspec.structs.astuple(message.values), strict=True):
            if column is not UNSET:
                if len(column) != len(message.t):
                    raise _uneven(message.boot, message.seq, name, len(column), len(message.t))
                columns.append((name, column))
        return columns

    def _finish(
        self,
        boot: int,
        seq: int,
        times: Sequence[int],
        columns: Sequence[tuple[str, list[float | None]]],
        refusals: dict[int, list[Refusal]],
        trend: Trend,
    ) -> Checked:
        if self._rates:
            trend = self._check_rates(times, columns, refusals, trend)
        records = tuple(
            Sample(
                seq=seq + place,
                t_ms=t_ms,
                values={name: value for name, column in columns if (value := column[place]) is not None},
                refused=tuple(refusals[place]) if place in refusals else (),
            )
            for place, t_ms in enumerate(times)
        )
        return Checked(records, _first_error(boot, seq, refusals), trend)

    def _check_rates(
        self,
        times: Sequence[int],
        columns: Iterable[tuple[str, list[float | None]]],
        refusals: dict[int, list[Refusal]],
        trend: Trend,
    ) -> Trend:
        """Takes out of `columns` what changed faster than it can, and adds it to `refusals`."""
        bases = dict(trend)
        for name, column in columns:
            if (limit := self._rates.get(name)) is None:
                continue
            for place, value in enumerate(column):
                if value is None:
                    continue
                base = bases.get(name)
                if base is None or abs(value - base.value) <= limit:  # what `follow` would say of nearly every value
                    bases[name] = Base(times[place], value)
                    continue
                bases[name] = following = follow(base, times[place], value, limit)
                if following.jump is not None:
                    column[place] = None
                    fastest = f"{limit:g} {self._limits[name].unit}".rstrip()
                    reason = f"{name} {value:g} after {base.value:g}: it changes by {fastest} per second at most"
                    refusals.setdefault(place, []).append(Refusal(name, _text(value), "value.rate", reason))
        return bases

    def _sort(self, rough: wire.Rough, trend: Trend) -> Checked:
        """Value by value. Raises DeviceError where the frame as a whole is of no use."""
        times, values = _table(rough)
        self._check_width(values)
        columns: list[tuple[str, list[float | None]]] = []
        refusals: dict[int, list[Refusal]] = {}
        for name, column in values.items():
            if name not in self._limits:
                if refused_from := _unknown(name, column):
                    place, refusal = refused_from
                    refusals.setdefault(place, []).append(refusal)
                continue
            good: list[float | None] = []
            for place, value in enumerate(column):
                wrong = self._refusal(name, value)
                if wrong is not None:
                    refusals.setdefault(place, []).append(wrong)
                good.append(None if wrong is not None or value is None else float(value))
            columns.append((name, good))
        return self._finish(rough.boot, rough.seq, times, columns, refusals, trend)

    def _sort_latest(self, rough: wire.Rough) -> CheckedLatest:
        values = rough.body.get("values")
        if not isinstance(values, dict) or not _is_time(rough.body.get("t")):
            raise rough.error
        self._check_width(values)
        refusals = [r for name, value in values.items() if (r := self._refusal(name, value)) is not None]
        wrong = {refusal.quantity for refusal in refusals}
        good = {n: float(v) for n, v in values.items() if v is not None and wire.clean(n, wire.MAX_NAME) not in wrong}
        return CheckedLatest(good, _first_error(rough.boot, None, {0: refusals} if refusals else {}))

    def _check_width(self, values: Mapping[str, Any]) -> None:
        most = len(self._limits) + MORE_COLUMNS
        if len(values) > most:
            raise DeviceError("frame.columns", f"{len(values)} columns; {most} are allowed with this profile")

    def _refusal(self, name: str, value: Any) -> Refusal | None:
        """Why `value` cannot be kept under `name`, or None when it can."""
        if value is None:
            return None
        limits = self._limits.get(name)
        if limits is None:
            return _no_quantity(name, value)
        shown = wire.clean(name, wire.MAX_NAME)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return Refusal(shown, _text(value), "value.type", f"{shown} must be a number or null")
        if isinstance(value, float) and not math.isfinite(value):
            return Refusal(shown, _text(value), "value.finite", f"{shown} is {value}, which is no number")
        if not limits.low <= value <= limits.high:
            text = _text(value)
            reason = f"{shown} {text} is outside {limits.low:g}..{limits.high:g} {limits.unit}".rstrip()
            return Refusal(shown, text, "value.range", wire.clean(reason, wire.MAX_TEXT))
        return None


def follow(base: Base | None, t_ms: int, value: float, limit: float) -> Base:
    """The base after `value` at `t_ms`; `jump` is set where it changed faster than `limit` per second and is refused.

    Two values in a row that agree with each other re-base: a true step costs its first value only. Changes are judged
    over a second at least, because within less the noise of a sensor would look fast."""

    def near(from_ms: int, from_value: float) -> bool:
        return abs(value - from_value) <= limit * max(1.0, (t_ms - from_ms) / 1000)

    if base is None or near(base.t_ms, base.value) or (base.jump is not None and near(*base.jump)):
        return Base(t_ms, value)
    return Base(base.t_ms, base.value, (t_ms, value))


def refused(boot: int, seq: int, count: int, text: str, error: DeviceError) -> Refused:
    """The record of a frame that is of no use as a whole. Gives `error` its place."""
    error.boot, error.seq = boot, seq
    return Refused(
        seq=seq,
        to=seq + max(1, count) - 1,
        raw=text[: wire.MAX_RAW],
        code=error.wire_code,
        reason=wire.clean(str(error), wire.MAX_TEXT),
    )


def _values_type(title: str, fields: Mapping[str, Any]) -> type[Struct]:
    """A struct of optional fields. They are numbered inside: a quantity may be called `class`."""
    numbered = [
        (f"q{i}", kind, msgspec.field(default=UNSET, name=name)) for i, (name, kind) in enumerate(fields.items())
    ]
    return msgspec.defstruct(title, numbered, forbid_unknown_fields=True)


def _bounded(quantity: Limits) -> Any:
    return Annotated[float, Meta(ge=quantity.low, le=quantity.high)]


def _table(rough: wire.Rough) -> tuple[list[int], dict[str, list[Any]]]:
    """Times and columns of a frame whose values may be anything. Raises DeviceError for all that is not a value."""
    times, values = rough.body.get("t"), rough.body.get("values")
    if not isinstance(times, list):
        raise DeviceError("frame.field", "samples: `t` must be a list")
    if not isinstance(values, dict) or not all(isinstance(column, list) for column in values.values()):
        raise DeviceError("frame.field", "samples: `values` must be an object with a list per quantity")
    if not 1 <= len(times) <= wire.MAX_SAMPLES:
        raise DeviceError("frame.columns", f"{len(times)} samples in a frame; 1 to {wire.MAX_SAMPLES} are allowed")
    for name, column in values.items():
        if len(column) != len(times):
            raise _uneven(rough.boot, rough.seq, wire.clean(name, wire.MAX_NAME), len(column), len(times))
    if not all(_is_time(t_ms) for t_ms in times):
        raise DeviceError("frame.field", "samples: `t` holds integers from 0 to 2^53 - 1")
    return times, values


def _unknown(name: str, column: Sequence[Any]) -> tuple[int, Refusal] | None:
    """The one refusal of a column that is no quantity, and the place of its first value. None where it has none."""
    values = [value for value in column if value is not None]
    if not values:
        return None
    place = next(place for place, value in enumerate(column) if value is not None)
    return place, _no_quantity(name, values[0] if len(values) == 1 else values)


def _no_quantity(name: str, value: Any) -> Refusal:
    shown = wire.clean(name, wire.MAX_NAME)
    return Refusal(shown, _text(value), "value.unknown", f"'{shown}' is no quantity of the profile")


def _uneven(boot: int, seq: int, name: str, length: int, expected: int) -> DeviceError:
    return DeviceError("frame.columns", f"{name} has {length} values for {expected} samples", boot=boot, seq=seq)


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def length(body: Mapping[str, Any]) -> int:
    """How many samples a broken frame meant: the length of its longest list."""
    values = body.get("values")
    lists = [body.get("t"), *(values.values() if isinstance(values, dict) else [values])]
    return max((len(column) for column in lists if isinstance(column, list)), default=1)


def _first_error(boot: int, seq: int | None, refusals: Mapping[int, Sequence[Refusal]]) -> DeviceError | None:
    if not refusals:
        return None
    place = min(refusals)
    first = refusals[place][0]
    return DeviceError(first.code, first.reason, boot=boot, seq=None if seq is None else seq + place)


def _text(value: Any) -> str:
    """The JSON text of a value, as it is kept in quarantine."""
    return wire.clean(_to_json(value), wire.MAX_TEXT)
