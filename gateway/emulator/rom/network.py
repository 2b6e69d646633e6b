# `network.WLAN` as an ESP32 has it, over emulated air: the networks of the circuit. What it carries is the host's
# loopback.

import hardware as _hw

STA_IF = 0
AP_IF = 1

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204

AUTH_OPEN = 0
AUTH_WPA2_PSK = 3

_ADDRESS = ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")
_names = {"hostname": "mpy-esp32", "country": "XX"}


class WLAN:
    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    _station = None

    def __new__(cls, interface_id=STA_IF):
        if interface_id != STA_IF:
            raise ValueError("the emulated board is a station only")
        if WLAN._station is None:
            WLAN._station = object.__new__(cls)
        return WLAN._station

    def __init__(self, interface_id=STA_IF):
        if not hasattr(self, "_status"):
            self._status = 0  # off
            self._config = {"pm": WLAN.PM_PERFORMANCE, "reconnects": -1, "txpower": 20, "channel": 6, "protocol": 7}
            self._ssid = ""
            self._outcome = STAT_IDLE
            self._settled_us = 0
            self._lost = False  # the network has gone out of reach; the chip itself looks for it until it is back

    def _put(self, status):
        self._status = status
        _hw.page.put32(_hw.page.at["wifi_status"], status)

    def active(self, on=None):
        if on is not None:
            if not on:
                self._put(0)
            elif not self._status:
                self._put(STAT_IDLE)
        return self._status != 0

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not self._status:
            raise OSError("Wifi Not Started")
        if self.status() == STAT_CONNECTING:
            raise OSError("Wifi Internal State Error")
        if ssid is not None:
            self._ssid = _text(ssid)
            self._key = _text(key or "")
        self._lost = False
        self._outcome = STAT_NO_AP_FOUND
        for net in _hw.circuit["air"]:
            if "any" in net:  # whatever the board is told
                self._outcome = STAT_GOT_IP
            elif net["ssid"] == self._ssid:
                self._outcome = STAT_GOT_IP if net.get("password", "") == self._key else STAT_WRONG_PASSWORD
        self._settled_us = _hw.ticks_us() + _hw.radio.join_ms() * 1000
        self._put(STAT_CONNECTING)

    def disconnect(self):
        if not self._status:
            raise OSError("Wifi Not Started")
        self._lost = False
        self._put(STAT_IDLE)

    def isconnected(self):
        return self.status() == STAT_GOT_IP

    def status(self, what=None):
        if what == "rssi":
            # The vitals driver reads this once per sample, and nothing else does: here its samples are counted.
            rssi = _hw.radio.rssi()
            if self.status() != STAT_GOT_IP:
                raise OSError("Wifi Not Connected")
            return rssi
        if what is not None:
            raise ValueError("unknown status param")
        gone = _hw.page.get32(_hw.page.at["wifi_gone"])
        if self._status == STAT_CONNECTING and _hw.ticks_us() >= self._settled_us:
            self._lost = gone and self._outcome == STAT_GOT_IP
            self._put(STAT_NO_AP_FOUND if self._lost else self._outcome)
        elif self._status == STAT_GOT_IP and gone:
            self._lost = True
            self._put(STAT_BEACON_TIMEOUT)
        elif self._lost and not gone:  # found again
            self._settled_us = _hw.ticks_us() + _hw.radio.join_ms() * 1000
            self._lost = False
            self._put(STAT_CONNECTING)
        return self._status or STAT_IDLE

    def ifconfig(self, given=None):
        if given is None:
            return _ADDRESS if self.isconnected() else ("0.0.0.0",) * 4
        return None  # as with a fixed address: accepted, and there is nothing to change on loopback

    def ipconfig(self, what=None, **settings):
        if what == "addr4":
            return self.ifconfig()[:2]
        if what == "gw4":
            return self.ifconfig()[2]
        if what == "dhcp4":
            return True
        if what is not None:
            raise ValueError("unknown config param")
        return None

    def config(self, what=None, **settings):
        if what is not None:
            if what == "mac":
                return bytes(_hw.circuit["unique_id"])
            if what in ("ssid", "essid"):
                return self._ssid
            if what in ("hostname", "dhcp_hostname"):
                return _names["hostname"]
            if what not in self._config:
                raise ValueError("unknown config param")
            return self._config[what]
        for key, value in settings.items():
            if key in ("hostname", "dhcp_hostname"):
                hostname(value)
            elif key in self._config:
                self._config[key] = value
            else:
                raise ValueError("unknown config param")
        return None

    def scan(self):
        """[(ssid, bssid, channel, rssi, security, hidden)]"""
        if not self._status:
            raise OSError("Wifi Not Started")
        return [
            (
                net["ssid"].encode(),
                b"\x02\x00\x5e\x00\x00\x01",
                6,
                _hw.radio.level(),
                AUTH_WPA2_PSK if net.get("password") else AUTH_OPEN,
                False,
            )
            for net in ([] if _hw.page.get32(_hw.page.at["wifi_gone"]) else _hw.circuit["air"])
            if "ssid" in net
        ]


def _text(value):
    return value if isinstance(value, str) else bytes(value).decode()


def hostname(name=None):
    if name is None:
        return _names["hostname"]
    if len(name) > 32:
        raise ValueError("hostname too long")
    _names["hostname"] = name
    return None


def country(code=None):
    if code is None:
        return _names["country"]
    if len(code) != 2:
        raise ValueError("country must be two letters")
    _names["country"] = code
    return None
