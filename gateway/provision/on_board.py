# Runs on the board at its raw REPL, for usb.py, in two parts. It is sent as it is, so it is short.
#
# A watchdog survives Ctrl-C and soft reset. An ESP32's can be given a day; that of an RP2 no more than 8 s, so it is
# fed, but only where it runs: to make one would start it.
import gc
import os
import sys
import json  # noqa: F401  # for what the host asks
import time
import hashlib
import binascii
import machine


def feed():
    pass


if hasattr(machine, "WDT"):
    if os.uname()[0] == "esp32":
        machine.WDT(timeout=86400000)
    elif os.uname()[0] == "rp2":
        _at = 0x40058000 if "RP2040" in os.uname()[4] else 0x400D8000
        if machine.mem32[_at] & 1 << 30:
            feed = machine.WDT(timeout=8388).feed
            feed()
# --
T = "/flash.new"


class VerifyError(Exception):
    pass


def facts():
    v = os.statvfs("/")
    try:
        import esp

        size = esp.flash_size()
    except (ImportError, AttributeError):
        size = 0
    gc.collect()
    return {
        "version": sys.implementation[1][:3],
        "machine": os.uname()[4],
        "system": os.uname()[0],
        "hardware": binascii.hexlify(machine.unique_id()).decode(),
        "mpy": getattr(sys.implementation, "_mpy", 0) & 255,
        "flash_bytes": size,
        "files_bytes": v[1] * v[2],
        "free_bytes": v[1] * v[3] if v[3] <= v[2] else 0,  # of a full littlefs it wraps below 0
        "memory_bytes": gc.mem_free(),
    }


def digest(path):
    b = bytearray(1024)
    m = memoryview(b)
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while True:
            n = f.readinto(b)
            if not n:
                return binascii.hexlify(h.digest()).decode()
            h.update(m[:n])
            feed()


def files(folder="", found=None):
    found = [] if found is None else found
    for e in os.ilistdir(folder or "/"):
        path = folder + "/" + e[0]
        if e[1] & 0x4000:
            files(path, found)
        else:
            size = e[3] if len(e) > 3 else os.stat(path)[6]
            found.append((path, size, "" if folder == "/outbox" or size > 65536 else digest(path)))
    return found


def read(path, limit):
    try:
        with open(path, "rb") as f:
            return binascii.b2a_base64(f.read(limit)).decode()
    except OSError:
        return None


def begin():
    global F
    F = open(T, "wb")


def put(text):
    feed()
    try:
        F.write(binascii.a2b_base64(text))
    except OSError:
        F.close()
        os.remove(T)
        raise


def end(path, sha256):
    F.close()
    if digest(T) != sha256:
        raise VerifyError(path)
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError:
            pass
        at = path.find("/", at + 1)
    try:
        os.rename(T, path)
    except OSError:  # FAT does not replace
        os.remove(path)
        os.rename(T, path)


def remove(paths):
    for path in paths:
        feed()
        os.remove(path)
        try:
            os.rmdir(path[: path.rfind("/")])
        except OSError:
            pass


def restart():
    time.sleep_ms(50)  # what is being said is heard to its end
    machine.reset()
