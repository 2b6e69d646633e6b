"""Which passwords are taken, and that argon2id keeps them."""

from __future__ import annotations

import asyncio

import pytest

from gateway.dashboard import passwords
from gateway.dashboard.accounts import PeopleError
from gateway.dashboard.passwords import NOBODYS, WAITING, Passwords, problem_with
from tests.aio import run


@pytest.mark.parametrize("password", ["correct horse", "a b c d ", "x" * 500 + "yz", "пароль-из-слов", "2 + 2 = 5"])
def test_length_is_what_counts(password: str) -> None:
    assert not problem_with(password, "anna")


@pytest.mark.parametrize(
    "password", ["", "seven77", "x" * 1025, "password", "PASSWORD", "12345678", "aaaaaaaaaa", "ababababab", "annabell1"]
)
def test_what_everybody_tries_first_is_refused(password: str) -> None:
    assert problem_with(password, "annabell")


def test_what_is_kept_is_argon2id_and_opens_for_the_same_password_however_it_is_composed() -> None:
    async def main() -> None:
        keeper = Passwords()
        kept = await keeper.keep("cafe\u0301 au lait", "anna")
        assert kept.startswith("$argon2id$v=19$m=19456,t=3,p=1$")
        assert await keeper.check("caf\u00e9 au lait", kept)
        assert not await keeper.check("cafe au lait", kept)
        assert not await keeper.check("caf\u00e9 au lait", None)
        assert not await keeper.check("\ud800", kept), "whatever can come in JSON"
        assert not await keeper.check("anything", "no hash")
        keeper.close()

    run(main())


def test_a_name_that_nobody_has_takes_the_very_same_computation() -> None:
    assert not passwords._argon2().check_needs_rehash(NOBODYS)
    assert passwords._argon2().check_needs_rehash("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$" + "A" * 22)


def test_few_may_wait_and_one_computes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where those who asked have gone: the thread is still busy."""

    async def main() -> None:
        keeper, running, most = Passwords(), 0, 0
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def compute(_kept: str, _password: str) -> bool:
            nonlocal running, most
            running += 1
            most = max(most, running)
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)
            running -= 1
            return False

        monkeypatch.setattr(passwords, "_verify", compute)
        asking = [asyncio.create_task(keeper.check("a password", None)) for _ in range(WAITING + 1)]
        await asyncio.sleep(0)
        for task in asking[:5]:
            task.cancel()
        await asyncio.sleep(0)
        with pytest.raises(PeopleError, match="Too many"):
            await keeper.check("a password", None)
        asking.append(asyncio.create_task(keeper.check("a password", None, known=True)))
        await asyncio.sleep(0)
        assert not asking[-1].done(), "who is known may wait behind a crowd of strangers"
        release.set()
        await asyncio.gather(*asking, return_exceptions=True)
        assert most == 1
        assert not await keeper.check("a password", None)
        keeper.close()

    run(main())
