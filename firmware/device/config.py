"""Reads /settings.json and /profile.json and checks what the node relies on: a wrong file is one clear sentence."""

import json

_LEAST_FLASH_BYTES = 32768
_MOST_CA_BYTES = 4096  # of EC some 400, of RSA some 1,400


class ConfigError(Exception):
    """A file is missing or wrong. The text says what to do."""


def load(settings_path="/settings.json", profile_path="/profile.json", ca_path="/ca.der"):
    """(settings, profile). `settings["gateway"]["ca"]` is what /ca.der holds, None without TLS. Raises ConfigError."""
    settings = _read(settings_path)
    _need(settings_path, settings, (("device", str), ("token", str), ("gateway", dict), ("wifi", list)))
    gateway = settings["gateway"]
    _need(settings_path + ": gateway", gateway, (("host", str), ("port", int), ("tls", bool)))
    gateway["ca"] = None
    if gateway["tls"]:
        _need(settings_path + ": gateway", gateway, (("name", str),))
        gateway["ca"] = _read_ca(ca_path)
    for network in settings["wifi"]:
        _need(settings_path + ": wifi", network, (("ssid", str),))
    profile = _read(profile_path)
    wanted = (("hash", str), ("node", str), ("buses", dict), ("sensors", list), ("outputs", list), ("delivery", dict))
    _need(profile_path, profile, wanted)
    delivery = profile["delivery"]
    _need(profile_path + ": delivery", delivery, (("ram_samples", int), ("power_loss", str), ("flash_bytes", int)))
    for kind in ("outputs", "inputs"):
        for table in profile.get(kind, ()):
            _need(profile_path + ": " + kind, table, (("name", str), ("kind", str), ("pin", int), ("active", str)))
    for sensor in profile["sensors"]:
        wanted = (("name", str), ("chip", str), ("period_ms", int), ("quantities", list))
        _need(profile_path + ": sensors", sensor, wanted)
        for quantity in sensor["quantities"]:
            _need(profile_path + ": sensors: " + sensor["name"], quantity, (("name", str), ("decimals", int)))
        bus = sensor.get("bus")
        if not sensor["quantities"] or sensor["period_ms"] < 1 or bus is not None and bus not in profile["buses"]:
            where = "%s: sensors: %s" % (profile_path, sensor["name"])
            raise ConfigError(where + ": no quantities, no period or an unknown bus")
    if not profile["sensors"] or delivery["ram_samples"] < 1 or delivery["flash_bytes"] < _LEAST_FLASH_BYTES:
        raise ConfigError(
            "%s: needs at least one sensor, ram_samples of at least 1 and flash_bytes of at least %d"
            % (profile_path, _LEAST_FLASH_BYTES)
        )
    if delivery["power_loss"] not in ("none", "unsent") or not _is_hash(profile["hash"]):
        raise ConfigError("%s: power_loss is \"none\" or \"unsent\", and hash is 16 hex digits" % profile_path)
    return settings, profile


def _read_ca(path):
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_CA_BYTES)
    except OSError:
        raise ConfigError("%s, the gateway's CA, is missing: flash the board again (mpy-gateway flash)" % path)


def _is_hash(text):
    return len(text) == 16 and all("0" <= c <= "9" or "a" <= c <= "f" for c in text)


def _read(path):
    try:
        with open(path) as file:
            return json.load(file)
    except OSError:
        raise ConfigError("%s is missing: flash the board again (mpy-gateway flash)" % path)
    except (ValueError, UnicodeError):
        raise ConfigError("%s is not JSON: flash the board again (mpy-gateway flash)" % path)


def _need(where, found, keys):
    if type(found) is not dict:
        raise ConfigError("%s: an object is expected" % where)
    for key, kind in keys:
        if type(found.get(key)) is not kind:
            raise ConfigError("%s: \"%s\" is missing or of the wrong type" % (where, key))
