"""Which commands this board has begun, on flash: none is carried out twice, not even over a power cut.

One file of 32 words of 4 bytes, oldest first: 31 bits of the SHA-256 of a command's id, and one that says it has ended.
The gateway has 32 commands open at most and sends what it repeats before anything newer, so an id is still here when it
comes again. Two ids are taken for one by mistake once in 67 million commands.

The file is written as a whole. On littlefs 128 bytes lie inline in the directory, and closing the file is one commit:
either the old words or the new ones, whenever the power goes. Measured: 0.05 erases a write (tests/firmware/mpy/
test_executed.py), so 0.1 for a command that acts: written twice, when it begins and when it has ended.
"""

import hashlib
from micropython import const

_WORDS = const(32)
_WORD = const(4)


class Executed:
    def __init__(self, path):
        """A file that is not there, or cannot be read, holds none."""
        self._path = path
        try:
            with open(path, "rb") as file:
                words = file.read(_WORDS * _WORD)
        except OSError:
            words = b""
        self._words = words[: len(words) // _WORD * _WORD]

    def begin(self, id, ended=False):
        """To be called before acting. Raises OSError where it cannot be written: then do not act."""
        word = _word(id)
        if ended:
            word = _ended(word)
        self._write(self._words[-(_WORDS - 1) * _WORD :] + word)

    def end(self, id):
        """It has been carried out. Raises OSError where that cannot be written: it stays as begun."""
        at = self._find(id)
        if at is not None:
            words = self._words
            self._write(words[:at] + _ended(words[at : at + _WORD]) + words[at + _WORD :])

    def look(self, id):
        """None: not begun, as far as is known. False: begun, and not ended. True: ended."""
        at = self._find(id)
        return None if at is None else self._words[at] & 0x80 != 0

    def _find(self, id):
        """Where its word is; the newest, if there are two."""
        word = _word(id)
        words = self._words
        for at in range(len(words) - _WORD, -1, -_WORD):
            if words[at] & 0x7F == word[0] and words[at + 1 : at + _WORD] == word[1:]:
                return at
        return None

    def _write(self, words):
        with open(self._path, "wb") as file:
            file.write(words)
        self._words = words


def _word(id):
    word = hashlib.sha256(id.encode()).digest()[:_WORD]
    return bytes((word[0] & 0x7F,)) + word[1:]


def _ended(word):
    return bytes((word[0] | 0x80,)) + word[1:]
