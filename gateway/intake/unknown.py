"""Stands in for the checker of a profile the gateway does not have: what was taken under it is kept raw. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from gateway.device import wire
from gateway.errors import DeviceError
from gateway.intake.check import Checked, CheckedLatest, Trend, length, refused


class UnknownProfile:
    """Nobody can say what the samples of such a boot mean. They go to quarantine frame by frame and are acknowledged: a
    board that was flashed anew, or comes to a gateway that was, must not be locked out by what it took before."""

    decoder: Final = wire.ANY_PROFILE
    periods_ms: Final = ()
    sleeps: Final = False

    def __init__(self, profile: str) -> None:
        self.profile = profile

    def samples(self, message: wire.Samples[Any] | wire.Rough, text: str, trend: Trend) -> Checked:
        body = message.body if isinstance(message, wire.Rough) else msgspec.to_builtins(message)
        error = DeviceError("boot.profile", f"the gateway has no profile {self.profile}: kept aside as it came")
        return Checked((refused(message.boot, message.seq, length(body), text, error),), error, trend)

    def latest(self, message: wire.Latest[Any] | wire.Rough) -> CheckedLatest:
        return CheckedLatest({}, None)
