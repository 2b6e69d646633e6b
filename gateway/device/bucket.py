"""How much may come, over a while: a token bucket. Pure."""

from __future__ import annotations


class Bucket:
    """Lets `per_s` a second through, and as many at once as `seconds` of that."""

    def __init__(self, per_s: float, *, seconds: float, now_ms: int) -> None:
        self._per_ms = per_s / 1000
        self._most = per_s * seconds
        self._left = self._most
        self._at_ms = now_ms

    def take(self, now_ms: int, count: int = 1) -> int:
        """Take `count`. Returns how many milliseconds too early that was, 0 when there were so many to take."""
        self._left = min(self._most, self._left + (now_ms - self._at_ms) * self._per_ms) - count
        self._at_ms = now_ms
        return 0 if self._left >= 0 else int(-self._left / self._per_ms) + 1

    def try_take(self, now_ms: int) -> bool:
        """Take one only if there is one."""
        if self.take(now_ms) == 0:
            return True
        self._left += 1
        return False
