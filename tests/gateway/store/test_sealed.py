"""Sealing a stream with a passphrase: nothing of it can be read or changed without, and memory stays small."""

from __future__ import annotations

import io
import random
import tracemalloc

import pytest

from gateway.errors import ConfigError
from gateway.store import sealed
from gateway.store.sealed import CHUNK_BYTES, Seal, Unsealed, check_passphrase, is_sealed

PASSPHRASE = "four words do well"
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 17]


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "LOG_N", 4)


def seal(data: bytes, step: int = 50_000) -> bytes:
    file = io.BytesIO()
    sealing = Seal(file, PASSPHRASE)
    for start in range(0, len(data), step):
        sealing.write(data[start : start + step])
    sealing.close()
    return file.getvalue()


def unseal(data: bytes, passphrase: str = PASSPHRASE, step: int = 33_333) -> bytes:
    unsealed, found = Unsealed(io.BytesIO(data), passphrase), b""
    while more := unsealed.read(step):
        found += more
    unsealed.finish()
    return found


def read_into(found: bytearray, data: bytes) -> None:
    """What was given out until an error is in `found`."""
    unsealed = Unsealed(io.BytesIO(data), PASSPHRASE)
    while more := unsealed.read(1_000):
        found += more


@pytest.mark.parametrize("size", SIZES)
def test_what_is_sealed_is_opened_whatever_its_length(size: int) -> None:
    data = random.Random(size).randbytes(size)
    hidden = seal(data)
    assert unseal(hidden) == data
    assert unseal(hidden, step=CHUNK_BYTES) == data
    assert size < 100 or data[:100] not in hidden


def test_the_same_twice_has_nothing_in_common() -> None:
    one, two = seal(bytes(1_000)), seal(bytes(1_000))
    assert one.partition(b"\n")[2] != two.partition(b"\n")[2]


def test_a_wrong_passphrase_is_one_sentence() -> None:
    for wrong in ("four words do wel", "four words do well ", "", PASSPHRASE.upper()):
        with pytest.raises(ConfigError, match=r"^the passphrase is wrong$"):
            unseal(seal(b"data"), wrong)


def test_the_same_letter_typed_in_two_ways_is_the_same() -> None:
    file = io.BytesIO()
    sealing = Seal(file, "caf\u00e9 and three more")
    sealing.close()
    assert unseal(file.getvalue(), "cafe\u0301 and three more") == b""


def test_every_changed_byte_is_found_before_anything_of_its_chunk_is_used() -> None:
    data = random.Random(1).randbytes(2 * CHUNK_BYTES + 100)
    hidden = seal(data)
    end_of_line = hidden.index(b"\n")
    places = [*random.Random(2).sample(range(len(hidden)), 60), 0, end_of_line - 1, end_of_line, len(hidden) - 1]
    for place in places:
        changed = bytearray(hidden)
        changed[place] ^= 1 << place % 8
        if not is_sealed(io.BytesIO(changed)):
            continue  # it is taken for a plain archive, which it is not
        found = bytearray()
        with pytest.raises(ConfigError) as caught:
            read_into(found, bytes(changed))
        assert "\n" not in str(caught.value)
        assert data.startswith(found)
        assert len(found) <= max(0, place - end_of_line) // CHUNK_BYTES * CHUNK_BYTES


def chunks(hidden: bytes) -> tuple[bytes, list[bytes]]:
    line, _, rest = hidden.partition(b"\n")
    size = CHUNK_BYTES + 16
    return line + b"\n", [rest[start : start + size] for start in range(0, len(rest), size)]


def test_chunks_left_out_exchanged_doubled_or_cut_off_are_found() -> None:
    line, (one, two, three) = chunks(seal(random.Random(3).randbytes(2 * CHUNK_BYTES + 100)))
    for parts in (
        [one, two],
        [one],
        [],
        [two, three],
        [one, three],
        [two, one, three],
        [one, one, two, three],
        [one, two, three, three],
        [one, two, three[:-1]],
        [one, two, three, b"x"],
    ):
        with pytest.raises(ConfigError, match="damaged or was changed, or not copied whole"):
            unseal(line + b"".join(parts))
    other_line, others = chunks(seal(bytes(2 * CHUNK_BYTES + 100)))
    with pytest.raises(ConfigError, match="damaged or was changed"):
        unseal(line + others[0] + two + three)
    with pytest.raises(ConfigError, match="damaged or was changed"):
        unseal(other_line + one + two + three)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (b"1 scrypt 30 8 1", "asks for more memory"),
        (b"1 scrypt 17 99 1", "asks for more memory"),
        (b"1 scrypt 17 8 99", "asks for more memory"),
        (b"1 scrypt 0 8 1", "asks for more memory"),
        (b"2 scrypt 4 8 1", "made by a newer mpy-gateway"),
        (b"1 scrypt 999 8 1", "damaged: its first line"),
        (b"1 argon2 4 8 1", "damaged: its first line"),
        (b"1 scrypt 5 8 1", "the passphrase is wrong"),
    ],
)
def test_a_first_line_that_asks_for_anything_else_is_refused_before_it_costs_anything(
    changed: bytes, says: str
) -> None:
    hidden = seal(b"data").replace(b"1 scrypt 4 8 1", changed)
    with pytest.raises(ConfigError, match=says):
        unseal(hidden)


def test_a_first_line_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="first line"):
        unseal(sealed.MAGIC + b"1 scrypt " + b"0" * 1_000_000)


def test_memory_does_not_grow_with_the_length() -> None:
    class Nowhere(io.RawIOBase):
        def write(self, data: object) -> int:
            return 0

    sealing, data = Seal(Nowhere(), PASSPHRASE), bytes(1 << 20)  # type: ignore[arg-type]  # only written to
    tracemalloc.start()
    for _ in range(64):
        sealing.write(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_short_passphrases_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 12 characters"):
        check_passphrase("x" * 11)
    check_passphrase("x" * 12)


def test_the_real_cost_is_what_stands_in_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 128 * sealed.R << sealed.LOG_N == 128 << 20
    assert sealed.LOG_N <= sealed.MOST_LOG_N
    assert sealed.R <= sealed.MOST_R
    assert sealed.P <= sealed.MOST_P
