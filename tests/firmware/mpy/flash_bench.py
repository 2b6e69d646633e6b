"""What the journal asks of the flash; prints one JSON object. Run by tests/bench/flash.py.

The climate node's plan (3 values every second, 4 every ten) with the clock turned by hand, on littlefs over 512 blocks.
"""

import json
import os
from array import array

import ramflash
from device import wire
from device.journal import Journal
from device.outbox import Outbox
from ramflash import ROOT, Flash

BLOCKS = 512
HOURS = 1
DAY_S = 86400


def chip():
    flash = Flash(BLOCKS)
    ramflash.unmount()
    ramflash.mount(flash, fresh=True)
    return flash


def per_day(each, online):
    flash = chip()
    journal = Journal(ROOT, 1 << 20, 66, each, print)
    sensors = [[(name, 2) for name in "abc"], [(name, 0) for name in "wxyz"]]
    columns = wire.Columns([[wire.Column(*column) for column in sensor] for sensor in sensors], 4096)
    boot, held = journal.begin("5a0f9c3be1d27718", "00000000000000aa", columns.as_lists())
    box = Outbox(boot, 512, 4, journal, held, columns)
    values = array("i", [2150, 4812, 100653, 0])
    before = flash.erases, flash.bytes, flash.programs
    for second in range(HOURS * 3600):
        box.put_sample(0, second * 1000, values, 3)
        if second % 10 == 0:
            box.put_sample(1, second * 1000, values, 4)
        box.poll(second * 1000, online)
        if online:
            while box.load(100):
                box.mark_sent()
            box.ack(boot.number, box.next - 2)  # what was taken last is acknowledged a second later
    records = box.next
    times = DAY_S // (HOURS * 3600)
    return {
        "erases_a_day": (flash.erases - before[0]) * times,
        "megabytes_a_day": round((flash.bytes - before[1]) * times / 1e6, 2),
        "erases_per_sample": round((flash.erases - before[0]) / records, 4),
        "bytes_per_sample": round((flash.bytes - before[1]) / records, 1),
    }


def small_file(size, files=16):
    """Erases each time one of `files` small files is rewritten."""
    flash = chip()
    os.mkdir(ROOT + "/t")
    data = bytearray(size)
    for i in range(2016):
        if i == 16:
            before = flash.erases
        data[0] = i & 255
        with open(f"{ROOT}/t/{i % files}", "wb") as file:
            file.write(data)
    return round((flash.erases - before) / 2000, 4)


def append(size):
    """Erases of an append of `size` bytes to files of 16 KB."""
    flash = chip()
    data = bytearray(size)
    at = 0
    for _ in range(500):
        with open(f"{ROOT}/{at // 16384 % 8}", "ab" if at % 16384 >= size else "wb") as file:
            file.write(data)
        at += size
    return round(flash.erases / 500, 3)


result = {"small_file_%d" % size: small_file(size) for size in (46, 85, 128)}
for size in (28, 448, 1792):
    result["append_%d" % size] = append(size)
for each in (False, True):
    for online in (True, False):
        name = "%s_%s" % ("none" if each else "unsent", "online" if online else "down")
        for key, value in per_day(each, online).items():
            result[name + "_" + key] = value
print(json.dumps(result))
