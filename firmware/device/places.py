"""Shell: where the gateway may be. Where it was last, or what the settings say, twice each time, since a gateway that
restarts is soon back; then the name it has on the local network (mDNS), which may block for seconds to be looked up.
Each is only a hint: the gateway proves who it is by its certificate. So without TLS the settings alone count, or anyone
who answers to the name would be told the token.

/place.json: {"of": the settings' host, "is": the address}. It is written only when the gateway was found at an address
that nobody would try otherwise, beside and then renamed. Where the settings were written anew with another host, it is
out of date.
"""

import json
import os


class Places:
    def __init__(self, path, gateway, tries=0):
        """`gateway`: of the settings. `mdns` in it is its name on the local network. `tries`: before this start."""
        self._path = path
        self._host = gateway["host"]
        self._name = gateway.get("mdns") if gateway["tls"] else None
        self._last = self._read() if gateway["tls"] else None
        self._tries = tries  # since it was there
        self.now = self._host
        """The place that is being tried."""

    def turn(self):
        """The next place to try."""
        places = self._all()
        self.now = (places[:1] + places)[self._tries % (1 + len(places))]
        self._tries += 1
        return self.now

    def is_hint(self):
        """Whether somebody else may be at the place that is being tried: then the next one is worth trying soon."""
        return self.now != self._host

    def keep(self, address):
        """The gateway was there and has proved itself."""
        self._tries = 0
        if address in self._all() or not self._name:
            return
        self._last = address
        try:
            with open(self._path + ".new", "w") as file:
                json.dump({"of": self._host, "is": address}, file)
            os.rename(self._path + ".new", self._path)
        except OSError:
            pass  # it is looked up again after the next start

    def _all(self):
        return [place for place in (self._last, self._host, self._name) if place]

    def _read(self):
        try:
            with open(self._path) as file:
                found = json.load(file)
        except (OSError, ValueError):  # UnicodeError is a ValueError
            return None
        if type(found) is not dict or found.get("of") != self._host or type(found.get("is")) is not str:
            return None
        return found["is"]
