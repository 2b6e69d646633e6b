"""Encryption of a backup: a stream that is sealed with a passphrase, and opened again. Memory stays small, whatever its
length.

    mpy-gateway sealed backup 1 scrypt 17 8 1 <salt> <check>\\n     one line of text
    chunk, chunk, ... last chunk                                  ChaCha20-Poly1305, 65,536 bytes and a tag of 16 each

scrypt (RFC 7914; log2 N, r, p and a salt of 16 bytes, in hex) makes 64 bytes of the passphrase (UTF-8, NFC): a key for
the chunks, and one for `check`, the HMAC-SHA-256 of the line before it. So a wrong passphrase is told from damage. The
nonce is the number of the chunk and whether it is the last one (STREAM, Hoang et al. 2015, as age has it): chunks that
are changed, exchanged, left out or cut off are found, each before any byte of it is used. The line is authenticated
with each. No two files have a key in common.
"""

from __future__ import annotations

import hmac
import os
import re
import unicodedata
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gateway.errors import ConfigError

MAGIC: Final = b"mpy-gateway sealed backup "
LOG_N, R, P = 17, 8, 1
"""128 MB of memory for a moment, on a Raspberry Pi 4 some 2 s: what makes guessing expensive."""
MOST_LOG_N, MOST_R, MOST_P = 18, 8, 4
"""What a file may ask for: it can come from anywhere."""
LEAST_PASSPHRASE = 12
"""Characters."""
CHUNK_BYTES: Final = 65_536
_TAG_BYTES, _SALT_BYTES, _LINE_BYTES = 16, 16, 200
_LINE = re.compile(
    rb"(mpy-gateway sealed backup (\d{1,3}) scrypt (\d{1,2}) (\d{1,2}) (\d{1,2}) ([0-9a-f]{32})) ([0-9a-f]{64})\n"
)


def check_passphrase(passphrase: str) -> None:
    """Raises ConfigError for one that is too easily guessed: whoever has the file may try for years."""
    if len(passphrase) < LEAST_PASSPHRASE:
        raise ConfigError(f"the passphrase must have at least {LEAST_PASSPHRASE} characters: four words do well")


def is_sealed(file: BinaryIO) -> bool:
    """Whether what begins here is sealed. The place in the file stays."""
    found = file.read(len(MAGIC)) == MAGIC
    file.seek(0)
    return found


class Seal:
    """Everything written goes sealed into `file`. `close` ends it; without that it cannot be opened."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        salt = os.urandom(_SALT_BYTES)
        text = MAGIC + f"1 scrypt {LOG_N} {R} {P} {salt.hex()}".encode()
        key, check_key = _keys(passphrase, salt, LOG_N, R, P)
        self._line = text + b" " + _check(check_key, text) + b"\n"
        self._file = file
        self._cipher = ChaCha20Poly1305(key)
        self._number = 0
        self._waiting = bytearray()
        file.write(self._line)

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > CHUNK_BYTES:  # one is always kept back: the last has a mark
            self._put(bytes(self._waiting[:CHUNK_BYTES]), last=False)
            del self._waiting[:CHUNK_BYTES]
        return len(data)

    def close(self) -> None:
        self._put(bytes(self._waiting), last=True)
        self._waiting.clear()

    def _put(self, chunk: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, last), chunk, self._line))
        self._number += 1


class Unsealed:
    """Reads what `Seal` has written. Raises ConfigError: a wrong passphrase, or not what was written."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        self._line = file.readline(_LINE_BYTES)
        found = _LINE.fullmatch(self._line)
        if found is None:
            raise ConfigError("it is damaged: its first line is not what `mpy-gateway backup` writes")
        version, log_n, r, p = (int(number) for number in found.group(2, 3, 4, 5))
        if version != 1:
            raise ConfigError(f"it was made by a newer mpy-gateway (sealed in version {version}, this one knows 1)")
        if not (1 <= log_n <= MOST_LOG_N and 1 <= r <= MOST_R and 1 <= p <= MOST_P):
            raise ConfigError("it asks for more memory than any backup needs: it was not made by `mpy-gateway backup`")
        key, check_key = _keys(passphrase, bytes.fromhex(found[6].decode()), log_n, r, p)
        if not hmac.compare_digest(_check(check_key, found[1]), found[7]):
            raise ConfigError("the passphrase is wrong")
        self._file = file
        self._cipher = ChaCha20Poly1305(key)
        self._number = 0
        self._next = file.read(CHUNK_BYTES + _TAG_BYTES)
        self._ended = False
        self._open = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """As many bytes as are asked for, fewer at the end alone."""
        parts, left = [], size
        while left and (self._at < len(self._open) or self._more()):
            part = self._open[self._at : self._at + left]
            self._at += len(part)
            left -= len(part)
            parts.append(part)
        return b"".join(parts)

    def finish(self) -> None:
        """Read on to the end: only there it is known that nothing was cut off."""
        while self._more():
            pass

    def _more(self) -> bool:
        """Open the next chunk. False: there is none."""
        if self._ended:
            return False
        sealed, self._next = self._next, self._file.read(CHUNK_BYTES + _TAG_BYTES)
        self._ended = not self._next
        try:
            self._open = self._cipher.decrypt(_nonce(self._number, self._ended), sealed, self._line)
        except InvalidTag:
            raise ConfigError(
                "it is damaged or was changed, or not copied whole: what is in it is not what was sealed"
            ) from None
        self._at = 0
        self._number += 1
        return bool(self._open)


def _keys(passphrase: str, salt: bytes, log_n: int, r: int, p: int) -> tuple[bytes, bytes]:
    text = unicodedata.normalize("NFC", passphrase).encode()
    try:
        both = Scrypt(salt=salt, length=64, n=1 << log_n, r=r, p=p).derive(text)
    except MemoryError:
        megabytes = (128 * r << log_n) >> 20
        raise ConfigError(f"this machine has not the {megabytes} MB of memory free that the passphrase needs") from None
    return both[:32], both[32:]


def _check(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256").hex().encode()


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes((last,))
