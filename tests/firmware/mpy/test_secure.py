"""What cannot be had from a server at will; the rest is in tests/firmware/test_tls.py, against real ones."""

from errno import ECONNRESET, ENOMEM

import check
from device import secure
from device.link import Untrusted

EOF = -0x7280


def bare():
    """A Secure without a CA."""
    one = object.__new__(secure.Secure)
    one._name = "gw-1a2b3c4d.mpy-gateway"
    one._ends = 0
    one._until = ""
    return one


def test_what_passes_by_itself_is_an_error_like_any_other():
    for error in (OSError(ECONNRESET), OSError(ENOMEM), OSError(EOF), OSError(-0x6A00, "what mbedtls says")):
        found = bare().refusal(error)
        check.true(isinstance(found, OSError), found)
    check.equal(bare().refusal(OSError(ECONNRESET)).errno, ECONNRESET)
    check.true("28 KB" in str(bare().refusal(OSError(ENOMEM))))
    check.true("what mbedtls says" in str(found))


def test_an_unknown_verdict_is_a_refusal_too():
    found = bare().refusal(ValueError("\nThe certificate is of paper\n"))
    check.true(isinstance(found, Untrusted))
    check.true("of paper" in str(found))


def test_only_ends_in_a_row_are_suspicious():
    one = bare()
    found = [one.refusal(OSError(error)) for error in (EOF, EOF, ECONNRESET, EOF, EOF, EOF)]
    check.equal([isinstance(error, Untrusted) for error in found], [False] * 5 + [True])
    one._until = "20280101000000"
    one.check("20270101000000")
    check.true(not isinstance(one.refusal(OSError(EOF)), Untrusted), "a handshake that succeeds ends the row")


def test_a_certificate_that_cannot_be_read_is_refused_and_nothing_flies_through_mbedtls():
    one = bare()
    for rubbish in (b"", b"\x30", b"\x30\x82\xff\xff", bytes(40), b"\xff" * 40):
        check.equal(one._see(memoryview(rubbish), 0), -1)


check.run(globals())
