import os

import check
from device import fast

VERSIONS = [fast.plain, fast.chosen]  # the second is machine code where the port has it

GOOD = (
    b"",
    b"plain",
    "κόσμε".encode(),
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf",
)
BAD = (
    (b"\x80", 1),
    (b"a\xff", 2),
    (b"\xc0\x80", 1),
    (b"\xc1\xbf", 1),
    (b"\xe0\x9f\xbf", 2),
    (b"\xed\xa0\x80", 2),
    (b"\xf0\x8f\xbf\xbf", 2),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf5\x80\x80\x80", 1),
    (b"\xe2(\xa1", 2),
    (b"\xf0\x9f\x98(", 4),
)


def test_utf8_takes_what_is_valid_in_any_pieces():
    for _, utf8, _, _ in VERSIONS:
        for text in GOOD:
            state = 0
            for at in range(len(text)):
                state = utf8(state, text, at, at + 1)
                check.true(state >= 0)
            check.equal(state, 0)
            check.equal(utf8(0, text, 0, len(text)), 0)


def test_utf8_stops_at_the_first_byte_that_cannot_be():
    for _, utf8, _, _ in VERSIONS:
        for text, fails_at in BAD:
            check.true(utf8(0, text, 0, fails_at - 1) >= 0)
            check.equal(utf8(0, text, 0, fails_at), -1)


def test_utf8_knows_a_character_that_is_cut():
    for _, utf8, _, _ in VERSIONS:
        for text in ("é", "€", "😀"):
            whole = text.encode()
            for size in range(1, len(whole)):
                check.true(utf8(0, whole, 0, size) > 0)


def test_both_versions_judge_every_two_bytes_alike():
    pair = bytearray(2)
    for first in range(256):
        for second in range(0, 256, 1 if first > 127 else 85):
            pair[0], pair[1] = first, second
            check.equal(VERSIONS[0][1](0, pair, 0, 2), VERSIONS[1][1](0, pair, 0, 2))


def test_masking_twice_gives_what_was_there_and_touches_nothing_else():
    for mask, _, _, _ in VERSIONS:
        buf = bytearray(os.urandom(100))
        before = bytes(buf)
        key = os.urandom(4)
        mask(buf, 3, 98, key)
        check.equal([buf[3 + i] ^ key[i & 3] for i in range(95)], list(before[3:98]))
        check.equal(bytes(buf[:3] + buf[98:]), before[:3] + before[98:])
        mask(buf, 3, 98, key)
        check.equal(bytes(buf), before)


def test_put_copies_and_refuses_what_does_not_fit():
    for _, _, put, _ in VERSIONS:
        buf = bytearray(8)
        check.equal(put(buf, 2, b"abc"), 5)
        check.equal(bytes(buf), b"\0\0abc\0\0\0")
        check.equal(put(buf, 5, b"xyz"), 8)
        check.raises(IndexError, put, buf, 6, b"xyz")


def test_numbers_have_their_point_where_it_belongs_and_nothing_beside_them_is_touched():
    for _, _, _, number in VERSIONS:
        for value, decimals, text in (
            (0, 0, "0"), (7, 0, "7"), (-7, 0, "-7"), (1234567, 0, "1234567"), (0x3FFFFFFF, 0, "1073741823"),
            (0, 2, "0.00"), (5, 2, "0.05"), (-5, 2, "-0.05"), (99, 2, "0.99"), (100, 2, "1.00"), (2150, 2, "21.50"),
            (-215000, 4, "-21.5000"), (-0x3FFFFFFF, 6, "-1073.741823"), (1, 9, "0.000000001"),
        ):  # fmt: skip
            buf = bytearray(b"." * 20)
            end = number(buf, 3, value, decimals)
            check.equal(bytes(buf[3:end]), text.encode())
            check.equal(bytes(buf[:3] + buf[end:]), b"." * (20 - len(text)))
            for room in range(3, end):
                check.raises(IndexError, number, bytearray(room), 3, value, decimals)


check.run(globals())
