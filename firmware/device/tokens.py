"""Shell: which token this board shows. The gateway may give it a new one over the live link (WIRE.md, section 5).

/token.json: {"token": new, "previous": the one before, "of": which token of /settings.json it replaces}. It is written
beside and then renamed, so that a power cut leaves the old or the new file. `of` is the beginning of a SHA-256: where
/settings.json was written anew with another token, that one counts, and the file is out of date.

The previous one is kept: a gateway that was restored from a backup knows no newer one. So is that of /settings.json.
Whoever takes none of them (HTTP 401) is shown the next at the next try, in turn.
"""

import hashlib
import json
import os
from binascii import hexlify

from device.wire import is_token


class Tokens:
    def __init__(self, path, settings_token):
        """A file that is not there, cannot be read or is of another settings' token leaves `settings_token`."""
        self._path = path
        self._settings_token = settings_token
        self._of = hexlify(hashlib.sha256(settings_token.encode()).digest()[:4]).decode()
        self._refused = 0
        self._turn_to(*self._read())

    def now(self):
        """The one to show."""
        return self._all[self._at]

    def taken(self):
        """The gateway knows it."""
        self._refused = 0

    def refused(self):
        """The gateway does not know it: the next time it is the other's turn. Whether there is one that it has not been
        shown since it last took one."""
        self._at = (self._at + 1) % len(self._all)
        self._refused += 1
        return self._refused % len(self._all) != 0

    def rotate(self, token):
        """From the next connection on it is `token`. The one that this connection was let in with stays the previous
        one, however many come. OSError where it cannot be written: then nothing has changed."""
        previous = self.now()
        with open(self._path + ".new", "w") as file:
            json.dump({"token": token, "previous": previous, "of": self._of}, file)
        os.rename(self._path + ".new", self._path)
        self._turn_to(token, previous)

    def _turn_to(self, *tokens):
        self._all = []
        self._at = 0
        for token in tokens + (self._settings_token,):
            if token not in self._all:
                self._all.append(token)

    def _read(self):
        try:
            with open(self._path) as file:
                found = json.load(file)
        except (OSError, ValueError):  # UnicodeError is a ValueError
            return ()
        if type(found) is not dict or found.get("of") != self._of:
            return ()
        tokens = (found.get("token"), found.get("previous"))
        return tokens if is_token(tokens[0]) and is_token(tokens[1]) else ()

