"""Passwords: which are taken, and argon2id for keeping and checking them.

argon2id is slow and wants memory, that is its point; so that logins cannot eat the machine, one is computed at a time,
in a thread of its own, and few may wait.
"""

from __future__ import annotations

import asyncio
import functools
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from gateway.dashboard.accounts import PeopleError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

SHORTEST, LONGEST = 8, 1024
WAITING = 8
"""Most that may wait for their turn."""
KNOWN_WAITING = 16
"""So many where one of those who wait is known: a crowd of strangers must not keep everybody out."""
MEMORY_KIB, PASSES, LANES = 19 * 1024, 3, 1
"""A pass more than OWASP's least for argon2id: 30 ms and 19 MB on a PC, some 150 ms on a Raspberry Pi 4."""

NOBODYS = "$argon2id$v=19$m=19456,t=3,p=1$AvGmfuhiKDOiw6/kEBOBdA$MjFEX5cTS1sCpMR0Mv26W6RKngkHiyT7azX9v8DxdXI"
"""Checked where there is no account of that name, so that it takes the same time."""

_COMMON = frozenset({
    "password", "passwort", "password1", "password12", "password123", "passw0rd", "p@ssword", "p@ssw0rd",
    "12345678", "123456789", "1234567890", "12344321", "11223344", "123123123", "987654321", "qwertyui",
    "qwertyuiop", "qwerty123", "qwertz123", "1q2w3e4r", "1qaz2wsx", "asdfghjkl", "asdfasdf", "zxcvbnm1", "iloveyou",
    "sunshine", "princess", "football", "baseball", "superman", "starwars", "trustno1", "whatever", "computer",
    "internet", "letmein1", "welcome1", "welcome123", "changeme", "changeme1", "admin123", "admin1234",
    "administrator", "raspberry", "raspberrypi", "raspberry1", "mpy-gateway", "mpygateway", "micropython",
    "homeassistant",
})  # fmt: skip


def problem_with(password: str, name: str = "") -> str:
    """Why this cannot be the password of `name`, empty where it can. Length is what counts; what everybody tries
    first is refused."""
    plain = normal(password).lower()
    if not SHORTEST <= len(password) <= LONGEST:
        return f"A password has {SHORTEST} characters at least, and {LONGEST} at most."
    if plain in _COMMON or len(set(plain)) < 3 or (name and plain.strip("0123456789!") == name):
        return "Too many people have this password: a few words in a row are better."
    return ""


def normal(password: str) -> str:
    """The same characters, however a keyboard composed them."""
    return unicodedata.normalize("NFKC", password)


class Passwords:
    """Makes and checks hashes. Raises PeopleError `login.busy` where too many wait."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "passwords")
        self._pending = 0

    async def keep(self, password: str, name: str) -> str:
        """What is kept of `password`. Raises PeopleError `password.weak`."""
        if problem := problem_with(password, name):
            raise PeopleError(422, "password.weak", problem)
        return await self._in_turn(_hash, normal(password))

    async def check(self, password: str, kept: str | None, *, known: bool = False) -> bool:
        """Whether `kept` was made of `password`. None: there is no such account, which takes as long to find out.
        `known`: it comes from where it came from before."""
        most = KNOWN_WAITING if known else WAITING
        same = await self._in_turn(_verify, kept or NOBODYS, normal(password[:LONGEST]), most=most)
        return same and kept is not None

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(self, compute: Callable[..., T], *arguments: str, most: int = KNOWN_WAITING) -> T:
        if self._pending > most:
            raise PeopleError(503, "login.busy", "Too many are logging in at this moment: try again.")
        self._pending += 1
        work = asyncio.wrap_future(self._thread.submit(compute, *arguments))
        work.add_done_callback(self._done)  # not when the caller goes: the thread would still be busy
        return await asyncio.shield(work)

    def _done(self, _: object) -> None:
        self._pending -= 1


def _hash(password: str) -> str:
    return _argon2().hash(_bytes(password))


def _verify(kept: str, password: str) -> bool:
    from argon2.exceptions import Argon2Error, InvalidHashError  # noqa: PLC0415 - as below

    try:
        return _argon2().verify(kept, _bytes(password))
    except (Argon2Error, InvalidHashError):
        return False


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


@functools.cache
def _argon2() -> PasswordHasher:
    from argon2 import PasswordHasher  # noqa: PLC0415 - only where somebody logs in: start stays quick

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
