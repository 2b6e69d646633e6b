import json

import check
import ramflash
from device import config
from device.node import secure
from ramflash import ROOT, Flash

SETTINGS = {
    "device": "greenhouse",
    "token": "T" * 43,
    "gateway": {"host": "gw.local", "port": 8765, "tls": True, "name": "gw-1a2b3c4d.mpy-gateway"},
    "wifi": [],
}
PROFILE = {
    "hash": "5a0f9c3be1d27718",
    "node": "n",
    "buses": {},
    "sensors": [{"name": "s", "chip": "c", "period_ms": 1000, "quantities": [{"name": "q", "decimals": 0}]}],
    "outputs": [],
    "delivery": {"ram_samples": 8, "power_loss": "unsent", "flash_bytes": 65536},
}


def load(ca=b"0", **gateway):
    """What `config.load` makes of these files, or its sentence. None leaves a key, or the CA, out."""
    changed = dict(SETTINGS["gateway"])
    changed.update(gateway)
    changed = {key: changed[key] for key in changed if changed[key] is not None}
    ramflash.unmount()
    ramflash.mount(Flash(6), fresh=True)
    try:
        write("settings.json", json.dumps(dict(SETTINGS, gateway=changed)).encode())
        write("profile.json", json.dumps(PROFILE).encode())
        if ca is not None:
            write("ca.der", ca)
        return config.load(ROOT + "/settings.json", ROOT + "/profile.json", ROOT + "/ca.der")[0]["gateway"]
    except config.ConfigError as error:
        return str(error).replace(ROOT, "")
    finally:
        ramflash.unmount()


def write(name, content):
    with open(ROOT + "/" + name, "wb") as file:
        file.write(content)


def test_with_tls_the_ca_is_read_and_without_it_is_not():
    check.equal(load(ca=b"abc")["ca"], b"abc")
    check.equal(load(ca=None, tls=False, name=None)["ca"], None)


def test_nothing_of_tls_may_be_missing_or_left_to_chance():
    wrong = '/settings.json: gateway: "%s" is missing or of the wrong type'
    check.equal(load(name=None), wrong % "name")
    check.equal(load(tls=None), wrong % "tls")
    for value in (1, "true", "no", []):
        check.equal(load(tls=value), wrong % "tls")
    check.equal(load(ca=None), "/ca.der, the gateway's CA, is missing: flash the board again (mpy-gateway flash)")


def test_a_ca_that_is_no_certificate_is_a_sentence():
    for ca in (b"", b"rubbish", b"0\x82\xff\xff" + bytes(100)):
        error = check.raises(config.ConfigError, secure, {"ca": ca, "name": "n"})
        check.true(str(error).startswith("/ca.der cannot be used"), error)
    check.equal(secure({"ca": None}), None)


check.run(globals())
