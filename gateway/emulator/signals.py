"""What a chip of an emulated board measures, as a script: `curve:20,5,period=24h + noise:0.1 + stuck:at=60s`.

Pure. A signal is a sum of terms, written like that or built in Python: `Curve(20, 5, period_s=86400) + Noise(0.1)`.
Checked here; the board's side (rom/scripted.py) gets integers only: thousandths of the quantity's unit, milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway.errors import ConfigError

LARGEST: Final = 1e6
"""A value's, either way: what the board's side computes with it then stays within its small integers."""
LONGEST_S: Final = 1e9
POINTS: Final = 100_000
TERMS: Final = 16
FOR_EVER_MS: Final = 1 << 50

_DEFAULT, _CONSTANT, _CURVE, _STEP, _DRIFT, _NOISE, _RECORDED = range(1, 8)
"""As rom/scripted.py has them."""


class Term:
    """One part of a signal. `+` makes sums."""

    def __add__(self, other: Term | Signal) -> Signal:
        return Signal((self,)) + other

    def words(self) -> tuple[int, ...]:
        """For the board's side: its kind, then what that needs."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Default(Term):
    """What the chip would measure without a script, its own noise included."""

    def words(self) -> tuple[int, ...]:
        return (_DEFAULT,)


@dataclass(frozen=True, slots=True)
class Constant(Term):
    value: float

    def words(self) -> tuple[int, ...]:
        return _CONSTANT, _thousandths(self.value)


@dataclass(frozen=True, slots=True)
class Curve(Term):
    """A sine: `mean` at first, `mean + amplitude` after a quarter of the period. `phase_s`: all so much later."""

    mean: float
    amplitude: float
    period_s: float
    phase_s: float = 0

    def words(self) -> tuple[int, ...]:
        period_ms = _ms(self.period_s)
        if period_ms < 2:
            raise ConfigError(f"a curve's period is at least 2 ms, not {self.period_s:g} s")
        return _CURVE, _thousandths(self.mean), _thousandths(self.amplitude), period_ms, _ms(self.phase_s)


@dataclass(frozen=True, slots=True)
class Step(Term):
    """`before`, and `after` from `at_s` on."""

    before: float
    after: float
    at_s: float

    def words(self) -> tuple[int, ...]:
        return _STEP, _thousandths(self.before), _thousandths(self.after), _ms(self.at_s)


@dataclass(frozen=True, slots=True)
class Drift(Term):
    """0 at first, `by` more in each `per_s`."""

    by: float
    per_s: float

    def words(self) -> tuple[int, ...]:
        if not (per_ms := _ms(self.per_s)):
            raise ConfigError("a drift needs a time: per=1h")
        return _DRIFT, _thousandths(self.by), per_ms


@dataclass(frozen=True, slots=True)
class Noise(Term):
    """Bell-shaped around 0, hardly ever beyond `width`; another value at each measurement."""

    width: float

    def words(self) -> tuple[int, ...]:
        if self.width < 0:
            raise ConfigError("a noise's width is not negative")
        return _NOISE, _thousandths(self.width)


@dataclass(frozen=True, slots=True)
class Recorded(Term):
    """(seconds, value) in the order of time, with straight lines between; level before the first and after the last.
    With `repeat` it starts again at the last."""

    points: tuple[tuple[float, float], ...]
    repeat: bool = False

    def words(self) -> tuple[int, ...]:
        flat = [word for at_s, value in self.points for word in (_ms(at_s), _thousandths(value))]
        if not flat or len(self.points) > POINTS:
            raise ConfigError(f"a recorded signal has 1 to {POINTS} points, not {len(self.points)}")
        if any(later <= earlier for earlier, later in zip(flat[::2], flat[2::2], strict=False)):
            raise ConfigError("the times of a recorded signal rise from point to point, by a millisecond at least")
        if self.repeat and not flat[-2]:
            raise ConfigError("a recorded signal that repeats lasts longer than 0 s")
        return _RECORDED, len(self.points), flat[-2] if self.repeat else 0, *flat


@dataclass(frozen=True, slots=True)
class Stuck(Term):
    """From `at_s` on, for `for_s` (None: for ever), the signal stays at what it was last; once in a sum."""

    at_s: float
    for_s: float | None = None

    def words(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Signal:
    """The sum of its terms. Where none gives a level (drift, noise and stuck do not), they are on top of `Default`."""

    terms: tuple[Term, ...]

    def __add__(self, other: Term | Signal) -> Signal:
        return Signal(self.terms + (other.terms if isinstance(other, Signal) else (other,)))

    def words(self, start_us: int) -> tuple[int, ...]:
        """What the board's side reads: when it began (CLOCK_MONOTONIC), from when to when it is stuck, how many terms,
        and those. Raises ConfigError."""
        stuck = [term for term in self.terms if isinstance(term, Stuck)]
        sums = [term for term in self.terms if not isinstance(term, Stuck)]
        if all(isinstance(term, Drift | Noise) for term in sums):
            sums.insert(0, Default())
        if len(stuck) > 1 or len(sums) > TERMS:
            raise ConfigError(f"a signal has {TERMS} terms at most, and `stuck` once at most")
        from_ms = until_ms = FOR_EVER_MS
        if stuck:
            from_ms = _ms(stuck[0].at_s)
            until_ms = FOR_EVER_MS if stuck[0].for_s is None else from_ms + _ms(stuck[0].for_s)
        return start_us, from_ms, until_ms, len(sums), *(word for term in sums for word in term.words())


def signal_of(given: Signal | Term | str | float, read: Callable[[str], str]) -> Signal:
    """Any form that a signal is given in, checked. `read` gives the text of a recorded file. Raises ConfigError."""
    if isinstance(given, str):
        signal = parse(given, read)
    elif isinstance(given, Signal):
        signal = given
    else:
        signal = Signal((given if isinstance(given, Term) else Constant(given),))
    signal.words(0)
    return signal


# As text.


def parse(text: str, read: Callable[[str], str]) -> Signal:
    """`text` as the command line and files have it. Raises ConfigError, which quotes the term that is wrong."""
    terms = []
    for part in text.split(" + "):
        try:
            terms.append(_term(part.strip(), read))
        except (ValueError, ConfigError) as error:
            raise ConfigError(f'the signal "{part.strip()}": {error}') from None
    return Signal(tuple(terms))


def _term(text: str, read: Callable[[str], str]) -> Term:
    kind, _, rest = text.partition(":")
    if kind == "csv":
        return _csv(rest, read)
    if kind not in _KINDS:
        return Constant(_number(text, f"a number, or one of {', '.join((*_KINDS, 'csv'))}"))
    make, parameters = _KINDS[kind]
    given: dict[str, float] = {}
    places = iter(parameters)
    for word in rest.split(",") if rest else ():
        name, equals, value = word.strip().partition("=")
        if not equals:
            name, value = next(places, ""), name
        if name not in parameters:
            raise ConfigError(f"`{word.strip()}` is not one of its parts: {_form(kind)}")
        is_time = parameters[name].endswith("_s")
        given[parameters[name]] = seconds(value) if is_time else _number(value, f"a number as {name}")
    try:
        return make(**given)
    except TypeError:  # one is missing
        raise ConfigError(f"something is missing: {_form(kind)}") from None


_KINDS: Final[dict[str, tuple[Callable[..., Term], dict[str, str]]]] = {
    # kind: what it makes, and which part becomes which argument, in the order in which they may go without a name
    "default": (Default, {}),
    "constant": (Constant, {"value": "value"}),
    "curve": (Curve, {"mean": "mean", "amplitude": "amplitude", "period": "period_s", "phase": "phase_s"}),
    "step": (Step, {"before": "before", "after": "after", "at": "at_s"}),
    "drift": (Drift, {"by": "by", "per": "per_s"}),
    "noise": (Noise, {"width": "width"}),
    "stuck": (Stuck, {"at": "at_s", "for": "for_s"}),
}


def _form(kind: str) -> str:
    """`step:BEFORE,AFTER,at=TIME`"""
    parts = [f"{name}=TIME" if field.endswith("_s") else name.upper() for name, field in _KINDS[kind][1].items()]
    return f"{kind}:{','.join(parts)}" if parts else kind


def _csv(rest: str, read: Callable[[str], str]) -> Recorded:
    name, _, option = rest.partition(",")
    if not name or option.strip() not in {"", "repeat"}:
        raise ConfigError("it is csv:FILE or csv:FILE,repeat")
    return Recorded(tuple(_rows(name, read(name))), repeat=bool(option))


def _rows(name: str, text: str) -> Iterator[tuple[float, float]]:
    """Lines of `seconds,value`. The first may be a heading; empty ones and those that begin with # say nothing."""
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.split(",")]
        if not line.strip() or line.startswith("#"):
            continue
        try:
            at_s, value = (float(cell) for cell in cells)
        except ValueError:
            if number == 1:
                continue
            raise ConfigError(f"{name}, line {number}: a line is `seconds,value`, not `{line[:40]}`") from None
        yield at_s, value


_UNITS: Final = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """`10s`, `500ms`, `2min`, `1.5h`, `1d`; a bare number is seconds."""
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text.strip()[len(number) :] or "s"
    if unit not in _UNITS:
        raise ConfigError(f"`{text}` is not a time: 500ms, 10s, 2min, 1h, 1d")
    return _number(number, "a time like 10s") * _UNITS[unit]


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"`{text}` is not {wanted}") from None


def _thousandths(value: float) -> int:
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise ConfigError(f"{value:g} is out of what can be emulated, -1e6 to 1e6")
    return round(value * 1000)


def _ms(duration_s: float) -> int:
    if not 0 <= duration_s <= LONGEST_S:
        raise ConfigError(f"{duration_s:g} s is no time to wait: 0 to 1e9 s")
    return round(duration_s * 1000)
